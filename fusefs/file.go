package fusefs

import (
	"errors"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"k3fs/namespace"
)

// maxRequest is the most bytes one READ or WRITE carries. Larger requests were slower when buffered.
const maxRequest = 1 << 20

// openFlags translates those of open(2). Where O_APPEND writes is the kernel's business (package comment).
func openFlags(flags uint32) namespace.OpenFlags {
	write := flags&syscall.O_ACCMODE != syscall.O_RDONLY
	return namespace.OpenFlags{
		Read:   flags&syscall.O_ACCMODE != syscall.O_WRONLY,
		Write:  write,
		Append: write && flags&syscall.O_APPEND != 0,
		Trunc:  flags&syscall.O_TRUNC != 0,
		Excl:   flags&syscall.O_EXCL != 0,
		Sync:   write && flags&syscall.O_DSYNC != 0, // O_SYNC contains O_DSYNC
	}
}

// opened enters a handle into the table and fills in the reply.
func (d *door) opened(fs namespace.Posix, h namespace.FileHandle, flags uint32, out *fuse.OpenOut) {
	mode := flags & syscall.O_ACCMODE
	f := &file{FileHandle: h, fs: fs, write: mode != syscall.O_RDONLY}
	f.quiet = mode == syscall.O_WRONLY || flags&syscall.O_NOATIME != 0
	if f.write {
		d.writers.add(h.Ino(), 1)
		d.unwritten.opened(f)
	}
	out.Fh = d.files.add(f)
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	if f.direct = d.covered.Load() || f.write && d.opts.WriteThrough && d.opts.Peers.several(); f.direct {
		out.OpenFlags = fuse.FOPEN_DIRECT_IO
	}
}

// Open implements fuse.RawFileSystem.
func (d *door) Open(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if d.draining() {
		return fuse.EAGAIN
	}
	f := openFlags(in.Flags)
	if f.Trunc {
		defer d.changing(namespace.Ino(in.NodeId), 0, 0)()
	}
	who := d.actor(&in.InHeader)
	h, err := who.Open(background, namespace.Ino(in.NodeId), f)
	if err != nil {
		return d.stale(err)
	}
	if f.Trunc && in.Mode&fuse.OPEN_KILL_SUIDGID != 0 {
		if err := killPriv(who, h); err != nil {
			return d.status(errors.Join(err, h.Close(background)))
		}
	}
	d.opened(who.Posix, h, in.Flags, out)
	return fuse.OK
}

// Create implements fuse.RawFileSystem.
func (d *door) Create(c <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if d.draining() {
		return fuse.EAGAIN
	}
	since, who := d.inv.now(), d.actor(&in.InHeader)
	f := openFlags(in.Flags)
	a, h, err := who.Create(background, namespace.Ino(in.NodeId), name, who.node(in.Mode, in.Umask), f)
	if err != nil {
		return d.status(err)
	}
	if f.Trunc { // it may have been there
		defer d.changing(a.Ino, 0, 0)()
	}
	if f.Trunc && in.OpenFlags&fuse.OPEN_KILL_SUIDGID != 0 {
		if err := killPriv(who, h); err != nil {
			return d.status(errors.Join(err, h.Close(background)))
		}
	}
	d.entry(&out.EntryOut, since, namespace.Ino(in.NodeId), name, &a)
	d.opened(who.Posix, h, in.Flags, &out.OpenOut)
	return fuse.OK
}

// killPriv clears the set-id bits, as a write by someone else than root does.
func killPriv(fs namespace.Posix, h namespace.FileHandle) error {
	_, err := fs.SetAttr(background, h.Ino(), namespace.SetAttr{KillPriv: true, Handle: h})
	return err
}

// Read implements fuse.RawFileSystem. buf goes back to go-fuse's pool when it has been sent.
func (d *door) Read(c <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	f := d.files.get(in.Fh)
	if f == nil {
		return nil, fuse.EBADF
	}
	if f.due() {
		d.accessed(f.fs, f.Ino())
	}
	n, err := f.ReadAt(background, buf, int64(in.Offset))
	if err != nil {
		return nil, d.status(err)
	}
	return d.reads.result(buf[:n]), fuse.OK
}

// Write implements fuse.RawFileSystem.
func (d *door) Write(c <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	f := d.files.get(in.Fh)
	if f == nil {
		return 0, fuse.EBADF
	}
	if err := d.killedBy(in, f); err != nil {
		return 0, d.status(err)
	}
	if (d.opts.WriteThrough || d.covered.Load()) && in.Flags&syscall.O_APPEND != 0 && in.WriteFlags&fuse.WRITE_CACHE == 0 {
		return d.append(f, in, data)
	}
	defer d.changing(f.Ino(), int64(in.Offset), int64(len(data)))()
	if f.direct && in.WriteFlags&fuse.WRITE_CACHE == 0 { // a reader may have cached meanwhile what the kernel dropped before it sent this
		defer d.kernel.InodeNotify(in.NodeId, int64(in.Offset), int64(len(data)))
	}
	n, err := d.writeAt(f, in, data)
	if k := kindOf(err); err != nil && in.WriteFlags&fuse.WRITE_CACHE != 0 && (k == namespace.QuotaExceeded || k == namespace.Access) {
		d.unwritten.refuse(in.NodeId, d.status(err))
		return uint32(len(data)), fuse.OK
	}
	if err != nil {
		d.unwritten.add(in.NodeId)
		return 0, d.status(err)
	}
	return uint32(n), fuse.OK
}

