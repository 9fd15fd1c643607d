package badgerkv

import (
	"context"
	"fmt"
	"time"

	"k3fs/metastore"
	"k3fs/metastore/internal/layer"
)

// batch is a group of commits that becomes durable as one Badger transaction. A batch is filled until
// the committer takes it, or the next update no longer fits.
type batch struct {
	entries layer.Layer // the last value of each key; never changed once the batch is sealed
	bytes   int
	born    time.Time     // of its first commit
	done    chan struct{} // closed when it is durable, or never will be
	err     error         // why it isn't durable; to be read once done is closed
}

func newBatch() *batch {
	return &batch{entries: layer.New(), done: make(chan struct{})}
}

// wait returns once the batch is durable.
func (b *batch) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	default:
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fits tells whether a write set of n entries can join the batch.
func (b *batch) fits(n, bytes int) bool {
	return b.bytes+bytes <= metastore.MaxUpdateBytes && b.entries.Len()+n <= metastore.MaxUpdateKeys
}

// add merges a write set.
func (b *batch) add(writes layer.Layer) {
	if b.entries.Len() == 0 {
		b.born = time.Now()
	}
	writes.Ascend(func(e layer.Entry) bool {
		b.bytes += e.Size()
		if old, replaced := b.entries.Put(e); replaced {
			b.bytes -= old.Size()
		}
		return true
	})
}

// seal closes the batch that is being filled and starts another. s.mu must be held.
func (s *Store) seal() {
	v := *s.newest.Load()
	v.sealed = append([]*batch{s.filling}, v.sealed...)
	s.filling = newBatch()
	v.top = s.filling.entries.Snapshot()
	s.newest.Store(&v)
}

// apply commits a validated write set: it is visible when apply returns. s.mu must be held.
func (s *Store) apply(writes layer.Layer, bytes int) *batch {
	if !s.filling.fits(writes.Len(), bytes) {
		s.seal()
		s.wake()
	}
	before := s.filling.bytes
	s.filling.add(writes)
	s.unflushed.Add(int64(s.filling.bytes - before))
	s.seq++
	s.history.add(commit{seq: s.seq, bytes: bytes, writes: writes})
	v := *s.newest.Load()
	v.top, v.seq, v.last = s.filling.entries.Snapshot(), s.seq, s.filling
	s.newest.Store(&v)
	return s.filling
}

// wake makes the committer look again.
func (s *Store) wake() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// demand makes the committer write b without delay.
func (s *Store) demand(b *batch) {
	select {
	case <-b.done:
	default:
		s.urgent.Store(true)
		s.wake()
	}
}

// committer writes batches in order until the store stops or closes.
func (s *Store) committer() {
	defer close(s.committed)
	timer := time.NewTimer(s.opts.FlushInterval)
	defer timer.Stop()
	for s.failure.Load() == nil {
		b, wait := s.next()
		if b == nil {
			if wait == 0 {
				return
			}
			timer.Reset(wait)
			select {
			case <-s.work:
			case <-timer.C:
			}
		}
		err := s.syncAnchor()
		if b != nil {
			err = s.write(b)
		}
		if err != nil {
			s.stop(err)
			return
		}
	}
}

// next returns the batch to be written now, or how long to wait for one; 0 means that the store is
// closing and that all is written.
func (s *Store) next() (*batch, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sealed := s.newest.Load().sealed; len(sealed) > 0 {
		return sealed[len(sealed)-1], 0
	}
	closing := s.closing.Load()
	if s.filling.entries.Len() == 0 {
		s.urgent.Store(false)
		if closing {
			return nil, 0
		}
		return nil, s.opts.FlushInterval
	}
	wait := s.opts.FlushInterval - time.Since(s.filling.born)
	if wait > 0 && !s.urgent.Load() && !closing {
		return nil, wait
	}
	s.urgent.Store(false)
	s.seal()
	return s.newest.Load().sealed[0], 0
}

