package namespace

import "context"

// Allocate implements FileHandle (fallocate(2)). Space is looked for but not kept: every write goes to a new
// place, also one to bytes that were written before, so a reservation could not keep what ext4's does.
func (h *handle) Allocate(ctx context.Context, mode AllocMode, keepSize bool, off, length int64) error {
	err := h.permitted(ctx, true)
	if err == nil {
		err = h.f.allocate(ctx, h, mode, keepSize, off, length)
	}
	if err == nil && h.flags.Sync {
		err = h.f.fsync(ctx, h.v.door)
	}
	return fail("allocate", "", err)
}

func (f *file) allocate(ctx context.Context, h *handle, mode AllocMode, keepSize bool, off, length int64) error {
	switch {
	case off < 0 || length <= 0 || mode > AllocZero || mode == AllocPunch && !keepSize:
		return of(Invalid)
	case off > maxFile-length && !keepSize:
		return of(TooBig)
	}
	end := min(off, maxFile) + min(length, maxFile) // of a range that may lie beyond any file
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.load(ctx); err != nil {
		return err
	}
	a := actWrite
	if mode == AllocSpace {
		a = actAppend
	}
	if !permits(f.flags, a) {
		return of(NotPermitted)
	}
	changes := !keepSize && end > f.size
	if changes {
		if err := f.grow(ctx, end); err != nil {
			return err
		}
	}
	if mode == AllocSpace {
		if f.holes(off, end) > f.fs.space() {
			return of(NoSpace)
		}
	} else if from, to := off, min(end, f.size); from < to {
		f.await(from, to)
		f.forgetRange(from, to)
		f.install(from, to)
		changes = true
	}
	if f.closed {
		return of(Unavailable)
	}
	if !changes {
		return nil
	}
	if !keepSize {
		f.size = max(f.size, end)
	}
	f.changed()
	h.dirty()
	return nil
}

// space is how many bytes may be written before the chunk store refuses, as far as is known.
func (fs *FS) space() int64 {
	u := fs.chunks.Usage()
	if u.Total == 0 {
		return maxFile
	}
	return max(0, u.Free-u.LowWater)
}

// holes is how many bytes of [off, end) are a hole. f.mu must be held.
func (f *file) holes(off, end int64) (n int64) {
	for off < end {
		data, to := f.extentAt(off)
		if to <= off { // beyond the end of the file
			return n + end - off
		}
		if !data {
			n += min(to, end) - off
		}
		off = to
	}
	return n
}