// writeAt writes through f. What the kernel writes back from its cache it sends through any file that is open for writing: if
// who opened that may not any more, another may have written it.
func (d *door) writeAt(f *file, in *fuse.WriteIn, data []byte) (int, error) {
	n, err := f.WriteAt(background, data, int64(in.Offset))
	if err == nil || d.opts.As == nil || in.WriteFlags&fuse.WRITE_CACHE == 0 || kindOf(err) != namespace.Access {
		return n, err
	}
	for _, other := range d.files.all() {
		if other != f && other.write && other.Ino() == f.Ino() {
			if n, e := other.WriteAt(background, data, int64(in.Offset)); e == nil {
				return n, nil
			}
		}
	}
	return n, err
}

// killedBy clears the set-id bits if a write says so. It doesn't if root writes, who may be squashed.
func (d *door) killedBy(in *fuse.WriteIn, f *file) error {
	switch {
	case in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0:
		return killPriv(f.fs, f.FileHandle)
	case d.opts.Squash != nil && in.Uid == 0 && in.WriteFlags&fuse.WRITE_CACHE == 0:
		return d.dropPriv(&in.InHeader, f)
	}
	return nil
}

// append writes at the end, wherever the kernel thinks that it is: another mount may have appended since.
func (d *door) append(f *file, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	changed := d.changing(f.Ino(), int64(in.Offset), 0)
	off, err := f.Append(background, data)
	changed()
	if err != nil {
		return 0, d.status(err)
	}
	if off != int64(in.Offset) {
		// The kernel keeps the bytes where it thinks that they went. It holds these pages until it is answered.
		d.inv.mark([]namespace.Change{{Ino: f.Ino()}})
		go d.kernel.InodeNotify(in.NodeId, 0, 0)
	}
	return uint32(len(data)), fuse.OK
}

// Lseek implements fuse.RawFileSystem. The kernel asks for SEEK_DATA and SEEK_HOLE without writing back
// its dirty pages first, which would hide data in what looks like a hole; so we make it write them.
func (d *door) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	f := d.files.get(in.Fh)
	if f == nil {
		return fuse.EBADF
	}
	if in.Whence != unix.SEEK_DATA && in.Whence != unix.SEEK_HOLE {
		return fuse.EINVAL
	}
	if d.writers.any(f.Ino()) {
		d.kernel.InodeNotify(in.NodeId, 0, 0)
	}
	off, err := f.Seek(background, int64(in.Offset), in.Whence == unix.SEEK_HOLE)
	if err != nil {
		if k := kindOf(err); k == namespace.NotFound || k == namespace.Range {
			return errno(syscall.ENXIO)
		}
		return d.status(err)
	}
	out.Offset = uint64(off)
	return fuse.OK
}

// Fsync implements fuse.RawFileSystem.
func (d *door) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	f := d.files.get(in.Fh)
	if f == nil {
		return fuse.EBADF
	}
	s := d.killable(in.Pid, &f.underWay, func() error { return f.Fsync(background) })
	if s == fuse.OK {
		s = d.unwritten.why(in.NodeId, f)
	}
	return s
}

// Flush implements fuse.RawFileSystem: close(2) returns its error.
func (d *door) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	f := d.files.get(in.Fh)
	if f == nil {
		return fuse.EBADF
	}
	s := d.flush(f, in)
	if s == fuse.OK && f.write {
		s = d.unwritten.why(in.NodeId, f)
	}
	return s
}

func (d *door) flush(f *file, in *fuse.FlushIn) fuse.Status {
	owner := in.LockOwner
	if !f.write {
		d.closedAfterRead(f)
		d.locks.closed(f, owner)
		return fuse.OK
	}
	if !d.opts.SyncOnClose {
		if done, err := f.FlushNow(background); done {
			d.locks.closed(f, owner)
			return d.status(err)
		}
	}
	return d.killable(in.Pid, &f.underWay, func() error {
		defer d.locks.closed(f, owner) // who gets them sees what was published
		if err := f.Flush(background); err != nil || !d.opts.SyncOnClose {
			return err
		}
		return f.Fsync(background)
	})
}

// Release implements fuse.RawFileSystem. Nobody sees its error, so it is logged.
func (d *door) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	f := d.files.remove(in.Fh)
	if f == nil {
		return
	}
	if f.write {
		d.writers.add(f.Ino(), -1)
	}
	f.underWay.Wait()
	d.locks.released(f)
	if err := f.Close(background); err != nil {
		d.log.Error("a file could not be closed", "ino", f.Ino(), "err", err)
	}
	if d.unwritten.has(in.NodeId) {
		go d.kernel.PruneNotify([]uint64{in.NodeId})
	}
}

// readPool spares each READ an allocation of its result.
type readPool struct{ pool sync.Pool }

type readResult struct {
	data []byte
	home *readPool
}

func (p *readPool) result(data []byte) *readResult {
	r, ok := p.pool.Get().(*readResult)
	if !ok {
		r = &readResult{home: p}
	}
	r.data = data
	return r
}

// Bytes implements fuse.ReadResult.
func (r *readResult) Bytes([]byte) ([]byte, fuse.Status) { return r.data, fuse.OK }

// Size implements fuse.ReadResult.
func (r *readResult) Size() int { return len(r.data) }

// Done implements fuse.ReadResult.
func (r *readResult) Done() {
	r.data = nil
	r.home.pool.Put(r)
}