// write makes a batch durable: first the data it refers to, then the batch, then the anchor.
func (s *Store) write(b *batch) error {
	if s.opts.Barrier != nil {
		begun := time.Now()
		if err := s.opts.Barrier(context.Background()); err != nil {
			return fmt.Errorf("syncing the data: %w", err)
		}
		s.stats.barrier.Add(int64(time.Since(begun)))
	}
	s.space.wrote(b.bytes + b.entries.Len()*perEntry)
	s.space.exhausted() // gives up the ballast if it must
	ts, begun := s.batches+1, time.Now()
	if err := s.writeBadger(b, ts); err != nil {
		return err
	}
	s.batches = ts
	s.stats.commit.Add(int64(time.Since(begun)))
	s.stats.batches.Add(1)
	s.stats.keys.Add(uint64(b.entries.Len()))
	if err := s.anchor.advance(ts); err != nil {
		return fmt.Errorf("writing the anchor: %w", err)
	}
	s.flushed(b)
	return s.syncAnchor()
}

// syncAnchor syncs the anchor once in a while.
func (s *Store) syncAnchor() error {
	if time.Since(s.anchored) < anchorInterval {
		return nil
	}
	s.anchored = time.Now()
	if err := s.anchor.sync(); err != nil {
		return fmt.Errorf("syncing the anchor: %w", err)
	}
	return nil
}

// writeBadger commits b as the one Badger transaction of version ts.
func (s *Store) writeBadger(b *batch, ts uint64) error {
	if s.opts.beforeCommit != nil {
		if err := s.opts.beforeCommit(); err != nil {
			return err
		}
	}
	txn := s.db.NewTransactionAt(ts, true)
	defer txn.Discard()
	if need := b.bytes + b.entries.Len()*(1+8+sealSize); cap(s.arena) < need {
		s.arena = make([]byte, 0, need)
	}
	arena := s.arena[:0] // Badger has copied what is in it once the commit returns
	var err error
	b.entries.Ascend(func(e layer.Entry) bool {
		start := len(arena)
		arena = append(append(arena, kindData), e.Key...)
		key := arena[start:len(arena):len(arena)]
		if e.Deleted() {
			err = txn.Delete(key)
			return err == nil
		}
		arena = additional(arena, ts)
		ad := arena[start:]
		start = len(arena)
		arena = s.sealer.seal(arena, e.Value(), ad)
		err = txn.Set(key, arena[start:len(arena):len(arena)])
		return err == nil
	})
	if err == nil {
		err = s.marks.add(txn, s.sealer, ts, b)
	}
	if err == nil {
		err = txn.CommitAt(ts, nil)
	}
	if err == nil {
		err = s.wal.sync()
	}
	if err != nil {
		return fmt.Errorf("writing to badger: %w", err)
	}
	return nil
}

// flushed publishes a base that holds b, drops b from the layers and lets its waiters go.
func (s *Store) flushed(b *batch) {
	next := s.newBase(s.batches)
	s.mu.Lock()
	v := *s.newest.Load()
	old := v.base
	v.base = next
	v.sealed = v.sealed[: len(v.sealed)-1 : len(v.sealed)-1]
	if v.last == b {
		v.last = nil
	}
	s.newest.Store(&v)
	if s.failure.Load() == nil { // stop closes the rest
		close(b.done)
	}
	s.mu.Unlock()
	old.release()
	s.unflushed.Add(int64(-b.bytes))
}

// stop refuses everything from now on: after a failed sync nobody knows what the disk holds.
func (s *Store) stop(cause error) {
	err := fmt.Errorf("%w: %w", metastore.ErrStopped, cause)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.failure.CompareAndSwap(nil, &err) {
		return
	}
	s.log.Error("metastore: stopped; nothing can be written until the store is opened again", "error", cause)
	v := *s.newest.Load()
	for _, b := range append([]*batch{s.filling}, v.sealed...) {
		b.err = err
		close(b.done)
	}
	close(s.stopped)
}

// usable reports why the store can't be written to.
func (s *Store) usable() error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	if s.closing.Load() {
		return metastore.ErrClosed
	}
	return nil
}
