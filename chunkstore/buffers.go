package chunkstore

import (
	"context"
	"sync"
	"unsafe"
)

// buffers hands out aligned buffers for direct access. Small ones come from pools; of those for whole
// frames there is a fixed number, which bounds the memory of any number of streams.
type buffers struct {
	small [3]sync.Pool
	large chan []byte // nil elements are buffers not made yet
}

// Each class leaves a block for the tag behind the last package.
var smallClasses = [3]int{16 << 10, 80 << 10, 272 << 10}

const largeClass = maxFrameDisk + BlockSize

func newBuffers(n int) *buffers {
	b := &buffers{large: make(chan []byte, n)}
	for range n {
		b.large <- nil
	}
	return b
}

// alignedBytes makes n bytes whose address is a multiple of BlockSize.
func alignedBytes(n int) []byte {
	b := make([]byte, n+BlockSize)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (BlockSize - 1)
	return b[skip : skip+n : skip+n]
}

// get returns a buffer of at least n+tagSize bytes. It waits for one while all large ones are in use;
// nobody who has one may ask for another.
func (b *buffers) get(ctx context.Context, n int) ([]byte, error) {
	for i, size := range smallClasses {
		if n+tagSize > size {
			continue
		}
		if p, ok := b.small[i].Get().(*byte); ok {
			return unsafe.Slice(p, size), nil
		}
		return alignedBytes(size), nil
	}
	select {
	case p := <-b.large:
		if p == nil {
			p = alignedBytes(largeClass)
		}
		return p, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// put takes back what get returned.
func (b *buffers) put(p []byte) {
	for i, size := range smallClasses {
		if len(p) == size {
			b.small[i].Put(unsafe.SliceData(p))
			return
		}
	}
	b.large <- p
}
