package namespace

import (
	"context"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// Tmpfile implements Posix (open(2) with O_TMPFILE). The file is one that was unlinked while open, but for
// that Link may name it: until then its content may be stored and published, and nobody can find it.
func (v *View) Tmpfile(ctx context.Context, dir Ino, n NewNode, flags OpenFlags) (Attr, FileHandle, error) {
	a, h, err := v.tmpfile(ctx, dir, n, flags)
	if err != nil {
		return Attr{}, nil, fail("tmpfile", "", err)
	}
	return a, h, nil
}

func (v *View) tmpfile(ctx context.Context, dir Ino, n NewNode, flags OpenFlags) (Attr, *handle, error) {
	n.Type = File
	if err := v.fs.reserve(ctx); err != nil {
		return Attr{}, nil, err
	}
	ino := Ino(v.fs.number())
	f, err := v.fs.acquire(ino)
	if err != nil {
		return Attr{}, nil, err
	}
	v.fs.files.doom(f)
	f.nameless.Store(!flags.Excl)
	var rec *inodeRec
	err = v.update(ctx, metastore.Ordered, func(t *txn) error {
		p, err := v.dirForChange(t, dir, tenancy.PutObject)
		if err != nil {
			return err
		}
		if err := p.permit(actAddEntry); err != nil {
			return err
		}
		if rec, err = t.newInode(dir, p, "", n); err != nil {
			return err
		}
		rec.Nlink, rec.Parent = 0, 0
		if err := t.Set(zombieKey(ino), nil); err != nil {
			return err
		}
		if err := t.Set(draftKey(ino), nil); err != nil {
			return err
		}
		return t.putInode(ino, rec)
	})
	if err != nil {
		v.fs.release(ctx, f)
		return Attr{}, nil, err
	}
	h := &handle{v: v, f: f, flags: flags}
	f.mu.Lock()
	f.begin(rec, &layout{})
	h.join()
	f.mu.Unlock()
	return rec.attr(ino), h, nil
}

// doom marks an inode as one that its last release has to look after.
func (ft *fileTable) doom(f *file) {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	f.unlinked = true
}

// isNameless reports whether an inode is an open file that never had a name and may get one.
func (ft *fileTable) isNameless(ino Ino) bool {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	f := ft.files[ino]
	return f != nil && f.nameless.Load()
}

// named notes that an inode has its first name.
func (ft *fileTable) named(ino Ino) {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	if f := ft.files[ino]; f != nil {
		f.nameless.Store(false)
	}
}

// firstLink names an inode that never had a name. The name must be free.
func (t *txn) firstLink(ino Ino, n *inodeRec, parent Ino, stored string) error {
	if err := t.Delete(zombieKey(ino)); err != nil {
		return err
	}
	if err := t.putDentry(parent, stored, dentryRec{Ino: uint64(ino), Type: n.Type}); err != nil {
		return err
	}
	n.Nlink, n.Parent, n.Name, n.Ctime = 1, uint64(parent), stored, t.now
	t.attrChanged(ino, false)
	if err := t.shorten(ino, n); err != nil {
		return err
	}
	return t.putInode(ino, n)
}
