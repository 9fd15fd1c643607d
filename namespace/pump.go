package namespace

import (
	"context"

	"k3fs/chunkstore"
)

const (
	memoryMax  = 8 << 20  // bytes that a draft keeps in memory before its writers wait
	dirtyMax   = 64 << 20 // bytes that all drafts keep in memory before each writer waits until its own are stored
	pumpFrames = 4        // frames of a draft on their way to the chunk store at a time
)

// pump takes what writers left in a draft's memory to the chunk store behind their backs, a frame as soon
// as there is one, several side by side. A writer has its answer when its bytes are in memory: a draft need
// not be durable before fsync. What is on its way stays in memory, busy, until it has landed; who wants to
// write or cut there waits, so that of two writes the one that began after the other ended always wins. What
// could not be stored stays in memory, and no more is tried until somebody asks: the next write, fsync
// or flush, which gets the error if it fails again.
//
// All fields are guarded by file.mu.
type pump struct {
	running bool
	frames  int   // on their way
	bytes   int64 // of memory, on their way
	hurried int   // callers who wait for memory to go, be it less than a frame
	failed  error // why the last frame did not land
}

// due reports whether something should be on its way that is not. f.mu must be held.
func (f *file) due() bool {
	idle := f.mem.bytes - f.pump.bytes
	return idle >= chunkstore.FrameSize || idle > 0 && f.pump.hurried > 0
}

// kick starts the pump if there is something to do. f.mu must be held.
func (f *file) kick() {
	if f.pump.running || f.pump.failed != nil || !f.due() {
		return
	}
	f.pump.running = true
	if f.stream == nil {
		f.stream = f.fs.chunks.NewStream(f.d)
	}
	go f.run(f.stream)
}

// run is the pump: there is one for a draft at a time, so that frames lie on the disk in the order in which
// they were picked.
func (f *file) run(stream *chunkstore.Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.pump.failed == nil && f.due() {
		if f.pump.frames == pumpFrames {
			f.landed.Wait()
			continue
		}
		batch, p := f.pick()
		f.mu.Unlock()
		stream.Start(context.Background(), p, func(e chunkstore.Extent, err error) { f.land(batch, p, e, err) })
		f.mu.Lock()
	}
	f.pump.running = false
	f.landed.Broadcast()
}

// pick makes up to a frame of the bytes in memory busy, the first of the file first. f.mu must be held,
// and there must be such bytes.
func (f *file) pick() (batch []*interval, p []byte) {
	total := 0
	for _, iv := range f.mem.list {
		if iv.busy {
			continue
		}
		if total+len(iv.data) > chunkstore.FrameSize {
			break
		}
		batch = append(batch, iv)
		total += len(iv.data)
		iv.busy = true
	}
	f.pump.frames++
	f.pump.bytes += int64(total)
	if len(batch) == 1 {
		return batch, batch[0].data
	}
	p = f.mem.frames.get(total)[:0]
	for _, iv := range batch {
		p = append(p, iv.data...)
	}
	return batch, p
}

// land ends the way of a frame: if it was stored, the map takes over from memory.
func (f *file) land(batch []*interval, p []byte, e chunkstore.Extent, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pump.frames--
	skip := uint32(0)
	for _, iv := range batch {
		iv.busy = false
		n := int64(len(iv.data))
		f.pump.bytes -= n
		if err == nil {
			f.install(iv.off, iv.end(), slice{Off: iv.off, Len: n, Segment: e.Segment, Offset: e.Offset, Extent: e.Length, Skip: skip})
			f.fs.dirty.Add(-n)
			f.mem.remove(iv)
		}
		skip += uint32(n)
	}
	if len(batch) > 1 {
		f.mem.frames.put(p)
	}
	if err != nil {
		f.pump.failed = err
	}
	f.landed.Broadcast()
}

// room waits until [off, end) may be written: nothing of it is on its way, nobody settles, and there is
// memory. f.mu must be held; it is given up meanwhile.
func (f *file) room(off, end int64) error {
	for {
		f.await(off, end)
		switch {
		case f.closed:
			return of(Unavailable)
		case f.pump.failed != nil:
			if err := f.drain(0); err != nil {
				return err
			}
		case f.mem.bytes == 0 || f.mem.bytes+end-off <= memoryMax:
			return nil
		default:
			f.kick()
			f.landed.Wait()
		}
	}
}

// relieve keeps what all drafts have in memory within bounds. f.mu must be held; it is given up meanwhile.
func (f *file) relieve() error {
	f.kick()
	if f.mem.bytes > inlineMax && f.fs.dirty.Load() > dirtyMax {
		return f.drain(inlineMax)
	}
	return nil
}

// drain waits until no more than some bytes are left in memory, after a failure those that failed too. f.mu
// must be held; it is given up meanwhile.
func (f *file) drain(most int64) error {
	f.pump.hurried++
	defer func() { f.pump.hurried-- }()
	f.pump.failed = nil
	for f.mem.bytes > most {
		f.kick()
		f.landed.Wait()
		if f.pump.failed != nil && f.pump.frames == 0 {
			return f.pump.failed
		}
	}
	return nil
}

// await waits until nothing of [off, end) is on its way and nobody settles. f.mu must be held.
func (f *file) await(off, end int64) {
	for f.settles > 0 || f.flying(off, end) {
		f.landed.Wait()
	}
}

func (f *file) flying(off, end int64) bool {
	if f.pump.frames == 0 {
		return false
	}
	for i := f.mem.find(off); i < len(f.mem.list) && f.mem.list[i].off < end; i++ {
		if f.mem.list[i].busy {
			return true
		}
	}
	return false
}

// halt waits until nothing is on its way, and lets nothing start any more. f.mu must be held.
func (f *file) halt() {
	f.pump.failed = of(Unavailable)
	for f.pump.running || f.pump.frames > 0 {
		f.landed.Wait()
	}
}
