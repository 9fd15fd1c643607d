package namespace

import (
	"context"
	"errors"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/tenancy"
)

func (n *inodeRec) domain() chunkstore.Domain { return domain(tenancy.TenantID(n.Owner)) }

// GetAttr implements Posix (stat(2)).
func (v *View) GetAttr(ctx context.Context, ino Ino) (Attr, error) {
	a, err := v.getAttr(ctx, ino)
	return a, fail("getattr", "", err)
}

func (v *View) getAttr(ctx context.Context, ino Ino) (Attr, error) {
	o := v.fs.overlay(ino)
	var n *inodeRec
	immutable := false
	err := v.fs.kv.View(ctx, func(r metastore.Reader) (err error) {
		if n, err = v.knownInode(r, ino, tenancy.GetObject); errors.Is(err, tenancy.ErrDenied) { // who may list it is told by Lookup and ReadDir, too
			n, err = v.knownInode(r, ino, tenancy.ListBucket)
		}
		if err != nil {
			return err
		}
		p, err := v.fs.protection(r, ino, n)
		immutable = err != nil || p.looksImmutable(v.fs.trusted()) // what can't be read protects
		return nil
	})
	if err != nil {
		return Attr{}, err
	}
	a := o.over(n.attr(ino))
	if immutable {
		a.Flags |= Immutable
	}
	return a, nil
}

// readInode is knownInode in a view of its own.
func (v *View) readInode(ctx context.Context, ino Ino, a tenancy.Action) (n *inodeRec, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) (err error) {
		n, err = v.knownInode(r, ino, a)
		return err
	})
	return n, err
}

// SetAttr implements Posix (chmod, chown, truncate, utimensat).
func (v *View) SetAttr(ctx context.Context, ino Ino, s SetAttr) (Attr, error) {
	a, err := v.setAttr(ctx, ino, s)
	return a, fail("setattr", "", err)
}

func (v *View) setAttr(ctx context.Context, ino Ino, s SetAttr) (Attr, error) {
	if ino == RootIno {
		return Attr{}, of(NotPermitted)
	}
	f := v.fs.files.peek(ino)
	if (s.resizes() || s.Flags != nil) && f == nil {
		var err error
		if f, err = v.fs.acquire(ino); err != nil {
			return Attr{}, err
		}
	}
	if f == nil {
		n, err := v.writeAttr(ctx, ino, s)
		if err != nil {
			return Attr{}, err
		}
		return n.attr(ino), nil
	}
	defer v.fs.release(ctx, f)
	return v.setFileAttr(ctx, f, s)
}

// setFileAttr is setAttr for an open inode.
func (v *View) setFileAttr(ctx context.Context, f *file, s SetAttr) (Attr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := v.readInode(ctx, f.ino, tenancy.PutObject)
	if err != nil {
		return Attr{}, err
	}
	if s.resizes() {
		if err := v.resize(ctx, f, n, s); err != nil {
			return Attr{}, err
		}
	}
	if s.Flags != nil { // what is written so far is there to stay
		if err := f.persist(ctx, v.door); err != nil {
			return Attr{}, err
		}
	}
	if !s.onlyTimes() || s.hasTimes() && f.times.Load() == nil {
		if n, err = v.writeAttr(ctx, f.ino, s); err != nil {
			return Attr{}, err
		}
		if s.Flags != nil {
			f.flags, f.floor = Flags(n.Flags), f.size
		}
	} else if a, some := s.act(); some {
		if !permits(f.flags, a) {
			return Attr{}, of(NotPermitted)
		}
		if err := v.unlocked(ctx, f.ino, n, a); err != nil {
			return Attr{}, err
		}
	}
	// Times of a draft with changes of its own go into the record with these.
	if f.times.Load() != nil {
		f.setTimes(s.Mtime, s.Ctime)
	}
	if s.resizes() && f.writers == 0 {
		if err := f.publish(ctx, v.door); err != nil {
			return Attr{}, err
		}
		if n, err = v.readInode(ctx, f.ino, tenancy.GetObject); err != nil {
			return Attr{}, err
		}
	}
	o := f.overlay()
	o.atime = v.fs.atimes.get(f.ino)
	return o.over(n.attr(f.ino)), nil
}

// resize truncates the draft. Through a handle it is one of the handle's writes. f.mu must be held.
func (v *View) resize(ctx context.Context, f *file, n *inodeRec, s SetAttr) error {
	switch Type(n.Type) {
	case File:
	case Dir:
		return of(IsDir)
	default:
		return of(Invalid)
	}
	if n.hung() && s.Handle == nil {
		return of(ReadOnly)
	}
	if err := f.load(ctx); err != nil {
		return err
	}
	if !permits(f.flags, actWrite) {
		return of(NotPermitted)
	}
	if err := v.unlocked(ctx, f.ino, n, actWrite); err != nil {
		return err
	}
	if err := f.truncate(ctx, *s.Size); err != nil {
		return err
	}
	if h, ok := s.Handle.(*handle); ok && h.f == f && h.writes() && !h.closed.Load() {
		h.dirty()
	}
	return nil
}

func (s SetAttr) resizes() bool { return s.Size != nil }

// onlyTimes reports whether a draft can keep the change until it goes into the record.
func (s SetAttr) onlyTimes() bool {
	return s.Mode == nil && s.UID == nil && s.GID == nil && s.Atime == nil && !s.KillPriv && s.Flags == nil
}

func (s SetAttr) hasTimes() bool { return s.Mtime != nil || s.Ctime != nil }

// explicit reports whether somebody asked for the change: it is no consequence of a write or a read.
func (s SetAttr) explicit() bool {
	a, some := s.act()
	return some && a == actSetattr || s.Flags != nil
}

