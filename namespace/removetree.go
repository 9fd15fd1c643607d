package namespace

import (
	"context"
	"fmt"
	"math"
	"strings"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// treeBatch is how many entries of a detached tree go in one update.
const treeBatch = 200

// RemoveTree removes a directory of a bucket and all that is in it; prefix is its key, with the '/'. The
// directory loses its name at once, durably; the reaper removes what was in it, in slices, across
// restarts. NotFound: there is no such directory.
func (v *View) RemoveTree(ctx context.Context, bucket, prefix string) error {
	err := v.update(ctx, metastore.DurableReclaim, func(t *txn) error {
		b, err := v.openBucket(t, bucket, tenancy.DeleteObject, prefix)
		if err != nil {
			return err
		}
		if err := checkKey(prefix); err != nil {
			return err
		}
		if !isDirName(prefix) {
			return of(NotDir)
		}
		o, err := findObject(t, b, prefix)
		if err != nil {
			return err
		}
		if o.rec == nil {
			return of(NotFound)
		}
		return t.detach(b, &o)
	})
	return fail("remove tree", prefix, err)
}

// detach takes its name from a directory, whose tree the reaper will remove.
func (t *txn) detach(b *bucketDir, o *object) error {
	if err := t.permitTree(o.ino, o.rec); err != nil {
		return err
	}
	if err := t.delDentry(o.parent, o.stored); err != nil {
		return err
	}
	parent, err := getInode(t, o.parent)
	if err != nil {
		return err
	}
	parent.Nlink--
	if err := t.prune(b, o.parent, parent); err != nil {
		return err
	}
	o.rec.Parent, o.rec.Name, o.rec.Expl, o.rec.Ctime = 0, "", true, t.now
	o.rec.Nlink-- // its name's; its own and its subdirectories' stay
	t.attrChanged(o.ino, false)
	t.dropped = true
	if err := putRec(t, treeKey(t.fs.number()), &treeRec{Ino: uint64(o.ino)}); err != nil {
		return err
	}
	return t.putInode(o.ino, o.rec)
}

// permitTree asks whether a directory and all that is in it may go.
func (t *txn) permitTree(ino Ino, n *inodeRec) error {
	if err := t.permit(ino, n, actUnname); err != nil {
		return err
	}
	if Type(n.Type) != Dir {
		return nil
	}
	entries, err := readEntries(t, ino, math.MaxInt)
	if err != nil {
		return err
	}
	if len(entries) > 0 && !permits(Flags(n.Flags), actDropEntry) {
		return of(NotPermitted)
	}
	for _, e := range entries {
		child, err := getInode(t, Ino(e.Ino))
		if err != nil {
			return err
		}
		if err := t.permitTree(Ino(e.Ino), child); err != nil {
			return err
		}
	}
	return nil
}

// reapTrees removes what is in detached trees, and then the trees.
func (fs *FS) reapTrees(ctx context.Context) error {
	for {
		more := false
		err := fs.update(ctx, metastore.Reclaim, nil, func(t *txn) error {
			more = false
			var k []byte
			var tree treeRec
			err := t.Scan(prefixRange([]byte(kTree), 1), func(found, value []byte) (bool, error) {
				k = append(k, found...)
				_, err := tree.UnmarshalMsg(value)
				return false, err
			})
			if err != nil || k == nil {
				return err
			}
			more = true
			left, err := t.clearDir(Ino(tree.Ino), treeBatch)
			if err != nil || left == 0 {
				return err
			}
			n, err := getInode(t, Ino(tree.Ino))
			if err != nil {
				return err
			}
			if err := t.eraseInode(Ino(tree.Ino), n); err != nil {
				return err
			}
			return t.Delete(k)
		})
		if err != nil || !more {
			return err
		}
	}
}

// clearDir removes up to n entries below a directory, deepest first, and returns how many of n are left:
// 0 means that there may be more.
func (t *txn) clearDir(ino Ino, n int) (left int, err error) {
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
		rec, err := getInode(t, Ino(e.Ino))
		if err != nil {
			return 0, err
		}
		// Flags that came since the tree lost its name came too late.
		if isDirName(e.stored) {
			if n, err = t.clearDir(Ino(e.Ino), n); err != nil || n == 0 {
				return 0, err
			}
			if rec, err = getInode(t, Ino(e.Ino)); err != nil {
				return 0, err
			}
			rec.Flags = 0
			err = t.removeDir(ino, dir, e, rec)
		} else if err = t.delDentry(ino, e.stored); err == nil {
			err = t.takeLink(Ino(e.Ino), rec, ino, e.stored)
		}
		if err != nil {
			return 0, err
		}
		n--
	}
	return n, t.touchDir(ino, dir)
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
