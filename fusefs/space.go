package fusefs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"k3fs/namespace"
)

// allocModes are the modes of fallocate(2) that the kernel passes on; it answers EOPNOTSUPP itself to the
// others (FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_UNSHARE_RANGE).
var allocModes = map[uint32]namespace.AllocMode{
	0:                         namespace.AllocSpace,
	unix.FALLOC_FL_PUNCH_HOLE: namespace.AllocPunch,
	unix.FALLOC_FL_ZERO_RANGE: namespace.AllocZero,
}

// Fallocate implements fuse.RawFileSystem. The kernel has written back the range, and forgets it afterwards.
func (d *door) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	f := d.files.get(in.Fh)
	if f == nil {
		return fuse.EBADF
	}
	mode, ok := allocModes[in.Mode&^unix.FALLOC_FL_KEEP_SIZE]
	if !ok {
		return errno(syscall.EOPNOTSUPP)
	}
	if err := d.dropPriv(&in.InHeader, f); err != nil {
		return d.status(err)
	}
	defer d.changing(f.Ino(), 0, 0)()
	keep := in.Mode&unix.FALLOC_FL_KEEP_SIZE != 0
	return d.status(f.Allocate(background, mode, keep, int64(in.Offset), int64(in.Length)))
}

// CopyFileRange implements fuse.RawFileSystem. The kernel has written back both ranges, and forgets the
// target's afterwards.
func (d *door) CopyFileRange(c <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	src, dst := d.files.get(in.FhIn), d.files.get(in.FhOut)
	if src == nil || dst == nil {
		return 0, fuse.EBADF
	}
	if in.Flags != 0 {
		return 0, fuse.EINVAL
	}
	if err := d.dropPriv(&in.InHeader, dst); err != nil {
		return 0, d.status(err)
	}
	defer d.changing(dst.Ino(), int64(in.OffOut), 0)()
	n, err := dst.CopyFrom(background, src.FileHandle, int64(in.OffIn), int64(in.OffOut), int64(min(in.Len, maxCopy)))
	return uint32(n), d.status(err)
}

// maxCopy is the most bytes that one COPY_FILE_RANGE copies: its answer has 32 bits.
const maxCopy = 1 << 31

// dropPriv clears the set-id bits as a write does. Neither FALLOCATE nor COPY_FILE_RANGE says whether the
// caller may keep them (CAP_FSETID), so that is taken from who it is.
func (d *door) dropPriv(in *fuse.InHeader, f *file) error {
	if in.Uid == 0 && d.opts.Squash == nil {
		return nil
	}
	a, err := f.fs.GetAttr(background, f.Ino())
	if err != nil || a.Mode&(syscall.S_ISUID|syscall.S_ISGID) == 0 {
		return err
	}
	return killPriv(f.fs, f.FileHandle)
}

// Tmpfile implements fuse.RawFileSystem (O_TMPFILE). in.NodeId is the directory whose bucket the file is in.
func (d *door) Tmpfile(c <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	if d.draining() {
		return fuse.EAGAIN
	}
	since, who := d.inv.now(), d.actor(&in.InHeader)
	f := openFlags(in.Flags)
	a, h, err := who.Tmpfile(background, namespace.Ino(in.NodeId), who.node(in.Mode, in.Umask), f)
	if err != nil {
		return d.status(err)
	}
	out.NodeId = uint64(a.Ino)
	fillAttr(&out.Attr, &a)
	if d.mayKeep(since, a.Ino) {
		out.SetAttrTimeout(d.opts.AttrTTL)
	}
	d.opened(who.Posix, h, in.Flags, &out.OpenOut)
	return fuse.OK
}
