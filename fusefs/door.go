package fusefs

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"k3fs/namespace"
)

// background is the context of every request: what has begun runs to its end (package comment).
var background = context.Background()

// door answers the kernel's requests. What it does not override is answered ENOSYS, for which the kernel
// has a fallback: ACCESS (it checks permissions itself) and COPY_FILE_RANGE_64.
type door struct {
	fuse.RawFileSystem
	opts Options
	fs   namespace.Posix
	inv  *Invalidator
	log  *slog.Logger

	files     table[file]
	dirs      table[dir]
	writers   writers
	leases    leases
	locks     lockDoor
	reads     readPool
	unwritten unwritten
	kernel    notifier    // set before the first request
	covered   atomic.Bool // by another mount: no new handle uses the page cache

	remembered remembered // by dirs

	leaving context.Context // ends when the mount is about to be unmounted, by hurry
	hurry   context.CancelFunc

	underWay sync.WaitGroup // requests of no file that nobody may be waiting for any more
}

func newDoor(o Options) *door {
	leaving, hurry := context.WithCancel(background)
	return &door{leaving: leaving, hurry: hurry, RawFileSystem: fuse.NewDefaultRawFileSystem(), opts: o, fs: through(o), inv: o.Invalidator, log: o.Logger,
		remembered: remembered{seed: maphash.MakeSeed()}, locks: lockDoor{Table: o.Locks, mount: o.Locks.NewMount()}}
}

// draining reports whether nothing new may be opened or made.
func (d *door) draining() bool { return d.opts.Draining != nil && d.opts.Draining() }

// String implements fuse.RawFileSystem.
func (d *door) String() string { return "k3fs" }

// Forget implements fuse.RawFileSystem.
func (d *door) Forget(nodeid, nlookup uint64) { d.unwritten.forgotten(nodeid) }

// Lookup implements fuse.RawFileSystem. An absent name is an answer too, and cached.
func (d *door) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	since, parent, who := d.inv.now(), namespace.Ino(in.NodeId), d.actor(in)
	a, err := d.lookup(who, parent, name)
	if err != nil {
		if dir, found := d.refusedDir(&who, parent, name, err); found {
			out.NodeId = uint64(dir.Ino)
			fillAttr(&out.Attr, &dir)
			return fuse.OK
		}
		if kindOf(err) == namespace.NotFound && d.lasting(since, parent, name) && !d.opts.Peers.several() {
			out.SetEntryTimeout(d.opts.EntryTTL)
			return fuse.OK
		}
		return d.status(err)
	}
	d.entry(out, since, parent, name, &a)
	return fuse.OK
}

// GetAttr implements fuse.RawFileSystem.
func (d *door) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	since := d.inv.now()
	fs := d.actor(&in.InHeader).Posix
	if f := d.files.get(in.Fh()); f != nil && in.Flags()&fuse.FUSE_GETATTR_FH != 0 {
		fs = f.fs
	}
	a, err := d.attrOf(fs, in.NodeId)
	if err != nil {
		return d.stale(err)
	}
	d.attr(out, since, &a)
	return fuse.OK
}

// Statx implements fuse.RawFileSystem: statx(2), which the kernel asks for if the birth time is wanted.
func (d *door) Statx(_ <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	since := d.inv.now()
	a, err := d.attrOf(d.actor(&in.InHeader), in.NodeId)
	if err != nil {
		return d.stale(err)
	}
	fillStatx(&out.Statx, &a)
	if d.mayKeep(since, a.Ino) {
		out.SetTimeout(d.opts.AttrTTL)
	}
	return fuse.OK
}

// attrOf is an inode's attributes, also of a symbolic link that is gone and held (lease.go).
func (d *door) attrOf(fs namespace.Posix, nodeid uint64) (namespace.Attr, error) {
	a, err := fs.GetAttr(background, namespace.Ino(nodeid))
	if err != nil && gone(err) {
		if l := d.leases.symlink(namespace.Ino(nodeid)); l != nil {
			a, err = l.attr, nil
			a.Nlink = 0
		}
	}
	return a, err
}

