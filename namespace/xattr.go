package namespace

import (
	"context"
	"errors"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// Limits of extended attributes, those of Linux (limits.h): bytes of a name, a value, and all names of an
// inode with a NUL behind each.
const (
	maxXattrName  = 255
	maxXattrValue = 60 << 10
	maxXattrList  = 64 << 10
)

// GetXattr implements Posix (getxattr(2)).
func (v *View) GetXattr(ctx context.Context, ino Ino, name string) (value []byte, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		n, err := v.inode(r, ino, tenancy.GetObject)
		if err != nil {
			return err
		}
		if !n.Xattrs {
			return of(NoAttr)
		}
		value, err = r.Get(xattrKey(ino, name))
		if errors.Is(err, metastore.ErrNotFound) {
			return of(NoAttr)
		}
		return err
	})
	return value, fail("getxattr", name, err)
}

// SetXattr implements Posix (setxattr(2)).
func (v *View) SetXattr(ctx context.Context, ino Ino, name string, value []byte, flags XattrFlags) error {
	switch {
	case name == "" || len(name) > maxXattrName:
		return fail("setxattr", name, of(Range))
	case len(value) > maxXattrValue:
		return fail("setxattr", name, of(TooBig))
	case ino == RootIno:
		return fail("setxattr", name, of(NotPermitted))
	}
	err := v.update(ctx, metastore.Ordered, func(t *txn) error {
		n, err := v.inode(t, ino, tenancy.PutObject)
		if err != nil {
			return err
		}
		_, err = t.Get(xattrKey(ino, name))
		absent := errors.Is(err, metastore.ErrNotFound)
		switch {
		case err != nil && !absent:
			return err
		case flags == XattrCreate && !absent:
			return of(Exists)
		case flags == XattrReplace && absent:
			return of(NoAttr)
		}
		if absent && n.Xattrs {
			names, err := xattrNames(t, ino)
			if err != nil {
				return err
			}
			if listBytes(names)+len(name)+1 > maxXattrList {
				return of(NoSpace)
			}
		}
		n.Xattrs, n.Ctime = true, t.now
		t.attrChanged(ino, false)
		if err := t.Set(xattrKey(ino, name), value); err != nil {
			return err
		}
		return t.putInode(ino, n)
	})
	return fail("setxattr", name, err)
}

// ListXattr implements Posix (listxattr(2)).
func (v *View) ListXattr(ctx context.Context, ino Ino) (names []string, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		n, err := v.inode(r, ino, tenancy.GetObject)
		if err != nil || !n.Xattrs {
			return err
		}
		names, err = xattrNames(r, ino)
		return err
	})
	return names, fail("listxattr", "", err)
}

// RemoveXattr implements Posix (removexattr(2)).
func (v *View) RemoveXattr(ctx context.Context, ino Ino, name string) error {
	err := v.update(ctx, metastore.Ordered, func(t *txn) error {
		n, err := v.inode(t, ino, tenancy.PutObject)
		if err != nil {
			return err
		}
		if _, err := t.Get(xattrKey(ino, name)); errors.Is(err, metastore.ErrNotFound) {
			return of(NoAttr)
		} else if err != nil {
			return err
		}
		if err := t.Delete(xattrKey(ino, name)); err != nil {
			return err
		}
		n.Ctime = t.now
		t.attrChanged(ino, false)
		return t.putInode(ino, n)
	})
	return fail("removexattr", name, err)
}

func xattrNames(r metastore.Reader, ino Ino) (names []string, err error) {
	prefix := xattrKey(ino, "")
	rg := prefixRange(prefix, 16)
	rg.KeysOnly = true
	err = r.Scan(rg, func(k, _ []byte) (bool, error) {
		names = append(names, string(k[len(prefix):]))
		return true, nil
	})
	return names, err
}

func listBytes(names []string) int {
	n := 0
	for _, name := range names {
		n += len(name) + 1
	}
	return n
}

// dropXattrs removes all extended attributes of an inode.
func (t *txn) dropXattrs(ino Ino) error {
	names, err := xattrNames(t, ino)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := t.Delete(xattrKey(ino, name)); err != nil {
			return err
		}
	}
	return nil
}
