package namespace

import (
	"errors"
	"math"
	"slices"

	"k3fs/metastore"
)

// maxSlots bounds the keys on which one inode's versions hang, so that an update can hold them: of a file with
// more names the others have no history.
const maxSlots = 100

// unname takes a name, which its directory no longer has, away from a file. In a versioned bucket the version
// that it was stays, on the key.
func (t *txn) unname(s slot, ino Ino, n *inodeRec, parent Ino, stored string) error {
	if !s.keeps(n) {
		return t.dropLink(ino, n, parent, stored)
	}
	if err := t.permit(ino, n, actUnname); err != nil {
		return err
	}
	return t.retire(s, ino, n, parent, stored)
}

// retire is unname for a version that s keeps, without asking.
func (t *txn) retire(s slot, ino Ino, n *inodeRec, parent Ino, stored string) error {
	n.Ctime = t.now
	if n.Nlink == 1 {
		return t.hang(s, ino, n)
	}
	c, err := t.shareContent(n.Published)
	if err != nil {
		return err
	}
	if err := t.hangCopy(s, n, c); err != nil {
		return err
	}
	t.attrChanged(ino, false)
	return t.dropExtraLink(ino, n, parent, stored)
}

// remove is unname for an entry that the mount removes: it leaves a delete marker.
func (t *txn) remove(s slot, ino Ino, n *inodeRec, parent Ino, stored string) error {
	marks := s.marks(n)
	if err := t.unname(s, ino, n, parent, stored); err != nil || !marks {
		return err
	}
	_, err := t.mark(s, t.fs.number())
	return err
}

// supersede makes c what S3 reads of a file. What it read before hangs on the file's keys if the bucket is
// versioned, unless that is interim, a version made by the write session that goes on.
func (t *txn) supersede(ino Ino, n *inodeRec, c *contentRec, interim string) error {
	old := n.Published
	slots, err := t.slotsOf(ino, n)
	if err != nil {
		return err
	}
	var keep []slot
	if interim == "" || n.Version != interim || t.fs.unlocked(t, ino, n, actErase, false) != nil {
		for _, s := range slots {
			if s.keeps(n) {
				keep = append(keep, s)
			}
		}
		if len(keep) == 0 && len(slots) > 0 && old != nil && n.Version != "" { // all its names are temporary
			keep = slots[:1]
		}
	}
	if len(keep) == 0 {
		if err := t.fs.dropContent(t, n.domain(), old); err != nil {
			return err
		}
	}
	for i, s := range keep {
		one := old
		if i < len(keep)-1 {
			if one, err = t.shareContent(old); err != nil {
				return err
			}
		}
		if err := t.hangCopy(s, n, one); err != nil {
			return err
		}
	}
	n.Published = c
	return t.newVersions(slots, n)
}

// newVersions makes what n publishes a new version of all its keys.
func (t *txn) newVersions(slots []slot, n *inodeRec) error {
	if len(slots) == 0 {
		return nil
	}
	as := slots[0]
	for _, s := range slots {
		if as.temp {
			as = s
		}
	}
	for _, s := range slots {
		settle := t.dropNull
		switch {
		case as.state == enabled && !as.temp: // it is not null
			continue
		case s.temp:
			settle = t.nameNull
		}
		if err := settle(s); err != nil {
			return err
		}
	}
	return t.newVersion(as, n)
}

// slotsOf are the keys of a file; none if its bucket is not versioned.
func (t *txn) slotsOf(ino Ino, n *inodeRec) (slots []slot, err error) {
	set, err := t.fs.settingsOf(t, Ino(n.Bucket))
	if err != nil || versioningOf(set) == unversioned || n.Nlink == 0 {
		return nil, err
	}
	add := func(parent Ino, stored string) error {
		dir, err := getInode(t, parent)
		if err != nil {
			return err
		}
		s, err := t.slotOf(dir, stored)
		if err == nil && s.state != unversioned {
			slots = append(slots, s)
		}
		return err
	}
	if n.Nlink == 1 {
		err = add(Ino(n.Parent), n.Name)
		return slots, err
	}
	prefix := key(kLink, uint64(ino))
	err = t.Scan(prefixRange(prefix, 8), func(k, _ []byte) (bool, error) {
		parent, stored := decodeLink(k[len(prefix):])
		return len(slots) < maxSlots-1, add(Ino(parent), stored)
	})
	return slots, err
}

