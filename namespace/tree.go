package namespace

import (
	"bytes"
	"errors"
	"math"
	"time"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// getInode reads an inode; NotFound if it is gone.
func getInode(r metastore.Reader, ino Ino) (*inodeRec, error) {
	n := new(inodeRec)
	found, err := getRec(r, inodeKey(ino), n)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, of(NotFound)
	}
	n.charged = n.charge()
	return n, nil
}

func (t *txn) putInode(ino Ino, n *inodeRec) error {
	if err := t.recharge(n, false); err != nil {
		return err
	}
	if n.Lock != nil {
		if err := t.fs.shreds.mayLock(tenancy.TenantID(n.Owner)); err != nil {
			return err
		}
		if err := t.raiseFor(ino, n); err != nil {
			return err
		}
	}
	return putRec(t, inodeKey(ino), n)
}

// putDentry makes stored a name in parent, or gives it to another inode, and keeps the alias record. It
// notes which POSIX names change their meaning: a directory "a/" also moves the leaf "a" to its alias.
func (t *txn) putDentry(parent Ino, stored string, d dentryRec) error {
	if alias, needed := recordedAlias(stored); needed {
		if err := t.Set(aliasKey(parent, alias), []byte(stored)); err != nil {
			return err
		}
	}
	if err := t.noteEntry(parent, stored); err != nil {
		return err
	}
	return putRec(t, dentryKey(parent, stored), &d)
}

// delDentry removes the name stored from parent, which must be there.
func (t *txn) delDentry(parent Ino, stored string) error {
	if alias, needed := recordedAlias(stored); needed {
		if err := t.Delete(aliasKey(parent, alias)); err != nil {
			return err
		}
	}
	if err := t.noteEntry(parent, stored); err != nil {
		return err
	}
	t.vacated = dentryKey(parent, stored)
	return t.Delete(t.vacated)
}

// noteEntry notes the POSIX names whose meaning changes with the entry stored.
func (t *txn) noteEntry(parent Ino, stored string) error {
	c := component(stored)
	if t.quiet || !plain(c) {
		t.entryChanged(parent, shown(stored, false))
		return nil
	}
	t.entryChanged(parent, c)
	twin := c // the entry that shares the component
	if !isDirName(stored) {
		twin = c + "/"
	}
	e, err := storedEntry(t, parent, twin)
	if err == nil && e.found() {
		t.entryChanged(parent, shown(c, true))
	}
	return err
}

// touchDir stamps a directory whose entries change, and stores it.
func (t *txn) touchDir(ino Ino, dir *inodeRec) error {
	dir.Mtime, dir.Ctime = t.now, t.now
	t.attrChanged(ino, false)
	return t.putInode(ino, dir)
}

// entryLeft stamps the directory that POSIX took an entry from, and stores it. One that S3 made on the
// way to a key becomes explicit if that was its last entry: else "rm -r" would find it gone.
func (t *txn) entryLeft(ino Ino, dir *inodeRec) error {
	if !dir.Expl {
		empty, err := dirEmpty(t, ino)
		if err != nil {
			return err
		}
		dir.Expl = empty
	}
	return t.touchDir(ino, dir)
}

// dirEmpty reports whether a directory has no entries. Where an update took an entry from it, it looks behind that
// first: who removes all of a directory in order leaves what was removed in front, which is costly to pass.
func dirEmpty(r metastore.Reader, ino Ino) (bool, error) {
	rg := prefixRange(dentryKey(ino, ""), 1)
	if t, ok := r.(*txn); ok && bytes.HasPrefix(t.vacated, rg.From) {
		behind := rg
		behind.From = t.vacated
		if empty, err := emptyRange(r, behind); err != nil || !empty {
			return empty, err
		}
	}
	return emptyRange(r, rg)
}

func emptyRange(r metastore.Reader, rg metastore.Range) (bool, error) {
	rg.KeysOnly = true
	empty := true
	err := r.Scan(rg, func(_, _ []byte) (bool, error) {
		empty = false
		return false, nil
	})
	return empty, err
}

// inode reads an inode that the view may use for a. Another tenant's is NotFound, as if it were not
// there.
func (v *View) inode(r metastore.Reader, ino Ino, a tenancy.Action) (*inodeRec, error) {
	n, err := getInode(r, ino)
	if err != nil {
		return nil, err
	}
	return n, v.allow(r, a, ino, n)
}

