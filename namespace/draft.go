package namespace

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k3fs/chunkstore"
	"k3fs/metastore"
)

// draft is the state of an open inode's bytes, guarded by file.mu: a map of slices, and over it the
// memory of what was written lately. Where neither says anything is a hole.
//
// All that is written gathers in memory, and the pump takes it to the chunk store.
type draft struct {
	loaded  bool
	size    int64
	slices  []slice
	used    int64 // bytes that slices map
	mem     memory
	pump    pump
	landed  *sync.Cond // a frame landed, the pump stopped, or the draft is no longer settling
	settles int        // settle calls that wait: new writes wait for them

	base   contentID                   // pinned content that the map came from; 0 if none
	fresh  map[chunkstore.Extent]int64 // extents that no record refers to, and how many bytes are used
	loans  []contentID                 // pinned loans whose extents the map may name (copyrange.go)
	stream *chunkstore.Stream          // nil until needed

	seq        uint64      // counts changes
	saved      uint64      // the change up to which the inode's record has it, as draft or published
	published  uint64      // the change up to which it is published
	kept       *contentRec // the persisted draft in the inode's record; nil if none
	keptSlices []slice     // and its map, if it has pages
	ground     int64       // size of the stored content below
	interim    string      // the version that the write session under way has made already; "" if none

	mtime, ctime int64 // of the changes since the record was written, if times is set

	growth growth // reserved of quotas (quotadraft.go)

	flags Flags // the inode's
	floor int64 // of an append-only file: its size when it was opened or got the flag
}

func (d *draft) init(mu sync.Locker, fr *frames) {
	d.landed = sync.NewCond(mu)
	d.mem.frames = fr
	d.fresh = map[chunkstore.Extent]int64{}
}

// load reads the map if it is not in memory yet. f.mu must be held.
func (f *file) load(ctx context.Context) error {
	if f.closed {
		return of(Unavailable)
	}
	if f.loaded {
		return nil
	}
	var (
		n *inodeRec
		l *layout
	)
	err := f.fs.view(ctx, func(r metastore.Reader) (err error) {
		if n, err = getInode(r, f.ino); err != nil {
			return err
		}
		// No one but this file drops the contents of an inode that is open.
		l, err = f.fs.loadContent(r, n.content())
		return err
	})
	if err != nil {
		return err
	}
	f.begin(n, l)
	return nil
}

// content is what POSIX reads: the persisted draft, or else what is published.
func (n *inodeRec) content() *contentRec {
	if n.Draft != nil {
		return n.Draft
	}
	return n.Published
}

// begin puts the draft into the state that the inode's record describes. f.mu must be held.
func (f *file) begin(n *inodeRec, l *layout) {
	f.d = n.domain()
	f.loaded = true
	f.flags, f.floor = Flags(n.Flags), l.Size
	f.seq, f.saved, f.published = 1, 1, 1
	f.kept, f.keptSlices = n.Draft, nil
	if n.Draft != nil {
		f.keptSlices = slices.Clone(l.Slices)
	}
	if n.Draft != nil || n.Published == nil {
		f.published = 0
	}
	if n.content() == nil { // not even its emptiness is recorded: a crash would take the file
		f.saved = 0
	}
	f.stand(n.content(), l)
}

// stand makes a stored content the ground of the draft, which has no changes beyond it. f.mu must be held.
func (f *file) stand(c *contentRec, l *layout) {
	f.size, f.ground, f.slices, f.used = l.Size, l.Size, l.Slices, mapped(l.Slices)
	if len(l.Inline) == 0 || f.mem.bytes != l.Size || len(f.mem.list) != 1 {
		f.forget(&f.mem)
		if len(l.Inline) > 0 {
			f.remember(l.Inline, 0)
		}
	}
	clear(f.fresh)
	f.settleLoans()
	if old := f.base; old != 0 {
		f.epochs.retire(func() { f.fs.unpin(old) })
	}
	f.base = 0
	if c != nil && len(l.Slices) > 0 {
		f.base = contentID(c.ID)
		f.fs.pin(f.base)
	}
}

// remember puts bytes into memory and keeps the account of all drafts.
func (f *file) remember(p []byte, off int64) {
	before := f.mem.bytes
	f.mem.put(p, off)
	f.fs.dirty.Add(f.mem.bytes - before)
}

// forgetRange forgets bytes in memory.
func (f *file) forgetRange(off, end int64) {
	before := f.mem.bytes
	f.mem.cut(off, end)
	f.fs.dirty.Add(f.mem.bytes - before)
}

func (f *file) forget(m *memory) {
	f.fs.dirty.Add(-m.bytes)
	*m = memory{frames: m.frames}
}

// changed notes a change of the file's bytes. f.mu must be held.
func (f *file) changed() {
	f.seq++
	f.mtime = f.fs.now().UnixNano()
	f.ctime = f.mtime
	f.show()
}

