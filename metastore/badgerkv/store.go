// Package badgerkv is the metastore engine of a node, on Badger.
//
// It owns what Badger lacks for k3fs: serializable transactions with scans, group commit, durability in
// commit order, fail-stop, a refusal of full disks, authenticated values, and an anchor that notices
// lost commits. It knows nothing of what the keys mean.
//
// # How it works
//
// An update runs on a view: layers of commits in memory over Badger as of some batch. At its end it is
// validated against the commits since (optimistic concurrency) and merged into the batch that is being
// filled: it is visible from then on. One committer writes batch after batch, each as one Badger
// transaction with a synced write-ahead log, after the Barrier made the data durable that the batch
// refers to. While a batch is written the next one gathers commits, so that any number of durable
// updates share a sync.
//
// # Lock order
//
// Store.mu (commits, sealing, publication of views), then Store.basesMu, anchor.mu or space.mu. A view
// is read without a lock. An update that lost four times to others runs its function with Store.mu
// held, so fn must never wait for another update.
package badgerkv

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"k3fs/metastore"
	"k3fs/metastore/internal/layer"
)

// optimisticTries is how often an update runs before it gets the store for itself.
const optimisticTries = 4

// Store is a metastore.Store on Badger. Open makes one.
type Store struct {
	opts   Options
	log    *slog.Logger
	db     *badger.DB
	sealer *sealer
	anchor *anchor
	space  *space
	reads  sync.Pool // of *readSet

	badgerDir string // where Badger's files are
	memTable  int64  // size of Badger's memtables in this run
	scratch   string // to be removed at the end, see openReadOnly

	newest    atomic.Pointer[view]
	unflushed atomic.Int64 // bytes of commits that Badger doesn't hold yet
	urgent    atomic.Bool  // somebody waits for the batch that is being filled
	closing   atomic.Bool
	failure   atomic.Pointer[error] // why nothing can be written
	damage    atomic.Pointer[error] // why nothing can be read
	stats     stats

	mu      sync.Mutex
	seq     uint64 // of the last commit
	filling *batch
	history history

	counters map[string]int64 // guarded by mu: those that were added to lately, as of the last commit

	basesMu   sync.Mutex
	bases     []*base // those that haven't ended
	discarded uint64

	// Of the committer only.
	batches  uint64 // the last one that is durable
	marks    *marks
	wal      *wal
	anchored time.Time // when the anchor was synced
	arena    []byte    // of what goes to Badger, reused

	work      chan struct{} // wakes the committer
	stopped   chan struct{} // closed by a failed write
	quit      chan struct{} // closed by Close
	committed chan struct{} // closed when the committer has ended
	scrubbed  chan struct{} // closed when the scrubber has ended
	trimmed   chan struct{} // closed when the trimmer has ended
	idle      chan struct{} // closed when the last base has ended
}

var _ metastore.Store = (*Store)(nil)

// Stopped is closed when a write or sync failed. From then on the store serves reads only, and must be
// closed and opened again: what was not acknowledged may or may not be there.
func (s *Store) Stopped() <-chan struct{} { return s.stopped }

// View implements metastore.Store.
func (s *Store) View(ctx context.Context, fn func(metastore.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closing.Load() {
		return metastore.ErrClosed
	}
	if err := s.damage.Load(); err != nil {
		return *err
	}
	v := s.acquire()
	if v == nil {
		return metastore.ErrClosed
	}
	defer v.base.release()
	return fn(v)
}

// Update implements metastore.Store.
func (s *Store) Update(ctx context.Context, d metastore.Durability, fn func(metastore.Txn) error) error {
	reads := s.reads.Get().(*readSet)
	defer func() {
		reads.reset()
		s.reads.Put(reads)
	}()
	for try := 0; ; try++ {
		if err := s.admit(ctx); err != nil {
			return err
		}
		attempt := s.optimistic
		if try == optimisticTries {
			attempt = s.exclusive
		}
		b, committed, err := attempt(d, reads, fn)
		if err != nil {
			return err
		}
		if !committed {
			continue
		}
		if b == nil || d != metastore.Durable && d != metastore.DurableReclaim {
			return nil
		}
		s.demand(b)
		return b.wait(ctx)
	}
}

// admit waits until the committer has caught up enough for another update.
func (s *Store) admit(ctx context.Context) error {
	if s.opts.ReadOnly {
		return errReadOnly
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.usable(); err != nil {
			return err
		}
		if s.unflushed.Load() < int64(s.opts.MaxUnflushed) {
			return nil
		}
		if sealed := s.newest.Load().sealed; len(sealed) > 0 {
			if err := sealed[len(sealed)-1].wait(ctx); err != nil {
				return err
			}
		}
	}
}

// optimistic runs fn on the newest state, and commits if nobody was faster. The batch returned is the
// one whose durability implies that of everything the update wrote and read; nil means it is durable.
func (s *Store) optimistic(d metastore.Durability, reads *readSet, fn func(metastore.Txn) error) (*batch, bool, error) {
	v := s.acquire()
	if v == nil {
		return nil, false, metastore.ErrClosed
	}
	defer v.base.release() // also if fn panics
	txn, err := s.run(v, reads, fn)
	if err != nil {
		return nil, false, err
	}
	if txn.Empty() {
		return v.last, true, nil
	}
	if err := s.room(d); err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, false, err
	}
	if s.history.conflicts(reads, v.seq) {
		return nil, false, nil
	}
	return s.commit(txn)
}

