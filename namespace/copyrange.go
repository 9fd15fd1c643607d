package namespace

import (
	"context"

	"k3fs/chunkstore"
	"k3fs/metastore"
)

// What one CopyFrom takes of a file at most; the caller asks again for the rest.
const (
	copySlices = 2000            // extents to share
	copyBytes  = 4 << 20         // bytes to copy
	copyLength = int64(1) << 31  // bytes in all, since FUSE's answer has 32 bits
	shareMin   = int64(64 << 10) // a part of an extent that is shorter is copied, lest it keep the whole from being freed
)

// excerpt is a range of a file as it was at a moment, on its way to another place. What is in neither
// slices nor bytes is a hole. Offsets count from the start of the range.
type excerpt struct {
	length int64
	slices []slice
	loan   contentID // pinned; holds the extents of slices; 0 if there are none
	bytes  []interval
	copied int64 // in bytes
}

// CopyFrom implements FileHandle (copy_file_range(2)).
func (h *handle) CopyFrom(ctx context.Context, src FileHandle, srcOff, off, length int64) (int64, error) {
	from, ok := src.(*handle)
	if !ok {
		return 0, fail("copy range", "", of(CrossBucket))
	}
	n, err := h.copyFrom(ctx, from, srcOff, off, length)
	if err == nil && n > 0 && h.flags.Sync {
		err = h.f.fsync(ctx, h.v.door)
	}
	return n, fail("copy range", "", err)
}

func (h *handle) copyFrom(ctx context.Context, src *handle, srcOff, off, length int64) (int64, error) {
	if err := h.permitted(ctx, true); err != nil {
		return 0, err
	}
	if err := src.permitted(ctx, false); err != nil {
		return 0, err
	}
	length = min(length, copyLength)
	switch {
	case srcOff < 0 || off < 0 || length < 0:
		return 0, of(Invalid)
	case off > maxFile-length:
		return 0, of(TooBig)
	case h.f == src.f && srcOff < off+length && off < srcOff+length:
		return 0, of(Invalid)
	}
	d, err := h.f.domain(ctx)
	if err != nil {
		return 0, err
	}
	x, err := src.f.excerpt(ctx, d, srcOff, length)
	if err != nil || x.length == 0 {
		return 0, err
	}
	if err := h.f.insert(ctx, h, x, off); err != nil {
		return 0, err
	}
	return x.length, nil
}

// domain is the file's domain of keys.
func (f *file) domain(ctx context.Context) (chunkstore.Domain, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.load(ctx)
	return f.d, err
}

// excerpt takes a range of the file, less where it ends or the bounds of one copy are reached. Extents are
// shared only with a file of the same domain: every domain has its own keys.
func (f *file) excerpt(ctx context.Context, to chunkstore.Domain, off, length int64) (*excerpt, error) {
	f.mu.Lock()
	if err := f.load(ctx); err != nil {
		f.mu.Unlock()
		return nil, err
	}
	if f.mem.bytes >= shareMin { // only what is in the chunk store can be shared
		if err := f.drain(0); err != nil {
			f.mu.Unlock()
			return nil, err
		}
	}
	x := &excerpt{length: max(0, min(length, f.size-off))}
	reads := f.cutOut(x, to == f.d, off)
	if err := f.lend(ctx, x); err != nil {
		f.mu.Unlock()
		return nil, err
	}
	epoch, d := f.epochs.enter(), f.d
	f.mu.Unlock()
	defer f.epochs.leave(epoch)
	for _, r := range reads {
		if err := f.fs.chunks.ReadAt(ctx, d, r.e, r.p, r.off); err != nil {
			x.drop(f.fs)
			return nil, err
		}
	}
	return x, nil
}

