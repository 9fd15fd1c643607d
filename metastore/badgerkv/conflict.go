package badgerkv

import (
	"bytes"
	"hash/maphash"
	"slices"

	"k3fs/metastore/internal/layer"
)

// span is a range of keys that was read.
type span struct {
	from, to []byte
	closed   bool // to belongs to it
}

func (s span) contains(key []byte) bool {
	if bytes.Compare(key, s.from) < 0 {
		return false
	}
	if s.to == nil && !s.closed {
		return true
	}
	c := bytes.Compare(key, s.to)
	return c < 0 || c == 0 && s.closed
}

// readSet is what an update read from below its own writes. Keys are kept as hashes: two that share one
// only make for a needless retry.
type readSet struct {
	seed  maphash.Seed
	keys  []uint64
	spans []span
}

var _ layer.Tracker = (*readSet)(nil)

// ReadKey implements layer.Tracker.
func (r *readSet) ReadKey(key []byte) { r.keys = append(r.keys, maphash.Bytes(r.seed, key)) }

// ReadRange implements layer.Tracker.
func (r *readSet) ReadRange(from, to []byte, closed bool) {
	r.spans = append(r.spans, span{bytes.Clone(from), bytes.Clone(to), closed})
}

// reset empties the set for its next use; a large one isn't kept.
func (r *readSet) reset() {
	if cap(r.keys) > maxKept || cap(r.spans) > maxKept {
		r.keys, r.spans = nil, nil
	}
	clear(r.spans)
	r.keys, r.spans = r.keys[:0], r.spans[:0]
}

// maxKept bounds what a readSet that isn't in use remembers its room for.
const maxKept = 4096

// hit tells whether one of the writes changes what was read. The keys must be sorted.
func (r *readSet) hit(writes layer.Layer) bool {
	found := false
	writes.Ascend(func(e layer.Entry) bool {
		_, found = slices.BinarySearch(r.keys, maphash.Bytes(r.seed, e.Key))
		for i := 0; !found && i < len(r.spans); i++ {
			found = r.spans[i].contains(e.Key)
		}
		return !found
	})
	return found
}

const (
	historyCommits = 4096
	historyBytes   = 8 << 20
)

// history remembers the write sets of the last commits. An update that began before the oldest of them
// can't be validated, and counts as conflicting.
type history struct {
	commits []commit // oldest first
	bytes   int
	forgot  uint64 // the newest commit that was dropped
}

type commit struct {
	seq    uint64
	bytes  int
	writes layer.Layer
}

func (h *history) add(c commit) {
	h.commits = append(h.commits, c)
	h.bytes += c.bytes
	drop := 0
	for len(h.commits)-drop > historyCommits || h.bytes > historyBytes && len(h.commits)-drop > 1 {
		h.bytes -= h.commits[drop].bytes
		h.forgot = h.commits[drop].seq
		h.commits[drop] = commit{}
		drop++
	}
	h.commits = h.commits[drop:]
}

// conflicts tells whether a commit after since changed what r read.
func (h *history) conflicts(r *readSet, since uint64) bool {
	if len(r.keys) == 0 && len(r.spans) == 0 {
		return false
	}
	if since < h.forgot {
		return true
	}
	sorted := false
	for i := len(h.commits) - 1; i >= 0 && h.commits[i].seq > since; i-- {
		if !sorted {
			slices.Sort(r.keys)
			sorted = true
		}
		if r.hit(h.commits[i].writes) {
			return true
		}
	}
	return false
}
