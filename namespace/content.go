package namespace

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"k3fs/chunkstore"
	"k3fs/metastore"
)

// layout is a content in memory: where the bytes of a file are. What neither Inline nor a slice covers
// is a hole and reads as zeros.
type layout struct {
	Size   int64
	Inline []byte  // the first bytes; excludes Slices
	Slices []slice // sorted, not overlapping, within Size
}

// used is how many bytes are no hole.
func (l *layout) used() int64 { return int64(len(l.Inline)) + mapped(l.Slices) }

const (
	pageSlices  = 1000 // slices in one page record, which must stay below metastore.MaxValueBytes
	batchSlices = 5000 // slices that one update stores at most
	batchRefs   = 2500 // extents whose references one update changes at most
)

// contentRange covers every page of a content.
func contentRange(id contentID, page int) metastore.Range {
	return prefixRange(key(kContent, uint64(id)), page)
}

// loadContent reads a content's layout; nil is the empty content.
func (fs *FS) loadContent(r metastore.Reader, c *contentRec) (*layout, error) {
	if c == nil {
		return &layout{}, nil
	}
	l := &layout{Size: c.Size}
	switch {
	case c.Inline:
		sealed, err := r.Get(contentKey(contentID(c.ID), 0))
		if errors.Is(err, metastore.ErrNotFound) {
			return nil, fmt.Errorf("%w: content %d has lost its bytes", metastore.ErrCorrupt, c.ID)
		}
		if err != nil {
			return nil, err
		}
		l.Inline, err = fs.openInline(contentID(c.ID), sealed)
		return l, err
	case c.Pages > 0:
		err := r.Scan(contentRange(contentID(c.ID), int(min(c.Pages, 256))), func(_, value []byte) (bool, error) {
			var page pageRec
			if _, err := page.UnmarshalMsg(value); err != nil {
				return false, fmt.Errorf("%w: page of content %d: %w", metastore.ErrCorrupt, c.ID, err)
			}
			for _, s := range page.Slices {
				l.Slices = appendSlice(l.Slices, s)
			}
			return true, nil
		})
		return l, err
	}
	l.Slices = append(l.Slices, c.Slices...)
	return l, nil
}

// storeContent makes a content of l, which must fit one update (stage takes any), and adds a reference
// to each extent that it names.
func (fs *FS) storeContent(t *txn, d chunkstore.Domain, l *layout) (contentRec, error) {
	c := contentRec{ID: fs.number(), Size: l.Size, Used: l.used(), Since: fs.madeAt(t.now)}
	switch {
	case len(l.Inline) > 0:
		sealed, err := fs.sealInline(d, contentID(c.ID), l.Inline)
		if err != nil {
			return c, err
		}
		c.Inline = true
		return c, t.Set(contentKey(contentID(c.ID), 0), sealed)
	case len(l.Slices) <= embedMax:
		c.Slices = append(c.Slices, l.Slices...)
		return c, addRefs(t, d, extentsOf(l.Slices))
	}
	c.Pages = pageSlots(l.Size)
	for _, p := range pagesOf(l.Slices) {
		if err := p.put(t, contentID(c.ID)); err != nil {
			return c, err
		}
	}
	return c, addRefs(t, d, extentsOf(l.Slices))
}

// dropContent lets go of a content that nothing refers to any more; nil is none. What holds extents
// becomes an orphan of the reaper.
func (fs *FS) dropContent(t *txn, d chunkstore.Domain, c *contentRec) error {
	if c == nil {
		return nil
	}
	if c.Shared {
		if last, err := t.unshare(c); err != nil || !last {
			return err
		}
	}
	if err := t.dropParts(c); err != nil {
		return err
	}
	switch {
	case c.Inline:
		return t.Delete(contentKey(contentID(c.ID), 0))
	case len(c.Slices) == 0 && c.Pages == 0:
		return nil
	}
	t.dropped = true
	return putRec(t, orphanKey(contentID(c.ID)), &orphanRec{Content: *c, Domain: uint64(d)})
}

// addRefs adds one reference to each of the extents.
func addRefs(t metastore.Txn, d chunkstore.Domain, extents []chunkstore.Extent) error {
	for _, e := range extents {
		k := extentKey(e.Segment, e.Offset)
		rec := extentRec{Length: e.Length, Domain: uint64(d)}
		if _, err := getRec(t, k, &rec); err != nil {
			return err
		}
		if rec.Length != e.Length || rec.Domain != uint64(d) {
			return fmt.Errorf("%w: extent %d/%d of %d bytes is recorded as %d bytes of domain %d",
				metastore.ErrCorrupt, e.Segment, e.Offset, e.Length, rec.Length, rec.Domain)
		}
		rec.Refs++
		if err := putRec(t, k, &rec); err != nil {
			return err
		}
	}
	return nil
}

