package namespace

import (
	"context"
	"errors"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// maxLinks bounds an inode's names.
const maxLinks = 65000

// maxTarget is the longest target of a symlink (PATH_MAX less its NUL), in bytes.
const maxTarget = 4095

// Lookup implements Posix (the resolution of one component).
func (v *View) Lookup(ctx context.Context, parent Ino, name string) (Attr, error) {
	var (
		ino Ino
		n   *inodeRec
		o   overlay
	)
	err := v.fs.kv.View(ctx, func(r metastore.Reader) error {
		// The child tells the tenant, since it inherits it: the parent need not be read.
		e, err := resolve(r, parent, name)
		if err != nil {
			return err
		}
		if !e.found() {
			return of(NotFound)
		}
		ino = Ino(e.Ino)
		o = v.fs.overlay(ino)
		n, err = v.inode(r, ino, tenancy.ListBucket)
		return err
	})
	if err != nil {
		return Attr{}, fail("lookup", name, err)
	}
	return o.over(n.attr(ino)), nil
}

// newInode is the record of a node that is about to be made in a directory.
func (t *txn) newInode(parent Ino, p *inodeRec, stored string, n NewNode) (*inodeRec, error) {
	rec := &inodeRec{
		Type: uint8(n.Type), UID: n.UID, GID: n.GID, Rdev: n.Rdev, Nlink: 1,
		Atime: t.now, Mtime: t.now, Ctime: t.now, Btime: t.now,
		Bucket: p.Bucket, Owner: p.Owner, Parent: uint64(parent), Name: stored,
		Flags: p.Flags & uint32(inherited),
	}
	if err := rec.inheritMode(p, n.Mode&0o7777, n.Umask); err != nil {
		return nil, err
	}
	// A set-group-id directory hands its group on (mkdir(2), open(2)).
	if p.Mode&0o2000 != 0 {
		rec.GID = p.GID
		if n.Type == Dir {
			rec.Mode |= 0o2000
		}
	}
	switch n.Type {
	case Dir:
		rec.Nlink, rec.Expl = 2, true
	case Symlink:
		rec.Since = t.fs.madeAt(t.now)
	}
	t.made++
	return rec, nil
}

// addNode makes a node under a POSIX name that must be free, and returns its directory too.
func (v *View) addNode(t *txn, ino, parent Ino, name string, n NewNode) (p, rec *inodeRec, err error) {
	if p, err = v.dirForChange(t, parent, tenancy.PutObject); err != nil {
		return nil, nil, err
	}
	e, err := resolve(t, parent, name)
	if err != nil {
		return nil, nil, err
	}
	if e.found() {
		return nil, nil, of(Exists)
	}
	if err := freeName(name); err != nil {
		return nil, nil, err
	}
	rec, err = t.attach(ino, parent, p, name, n)
	return p, rec, err
}

// attach makes a node in the directory p and stamps that. The name must be free.
func (t *txn) attach(ino, parent Ino, p *inodeRec, name string, n NewNode) (*inodeRec, error) {
	if err := p.permit(actAddEntry); err != nil {
		return nil, err
	}
	stored := name
	if n.Type == Dir {
		stored += "/"
		p.Nlink++
	}
	rec, err := t.newInode(parent, p, stored, n)
	if err != nil {
		return nil, err
	}
	if err := t.putDentry(parent, stored, dentryRec{Ino: uint64(ino), Type: rec.Type}); err != nil {
		return nil, err
	}
	return rec, t.touchDir(parent, p)
}

// makeNode is the update behind mkdir, mknod and symlink; fill completes the record.
func (v *View) makeNode(ctx context.Context, parent Ino, name string, n NewNode, fill func(t *txn, dir, rec *inodeRec) error) (Attr, error) {
	if err := v.fs.reserve(ctx); err != nil {
		return Attr{}, err
	}
	ino := Ino(v.fs.number())
	var rec *inodeRec
	err := v.update(ctx, metastore.Ordered, func(t *txn) error {
		var p *inodeRec
		var err error
		if p, rec, err = v.addNode(t, ino, parent, name, n); err != nil {
			return err
		}
		if fill != nil {
			if err := fill(t, p, rec); err != nil {
				return err
			}
		}
		return t.putInode(ino, rec)
	})
	if err != nil {
		return Attr{}, err
	}
	return rec.attr(ino), nil
}

// Mkdir implements Posix (mkdir(2)). In the root it makes a bucket.
func (v *View) Mkdir(ctx context.Context, parent Ino, name string, n NewNode) (Attr, error) {
	n.Type = Dir
	if parent == RootIno {
		a, err := v.mkBucketDir(ctx, name, n)
		return a, fail("mkdir", name, err)
	}
	a, err := v.makeNode(ctx, parent, name, n, nil)
	return a, fail("mkdir", name, err)
}

// Mknod implements Posix (mknod(2)). A regular file is published at once, empty.
func (v *View) Mknod(ctx context.Context, parent Ino, name string, n NewNode) (Attr, error) {
	switch n.Type {
	case File, FIFO, Socket, CharDev, BlockDev:
	default:
		return Attr{}, fail("mknod", name, of(Invalid))
	}
	a, err := v.makeNode(ctx, parent, name, n, func(t *txn, p, rec *inodeRec) error {
		if n.Type != File {
			return nil
		}
		c, err := t.fs.storeContent(t, domain(tenancy.TenantID(rec.Owner)), &layout{})
		if err != nil {
			return err
		}
		c.ETag = newETag(contentID(c.ID))
		t.date(&c)
		rec.Published = &c
		s, err := t.slotOf(p, rec.Name)
		if err != nil {
			return err
		}
		return t.newVersion(s, rec)
	})
	return a, fail("mknod", name, err)
}

// Symlink implements Posix (symlink(2)).
func (v *View) Symlink(ctx context.Context, parent Ino, name, target string, n NewNode) (Attr, error) {
	switch {
	case target == "":
		return Attr{}, fail("symlink", name, of(NotFound))
	case len(target) > maxTarget:
		return Attr{}, fail("symlink", name, of(NameTooLong))
	}
	n.Type = Symlink
	a, err := v.makeNode(ctx, parent, name, n, func(_ *txn, _, rec *inodeRec) error {
		rec.Target = target
		return nil
	})
	return a, fail("symlink", name, err)
}

// Readlink implements Posix (readlink(2)).
func (v *View) Readlink(ctx context.Context, ino Ino) (target string, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		n, err := v.inode(r, ino, tenancy.GetObject)
		if err != nil {
			return err
		}
		if Type(n.Type) != Symlink {
			return of(Invalid)
		}
		target = n.Target
		return nil
	})
	return target, fail("readlink", "", err)
}

