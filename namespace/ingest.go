package namespace

import (
	"bytes"
	"context"
	"errors"
	"io"

	"k3fs/chunkstore"
)

// ingested is a body that was read, verified and written, but is not published.
type ingested struct {
	*staged
	fresh  []chunkstore.Extent // what was written for it
	sealed Sealed
}

// ingest reads a body to its end. Up to inline bytes stay in memory; more go to the chunk store.
func (fs *FS) ingest(ctx context.Context, d chunkstore.Domain, body Body, inline int) (*ingested, error) {
	l, fresh, sealed, err := fs.take(ctx, d, body, inline)
	if err != nil {
		return nil, err
	}
	s, err := fs.stage(ctx, d, l)
	if err != nil {
		fs.free(fresh)
		return nil, err
	}
	return &ingested{s, fresh, sealed}, nil
}

// take reads a body to its end, and returns where its bytes are and what was written for them.
func (fs *FS) take(ctx context.Context, d chunkstore.Domain, body Body, inline int) (*layout, []chunkstore.Extent, Sealed, error) {
	in := intake{fs: fs, ctx: ctx, d: d, body: body}
	l, err := in.layout(inline)
	var sealed Sealed
	if err == nil {
		if sealed, err = body.Seal(); err != nil {
			err = badBody(ctx, err)
		}
	}
	if err != nil {
		fs.free(in.extents)
		return nil, nil, sealed, err
	}
	return l, in.extents, sealed, nil
}

// badBody is the error of a body whose own check failed, or whose client went away.
func badBody(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &Error{Kind: BadBody, Err: err}
}

// intake is a body on its way into the chunk store.
type intake struct {
	fs   *FS
	ctx  context.Context
	d    chunkstore.Domain
	body Body

	size    int64 // bytes read
	eof     bool
	extents []chunkstore.Extent
}

func (in *intake) layout(inline int) (*layout, error) {
	pool := in.fs.writes
	var buf []byte
	if size := in.body.Size(); size >= 0 && size <= smallBuffer {
		buf = pool.getSmall()
	} else {
		var err error
		if buf, err = pool.get(in.ctx); err != nil {
			return nil, err
		}
	}
	defer func() { pool.put(buf) }()
	n, err := in.fill(buf)
	switch {
	case err != nil:
		return nil, err
	case in.eof && n <= inline:
		if err := in.whole(); err != nil {
			return nil, err
		}
		return &layout{Size: int64(n), Inline: bytes.Clone(buf[:n])}, nil
	case in.eof && n > 0:
		e, err := in.fs.chunks.AppendCached(in.ctx, in.d, buf[:n])
		if err != nil {
			return nil, err
		}
		in.extents = []chunkstore.Extent{e}
	case !in.eof:
		if len(buf) < chunkstore.FrameSize {
			return nil, errLength
		}
		if err := in.stream(buf, n); err != nil {
			return nil, err
		}
	}
	if err := in.whole(); err != nil {
		return nil, err
	}
	l := &layout{Size: in.size}
	off := int64(0)
	for _, e := range in.extents {
		l.Slices = append(l.Slices, sliceOf(e, off))
		off += int64(e.Length)
	}
	return l, nil
}

// errLength: a body ended too early, or not in time.
var errLength = &Error{Kind: BadBody, Err: errors.New("the body is not as long as was announced")}

// whole checks that the body was as long as announced.
func (in *intake) whole() error {
	if size := in.body.Size(); size >= 0 && in.size != size {
		return errLength
	}
	return nil
}

// fill reads until buf is full or the body ends.
func (in *intake) fill(buf []byte) (n int, err error) {
	var one [1]byte
	for idle := 0; ; {
		p := buf[n:]
		if len(p) == 0 {
			if in.size != in.body.Size() {
				return n, nil
			}
			p = one[:] // all that was announced: only the end may follow, and says so
		}
		m, err := in.body.Read(p)
		if m > 0 && len(buf) == n {
			return n, errLength
		}
		n += m
		in.size += int64(m)
		switch {
		case errors.Is(err, io.EOF):
			in.eof = true
			return n, nil
		case err != nil:
			return n, badBody(in.ctx, err)
		case m > 0:
			idle = 0
		default:
			if idle++; idle > 100 {
				return n, badBody(in.ctx, io.ErrNoProgress)
			}
		}
	}
}

// stream writes the body in frames, the first of which is full of n bytes. While one is sealed and
// written the next is read, unless memory is short.
func (in *intake) stream(first []byte, n int) error {
	st := in.fs.chunks.NewCachedStream(in.d)
	defer st.Close()
	second := in.fs.writes.try()
	defer in.fs.writes.put(second)
	if second == nil {
		for n > 0 {
			e, err := st.Append(in.ctx, first[:n])
			if err != nil {
				return err
			}
			in.add(e)
			if n = 0; !in.eof {
				if n, err = in.fill(first); err != nil {
					return err
				}
			}
		}
		return nil
	}
	type result struct {
		e   chunkstore.Extent
		err error
	}
	written := make(chan result, 1)
	cur, next := first, second
	for n > 0 {
		go func(p []byte) {
			e, err := st.Append(in.ctx, p)
			written <- result{e, err}
		}(cur[:n])
		m, err := 0, error(nil)
		if !in.eof {
			m, err = in.fill(next)
		}
		w := <-written
		if w.err != nil {
			return w.err
		}
		in.add(w.e)
		if err != nil {
			return err
		}
		n, cur, next = m, next, cur
	}
	return nil
}

// add notes an extent, joined to the one before where they follow each other.
func (in *intake) add(e chunkstore.Extent) {
	if n := len(in.extents) - 1; n >= 0 {
		if joined, ok := chunkstore.Join(in.extents[n], e); ok {
			in.extents[n] = joined
			return
		}
	}
	in.extents = append(in.extents, e)
}
