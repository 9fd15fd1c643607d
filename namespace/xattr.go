package namespace

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// Limits of extended attributes: those of Linux (linux/limits.h), bytes of a name, a value, and all names of
// an inode with a NUL behind each; and how many an inode can have, so that one update can remove them all.
const (
	maxXattrName  = 255
	maxXattrValue = 64 << 10
	maxXattrList  = 60 << 10 // of plain ones: room is left for what S3 gives
	maxXattrs     = 1000
)

// fileCapability is the attribute that gives a program capabilities (capabilities(7)); it goes when another
// writes to the file.
const fileCapability = "security.capability"

// xattrOf is an inode whose extended attributes are read or changed.
type xattrOf struct {
	v   *View
	r   metastore.Reader
	ino Ino
	n   *inodeRec
}

// xattrs are the attributes of one kind. An attribute that is not there is NoAttr.
type xattrs interface {
	get(x *xattrOf, name string) ([]byte, error)
	list(x *xattrOf) ([]string, error)
	// set and remove change x.n, which the caller stores.
	set(t *txn, x *xattrOf, name string, value []byte, f XattrFlags) error
	remove(t *txn, x *xattrOf, name string) error
}

// xattrKind finds the kind of a name (xattr(7)).
func xattrKind(name string) (xattrs, error) {
	if len(name) > maxXattrName || name == "" {
		return nil, of(Range)
	}
	if name == accessACL || name == defaultACL {
		return aclXattr{}, nil
	}
	if strings.HasPrefix(name, s3Tag) {
		return tagXattr{}, nil
	}
	if isLockXattr(name) {
		return lockXattr{}, nil
	}
	if strings.HasPrefix(name, s3Space) {
		return s3Xattr{}, nil
	}
	for _, space := range []string{userSpace, trustedSpace, "security."} {
		if rest, ok := strings.CutPrefix(name, space); ok {
			if rest == "" {
				return nil, of(Invalid)
			}
			return plainXattr{}, nil
		}
	}
	return nil, of(Unsupported)
}

const (
	userSpace    = "user."
	trustedSpace = "trusted."
)

// GetXattr implements Posix (getxattr(2)).
func (v *View) GetXattr(ctx context.Context, ino Ino, name string) (value []byte, err error) {
	var n *inodeRec
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		var err error
		if n, err = v.inode(r, ino, tenancy.GetObject); err != nil {
			return err
		}
		kind, err := xattrKind(name)
		if err != nil {
			return err
		}
		value, err = kind.get(&xattrOf{v, r, ino, n}, name)
		return err
	})
	if name == s3Type && isKind(err, NoAttr) && n.Published != nil { // deriving it reads the content, in a view of its own
		c := n.Published
		return []byte(cmp.Or(v.fs.derivedType(ctx, component(n.Name), ino, c.ETag, int(c.Parts)), DefaultType)), nil
	}
	return value, fail("getxattr", name, err)
}

// ListXattr implements Posix (listxattr(2)).
func (v *View) ListXattr(ctx context.Context, ino Ino) (names []string, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		n, err := v.inode(r, ino, tenancy.GetObject)
		if err != nil {
			return err
		}
		names = nil
		for _, kind := range []xattrs{aclXattr{}, s3Xattr{}, tagXattr{}, plainXattr{}} {
			some, err := kind.list(&xattrOf{v, r, ino, n})
			if err != nil {
				return err
			}
			names = append(names, some...)
		}
		return nil
	})
	return names, fail("listxattr", "", err)
}

// SetXattr implements Posix (setxattr(2)).
func (v *View) SetXattr(ctx context.Context, ino Ino, name string, value []byte, flags XattrFlags) error {
	if len(value) > maxXattrValue {
		return fail("setxattr", name, of(TooBig))
	}
	return fail("setxattr", name, v.changeXattr(ctx, ino, name, func(t *txn, kind xattrs, x *xattrOf) error {
		if flags&(XattrCreate|XattrReplace) != 0 {
			_, err := kind.get(x, name)
			absent := isKind(err, NoAttr)
			switch {
			case err != nil && !absent:
				return err
			case flags&XattrCreate != 0 && !absent:
				return of(Exists)
			case flags&XattrReplace != 0 && absent:
				return of(NoAttr)
			}
		}
		return kind.set(t, x, name, value, flags)
	}))
}