// leave hangs the version that a file is on a key that is taken from it for another one, and puts a delete marker
// above it if the key becomes vacant. Then come makes it a version of the other key.
func (t *txn) leave(from slot, n *inodeRec, vacant bool) error {
	marks := from.marks(n) && vacant
	if from.keeps(n) {
		c, err := t.shareContent(n.Published)
		if err != nil {
			return err
		}
		if err := t.hangCopy(from, n, c); err != nil {
			return err
		}
	}
	if !marks {
		return nil
	}
	_, err := t.mark(from, t.fs.number())
	return err
}

// come makes a file a new version of the key that a rename gives it. One with several names keeps what it is, since
// it stays that at the others.
func (t *txn) come(to slot, n *inodeRec) error {
	if n.Published == nil || n.Nlink > 1 {
		return t.bring(to, n)
	}
	if to.state != unversioned || n.Seq != 0 {
		t.date(n.Published)
	}
	return t.newVersion(to, n)
}

// bring makes room at a key for a file that comes to it as the version that it is. What hangs there under the same id
// is the same version, since the file has been there before. Nobody sees that while the file is there, which takes its
// lock over: the id has no less protection than it had.
func (t *txn) bring(s slot, n *inodeRec) error {
	if n.Published == nil || s.state == unversioned {
		return nil
	}
	if n.Version == "" {
		return t.nameNull(s)
	}
	_, same, err := t.double(s, n)
	if err == nil && same != nil {
		n.Lock = n.Lock.with(same.Lock, t.fs.trusted())
	}
	return err
}

// double finds what hangs on a key and is the same version as n, which has its name; nil if nothing does.
func (t *txn) double(s slot, n *inodeRec) (Ino, *inodeRec, error) {
	if n.Version == "" {
		return 0, nil, nil
	}
	var rec versionRec
	found, err := getRec(t, versionKey(s.bucket, s.key, n.Seq), &rec)
	if err != nil || !found || rec.ID != n.Version {
		return 0, nil, err
	}
	same, err := getInode(t, Ino(rec.Ino))
	return Ino(rec.Ino), same, err
}

// arrive makes a file a version that gets its first name, or the first that is not a temporary one.
func (t *txn) arrive(s slot, ino Ino, n *inodeRec) error {
	if n.Published == nil || s.state == unversioned || s.temp || n.Seq != 0 {
		return t.bring(s, n)
	}
	names, err := t.slotsOf(ino, n)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(names, func(s slot) bool { return !s.temp }) {
		return t.bring(s, n)
	}
	return t.newVersion(s, n)
}

// leaveDir does for a directory that is removed, and is an object that was put, what remove does for a file.
func (t *txn) leaveDir(parent *inodeRec, stored string, n *inodeRec) error {
	if n.Published == nil {
		return nil
	}
	s, err := t.slotOf(parent, stored)
	if err != nil {
		return err
	}
	return t.hangDir(s, n, s.marks(n))
}

// hangDir takes its own object from a directory. The object hangs on the key if the bucket keeps it, below a
// delete marker if it is to be marked.
func (t *txn) hangDir(s slot, n *inodeRec, marked bool) error {
	if s.keeps(n) {
		if err := t.hangCopy(s, n, n.Published); err != nil {
			return err
		}
	} else if err := t.fs.dropContent(t, n.domain(), n.Published); err != nil {
		return err
	}
	n.Published, n.Object, n.Version, n.Seq, n.Lock = nil, nil, "", 0, nil
	if !marked {
		return nil
	}
	_, err := t.mark(s, t.fs.number())
	return err
}

// dropCurrent removes the current version of a key for good. What hangs there above all else becomes current in its
// place, unless that is a delete marker.
func (t *txn) dropCurrent(b *bucketDir, o *object, objectKey string) error {
	if err := t.fs.unlocked(t, o.ino, o.rec, actErase, t.bypass); err != nil {
		return err
	}
	s := b.slot(objectKey)
	if err := t.dropDouble(s, o); err != nil {
		return err
	}
	top, err := newest(t, s)
	if err != nil {
		return err
	}
	if top == nil || top.marker() {
		if Type(o.rec.Type) == Dir {
			return t.deleteDir(b, o, slot{})
		}
		return t.unnameObject(b, o, slot{})
	}
	if Type(o.rec.Type) == Dir {
		if err := o.rec.permit(actSetattr); err != nil {
			return err
		}
		if err := t.fs.dropContent(t, b.domain(), o.rec.Published); err != nil {
			return err
		}
		return t.fillDir(o.ino, o.rec, top)
	}
	dir, err := getInode(t, o.parent)
	if err != nil {
		return err
	}
	if err := dir.permit(actDropEntry); err != nil {
		return err
	}
	if err := t.dropLink(o.ino, o.rec, o.parent, o.stored); err != nil {
		return err
	}
	return t.moveBack(o.parent, dir, o.stored, top)
}

