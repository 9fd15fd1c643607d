package namespace

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"k3fs/chunkstore"
)

// cell says which byte of which extent a file's byte is; the zero cell is a hole.
type cell struct {
	segment uint64
	at      int64
}

func cellsOf(t require.TestingT, list []slice, size int64) []cell {
	out := make([]cell, size)
	last := int64(0)
	for _, s := range list {
		require.Greater(t, s.Len, int64(0))
		require.GreaterOrEqual(t, s.Off, last, "slices are sorted and do not overlap")
		require.LessOrEqual(t, int64(s.Skip)+s.Len, int64(s.Extent))
		last = s.end()
		for i := range s.Len {
			out[s.Off+i] = cell{s.Segment, int64(s.Skip) + i}
		}
	}
	return out
}

func TestSlicesFollowModel(t *testing.T) {
	const size = 64
	rapid.Check(t, func(t *rapid.T) {
		var list []slice
		model := make([]cell, size)
		for step := range rapid.IntRange(1, 12).Draw(t, "steps") {
			off := rapid.Int64Range(0, size-1).Draw(t, "off")
			length := rapid.Int64Range(1, size-off).Draw(t, "length")
			if rapid.Bool().Draw(t, "hole") {
				list = replaceSlices(list, off, length)
				clear(model[off : off+length])
			} else {
				e := chunkstore.Extent{Segment: uint64(step + 1), Length: uint32(length)}
				list = replaceSlices(list, off, length, sliceOf(e, off))
				for i := range length {
					model[off+i] = cell{e.Segment, i}
				}
			}
			require.Equal(t, model, cellsOf(t, list, size))
		}
		off := rapid.Int64Range(0, size-1).Draw(t, "from")
		length := rapid.Int64Range(0, size-off).Draw(t, "n")
		require.Equal(t, model[off:off+length], cellsOf(t, clipSlices(list, off, length, -off), length))
		require.Equal(t, model, cellsOf(t, list, size), "clip leaves its source alone")
	})
}

func TestPagesCutAtBorders(t *testing.T) {
	var list []slice
	list = appendSlice(list, slice{Off: pageSpan - 10, Len: 30, Segment: 1, Extent: 30})
	for i := range int64(2*pageSlices + 5) {
		list = appendSlice(list, slice{Off: 3*pageSpan + 2*i, Len: 1, Segment: 2, Extent: 1})
	}
	pages := pagesOf(list)
	require.Len(t, pages, 5)
	require.Equal(t, []slice{{Off: pageSpan - 10, Len: 10, Segment: 1, Extent: 30}}, pages[0].slices)
	require.Equal(t, []slice{{Off: pageSpan, Len: 20, Segment: 1, Extent: 30, Skip: 10}}, pages[1].slices)
	require.Equal(t, []uint16{0, 1, 2}, []uint16{pages[2].sub, pages[3].sub, pages[4].sub})
	var back []slice
	for i, p := range pages {
		if i > 0 {
			require.Less(t, string(pages[i-1].key(7)), string(p.key(7)))
		}
		for _, s := range p.slices {
			back = appendSlice(back, s)
		}
	}
	require.Equal(t, list, back)
}
