package namespace

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/tenancy"
)

// maxFile bounds the size of a file, in bytes.
const maxFile = 1 << 50

// file is an open inode: the draft that all its handles share.
type file struct {
	fs  *FS
	ino Ino
	d   chunkstore.Domain

	users    int  // guarded by fileTable.mu: handles, and operations under way
	unlinked bool // guarded by fileTable.mu: it may have lost its last name

	mu sync.RWMutex
	draft
	writers   int  // handles that may write
	unflushed int  // handles that were opened for writing, or wrote, since they were flushed
	closed    bool // the namespace is closed
	refused   bool // a lock or a hold refused what was written: it goes with the last handle

	first contentID // guarded by mu: what a writer that has not closed it published first; 0: nothing (protect.go)

	nameless atomic.Bool // made without a name, and may get one (tmpfile.go)

	times  atomic.Pointer[overlay] // nil: the inode's record says it all
	epochs epochs
}

// overlay is what a draft in memory knows better than the inode's record. The zero overlay knows nothing.
type overlay struct {
	known        bool
	size         int64
	used         int64 // bytes that are no hole
	mtime, ctime int64
	atime        int64 // an access noted since (atime.go); 0: none. Also without known
}

func (o overlay) over(a Attr) Attr {
	if o.atime != 0 && o.atime > nanos(a.Atime) {
		a.Atime = stamp(o.atime)
	}
	if !o.known {
		return a
	}
	a.Size, a.Blocks = o.size, blocks(o.used)
	a.Mtime, a.Ctime = stamp(o.mtime), stamp(o.ctime)
	return a
}

func (f *file) overlay() overlay {
	if o := f.times.Load(); o != nil {
		return *o
	}
	return overlay{}
}

// handle is a FileHandle.
type handle struct {
	v      *View
	f      *file
	flags  OpenFlags
	wrote  bool // guarded by f.mu: it counts in f.unflushed
	closed atomic.Bool

	mayRead, mayWrite atomic.Uint64 // the rules by which it was found so, see permitted
}

var _ FileHandle = (*handle)(nil)

// acquire returns the open inode with one user more. release gives it back.
func (fs *FS) acquire(ino Ino) (*file, error) {
	return fs.files.acquire(ino, func() *file {
		f := &file{fs: fs, ino: ino}
		f.draft.init(&f.mu, &fs.frames)
		return f
	})
}

// release gives back a user, and the last one cleans up: what was not published is lost, and an inode
// without a name goes.
func (fs *FS) release(ctx context.Context, f *file) {
	last, zombie := fs.files.release(f)
	if !last {
		return
	}
	o := f.overlay()
	f.mu.Lock()
	f.discard()
	refused := f.refused
	f.mu.Unlock()
	if refused { // every kernel's pages, also of the one through which it was written
		changes := []Change{{Ino: f.ino, Attr: true, Data: true}}
		go fs.tell(nil, func(o Observer) { o.Changed(nil, changes) })
	}
	if !zombie {
		return
	}
	err := fs.update(context.WithoutCancel(ctx), metastore.Reclaim, nil, func(t *txn) error { return t.eraseZombie(f.ino, &o) })
	fs.files.unbury([]Ino{f.ino})
	if err != nil {
		fs.log.Warn("namespace: a removed file keeps its room until the next start", "ino", f.ino, "err", err)
	}
}

// eraseZombie removes an inode that lost its last name while it was open. Who holds it in another way than by a handle
// (O_PATH) goes on to see what it was, unless o is nil.
func (t *txn) eraseZombie(ino Ino, o *overlay) error {
	if err := t.Delete(zombieKey(ino)); err != nil {
		return err
	}
	n, err := getInode(t, ino)
	if isKind(err, NotFound) {
		return nil
	}
	if err != nil || n.Nlink > 0 || n.hung() {
		return err
	}
	if o != nil {
		was := *n
		if o.known {
			was.Size, was.Mtime, was.Ctime = o.size, o.mtime, o.ctime
		}
		t.depart(ino, &was)
		t.left[ino].Ctime = was.Ctime
	}
	return t.eraseInode(ino, n)
}

// Create implements Posix (open(2) with O_CREAT).
func (v *View) Create(ctx context.Context, parent Ino, name string, n NewNode, flags OpenFlags) (Attr, FileHandle, error) {
	a, h, err := v.create(ctx, parent, name, n, flags)
	if err != nil {
		return Attr{}, nil, fail("create", name, err)
	}
	return a, h, nil
}

