package namespace

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"k3fs/chunkstore"
	"k3fs/metastore"
)

const (
	reapBatch  = 256                   // orphans looked at in one go
	reapDelay  = 20 * time.Millisecond // from the first drop, so that those that follow share the work
	reapRetry  = 5 * time.Second       // after a failure
	reapHourly = time.Hour             // between looks at what only gets old
)

// reaper collects what nothing refers to any more. An orphan is taken once its record is durable and no
// reader pins it: first the extents that nothing else refers to are punched, then one update forgets the
// orphan and its references. A crash in between repeats the work, which does no harm, since an extent of
// an orphan can gain no references: what copies it pins its source until the copy is committed.
type reaper struct {
	kick   chan struct{} // of one element
	cancel context.CancelFunc
	done   chan struct{}
	pinned atomic.Bool // an orphan was passed over because it is being read

	mu     sync.Mutex // held during a pass
	broken map[contentID]bool
}

func (r *reaper) start(fs *FS) {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan struct{})
	go func() {
		defer close(r.done)
		r.run(ctx, fs)
	}()
	r.wake()
}

func (r *reaper) stop() {
	r.cancel()
	<-r.done
}

// wake tells the reaper that there may be work.
func (r *reaper) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// unpinned tells it that a content is read no more.
func (r *reaper) unpinned() {
	if r.pinned.Load() {
		r.wake()
	}
}

func (r *reaper) run(ctx context.Context, fs *FS) {
	old := time.NewTicker(reapHourly)
	defer old.Stop()
	for delay := reapDelay; ; {
		select {
		case <-ctx.Done():
			return
		case <-old.C:
			if err := fs.forgetDone(ctx); err != nil {
				fs.log.Warn("namespace: forgetting finished uploads failed", "err", err)
			}
			continue
		case <-r.kick:
		}
		if !sleep(ctx, delay) {
			return
		}
		delay = reapDelay
		err := fs.reap(ctx, true)
		if stopped := errors.Is(err, metastore.ErrStopped) || errors.Is(err, metastore.ErrClosed); stopped || ctx.Err() != nil {
			return
		}
		if err != nil {
			fs.log.Error("namespace: collecting unused data failed", "err", err)
			delay = reapRetry
			r.wake()
		}
	}
}

// sleep reports whether ctx lasted for d.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Reap collects all that can be collected now: ended uploads, orphans that nobody reads.
func (fs *FS) Reap(ctx context.Context) error { return fs.reap(ctx, false) }

// reap makes passes until there is nothing more to do; paced, it leaves as much time to others.
func (fs *FS) reap(ctx context.Context, paced bool) error {
	fs.reaper.mu.Lock()
	defer fs.reaper.mu.Unlock()
	if err := fs.sweepUploads(ctx); err != nil {
		return err
	}
	fs.reaper.pinned.Store(false)
	for after := contentID(0); ; {
		began := time.Now()
		batch, last, err := fs.reapable(ctx, after)
		if err != nil {
			return err
		}
		if err := fs.reapAll(ctx, batch); err != nil {
			return err
		}
		if last == 0 {
			return nil
		}
		after = last
		if paced && !fs.short() && !sleep(ctx, time.Since(began)) {
			return ctx.Err()
		}
	}
}

// short reports whether room is so scarce that collecting comes first.
func (fs *FS) short() bool {
	u := fs.chunks.Usage()
	return u.Free < 2*u.LowWater
}

