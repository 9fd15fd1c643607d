// Package layer is the ordered in-memory map that both engines lay over older data: the write set of a
// transaction, the commits that aren't on the disk yet, the whole content of memkv.
//
// It owns merging (a Layer over a Reader is a Reader) and the write limits of the contract. It knows
// nothing of commits, conflicts or durability. Nothing here locks: a Layer that is written to belongs
// to one goroutine, and a Snapshot of it may be read by many.
package layer

import (
	"bytes"

	"github.com/tidwall/btree"

	"k3fs/metastore"
)

// degree of the trees: small, since every commit copies one path of nodes.
const degree = 8

// Entry is what a Layer says of a key. Its slices are never modified once they are in a layer. It is
// small, because every commit copies some hundred of them.
type Entry struct {
	Key   []byte
	value *[]byte // nil if deleted
}

// Deleted tells that the key has no value, whatever the layers below say.
func (e Entry) Deleted() bool { return e.value == nil }

// Value is the key's value, nil if Deleted.
func (e Entry) Value() []byte {
	if e.value == nil {
		return nil
	}
	return *e.value
}

// Size is the bytes of key and value.
func (e Entry) Size() int { return len(e.Key) + len(e.Value()) }

func less(a, b Entry) bool { return bytes.Compare(a.Key, b.Key) < 0 }

// Layer is an ordered map of entries that can be copied in O(1).
type Layer struct {
	tree *btree.BTreeG[Entry]
}

// New returns an empty layer.
func New() Layer {
	return Layer{tree: btree.NewBTreeGOptions(less, btree.Options{Degree: degree, NoLocks: true})}
}

// Len is the number of entries, deletions included.
func (l Layer) Len() int { return l.tree.Len() }

// Get returns what the layer says of key.
func (l Layer) Get(key []byte) (Entry, bool) { return l.tree.Get(Entry{Key: key}) }

// Put keeps e, whose slices belong to the layer from now on, and returns what it replaced.
func (l Layer) Put(e Entry) (Entry, bool) { return l.tree.Set(e) }

// Remove forgets key: the layer says nothing of it any more.
func (l Layer) Remove(key []byte) (Entry, bool) { return l.tree.Delete(Entry{Key: key}) }

// Ascend calls fn for each entry in key order until it returns false.
func (l Layer) Ascend(fn func(Entry) bool) { l.tree.Scan(fn) }

// Snapshot returns a copy that later changes of l don't show in. It must not run beside a change of l.
func (l Layer) Snapshot() Layer { return Layer{tree: l.tree.Copy()} }

// ScanFunc is Reader.Scan.
type ScanFunc func(r metastore.Range, fn func(key, value []byte) (bool, error)) error

// ScanOver merges l over below: entries of l hide those below that have the same key.
func (l Layer) ScanOver(below ScanFunc, r metastore.Range, fn func(key, value []byte) (bool, error)) error {
	if l.tree.Len() == 0 {
		return below(r, fn)
	}
	it := l.tree.Iter()
	m := merge{it: &it, r: r, fn: fn}
	m.valid = it.Seek(Entry{Key: r.From})
	if m.valid && !m.inRange() {
		it.Release()
		return below(r, fn)
	}
	defer it.Release()
	err := below(r, m.pair)
	for err == nil && !m.done && m.valid && m.inRange() {
		err = m.emit()
	}
	return err
}

// merge is the state of one ScanOver.
type merge struct {
	it    *btree.IterG[Entry]
	r     metastore.Range
	fn    func(key, value []byte) (bool, error)
	valid bool // it stands on an entry
	done  bool // fn asked to stop
}

func (m *merge) inRange() bool {
	return m.r.To == nil || bytes.Compare(m.it.Item().Key, m.r.To) < 0
}

// emit gives the layer's current entry to fn and steps past it.
func (m *merge) emit() error {
	e := m.it.Item()
	m.valid = m.it.Next()
	if e.Deleted() {
		return nil
	}
	value := e.Value()
	if m.r.KeysOnly {
		value = nil
	}
	more, err := m.fn(e.Key, value)
	m.done = !more
	return err
}

// pair takes one pair from below.
func (m *merge) pair(key, value []byte) (bool, error) {
	for m.valid {
		c := bytes.Compare(m.it.Item().Key, key)
		if c > 0 {
			break
		}
		if err := m.emit(); err != nil || m.done {
			return false, err
		}
		if c == 0 {
			return true, nil
		}
	}
	more, err := m.fn(key, value)
	m.done = !more
	return more, err
}

// Empty scans nothing: it is what lies below the lowest layer of an engine that is all memory.
func Empty(metastore.Range, func(key, value []byte) (bool, error)) error { return nil }
