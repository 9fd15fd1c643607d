package namespace

import (
	"slices"
	"sort"

	"k3fs/chunkstore"
)

// sliceOf maps a whole extent to a file at off.
func sliceOf(e chunkstore.Extent, off int64) slice {
	return slice{Off: off, Len: int64(e.Length), Segment: e.Segment, Offset: e.Offset, Extent: e.Length}
}

func (s slice) end() int64 { return s.Off + s.Len }

// from is the part of s at and after off, which lies in it or at its end.
func (s slice) from(off int64) slice {
	s.Skip += uint32(off - s.Off)
	s.Len -= off - s.Off
	s.Off = off
	return s
}

// until is the part of s before off.
func (s slice) until(off int64) slice {
	s.Len = off - s.Off
	return s
}

// appendSlice appends s, which follows all of list, and makes one of two that are neighbours in the file
// and in an extent.
func appendSlice(list []slice, s slice) []slice {
	if s.Len <= 0 {
		return list
	}
	if n := len(list) - 1; n >= 0 {
		last := &list[n]
		if last.end() == s.Off && last.extent() == s.extent() && int64(last.Skip)+last.Len == int64(s.Skip) {
			last.Len += s.Len
			return list
		}
	}
	return append(list, s)
}

// findSlice is the index of the first slice that ends after off.
func findSlice(list []slice, off int64) int {
	return sort.Search(len(list), func(i int) bool { return list[i].end() > off })
}

// clipSlices returns the slices of [off, off+length), moved by shift. list stays as it is.
func clipSlices(list []slice, off, length, shift int64) []slice {
	var out []slice
	for _, s := range list[findSlice(list, off):] {
		if s.Off >= off+length {
			break
		}
		if s.end() > off+length {
			s = s.until(off + length)
		}
		if s.Off < off {
			s = s.from(off)
		}
		s.Off += shift
		out = appendSlice(out, s)
	}
	return out
}

// replaceSlices returns list with [off, off+length) given to with, whose slices lie in that range; none
// makes a hole. It may reuse list's memory, which must not be used afterwards.
func replaceSlices(list []slice, off, length int64, with ...slice) []slice {
	if n := len(list); n == 0 || list[n-1].end() <= off {
		for _, s := range with {
			list = appendSlice(list, s)
		}
		return list
	}
	end := off + length
	first := findSlice(list, off)
	last := first
	var mid []slice
	if first < len(list) && list[first].Off < off {
		mid = appendSlice(mid, list[first].until(off))
	}
	for _, s := range with {
		mid = appendSlice(mid, s)
	}
	for ; last < len(list) && list[last].Off < end; last++ {
		if s := list[last]; s.end() > end {
			mid = appendSlice(mid, s.from(end))
		}
	}
	return slices.Replace(list, first, last, mid...)
}

// mapped is how many bytes the slices map.
func mapped(list []slice) (n int64) {
	for _, s := range list {
		n += s.Len
	}
	return n
}

// extentsOf returns the distinct extents that slices name, in the order of their first appearance.
func extentsOf(list []slice) []chunkstore.Extent {
	if len(list) == 1 {
		return []chunkstore.Extent{list[0].extent()}
	}
	out := make([]chunkstore.Extent, 0, len(list))
	seen := make(map[chunkstore.Extent]bool, len(list))
	for _, s := range list {
		if e := s.extent(); !seen[e] {
			seen[e] = true
			out = append(out, e)
		}
	}
	return out
}
