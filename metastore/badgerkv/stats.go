package badgerkv

import (
	"sync/atomic"
	"time"
)

// Stats says what the store has done since it was opened.
type Stats struct {
	Batches   uint64        // transactions that Badger was given, each of which was one sync of its log
	Keys      uint64        // keys that they wrote
	Barrier   time.Duration // time spent making durable the data that batches refer to
	Commit    time.Duration // time spent writing batches, their sync included
	Unflushed int64         // bytes of commits that are not durable yet
}

// stats counts what Stats reports.
type stats struct {
	batches, keys   atomic.Uint64
	barrier, commit atomic.Int64 // nanoseconds
}

// Stats returns the store's counters. It costs next to nothing.
func (s *Store) Stats() Stats {
	return Stats{
		Batches: s.stats.batches.Load(), Keys: s.stats.keys.Load(),
		Barrier: time.Duration(s.stats.barrier.Load()), Commit: time.Duration(s.stats.commit.Load()),
		Unflushed: s.unflushed.Load(),
	}
}
