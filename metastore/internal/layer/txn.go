package layer

import (
	"k3fs/metastore"
)

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
	bytes   int
	err     error // the first failed write: a transaction that missed a write never commits
}

var _ metastore.Txn = (*Txn)(nil)

// NewTxn begins a transaction that reads below.
func NewTxn(below metastore.Reader, tracker Tracker) *Txn {
	return &Txn{below: below, tracker: tracker}
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

func (t *Txn) put(e Entry) error {
	if t.err != nil {
		return t.err
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
