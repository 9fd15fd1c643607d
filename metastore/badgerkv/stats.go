package badgerkv

import (
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

// Stats says what the store has done since it was opened.
type Stats struct {
	Batches   uint64        // transactions that Badger was given, each of which was one sync of its log
	Keys      uint64        // keys that they wrote
	Barrier   time.Duration // time spent making durable the data that batches refer to
	Commit    time.Duration // time spent writing batches, their sync included
	Unflushed int64         // bytes of commits that are not durable yet

	Tables, TableBytes int64 // Badger's tables (its LSM tree), and their size on disk
	Blocks, Indexes    Cache // its caches
}

// Cache says how often a cache held what was looked for.
type Cache struct{ Hits, Misses uint64 }

// stats counts what Stats reports.
type stats struct {
	batches, keys   atomic.Uint64
	barrier, commit atomic.Int64 // nanoseconds
}

// Stats returns the store's counters. It costs microseconds.
func (s *Store) Stats() Stats {
	now := Stats{
		Batches: s.stats.batches.Load(), Keys: s.stats.keys.Load(),
		Barrier: time.Duration(s.stats.barrier.Load()), Commit: time.Duration(s.stats.commit.Load()),
		Unflushed: s.unflushed.Load(),
		Blocks:    cacheOf(s.db.BlockCacheMetrics()), Indexes: cacheOf(s.db.IndexCacheMetrics()),
	}
	for _, level := range s.db.Levels() {
		now.Tables += int64(level.NumTables)
		now.TableBytes += level.Size
	}
	return now
}

func cacheOf(m *ristretto.Metrics) Cache { return Cache{Hits: m.Hits(), Misses: m.Misses()} }