// SetAttr implements fuse.RawFileSystem: chmod, chown, truncate, utimensat, and the times of files
// written through the kernel's cache.
func (d *door) SetAttr(c <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	since := d.inv.now()
	defer d.inv.setting(namespace.Ino(in.NodeId))()
	who := d.setter(in)
	if isWriteback(in) && in.Valid&fuse.FATTR_FH == 0 && d.known(who, in, since, out) {
		return fuse.OK
	}
	s := d.changes(in)
	if chownsNobody(in) {
		var err error
		if s.KillPriv, err = d.dropsSetID(&who, in); err != nil {
			return d.stale(err)
		}
	}
	if s.Size != nil {
		defer d.changing(namespace.Ino(in.NodeId), 0, 0)()
	}
	a, err := who.SetAttr(background, namespace.Ino(in.NodeId), s)
	if isWriteback(in) && s.Touch && err != nil && kindOf(err) == namespace.NotPermitted {
		// It became immutable while it was open for writing: its times stay, and fsync(2) doesn't fail.
		a, err = who.GetAttr(background, namespace.Ino(in.NodeId))
	}
	if err != nil && flushesTimes(in) && kindOf(err) == namespace.Access {
		// The account lost the permission while the file was open for writing: its times stay. As the answer to this the kernel
		// would fail what comes next, whatever that is, with EIO. It looks at no attributes.
		out.Mode, out.Ino = syscall.S_IFREG, in.NodeId
		return fuse.OK
	}
	if err != nil {
		return d.stale(err)
	}
	d.attr(out, since, &a)
	return fuse.OK
}

// flushesTimes reports whether it is the kernel that writes back times, of a file that is open for writing: what a program
// sets comes without a handle.
func flushesTimes(in *fuse.SetAttrIn) bool {
	return isWriteback(in) && in.Valid&fuse.FATTR_FH != 0
}

// setter is who sets attributes: through an open file, who opened it; and the kernel itself, which asks as root, when it
// writes back the times that it kept.
func (d *door) setter(in *fuse.SetAttrIn) actor {
	a := d.actor(&in.InHeader)
	if fh, ok := in.GetFh(); ok && !flushesTimes(in) {
		if f := d.files.get(fh); f != nil {
			a.Posix = f.fs
		}
	} else if isWriteback(in) && !d.opts.WriteThrough && d.writers.any(namespace.Ino(in.NodeId)) {
		a.Posix = d.fs
	}
	return a
}

// isWriteback reports whether the kernel seems to write back times that it kept itself; with a handle if the file
// is open for writing. A utimensat(2) that leaves atime alone looks the same.
func isWriteback(in *fuse.SetAttrIn) bool {
	return in.Valid&^fuse.FATTR_FH == fuse.FATTR_MTIME|fuse.FATTR_CTIME
}

// chownsNobody reports whether the request is a chown(2) with both ids -1: it changes nothing but the ctime, which the
// kernel says only where it has the write-back cache. Without that, a write that clears set-id bits looks the same.
func chownsNobody(in *fuse.SetAttrIn) bool {
	return in.Valid&^(fuse.FATTR_FH|fuse.FATTR_CTIME) == 0
}

// dropsSetID reports whether such a chown clears the set-id bits, if there are any. The kernel has not asked whether
// its caller may, which the owner and root may.
func (d *door) dropsSetID(who *actor, in *fuse.SetAttrIn) (bool, error) {
	a, err := who.GetAttr(background, namespace.Ino(in.NodeId))
	if err != nil || a.Type == namespace.Dir || a.Mode&(syscall.S_ISUID|syscall.S_ISGID) == 0 {
		return false, err
	}
	may := who.uid == 0 || who.uid == a.UID
	if !may && in.Valid&fuse.FATTR_CTIME != 0 {
		return false, &namespace.Error{Kind: namespace.NotPermitted, Op: "chown"}
	}
	return may, nil
}

