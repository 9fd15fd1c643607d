package chunkstore

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
)

// syncer shares fdatasyncs: while one batch is on its way to the disk, all who come wait for the next.
type syncer struct {
	mu      sync.Mutex
	dirty   map[*segment]struct{} // written since the running batch began; each has one user more
	running *syncBatch
	next    *syncBatch // begins when running ends; nil while nobody waits for one
}

type syncBatch struct {
	done chan struct{}
	err  error
}

// mark notes that a write to the segment returned.
func (y *syncer) mark(seg *segment) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if _, ok := y.dirty[seg]; ok {
		return
	}
	y.dirty[seg] = struct{}{}
	seg.mu.Lock()
	seg.users++
	seg.mu.Unlock()
}

// Sync returns when everything is durable whose Append returned before. Callers at the same time share
// the work; with nothing written since the last, it does nothing. An error is ErrStopped or ErrClosed,
// or that of the context, which ends only the waiting.
func (s *Store) Sync(ctx context.Context) error {
	if err := s.usable(); err != nil {
		return err
	}
	b := s.syncs.join(s)
	if b == nil {
		return nil
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join returns the batch that covers all writes up to now, nil if they are durable.
func (y *syncer) join(s *Store) *syncBatch {
	y.mu.Lock()
	defer y.mu.Unlock()
	switch {
	case len(y.dirty) == 0:
		return y.running
	case y.next == nil:
		y.next = &syncBatch{done: make(chan struct{})}
		if y.running == nil {
			y.begin(s)
		}
		return y.lastJoined()
	}
	return y.next
}

// lastJoined is the batch that a caller with dirty data just joined. y.mu must be held.
func (y *syncer) lastJoined() *syncBatch {
	if y.next != nil {
		return y.next
	}
	return y.running
}

// begin starts the next batch. y.mu must be held, and no batch may run.
func (y *syncer) begin(s *Store) {
	y.running, y.next = y.next, nil
	batch, dirty := y.running, y.dirty
	y.dirty = make(map[*segment]struct{}, 2)
	go func() {
		batch.err = s.syncSegments(dirty)
		y.mu.Lock()
		defer y.mu.Unlock()
		y.running = nil
		if y.next != nil {
			y.begin(s)
		}
		close(batch.done)
	}()
}

func (s *Store) syncSegments(dirty map[*segment]struct{}) error {
	var g errgroup.Group
	for seg := range dirty {
		g.Go(func() error {
			defer seg.release()
			if err := s.stoppedErr(); err != nil {
				return err
			}
			if err := seg.file.Sync(); err != nil {
				return s.stop(fmt.Errorf("sync segment %d: %w", seg.number, err))
			}
			return nil
		})
	}
	return g.Wait()
}
