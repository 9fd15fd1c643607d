package namespace

import (
	"context"
	"errors"
	"time"

	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
	"k3fs/tenancy"
)

// maxDelete is how many keys DeleteObjects takes.
const maxDelete = 1000

// DeleteObject implements Objects. Directories that S3 made on the way to an object go with their last entry.
func (v *View) DeleteObject(ctx context.Context, bucket, objectKey string, o DeleteOptions) (done Deleted, err error) {
	err = v.update(ctx, metastore.DurableReclaim, func(t *txn) error {
		t.frees = true
		b, err := v.findBucket(t, bucket)
		if err == nil {
			done, err = v.deleteKey(t, b, objectKey, &o)
		}
		return err
	})
	return done, fail("delete", objectKey, err)
}

// DeleteObjects removes up to 1,000 objects in as few updates as hold them.
func (v *View) DeleteObjects(ctx context.Context, bucket string, keys []Deletion) (done []Deleted, err error) {
	if len(keys) > maxDelete {
		return nil, fail("delete", bucket, of(Invalid))
	}
	done = make([]Deleted, len(keys))
	return done, fail("delete", bucket, v.deleteKeys(ctx, bucket, keys, done))
}

func (v *View) deleteKeys(ctx context.Context, bucket string, keys []Deletion, done []Deleted) error {
	err := v.update(ctx, metastore.DurableReclaim, func(t *txn) error {
		t.frees = true
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
			if done[i], err = v.deleteKey(t, b, k.Key, &k.DeleteOptions); err != nil {
				if errors.Is(err, metastore.ErrTooBig) || !keyError(err) {
					return err
				}
				done[i].Err = fail("delete", k.Key, err)
			}
		}
		return nil
	})
	if errors.Is(err, metastore.ErrTooBig) && len(keys) > 1 {
		half := len(keys) / 2
		if err := v.deleteKeys(ctx, bucket, keys[:half], done[:half]); err != nil {
			return err
		}
		return v.deleteKeys(ctx, bucket, keys[half:], done[half:])
	}
	return err
}

// keyError reports whether err is about one key, found before anything was written for it.
func keyError(err error) bool {
	return errors.Is(err, tenancy.ErrDenied) || isKind(err, InvalidName) || isKind(err, NameTooLong) || isKind(err, NotPermitted) ||
		isKind(err, PreconditionFailed) || isKind(err, BadVersion) || isKind(err, Exists)
}

// deleteKey removes an object, or a version, within an update.
func (v *View) deleteKey(t *txn, b *bucketDir, objectKey string, opts *DeleteOptions) (done Deleted, err error) {
	res := b.versionResource(t, objectKey, opts.Version)
	if err := v.fs.auth.Allow(v.who, versionAction(tenancy.DeleteObject, opts.Version), res); err != nil {
		return done, err
	}
	if err := checkKey(objectKey); err != nil {
		return done, err
	}
	if opts.Version != "" {
		t.bypass = opts.Bypass && v.mayBypass(t, b, objectKey, opts.Version)
		defer func() { t.bypass = false }()
		done, err = t.deleteVersion(b, objectKey, opts)
		if err == nil && t.bypass && done.Found && !done.Marker {
			err = t.recordFor(b.owner(), v, audit.Event{Event: "version.bypass", Bucket: b.name, Key: objectKey, Version: opts.Version})
		}
		return done, err
	}
	o, err := findObject(t, b, objectKey)
	if err != nil {
		return done, err
	}
	// If-Match asks that there is an object; S3's other conditions are true of one that is gone already.
	if !o.visible() && len(opts.IfMatch) > 0 {
		return done, of(PreconditionFailed)
	}
	s := b.slot(objectKey)
	if done.Found = o.visible(); done.Found {
		if err := opts.remove(&o); err != nil {
			return done, err
		}
		if Type(o.rec.Type) == Dir {
			err = t.deleteDir(b, &o, s)
		} else {
			err = t.unnameObject(b, &o, s)
		}
	}
	if err != nil || s.state == unversioned {
		return done, err
	}
	done.Marker = true
	done.Version, err = t.mark(s, t.fs.number())
	return done, err
}

// deleteVersion removes a version, or a delete marker, for good. It is no error if there is none.
func (t *txn) deleteVersion(b *bucketDir, objectKey string, opts *DeleteOptions) (done Deleted, err error) {
	s := b.slot(objectKey)
	done.Version = opts.Version
	o, hung, err := findVersion(t, b, objectKey, opts.Version)
	switch {
	case isKind(err, NoVersion):
		return done, nil
	case err != nil:
		return done, err
	}
	done.Found, done.Marker = true, hung != nil && hung.marker()
	if !done.Marker {
		if err := opts.remove(&o); err != nil {
			return done, err
		}
	}
	if hung == nil {
		return done, t.dropCurrent(b, &o, objectKey)
	}
	top, err := newest(t, s)
	if err != nil {
		return done, err
	}
	if err := t.dropHung(s, hung.seq); err != nil || !done.Marker || top.seq != hung.seq {
		return done, err
	}
	return done, t.restore(b, objectKey)
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

// deleteDir takes its own object away from a directory, which goes if nothing is in it. The version stays on the
// key if s keeps it; the zero slot keeps none.
func (t *txn) deleteDir(b *bucketDir, o *object, s slot) error {
	n := o.rec
	if err := t.permit(o.ino, n, actUnname); err != nil {
		return err
	}
	if err := t.hangDir(s, n, false); err != nil {
		return err
	}
	n.Expl = false
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
