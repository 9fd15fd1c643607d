package fusefs

import (
	"context"
	"strings"
	"syscall"

	"k3fs/internal/posixacl"
	"k3fs/namespace"
)

// Squash says whom root is on a mount (root_squash, anonuid and anongid of exports(5)).
type Squash struct{ UID, GID uint32 }

// squashed is a file system as root may use it where he is somebody else. The kernel lets root do everything and asks nobody, so
// what it asks of others is asked here: modes, access lists, owners, sticky bits, and whether the directories on the way
// can be passed (path_resolution(7)), since it finds names that others have used without a lookup. As in the kernel, this comes before the
// operation, and not in its transaction.
type squashed struct {
	fs       namespace.Posix
	uid, gid uint32
	root     namespace.Ino // what the root shows; 0: the root itself
}

var _ namespace.Posix = (*squashed)(nil)

// The permissions, as bits of a mode.
const (
	mayRead  = 4
	mayWrite = 2
	mayPass  = 1
)

var (
	errNoAccess  = &namespace.Error{Op: "root_squash", Kind: namespace.Access}
	errNotOwner  = &namespace.Error{Op: "root_squash", Kind: namespace.NotPermitted}
	onlyForRoots = []string{"trusted.", "security."}
)

// asks reports whether mode and access list of an inode give what want says.
func (s *squashed) asks(ctx context.Context, a *namespace.Attr, want uint32) error {
	if want == 0 {
		return nil
	}
	raw, err := s.fs.GetXattr(ctx, a.Ino, "system.posix_acl_access")
	switch kindOf(err) {
	case namespace.NoAttr, namespace.Unsupported:
	default:
		if err != nil {
			return err
		}
	}
	list, err := posixacl.Parse(raw)
	if err != nil {
		return errNoAccess
	}
	if len(list) == 0 {
		list = posixacl.ACL{{Tag: posixacl.UserObj, Perm: uint16(a.Mode >> 6 & 7)},
			{Tag: posixacl.GroupObj, Perm: uint16(a.Mode >> 3 & 7)}, {Tag: posixacl.Other, Perm: uint16(a.Mode & 7)}}
	}
	if !list.Permits(s.uid, s.gid, a.UID, a.GID, uint16(want)) {
		return errNoAccess
	}
	return nil
}

// reach makes sure that an inode can be reached from the root of the mount.
func (s *squashed) reach(ctx context.Context, a namespace.Attr) error {
	for a.Ino != s.root && a.Ino != namespace.RootIno && a.Parent != 0 {
		up := a.Parent
		if up == s.root {
			up = namespace.RootIno
		}
		dir, err := s.fs.GetAttr(ctx, up)
		if err == nil {
			err = s.asks(ctx, &dir, mayPass)
		}
		if err != nil {
			return err
		}
		a = dir
	}
	return nil
}

// may returns an inode that can be reached and gives what want says.
func (s *squashed) may(ctx context.Context, ino namespace.Ino, want uint32) (namespace.Attr, error) {
	a, err := s.fs.GetAttr(ctx, ino)
	if err == nil {
		err = s.reach(ctx, a)
	}
	if err == nil {
		err = s.asks(ctx, &a, want)
	}
	return a, err
}

// owns is may for what only the owner does.
func (s *squashed) owns(ctx context.Context, ino namespace.Ino) (namespace.Attr, error) {
	a, err := s.may(ctx, ino, 0)
	if err == nil && a.UID != s.uid {
		err = errNotOwner
	}
	return a, err
}

// mayAdd reports whether a name may be made in a directory.
func (s *squashed) mayAdd(ctx context.Context, dir namespace.Ino) (namespace.Attr, error) {
	return s.may(ctx, dir, mayWrite|mayPass)
}

// mayDrop reports whether a name may be taken from a directory: of a sticky one only by the owner of either.
func (s *squashed) mayDrop(ctx context.Context, dir namespace.Ino, name string) (namespace.Attr, error) {
	d, err := s.mayAdd(ctx, dir)
	if err != nil {
		return namespace.Attr{}, err
	}
	a, err := s.fs.Lookup(ctx, dir, name)
	if err == nil && d.Mode&syscall.S_ISVTX != 0 && d.UID != s.uid && a.UID != s.uid {
		err = errNotOwner
	}
	return a, err
}

// made takes from a new file the set-group-id bit of a group that its maker isn't in, as the kernel does.
func (s *squashed) made(dir namespace.Attr, n *namespace.NewNode) {
	const executable = syscall.S_ISGID | syscall.S_IXGRP
	if n.Mode&executable == executable && dir.Mode&syscall.S_ISGID != 0 && dir.GID != s.gid {
		n.Mode &^= syscall.S_ISGID
	}
}

