package namespace

import (
	"context"
	"errors"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// RenameObject implements Objects: one update, no data moves, and whoever has the file open keeps it. An
// object that had the new key is replaced. Directories (keys that end in '/') are renamed by the mount.
func (v *View) RenameObject(ctx context.Context, bucket, from, to string, source, target Conditions) error {
	err := v.update(ctx, metastore.DurableReclaim, func(t *txn) error {
		b, err := v.openBucket(t, bucket, tenancy.PutObject, to)
		if err != nil {
			return err
		}
		if err := v.allowKey(t, b, tenancy.DeleteObject, from); err != nil {
			return err
		}
		return t.renameObject(b, from, to, source, target)
	})
	return fail("rename", from, err)
}

func (t *txn) renameObject(b *bucketDir, from, to string, source, target Conditions) error {
	if err := checkKey(to); err != nil {
		return err
	}
	if from == to || isDirName(from) || isDirName(to) {
		return of(Invalid)
	}
	src, err := openObject(t, b, from)
	if err != nil {
		return err
	}
	if err := source.read(src.info(from)); err != nil {
		return of(PreconditionFailed)
	}
	dst, err := findObject(t, b, to)
	if err != nil {
		return err
	}
	if err := target.write(&dst); err != nil {
		return err
	}
	if dst.rec != nil && dst.ino == src.ino {
		return t.unmark(b, &src, from)
	}
	e, err := storedEntry(t, src.parent, src.stored)
	if err != nil {
		return err
	}
	dir, stored := splitKey(to)
	parent, rec, err := t.makeDirs(b, dir)
	if err != nil {
		return err
	}
	left, err := getInode(t, src.parent)
	if err != nil {
		return err
	}
	if err := errors.Join(left.permit(actDropEntry), t.permit(src.ino, src.rec, actUnname)); err != nil {
		return err
	}
	into := actAddEntry
	if dst.rec != nil {
		into = actDropEntry
	}
	if err := rec.permit(into); err != nil {
		return err
	}
	away, here := b.slot(from), b.slot(to)
	if dst.rec != nil {
		if err := t.unname(here, dst.ino, dst.rec, parent, stored); err != nil {
			return err
		}
	}
	if err := t.leave(away, src.rec, true); err != nil {
		return err
	}
	if err := t.come(here, src.rec); err != nil {
		return err
	}
	if src.rec.Nlink == 1 && here.state != unversioned {
		if e.Listed, err = shortOf(src.rec); err != nil {
			return err
		}
	}
	if err := t.delDentry(src.parent, src.stored); err != nil {
		return err
	}
	if err := t.putDentry(parent, stored, e.dentryRec); err != nil {
		return err
	}
	if err := t.moveLink(src.ino, src.rec, src.parent, src.stored, parent, stored); err != nil {
		return err
	}
	if err := t.touchDir(parent, rec); err != nil {
		return err
	}
	return t.pruneFrom(b, src.parent)
}

// unmark takes a name from an object that has another, in a versioned bucket by a delete marker.
func (t *txn) unmark(b *bucketDir, o *object, objectKey string) error {
	s := b.slot(objectKey)
	if err := t.unnameObject(b, o, s); err != nil || s.state == unversioned {
		return err
	}
	_, err := t.mark(s, t.fs.number())
	return err
}

// unnameObject takes a name from an object, whose version stays on the key if s keeps it; the zero slot keeps none.
func (t *txn) unnameObject(b *bucketDir, o *object, s slot) error {
	parent, err := getInode(t, o.parent)
	if err != nil {
		return err
	}
	if err := errors.Join(parent.permit(actDropEntry), t.permit(o.ino, o.rec, actUnname)); err != nil {
		return err
	}
	if err := t.delDentry(o.parent, o.stored); err != nil {
		return err
	}
	if err := t.unname(s, o.ino, o.rec, o.parent, o.stored); err != nil {
		return err
	}
	return t.prune(b, o.parent, parent)
}

// pruneFrom is prune for a directory whose record is not at hand.
func (t *txn) pruneFrom(b *bucketDir, dir Ino) error {
	n, err := getInode(t, dir)
	if err != nil {
		return err
	}
	return t.prune(b, dir, n)
}
