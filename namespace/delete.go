package namespace

import (
	"context"
	"errors"
	"time"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// maxDelete is how many keys DeleteObjects takes.
const maxDelete = 1000

// DeleteObject removes an object. Directories that S3 made on the way to it go with their last entry.
func (v *View) DeleteObject(ctx context.Context, bucket, objectKey string, c Conditions) (found bool, err error) {
	err = v.update(ctx, metastore.DurableReclaim, func(t *txn) error {
		b, err := v.findBucket(t, bucket)
		if err == nil {
			found, err = v.deleteKey(t, b, objectKey, &c)
		}
		return err
	})
	return found, fail("delete", objectKey, err)
}

// DeleteObjects removes up to 1,000 objects in as few updates as hold them.
func (v *View) DeleteObjects(ctx context.Context, bucket string, keys []Deletion) (errs []error, err error) {
	if len(keys) > maxDelete {
		return nil, fail("delete", bucket, of(Invalid))
	}
	errs = make([]error, len(keys))
	return errs, fail("delete", bucket, v.deleteKeys(ctx, bucket, keys, errs))
}

func (v *View) deleteKeys(ctx context.Context, bucket string, keys []Deletion, errs []error) error {
	err := v.update(ctx, metastore.DurableReclaim, func(t *txn) error {
		b, err := v.findBucket(t, bucket)
		if err != nil {
			return err
		}
		for i, k := range keys {
			if i > 0 { // the delete before may have changed the record
				if b.rec, err = getInode(t, b.ino); err != nil {
					return err
				}
			}
			errs[i] = nil
			if _, err := v.deleteKey(t, b, k.Key, &k.Conditions); err != nil {
				if errors.Is(err, metastore.ErrTooBig) || !keyError(err) {
					return err
				}
				errs[i] = fail("delete", k.Key, err)
			}
		}
		return nil
	})
	if errors.Is(err, metastore.ErrTooBig) && len(keys) > 1 {
		half := len(keys) / 2
		if err := v.deleteKeys(ctx, bucket, keys[:half], errs[:half]); err != nil {
			return err
		}
		return v.deleteKeys(ctx, bucket, keys[half:], errs[half:])
	}
	return err
}

// keyError reports whether err is about one key, found before anything was written for it.
func keyError(err error) bool {
	return errors.Is(err, tenancy.ErrDenied) || isKind(err, InvalidName) || isKind(err, NameTooLong) || isKind(err, NotPermitted) ||
		isKind(err, PreconditionFailed)
}

// deleteKey removes an object within an update; found is false if there was none.
func (v *View) deleteKey(t *txn, b *bucketDir, objectKey string, c *Conditions) (found bool, err error) {
	if err := v.allowKey(t, b, tenancy.DeleteObject, objectKey); err != nil {
		return false, err
	}
	if err := checkKey(objectKey); err != nil {
		return false, err
	}
	o, err := findObject(t, b, objectKey)
	if err != nil {
		return false, err
	}
	if !o.visible() {
		// If-Match asks that there is an object; S3's other conditions are true of one that is gone already.
		if len(c.IfMatch) > 0 {
			return false, of(PreconditionFailed)
		}
		return false, nil
	}
	if err := c.remove(&o); err != nil {
		return true, err
	}
	if Type(o.rec.Type) == Dir {
		return true, t.deleteDir(b, &o)
	}
	return true, t.unnameObject(b, &o)
}

// remove decides the conditions of a delete.
func (c *Conditions) remove(o *object) error {
	i := o.info("")
	if !c.LastModified.IsZero() && !i.LastModified.Truncate(time.Second).Equal(c.LastModified.Truncate(time.Second)) ||
		c.Size != nil && *c.Size != i.Size {
		return of(PreconditionFailed)
	}
	return c.write(o)
}

// deleteDir takes its own object away from a directory, which goes if nothing is in it.
func (t *txn) deleteDir(b *bucketDir, o *object) error {
	n := o.rec
	if err := t.permit(o.ino, n, actUnname); err != nil {
		return err
	}
	if err := t.fs.dropContent(t, b.domain(), n.Published); err != nil {
		return err
	}
	n.Expl, n.Published, n.Object = false, nil, nil
	empty, err := dirEmpty(t, o.ino)
	if err != nil {
		return err
	}
	if !empty {
		n.Ctime = t.now
		t.attrChanged(o.ino, false)
		return t.putInode(o.ino, n)
	}
	return t.prune(b, o.ino, n)
}

// prune stamps a directory that S3 took an entry from; if that leaves one that S3 made empty, it goes,
// and so on upwards, but for one that flags keep.
func (t *txn) prune(b *bucketDir, ino Ino, n *inodeRec) error {
	for ino != b.ino && !n.Expl {
		empty, err := dirEmpty(t, ino)
		if err != nil {
			return err
		}
		if !empty {
			break
		}
		parent := Ino(n.Parent)
		p, err := getInode(t, parent)
		if err != nil {
			return err
		}
		if n.permit(actUnname) != nil || p.permit(actDropEntry) != nil {
			n.Expl = true // it has to stay, and is then seen
			break
		}
		e := entry{stored: n.Name, dentryRec: dentryRec{Ino: uint64(ino), Type: n.Type}}
		if err := t.removeDir(parent, p, e, n); err != nil {
			return err
		}
		t.attrChanged(ino, false)
		ino, n = parent, p
	}
	return t.touchDir(ino, n)
}