// reapable returns the orphans among the next of the table that may be taken: durable, complete and not
// read by anyone. last is where to go on; 0 means the end.
func (fs *FS) reapable(ctx context.Context, after contentID) (batch []orphanRec, last contentID, err error) {
	var found []orphanRec
	err = fs.kv.View(ctx, func(r metastore.Reader) error {
		rg := metastore.Range{From: orphanKey(after + 1), To: prefixEnd([]byte(kOrphan)), Page: reapBatch}
		seen := 0
		return r.Scan(rg, func(_, value []byte) (bool, error) {
			var o orphanRec
			if _, err := o.UnmarshalMsg(value); err != nil {
				return false, fmt.Errorf("%w: orphan record: %w", metastore.ErrCorrupt, err)
			}
			if seen++; !o.Building {
				found = append(found, o)
			}
			if seen == reapBatch {
				last = contentID(o.Content.ID)
			}
			return seen < reapBatch, nil
		})
	})
	if err != nil || len(found) == 0 {
		return nil, last, err
	}
	if err := fs.kv.Sync(ctx); err != nil {
		return nil, 0, err
	}
	// Views that began before the orphans were made may have found their contents reachable; once they
	// are over, what they wanted is pinned. Later views find nothing.
	fs.gate.Lock()
	defer fs.gate.Unlock()
	for _, o := range found {
		id := contentID(o.Content.ID)
		if fs.pinned(id) {
			fs.reaper.pinned.Store(true)
			// Unpinned between the question and the note, nobody would wake us for it.
			if fs.pinned(id) {
				continue
			}
		}
		if !fs.reaper.broken[id] {
			batch = append(batch, o)
		}
	}
	return batch, last, nil
}

// reapAll takes orphans: those with slices in their record many at a time, paged ones one by one. One
// that can't be taken, since its records contradict each other, is left to Check and not tried again.
func (fs *FS) reapAll(ctx context.Context, batch []orphanRec) error {
	var few []orphanRec
	for _, o := range batch {
		if o.Content.Pages == 0 {
			few = append(few, o)
			continue
		}
		if err := fs.reapPaged(ctx, o); err != nil && !fs.reaper.leave(fs, err, o) {
			return err
		}
	}
	for len(few) > 0 {
		n, extents := 1, len(few[0].Content.Slices)
		for n < len(few) && extents+len(few[n].Content.Slices) <= batchRefs/2 {
			extents += len(few[n].Content.Slices)
			n++
		}
		if err := fs.reapSome(ctx, few[:n]); err != nil {
			return err
		}
		few = few[n:]
	}
	return nil
}

// reapSome takes orphans with few slices together, or if that can't be, one by one.
func (fs *FS) reapSome(ctx context.Context, few []orphanRec) error {
	err := fs.reapFew(ctx, few)
	if err == nil || !errors.Is(err, metastore.ErrCorrupt) {
		return err
	}
	for _, o := range few {
		if err := fs.reapFew(ctx, []orphanRec{o}); err != nil && !fs.reaper.leave(fs, err, o) {
			return err
		}
	}
	return nil
}

// leave notes an orphan whose records are corrupt. r.mu must be held.
func (r *reaper) leave(fs *FS, err error, o orphanRec) bool {
	if !errors.Is(err, metastore.ErrCorrupt) && !errors.Is(err, chunkstore.ErrCorrupt) {
		return false
	}
	fs.log.Error("namespace: an orphan can't be collected; run k3fs fsck", "content", o.Content.ID, "err", err)
	if r.broken == nil {
		r.broken = map[contentID]bool{}
	}
	r.broken[contentID(o.Content.ID)] = true
	return true
}

func (fs *FS) reapFew(ctx context.Context, few []orphanRec) error {
	drops := dropped{}
	for _, o := range few {
		drops.add(extentsOf(o.Content.Slices))
	}
	return fs.releaseExtents(ctx, drops, func(t metastore.Txn) error {
		for _, o := range few {
			if err := t.Delete(orphanKey(contentID(o.Content.ID))); err != nil {
				return err
			}
		}
		return nil
	})
}

