package namespace

import (
	"slices"
	"sort"
	"sync"

	"k3fs/chunkstore"
)

// frames are buffers of a frame that drafts use again and again.
type frames struct{ pool sync.Pool }

// get returns n bytes with room for a frame.
func (fr *frames) get(n int) []byte {
	if b, ok := fr.pool.Get().(*[chunkstore.FrameSize]byte); ok {
		return b[:n]
	}
	return make([]byte, n, chunkstore.FrameSize)
}

// put takes back what get returned.
func (fr *frames) put(p []byte) {
	fr.pool.Put((*[chunkstore.FrameSize]byte)(p[:chunkstore.FrameSize]))
}

// interval is written bytes of a file that are in memory only. At most a frame long.
type interval struct {
	off   int64
	data  []byte
	frame bool // data is all that uses its buffer, which is of frames
	busy  bool // on its way: its bytes don't change, and nothing is put beside them in its memory
}

func (iv *interval) end() int64 { return iv.off + int64(len(iv.data)) }

// memory is the written bytes of a draft that lie over its map: sorted, not overlapping.
type memory struct {
	frames *frames
	list   []*interval
	bytes  int64
}

// find is the index of the first interval that ends after off.
func (m *memory) find(off int64) int {
	if n := len(m.list); n == 0 || m.list[n-1].end() <= off {
		return n
	}
	return sort.Search(len(m.list), func(i int) bool { return m.list[i].end() > off })
}

// has reports whether the byte at off is in memory.
func (m *memory) has(off int64) bool {
	i := m.find(off)
	return i < len(m.list) && m.list[i].off <= off
}

// put stores a copy of p at off; none of what it covers may be busy.
func (m *memory) put(p []byte, off int64) {
	end := off + int64(len(p))
	i := m.find(off)
	if i < len(m.list) && m.list[i].off <= off && m.list[i].end() >= end {
		copy(m.list[i].data[off-m.list[i].off:], p)
		return
	}
	m.cut(off, end)
	i = m.find(off)
	if i > 0 {
		if left := m.list[i-1]; left.end() == off && !left.busy && len(left.data)+len(p) <= chunkstore.FrameSize {
			m.grow(left, len(p))
			left.data = append(left.data, p...)
			m.bytes += int64(len(p))
			return
		}
	}
	m.bytes += int64(len(p))
	iv := &interval{off: off}
	if len(p) > chunkstore.FrameSize/2 {
		iv.data, iv.frame = m.frames.get(0), true
	}
	iv.data = append(iv.data, p...)
	m.list = slices.Insert(m.list, i, iv)
}

// grow makes room for n bytes more, in large steps: a file written in small pieces from front to back is
// the common case.
func (m *memory) grow(iv *interval, n int) {
	need := len(iv.data) + n
	if need <= cap(iv.data) {
		return
	}
	size := max(4*cap(iv.data), need)
	if size < chunkstore.FrameSize {
		iv.data = append(make([]byte, 0, size), iv.data...)
		return
	}
	iv.data, iv.frame = append(m.frames.get(0), iv.data...), true
}

// cut forgets the bytes of [off, end).
func (m *memory) cut(off, end int64) {
	i := m.find(off)
	for i < len(m.list) && m.list[i].off < end {
		iv := m.list[i]
		from, to := max(iv.off, off), min(iv.end(), end)
		m.bytes -= to - from
		head, tail := iv.data[:from-iv.off], iv.data[to-iv.off:]
		if len(head)+len(tail) > 0 {
			iv.frame = false
		}
		switch {
		case len(head) > 0 && len(tail) > 0:
			iv.data = head[:len(head):len(head)]
			m.list = slices.Insert(m.list, i+1, &interval{off: to, data: tail})
			return
		case len(head) > 0:
			iv.data = head[:len(head):len(head)]
			i++
		case len(tail) > 0:
			iv.off, iv.data = to, tail
			return
		default:
			m.list = slices.Delete(m.list, i, i+1)
			m.recycle(iv)
		}
	}
}

// remove takes one interval out.
func (m *memory) remove(iv *interval) {
	if i := m.find(iv.off); i < len(m.list) && m.list[i] == iv {
		m.bytes -= int64(len(iv.data))
		m.list = slices.Delete(m.list, i, i+1)
		m.recycle(iv)
	}
}

// recycle takes back the memory of an interval that is gone.
func (m *memory) recycle(iv *interval) {
	if iv.frame {
		m.frames.put(iv.data)
		iv.data = nil
	}
}