// contentPage is one stored record of slices. A page slot with more slices than a record holds goes on
// in records with the same key and a number behind it.
type contentPage struct {
	slot   uint32
	sub    uint16
	slices []slice
}

func (p contentPage) key(id contentID) []byte {
	k := contentKey(id, p.slot)
	if p.sub > 0 {
		k = binary.BigEndian.AppendUint16(k, p.sub)
	}
	return k
}

// parsePageKey is the place of a page, without its slices.
func parsePageKey(k []byte) (contentPage, error) {
	rest := k[len(kContent)+8:]
	switch len(rest) {
	case 4:
		return contentPage{slot: binary.BigEndian.Uint32(rest)}, nil
	case 6:
		return contentPage{slot: binary.BigEndian.Uint32(rest), sub: binary.BigEndian.Uint16(rest[4:])}, nil
	}
	return contentPage{}, fmt.Errorf("%w: key of a content's page", metastore.ErrCorrupt)
}

func (p contentPage) put(t metastore.Txn, id contentID) error {
	return putRec(t, p.key(id), &pageRec{Slices: p.slices})
}

func pageSlots(size int64) uint32 { return uint32((size + pageSpan - 1) / pageSpan) }

// pagesOf cuts slices into records, in file order.
func pagesOf(slices []slice) []contentPage {
	var pages []contentPage
	for _, s := range slices {
		for s.Len > 0 {
			head := s
			head.Len = min(s.Len, pageSpan-s.Off%pageSpan)
			pages = appendPage(pages, uint32(s.Off/pageSpan), head)
			s = s.from(s.Off + head.Len)
		}
	}
	return pages
}

func appendPage(pages []contentPage, slot uint32, s slice) []contentPage {
	sub := uint16(0)
	if n := len(pages) - 1; n >= 0 && pages[n].slot == slot {
		if len(pages[n].slices) < pageSlices {
			pages[n].slices = append(pages[n].slices, s)
			return pages
		}
		sub = pages[n].sub + 1
	}
	return append(pages, contentPage{slot, sub, []slice{s}})
}

// staged is a content on its way into the namespace. A content too large for one update is built ahead
// in slices, under an orphan record that says so; the update that stores it only takes that away.
type staged struct {
	fs    *FS
	d     chunkstore.Domain
	l     *layout
	built *contentRec // nil: stored whole by the update
}

// stage prepares l. What is staged must be stored by an update, or given up with abandon.
func (fs *FS) stage(ctx context.Context, d chunkstore.Domain, l *layout) (*staged, error) {
	s := &staged{fs: fs, d: d, l: l}
	if len(l.Slices) <= embedMax || len(l.Slices) <= batchSlices && len(extentsOf(l.Slices)) <= batchRefs {
		return s, nil
	}
	if err := fs.reserve(ctx); err != nil {
		return nil, err
	}
	c := contentRec{ID: fs.number(), Size: l.Size, Used: l.used(), Pages: pageSlots(l.Size), Since: fs.madeAt(fs.now().UnixNano())}
	s.built = &c
	err := fs.update(ctx, metastore.Ordered, nil, func(t *txn) error {
		return putRec(t, orphanKey(contentID(c.ID)), &orphanRec{Content: c, Domain: uint64(d), Building: true})
	})
	seen := map[chunkstore.Extent]bool{}
	for pages := pagesOf(l.Slices); err == nil && len(pages) > 0; {
		n, extents := batchOf(pages, seen)
		err = fs.kv.Update(ctx, metastore.Ordered, func(t metastore.Txn) error {
			for _, p := range pages[:n] {
				if err := p.put(t, contentID(c.ID)); err != nil {
					return err
				}
			}
			return addRefs(t, d, extents)
		})
		pages = pages[n:]
	}
	if err != nil {
		s.abandon(ctx)
		return nil, err
	}
	return s, nil
}

// batchOf is how many pages fit one update, with the extents that they name first.
func batchOf(pages []contentPage, seen map[chunkstore.Extent]bool) (n int, fresh []chunkstore.Extent) {
	for slices := 0; n < len(pages); n++ {
		slices += len(pages[n].slices)
		if n > 0 && (slices > batchSlices || len(fresh)+len(pages[n].slices) > batchRefs) {
			break
		}
		for _, s := range pages[n].slices {
			if e := s.extent(); !seen[e] {
				seen[e] = true
				fresh = append(fresh, e)
			}
		}
	}
	return n, fresh
}

// store makes the staged content one of the namespace's, within the update that makes it reachable.
func (s *staged) store(t *txn) (contentRec, error) {
	if s.built == nil {
		return s.fs.storeContent(t, s.d, s.l)
	}
	return *s.built, t.Delete(orphanKey(contentID(s.built.ID)))
}

