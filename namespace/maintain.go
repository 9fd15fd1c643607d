package namespace

import (
	"context"

	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
	"k3fs/tenancy"
)

// noteNode puts what is done to the node into the first tenant's audit log, durably. It takes the permission to do it.
func (v *View) noteNode(ctx context.Context, need tenancy.Action, event, detail string) error {
	if err := v.fs.auth.Allow(v.who, need, tenancy.Resource{}); err != nil {
		return err
	}
	return v.update(context.WithoutCancel(ctx), metastore.Durable, func(t *txn) error {
		return t.recordFor(tenancy.FirstTenant, v, audit.Event{Event: event, Detail: detail})
	})
}

// NoteMaintenance puts what is done to the node into the first tenant's audit log, durably. It takes the permission to
// do it.
func (v *View) NoteMaintenance(ctx context.Context, event, detail string) error {
	return fail("maintenance", "", v.noteNode(ctx, tenancy.Maintain, event, detail))
}

// Settle returns when every update is over that was under way at the call: what they were permitted then they have
// done, and what begins later asks anew.
func (fs *FS) Settle() {
	fs.holding.fence.Lock()
	//lint:ignore SA2001 to wait is all
	fs.holding.fence.Unlock()
}