// Link implements Posix (link(2)).
func (v *View) Link(ctx context.Context, ino, parent Ino, name string) (Attr, error) {
	var n *inodeRec
	o := v.fs.overlay(ino)
	err := v.update(ctx, metastore.Ordered, func(t *txn) error {
		p, err := v.dirForChange(t, parent, tenancy.PutObject)
		if err != nil {
			return err
		}
		if n, err = v.inode(t, ino, tenancy.GetObject); err != nil {
			return err
		}
		switch {
		case Type(n.Type) == Dir:
			return of(NotPermitted)
		case n.Bucket != p.Bucket:
			return of(CrossBucket)
		case n.hung():
			return of(ReadOnly)
		case n.Nlink == 0 && !v.fs.files.isNameless(ino):
			return of(NotFound)
		case n.Nlink >= maxLinks:
			return of(TooManyLinks)
		}
		e, err := resolve(t, parent, name)
		if err != nil {
			return err
		}
		if e.found() {
			return of(Exists)
		}
		if err := errors.Join(freeName(name), p.permit(actAddEntry), t.permit(ino, n, actLink)); err != nil {
			return err
		}
		s, err := t.slotOf(p, name)
		if err != nil {
			return err
		}
		if err := t.arrive(s, ino, n); err != nil {
			return err
		}
		if err := t.addLink(ino, n, parent, name); err != nil {
			return err
		}
		return t.touchDir(parent, p)
	})
	if err != nil {
		return Attr{}, fail("link", name, err)
	}
	v.fs.files.named(ino)
	return o.over(n.attr(ino)), nil
}

