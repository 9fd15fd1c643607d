package badgerkv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"k3fs/metastore"
	"k3fs/metastore/internal/layer"
)

// Kinds of keys in Badger: the first byte of each.
const (
	kindData = 'd' // a key of the caller
	kindMark = 'm' // the mark of a batch, see marks.go
)

// base is Badger as of one batch. It is shared by the views over it, and ends with the last of them.
type base struct {
	store *Store
	batch uint64 // the last batch that it holds
	txn   *badger.Txn
	refs  atomic.Int64
}

// retain reports false if the base has ended.
func (b *base) retain() bool {
	for {
		n := b.refs.Load()
		if n == 0 {
			return false
		}
		if b.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (b *base) release() {
	if b.refs.Add(-1) == 0 {
		b.txn.Discard()
		b.store.baseEnded(b)
	}
}

// view is one consistent state: the commits that aren't in Badger yet over a base. It never changes
// once published, so any number of goroutines read it.
type view struct {
	base   *base
	top    layer.Layer // of the batch that is being filled
	sealed []*batch    // batches that are full or being written, newest first
	seq    uint64      // the last commit that it holds
	last   *batch      // the batch with the last commit, nil if that is in base
}

var _ metastore.Reader = (*view)(nil)

// Get implements metastore.Reader.
func (v *view) Get(key []byte) ([]byte, error) {
	if v.top.Len() > 0 {
		if e, ok := v.top.Get(key); ok {
			return entryValue(e)
		}
	}
	for _, b := range v.sealed {
		if e, ok := b.entries.Get(key); ok {
			return entryValue(e)
		}
	}
	return v.base.get(key)
}

func entryValue(e layer.Entry) ([]byte, error) {
	if e.Deleted() {
		return nil, metastore.ErrNotFound
	}
	return e.Value(), nil
}

// Scan implements metastore.Reader.
func (v *view) Scan(r metastore.Range, fn func(key, value []byte) (bool, error)) error {
	if r.To != nil && bytes.Compare(r.From, r.To) >= 0 {
		return nil
	}
	return v.top.ScanOver(func(r metastore.Range, fn func(key, value []byte) (bool, error)) error {
		return v.scanSealed(0, r, fn)
	}, r, fn)
}

// scanSealed scans the sealed batches from the i-th, and the base.
func (v *view) scanSealed(i int, r metastore.Range, fn func(key, value []byte) (bool, error)) error {
	if i == len(v.sealed) {
		return v.base.scan(r, fn)
	}
	return v.sealed[i].entries.ScanOver(func(r metastore.Range, fn func(key, value []byte) (bool, error)) error {
		return v.scanSealed(i+1, r, fn)
	}, r, fn)
}

// storedKey returns key as it is in Badger, with room for the version.
func storedKey(kind byte, key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)+8), kind), key...)
}

// additional is what a value is bound to: its stored key and version. It may use the room after stored.
func additional(stored []byte, version uint64) []byte {
	return binary.BigEndian.AppendUint64(stored, version)
}

func (b *base) get(key []byte) ([]byte, error) {
	stored := storedKey(kindData, key)
	item, err := b.txn.Get(stored)
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		return nil, metastore.ErrNotFound
	case err != nil:
		return nil, readError(err)
	}
	var value []byte
	err = item.Value(func(sealed []byte) error {
		value, err = b.store.sealer.open(nil, sealed, additional(stored, item.Version()))
		return err
	})
	if err != nil {
		return nil, readError(err)
	}
	return value, nil
}

// readError hides Badger's text, which quotes keys.
func readError(err error) error {
	if errors.Is(err, metastore.ErrCorrupt) {
		return err
	}
	if errors.Is(err, badger.ErrDBClosed) {
		return metastore.ErrClosed
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return fmt.Errorf("%w: badger: %T", metastore.ErrCorrupt, err)
}

// scratch is the memory of a scan, reused.
type scratch struct{ ad, value []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (b *base) scan(r metastore.Range, fn func(key, value []byte) (bool, error)) error {
	from := storedKey(kindData, r.From)
	to, prefix := []byte{kindData + 1}, from[:1]
	if r.To != nil {
		to = storedKey(kindData, r.To)
		prefix = commonPrefix(from, to)
	}
	// Badger prefetches by a goroutine for each pair, which only pays for values in its value log.
	it := b.txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
	defer it.Close()
	buf := scratches.Get().(*scratch)
	defer scratches.Put(buf)
	for it.Seek(from); it.Valid(); it.Next() {
		more, err := b.pair(it.Item(), to, r.KeysOnly, buf, fn)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// pair hands one item of a scan to fn.
func (b *base) pair(item *badger.Item, to []byte, keysOnly bool, buf *scratch,
	fn func(key, value []byte) (bool, error)) (more bool, err error) {
	stored := item.Key()
	if bytes.Compare(stored, to) >= 0 {
		return false, nil
	}
	if keysOnly {
		return fn(stored[1:], nil)
	}
	value, err := b.value(item, buf)
	if err != nil {
		return false, readError(err)
	}
	return fn(stored[1:], value)
}

// value opens the value of an item into buf, or into memory of its own if buf is in use already.
func (b *base) value(item *badger.Item, buf *scratch) ([]byte, error) {
	err := item.Value(func(sealed []byte) error {
		buf.ad = additional(append(buf.ad[:0], item.Key()...), item.Version())
		value, err := b.store.sealer.open(buf.value[:0], sealed, buf.ad)
		if err == nil {
			buf.value = value
		}
		return err
	})
	return buf.value, err
}

func commonPrefix(a, b []byte) []byte {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// newBase opens Badger as of batch.
func (s *Store) newBase(batch uint64) *base {
	b := &base{store: s, batch: batch, txn: s.db.NewTransactionAt(batch, false)}
	b.refs.Store(1)
	s.basesMu.Lock()
	s.bases = append(s.bases, b)
	s.basesMu.Unlock()
	return b
}

// baseEnded lets compaction drop the versions that only b could see.
func (s *Store) baseEnded(b *base) {
	s.basesMu.Lock()
	defer s.basesMu.Unlock()
	oldest := uint64(math.MaxUint64)
	kept := s.bases[:0]
	for _, other := range s.bases {
		if other != b {
			kept = append(kept, other)
			oldest = min(oldest, other.batch)
		}
	}
	clear(s.bases[len(kept):])
	s.bases = kept
	if len(kept) == 0 {
		close(s.idle)
		return
	}
	if oldest > s.discarded {
		s.discarded = oldest
		s.db.SetDiscardTs(oldest)
	}
}

// acquire returns the newest state, nil if the store is closed. The caller releases its base.
func (s *Store) acquire() *view {
	for {
		if v := s.newest.Load(); v == nil || v.base.retain() {
			return v
		}
	}
}
