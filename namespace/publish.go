package namespace

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"k3fs/chunkstore"
	"k3fs/metastore"
)

// newETag is the ETag of a content written through POSIX: an opaque token that can't be taken for an
// MD5, unique as the content's number is.
func newETag(id contentID) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(id))
	rand.Read(b[8:]) // never fails
	return hex.EncodeToString(b[:]) + "-1"
}

// settle brings the draft into the form of a content: all in the chunk store, or inline. Nothing is
// written meanwhile. f.mu must be held; it may be given up.
func (f *file) settle(ctx context.Context) (*layout, error) {
	f.settles++
	defer func() {
		f.settles--
		f.landed.Broadcast()
	}()
	for f.pump.frames > 0 {
		f.landed.Wait()
	}
	if f.size <= inlineMax {
		if len(f.mem.list) == 1 && f.mem.bytes == f.size { // all in one piece: no copy
			return &layout{Size: f.size, Inline: f.mem.list[0].data}, nil
		}
		l := &layout{Size: f.size, Inline: make([]byte, f.dataEnd())}
		for _, r := range f.plan(l.Inline, 0) {
			if err := f.fs.chunks.ReadAt(ctx, f.d, r.e, r.p, r.off); err != nil {
				return nil, err
			}
		}
		return l, nil
	}
	if err := f.drain(0); err != nil {
		return nil, err
	}
	if err := f.compact(ctx); err != nil {
		return nil, err
	}
	return &layout{Size: f.size, Slices: append([]slice(nil), f.slices...)}, nil
}

// inMemory reports whether publishing needs none of the file's bytes on the disk: there is nothing to publish, or
// all is in memory and becomes part of the metadata. f.mu must be held.
func (f *file) inMemory() bool {
	if !f.loaded || f.seq == f.published {
		return true
	}
	return f.size <= inlineMax && f.pump.frames == 0 && len(f.slices) == 0
}

// dataEnd is where the hole at the end of the file begins. f.mu must be held.
func (f *file) dataEnd() (end int64) {
	if n := len(f.mem.list); n > 0 {
		end = f.mem.list[n-1].end()
	}
	if n := len(f.slices); n > 0 {
		end = max(end, f.slices[n-1].end())
	}
	return end
}

// fsync is fsync(2): the draft goes into the inode's record, unpublished, and all is made durable.
func (f *file) fsync(ctx context.Context, door Observer) error {
	f.mu.Lock()
	err := f.persist(ctx, door)
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.fs.kv.Sync(ctx)
}

// persist stores the draft in the inode's record. The door is not told: its kernel may be waiting, for a
// notification of this inode, on a write that needs f.mu. f.mu must be held.
func (f *file) persist(ctx context.Context, door Observer) error {
	if !f.loaded || f.seq == f.saved {
		return nil
	}
	l, err := f.settle(ctx)
	if err != nil {
		return err
	}
	if inc := f.incrementTo(l); inc != nil {
		if stored, err := f.persistIncrement(ctx, inc, door); stored || err != nil {
			return err
		}
	}
	var kept contentRec
	stored, err := f.store(ctx, l, func(t *txn, n *inodeRec, c contentRec) error {
		c.Time = t.fs.trusted()
		kept = c
		if n.Draft == nil {
			if err := t.Set(draftKey(f.ino), nil); err != nil {
				return err
			}
		}
		old := n.Draft
		n.Draft = &c
		return t.fs.dropContent(t, f.d, old)
	}, door)
	if stored {
		f.kept, f.keptSlices = &kept, slices.Clone(l.Slices)
	}
	return err
}

// publish makes the draft what S3 reads. f.mu must be held.
func (f *file) publish(ctx context.Context, door Observer) error {
	if !f.loaded || f.seq == f.published {
		return nil
	}
	if f.seq == f.saved && f.kept != nil {
		if done, err := f.promote(ctx, door); done || err != nil {
			return err
		}
	}
	l, err := f.settle(ctx)
	if err != nil {
		return err
	}
	var was, now *contentRec
	version := ""
	stored, err := f.store(ctx, l, func(t *txn, n *inodeRec, c contentRec) error {
		c.ETag = newETag(contentID(c.ID))
		t.date(&c)
		was, now = n.Published, &c
		draft := n.Draft
		if n.unsettled() {
			if err := t.Delete(draftKey(f.ino)); err != nil {
				return err
			}
		}
		n.Draft = nil
		if err := t.fs.dropContent(t, f.d, draft); err != nil {
			return err
		}
		err := t.supersede(f.ino, n, &c, f.interim)
		version = n.Version
		return err
	}, door)
	if stored {
		f.madeFirst(was, now)
		f.issued(version)
		f.kept, f.keptSlices = nil, nil
	}
	return err
}