// RemoveXattr implements Posix (removexattr(2)).
func (v *View) RemoveXattr(ctx context.Context, ino Ino, name string) error {
	return fail("removexattr", name, v.changeXattr(ctx, ino, name, func(t *txn, kind xattrs, x *xattrOf) error {
		return kind.remove(t, x, name)
	}))
}

// changeXattr is the update behind a change of an attribute.
func (v *View) changeXattr(ctx context.Context, ino Ino, name string, change func(*txn, xattrs, *xattrOf) error) error {
	kind, err := xattrKind(name)
	if err != nil {
		return err
	}
	if ino == RootIno {
		return of(NotPermitted)
	}
	action, a, durability := tenancy.PutObject, actSetattr, metastore.Ordered
	switch kind := kind.(type) {
	case s3Xattr:
		a = actDescribe
	case tagXattr:
		action, a = tenancy.PutObjectTagging, actLabel
	case lockXattr:
		action, durability = kind.need(name), metastore.Durable
	}
	_, locks := kind.(lockXattr)
	return v.update(ctx, durability, func(t *txn) error {
		n, err := v.inode(t, ino, action)
		if err != nil {
			return err
		}
		if n.hung() {
			return of(ReadOnly)
		}
		if !locks {
			if err := t.permit(ino, n, a); err != nil {
				return err
			}
		}
		if err := change(t, kind, &xattrOf{v, t, ino, n}); err != nil {
			return err
		}
		n.Ctime = t.now
		t.attrChanged(ino, false)
		return t.putInode(ino, n)
	})
}

// plainXattr handles attributes that mean nothing to us: each has a record.
type plainXattr struct{}

// allowed reports whether the inode may have the attribute: users' are for files and directories only.
func (plainXattr) allowed(n *inodeRec, name string) bool {
	t := Type(n.Type)
	return t == File || t == Dir || !strings.HasPrefix(name, userSpace)
}

func (p plainXattr) get(x *xattrOf, name string) ([]byte, error) {
	if !x.n.Xattrs || !p.allowed(x.n, name) {
		return nil, of(NoAttr)
	}
	value, err := x.r.Get(xattrKey(x.ino, name))
	if errors.Is(err, metastore.ErrNotFound) {
		err = of(NoAttr)
	}
	return value, err
}

func (plainXattr) list(x *xattrOf) ([]string, error) {
	if !x.n.Xattrs {
		return nil, nil
	}
	return xattrNames(x.r, x.ino)
}

func (p plainXattr) set(t *txn, x *xattrOf, name string, value []byte, _ XattrFlags) error {
	if !p.allowed(x.n, name) {
		return of(NotPermitted)
	}
	if _, err := p.get(x, name); isKind(err, NoAttr) {
		names, err := p.list(x)
		if err != nil {
			return err
		}
		if len(names) >= maxXattrs || listBytes(names)+len(name)+1 > maxXattrList {
			return of(NoSpace)
		}
	} else if err != nil {
		return err
	}
	x.n.Xattrs = true
	return t.Set(xattrKey(x.ino, name), value)
}

func (p plainXattr) remove(t *txn, x *xattrOf, name string) error {
	if _, err := p.get(x, name); err != nil {
		return err
	}
	return t.Delete(xattrKey(x.ino, name))
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

// dropCapability takes its capabilities away from a program that is written to, or given to another owner.
func (t *txn) dropCapability(ino Ino, n *inodeRec) error {
	if !n.Xattrs {
		return nil
	}
	return t.Delete(xattrKey(ino, fileCapability))
}
