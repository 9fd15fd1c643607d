// Package fair keeps tenants from being felt by each other: it holds each to the limits that the node's operator set
// (Limiter), and lets those that want the node at once have an equal part of it (Gate).
//
// It owns no settings and no clocks of its own; doors ask it once for each request, and for what they move. Each type
// has one lock, held for moments.
package fair

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"k3fs/tenancy"
)

// Limiter holds tenants to their limits. Several doors share one.
type Limiter struct {
	limits func(tenancy.TenantID) tenancy.Limits

	mu      sync.Mutex
	tenants map[tenancy.TenantID]*limited
}

// limited is a tenant that has limits.
type limited struct {
	limits                tenancy.Limits
	requests, read, write *rate.Limiter // nil: without a limit
}

// NewLimiter makes a limiter; limits tells a tenant's limits at any moment, without I/O.
func NewLimiter(limits func(tenancy.TenantID) tenancy.Limits) *Limiter {
	return &Limiter{limits: limits, tenants: map[tenancy.TenantID]*limited{}}
}

// of finds a tenant's limiters; nil if it has no limits, which costs a look.
func (l *Limiter) of(t tenancy.TenantID) *limited {
	if l == nil {
		return nil
	}
	now := l.limits(t)
	if now == (tenancy.Limits{}) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.tenants[t]
	if one == nil || one.limits != now {
		one = &limited{now, limiter(now.Requests), limiter(now.ReadBytes), limiter(now.WriteBytes)}
		l.tenants[t] = one
	}
	return one
}

// limiter passes n each second, of which a second's worth may come at once.
func limiter(n int64) *rate.Limiter {
	if n == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(n), int(min(n, 1<<30)))
}

// refuseAfter is how long a request would have to wait for bandwidth before it is refused, rather than slowed down.
const refuseAfter = time.Second

// Admit decides on a new request: 0, or after how long to try again (S3's SlowDown).
func (l *Limiter) Admit(t tenancy.TenantID) (retry time.Duration) {
	one := l.of(t)
	if one == nil {
		return 0
	}
	for _, b := range []*rate.Limiter{one.read, one.write} {
		if debt := owed(b); debt > refuseAfter {
			return debt
		}
	}
	if one.requests == nil || one.requests.Allow() {
		return 0
	}
	return max(time.Millisecond, time.Duration(float64(time.Second)/float64(one.requests.Limit())))
}

// owed is how far a limiter is behind with what it has let pass.
func owed(l *rate.Limiter) time.Duration {
	if l == nil {
		return 0
	}
	return time.Duration(-l.Tokens() / float64(l.Limit()) * float64(time.Second))
}

// Request waits until one more request may pass; for doors that can't refuse one.
func (l *Limiter) Request(ctx context.Context, t tenancy.TenantID) error {
	if one := l.of(t); one != nil {
		return wait(ctx, one.requests, 1)
	}
	return nil
}

// Read waits until n bytes may go to the tenant's clients.
func (l *Limiter) Read(ctx context.Context, t tenancy.TenantID, n int) error {
	if one := l.of(t); one != nil {
		return wait(ctx, one.read, n)
	}
	return nil
}

// Write waits until n bytes may come from them.
func (l *Limiter) Write(ctx context.Context, t tenancy.TenantID, n int) error {
	if one := l.of(t); one != nil {
		return wait(ctx, one.write, n)
	}
	return nil
}

func wait(ctx context.Context, l *rate.Limiter, n int) error {
	if l == nil {
		return nil
	}
	for n > 0 {
		some := min(n, l.Burst())
		if err := l.WaitN(ctx, some); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return context.DeadlineExceeded // it would take longer than ctx lasts
		}
		n -= some
	}
	return nil
}