// commit resolves what a validated transaction adds to counters, and applies it. It is not committed if a counter
// has come too near to its bound since the transaction began. s.mu must be held.
func (s *Store) commit(txn *layer.Txn) (b *batch, committed bool, err error) {
	if within, err := txn.Resolve(s.counter); err != nil || !within {
		return nil, false, err
	}
	writes, err := txn.Writes()
	if err != nil {
		return nil, false, err
	}
	s.recount(writes)
	return s.apply(writes, txn.Bytes()), true, nil
}

// maxCounters bounds the counters that are kept in memory.
const maxCounters = 4096

// counter is a counter as of the last commit. s.mu must be held, so it does not ask Badger each time.
func (s *Store) counter(key []byte) (int64, error) {
	if n, known := s.counters[string(key)]; known {
		return n, nil
	}
	n, err := metastore.Counter(s.newest.Load(), key)
	if err == nil {
		if len(s.counters) >= maxCounters {
			clear(s.counters)
		}
		s.counters[string(key)] = n
	}
	return n, err
}

// recount follows what a commit writes to counters that are kept in memory. s.mu must be held.
func (s *Store) recount(writes layer.Layer) {
	writes.Ascend(func(e layer.Entry) bool {
		if _, known := s.counters[string(e.Key)]; !known {
			return true
		}
		n, err := int64(0), error(nil)
		if !e.Deleted() {
			n, err = metastore.DecodeCounter(e.Value())
		}
		if s.counters[string(e.Key)] = n; err != nil {
			delete(s.counters, string(e.Key))
		}
		return true
	})
}

// exclusive runs fn while nobody else can commit.
func (s *Store) exclusive(d metastore.Durability, reads *readSet, fn func(metastore.Txn) error) (*batch, bool, error) {
	if err := s.room(d); err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, false, err
	}
	v := s.acquire()
	if v == nil {
		return nil, false, metastore.ErrClosed
	}
	defer v.base.release()
	txn, err := s.run(v, reads, fn)
	if err != nil {
		return nil, false, err
	}
	if txn.Empty() {
		return v.last, true, nil
	}
	b, committed, err := s.commit(txn)
	if err == nil && !committed { // fn passed over what Add told it
		err = metastore.ErrExceeded
	}
	return b, committed, err
}

// run calls fn with a transaction over v.
func (s *Store) run(v *view, reads *readSet, fn func(metastore.Txn) error) (*layer.Txn, error) {
	reads.reset()
	txn := layer.NewTxn(v, reads)
	return txn, fn(txn)
}

// room reports ErrFull if an update of durability d must not write now.
func (s *Store) room(d metastore.Durability) error {
	if d == metastore.Reclaim || d == metastore.DurableReclaim {
		if s.space.exhausted() {
			return metastore.ErrFull
		}
		return nil
	}
	if s.space.low(s.unflushed.Load()) {
		return metastore.ErrFull
	}
	return nil
}

// Sync implements metastore.Store.
func (s *Store) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.usable(); err != nil {
		return err
	}
	b := s.newest.Load().last
	if b == nil {
		return nil
	}
	s.demand(b)
	return b.wait(ctx)
}
