package namespace

import (
	"context"
	"sync"

	"k3fs/chunkstore"
)

// bigBuffers bounds the frames in memory of all uploads, and those of all downloads, at a time.
const bigBuffers = 32

// smallBuffer is the buffer of those for whom there is no big one, and of short reads.
const smallBuffer = 64 << 10

// buffers hands out buffers of one frame, of which there is a fixed number, so that any number of clients
// fits in memory; and small ones, of which there is one per client at most.
type buffers struct {
	big   chan []byte // nil elements are buffers not made yet
	small sync.Pool
}

func newBuffers() *buffers {
	b := &buffers{big: make(chan []byte, bigBuffers)}
	for range bigBuffers {
		b.big <- nil
	}
	b.small.New = func() any { return new([smallBuffer]byte) }
	return b
}

func made(p []byte) []byte {
	if p == nil {
		return make([]byte, chunkstore.FrameSize)
	}
	return p
}

// get waits for a buffer of a frame.
func (b *buffers) get(ctx context.Context) ([]byte, error) {
	select {
	case p := <-b.big:
		return made(p), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// try returns a buffer of a frame, or nil if all are in use.
func (b *buffers) try() []byte {
	select {
	case p := <-b.big:
		return made(p)
	default:
		return nil
	}
}

// getSmall returns a buffer of smallBuffer bytes at once.
func (b *buffers) getSmall() []byte { return b.small.Get().(*[smallBuffer]byte)[:] }

// put takes back a buffer of any size; nil is none.
func (b *buffers) put(p []byte) {
	switch len(p) {
	case chunkstore.FrameSize:
		b.big <- p
	case smallBuffer:
		b.small.Put((*[smallBuffer]byte)(p))
	}
}