// promote publishes the persisted draft as it is; done is false if there is none. f.mu must be held.
func (f *file) promote(ctx context.Context, door Observer) (done bool, err error) {
	var old, now *contentRec
	version := ""
	err = f.fs.update(context.WithoutCancel(ctx), metastore.Ordered, door, func(t *txn) error {
		done = false
		n, err := getInode(t, f.ino)
		if isKind(err, NotFound) || err == nil && n.Draft == nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := t.mayReplace(f.ino, n); err != nil {
			return err
		}
		done, old, now = true, n.Published, n.Draft
		err = t.promote(f.ino, n, f.interim)
		version = n.Version
		return err
	})
	if err == nil && done {
		f.madeFirst(old, now)
		f.issued(version)
		f.kept, f.keptSlices = nil, nil
		f.recorded()
	}
	return done, err
}

// issued notes that the draft is published, as a version with that id. A process that duplicated or inherited a
// descriptor closes it several times in one write session: only the last of the versions that it so makes stays.
// f.mu must be held.
func (f *file) issued(version string) {
	f.published = f.saved
	if f.interim = version; f.writers == 0 {
		f.interim = ""
	}
}

// promote makes an inode's persisted draft its published content. interim is as supersede has it.
func (t *txn) promote(ino Ino, n *inodeRec, interim string) error {
	c := n.Draft
	n.Draft = nil
	c.ETag = newETag(contentID(c.ID))
	t.date(c)
	if err := t.supersede(ino, n, c, interim); err != nil {
		return err
	}
	if err := t.Delete(draftKey(ino)); err != nil {
		return err
	}
	t.attrChanged(ino, true)
	if n.Nlink == 1 {
		if err := t.shorten(ino, n); err != nil {
			return err
		}
	}
	return t.putInode(ino, n)
}

// store makes a content of the settled draft and lets put place it in the inode's record. It stores
// nothing for an inode that has no name left: the draft then stays in memory and in fresh extents, which
// nobody but the handles can see. f.mu must be held since the draft settled.
func (f *file) store(ctx context.Context, l *layout, put func(*txn, *inodeRec, contentRec) error, door Observer) (stored bool, err error) {
	// From here on the caller's patience does not matter: what it wrote is at stake.
	ctx = context.WithoutCancel(ctx)
	st, err := f.fs.stage(ctx, f.d, l)
	if err != nil {
		return false, err
	}
	durability := metastore.Ordered
	if l.Size < f.ground {
		durability = metastore.Reclaim
	}
	var c contentRec
	// Pinned before anyone can see it: a delete right behind the commit must not let the reaper have it.
	var held contentID
	unpin := func() {
		if held != 0 {
			f.fs.unpin(held)
			held = 0
		}
	}
	defer unpin()
	err = f.fs.update(ctx, durability, door, func(t *txn) error {
		stored = false
		unpin()
		n, err := getInode(t, f.ino)
		if err == nil && n.Nlink == 0 && !f.nameless.Load() || isKind(err, NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := t.mayReplace(f.ino, n); err != nil {
			return err
		}
		stored = true
		if c, err = st.store(t); err != nil {
			return err
		}
		held = contentID(c.ID)
		f.fs.pin(held)
		n.Size = l.Size
		if f.times.Load() != nil {
			n.Mtime, n.Ctime = f.mtime, f.ctime
		}
		if err := put(t, n, c); err != nil {
			return err
		}
		t.attrChanged(f.ino, true)
		if n.Published != nil && n.Published.ID == c.ID && n.Nlink == 1 {
			if err := t.shorten(f.ino, n); err != nil {
				return err
			}
		}
		return t.putInode(f.ino, n)
	})
	switch {
	case err != nil:
		if undone(err) {
			st.keep(ctx)
		}
		return false, err
	case !stored:
		st.keep(ctx)
		return false, nil
	}
	f.saved = f.seq
	f.retireFresh(l)
	f.stand(&c, l)
	f.recorded()
	return true, nil
}

// retireFresh frees the fresh extents that a stored content does not name. f.mu must be held.
func (f *file) retireFresh(l *layout) {
	if len(l.Inline) == 0 && l.Size > 0 || len(f.fresh) == 0 {
		return
	}
	for e := range f.fresh {
		f.epochs.retire(func() { f.fs.free([]chunkstore.Extent{e}) })
	}
}

// recorded notes that the inode's record now says all that the draft knows. f.mu must be held.
func (f *file) recorded() {
	f.mtime, f.ctime = 0, 0
	f.times.Store(nil)
	f.ungrow() // it is charged
}
