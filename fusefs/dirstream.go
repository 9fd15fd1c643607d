package fusefs

import (
	"hash/maphash"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"

	"k3fs/namespace"
)

// Entries read from the namespace at a time. With attributes an entry is dearer, and one READDIRPLUS
// holds fewer of them.
const (
	pageEntries     = 1024
	pageEntriesPlus = 256
)

// Positions of a stream (d_off). "." and ".." come before firstEntry. What a stream reads for the first time it
// counts, so that a position means the same to another stream (NFS opens one for each request). What it reads anew and
// finds changed gets numbers from freshPlaces on, which still fit into 31 bits.
const (
	firstEntry  = 2
	freshPlaces = 1 << 30
)

// How much streams remember of what they have handed out: entries, of all streams of a mount (4 bytes each), and
// pages with fresh numbers, of one stream. An entry beyond that is found again by counting within its page, which is
// exact if the page did not change; a position in a page beyond that is EINVAL.
const (
	rememberedMost = 16 << 20
	freshMost      = 1 << 14
)

// dir is an open directory. A position that was handed out keeps its meaning while names come and go: what
// followed it then, and is still there, follows it. The kernel resumes anywhere in what it was given last, so
// the last two pages are kept; to all others lead the places.
type dir struct {
	ino     namespace.Ino
	fs      namespace.Posix // as who opened it
	mu      sync.Mutex
	pages   [2]page   // guarded by mu; the second is the newer
	counted []*place  // guarded by mu; ascending by position, without gaps; the first is empty
	fresh   []*place  // guarded by mu; ascending by position
	ahead   chan page // guarded by mu; when set, the page after pages[1] is being read and will come here
}

// place is what is remembered of a page: enough to find each of its positions again in what has become of it. It is
// the part of a directory after one stored name and up to another.
type place struct {
	at    uint64   // position of the first entry; the last one is at at+n-1
	n     int      // number of entries
	after string   // cookie of the entry before; "" at the start of the directory
	last  string   // cookie that the part ends with; its entry may be gone
	end   bool     // nothing followed
	next  *place   // the part behind; nil if it was not read yet
	names []uint32 // hashes of the entries' names; nil if too many are remembered already
}

// behind is the position behind the last entry.
func (p *place) behind() uint64 { return p.at + uint64(p.n) }

// page is a place with its entries.
type page struct {
	*place  // nil in a zero page
	entries []namespace.DirEntry
	plus    bool
	since   uint64 // the Invalidator's number at the reading
	err     error
}

// holds reports whether the page answers a read from position pos.
func (p *page) holds(pos uint64) bool {
	return p.place != nil && pos >= p.at && (pos < p.behind() || p.end && pos == p.behind())
}

// rewind forgets all that was read: a listing begun anew shows the directory as it is now.
// h.mu must be held.
func (h *dir) rewind(d *door) {
	for _, places := range [][]*place{h.counted, h.fresh} {
		d.remembered.forget(places)
	}
	h.pages, h.ahead, h.fresh = [2]page{}, nil, nil
	h.counted = []*place{{at: firstEntry}}
}

// at returns the page that holds position pos, and the number of the entry there. h.mu must be held.
func (h *dir) at(d *door, pos uint64, plus bool) (*page, int, error) {
	if h.counted == nil {
		h.rewind(d)
	}
	for i := range h.pages {
		if p := &h.pages[i]; p.holds(pos) {
			if i == 1 && !p.end && p.next == nil {
				h.readAhead(d, p)
			}
			return p, int(pos - p.at), nil
		}
	}
	if last := h.pages[1].place; last != nil && pos == last.behind() {
		p, err := h.follow(d, last, plus)
		return p, 0, err
	}
	return h.seek(d, pos, plus)
}

// seek goes to a position that was left behind, or not reached yet. h.mu must be held.
func (h *dir) seek(d *door, pos uint64, plus bool) (*page, int, error) {
	h.ahead = nil
	places := h.counted
	if pos >= freshPlaces {
		places = h.fresh
	}
	i := sort.Search(len(places), func(i int) bool { return places[i].at > pos }) - 1
	if i < 0 {
		return nil, 0, syscall.EINVAL
	}
	was := places[i]
	switch {
	case pos < was.behind() || was.end:
		return h.within(d, was, pos, plus)
	case pos > was.behind() && pos >= freshPlaces:
		return nil, 0, syscall.EINVAL
	}
	for {
		p, err := h.follow(d, was, plus)
		switch {
		case err != nil:
			return nil, 0, err
		case pos == was.behind():
			return p, 0, nil
		case p.holds(pos):
			return p, int(pos - p.at), nil
		case p.end:
			return p, len(p.entries), nil // beyond the end
		}
		was = p.place
	}
}

// within goes to a position of a part of the directory that is read anew: behind the last entry that was before it
// and is still there. What is new may have made more than a page of the part. h.mu must be held.
func (h *dir) within(d *door, was *place, pos uint64, plus bool) (*page, int, error) {
	p, err := h.again(d, was, plus)
	if err != nil {
		return nil, 0, err
	}
	before := min(int(pos-was.at), was.n)
	if was.names == nil {
		return p, min(before, len(p.entries)), nil
	}
	found, i := *p, 0
	for {
		behind, past := was.find(before, d.remembered.hashes(p.entries))
		if behind > 0 {
			found, i = *p, behind
		}
		if past || p.end || !was.end && p.last == was.last {
			break
		}
		if p, err = h.follow(d, p.place, plus); err != nil {
			return nil, 0, err
		}
	}
	if p.place != found.place {
		p = h.turn(found)
	}
	return p, i, nil
}

