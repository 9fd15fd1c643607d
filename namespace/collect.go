package namespace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/tenancy"
)

// Collection says what a collection of garbage took, or what a dry run found that one would take.
type Collection struct {
	Contents  int64 // maps of bytes that no file, version or object has any more
	Parts     int64 // of multipart uploads that ended
	Uploads   int64 // that ended, with all of their parts
	Finished  int64 // notes of finished uploads, kept for a client's retry, that are old enough
	Extents   int64 // stretches of segments whose last reference went
	Bytes     int64 // in those
	DiskBytes int64 // that they occupy
	Records   int64 // of the metadata, all that is removed
	Waiting   int64 // contents left for later: being read, copied from, or built
	Damaged   int64 // contents that stay, since their records contradict each other: run k3fs fsck
}

// Garbage is one content, part or note that a collection takes.
type Garbage struct {
	Content uint64 // its number; 0: a note of a finished upload
	Tenant  tenancy.TenantID
	Upload  string // whose part, or note, it is
	Part    int
	Size    int64 // of the content
	Extents int64 // that nothing else refers to
	Bytes   int64 // in those
}

// CollectGarbage takes what nothing refers to any more and nobody reads, as the collector in the background does, and
// what is kept for a while and old enough. A dry run takes nothing and answers what would be taken, by the same
// decisions in the same order. each, if not nil, is called for all of it; its error ends the collection. It asks for
// tenancy.Maintain.
func (v *View) CollectGarbage(ctx context.Context, dry bool, each func(Garbage) error) (Collection, error) {
	err := v.fs.auth.Allow(v.who, tenancy.Maintain, tenancy.Resource{})
	if err != nil {
		return Collection{}, fail("collect garbage", "", err)
	}
	c := collector{fs: v.fs, dry: dry, paced: true, each: each}
	err = c.run(ctx, c.finished, c.parts, c.orphans)
	return c.did, fail("collect garbage", "", err)
}

// Reap collects all that can be collected now: parts of ended uploads, and contents that nobody reads.
func (fs *FS) Reap(ctx context.Context) error { return fs.reap(ctx, false) }

// reap makes a pass; paced, it leaves as much time to others.
func (fs *FS) reap(ctx context.Context, paced bool) error {
	c := collector{fs: fs, paced: paced}
	return c.run(ctx, c.parts, c.orphans)
}

// forgetDone removes what is known of uploads finished long ago.
func (fs *FS) forgetDone(ctx context.Context) error {
	c := collector{fs: fs}
	return c.run(ctx, c.finished)
}

// collector makes one pass. A dry one does all that a real one does, but in take, where it only remembers.
type collector struct {
	fs    *FS
	dry   bool
	paced bool
	each  func(Garbage) error

	did   Collection
	taken dropped           // dry: references that steps would have taken from extents that have more
	held  map[uploadID]bool // uploads that are not over, since a part stays
}

