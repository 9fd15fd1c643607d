package namespace

import (
	"slices"
	"sort"

	"k3fs/chunkstore"
)

// interval is written bytes of a file that are in memory only. At most a frame long.
type interval struct {
	off  int64
	data []byte
	busy bool // being sealed: its bytes don't change, and nothing is put beside them in its memory
}

func (iv *interval) end() int64 { return iv.off + int64(len(iv.data)) }

// memory is the written bytes of a draft that lie over its map: sorted, not overlapping.
type memory struct {
	list  []*interval
	bytes int64
}

// find is the index of the first interval that ends after off.
func (m *memory) find(off int64) int {
	if n := len(m.list); n == 0 || m.list[n-1].end() <= off {
		return n
	}
	return sort.Search(len(m.list), func(i int) bool { return m.list[i].end() > off })
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
			left.data = append(grown(left.data, len(p)), p...)
			m.bytes += int64(len(p))
			return
		}
	}
	m.bytes += int64(len(p))
	m.list = slices.Insert(m.list, i, &interval{off: off, data: append([]byte(nil), p...)})
}

// grown is data with room for n bytes more, taken in large steps: a file written in small pieces from
// front to back is the common case.
func grown(data []byte, n int) []byte {
	if len(data)+n <= cap(data) {
		return data
	}
	return append(make([]byte, 0, min(max(4*cap(data), len(data)+n), chunkstore.FrameSize)), data...)
}

// cut forgets the bytes of [off, end).
func (m *memory) cut(off, end int64) {
	i := m.find(off)
	for i < len(m.list) && m.list[i].off < end {
		iv := m.list[i]
		from, to := max(iv.off, off), min(iv.end(), end)
		m.bytes -= to - from
		head, tail := iv.data[:from-iv.off], iv.data[to-iv.off:]
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
		}
	}
}

// remove takes one interval out.
func (m *memory) remove(iv *interval) {
	if i := m.find(iv.off); i < len(m.list) && m.list[i] == iv {
		m.bytes -= int64(len(iv.data))
		m.list = slices.Delete(m.list, i, i+1)
	}
}
