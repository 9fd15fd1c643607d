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
		t.frees = true
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
		return t.detach(b, &o, prefix)
	})
	return fail("remove tree", prefix, err)
}

// detach takes its name from a directory, whose tree the reaper will remove.
func (t *txn) detach(b *bucketDir, o *object, prefix string) error {
	if err := t.permitTree(o.ino, o.rec); err != nil {
		return err
	}
	if err := t.delDentry(o.parent, o.stored); err != nil {
		return err
	}
	if err := t.moveTree(o.ino, o.rec, prefix, "", -1); err != nil {
		return err
	}
	o.rec.Parent, o.rec.Name, o.rec.Expl, o.rec.Ctime = 0, "", true, t.now
	o.rec.Nlink-- // its name's; its own and its subdirectories' stay
	t.attrChanged(o.ino, false)
	t.dropped = true
	tree := treeRec{Ino: uint64(o.ino)}
	if versioningOf(b.settings) != unversioned {
		tree.Key, tree.Seq = prefix, t.fs.number()
	}
	if err := putRec(t, treeKey(t.fs.number()), &tree); err != nil {
		return err
	}
	if err := t.putInode(o.ino, o.rec); err != nil {
		return err
	}
	parent, err := getInode(t, o.parent)
	if err != nil {
		return err
	}
	parent.Nlink--
	return t.prune(b, o.parent, parent)
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
			more, t.frees = false, true
			var k []byte
			c := clearing{txn: t}
			err := t.Scan(prefixRange([]byte(kTree), 1), func(found, value []byte) (bool, error) {
				k = append(k, found...)
				_, err := c.tree.UnmarshalMsg(value)
				return false, err
			})
			if err != nil || k == nil {
				return err
			}
			more = true
			ino := Ino(c.tree.Ino)
			n, err := getInode(t, ino)
			if err != nil {
				return err
			}
			if err := c.begin(n); err != nil {
				return err
			}
			left, err := c.dir(ino, c.tree.Key, treeBatch)
			if err != nil || left == 0 {
				return err
			}
			if n, err = getInode(t, ino); err != nil {
				return err
			}
			if err := c.leaveDir(c.tree.Key, n); err != nil {
				return err
			}
			if err := t.eraseInode(ino, n); err != nil {
				return err
			}
			return t.Delete(k)
		})
		if err != nil || !more {
			return err
		}
	}
}

// clearing removes what is in a detached tree. In a versioned bucket versions stay on the keys that they had,
// below delete markers with the number of the moment when the tree was detached: a key may have been
// written anew since.
type clearing struct {
	*txn
	tree  treeRec
	state versioning
	temp  exclude
}

func (c *clearing) begin(n *inodeRec) error {
	s, err := c.fs.settingsOf(c, Ino(n.Bucket))
	if c.tree.Key != "" {
		c.state, c.temp = versioningOf(s), excludedBy(s)
	}
	return err
}

// slot is that of a key in the tree of the node n.
func (c *clearing) slot(objectKey string, n *inodeRec) slot {
	if len(objectKey) > maxKey {
		return slot{}
	}
	return slot{bucket: Ino(n.Bucket), key: objectKey, state: c.state, temp: c.temp.match(objectKey)}
}

// dir removes up to n entries below a directory with that key, deepest first, and returns how many of n are
// left: 0 means that there may be more.
func (c *clearing) dir(ino Ino, base string, n int) (left int, err error) {
	dir, err := getInode(c, ino)
	if err != nil {
		return 0, err
	}
	entries, err := readEntries(c, ino, n)
	if err != nil || len(entries) == 0 {
		return n, err
	}
	for _, e := range entries {
		if n == 0 {
			break
		}
		if isDirName(e.stored) {
			if n, err = c.dir(Ino(e.Ino), base+e.stored, n); err != nil || n == 0 {
				return 0, err
			}
		}
		rec, err := getInode(c, Ino(e.Ino))
		if err != nil {
			return 0, err
		}
		if err := c.entry(ino, dir, e, rec, base+e.stored); err != nil {
			return 0, err
		}
		n--
	}
	return n, c.touchDir(ino, dir)
}

// entry removes one entry. Flags that came since the tree lost its name came too late.
func (c *clearing) entry(parent Ino, dir *inodeRec, e entry, rec *inodeRec, objectKey string) error {
	if isDirName(e.stored) {
		rec.Flags = 0
		if err := c.leaveDir(objectKey, rec); err != nil {
			return err
		}
		return c.removeDir(parent, dir, e, rec)
	}
	if err := c.delDentry(parent, e.stored); err != nil {
		return err
	}
	s := c.slot(objectKey, rec)
	marks := s.marks(rec)
	leave := c.takeLink
	if s.keeps(rec) {
		leave = func(ino Ino, n *inodeRec, parent Ino, stored string) error {
			return c.retire(s, ino, n, parent, stored)
		}
	}
	if err := leave(Ino(e.Ino), rec, parent, e.stored); err != nil || !marks {
		return err
	}
	return c.mark(s)
}

// leaveDir takes its own object from a directory.
func (c *clearing) leaveDir(objectKey string, n *inodeRec) error {
	if n.Published == nil {
		return nil
	}
	s := c.slot(objectKey, n)
	marks := s.marks(n)
	if err := c.hangDir(s, n, false); err != nil || !marks {
		return err
	}
	return c.mark(s)
}

// mark puts the delete marker of the tree's removal. A null marker gives way to what is null there since.
func (c *clearing) mark(s slot) error {
	if s.state == suspended {
		if seq, found, err := nullSeq(c, s); err != nil || found && seq > c.tree.Seq {
			return err
		}
	}
	_, err := c.txn.mark(s, c.tree.Seq)
	return err
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