// show makes the draft's attributes visible.
func (f *file) show() {
	f.times.Store(&overlay{known: true, size: f.size, used: min(f.used+f.mem.bytes, f.size), mtime: f.mtime, ctime: f.ctime})
}

// write is pwrite(2).
func (f *file) write(ctx context.Context, h *handle, p []byte, off int64) (n int, err error) {
	if off < 0 || off > maxFile-int64(len(p)) {
		return 0, of(TooBig)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.load(ctx); err != nil {
		return 0, err
	}
	for n < len(p) {
		part := p[n:min(len(p), n+chunkstore.FrameSize)]
		at := off + int64(n)
		if err := f.room(at, at+int64(len(part))); err != nil {
			return n, err
		}
		if err := f.grow(ctx, at+int64(len(part))); err != nil {
			return n, err
		}
		if err := f.permitWrite(ctx, part, at); err != nil {
			return n, err
		}
		f.remember(part, at)
		f.size = max(f.size, at+int64(len(part)))
		f.changed()
		h.dirty()
		n += len(part)
		if err := f.relieve(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// appendTo is write(2) with O_APPEND. All of p lands together.
func (f *file) appendTo(ctx context.Context, h *handle, p []byte) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.load(ctx); err != nil {
		return 0, err
	}
	if err := f.room(f.size, f.size+int64(len(p))); err != nil {
		return 0, err
	}
	off := f.size
	switch {
	case !permits(f.flags, actAppend):
		return 0, of(NotPermitted)
	case off > maxFile-int64(len(p)):
		return 0, of(TooBig)
	}
	if err := f.grow(ctx, off+int64(len(p))); err != nil {
		return 0, err
	}
	for at := 0; at < len(p); at += chunkstore.FrameSize {
		part := p[at:min(len(p), at+chunkstore.FrameSize)]
		f.remember(part, off+int64(at))
	}
	f.size = off + int64(len(p))
	f.changed()
	h.dirty()
	return off, f.relieve()
}

// install maps [off, end) to with, whose extents are fresh; none makes a hole. f.mu must be held.
func (f *file) install(off, end int64, with ...slice) {
	f.vacate(off, end)
	for _, s := range with {
		f.fresh[s.extent()] += s.Len
		f.used += s.Len
	}
	f.slices = replaceSlices(f.slices, off, end-off, with...)
	if len(with) == 1 {
		i := f.join(findSlice(f.slices, off))
		f.join(i + 1)
	}
}

// vacate notes that what the map says of [off, end) is about to be replaced. f.mu must be held.
func (f *file) vacate(off, end int64) {
	for i := findSlice(f.slices, off); i < len(f.slices) && f.slices[i].Off < end; i++ {
		s := f.slices[i]
		n := min(s.end(), end) - max(s.Off, off)
		f.unuse(s.extent(), n)
		f.used -= n
	}
}

// unuse notes that n bytes of an extent are no longer in the map, and frees a fresh one that has none
// left.
func (f *file) unuse(e chunkstore.Extent, n int64) {
	used, ok := f.fresh[e]
	if !ok {
		return
	}
	if used > n {
		f.fresh[e] = used - n
		return
	}
	delete(f.fresh, e)
	f.epochs.retire(func() { f.fs.free([]chunkstore.Extent{e}) })
}

// join makes one slice of the i-th and the one before it, if they are whole fresh extents that follow
// each other on the disk, and returns where it is. An extent that a record names stays as it is.
func (f *file) join(i int) int {
	if i < 1 || i >= len(f.slices) {
		return i
	}
	a, b := f.slices[i-1], f.slices[i]
	if a.end() != b.Off || !f.whole(a) || !f.whole(b) {
		return i
	}
	e, ok := chunkstore.Join(a.extent(), b.extent())
	if !ok {
		return i
	}
	delete(f.fresh, a.extent())
	delete(f.fresh, b.extent())
	f.fresh[e] = int64(e.Length)
	f.slices[i-1] = sliceOf(e, a.Off)
	f.slices = slices.Delete(f.slices, i, i+1)
	return i - 1
}

// whole reports whether a slice is all of a fresh extent.
func (f *file) whole(s slice) bool {
	_, ok := f.fresh[s.extent()]
	return ok && s.Skip == 0 && s.Len == int64(s.Extent)
}

// truncate is ftruncate(2). f.mu must be held; it may be given up to wait.
func (f *file) truncate(ctx context.Context, size int64) error {
	if size < 0 {
		return of(Invalid)
	}
	if size > maxFile {
		return of(TooBig)
	}
	f.await(min(size, f.size), maxFile)
	if f.closed {
		return of(Unavailable)
	}
	if size > f.size {
		if err := f.grow(ctx, size); err != nil {
			return err
		}
	}
	if size < f.size {
		f.forgetRange(size, maxFile)
		f.install(size, maxFile)
	}
	f.size = size
	f.changed()
	return nil
}

// read is pread(2).
func (f *file) read(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, of(Invalid)
	}
	f.mu.RLock()
	for !f.loaded || f.closed {
		f.mu.RUnlock()
		f.mu.Lock()
		err := f.load(ctx)
		f.mu.Unlock()
		if err != nil {
			return 0, err
		}
		f.mu.RLock()
	}
	if off >= f.size || len(p) == 0 {
		f.mu.RUnlock()
		return 0, nil
	}
	p = p[:min(int64(len(p)), f.size-off)]
	reads := f.plan(p, off)
	if len(reads) == 0 {
		f.mu.RUnlock()
		return len(p), nil
	}
	epoch, d := f.epochs.enter(), f.d
	f.mu.RUnlock()
	defer f.epochs.leave(epoch)
	for _, r := range reads {
		if err := f.fs.chunks.ReadAt(ctx, d, r.e, r.p, r.off); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// extentRead is a piece of a read that the chunk store answers.
type extentRead struct {
	e   chunkstore.Extent
	p   []byte
	off int64
}

// plan fills p from memory and holes, and returns the reads that fill the rest. f.mu must be held, at
// least for reading.
func (f *file) plan(p []byte, off int64) (reads []extentRead) {
	at, end := off, off+int64(len(p))
	for i := f.mem.find(off); i < len(f.mem.list) && f.mem.list[i].off < end; i++ {
		iv := f.mem.list[i]
		if iv.off > at {
			reads = f.planMap(reads, p[at-off:iv.off-off], at)
			at = iv.off
		}
		at += int64(copy(p[at-off:], iv.data[at-iv.off:]))
	}
	if at < end {
		reads = f.planMap(reads, p[at-off:], at)
	}
	return reads
}

// planMap is plan for a range that memory says nothing of.
func (f *file) planMap(reads []extentRead, p []byte, off int64) []extentRead {
	at, end := off, off+int64(len(p))
	for i := findSlice(f.slices, off); i < len(f.slices) && f.slices[i].Off < end; i++ {
		s := f.slices[i]
		if s.Off > at {
			clear(p[at-off : s.Off-off])
			at = s.Off
		}
		n := min(s.end(), end) - at
		reads = append(reads, extentRead{s.extent(), p[at-off : at-off+n], int64(s.Skip) + at - s.Off})
		at += n
	}
	clear(p[at-off:])
	return reads
}

// seek finds the first data, or the first hole, at or after off.
func (f *file) seek(ctx context.Context, off int64, hole bool) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.load(ctx); err != nil {
		return 0, err
	}
	if off < 0 || off >= f.size {
		return 0, of(NotFound)
	}
	for at := off; at < f.size; {
		data, end := f.extentAt(at)
		if data != hole {
			return at, nil
		}
		at = end
	}
	if hole {
		return f.size, nil // every file ends with a hole
	}
	return 0, of(NotFound)
}

// extentAt reports whether at lies in data, and until where that holds at least.
func (f *file) extentAt(at int64) (data bool, end int64) {
	end = f.size
	if i := f.mem.find(at); i < len(f.mem.list) {
		if f.mem.list[i].off <= at {
			return true, f.mem.list[i].end()
		}
		end = min(end, f.mem.list[i].off)
	}
	if i := findSlice(f.slices, at); i < len(f.slices) {
		if f.slices[i].Off <= at {
			return true, min(end, f.slices[i].end())
		}
		end = min(end, f.slices[i].Off)
	}
	return false, end
}

// discard gives back all that the draft holds. f.mu must be held, and nobody else may use the file.
func (f *file) discard() {
	f.halt()
	f.ungrow()
	f.forget(&f.mem)
	var lost []chunkstore.Extent
	for e := range f.fresh {
		lost = append(lost, e)
	}
	clear(f.fresh)
	if f.stream != nil {
		if err := f.stream.Close(); err != nil && !errors.Is(err, chunkstore.ErrClosed) {
			f.fs.log.Warn("namespace: closing a stream", "ino", f.ino, "err", err)
		}
		f.stream = nil
	}
	f.settleLoans()
	if f.base != 0 {
		f.fs.unpin(f.base)
		f.base = 0
	}
	f.fs.free(lost)
	f.slices, f.loaded = nil, false
}

// setTimes applies explicit times to a draft that has changes of its own, so that publication keeps
// them. f.mu must be held.
func (f *file) setTimes(mtime, ctime *time.Time) {
	if mtime != nil {
		f.mtime = nanos(*mtime)
	}
	if ctime != nil {
		f.ctime = nanos(*ctime)
	}
	f.show()
}
