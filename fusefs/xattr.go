package fusefs

import (
	"slices"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"k3fs/namespace"
)

// GetXAttr implements fuse.RawFileSystem. An empty dest asks for the size only.
func (d *door) GetXAttr(_ <-chan struct{}, in *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	value, err := d.actor(in).GetXattr(background, namespace.Ino(in.NodeId), attr)
	if err != nil {
		return 0, d.stale(err)
	}
	if len(value) > len(dest) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}

// ListXAttr implements fuse.RawFileSystem. Only root is shown what only root may read.
func (d *door) ListXAttr(_ <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	who := d.actor(in)
	names, err := who.ListXattr(background, namespace.Ino(in.NodeId))
	if err != nil {
		return 0, d.stale(err)
	}
	if who.uid != 0 {
		names = slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, "trusted.") })
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
	var f namespace.XattrFlags
	if in.Flags&unix.XATTR_CREATE != 0 {
		f |= namespace.XattrCreate
	}
	if in.Flags&unix.XATTR_REPLACE != 0 {
		f |= namespace.XattrReplace
	}
	if in.SetXAttrFlags&fuse.SETXATTR_ACL_KILL_SGID != 0 {
		f |= namespace.XattrKillSGID
	}
	err := d.actor(&in.InHeader).SetXattr(background, namespace.Ino(in.NodeId), attr, value, f)
	if err != nil && kindOf(err) == namespace.TooBig {
		return errno(syscall.E2BIG)
	}
	return d.stale(err)
}

// RemoveXAttr implements fuse.RawFileSystem.
func (d *door) RemoveXAttr(_ <-chan struct{}, in *fuse.InHeader, attr string) fuse.Status {
	return d.stale(d.actor(in).RemoveXattr(background, namespace.Ino(in.NodeId), attr))
}
