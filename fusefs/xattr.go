package fusefs

import (
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"k3fs/namespace"
)

// foreign answers for attributes with a meaning to the kernel that this mount does not give them:
// access lists and security labels. EOPNOTSUPP makes ls(1) and cp(1) stop asking for the whole mount;
// file capabilities are void on a nosuid mount, and absent is the answer that execve expects.
func foreign(attr string) fuse.Status {
	switch {
	case attr == "security.capability":
		return fuse.ENODATA
	case strings.HasPrefix(attr, "system."), strings.HasPrefix(attr, "security."):
		return errno(syscall.EOPNOTSUPP)
	}
	return fuse.OK
}

// GetXAttr implements fuse.RawFileSystem. An empty dest asks for the size only.
func (d *door) GetXAttr(_ <-chan struct{}, in *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	if s := foreign(attr); s != fuse.OK {
		return 0, s
	}
	value, err := d.fs.GetXattr(background, namespace.Ino(in.NodeId), attr)
	if err != nil {
		return 0, d.stale(err)
	}
	if len(value) > len(dest) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}

// ListXAttr implements fuse.RawFileSystem.
func (d *door) ListXAttr(_ <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	names, err := d.fs.ListXattr(background, namespace.Ino(in.NodeId))
	if err != nil {
		return 0, d.stale(err)
	}
	size := 0
	for _, n := range names {
		size += len(n) + 1
	}
	if size > len(dest) {
		return uint32(size), fuse.ERANGE
	}
	dest = dest[:0]
	for _, n := range names {
		dest = append(append(dest, n...), 0)
	}
	return uint32(size), fuse.OK
}

// SetXAttr implements fuse.RawFileSystem.
func (d *door) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, attr string, value []byte) fuse.Status {
	if s := foreign(attr); s != fuse.OK {
		return errno(syscall.EOPNOTSUPP)
	}
	var f namespace.XattrFlags
	switch in.Flags {
	case unix.XATTR_CREATE:
		f = namespace.XattrCreate
	case unix.XATTR_REPLACE:
		f = namespace.XattrReplace
	}
	err := d.fs.SetXattr(background, namespace.Ino(in.NodeId), attr, value, f)
	if err != nil && kindOf(err) == namespace.TooBig {
		return errno(syscall.E2BIG)
	}
	return d.stale(err)
}

// RemoveXAttr implements fuse.RawFileSystem.
func (d *door) RemoveXAttr(_ <-chan struct{}, in *fuse.InHeader, attr string) fuse.Status {
	if s := foreign(attr); s != fuse.OK {
		return s
	}
	return d.stale(d.fs.RemoveXattr(background, namespace.Ino(in.NodeId), attr))
}
