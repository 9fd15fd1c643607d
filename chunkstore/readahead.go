package chunkstore

import (
	"container/list"
	"context"
	"sync"
	"time"
)

const (
	aheadFrames = 3        // read ahead of a sequential reader
	aheadMin    = 64 << 10 // bytes of a read that make a sequential reader likely
	aheadSlack  = 2 << 20  // bytes by which such reads of a sequential reader may come out of order
	aheadTracks = 512      // extents of which the readers are remembered
	aheadStale  = time.Second
)

// readAhead keeps opened frames that sequential readers are about to ask for. Its memory is bounded by a
// number of slots; without a free one nothing is read ahead.
type readAhead struct {
	slots int

	mu     sync.Mutex
	frames map[frameKey]*aheadFrame
	order  list.List // of *aheadFrame, the one to evict first in front
	free   [][]byte
	made   int // slots that have memory
	tracks map[frameKey]int64
	closed bool
	work   sync.WaitGroup
}

// aheadFrame is one opened frame. Fields but ready, id and plain are guarded by readAhead.mu.
type aheadFrame struct {
	id    frameID
	ready chan struct{}
	plain []byte // valid once ready is closed, nil if the frame can't be read

	el     *list.Element
	users  int
	read   bool // to its end: may be evicted
	loaded time.Time
	gone   bool
}

func newReadAhead(bound int64) *readAhead {
	return &readAhead{
		slots:  int(max(bound, 0) / FrameSize),
		frames: map[frameKey]*aheadFrame{}, tracks: map[frameKey]int64{},
	}
}

// sequential notes a read of an extent and says whether it goes on where the last one ended.
func (ra *readAhead) sequential(e Extent, off int64, n int) bool {
	if e.Length <= FrameSize || ra.slots == 0 {
		return false
	}
	k := frameKey{e.Segment, int64(e.Offset)}
	ra.mu.Lock()
	defer ra.mu.Unlock()
	next, known := ra.tracks[k]
	slack := int64(0)
	if n >= aheadMin { // what the system reads ahead arrives out of order
		slack = aheadSlack
	}
	follows := known && off >= next-slack && off <= next+slack || off == 0 && n >= aheadMin
	if !known && len(ra.tracks) >= aheadTracks {
		for old := range ra.tracks {
			delete(ra.tracks, old)
			break
		}
	}
	if end := off + int64(n); !follows || end > next {
		ra.tracks[k] = end
	}
	return follows
}

// copyTo fills p from byte off of the frame if that was read ahead, waiting for it if need be.
func (ra *readAhead) copyTo(ctx context.Context, id frameID, p []byte, off int) bool {
	f := ra.use(id)
	if f == nil {
		return false
	}
	defer ra.unuse(f, off+len(p) == id.length)
	select {
	case <-f.ready:
	case <-ctx.Done():
		return false
	}
	return f.plain != nil && copy(p, f.plain[off:]) == len(p)
}

func (ra *readAhead) use(id frameID) *aheadFrame {
	ra.mu.Lock()
	defer ra.mu.Unlock()
	f := ra.frames[frameKey{id.segment, id.offset}]
	if f == nil || f.id.domain != id.domain || f.id.length != id.length {
		return nil
	}
	f.users++
	return f
}

func (ra *readAhead) unuse(f *aheadFrame, toEnd bool) {
	ra.mu.Lock()
	defer ra.mu.Unlock()
	f.users--
	if toEnd && !f.gone {
		f.read = true
		ra.order.MoveToFront(f.el)
	}
	ra.recycle(f)
}

// recycle takes the memory of a frame that is gone and that nobody uses. ra.mu must be held.
func (ra *readAhead) recycle(f *aheadFrame) {
	if f.gone && f.users == 0 && f.plain != nil {
		ra.free = append(ra.free, f.plain[:FrameSize])
		f.plain = nil
	}
}

// start makes the entry of a frame to be read ahead and its memory. It returns nil if the frame is there
// already or no slot is free.
func (ra *readAhead) start(id frameID) (*aheadFrame, []byte) {
	ra.mu.Lock()
	defer ra.mu.Unlock()
	k := frameKey{id.segment, id.offset}
	if ra.closed || ra.frames[k] != nil {
		return nil, nil
	}
	if len(ra.free) == 0 && ra.made == ra.slots {
		ra.evict()
	}
	var room []byte
	switch n := len(ra.free); {
	case n > 0:
		room, ra.free = ra.free[n-1], ra.free[:n-1]
	case ra.made < ra.slots:
		room = make([]byte, FrameSize)
		ra.made++
	default:
		return nil, nil
	}
	f := &aheadFrame{id: id, ready: make(chan struct{}), users: 1, loaded: time.Now()}
	f.el = ra.order.PushBack(f)
	ra.frames[k] = f
	ra.work.Add(1)
	return f, room
}

// evict drops the first frame if nobody wants it any more. ra.mu must be held.
func (ra *readAhead) evict() {
	if el := ra.order.Front(); el != nil {
		f := el.Value.(*aheadFrame)
		if f.users == 0 && (f.read || time.Since(f.loaded) > aheadStale) {
			ra.remove(f)
		}
	}
}

// remove forgets a frame. ra.mu must be held.
func (ra *readAhead) remove(f *aheadFrame) {
	if f.gone {
		return
	}
	f.gone = true
	ra.order.Remove(f.el)
	delete(ra.frames, frameKey{f.id.segment, f.id.offset})
	ra.recycle(f)
}

// finish ends what start began. A frame that could not be read is forgotten: who reads it gets the error.
func (ra *readAhead) finish(f *aheadFrame, room []byte, err error) {
	ra.mu.Lock()
	defer ra.mu.Unlock()
	if err == nil {
		f.plain = room[:f.id.length]
	} else {
		ra.free = append(ra.free, room)
		ra.remove(f)
	}
	close(f.ready)
	f.users--
	ra.recycle(f)
	ra.work.Done()
}

func (ra *readAhead) drop(k frameKey) {
	ra.mu.Lock()
	defer ra.mu.Unlock()
	if f := ra.frames[k]; f != nil {
		ra.remove(f)
	}
}

// forget drops and clears all of a domain.
func (ra *readAhead) forget(d Domain) {
	ra.mu.Lock()
	defer ra.mu.Unlock()
	for _, f := range ra.frames {
		if f.id.domain == d {
			ra.remove(f)
		}
	}
	for _, room := range ra.free {
		clear(room)
	}
}

// close waits for the reading that is under way and lets no other begin.
func (ra *readAhead) close() {
	ra.mu.Lock()
	ra.closed = true
	ra.mu.Unlock()
	ra.work.Wait()
}

// readAheadOf reads the frames that follow byte end of the extent, in the background.
func (s *Store) readAheadOf(seg access, d Domain, e Extent, end int64) {
	frames := (int64(e.Length) + FrameSize - 1) / FrameSize
	first := (end + FrameSize - 1) / FrameSize
	for i := first; i < min(first+aheadFrames, frames); i++ {
		id := e.frame(d, i)
		f, room := s.ahead.start(id)
		if f == nil {
			continue
		}
		seg.mu.Lock()
		seg.users++
		seg.mu.Unlock()
		go func() {
			defer seg.release()
			err := s.openFrame(context.Background(), seg, id, room[:id.length], 0)
			s.ahead.finish(f, room, err)
		}()
	}
}
