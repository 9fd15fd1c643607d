package namespace

import (
	"time"

	"k3fs/metastore"
)

// Directories know an upper bound of how long a current version below them is locked, so that the rename of one,
// which would change the keys of what is in it, asks nobody once that has passed. It is raised along the ancestors
// whenever a locked inode with a name is stored, rounded up to the hour so that it seldom changes, and lowered by
// a search that finds nothing locked. A directory without such a record has nothing locked below it.
// With the bound they remember whose lock raised it, its witness: as long as that is there, and locked, the rename
// is refused without a search.

const boundStep = int64(time.Hour)

func lockedToKey(dir Ino) []byte { return key(kLockedTo, uint64(dir)) }

// lockedTo is until when something below a directory may be locked; 0: nothing is.
func lockedTo(r metastore.Reader, dir Ino) (int64, error) {
	rec, err := boundOf(r, dir)
	return rec.Until, err
}

// boundOf is what a directory knows of locks below it; zero if nothing.
func boundOf(r metastore.Reader, dir Ino) (rec lockedToRec, err error) {
	_, err = getRec(r, lockedToKey(dir), &rec)
	return rec, err
}

func (t *txn) forgetLockedTo(dir Ino) error {
	until, err := lockedTo(t, dir)
	if err != nil || until == 0 {
		return err
	}
	return t.Delete(lockedToKey(dir))
}

// bound is how long the lock may be in force if nobody lengthens it.
func (l *lockRec) bound() int64 {
	switch {
	case l.LegalHold:
		return forever
	case LockMode(l.Mode) == NoRetention:
		return 0
	case l.Until > forever-boundStep:
		return forever
	}
	return (l.Until + boundStep - 1) / boundStep * boundStep
}

// raise notes that something below a directory is locked until a time.
func (t *txn) raise(dir Ino, bound lockedToRec) error {
	for dir != 0 && dir != RootIno && bound.Until > 0 {
		was, err := lockedTo(t, dir)
		if err != nil || was >= bound.Until {
			return err
		}
		if err := putRec(t, lockedToKey(dir), &bound); err != nil {
			return err
		}
		n, err := getInode(t, dir)
		if err != nil {
			return err
		}
		dir = Ino(n.Parent)
	}
	return nil
}

// raiseFor is raise for an inode that is about to be stored.
func (t *txn) raiseFor(ino Ino, n *inodeRec) error {
	if n.Nlink == 0 {
		return nil
	}
	bound := lockedToRec{Until: n.Lock.bound(), Witness: uint64(ino)}
	if n.Nlink > 1 && Type(n.Type) != Dir {
		var parents []Ino
		prefix := key(kLink, uint64(ino))
		err := t.Scan(prefixRange(prefix, 8), func(k, _ []byte) (bool, error) {
			parent, _ := decodeLink(k[len(prefix):])
			parents = append(parents, Ino(parent))
			return true, nil
		})
		for _, parent := range parents {
			if err == nil {
				err = t.raise(parent, bound)
			}
		}
		return err
	}
	return t.raise(Ino(n.Parent), bound)
}

// lockedBelow refuses to change the keys of what is below a directory if a current version there is locked.
func (t *txn) lockedBelow(dir Ino) error {
	now := t.fs.trusted()
	bound, err := boundOf(t, dir)
	if err != nil || bound.Until <= now {
		return err
	}
	if err := t.testify(Ino(bound.Witness), dir, now); err != nil {
		return err
	}
	searched := []Ino{dir}
	s := search{t: t, left: maxSearch, enter: func(ino Ino) (bool, error) {
		until, err := lockedTo(t, ino)
		if until > now {
			searched = append(searched, ino)
		}
		return until > now, err
	}}
	why := ""
	found, err := s.below(dir, "", func(_ string, n *inodeRec) bool {
		why = n.pinned(now)
		return why != ""
	}, func(string) bool { return true })
	switch {
	case err != nil:
		return err
	case found != "":
		return &Error{Kind: NotPermitted, Err: &Refusal{Key: found, Why: why}}
	}
	// The clock must not show an earlier time, after a crash, at which something was locked. None below may claim more
	// than those above it: raise would stop there.
	if err := putRec(t, key(kClock), &clockRec{State: t.fs.clock.Encode()}); err != nil {
		return err
	}
	for _, dir := range searched {
		if err := t.Delete(lockedToKey(dir)); err != nil {
			return err
		}
	}
	return nil
}

// pinned says why the lock that a version has itself refuses to change its key; empty if it does not.
func (n *inodeRec) pinned(now int64) string {
	p := protection{}
	if n.Lock != nil {
		p.lock = *n.Lock
	}
	return p.refuses(actRekey, now, false)
}

// testify refuses to change keys below a directory if the witness is still there and locked. What became of it
// otherwise, the search finds out.
func (t *txn) testify(witness, dir Ino, now int64) error {
	if witness == 0 {
		return nil
	}
	n, err := getInode(t, witness)
	if isKind(err, NotFound) {
		return nil
	}
	if err != nil || n.Nlink == 0 || n.Nlink > 1 && Type(n.Type) != Dir { // which of its names, its record does not tell
		return err
	}
	why := n.pinned(now)
	if why == "" {
		return nil
	}
	inside, err := inSubtree(t, Ino(n.Parent), dir)
	if err != nil || !inside {
		return err
	}
	return t.fs.refuse(t, witness, n, why)
}
