package fusefs

import (
	"encoding/binary"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"k3fs/namespace"
)

// xflags pairs the flags of an inode with those of struct fsxattr (ioctl_xfs_fsgetxattr(2)).
var xflags = [...]struct {
	flag namespace.Flags
	x    uint32
}{
	{namespace.Immutable, 0x8},
	{namespace.AppendOnly, 0x10},
	{namespace.NoDump, 0x80},
	{namespace.NoAtime, 0x40},
}

// From linux/fs.h.
const (
	fsGetXattr = 0x801c581f // FS_IOC_FSGETXATTR
	fsSetXattr = 0x401c5820 // FS_IOC_FSSETXATTR
	hasXattr   = 0x80000000 // FS_XFLAG_HASATTR, read only

	// fsxattrSize is that of struct fsxattr: its flags, and six words that mean nothing here and are 0.
	fsxattrSize = 28
)

// Ioctl implements fuse.RawFileSystem: the flags of chattr(1), for which the kernel opens the file. It has
// checked that the caller may change those that only CAP_LINUX_IMMUTABLE may.
func (d *door) Ioctl(_ <-chan struct{}, in *fuse.IoctlIn, inbuf []byte, out *fuse.IoctlOut, outbuf []byte) fuse.Status {
	switch in.Cmd {
	case unix.FS_IOC_GETFLAGS, fsGetXattr:
		a, err := d.actor(&in.InHeader).GetAttr(background, namespace.Ino(in.NodeId))
		if err != nil {
			return d.status(err)
		}
		return encodeFlags(in.Cmd, a.Flags, outbuf)
	case unix.FS_IOC_SETFLAGS, fsSetXattr:
		f, s := decodeFlags(in.Cmd, inbuf)
		if s != fuse.OK {
			return s
		}
		return d.setFlags(d.actor(&in.InHeader), in.NodeId, f)
	}
	return errno(syscall.ENOTTY)
}

// setFlags changes the flags of an inode. What was written before a file became immutable is part of it, so
// the kernel first writes back what it holds; and it does not know that the change has a ctime.
func (d *door) setFlags(fs namespace.Posix, node uint64, f namespace.Flags) fuse.Status {
	if d.writers.any(namespace.Ino(node)) {
		d.kernel.InodeNotify(node, 0, 0)
	}
	_, err := fs.SetAttr(background, namespace.Ino(node), namespace.SetAttr{Flags: &f})
	d.kernel.InodeNotify(node, attrOnly, 0)
	return d.status(err)
}

func encodeFlags(cmd uint32, f namespace.Flags, out []byte) fuse.Status {
	if cmd == unix.FS_IOC_GETFLAGS {
		if len(out) < 4 {
			return fuse.EINVAL
		}
		clear(out)
		binary.NativeEndian.PutUint32(out, uint32(f))
		return fuse.OK
	}
	if len(out) < fsxattrSize {
		return fuse.EINVAL
	}
	clear(out)
	x := uint32(0)
	for _, pair := range xflags {
		if f&pair.flag != 0 {
			x |= pair.x
		}
	}
	binary.NativeEndian.PutUint32(out, x)
	return fuse.OK
}

func decodeFlags(cmd uint32, in []byte) (f namespace.Flags, s fuse.Status) {
	if cmd == unix.FS_IOC_SETFLAGS {
		if len(in) < 4 {
			return 0, fuse.EINVAL
		}
		return namespace.Flags(binary.NativeEndian.Uint32(in)), fuse.OK
	}
	if len(in) < fsxattrSize {
		return 0, fuse.EINVAL
	}
	x := binary.NativeEndian.Uint32(in)
	for _, pair := range xflags {
		if x&pair.x != 0 {
			f |= pair.flag
			x &^= pair.x
		}
	}
	for _, b := range in[4:fsxattrSize] { // an extent size, a project
		if b != 0 {
			return 0, errno(syscall.EOPNOTSUPP)
		}
	}
	if x&^hasXattr != 0 {
		return 0, errno(syscall.EOPNOTSUPP)
	}
	return f, fuse.OK
}