// dropDouble removes what hangs on a key and is the same version as the current one, which is about to be removed. It
// refuses before it changes anything.
func (t *txn) dropDouble(s slot, o *object) error {
	ino, same, err := t.double(s, o.rec)
	if err != nil || same == nil {
		return err
	}
	dir, err := getInode(t, o.parent)
	if err != nil {
		return err
	}
	if err := errors.Join(dir.permit(actDropEntry), o.rec.permit(actUnname), t.permit(ino, same, actErase)); err != nil {
		return err
	}
	return t.dropHung(s, same.Seq)
}

// restore makes the version that hangs above all else on a key current, if nothing is and it is no marker.
func (t *txn) restore(b *bucketDir, objectKey string) error {
	top, err := newest(t, b.slot(objectKey))
	if err != nil || top == nil || top.marker() {
		return err
	}
	o, err := findObject(t, b, objectKey)
	if err != nil || o.visible() {
		return err
	}
	base, stored := splitKey(objectKey)
	parent, dir, err := t.makeDirs(b, base)
	if err != nil {
		return err
	}
	if isDirName(stored) {
		if o.rec == nil {
			node, err := b.newNode(t, dir, Dir)
			if err != nil {
				return err
			}
			o.ino = Ino(t.fs.number())
			if o.rec, err = t.attach(o.ino, parent, dir, component(stored), node); err != nil {
				return err
			}
		}
		return t.fillDir(o.ino, o.rec, top)
	}
	if o.rec != nil { // a symlink, a file that is still being written: not S3's to remove
		return of(Exists)
	}
	if err := dir.permit(actAddEntry); err != nil {
		return err
	}
	return t.moveBack(parent, dir, stored, top)
}

// moveBack gives a name to a version that hangs on its key.
func (t *txn) moveBack(parent Ino, dir *inodeRec, stored string, h *hanging) error {
	ino := Ino(h.Ino)
	n, err := getInode(t, ino)
	if err != nil {
		return err
	}
	if err := t.unhang(Ino(n.Bucket), n.Key, n.Seq, n.Version); err != nil {
		return err
	}
	n.Key, n.Nlink, n.Parent, n.Name, n.Ctime = "", 1, uint64(parent), stored, t.now
	short, err := shortOf(n)
	if err != nil {
		return err
	}
	if err := t.putDentry(parent, stored, dentryRec{Ino: uint64(ino), Type: n.Type, Listed: short}); err != nil {
		return err
	}
	t.attrChanged(ino, false)
	if err := t.putInode(ino, n); err != nil {
		return err
	}
	return t.touchDir(parent, dir)
}

// fillDir makes a version that hangs on a directory's key the directory's own object.
func (t *txn) fillDir(ino Ino, dir *inodeRec, h *hanging) error {
	n, err := getInode(t, Ino(h.Ino))
	if err != nil {
		return err
	}
	dir.Expl, dir.Published, dir.Object, dir.Lock, dir.Seq, dir.Version = true, n.Published, n.Object, n.Lock, n.Seq, n.Version
	n.Published, n.Lock = nil, nil // moved, not lost
	if err := t.eraseInode(Ino(h.Ino), n); err != nil {
		return err
	}
	dir.Ctime = t.now
	t.attrChanged(ino, false)
	return t.putInode(ino, dir)
}

// eachHanging calls fn for what hangs on keys of a bucket, from a key and a number downwards.
func eachHanging(r metastore.Reader, bucket Ino, from []byte, page int, fn func(objectKey string, h *hanging) (next []byte, more bool, err error)) error {
	prefix := key(kVersion, uint64(bucket))
	end := prefixEnd(prefix)
	for from != nil {
		rg := metastore.Range{From: from, To: end, Page: min(page, math.MaxInt16)}
		from = nil
		err := r.Scan(rg, func(k, value []byte) (bool, error) {
			objectKey, seq, ok := parseVersionKey(k[len(prefix):])
			if !ok {
				return true, nil
			}
			h := &hanging{seq: seq}
			if _, err := h.UnmarshalMsg(value); err != nil {
				return false, err
			}
			next, more, err := fn(objectKey, h)
			from = next
			return more && next == nil, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
