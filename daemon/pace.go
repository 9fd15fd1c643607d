package daemon

import (
	"context"
	"time"

	"k3fs/tenancy"
)

// pace holds a mount to its tenant's limits, which all its doors share.
type pace struct {
	d      *Daemon
	tenant tenancy.TenantID
}

// Limited implements fusefs.Pace.
func (p pace) Limited() bool { return p.d.stores.tenancy.Limits(p.tenant) != (tenancy.Limits{}) }

// Request implements fusefs.Pace.
func (p pace) Request(ctx context.Context) error { return p.d.limiter.Request(ctx, p.tenant) }

// Read implements fusefs.Pace.
func (p pace) Read(ctx context.Context, n int) error { return p.d.limiter.Read(ctx, p.tenant, n) }

// Write implements fusefs.Pace.
func (p pace) Write(ctx context.Context, n int) error { return p.d.limiter.Write(ctx, p.tenant, n) }

// turnMost is how long a request of a mount waits for its tenant's turn: others may wait for it while they have theirs,
// since the kernel holds locks until it is answered.
const turnMost = 20 * time.Millisecond

// Enter implements fusefs.Pace.
func (p pace) Enter(ctx context.Context) (leave func()) {
	return p.d.gate.EnterWithin(ctx, p.tenant, turnMost).Leave
}