// addLink gives an inode one more name, which must be free.
func (t *txn) addLink(ino Ino, n *inodeRec, parent Ino, stored string) error {
	if n.Nlink == 0 {
		return t.firstLink(ino, n, parent, stored)
	}
	if n.Nlink == 1 {
		if err := t.Set(linkKey(ino, Ino(n.Parent), n.Name), nil); err != nil {
			return err
		}
	}
	if err := t.Set(linkKey(ino, parent, stored), nil); err != nil {
		return err
	}
	if err := t.putDentry(parent, stored, dentryRec{Ino: uint64(ino), Type: n.Type}); err != nil {
		return err
	}
	n.Nlink++
	n.Ctime = t.now
	t.attrChanged(ino, false)
	if err := t.shorten(ino, n); err != nil {
		return err
	}
	return t.putInode(ino, n)
}

// moveLink follows a name of an inode that moved to another place, and stores the inode. The caller has asked whether
// it may move, before the inode became another version.
func (t *txn) moveLink(ino Ino, n *inodeRec, parent Ino, stored string, newParent Ino, newStored string) error {
	if n.Nlink > 1 && Type(n.Type) != Dir {
		if err := t.Delete(linkKey(ino, parent, stored)); err != nil {
			return err
		}
		if err := t.Set(linkKey(ino, newParent, newStored), nil); err != nil {
			return err
		}
	}
	if Ino(n.Parent) == parent && n.Name == stored {
		n.Parent, n.Name = uint64(newParent), newStored
	}
	n.Ctime = t.now
	t.attrChanged(ino, false)
	return t.putInode(ino, n)
}

// dropLink takes one name, which its directory no longer has, away from an inode. With the last one the
// inode goes: at once, or if it is open, when its last handle closes.
func (t *txn) dropLink(ino Ino, n *inodeRec, parent Ino, stored string) error {
	if err := t.permit(ino, n, actUnname); err != nil {
		return err
	}
	return t.takeLink(ino, n, parent, stored)
}

// takeLink is dropLink without asking.
func (t *txn) takeLink(ino Ino, n *inodeRec, parent Ino, stored string) error {
	n.Ctime = t.now
	t.attrChanged(ino, false)
	if n.Nlink > 1 && Type(n.Type) != Dir {
		return t.dropExtraLink(ino, n, parent, stored)
	}
	if Type(n.Type) != File {
		t.depart(ino, n)
		return t.eraseInode(ino, n)
	}
	return t.discard(ino, n)
}

// discard removes a file that has no name any more, or hangs on a key: at once, or if it is open, when its last
// handle closes.
func (t *txn) discard(ino Ino, n *inodeRec) error {
	// Read, so that this conflicts with a last close that looked before this update was committed.
	if _, err := t.Get(zombieKey(ino)); err != nil && !errors.Is(err, metastore.ErrNotFound) {
		return err
	}
	if !t.bury(ino) {
		t.depart(ino, n)
		return t.eraseInode(ino, n)
	}
	if err := t.fs.unlocked(t, ino, n, actErase, t.bypass); err != nil {
		return err
	}
	if n.hung() {
		if err := t.unhang(Ino(n.Bucket), n.Key, n.Seq, n.Version); err != nil {
			return err
		}
	}
	n.Nlink, n.Parent, n.Name, n.Key, n.Lock = 0, 0, "", "", nil // the rule was asked
	if err := t.Set(zombieKey(ino), nil); err != nil {
		return err
	}
	return t.putInode(ino, n)
}

// dropExtraLink is dropLink for an inode that keeps another name.
func (t *txn) dropExtraLink(ino Ino, n *inodeRec, parent Ino, stored string) error {
	if err := t.Delete(linkKey(ino, parent, stored)); err != nil {
		return err
	}
	n.Nlink--
	if n.Nlink > 1 && !(Ino(n.Parent) == parent && n.Name == stored) {
		return t.putInode(ino, n)
	}
	prefix := key(kLink, uint64(ino))
	err := t.Scan(prefixRange(prefix, 1), func(k, _ []byte) (bool, error) {
		n.Parent, n.Name = decodeLink(k[len(prefix):])
		return false, nil
	})
	if err == nil && n.Nlink == 1 {
		err = t.Delete(linkKey(ino, Ino(n.Parent), n.Name))
	}
	if err != nil {
		return err
	}
	return t.putInode(ino, n)
}