// reapPaged takes a content in pages, from its last page on, in slices: what remains after a crash is
// a shorter content with the references of its own slices.
func (fs *FS) reapPaged(ctx context.Context, o orphanRec) error {
	id := contentID(o.Content.ID)
	pages, err := fs.loadPages(ctx, id)
	if err != nil {
		return err
	}
	var batches [][]contentPage
	var extents [][]chunkstore.Extent
	for seen := map[chunkstore.Extent]bool{}; len(pages) > 0; {
		n, first := batchOf(pages, seen)
		batches, extents = append(batches, pages[:n]), append(extents, first)
		pages = pages[n:]
	}
	for i := len(batches) - 1; i >= 0; i-- {
		drops := dropped{}
		drops.add(extents[i])
		err := fs.releaseExtents(ctx, drops, func(t metastore.Txn) error {
			for _, p := range batches[i] {
				if err := t.Delete(p.key(id)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return fs.kv.Update(ctx, metastore.Reclaim, func(t metastore.Txn) error { return t.Delete(orphanKey(id)) })
}

// loadPages reads a content's pages as they are stored.
func (fs *FS) loadPages(ctx context.Context, id contentID) (pages []contentPage, err error) {
	err = fs.kv.View(ctx, func(r metastore.Reader) error {
		pages = pages[:0]
		return r.Scan(contentRange(id, 256), func(k, value []byte) (bool, error) {
			var rec pageRec
			if _, err := rec.UnmarshalMsg(value); err != nil {
				return false, fmt.Errorf("%w: page of content %d: %w", metastore.ErrCorrupt, id, err)
			}
			p, err := parsePageKey(k)
			p.slices = rec.Slices
			pages = append(pages, p)
			return true, err
		})
	})
	return pages, err
}

// dropped counts the references to take away from each extent.
type dropped map[chunkstore.Extent]uint32

func (d dropped) add(extents []chunkstore.Extent) {
	for _, e := range extents {
		d[e]++
	}
}

// releaseExtents punches the extents whose last references are dropped, and then takes the references away in
// one update with what also does. The reaper alone takes references, so an extent's count can't fall in
// between.
func (fs *FS) releaseExtents(ctx context.Context, drops dropped, also func(metastore.Txn) error) error {
	last := make(map[chunkstore.Extent]bool, len(drops))
	err := fs.kv.View(ctx, func(r metastore.Reader) error {
		for e, n := range drops {
			rec, err := getExtent(r, e, n)
			if err != nil {
				return err
			}
			last[e] = rec.Refs == n
		}
		return nil
	})
	if err != nil {
		return err
	}
	for e, free := range last {
		if !free {
			continue
		}
		if err := fs.chunks.Free(ctx, e); err != nil {
			return err
		}
	}
	return fs.kv.Update(ctx, metastore.Reclaim, func(t metastore.Txn) error {
		for e, n := range drops {
			if err := dropRefs(t, e, n, last[e]); err != nil {
				return err
			}
		}
		return also(t)
	})
}

// getExtent reads the record of an extent that has at least n references.
func getExtent(r metastore.Reader, e chunkstore.Extent, n uint32) (extentRec, error) {
	var rec extentRec
	found, err := getRec(r, extentKey(e.Segment, e.Offset), &rec)
	if err == nil && (!found || rec.Refs < n || rec.Length != e.Length) {
		err = fmt.Errorf("%w: extent %d/%d of %d bytes should have %d references: found %v, %+v",
			metastore.ErrCorrupt, e.Segment, e.Offset, e.Length, n, found, rec)
	}
	return rec, err
}

func dropRefs(t metastore.Txn, e chunkstore.Extent, n uint32, freed bool) error {
	rec, err := getExtent(t, e, n)
	if err != nil {
		return err
	}
	if rec.Refs -= n; freed && rec.Refs > 0 {
		return fmt.Errorf("%w: extent %d/%d gained references while it was freed", metastore.ErrCorrupt, e.Segment, e.Offset)
	}
	if rec.Refs == 0 {
		return t.Delete(extentKey(e.Segment, e.Offset))
	}
	return putRec(t, extentKey(e.Segment, e.Offset), &rec)
}