func (v *View) create(ctx context.Context, parent Ino, name string, n NewNode, flags OpenFlags) (Attr, *handle, error) {
	n.Type = File
	rules, err := v.rules()
	if err != nil {
		return Attr{}, nil, err
	}
	if err := v.fs.reserve(ctx); err != nil {
		return Attr{}, nil, err
	}
	ino := Ino(v.fs.number())
	f, err := v.fs.acquire(ino)
	if err != nil {
		return Attr{}, nil, err
	}
	var (
		rec *inodeRec
		old entry
	)
	err = v.update(ctx, metastore.Ordered, func(t *txn) error {
		p, err := v.dirForChange(t, parent, tenancy.PutObject)
		if err != nil {
			return err
		}
		if old, err = resolve(t, parent, name); err != nil || old.found() {
			return err
		}
		if err := freeName(name); err != nil {
			return err
		}
		if rec, err = t.attach(ino, parent, p, name, n); err != nil {
			return err
		}
		if err := t.Set(draftKey(ino), nil); err != nil {
			return err
		}
		return t.putInode(ino, rec)
	})
	if err != nil || old.found() {
		v.fs.release(ctx, f)
		if err != nil {
			return Attr{}, nil, err
		}
		return v.openExisting(ctx, old, flags)
	}
	h := &handle{v: v, f: f, flags: flags}
	h.mayWrite.Store(rules)
	f.mu.Lock()
	if !f.loaded { // else someone found the name and opened the file before this came here
		f.begin(rec, &layout{})
	}
	h.join()
	h.dirty() // also if it can only read: S3 must not see the file before this handle's flush
	f.mu.Unlock()
	return rec.attr(ino), h, nil
}

// openExisting is Create where the name is taken.
func (v *View) openExisting(ctx context.Context, e entry, flags OpenFlags) (Attr, *handle, error) {
	switch {
	case flags.Excl:
		return Attr{}, nil, of(Exists)
	case Type(e.Type) == Dir:
		return Attr{}, nil, of(IsDir)
	}
	h, err := v.openFile(ctx, Ino(e.Ino), flags)
	if err != nil {
		return Attr{}, nil, err
	}
	a, err := v.getAttr(ctx, Ino(e.Ino))
	if err != nil {
		v.fs.release(ctx, h.f)
		return Attr{}, nil, err
	}
	return a, h, nil
}

// Open implements Posix (open(2)).
func (v *View) Open(ctx context.Context, ino Ino, flags OpenFlags) (FileHandle, error) {
	h, err := v.openFile(ctx, ino, flags)
	if err != nil {
		return nil, fail("open", "", err)
	}
	return h, nil
}

func (v *View) openFile(ctx context.Context, ino Ino, flags OpenFlags) (*handle, error) {
	f, err := v.fs.acquire(ino)
	if err != nil {
		return nil, err
	}
	h := &handle{v: v, f: f, flags: flags}
	if err := h.open(ctx); err != nil {
		v.fs.release(ctx, f)
		return nil, err
	}
	return h, nil
}

// open checks that the handle may be had, and truncates the file if it is to.
func (h *handle) open(ctx context.Context) error {
	action := tenancy.GetObject
	if h.flags.Write || h.flags.Append || h.flags.Trunc {
		action = tenancy.PutObject
	}
	rules, err := h.v.rules()
	if err != nil {
		return err
	}
	err = h.v.fs.kv.View(ctx, func(r metastore.Reader) error {
		n, err := h.v.inode(r, h.f.ino, action)
		if err == nil && h.flags.Read && action == tenancy.PutObject {
			err = h.v.allow(r, tenancy.GetObject, h.f.ino, n)
		}
		if err != nil {
			return err
		}
		switch Type(n.Type) {
		case File:
			if n.hung() && action == tenancy.PutObject {
				return of(ReadOnly)
			}
			return h.v.fs.permitOpen(r, h.f.ino, n, h.flags)
		case Dir:
			return of(IsDir)
		}
		return of(Invalid)
	})
	if err != nil {
		return err
	}
	f := h.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if h.flags.Trunc {
		if err := f.load(ctx); err != nil {
			return err
		}
		if err := f.truncate(ctx, 0); err != nil {
			return err
		}
		h.dirty()
	}
	h.mayWrite.Store(rules)
	if h.flags.Read {
		h.mayRead.Store(rules)
	}
	h.join()
	return nil
}

// join counts the handle among the writers, and among those that have something to flush: a kernel may keep
// what was written through it until then, and send it through another handle. f.mu must be held.
func (h *handle) join() {
	if h.writes() {
		h.f.writers++
		h.dirty()
	}
}

func (h *handle) writes() bool { return h.flags.Write || h.flags.Append }

// dirty notes that the handle wrote. f.mu must be held.
func (h *handle) dirty() {
	if !h.wrote {
		h.wrote = true
		h.f.unflushed++
	}
}

