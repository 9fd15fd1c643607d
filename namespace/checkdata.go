package namespace

import (
	"context"
	"encoding/binary"
	"errors"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/tenancy"
)

// place is where an extent is.
type place struct{ segment, offset uint64 }

// extentUse is what contents say of an extent.
type extentUse struct {
	refs   uint32
	length uint32
	domain chunkstore.Domain // 0: not known to the contents seen yet
	live   bool              // something that can be read needs its bytes
}

// content checks a content that something owns, and counts what it refers to. dropped: nothing reads it,
// so the reaper may have been at it. d is 0 if the owner does not tell.
func (c *checker) content(d chunkstore.Domain, rec *contentRec, dropped bool, owner string, number uint64) {
	id := contentID(rec.ID)
	if rec.Shared && !dropped && !c.held(rec) { // an orphan was the last
		return
	}
	c.report.Contents++
	c.number("content", rec.ID)
	if c.contents[id] {
		c.problem("content", "content %d of %s %d has another owner too", id, owner, number)
		return
	}
	c.contents[id] = true
	l, err := c.fs.loadContent(c.r, rec)
	if errors.Is(err, tenancy.ErrNoKey) && c.fs.erased(tenancy.TenantID(d)) {
		return // nobody can read it any more
	}
	if err != nil {
		c.problem("content", "content %d of %s %d: %v", id, owner, number, err)
		return
	}
	if rec.Inline && int64(len(l.Inline)) > rec.Size || rec.Size < 0 || rec.Pages > 0 && rec.Pages != pageSlots(rec.Size) {
		c.problem("content", "content %d of %s %d has a wrong size, %d", id, owner, number, rec.Size)
	}
	end := int64(0)
	// What is dropped from a content that stays is an orphan that names extents, and is no map.
	shape := l.Slices
	if dropped && rec.Pages == 0 {
		shape = nil
	}
	for _, s := range shape {
		if s.Off < end || s.Len <= 0 || s.end() > rec.Size || s.Extent > chunkstore.MaxExtent || int64(s.Skip)+s.Len > int64(s.Extent) {
			c.problem("content", "content %d of %s %d, of %d bytes, has a wrong slice: %+v", id, owner, number, rec.Size, s)
			return
		}
		end = s.end()
	}
	for _, e := range extentsOf(l.Slices) {
		c.use(id, d, e, dropped)
	}
}

func (c *checker) use(id contentID, d chunkstore.Domain, e chunkstore.Extent, dropped bool) {
	at := place{e.Segment, e.Offset}
	u := c.refs[at]
	if u == nil {
		u = &extentUse{length: e.Length}
		c.refs[at] = u
	}
	if u.length != e.Length || d != 0 && u.domain != 0 && u.domain != d {
		c.problem("extent", "content %d sees extent %d/%d with %d bytes of tenant %d, another with %d of %d",
			id, e.Segment, e.Offset, e.Length, d, u.length, u.domain)
	}
	if d != 0 {
		u.domain = d
	}
	u.refs++
	u.live = u.live || !dropped
}

// pages checks that every stored page is of a content that something owns.
func (c *checker) pages() error {
	last := contentID(0)
	return c.table(kContent, 12, func(rest, _ []byte) error {
		id := contentID(binary.BigEndian.Uint64(rest))
		if id != last && !c.contents[id] {
			c.problem("content", "content %d belongs to nothing", id)
		}
		last = id
		return nil
	})
}

// extents compares the records of extents with what contents say and with the segments.
func (c *checker) extents() error {
	var before chunkstore.Extent
	for _, u := range c.refs {
		c.report.OfBytes += int64(u.length)
	}
	err := c.table(kExtent, 16, func(rest, value []byte) error {
		e, rec, err := parseExtent(append([]byte(kExtent), rest...), value)
		if err != nil {
			return err
		}
		c.report.Extents++
		c.report.Bytes += int64(e.Length)
		if c.report.Extents%256 == 0 {
			c.tell()
		}
		if before.Segment == e.Segment && before.Length > 0 && before.Offset+uint64(before.DiskBytes()) > e.Offset {
			c.problem("extent", "extents at %d and %d of segment %d overlap", before.Offset, e.Offset, e.Segment)
		}
		before = e
		at := place{e.Segment, e.Offset}
		u := c.refs[at]
		delete(c.refs, at)
		if u == nil {
			c.problem("extent", "extent %d/%d counts %d references, and nothing refers to it", e.Segment, e.Offset, rec.Refs)
			return nil
		}
		if u.refs != rec.Refs || u.length != rec.Length || u.domain != 0 && uint64(u.domain) != rec.Domain {
			c.problem("extent", "extent %d/%d is noted with %d references, %d bytes, tenant %d; it has %d, %d, %d",
				e.Segment, e.Offset, rec.Refs, rec.Length, rec.Domain, u.refs, u.length, u.domain)
		}
		if u.live && !c.fs.erased(tenancy.TenantID(rec.Domain)) {
			return c.data(chunkstore.Domain(rec.Domain), e)
		}
		return nil
	})
	for at, u := range c.refs {
		c.problem("extent", "extent %d/%d has %d references and no record", at.segment, at.offset, u.refs)
	}
	return err
}

// data reads an extent.
func (c *checker) data(d chunkstore.Domain, e chunkstore.Extent) error {
	if c.o.Pace != nil {
		frames := (int64(e.Length) + chunkstore.FrameSize - 1) / chunkstore.FrameSize
		bytes := frames * 2 * chunkstore.BlockSize
		if c.o.Deep {
			bytes = e.DiskBytes()
		}
		if err := c.o.Pace(c.ctx, bytes); err != nil {
			return err
		}
	}
	err := c.verify(d, e)
	if err != nil && c.o.live != nil && c.ctx.Err() == nil {
		err = c.o.live.unlessFreed(c.ctx, e, func() error { return c.verify(d, e) })
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, chunkstore.ErrClosed) || c.ctx.Err() != nil {
		return err
	}
	c.problem("data", "extent %d/%d of %d bytes can't be read: %v", e.Segment, e.Offset, e.Length, err)
	return nil
}

func (c *checker) verify(d chunkstore.Domain, e chunkstore.Extent) (err error) {
	if c.o.Deep {
		return c.chunks.Verify(c.ctx, d, e)
	}
	var one [1]byte
	for off := int64(0); off < int64(e.Length) && err == nil; off += chunkstore.FrameSize {
		err = c.chunks.ReadAt(c.ctx, d, e, one[:], off)
	}
	return err
}

// unlessFreed looks again at an extent that could not be read, unless its last reference has gone meanwhile. The
// reaper, which alone frees, rests until that is known.
func (fs *FS) unlessFreed(ctx context.Context, e chunkstore.Extent, look func() error) error {
	if err := fs.reaper.lock(ctx); err != nil {
		return err
	}
	defer fs.reaper.unlock()
	freed := false
	err := fs.kv.View(ctx, func(r metastore.Reader) error {
		var rec extentRec
		found, err := getRec(r, extentKey(e.Segment, e.Offset), &rec)
		freed = !found
		return err
	})
	if err != nil || freed {
		return err
	}
	return look()
}