// known answers such a request if there is nothing to change. The kernel sends one, and waits, at the end of
// each rename, link and unlink; but the update of that has just set nearly the same ctime (the kernel's
// clock is coarse), so a second one is spared. Or the inode has gone with its last name: a failure would fail sync(2) later.
func (d *door) known(fs namespace.Posix, in *fuse.SetAttrIn, since uint64, out *fuse.AttrOut) bool {
	a, err := fs.GetAttr(background, namespace.Ino(in.NodeId))
	if err != nil {
		return gone(err)
	}
	d.attr(out, since, &a)
	mtime, _ := in.GetMTime()
	ctime, _ := in.GetCTime()
	return mtime.Equal(a.Mtime) && ctime.Sub(a.Ctime).Abs() < time.Second
}

func (d *door) changes(in *fuse.SetAttrIn) namespace.SetAttr {
	var s namespace.SetAttr
	if mode, ok := in.GetMode(); ok {
		s.Mode = &mode
	}
	if uid, ok := in.GetUID(); ok {
		s.UID, s.KillPriv = &uid, true
	}
	if gid, ok := in.GetGID(); ok {
		s.GID, s.KillPriv = &gid, true
	}
	if size, ok := in.GetSize(); ok {
		n := int64(size)
		s.Size = &n
	}
	times(in, &s)
	s.Touch = in.Valid&fuse.FATTR_ATIME_NOW != 0 && s.Mtime != nil ||
		isWriteback(in) && d.writers.any(namespace.Ino(in.NodeId))
	if in.Valid&fuse.FATTR_KILL_SUIDGID != 0 {
		s.KillPriv = true
	}
	if fh, ok := in.GetFh(); ok {
		if f := d.files.get(fh); f != nil {
			s.Handle = f.FileHandle
		}
	}
	return s
}

// times translates a change of times. Where the kernel says "now" it also says what time that is by its own
// clock, with which it stamps the rest.
func times(in *fuse.SetAttrIn, s *namespace.SetAttr) {
	if in.Valid&fuse.FATTR_ATIME != 0 {
		t := time.Unix(int64(in.Atime), int64(in.Atimensec))
		s.Atime = &t
		if in.Valid&fuse.FATTR_ATIME_NOW != 0 {
			s.Ctime = &t
		}
	}
	if in.Valid&fuse.FATTR_MTIME != 0 {
		t := time.Unix(int64(in.Mtime), int64(in.Mtimensec))
		s.Mtime = &t
		if in.Valid&fuse.FATTR_MTIME_NOW != 0 {
			s.Ctime = &t
		}
	}
	if t, ok := in.GetCTime(); ok {
		s.Ctime = &t
	}
}

// made answers a request that made the name.
func (d *door) made(out *fuse.EntryOut, since uint64, parent uint64, name string, a namespace.Attr, err error) fuse.Status {
	if err != nil {
		return d.status(err)
	}
	d.entry(out, since, namespace.Ino(parent), name, &a)
	return fuse.OK
}

// Mkdir implements fuse.RawFileSystem.
func (d *door) Mkdir(c <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	since, who := d.inv.now(), d.actor(&in.InHeader)
	a, err := who.Mkdir(background, namespace.Ino(in.NodeId), name, who.node(in.Mode, in.Umask))
	return d.made(out, since, in.NodeId, name, a, err)
}

// Mknod implements fuse.RawFileSystem.
func (d *door) Mknod(c <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	since, who := d.inv.now(), d.actor(&in.InHeader)
	n := who.node(in.Mode, in.Umask)
	n.Rdev = in.Rdev
	if n.Type = typeOf(in.Mode); n.Type == 0 {
		return fuse.EINVAL
	}
	a, err := who.Mknod(background, namespace.Ino(in.NodeId), name, n)
	return d.made(out, since, in.NodeId, name, a, err)
}

