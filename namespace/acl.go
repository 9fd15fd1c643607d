package namespace

import (
	"fmt"

	"k3fs/internal/posixacl"
	"k3fs/metastore"
)

// The extended attributes that POSIX access control lists are read and set by (acl(5)).
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

// inheritMode gives a new node its mode and lists: those that the directory p's default list gives, or if
// there is none, mode without the umask.
func (n *inodeRec) inheritMode(p *inodeRec, mode, umask uint32) error {
	if len(p.DefACL) == 0 || Type(n.Type) == Symlink {
		n.Mode = mode &^ (umask & 0o777)
		return nil
	}
	def, err := storedACL(p.DefACL)
	if err != nil {
		return err
	}
	if Type(n.Type) == Dir {
		n.DefACL = p.DefACL
	}
	n.Mode = mode &^ 0o777
	n.setACL(def.Inherit(mode))
	return nil
}

// setACL makes a the access list. One that says no more than a mode is kept as the mode.
func (n *inodeRec) setACL(a posixacl.ACL) {
	bits, minimal := a.Mode()
	n.Mode, n.ACL = n.Mode&^0o777|bits, nil
	if !minimal {
		n.ACL = a.Marshal()
	}
}

// chmod sets the mode, and the entries of the access list that it stands for.
func (n *inodeRec) chmod(mode uint32) error {
	n.Mode = mode
	if len(n.ACL) == 0 {
		return nil
	}
	a, err := storedACL(n.ACL)
	if err == nil {
		n.setACL(a.Chmod(mode))
	}
	return err
}

func storedACL(b []byte) (posixacl.ACL, error) {
	a, err := posixacl.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", metastore.ErrCorrupt, err)
	}
	return a, nil
}

// aclXattr handles the two attributes. A list that the mode says all of is no attribute.
type aclXattr struct{}

func (aclXattr) get(x *xattrOf, name string) ([]byte, error) {
	switch {
	case Type(x.n.Type) == Symlink:
		return nil, of(Unsupported)
	case name == accessACL && len(x.n.ACL) > 0:
		return x.n.ACL, nil
	case name == defaultACL && len(x.n.DefACL) > 0:
		return x.n.DefACL, nil
	}
	return nil, of(NoAttr)
}

func (aclXattr) list(x *xattrOf) (names []string, err error) {
	if len(x.n.ACL) > 0 {
		names = append(names, accessACL)
	}
	if len(x.n.DefACL) > 0 {
		names = append(names, defaultACL)
	}
	return names, nil
}

func (aclXattr) set(t *txn, x *xattrOf, name string, value []byte, flags XattrFlags) error {
	if Type(x.n.Type) == Symlink {
		return of(Unsupported)
	}
	if len(value) > posixacl.MaxBytes {
		return of(TooBig)
	}
	a, err := posixacl.Parse(value)
	if err != nil {
		return &Error{Kind: Invalid, Err: err}
	}
	switch {
	case name == defaultACL && len(a) > 0 && Type(x.n.Type) != Dir:
		return of(Access)
	case name == defaultACL:
		x.n.DefACL = a.Marshal()
	case len(a) == 0: // the group's bits stay what the mask was
		x.n.ACL = nil
	default:
		x.n.setACL(a)
		if flags&XattrKillSGID != 0 {
			x.n.Mode &^= 0o2000
		}
	}
	return nil
}

// remove succeeds if there is none, as setfacl(1) expects.
func (a aclXattr) remove(t *txn, x *xattrOf, name string) error { return a.set(t, x, name, nil, 0) }