// find returns which of the names that are there now follows the last one of the first n that the place had; 0 if
// none of these is there. past means that one of the others is.
func (p *place) find(n int, now []uint32) (behind int, past bool) {
	were := make(map[uint32]int, p.n)
	for i, name := range p.names {
		were[name] = i
	}
	for i := len(now) - 1; i >= 0; i-- {
		was, there := were[now[i]]
		if there && was < n {
			return i + 1, past
		}
		past = past || there
	}
	return 0, past
}

// follow reads the page behind last. h.mu must be held.
func (h *dir) follow(d *door, last *place, plus bool) (*page, error) {
	if last.next != nil {
		return h.again(d, last.next, plus)
	}
	var p page
	if h.ahead != nil {
		p = <-h.ahead
		h.ahead = nil
	}
	if p.place == nil || p.after != last.last || p.plus != plus || p.err != nil {
		p = h.readPart(d, &place{after: last.last, end: true}, plus)
	}
	if p.err != nil {
		return nil, p.err
	}
	h.remember(d, &p, last)
	last.next = p.place
	return h.turn(p), nil
}

// again reads what has become of a part of the directory. If it isn't what it was, its entries get new positions.
// h.mu must be held.
func (h *dir) again(d *door, was *place, plus bool) (*page, error) {
	h.ahead = nil
	p := h.readPart(d, was, plus)
	if p.err != nil {
		return nil, p.err
	}
	if was.names != nil && p.end == was.end && slices.Equal(d.remembered.hashes(p.entries), was.names) {
		p.place = was
	} else {
		h.remember(d, &p, nil)
	}
	return h.turn(p), nil
}

// turn makes p the newest page. h.mu must be held.
func (h *dir) turn(p page) *page {
	h.pages[0], h.pages[1] = h.pages[1], p
	return &h.pages[1]
}

// remember gives positions to a page: they go on counting if it follows the last one that was counted.
// h.mu must be held.
func (h *dir) remember(d *door, p *page, last *place) {
	p.names = d.remembered.keep(p.entries)
	if end := h.counted[len(h.counted)-1]; last == end && end.behind()+uint64(p.n) < freshPlaces {
		p.at = end.behind()
		h.counted = append(h.counted, p.place)
		return
	}
	p.at = freshPlaces
	if n := len(h.fresh); n > 0 {
		p.at = h.fresh[n-1].behind() + 1 // the position behind one is not that of the other
	}
	if len(h.fresh) == freshMost {
		d.remembered.forget(h.fresh[:freshMost/2])
		h.fresh = slices.Delete(h.fresh, 0, freshMost/2)
	}
	h.fresh = append(h.fresh, p.place)
}

// readAhead begins to read the page after p, the newest, so that it is there when the kernel asks.
// h.mu must be held.
func (h *dir) readAhead(d *door, p *page) {
	if h.ahead != nil {
		return
	}
	ahead := make(chan page, 1)
	h.ahead = ahead
	from, plus := &place{after: p.last, end: true}, p.plus
	go func() { ahead <- h.readPart(d, from, plus) }()
}

// readPart reads what has become of a part of the directory, or the first page of that. The page's place has no
// positions yet.
func (h *dir) readPart(d *door, was *place, plus bool) page {
	limit := pageEntries
	if plus {
		limit = pageEntriesPlus
	}
	limit = max(limit, was.n)
	p := page{place: &place{after: was.after}, plus: plus, since: d.inv.now()}
	p.entries, p.err = h.fs.ReadDir(background, h.ino, was.after, limit, plus)
	whole := len(p.entries) < limit
	if !was.end { // up to where the next part begins
		keep := sort.Search(len(p.entries), func(i int) bool { return p.entries[i].Cookie > was.last })
		p.end = whole && keep == len(p.entries)
		whole = whole || keep < len(p.entries)
		p.entries = p.entries[:keep]
	} else {
		p.end = whole
	}
	p.n = len(p.entries)
	if whole {
		p.last, p.next = was.last, was.next
		return p
	}
	p.last = p.entries[p.n-1].Cookie
	if !was.end {
		p.next = &place{after: p.last, last: was.last, next: was.next}
	}
	return p
}

// remembered counts the names that all streams of a mount remember. The zero value is not ready: seed is needed.
type remembered struct {
	seed maphash.Seed
	n    atomic.Int64
}

func (r *remembered) hashes(entries []namespace.DirEntry) []uint32 {
	all := make([]uint32, len(entries))
	for i := range entries {
		all[i] = uint32(maphash.String(r.seed, entries[i].Cookie))
	}
	return all
}

// keep returns what to remember of a page; nil if that is too much.
func (r *remembered) keep(entries []namespace.DirEntry) []uint32 {
	n := int64(len(entries))
	if r.n.Add(n) > rememberedMost {
		r.n.Add(-n)
		return nil
	}
	return r.hashes(entries)
}

func (r *remembered) forget(places []*place) {
	for _, p := range places {
		r.n.Add(-int64(len(p.names)))
	}
}