// dir is inode for a directory.
func (v *View) dir(r metastore.Reader, ino Ino, a tenancy.Action) (*inodeRec, error) {
	n, err := v.inode(r, ino, a)
	if err == nil && Type(n.Type) != Dir {
		err = of(NotDir)
	}
	return n, err
}

// dirForChange is dir for a change of the directory's entries, which the root has only as buckets.
func (v *View) dirForChange(r metastore.Reader, ino Ino, a tenancy.Action) (*inodeRec, error) {
	if ino == RootIno {
		return nil, of(NotPermitted)
	}
	return v.dir(r, ino, a)
}

// allow asks the policy whether the view may do a to the inode.
func (v *View) allow(r metastore.Reader, a tenancy.Action, ino Ino, n *inodeRec) error {
	if ino == RootIno {
		return v.fs.auth.Allow(v.who, tenancy.ListAllBuckets, tenancy.Resource{})
	}
	res := tenancy.Resource{Owner: tenancy.TenantID(n.Owner)}
	if res.Owner != v.who.Tenant {
		return of(NotFound)
	}
	s, err := v.fs.settingsOf(r, Ino(n.Bucket))
	if err != nil {
		return err
	}
	if len(s[tenancy.SettingPolicy]) > 0 {
		return v.allowRules(r, a, n, s)
	}
	res.Find = func() (string, string, error) { return keyOf(r, n) } // where no policy asks for it the walk is spared
	return v.fs.auth.Allow(v.who, a, res)
}

// keyOf is the bucket and one of the keys of an inode; both are empty for the root, the key for an inode
// without a name.
func keyOf(r metastore.Reader, n *inodeRec) (bucket, objectKey string, err error) {
	if n.hung() {
		b, err := getInode(r, Ino(n.Bucket))
		if err != nil {
			return "", "", err
		}
		return component(b.Name), n.Key, nil
	}
	if n.Nlink == 0 {
		return "", "", nil
	}
	for n.Parent != 0 {
		if Ino(n.Parent) == RootIno {
			return component(n.Name), objectKey, nil
		}
		objectKey = n.Name + objectKey
		if n, err = getInode(r, Ino(n.Parent)); err != nil {
			return "", "", err
		}
	}
	return "", "", nil
}

// inSubtree reports whether ino is top or lies below it.
func inSubtree(r metastore.Reader, ino, top Ino) (bool, error) {
	for ino != top {
		if ino == RootIno || ino == 0 {
			return false, nil
		}
		n, err := getInode(r, ino)
		if err != nil {
			return false, err
		}
		ino = Ino(n.Parent)
	}
	return true, nil
}

// attr is what the inode's record says, without a draft in memory.
func (n *inodeRec) attr(ino Ino) Attr {
	a := Attr{
		Ino: ino, Type: Type(n.Type), Mode: n.Mode, UID: n.UID, GID: n.GID, Nlink: n.Nlink, Rdev: n.Rdev,
		Flags: Flags(n.Flags), Size: n.Size, Atime: stamp(n.Atime), Mtime: stamp(n.Mtime), Ctime: stamp(n.Ctime), Btime: stamp(n.Btime),
	}
	if a.Type == Symlink {
		a.Size = int64(len(n.Target))
	}
	if a.Type == Dir || n.Nlink > 0 {
		a.Parent = Ino(n.Parent)
	}
	if c := n.content(); c != nil {
		a.Blocks = blocks(c.Used)
	}
	return a
}

// blocks is what st_blocks shows of that many bytes.
func blocks(used int64) int64 { return (used + 511) / 512 }

func stamp(ns int64) time.Time { return time.Unix(0, ns) }

// The times that a record can hold: the years 1677 to 2262.
var earliest, latest = stamp(math.MinInt64), stamp(math.MaxInt64)

// nanos is t as records hold it. As on other file systems, what is beyond their range is its end.
func nanos(t time.Time) int64 {
	switch {
	case t.Before(earliest):
		return math.MinInt64
	case t.After(latest):
		return math.MaxInt64
	}
	return t.UnixNano()
}

// isKind reports whether err is an Error of a kind.
func isKind(err error, k Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == k
}