// late reports whether the change can be the kernel's, which stamps a file that was written some time after it was
// closed. To a file that has become an older version meanwhile nothing happens; an error would be syncfs(2)'s.
func (s SetAttr) late() bool {
	return s.Ctime != nil && s.Mtime != nil && s.Atime == nil && s.Mode == nil && s.UID == nil && s.GID == nil && s.Flags == nil
}

// writeAttr changes all but the size in the inode's record.
func (v *View) writeAttr(ctx context.Context, ino Ino, s SetAttr) (n *inodeRec, err error) {
	accessed := v.fs.atimes.drop(ino)
	given, locked := s, false
	err = v.update(ctx, metastore.Ordered, func(t *txn) error {
		s := given
		defer func() { locked = t.locked }()
		n, err = v.inode(t, ino, tenancy.PutObject)
		if isKind(err, NotFound) {
			n, err = v.setDeparted(t, ino, s, t.now)
			return err
		}
		if err != nil {
			return err
		}
		if n.hung() && s.late() {
			return nil
		}
		if n.hung() && s.explicit() {
			return of(ReadOnly)
		}
		if accessed != 0 {
			n.Atime = max(n.Atime, accessed)
		}
		if err := v.permitAttr(t, ino, n, &s); err != nil {
			return err
		}
		if s.KillPriv {
			if err := t.dropCapability(ino, n); err != nil {
				return err
			}
		}
		if err := s.apply(n, t.now); err != nil {
			return err
		}
		t.attrChanged(ino, false)
		return t.putInode(ino, n)
	})
	if err == nil && locked { // as all that locks
		err = v.fs.kv.Sync(ctx)
	}
	return n, err
}

// permitAttr asks all rules for a change of attributes, and does what it means for the file's lock.
func (v *View) permitAttr(t *txn, ino Ino, n *inodeRec, s *SetAttr) error {
	if t.lengthens(n, *s) {
		return t.commit(v, ino, n, nanos(*s.Atime))
	}
	if a, some := s.act(); some {
		if err := t.permit(ino, n, a); err != nil {
			return err
		}
	}
	if s.Flags != nil {
		if err := t.permitFlags(ino, n, s); err != nil {
			return err
		}
	}
	commits, err := t.commits(n, *s)
	if err != nil || !commits {
		return err
	}
	return t.commit(v, ino, n, n.Atime)
}

// permitFlags refuses to take the flag from a file that a lock makes look immutable, and doesn't store it for one.
func (t *txn) permitFlags(ino Ino, n *inodeRec, s *SetAttr) error {
	p, err := t.fs.protection(t, ino, n)
	if err != nil || !p.looksImmutable(t.fs.trusted()) {
		return err
	}
	if *s.Flags&Immutable == 0 {
		return t.fs.refuse(t, ino, n, p.reason(t.fs.trusted(), false))
	}
	flags := *s.Flags&^Immutable | Flags(n.Flags)&Immutable
	s.Flags = &flags
	return nil
}

// apply changes the record as s says.
func (s SetAttr) apply(n *inodeRec, now int64) error {
	if s.Mode != nil {
		if err := n.chmod(*s.Mode & 0o7777); err != nil {
			return err
		}
	}
	if s.Flags != nil {
		if err := n.setFlags(*s.Flags); err != nil {
			return err
		}
	}
	if s.UID != nil {
		n.UID = *s.UID
	}
	if s.GID != nil {
		n.GID = *s.GID
	}
	if s.Atime != nil {
		n.Atime = nanos(*s.Atime)
	}
	if s.Mtime != nil {
		n.Mtime = nanos(*s.Mtime)
	}
	if s.KillPriv && Type(n.Type) != Dir {
		n.Mode &^= 0o4000
		if n.Mode&0o010 != 0 { // without it the bit means mandatory locking
			n.Mode &^= 0o2000
		}
	}
	n.Ctime = now
	if s.Ctime != nil {
		n.Ctime = nanos(*s.Ctime)
	}
	return nil
}

// StatFS implements Posix (statfs(2)).
func (v *View) StatFS(ctx context.Context, ino Ino) (StatFS, error) {
	u := v.fs.chunks.Usage()
	avail := max(0, u.Free-u.LowWater)
	more := uint64(avail) / chunkstore.BlockSize // inodes come with the room for them
	s := StatFS{
		Total: u.Total, Free: u.Free, Avail: avail,
		Files: v.fs.census.used() + more, FilesFree: more,
		NameMax: maxName,
	}
	err := v.fs.kv.View(ctx, func(r metastore.Reader) error {
		n, err := v.knownInode(r, ino, tenancy.GetObject)
		if err != nil {
			return err
		}
		return v.statfs(r, n, &s)
	})
	return s, fail("statfs", "", err)
}

// SyncDir implements Posix (fsync(2) on a directory).
func (v *View) SyncDir(ctx context.Context, dir Ino) error {
	if _, err := v.readInode(ctx, dir, tenancy.ListBucket); err != nil {
		return fail("fsyncdir", "", err)
	}
	return fail("fsyncdir", "", v.fs.kv.Sync(ctx))
}

// Sync implements Posix (syncfs(2)): the drafts of all open files are persisted, and everything is made
// durable.
func (v *View) Sync(ctx context.Context) error {
	var first error
	for _, f := range v.fs.files.peekAll() {
		f.mu.Lock()
		err := f.persist(ctx, v.door)
		f.mu.Unlock()
		v.fs.release(ctx, f)
		if err != nil && first == nil {
			first = err
		}
	}
	if err := v.fs.storeAtimes(ctx); err != nil && first == nil {
		first = err
	}
	if err := v.fs.kv.Sync(ctx); err != nil && first == nil {
		first = err
	}
	return fail("sync", "", first)
}
