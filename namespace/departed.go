package namespace

import (
	"sync"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// departedMost bounds the inodes that departed remembers.
const departedMost = 4096

// departed remembers the attributes of the inodes that were removed last. A process may still have one as
// its working directory or as a descriptor that is no handle of ours (a directory, a FIFO, O_PATH), and may
// stat, chmod or fsync it, as on every file system, though nothing of it is stored any more.
type departed struct {
	mu   sync.Mutex
	recs map[Ino]*inodeRec // guarded by mu; the records are never changed, but replaced
	ring []Ino             // guarded by mu; in the order of leaving, from next on
	next int               // guarded by mu
}

func (d *departed) add(left map[Ino]*inodeRec) {
	if len(left) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.recs == nil {
		d.recs = map[Ino]*inodeRec{}
	}
	for ino, n := range left {
		if len(d.ring) < departedMost {
			d.ring = append(d.ring, ino)
		} else {
			delete(d.recs, d.ring[d.next])
			d.ring[d.next] = ino
			d.next = (d.next + 1) % departedMost
		}
		d.recs[ino] = n
	}
}

// get returns a copy of the record, nil if the inode is not remembered.
func (d *departed) get(ino Ino) *inodeRec {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.recs[ino]; n != nil {
		c := *n
		return &c
	}
	return nil
}

// change replaces what is remembered of an inode.
func (d *departed) change(ino Ino, n *inodeRec) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.recs[ino] != nil {
		d.recs[ino] = n
	}
}

// depart notes that the update removes an inode.
func (t *txn) depart(ino Ino, n *inodeRec) {
	left := *n
	left.Nlink, left.Ctime = 0, t.now
	left.Published, left.Draft, left.Object, left.Lock = nil, nil, nil, nil
	if t.left == nil {
		t.left = map[Ino]*inodeRec{}
	}
	t.left[ino] = &left
}

// knownInode is inode, but a departed one is found too.
func (v *View) knownInode(r metastore.Reader, ino Ino, a tenancy.Action) (*inodeRec, error) {
	n, err := getInode(r, ino)
	if isKind(err, NotFound) {
		if n = v.fs.departed.get(ino); n != nil {
			err = nil
		}
	}
	if err != nil {
		return nil, err
	}
	return n, v.allow(r, a, ino, n)
}

// setDeparted changes the attributes of a departed inode; NotFound if it is not remembered.
func (v *View) setDeparted(r metastore.Reader, ino Ino, s SetAttr, now int64) (*inodeRec, error) {
	n := v.fs.departed.get(ino)
	if n == nil || s.resizes() {
		return nil, of(NotFound)
	}
	if err := v.allow(r, tenancy.PutObject, ino, n); err != nil {
		return nil, err
	}
	if err := s.apply(n, now); err != nil {
		return nil, err
	}
	v.fs.departed.change(ino, n)
	return n, nil
}