// eraseInode removes an inode's record and all that hangs on it. It is the only function that removes a
// version, and it asks the rule of locks itself. Flags were asked when the last name went (dropLink, removeDir).
func (t *txn) eraseInode(ino Ino, n *inodeRec) error {
	if err := t.fs.unlocked(t, ino, n, actErase, t.bypass); err != nil {
		return err
	}
	d := domain(tenancy.TenantID(n.Owner))
	if err := t.fs.dropContent(t, d, n.Published); err != nil {
		return err
	}
	if n.Draft != nil {
		if err := t.fs.dropContent(t, d, n.Draft); err != nil {
			return err
		}
	}
	if n.unsettled() {
		if err := t.Delete(draftKey(ino)); err != nil {
			return err
		}
	}
	if n.Xattrs {
		if err := t.dropXattrs(ino); err != nil {
			return err
		}
	}
	if n.hung() {
		if err := t.unhang(Ino(n.Bucket), n.Key, n.Seq, n.Version); err != nil {
			return err
		}
	}
	if Type(n.Type) == Dir {
		if err := t.forgetLockedTo(ino); err != nil {
			return err
		}
	}
	t.made--
	return errors.Join(t.recharge(n, true), t.Delete(inodeKey(ino)))
}

// toRemove finds an entry that is to leave parent.
func (v *View) toRemove(t *txn, parent Ino, name string) (*inodeRec, entry, error) {
	p, err := v.dirForChange(t, parent, tenancy.DeleteObject)
	if err != nil {
		return nil, entry{}, err
	}
	e, err := resolve(t, parent, name)
	if err == nil && !e.found() {
		err = of(NotFound)
	}
	if err == nil {
		err = p.permit(actDropEntry)
	}
	return p, e, err
}

// Unlink implements Posix (unlink(2)).
func (v *View) Unlink(ctx context.Context, parent Ino, name string) error {
	err := v.update(ctx, metastore.Reclaim, func(t *txn) error {
		t.frees = true
		p, e, err := v.toRemove(t, parent, name)
		switch {
		case err != nil:
			return err
		case isDirName(e.stored):
			return of(IsDir)
		}
		n, err := v.inode(t, Ino(e.Ino), tenancy.DeleteObject)
		if err != nil {
			return err
		}
		s, err := t.slotOf(p, e.stored)
		if err != nil {
			return err
		}
		if err := t.delDentry(parent, e.stored); err != nil {
			return err
		}
		if err := t.remove(s, Ino(e.Ino), n, parent, e.stored); err != nil {
			return err
		}
		return t.entryLeft(parent, p)
	})
	return fail("unlink", name, err)
}

// Rmdir implements Posix (rmdir(2)). In the root it deletes a bucket.
func (v *View) Rmdir(ctx context.Context, parent Ino, name string) error {
	if parent == RootIno {
		return fail("rmdir", name, v.rmBucketDir(ctx, name))
	}
	err := v.update(ctx, metastore.Reclaim, func(t *txn) error {
		t.frees = true
		p, e, err := v.toRemove(t, parent, name)
		switch {
		case err != nil:
			return err
		case !isDirName(e.stored):
			return of(NotDir)
		}
		n, err := v.dir(t, Ino(e.Ino), tenancy.DeleteObject)
		if err != nil {
			return err
		}
		if err := t.removeDir(parent, p, e, n); err != nil {
			return err
		}
		return t.entryLeft(parent, p)
	})
	return fail("rmdir", name, err)
}

// removeDir removes an empty directory from its parent, whose record the caller stores.
func (t *txn) removeDir(parent Ino, p *inodeRec, e entry, n *inodeRec) error {
	if err := t.permit(Ino(e.Ino), n, actUnname); err != nil {
		return err
	}
	empty, err := dirEmpty(t, Ino(e.Ino))
	if err != nil {
		return err
	}
	if !empty {
		return of(NotEmpty)
	}
	if err := t.leaveDir(p, e.stored, n); err != nil {
		return err
	}
	t.attrChanged(Ino(e.Ino), false) // who holds it sees that it has no name
	if err := t.delDentry(parent, e.stored); err != nil {
		return err
	}
	p.Nlink--
	t.depart(Ino(e.Ino), n)
	return t.eraseInode(Ino(e.Ino), n)
}
