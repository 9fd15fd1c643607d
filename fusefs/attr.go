package fusefs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"k3fs/namespace"
)

// blockSize is what statfs counts in, and the preferred I/O size of stat.
const blockSize = 4096

// modes are the file types of mode_t, by namespace.Type.
var modes = [...]uint32{
	namespace.File:     syscall.S_IFREG,
	namespace.Dir:      syscall.S_IFDIR,
	namespace.Symlink:  syscall.S_IFLNK,
	namespace.FIFO:     syscall.S_IFIFO,
	namespace.Socket:   syscall.S_IFSOCK,
	namespace.CharDev:  syscall.S_IFCHR,
	namespace.BlockDev: syscall.S_IFBLK,
}

func modeOf(t namespace.Type) uint32 {
	if int(t) < len(modes) {
		return modes[t]
	}
	return 0
}

// typeOf is modeOf's inverse; 0 if the mode names no type.
func typeOf(mode uint32) namespace.Type {
	mode &= syscall.S_IFMT
	if mode == 0 { // mknod(2): zero means a regular file
		return namespace.File
	}
	for t, m := range modes {
		if m == mode {
			return namespace.Type(t)
		}
	}
	return 0
}

func fillAttr(out *fuse.Attr, a *namespace.Attr) {
	out.Ino = uint64(a.Ino)
	out.Size = uint64(a.Size)
	out.Blocks = uint64(a.Blocks)
	out.Atime, out.Atimensec = split(a.Atime)
	out.Mtime, out.Mtimensec = split(a.Mtime)
	out.Ctime, out.Ctimensec = split(a.Ctime)
	out.Mode = modeOf(a.Type) | a.Mode&07777
	out.Nlink = a.Nlink
	out.Uid, out.Gid = a.UID, a.GID
	out.Rdev = a.Rdev
	out.Blksize = blockSize
}

func fillStatx(out *fuse.Statx, a *namespace.Attr) {
	out.Mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	out.Ino = uint64(a.Ino)
	out.Size = uint64(a.Size)
	out.Blocks = uint64(a.Blocks)
	out.Atime.Sec, out.Atime.Nsec = split(a.Atime)
	out.Btime.Sec, out.Btime.Nsec = split(a.Btime)
	out.Ctime.Sec, out.Ctime.Nsec = split(a.Ctime)
	out.Mtime.Sec, out.Mtime.Nsec = split(a.Mtime)
	out.Mode = uint16(modeOf(a.Type) | a.Mode&07777)
	out.Nlink = a.Nlink
	out.Uid, out.Gid = a.UID, a.GID
	out.RdevMajor, out.RdevMinor = unix.Major(uint64(a.Rdev)), unix.Minor(uint64(a.Rdev))
	out.Blksize = blockSize
}

func split(t time.Time) (sec uint64, nsec uint32) {
	return uint64(t.Unix()), uint32(t.Nanosecond())
}

// entry fills in the reply that introduces the inode a, found under name in parent, to the kernel.
func (d *door) entry(out *fuse.EntryOut, since uint64, parent namespace.Ino, name string, a *namespace.Attr) {
	out.NodeId = uint64(a.Ino)
	fillAttr(&out.Attr, a)
	if d.lasting(since, parent, name) && !a.Ino.MadeUp() {
		out.SetEntryTimeout(d.opts.EntryTTL)
	}
	if d.mayKeep(since, a.Ino) {
		out.SetAttrTimeout(d.opts.AttrTTL)
	}
}

// attr fills in a reply that tells an inode's attributes.
func (d *door) attr(out *fuse.AttrOut, since uint64, a *namespace.Attr) {
	fillAttr(&out.Attr, a)
	if d.mayKeep(since, a.Ino) {
		out.SetTimeout(d.opts.AttrTTL)
	}
}

// lasting reports whether a name, there or not, may be cached. Of what is in directories that are made up, and of
// themselves, nobody tells the kernel when it changes.
func (d *door) lasting(since uint64, parent namespace.Ino, name string) bool {
	return d.opts.As == nil && !parent.MadeUp() && name != namespace.PastName && d.inv.entryFresh(since, parent, name)
}

// accessed says that an inode was read. A failure only leaves its access time as it was.
func (d *door) accessed(fs namespace.Posix, ino namespace.Ino) {
	if d.opts.NoAtime || d.opts.ReadOnly {
		return
	}
	if _, err := fs.Accessed(background, ino); err != nil && !gone(err) {
		d.log.Debug("an access time stays as it was", "ino", ino, "err", err)
	}
}

// closedAfterRead says that a file that was open for reading only has been read: the kernel does not tell of
// reads that its cache answered. It is told that the attributes which it holds are old.
func (d *door) closedAfterRead(f *file) {
	if d.opts.NoAtime || d.opts.ReadOnly || !f.due() {
		return
	}
	if noted, err := f.fs.Accessed(background, f.Ino()); err == nil && noted {
		d.kernel.InodeNotify(uint64(f.Ino()), attrOnly, 0)
	}
}
