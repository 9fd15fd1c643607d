package chunkstore

import (
	"context"
	"fmt"
	"sync"
)

// Stream appends bulk data. It reserves room ahead, so that the frames of one writer follow each other on
// disk however many write at once, and can be joined to long extents.
type Stream struct {
	s      *Store
	d      Domain
	cached bool

	mu     sync.Mutex
	room   reservation
	next   int64 // first byte of room not given to a frame
	frames int64 // to reserve next
	closed bool
}

const (
	firstReservation = 4 // frames
	lastReservation  = MaxExtent / FrameSize
)

// NewStream returns a stream of the domain. It takes no room until its first Append. Close it.
func (s *Store) NewStream(d Domain) *Stream {
	return &Stream{s: s, d: d, frames: firstReservation}
}

// NewCachedStream is NewStream through the system's page cache, as AppendCached is Append.
func (s *Store) NewCachedStream(d Domain) *Stream {
	st := s.NewStream(d)
	st.cached = true
	return st
}

// Append seals p, of 1 to FrameSize bytes, as an extent of one frame. Extents lie on disk in the order
// in which Append was called; called side by side, sealing and writing go side by side. Errors are those
// of Store.Append.
func (st *Stream) Append(ctx context.Context, p []byte) (Extent, error) {
	seg, e, err := st.place(ctx, p)
	if err != nil {
		return Extent{}, err
	}
	return st.write(ctx, seg, e, p)
}

// Start is Append that returns when p has its place, and seals and writes it behind the caller's back. What
// Append would return is given to done, once, on another goroutine or, if there is no place, before Start
// returns. p must not change until then.
func (st *Stream) Start(ctx context.Context, p []byte, done func(Extent, error)) {
	seg, e, err := st.place(ctx, p)
	if err != nil {
		done(Extent{}, err)
		return
	}
	go func() { done(st.write(ctx, seg, e, p)) }()
}

// place takes room for p. The segment has one writer more, which write ends.
func (st *Stream) place(ctx context.Context, p []byte) (*segment, Extent, error) {
	if len(p) < 1 || len(p) > FrameSize {
		return nil, Extent{}, fmt.Errorf("chunkstore: stream append of %d bytes; a frame has 1 to %d", len(p), FrameSize)
	}
	if err := ctx.Err(); err != nil {
		return nil, Extent{}, err
	}
	seg, off, err := st.allocate(int64(layoutOf(len(p)).disk))
	if err != nil {
		return nil, Extent{}, err
	}
	return seg, Extent{Segment: seg.number, Offset: uint64(off), Length: uint32(len(p))}, nil
}

func (st *Stream) write(ctx context.Context, seg *segment, e Extent, p []byte) (Extent, error) {
	defer seg.endWrite(st.s)
	off := int64(e.Offset)
	if err := st.s.writeFrame(ctx, access{seg, st.cached}, st.d, off, p); err != nil {
		st.s.punch(seg, off, int64(layoutOf(len(p)).disk))
		return Extent{}, err
	}
	return e, nil
}

// allocate takes room for a frame. The segment has one writer more, which endWrite ends.
func (st *Stream) allocate(disk int64) (*segment, int64, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return nil, 0, fmt.Errorf("%w: stream", ErrClosed)
	}
	if err := st.s.usable(); err != nil {
		return nil, 0, err
	}
	if st.room.seg == nil || st.room.end-st.next < disk {
		room, err := st.s.reserve(&st.s.bulk, disk, st.frames*maxFrameDisk)
		if err != nil {
			return nil, 0, err
		}
		st.frames = min(st.frames*4, lastReservation)
		st.extend(room)
	}
	off := st.next
	st.next += disk
	st.room.seg.beginWrite()
	return st.room.seg, off, nil
}

// extend puts new room in place of what is left, or behind it where it follows without a gap. st.mu must
// be held.
func (st *Stream) extend(room reservation) {
	if st.room.seg == room.seg && st.room.end == room.off {
		st.room.end = room.end
		room.seg.endWrite(st.s)
		return
	}
	if st.room.seg != nil {
		st.s.giveBack(&st.s.bulk, st.room, st.next)
	}
	st.room, st.next = room, room.off
}

// Close gives back the room that was not used. Appends under way are not disturbed.
func (st *Stream) Close() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return nil
	}
	st.closed = true
	if st.room.seg != nil {
		st.s.giveBack(&st.s.bulk, st.room, st.next)
	}
	return nil
}

func (seg *segment) beginWrite() {
	seg.mu.Lock()
	seg.users++
	seg.writers++
	seg.mu.Unlock()
}

func (seg *segment) endWrite(s *Store) {
	seg.mu.Lock()
	seg.writers--
	idle := seg.writers == 0 && !seg.active
	seg.mu.Unlock()
	if idle {
		s.removeIfEmpty(seg)
	}
	seg.release()
}