// clean notes that the handle has nothing unflushed. f.mu must be held.
func (h *handle) clean() {
	if h.wrote {
		h.wrote = false
		h.f.unflushed--
	}
}

// Ino implements FileHandle.
func (h *handle) Ino() Ino { return h.f.ino }

func (h *handle) usable(write bool) error {
	if h.closed.Load() || write && !h.writes() {
		return of(BadHandle)
	}
	return nil
}

// ReadAt implements FileHandle (pread(2)). Whether the handle may read is not asked: a kernel with a
// writeback cache also reads to complete a page that is written.
func (h *handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := h.permitted(ctx, false); err != nil {
		return 0, fail("read", "", err)
	}
	n, err := h.f.read(ctx, p, off)
	return n, fail("read", "", err)
}

// WriteAt implements FileHandle (pwrite(2)).
func (h *handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := h.permitted(ctx, true); err != nil {
		return 0, fail("write", "", err)
	}
	n, err := h.f.write(ctx, h, p, off)
	if err == nil && h.flags.Sync {
		err = h.f.fsync(ctx, h.v.door)
	}
	return n, fail("write", "", err)
}

// Append implements FileHandle (write(2) on an O_APPEND descriptor).
func (h *handle) Append(ctx context.Context, p []byte) (int64, error) {
	if err := h.permitted(ctx, true); err != nil {
		return 0, fail("append", "", err)
	}
	off, err := h.f.appendTo(ctx, h, p)
	if err == nil && h.flags.Sync {
		err = h.f.fsync(ctx, h.v.door)
	}
	return off, fail("append", "", err)
}

// Fsync implements FileHandle (fsync(2)).
func (h *handle) Fsync(ctx context.Context) error {
	if err := h.usable(false); err != nil {
		return fail("fsync", "", err)
	}
	return fail("fsync", "", h.f.fsync(ctx, h.v.door))
}

// Flush implements FileHandle (close(2)).
func (h *handle) Flush(ctx context.Context) error {
	if err := h.usable(false); err != nil {
		return fail("flush", "", err)
	}
	return fail("flush", "", h.flush(ctx))
}

func (h *handle) flush(ctx context.Context) error {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	return h.flushLocked(ctx)
}

// flushLocked is flush. h.f.mu must be held.
func (h *handle) flushLocked(ctx context.Context) error {
	h.clean()
	if h.f.unflushed > 0 {
		return nil
	}
	err := h.f.publish(ctx, h.v.door)
	if refusalOf(err) != nil {
		return errors.Join(h.v.refused("close", err), h.f.giveUpDraft(ctx))
	}
	return err
}

// FlushNow implements FileHandle.
func (h *handle) FlushNow(ctx context.Context) (done bool, err error) {
	if err := h.usable(false); err != nil {
		return true, fail("flush", "", err)
	}
	if !h.f.mu.TryLock() {
		return false, nil // who has it may wait for the disk
	}
	defer h.f.mu.Unlock()
	if !h.f.inMemory() {
		return false, nil
	}
	return true, fail("flush", "", h.flushLocked(ctx))
}

// Close implements FileHandle.
func (h *handle) Close(ctx context.Context) error {
	if h.closed.Swap(true) {
		return nil
	}
	// What Flush could not publish is tried once more, whatever became of the caller.
	ctx = context.WithoutCancel(ctx)
	err := h.flush(ctx)
	if err != nil {
		h.v.fs.log.Error("namespace: what was written is not published", "ino", h.f.ino, "err", err)
	}
	if h.writes() {
		h.f.mu.Lock()
		if h.f.writers--; h.f.writers == 0 {
			h.f.finished()
			h.f.interim = ""
		}
		h.f.mu.Unlock()
	}
	h.v.fs.release(ctx, h.f)
	return fail("close", "", err)
}

// Seek implements FileHandle (lseek(2) with SEEK_DATA and SEEK_HOLE). NotFound: nothing of the kind
// follows (ENXIO).
func (h *handle) Seek(ctx context.Context, off int64, hole bool) (int64, error) {
	if err := h.usable(false); err != nil {
		return 0, fail("seek", "", err)
	}
	at, err := h.f.seek(ctx, off, hole)
	return at, fail("seek", "", err)
}

// publishAll publishes what every open file has written, and ends all handles.
func (fs *FS) publishAll(ctx context.Context) error {
	var first error
	for _, f := range fs.files.close() {
		f.mu.Lock()
		err := f.publish(ctx, nil)
		f.closed = true
		f.mu.Unlock()
		fs.release(ctx, f)
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}