func (s *squashed) Lookup(ctx context.Context, parent namespace.Ino, name string) (namespace.Attr, error) {
	if _, err := s.may(ctx, parent, mayPass); err != nil {
		return namespace.Attr{}, err
	}
	return s.fs.Lookup(ctx, parent, name)
}

func (s *squashed) GetAttr(ctx context.Context, ino namespace.Ino) (namespace.Attr, error) {
	return s.may(ctx, ino, 0)
}

func (s *squashed) Accessed(ctx context.Context, ino namespace.Ino) (bool, error) {
	return s.fs.Accessed(ctx, ino)
}

func (s *squashed) SetAttr(ctx context.Context, ino namespace.Ino, c namespace.SetAttr) (namespace.Attr, error) {
	if err := s.maySet(ctx, ino, &c); err != nil {
		return namespace.Attr{}, err
	}
	return s.fs.SetAttr(ctx, ino, c)
}

// maySet asks for each of the changes (setattr_prepare in Linux).
func (s *squashed) maySet(ctx context.Context, ino namespace.Ino, c *namespace.SetAttr) error {
	a, err := s.may(ctx, ino, 0)
	if err != nil {
		return err
	}
	owner := a.UID == s.uid
	times := c.Atime != nil || c.Mtime != nil
	switch {
	case c.UID != nil && (!owner || *c.UID != a.UID),
		c.GID != nil && (!owner || *c.GID != a.GID && *c.GID != s.gid),
		c.Mode != nil && !owner,
		c.Flags != nil && (!owner || (*c.Flags^a.Flags)&(namespace.Immutable|namespace.AppendOnly) != 0),
		times && !c.Touch && !owner:
		return errNotOwner
	}
	if c.Mode != nil && a.GID != s.gid {
		*c.Mode &^= syscall.S_ISGID
	}
	if c.Size != nil {
		c.KillPriv = true
	}
	if c.Size != nil && c.Handle == nil || times && !owner {
		return s.asks(ctx, &a, mayWrite)
	}
	return nil
}

func (s *squashed) Mkdir(ctx context.Context, parent namespace.Ino, name string, n namespace.NewNode) (namespace.Attr, error) {
	if _, err := s.mayAdd(ctx, parent); err != nil {
		return namespace.Attr{}, err
	}
	return s.fs.Mkdir(ctx, parent, name, n)
}

func (s *squashed) Mknod(ctx context.Context, parent namespace.Ino, name string, n namespace.NewNode) (namespace.Attr, error) {
	dir, err := s.mayAdd(ctx, parent)
	if err == nil && (n.Type == namespace.CharDev || n.Type == namespace.BlockDev) {
		err = errNotOwner
	}
	if err != nil {
		return namespace.Attr{}, err
	}
	s.made(dir, &n)
	return s.fs.Mknod(ctx, parent, name, n)
}

func (s *squashed) Symlink(ctx context.Context, parent namespace.Ino, name, target string, n namespace.NewNode) (namespace.Attr, error) {
	if _, err := s.mayAdd(ctx, parent); err != nil {
		return namespace.Attr{}, err
	}
	return s.fs.Symlink(ctx, parent, name, target, n)
}

func (s *squashed) Readlink(ctx context.Context, ino namespace.Ino) (string, error) {
	if _, err := s.may(ctx, ino, 0); err != nil {
		return "", err
	}
	return s.fs.Readlink(ctx, ino)
}

// Link gives one's own files further names, and what one may read and write (fs.protected_hardlinks in proc_sys_fs(5)).
func (s *squashed) Link(ctx context.Context, ino, parent namespace.Ino, name string) (namespace.Attr, error) {
	a, err := s.may(ctx, ino, 0)
	if err == nil && a.UID != s.uid {
		if a.Type != namespace.File || a.Mode&(syscall.S_ISUID|syscall.S_ISGID) != 0 || s.asks(ctx, &a, mayRead|mayWrite) != nil {
			err = errNotOwner
		}
	}
	if err == nil {
		_, err = s.mayAdd(ctx, parent)
	}
	if err != nil {
		return namespace.Attr{}, err
	}
	return s.fs.Link(ctx, ino, parent, name)
}

func (s *squashed) Unlink(ctx context.Context, parent namespace.Ino, name string) error {
	if _, err := s.mayDrop(ctx, parent, name); err != nil {
		return err
	}
	return s.fs.Unlink(ctx, parent, name)
}

func (s *squashed) Rmdir(ctx context.Context, parent namespace.Ino, name string) error {
	if _, err := s.mayDrop(ctx, parent, name); err != nil {
		return err
	}
	return s.fs.Rmdir(ctx, parent, name)
}

