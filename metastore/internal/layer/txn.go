package layer

import (
	"bytes"
	"errors"
	"math"

	"k3fs/metastore"
)

// errMixed: an update sets a key that it adds to.
var errMixed = errors.New("metastore: a key is set and added to in one update")

// Tracker is told what a transaction read from below its own writes.
type Tracker interface {
	// ReadKey: the transaction depends on key, found or not. The slice is valid during the call only.
	ReadKey(key []byte)
	// ReadRange: it depends on every key in [from, to), or [from, to] if closed. A nil to that isn't
	// closed has no upper bound.
	ReadRange(from, to []byte, closed bool)
}

// Txn is a metastore.Txn: a write set over a Reader. Tracker may be nil.
type Txn struct {
	below   metastore.Reader
	tracker Tracker
	writes  Layer
	adds    []addition
	bytes   int
	err     error // the first failed write: a transaction that missed a write never commits
}

var _ metastore.Txn = (*Txn)(nil)

// addition is what a transaction adds to a counter.
type addition struct {
	key          []byte
	delta, bound int64
}

// NewTxn begins a transaction that reads below.
func NewTxn(below metastore.Reader, tracker Tracker) *Txn {
	return &Txn{below: below, tracker: tracker}
}

// Empty reports whether there is nothing to commit.
func (t *Txn) Empty() bool {
	return t.err == nil && len(t.adds) == 0 && (t.writes.tree == nil || t.writes.Len() == 0)
}

// Resolve makes writes of the additions, on the counters that counter tells. It is called before Writes, at the moment
// of the commit; within is false if a counter would exceed its bound.
func (t *Txn) Resolve(counter func(key []byte) (int64, error)) (within bool, err error) {
	adds := t.adds
	t.adds = nil
	for _, a := range adds {
		n, err := counter(a.key)
		if err != nil {
			return false, err
		}
		sum := n + a.delta
		switch {
		case a.delta == 0:
			continue
		case a.delta > 0 && sum > a.bound:
			return false, nil
		case sum == 0:
			err = t.put(Entry{Key: a.key})
		default:
			value := metastore.EncodeCounter(sum)
			err = t.put(Entry{Key: a.key, value: &value})
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// Writes returns the write set, or the error that forbids to commit it. The transaction must not be
// used afterwards.
func (t *Txn) Writes() (Layer, error) {
	if t.writes.tree == nil {
		t.writes = New()
	}
	return t.writes, t.err
}

// Bytes is the size of the write set, keys and values.
func (t *Txn) Bytes() int { return t.bytes }

// Get implements metastore.Reader.
func (t *Txn) Get(key []byte) ([]byte, error) {
	if t.writes.tree != nil {
		if e, ok := t.writes.Get(key); ok {
			if e.Deleted() {
				return nil, metastore.ErrNotFound
			}
			return e.Value(), nil
		}
	}
	if t.tracker != nil {
		t.tracker.ReadKey(key)
	}
	return t.below.Get(key)
}

// Scan implements metastore.Reader. It shows the writes made before it began.
func (t *Txn) Scan(r metastore.Range, fn func(key, value []byte) (bool, error)) error {
	below := ScanFunc(t.below.Scan)
	if t.tracker != nil {
		below = t.trackedScan
	}
	if t.writes.tree == nil || t.writes.Len() == 0 {
		return below(r, fn)
	}
	return t.writes.Snapshot().ScanOver(below, r, fn)
}

// trackedScan scans below and records as much of the range as was really looked at.
func (t *Txn) trackedScan(r metastore.Range, fn func(key, value []byte) (bool, error)) error {
	stopped := false
	err := t.below.Scan(r, func(key, value []byte) (bool, error) {
		more, err := fn(key, value)
		if !more || err != nil {
			stopped = true
			t.tracker.ReadRange(r.From, key, true)
		}
		return more, err
	})
	if !stopped {
		t.tracker.ReadRange(r.From, r.To, false)
	}
	return err
}

// Set implements metastore.Txn.
func (t *Txn) Set(key, value []byte) error {
	if len(value) > metastore.MaxValueBytes {
		return t.fail(metastore.ErrTooBig)
	}
	buf := make([]byte, len(key)+len(value))
	n := copy(buf, key)
	copy(buf[n:], value)
	own := buf[n:]
	return t.put(Entry{Key: buf[:n:n], value: &own})
}

// Delete implements metastore.Txn.
func (t *Txn) Delete(key []byte) error {
	return t.put(Entry{Key: append([]byte(nil), key...)})
}

// Add implements metastore.Txn.
func (t *Txn) Add(key []byte, delta, bound int64) error {
	if t.err != nil {
		return t.err
	}
	if len(key) > metastore.MaxKeyBytes {
		return t.fail(metastore.ErrTooBig)
	}
	if t.writes.tree != nil {
		if _, set := t.writes.Get(key); set {
			return t.fail(errMixed)
		}
	}
	if delta > 0 && bound != math.MaxInt64 {
		n, err := t.Count(key)
		if err != nil {
			return err
		}
		if n+delta > bound {
			return metastore.ErrExceeded
		}
	}
	if a := t.added(key); a != nil {
		a.delta += delta
		if delta > 0 {
			a.bound = min(a.bound, bound)
		}
		return nil
	}
	if delta < 0 {
		bound = math.MaxInt64
	}
	t.adds = append(t.adds, addition{bytes.Clone(key), delta, bound})
	return nil
}

// added finds what is added to a counter so far; nil: nothing.
func (t *Txn) added(key []byte) *addition {
	for i := range t.adds {
		if bytes.Equal(t.adds[i].key, key) {
			return &t.adds[i]
		}
	}
	return nil
}

// Count implements metastore.Txn.
func (t *Txn) Count(key []byte) (int64, error) {
	n, err := metastore.Counter(t.below, key)
	if a := t.added(key); a != nil {
		n += a.delta
	}
	return n, err
}

func (t *Txn) put(e Entry) error {
	if t.err != nil {
		return t.err
	}
	if t.added(e.Key) != nil {
		return t.fail(errMixed)
	}
	if len(e.Key) > metastore.MaxKeyBytes {
		return t.fail(metastore.ErrTooBig)
	}
	if t.writes.tree == nil {
		t.writes = New()
	}
	t.bytes += e.Size()
	if old, replaced := t.writes.Put(e); replaced {
		t.bytes -= old.Size()
	}
	if t.bytes > metastore.MaxUpdateBytes || t.writes.Len() > metastore.MaxUpdateKeys {
		return t.fail(metastore.ErrTooBig)
	}
	return nil
}

func (t *Txn) fail(err error) error {
	if t.err == nil {
		t.err = err
	}
	return t.err
}
