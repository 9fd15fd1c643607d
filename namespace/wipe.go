package namespace

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
	"k3fs/tenancy"
)

// treeBatch is how many entries of an erased tenant's trees go in one update.
const treeBatch = 200

// wipeAll removes what erased tenants had.
func (fs *FS) wipeAll(ctx context.Context) error {
	var failed error
	fs.shreds.gone.Range(func(tenant, _ any) bool {
		failed = errors.Join(failed, fs.wipe(ctx, tenant.(tenancy.TenantID)))
		return ctx.Err() == nil
	})
	return failed
}

// wipe removes the buckets of an erased tenant, slice by slice, and its holds. What is left after a crash is done by
// the next start.
func (fs *FS) wipe(ctx context.Context, tenant tenancy.TenantID) error {
	for more := true; more; {
		err := fs.update(ctx, metastore.Reclaim, nil, func(t *txn) (err error) {
			var rec erasedRec
			found, err := getJSON(t, erasedKey(tenant), &rec)
			if more = err == nil && found && !rec.Wiped; !more {
				return err
			}
			b, err := t.bucketOf(tenant)
			if err != nil {
				return err
			}
			if b != nil {
				return t.wipeBucket(b)
			}
			if err := t.dropAllHolds(tenant); err != nil {
				return err
			}
			rec.Wiped = true
			if err := putJSON(t, erasedKey(tenant), &rec); err != nil {
				return err
			}
			return t.recordOf(tenant, audit.Event{Event: "tenant.wiped", Detail: "what the erased tenant had is removed"})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// bucketOf is one of the buckets of a tenant; nil if it has none.
func (t *txn) bucketOf(tenant tenancy.TenantID) (found *bucketDir, err error) {
	prefix := dentryKey(RootIno, "")
	err = t.Scan(prefixRange(prefix, 64), func(k, value []byte) (bool, error) {
		var d dentryRec
		if _, err := d.UnmarshalMsg(value); err != nil {
			return false, err
		}
		n, err := getInode(t, Ino(d.Ino))
		if err != nil || tenancy.TenantID(n.Owner) != tenant {
			return true, err
		}
		found = &bucketDir{name: strings.TrimSuffix(string(k[len(prefix):]), "/"), ino: Ino(d.Ino), rec: n}
		return false, nil
	})
	return found, err
}

// wipeBucket removes some of what is in a bucket, and when nothing is, the bucket.
func (t *txn) wipeBucket(b *bucketDir) error {
	var hung []hanging
	var keys []string
	err := eachHanging(t, b.ino, key(kVersion, uint64(b.ino)), treeBatch, func(objectKey string, h *hanging) ([]byte, bool, error) {
		hung, keys = append(hung, *h), append(keys, objectKey)
		return nil, len(hung) < treeBatch, nil
	})
	for i := range hung {
		if err == nil {
			err = t.dropHung(slot{bucket: b.ino, key: keys[i]}, hung[i].seq)
		}
	}
	if err != nil || len(hung) > 0 {
		return err
	}
	if n, err := t.abortUploads(b.ino, sweepBatch); err != nil || n > 0 {
		t.dropped = true
		return err
	}
	if left, err := t.wipeDir(b.ino, treeBatch); err != nil || left < treeBatch {
		return err
	}
	b.rec.Flags = 0
	return t.removeBucket(b)
}

// dropAllHolds removes the holds of an erased tenant.
func (t *txn) dropAllHolds(tenant tenancy.TenantID) error {
	all, err := scanHolds(t, tenant)
	for _, h := range all {
		err = errors.Join(err, t.Delete(holdKey(tenant, h.ID)))
	}
	return errors.Join(err, t.Delete(erasureKey(tenant)))
}

// wipeDir removes up to n entries below a directory of an erased tenant, deepest first, and returns how many of n
// are left: 0 means that there may be more. Neither flags nor versions keep anything.
func (t *txn) wipeDir(ino Ino, n int) (left int, err error) {
	dir, err := getInode(t, ino)
	if err != nil {
		return 0, err
	}
	entries, err := readEntries(t, ino, n)
	if err != nil || len(entries) == 0 {
		return n, err
	}
	for _, e := range entries {
		if n == 0 {
			break
		}
		if isDirName(e.stored) {
			if n, err = t.wipeDir(Ino(e.Ino), n); err != nil || n == 0 {
				return 0, err
			}
		}
		if err := t.wipeEntry(ino, dir, e); err != nil {
			return 0, err
		}
		n--
	}
	return n, t.touchDir(ino, dir)
}

// wipeEntry removes an entry of parent: a file, or a directory that is empty.
func (t *txn) wipeEntry(parent Ino, dir *inodeRec, e entry) error {
	n, err := getInode(t, Ino(e.Ino))
	if err != nil {
		return err
	}
	if !isDirName(e.stored) {
		if err := t.delDentry(parent, e.stored); err != nil {
			return err
		}
		return t.takeLink(Ino(e.Ino), n, parent, e.stored)
	}
	n.Flags = 0
	if n.Published != nil {
		if err := t.hangDir(slot{}, n, false); err != nil {
			return err
		}
	}
	return t.removeDir(parent, dir, e, n)
}

// readEntries returns the first entries of a directory.
func readEntries(r metastore.Reader, ino Ino, limit int) (entries []entry, err error) {
	prefix := dentryKey(ino, "")
	err = r.Scan(prefixRange(prefix, min(limit, 1024)), func(k, value []byte) (bool, error) {
		e := entry{stored: strings.Clone(string(k[len(prefix):]))}
		if _, err := e.UnmarshalMsg(value); err != nil {
			return false, fmt.Errorf("%w: directory entry: %w", metastore.ErrCorrupt, err)
		}
		entries = append(entries, e)
		return len(entries) < limit, nil
	})
	return entries, err
}
