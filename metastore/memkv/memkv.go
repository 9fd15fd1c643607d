// Package memkv is the metastore engine of tests: all in memory, with a crash on demand.
//
// It owns nothing but its map. Updates run one after the other, so its isolation is correct by
// construction, and the suite kvtest compares badgerkv with it. Crash returns what a store would hold
// after a power cut, for tests that explore crash states of the packages above.
package memkv

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"k3fs/metastore"
	"k3fs/metastore/internal/layer"
)

// maxPending bounds how many commits wait for durability, and with them the crash states kept.
const maxPending = 1024

// Options of a Store. The zero value is useful.
type Options struct {
	// Barrier runs before commits become durable, as badgerkv's does. Its failure stops the store.
	Barrier func(context.Context) error
}

// Store is a metastore.Store in memory.
type Store struct {
	opts Options

	mu      sync.Mutex    // serializes updates; guards what follows
	current layer.Layer   // of the updates; readers use newest
	pending []layer.Layer // the durable state, and then one state per commit that isn't durable
	stopped error

	newest atomic.Pointer[layer.Layer]
	closed atomic.Bool
}

var _ metastore.Store = (*Store)(nil)

// New returns an empty store.
func New(opts Options) *Store { return from(layer.New(), opts) }

func from(state layer.Layer, opts Options) *Store {
	first := state.Snapshot()
	s := &Store{opts: opts, current: state, pending: []layer.Layer{first}}
	s.newest.Store(&first)
	return s
}

// View implements metastore.Store.
func (s *Store) View(ctx context.Context, fn func(metastore.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed.Load() {
		return metastore.ErrClosed
	}
	return fn(reader{*s.newest.Load()})
}

// Update implements metastore.Store.
func (s *Store) Update(ctx context.Context, d metastore.Durability, fn func(metastore.Txn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	txn := layer.NewTxn(reader{*s.newest.Load()}, nil)
	if err := fn(txn); err != nil {
		return err
	}
	if within, err := txn.Resolve(s.counter); err != nil || !within {
		return cmp.Or(err, metastore.ErrExceeded)
	}
	writes, err := txn.Writes()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if writes.Len() > 0 {
		s.commit(writes)
	}
	if d == metastore.Durable || d == metastore.DurableReclaim || len(s.pending) > maxPending {
		return s.sync(ctx)
	}
	return nil
}

// counter is a counter as of the last commit. s.mu must be held.
func (s *Store) counter(key []byte) (int64, error) {
	return metastore.Counter(reader{*s.newest.Load()}, key)
}

// usable reports why nothing can be written. s.mu must be held.
func (s *Store) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed.Load() {
		return metastore.ErrClosed
	}
	return s.stopped
}

// commit applies writes. s.mu must be held.
func (s *Store) commit(writes layer.Layer) {
	writes.Ascend(func(e layer.Entry) bool {
		if e.Deleted() {
			s.current.Remove(e.Key)
		} else {
			s.current.Put(e)
		}
		return true
	})
	state := s.current.Snapshot()
	s.pending = append(s.pending, state)
	s.newest.Store(&state)
}

// sync makes all commits durable. s.mu must be held.
func (s *Store) sync(ctx context.Context) error {
	if len(s.pending) == 1 {
		return nil
	}
	if s.opts.Barrier != nil {
		if err := s.opts.Barrier(context.WithoutCancel(ctx)); err != nil {
			s.stopped = fmt.Errorf("%w: %w", metastore.ErrStopped, err)
			return s.stopped
		}
	}
	s.pending = slices.Delete(s.pending, 0, len(s.pending)-1)
	return nil
}

// Sync implements metastore.Store.
func (s *Store) Sync(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	return s.sync(ctx)
}

// Close implements metastore.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Swap(true) {
		return metastore.ErrClosed
	}
	if s.stopped != nil {
		return s.stopped
	}
	return s.sync(context.Background())
}

// Pending is how many commits are not durable yet: the number of states, less one, that a crash now may
// leave.
func (s *Store) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) - 1
}

// Crash returns a new store that holds what a power cut could leave: everything durable, and the first
// keep of the commits that are not (0 <= keep <= Pending). s itself stays as it is.
func (s *Store) Crash(keep int, opts Options) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return from(s.pending[min(max(keep, 0), len(s.pending)-1)].Snapshot(), opts)
}

// reader is a metastore.Reader of one state.
type reader struct{ state layer.Layer }

// Get implements metastore.Reader.
func (r reader) Get(key []byte) ([]byte, error) {
	if e, ok := r.state.Get(key); ok {
		return e.Value(), nil
	}
	return nil, metastore.ErrNotFound
}

// Scan implements metastore.Reader.
func (r reader) Scan(rg metastore.Range, fn func(key, value []byte) (bool, error)) error {
	return r.state.ScanOver(layer.Empty, rg, fn)
}