// Symlink implements fuse.RawFileSystem.
func (d *door) Symlink(c <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	since, who := d.inv.now(), d.actor(in)
	a, err := who.Symlink(background, namespace.Ino(in.NodeId), name, target, who.node(0o777, 0))
	return d.made(out, since, in.NodeId, name, a, err)
}

// Link implements fuse.RawFileSystem.
func (d *door) Link(c <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	defer d.inv.naming()()
	since := d.inv.now()
	a, err := d.actor(&in.InHeader).Link(background, namespace.Ino(in.Oldnodeid), namespace.Ino(in.NodeId), name)
	return d.made(out, since, in.NodeId, name, a, err)
}

// Readlink implements fuse.RawFileSystem.
func (d *door) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	who := d.actor(in)
	target, err := who.Readlink(background, namespace.Ino(in.NodeId))
	if err != nil {
		if l := d.leases.symlink(namespace.Ino(in.NodeId)); l != nil && gone(err) {
			return []byte(l.target), fuse.OK
		}
		return nil, d.stale(err)
	}
	d.accessed(who, namespace.Ino(in.NodeId))
	return []byte(target), fuse.OK
}

// Unlink implements fuse.RawFileSystem.
func (d *door) Unlink(c <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	defer d.inv.naming()()
	return d.status(d.actor(in).Unlink(background, namespace.Ino(in.NodeId), name))
}

// Rmdir implements fuse.RawFileSystem.
func (d *door) Rmdir(c <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	defer d.inv.naming()()
	return d.status(d.actor(in).Rmdir(background, namespace.Ino(in.NodeId), name))
}

// Rename implements fuse.RawFileSystem: rename(2) and renameat2(2), but for RENAME_WHITEOUT.
func (d *door) Rename(c <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	defer d.inv.naming()()
	var f namespace.RenameFlags
	if in.Flags&unix.RENAME_NOREPLACE != 0 {
		f |= namespace.RenameNoReplace
	}
	if in.Flags&unix.RENAME_EXCHANGE != 0 {
		f |= namespace.RenameExchange
	}
	if in.Flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 || in.Flags == unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE {
		return fuse.EINVAL
	}
	return d.status(d.actor(&in.InHeader).Rename(background, namespace.Ino(in.NodeId), name, namespace.Ino(in.Newdir), newName, f))
}

// StatFs implements fuse.RawFileSystem.
func (d *door) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	s, err := d.actor(in).StatFS(background, namespace.Ino(in.NodeId))
	if err != nil {
		return d.status(err)
	}
	out.Bsize, out.Frsize = blockSize, blockSize
	out.Blocks, out.Bfree, out.Bavail = uint64(s.Total/blockSize), uint64(s.Free/blockSize), uint64(s.Avail/blockSize)
	out.Files, out.Ffree, out.NameLen = s.Files, s.FilesFree, s.NameMax
	return fuse.OK
}

// FsyncDir implements fuse.RawFileSystem.
func (d *door) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	dir, who := namespace.Ino(in.NodeId), d.actor(&in.InHeader)
	return d.killable(in.Pid, &d.underWay, func() error { return who.SyncDir(background, dir) })
}

// writeBack makes the kernel write back the pages of all files that are open for writing.
func (d *door) writeBack() {
	for _, ino := range d.writers.all() {
		d.kernel.InodeNotify(uint64(ino), 0, 0)
	}
}

// closeAll closes what the kernel left open when the mount ended: the RELEASE of a file is not waited
// for by umount(2), and an aborted connection sends none.
func (d *door) closeAll() {
	d.underWay.Wait()
	for _, f := range d.files.drain() {
		f.underWay.Wait()
		if err := f.Close(background); err != nil {
			d.log.Error("a file could not be closed at the end of the mount", "ino", f.Ino(), "err", err)
		}
	}
	d.dirs.drain()
	d.leases.close()
	d.locks.ReleaseMount(d.locks.mount)
}

// errno is a status that has no Kind.
func errno(e syscall.Errno) fuse.Status { return fuse.Status(e) }
