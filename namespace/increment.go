package namespace

import (
	"context"
	"slices"

	"k3fs/chunkstore"
	"k3fs/metastore"
)

// Bounds of an increment; a larger change stores the whole map as a new content.
const (
	incrementPages   = 32
	incrementExtents = 1000
)

// increment is the change from the persisted draft to the present map: what a sync of a growing file
// writes instead of the whole map. The content keeps its number, which only this draft refers to.
type increment struct {
	l       *layout
	from    int64 // pages [from, to) of the content change
	to      int64 //
	before  []int // stored records of each of these pages
	added   []chunkstore.Extent
	removed contentRec // an orphan that names the extents no longer used; no slices: none
}

// incrementTo returns the increment that makes the persisted draft l, nil if there is none worth it.
// f.mu must be held.
func (f *file) incrementTo(l *layout) *increment {
	if f.kept == nil || f.kept.Pages == 0 || len(l.Slices) <= embedMax || len(f.fresh) > incrementExtents || len(f.loans) > 0 {
		return nil
	}
	old, now := f.keptSlices, l.Slices
	head := 0
	for head < min(len(old), len(now)) && old[head] == now[head] {
		head++
	}
	tail := 0
	for tail < min(len(old), len(now))-head && old[len(old)-1-tail] == now[len(now)-1-tail] {
		tail++
	}
	was, is := old[head:len(old)-tail], now[head:len(now)-tail]
	inc := &increment{l: l}
	if !inc.span(was, is) {
		return nil
	}
	for page := inc.from; page < inc.to; page++ {
		n := len(clipSlices(old, page*pageSpan, pageSpan, 0))
		inc.before = append(inc.before, (n+pageSlices-1)/pageSlices)
	}
	for e := range f.fresh {
		inc.added = append(inc.added, e)
	}
	for _, e := range extentsOf(was) {
		uses := func(s slice) bool { return s.extent() == e }
		if !slices.ContainsFunc(is, uses) && !slices.ContainsFunc(now, uses) {
			inc.removed.Slices = append(inc.removed.Slices, sliceOf(e, 0))
		}
	}
	if len(inc.removed.Slices) > incrementExtents {
		return nil
	}
	return inc
}

// span sets the pages that hold the changed slices.
func (inc *increment) span(was, is []slice) bool {
	from, to := int64(maxFile), int64(0)
	for _, list := range [][]slice{was, is} {
		if len(list) > 0 {
			from, to = min(from, list[0].Off), max(to, list[len(list)-1].end())
		}
	}
	if from < to {
		inc.from, inc.to = from/pageSpan, (to-1)/pageSpan+1
	}
	return inc.to-inc.from <= incrementPages
}

// put makes the change within an update, and returns the content's new record.
func (inc *increment) put(t *txn, d chunkstore.Domain, c contentRec) (contentRec, error) {
	id := contentID(c.ID)
	for i, n := range inc.before {
		for sub := range n {
			p := contentPage{slot: uint32(inc.from) + uint32(i), sub: uint16(sub)}
			if err := t.Delete(p.key(id)); err != nil {
				return c, err
			}
		}
	}
	changed := clipSlices(inc.l.Slices, inc.from*pageSpan, (inc.to-inc.from)*pageSpan, 0)
	for _, p := range pagesOf(changed) {
		if err := p.put(t, id); err != nil {
			return c, err
		}
	}
	c.Size, c.Used, c.Pages = inc.l.Size, inc.l.used(), pageSlots(inc.l.Size)
	if err := addRefs(t, d, inc.added); err != nil || len(inc.removed.Slices) == 0 {
		return c, err
	}
	return c, t.fs.dropContent(t, d, &inc.removed)
}

// persistIncrement stores an increment; stored is false if the inode has no name, or no such draft, any
// more. f.mu must be held.
func (f *file) persistIncrement(ctx context.Context, inc *increment, door Observer) (stored bool, err error) {
	ctx = context.WithoutCancel(ctx)
	if len(inc.removed.Slices) > 0 {
		if err := f.fs.reserve(ctx); err != nil {
			return false, err
		}
		// Reads under way may still use what is removed.
		inc.removed.ID = f.fs.number()
		f.fs.pin(contentID(inc.removed.ID))
		defer f.epochs.retire(func() { f.fs.unpin(contentID(inc.removed.ID)) })
	}
	var c contentRec
	err = f.fs.update(ctx, metastore.Ordered, door, func(t *txn) error {
		stored = false
		n, err := getInode(t, f.ino)
		if isKind(err, NotFound) || err == nil && (n.Nlink == 0 || n.Draft == nil || n.Draft.ID != f.kept.ID) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := t.mayReplace(f.ino, n); err != nil {
			return err
		}
		stored = true
		if c, err = inc.put(t, f.d, *n.Draft); err != nil {
			return err
		}
		n.Draft, n.Size = &c, inc.l.Size
		if f.mtime != 0 {
			n.Mtime, n.Ctime = f.mtime, f.ctime
		}
		t.attrChanged(f.ino, true)
		return t.putInode(f.ino, n)
	})
	if err != nil || !stored {
		return false, err
	}
	f.saved, f.ground = f.seq, inc.l.Size
	clear(f.fresh)
	f.kept, f.keptSlices = &c, inc.l.Slices
	f.recorded()
	return true, nil
}
