package tenancy

import (
	"context"
	"errors"

	"k3fs/metastore"
)

// ErrReadOnly: the node is in read-only mode, in which nobody changes a bucket or what is in it.
var ErrReadOnly = errors.New("tenancy: the node is in read-only mode")

// Changes reports whether an action changes a bucket or what is in it, and so is refused in read-only mode. What it
// leaves alone are tenants, accounts, keys, sessions and holds, which are changed by who runs the node and its tenants.
func (a Action) Changes() bool {
	return a == CreateBucket || actions[a].scope == ofBucket && actions[a].roles&readOnly == 0
}

// ReadOnly reports whether the node is in read-only mode. It does no I/O.
func (t *Tenancy) ReadOnly() bool { return t.readOnly.Load() }

// SetReadOnly puts the node into read-only mode, or ends it, for by, who needs Maintain. It is durable on return, holds
// over restarts, and counts for everyone, root included: Allow answers ErrReadOnly to who may do what changes.
func (t *Tenancy) SetReadOnly(ctx context.Context, by Principal, on bool) error {
	t.changing.Lock()
	defer t.changing.Unlock()
	err := t.kv.Update(context.WithoutCancel(ctx), metastore.Durable, func(txn metastore.Txn) error {
		if err := t.Allow(by, Maintain, Resource{}); err != nil {
			return err
		}
		if on {
			return txn.Set(readOnlyKey(), nil)
		}
		return txn.Delete(readOnlyKey())
	})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.readOnly.Store(on)
	t.rules++
	return nil
}

func (t *Tenancy) loadReadOnly(ctx context.Context) error {
	return t.kv.View(ctx, func(r metastore.Reader) error {
		on, err := has(r, readOnlyKey())
		t.readOnly.Store(on)
		return err
	})
}