func (s *squashed) Rename(ctx context.Context, parent namespace.Ino, name string, newParent namespace.Ino, newName string, f namespace.RenameFlags) error {
	from, err := s.mayDrop(ctx, parent, name)
	if err != nil {
		return err
	}
	moved := []namespace.Attr{from}
	to, err := s.mayDrop(ctx, newParent, newName)
	switch {
	case err == nil && f&namespace.RenameExchange != 0:
		moved = append(moved, to)
	case err != nil && kindOf(err) != namespace.NotFound:
		return err
	}
	for _, a := range moved {
		if a.Type == namespace.Dir && parent != newParent { // its ".." changes
			if err := s.asks(ctx, &a, mayWrite); err != nil {
				return err
			}
		}
	}
	return s.fs.Rename(ctx, parent, name, newParent, newName, f)
}

func (s *squashed) Create(ctx context.Context, parent namespace.Ino, name string, n namespace.NewNode, f namespace.OpenFlags) (namespace.Attr, namespace.FileHandle, error) {
	var dir namespace.Attr
	there, err := s.Lookup(ctx, parent, name)
	switch {
	case err == nil:
		_, err = s.may(ctx, there.Ino, wanted(f))
	case kindOf(err) == namespace.NotFound:
		dir, err = s.mayAdd(ctx, parent)
		s.made(dir, &n)
	}
	if err != nil {
		return namespace.Attr{}, nil, err
	}
	return s.fs.Create(ctx, parent, name, n, f)
}

func (s *squashed) Tmpfile(ctx context.Context, dir namespace.Ino, n namespace.NewNode, f namespace.OpenFlags) (namespace.Attr, namespace.FileHandle, error) {
	in, err := s.mayAdd(ctx, dir)
	if err != nil {
		return namespace.Attr{}, nil, err
	}
	s.made(in, &n)
	return s.fs.Tmpfile(ctx, dir, n, f)
}

// wanted is what a file must give for being opened.
func wanted(f namespace.OpenFlags) (want uint32) {
	if f.Read {
		want |= mayRead
	}
	if f.Write || f.Append || f.Trunc {
		want |= mayWrite
	}
	return want
}

func (s *squashed) Open(ctx context.Context, ino namespace.Ino, f namespace.OpenFlags) (namespace.FileHandle, error) {
	if _, err := s.may(ctx, ino, wanted(f)); err != nil {
		return nil, err
	}
	return s.fs.Open(ctx, ino, f)
}

func (s *squashed) ReadDir(ctx context.Context, dir namespace.Ino, cookie string, limit int, plus bool) ([]namespace.DirEntry, error) {
	if _, err := s.may(ctx, dir, mayRead); err != nil {
		return nil, err
	}
	return s.fs.ReadDir(ctx, dir, cookie, limit, plus)
}

func (s *squashed) GetXattr(ctx context.Context, ino namespace.Ino, name string) ([]byte, error) {
	want := uint32(0)
	switch {
	case strings.HasPrefix(name, "trusted."):
		return nil, &namespace.Error{Op: "root_squash", Kind: namespace.NoAttr}
	case strings.HasPrefix(name, "user."):
		want = mayRead
	}
	if _, err := s.may(ctx, ino, want); err != nil {
		return nil, err
	}
	return s.fs.GetXattr(ctx, ino, name)
}

// maySetXattr asks as xattr(7) says.
func (s *squashed) maySetXattr(ctx context.Context, ino namespace.Ino, name string) error {
	for _, prefix := range onlyForRoots {
		if strings.HasPrefix(name, prefix) {
			return errNotOwner
		}
	}
	if !strings.HasPrefix(name, "user.") {
		_, err := s.owns(ctx, ino)
		return err
	}
	a, err := s.may(ctx, ino, mayWrite)
	if err == nil && a.Type == namespace.Dir && a.Mode&syscall.S_ISVTX != 0 && a.UID != s.uid {
		err = errNotOwner
	}
	return err
}

func (s *squashed) SetXattr(ctx context.Context, ino namespace.Ino, name string, value []byte, f namespace.XattrFlags) error {
	if err := s.maySetXattr(ctx, ino, name); err != nil {
		return err
	}
	return s.fs.SetXattr(ctx, ino, name, value, f)
}

func (s *squashed) ListXattr(ctx context.Context, ino namespace.Ino) ([]string, error) {
	if _, err := s.may(ctx, ino, 0); err != nil {
		return nil, err
	}
	return s.fs.ListXattr(ctx, ino)
}

func (s *squashed) RemoveXattr(ctx context.Context, ino namespace.Ino, name string) error {
	if err := s.maySetXattr(ctx, ino, name); err != nil {
		return err
	}
	return s.fs.RemoveXattr(ctx, ino, name)
}

func (s *squashed) StatFS(ctx context.Context, ino namespace.Ino) (namespace.StatFS, error) {
	return s.fs.StatFS(ctx, ino)
}

func (s *squashed) SyncDir(ctx context.Context, dir namespace.Ino) error {
	return s.fs.SyncDir(ctx, dir)
}

func (s *squashed) Sync(ctx context.Context) error { return s.fs.Sync(ctx) }
