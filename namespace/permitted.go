package namespace

import (
	"context"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// rules counts all changes of what decides about permissions, as far as they can change while a file is open: of
// accounts, their policies and tenants, and of the settings of buckets. It is an error if the account may do nothing.
func (v *View) rules() (uint64, error) {
	n, err := v.fs.auth.Standing(v.who)
	return n + v.fs.rules.Load(), err
}

// permitted reports whether the handle can be read from, or written to, and its account may still do so. That is asked
// again only when any of the rules has changed since: a file that is open takes nothing from who has lost the
// permission, and a write costs no look into the records.
func (h *handle) permitted(ctx context.Context, write bool) error {
	if err := h.usable(write); err != nil {
		return err
	}
	rules, err := h.v.rules()
	if err != nil {
		return err
	}
	last, action := &h.mayRead, tenancy.GetObject
	if write || !h.flags.Read { // a kernel that completes a page reads through a handle that only writes
		last, action = &h.mayWrite, tenancy.PutObject
	}
	if last.Load() == rules {
		return nil
	}
	err = h.v.fs.kv.View(ctx, func(r metastore.Reader) error {
		_, err := h.v.inode(r, h.f.ino, action)
		return err
	})
	if err == nil || isKind(err, NotFound) { // it may have been removed
		last.Store(rules)
		return nil
	}
	return err
}