// abandon gives up a staged content whose update did not commit, and with it the fresh extents, which
// nothing else refers to. It may only be called when the update certainly did not commit.
func (s *staged) abandon(ctx context.Context, fresh ...chunkstore.Extent) {
	if s.built == nil {
		s.fs.free(fresh)
		return
	}
	// Extents that the build did not get to are found by the next recovery.
	err := s.fs.update(context.WithoutCancel(ctx), metastore.Reclaim, nil, func(t *txn) error {
		return s.fs.dropContent(t, s.d, s.built)
	})
	if err != nil {
		s.fs.log.Warn("namespace: an unfinished content stays until the next start", "content", s.built.ID, "err", err)
	}
}

// keep is abandon for one who goes on using the extents: the reaper leaves what was built ahead alone until
// the next start.
func (s *staged) keep(ctx context.Context) {
	if s.built != nil {
		s.fs.pin(contentID(s.built.ID))
		s.abandon(ctx)
	}
}

// undone reports whether an update that returned err has certainly not committed. Extents that it would
// have referred to may then be freed; else they are left to the next recovery, which knows.
func undone(err error) bool {
	switch {
	case err == nil, errors.Is(err, metastore.ErrStopped), errors.Is(err, metastore.ErrClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	}
	return true
}

// pin keeps the reaper away from a content's extents until unpin. Only what is reachable may be pinned:
// within view, or while another pin of it is held.
func (fs *FS) pin(id contentID) {
	fs.pinMu.Lock()
	fs.pins[id]++
	fs.pinMu.Unlock()
}

func (fs *FS) unpin(id contentID) {
	fs.pinMu.Lock()
	fs.pins[id]--
	free := fs.pins[id] <= 0
	if free {
		delete(fs.pins, id)
	}
	fs.pinMu.Unlock()
	if free {
		fs.reaper.unpinned()
	}
}

func (fs *FS) pinned(id contentID) bool {
	fs.pinMu.Lock()
	defer fs.pinMu.Unlock()
	return fs.pins[id] > 0
}

// view runs fn on one consistent state, and the reaper never takes what fn pins: it waits for every view
// that began before it looks at the pins, so what fn found reachable is either pinned by then, or never
// read. fn must not call view, nor begin an update.
func (fs *FS) view(ctx context.Context, fn func(metastore.Reader) error) error {
	fs.gate.RLock()
	defer fs.gate.RUnlock()
	return fs.kv.View(ctx, fn)
}

// inlineKey seals the inline bytes of a domain in one epoch.
type inlineKey struct {
	root [32]byte // the data key that it comes from
	aead cipher.AEAD
}

type inlineKeyID struct {
	d     chunkstore.Domain
	epoch uint32
}

// inlineAEAD asks for the data key each time, so that a destroyed key ends all reading at once.
func (fs *FS) inlineAEAD(id inlineKeyID) (cipher.AEAD, error) {
	root, err := fs.auth.DataKey(id.d, id.epoch)
	if err != nil {
		return nil, err
	}
	if k, ok := fs.inlineKeys.Load(id); ok && k.(*inlineKey).root == root {
		return k.(*inlineKey).aead, nil
	}
	derived, err := hkdf.Key(sha256.New, root[:], nil, "k3fs inline content v1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err == nil {
		fs.inlineKeys.Store(id, &inlineKey{root, aead})
	}
	return aead, err
}

// Sealed inline bytes: domain(8) epoch(4), then nonce, ciphertext and tag.
const inlineHeader = 12

func inlineAAD(header []byte, id contentID) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, inlineHeader+8), header...), uint64(id))
}

func (fs *FS) sealInline(d chunkstore.Domain, id contentID, p []byte) ([]byte, error) {
	epoch, err := fs.auth.Current(d)
	if err != nil {
		return nil, err
	}
	aead, err := fs.inlineAEAD(inlineKeyID{d, epoch})
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, inlineHeader+len(p)+aead.Overhead())
	b = binary.BigEndian.AppendUint64(b, uint64(d))
	b = binary.BigEndian.AppendUint32(b, epoch)
	return aead.Seal(b, nil, p, inlineAAD(b, id)), nil
}

func (fs *FS) openInline(id contentID, sealed []byte) ([]byte, error) {
	if len(sealed) < inlineHeader {
		return nil, fmt.Errorf("%w: inline bytes of content %d are cut short", metastore.ErrCorrupt, id)
	}
	header := sealed[:inlineHeader]
	aead, err := fs.inlineAEAD(inlineKeyID{
		chunkstore.Domain(binary.BigEndian.Uint64(header)), binary.BigEndian.Uint32(header[8:])})
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, sealed[inlineHeader:], inlineAAD(header, id))
	if err != nil {
		return nil, fmt.Errorf("%w: inline bytes of content %d fail their authentication", metastore.ErrCorrupt, id)
	}
	return plain, nil
}
