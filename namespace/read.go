package namespace

import (
	"context"
	"io"
	"sync"

	"k3fs/chunkstore"
)

// readLayout fills p with a content's bytes from off on: n < len(p) only at the end of the content. It reads
// through the page cache, for S3 has no other.
func (fs *FS) readLayout(ctx context.Context, d chunkstore.Domain, l *layout, p []byte, off int64) (int, error) {
	if off < 0 || off >= l.Size {
		return 0, nil
	}
	p = p[:min(int64(len(p)), l.Size-off)]
	if len(l.Inline) > 0 {
		n := 0
		if off < int64(len(l.Inline)) {
			n = copy(p, l.Inline[off:])
		}
		clear(p[n:])
		return len(p), nil
	}
	at, end := off, off+int64(len(p))
	for i := findSlice(l.Slices, off); at < end; i++ {
		if i == len(l.Slices) || l.Slices[i].Off >= end {
			clear(p[at-off:])
			break
		}
		s := l.Slices[i]
		if s.Off > at {
			clear(p[at-off : s.Off-off])
			at = s.Off
		}
		n := min(s.end(), end) - at
		if err := fs.chunks.ReadCached(ctx, d, s.extent(), p[at-off:at-off+n], int64(s.Skip)+at-s.Off); err != nil {
			return 0, err
		}
		at += n
	}
	return len(p), nil
}

// free gives back extents that no record refers to. What fails is found by the next recovery.
func (fs *FS) free(extents []chunkstore.Extent) {
	for _, e := range extents {
		if err := fs.chunks.Free(context.Background(), e); err != nil {
			fs.log.Warn("namespace: unused data stays until the next start", "segment", e.Segment, "offset", e.Offset, "err", err)
		}
	}
}

// objectReader is an ObjectReader. Its content is pinned until Close.
type objectReader struct {
	fs      *FS
	d       chunkstore.Domain
	info    ObjectInfo
	l       *layout
	id      contentID // 0 if it has none
	content contentID // 0 if nothing is pinned
	once    sync.Once
}

func (r *objectReader) Info() ObjectInfo { return r.info }

func (r *objectReader) Close() error {
	r.once.Do(func() {
		if r.content != 0 {
			r.fs.unpin(r.content)
		}
	})
	return nil
}

func (r *objectReader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := r.fs.readLayout(ctx, r.d, r.l, p, off)
	return n, fail("read", r.info.Key, err)
}

func (r *objectReader) WriteRange(ctx context.Context, w io.Writer, off, length int64) (int64, error) {
	length = max(min(length, r.l.Size-off), 0)
	var n int64
	var err error
	if end := off + length; end <= int64(len(r.l.Inline)) {
		var m int
		m, err = w.Write(r.l.Inline[off:end])
		n = int64(m)
	} else {
		n, err = r.writeFrames(ctx, w, off, length)
	}
	return n, fail("read", r.info.Key, err)
}

// filled is a buffer with what was read into it.
type filled struct {
	buf []byte
	n   int
	err error
}

// writeFrames writes the range a frame at a time. While one is written the next is read, unless memory
// is short.
func (r *objectReader) writeFrames(ctx context.Context, w io.Writer, off, length int64) (written int64, err error) {
	pool := r.fs.reads
	var bufs [2][]byte
	defer func() { pool.put(bufs[0]); pool.put(bufs[1]) }()
	if length > smallBuffer {
		if bufs[0] = pool.try(); length > chunkstore.FrameSize {
			bufs[1] = pool.try()
		}
	}
	if bufs[0] == nil {
		if bufs[0], bufs[1] = bufs[1], nil; bufs[0] == nil {
			bufs[0] = pool.getSmall()
		}
	}
	read := func(buf []byte) filled {
		step := int64(len(buf)) - off%int64(len(buf)) // so that later steps are whole frames
		buf = buf[:min(step, length)]
		n, err := r.fs.readLayout(ctx, r.d, r.l, buf, off)
		off, length = off+int64(n), length-int64(n)
		return filled{buf, n, err}
	}
	if bufs[1] == nil {
		for length > 0 {
			f := read(bufs[0])
			if err := r.write(w, f, &written); err != nil {
				return written, err
			}
		}
		return written, nil
	}
	ahead := make(chan filled, 1)
	next := read(bufs[0])
	for i := 1; ; i++ {
		f, more := next, next.err == nil && length > 0
		if more {
			go func() { ahead <- read(bufs[i%2]) }()
		}
		err := r.write(w, f, &written)
		if more {
			next = <-ahead
		}
		if err != nil || !more {
			return written, err
		}
	}
}

func (r *objectReader) write(w io.Writer, f filled, written *int64) error {
	if f.err != nil {
		return f.err
	}
	n, err := w.Write(f.buf[:f.n])
	*written += int64(n)
	return err
}