// cutOut fills in what the range of x.length from off holds, and returns the reads that complete it. It
// shortens x where that is more than one copy takes. f.mu must be held.
func (f *file) cutOut(x *excerpt, share bool, off int64) (reads []extentRead) {
	at, end := off, off+x.length
	for at < end {
		data, to := f.extentAt(at)
		to = min(to, end)
		if !data {
			at = to
			continue
		}
		if s, ok := f.sliceAt(at, to); ok && share && worthSharing(s) {
			if len(x.slices) == copySlices {
				break
			}
			s.Off -= off
			x.slices = appendSlice(x.slices, s)
			at = to
			continue
		}
		if x.copied == copyBytes {
			break
		}
		to = min(to, at+copyBytes-x.copied, at+chunkstore.FrameSize)
		p := make([]byte, to-at)
		reads = append(reads, f.plan(p, at)...)
		x.bytes = append(x.bytes, interval{off: at - off, data: p})
		x.copied += int64(len(p))
		at = to
	}
	x.length = at - off
	return reads
}

// sliceAt is the part of the map that says what [from, to) holds, unless memory says it; the range is one of
// extentAt's. f.mu must be held.
func (f *file) sliceAt(from, to int64) (s slice, ok bool) {
	i := findSlice(f.slices, from)
	if i == len(f.slices) || f.slices[i].Off > from || f.mem.has(from) {
		return slice{}, false
	}
	return f.slices[i].from(from).until(to), true
}

// worthSharing reports whether a part of an extent is all of it, or long.
func worthSharing(s slice) bool {
	return s.Len >= shareMin || s.Skip == 0 && s.Len == int64(s.Extent)
}

// lend makes the extents of x safe from whatever happens to the file: a content that no inode has holds a
// reference to each of them until nobody pins it, or until the next start. The file's own fresh extents
// among them get their record that way, and the file shares the loan. f.mu must be held.
func (f *file) lend(ctx context.Context, x *excerpt) error {
	if len(x.slices) == 0 {
		return nil
	}
	var held contentID
	unpin := func() {
		if held != 0 {
			f.fs.unpin(held)
			held = 0
		}
	}
	err := f.fs.update(context.WithoutCancel(ctx), metastore.Ordered, nil, func(t *txn) error {
		unpin()
		c, err := f.fs.storeContent(t, f.d, &layout{Size: x.length, Slices: x.slices})
		if err != nil {
			return err
		}
		held = contentID(c.ID)
		f.fs.pin(held) // before the reaper can see it
		return f.fs.dropContent(t, f.d, &c)
	})
	if err != nil {
		if undone(err) {
			unpin()
		} // else the records may be there: what they hold is left to the next start
		return err
	}
	x.loan = held
	own := false
	for _, s := range x.slices {
		if _, ok := f.fresh[s.extent()]; ok {
			delete(f.fresh, s.extent())
			own = true
		}
	}
	if own {
		f.fs.pin(x.loan)
		f.loans = append(f.loans, x.loan)
	}
	return nil
}

// drop gives up an excerpt that was not inserted.
func (x *excerpt) drop(fs *FS) {
	if x.loan != 0 {
		fs.unpin(x.loan)
		x.loan = 0
	}
}

// insert writes x at off. It takes over the loan.
func (f *file) insert(ctx context.Context, h *handle, x *excerpt, off int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer x.drop(f.fs)
	if err := f.load(ctx); err != nil {
		return err
	}
	if err := f.room(off, off+x.copied); err != nil {
		return err
	}
	end := off + x.length
	f.await(off, end)
	switch {
	case f.closed:
		return of(Unavailable)
	case !permits(f.flags, actWrite):
		return of(NotPermitted)
	}
	if err := f.grow(ctx, end); err != nil {
		return err
	}
	for i := range x.slices {
		x.slices[i].Off += off
	}
	f.forgetRange(off, end)
	f.vacate(off, end)
	f.used += mapped(x.slices)
	f.slices = replaceSlices(f.slices, off, end-off, x.slices...)
	if x.loan != 0 {
		f.loans = append(f.loans, x.loan)
		x.loan = 0
	}
	for _, b := range x.bytes {
		f.remember(b.data, off+b.off)
	}
	f.size = max(f.size, end)
	f.changed()
	h.dirty()
	return f.relieve()
}

// settleLoans gives back the loans once no read can still use their extents: the map was stored, and holds
// them itself, or it is gone. f.mu must be held.
func (f *file) settleLoans() {
	for _, id := range f.loans {
		f.epochs.retire(func() { f.fs.unpin(id) })
	}
	f.loans = nil
}