func (c *collector) run(ctx context.Context, sources ...source) error {
	if err := c.fs.reaper.lock(ctx); err != nil {
		return err
	}
	defer c.fs.reaper.unlock()
	c.taken, c.held = dropped{}, map[uploadID]bool{}
	for _, s := range sources {
		if err := c.sweep(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) sweep(ctx context.Context, s source) error {
	var next []byte
	for {
		began := time.Now()
		var found []garbage
		var ended []uploadID
		err := c.fs.kv.View(ctx, func(r metastore.Reader) (err error) {
			found, ended, next, err = s(r, next)
			return err
		})
		if err == nil && len(found)+len(ended) > 0 {
			err = c.sweepPage(ctx, found, ended)
		}
		if err != nil || next == nil {
			return err
		}
		if c.paced && !c.fs.short() && !sleep(ctx, time.Since(began)) {
			return ctx.Err()
		}
	}
}

func (c *collector) sweepPage(ctx context.Context, found []garbage, ended []uploadID) error {
	if err := c.fs.kv.Sync(ctx); err != nil {
		return err
	}
	if err := c.takeAll(ctx, c.unread(found)); err != nil {
		return err
	}
	var over step
	for _, up := range ended {
		if !c.held[up] {
			over.keys = append(over.keys, endedKey(up))
		}
	}
	if len(over.keys) == 0 {
		return nil
	}
	c.did.Uploads += int64(len(over.keys))
	_, err := c.take(ctx, over)
	return err
}

// takeAll takes garbage: what has its slices in its record many at a time, paged contents one by one. One that
// can't be taken, since its records contradict each other, is left to Check and not tried again.
func (c *collector) takeAll(ctx context.Context, batch []garbage) error {
	var few []garbage
	for _, g := range batch {
		if g.content.Pages == 0 {
			few = append(few, g)
			continue
		}
		if err := c.takePaged(ctx, g); err != nil && !c.leave(err, g) {
			return err
		}
	}
	for len(few) > 0 {
		n, extents := 1, len(few[0].content.Slices)
		for n < len(few) && extents+len(few[n].content.Slices) <= batchRefs/2 {
			extents += len(few[n].content.Slices)
			n++
		}
		if err := c.takeSome(ctx, few[:n]); err != nil {
			return err
		}
		few = few[n:]
	}
	return nil
}

// takeSome takes contents with few slices together, or if that can't be, one by one.
func (c *collector) takeSome(ctx context.Context, few []garbage) error {
	err := c.takeFew(ctx, few)
	if err == nil || !damaged(err) {
		return err
	}
	for i, g := range few {
		if err := c.takeFew(ctx, few[i:i+1]); err != nil && !c.leave(err, g) {
			return err
		}
	}
	return nil
}

func damaged(err error) bool {
	return errors.Is(err, metastore.ErrCorrupt) || errors.Is(err, chunkstore.ErrCorrupt)
}

// leave notes a content whose records are corrupt.
func (c *collector) leave(err error, g garbage) bool {
	if !damaged(err) {
		return false
	}
	c.fs.log.Error("namespace: garbage can't be collected; run k3fs fsck", "content", g.content.ID, "err", err)
	r := &c.fs.reaper
	if r.broken == nil {
		r.broken = map[contentID]bool{}
	}
	r.broken[contentID(g.content.ID)] = true
	c.held[g.upload] = true
	c.did.Damaged++
	return true
}

func (c *collector) takeFew(ctx context.Context, few []garbage) error {
	var s step
	ends := make([]int, len(few))
	for i, g := range few {
		s.extents = append(s.extents, extentsOf(g.content.Slices)...)
		ends[i] = len(s.extents)
		s.keys = append(s.keys, g.key)
		if g.content.Inline {
			s.keys = append(s.keys, contentKey(contentID(g.content.ID), 0))
		}
	}
	last, err := c.take(ctx, s)
	from := 0
	for i, g := range few {
		if err == nil {
			err = c.tell(g, freedOf(s.extents[from:ends[i]], last[from:ends[i]]))
		}
		from = ends[i]
	}
	return err
}

// takePaged takes a content in pages, from its last page on, in slices: what remains after a crash is
// a shorter content with the references of its own slices.
func (c *collector) takePaged(ctx context.Context, g garbage) error {
	id := contentID(g.content.ID)
	pages, err := c.fs.loadPages(ctx, id)
	if err != nil {
		return err
	}
	var steps []step
	for seen := map[chunkstore.Extent]bool{}; len(pages) > 0; {
		n, first := batchOf(pages, seen)
		s := step{extents: first}
		for _, p := range pages[:n] {
			s.keys = append(s.keys, p.key(id))
		}
		steps, pages = append(steps, s), pages[n:]
	}
	var sum freed
	for i := len(steps) - 1; i >= 0; i-- {
		last, err := c.take(ctx, steps[i])
		if err != nil {
			return err
		}
		sum = sum.plus(freedOf(steps[i].extents, last))
	}
	if _, err := c.take(ctx, step{keys: [][]byte{g.key}}); err != nil {
		return err
	}
	return c.tell(g, sum)
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

// tell reports what was taken.
func (c *collector) tell(g garbage, f freed) error {
	one := Garbage{Content: g.content.ID, Tenant: g.tenant, Part: g.part, Size: g.content.Size, Extents: f.extents, Bytes: f.bytes}
	if g.upload != (uploadID{}) {
		one.Upload = g.upload.String()
	}
	switch {
	case g.content.ID == 0:
		c.did.Finished++
	case g.part > 0:
		c.did.Parts++
	default:
		c.did.Contents++
	}
	if c.each == nil {
		return nil
	}
	return c.each(one)
}
