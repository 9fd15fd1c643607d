package badgerkv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k3fs/metastore"
)

// Options of a Store. Dir and Key are needed, all else has defaults.
type Options struct {
	// Dir holds the store and nothing else. It is made if absent.
	Dir string
	// Key is the metadata key: everything sealed on the disk derives from it.
	Key [32]byte
	// ReadOnly opens the store for reading, and changes nothing in Dir, which may be on a read-only mount:
	// not even the log of a crash is replayed there. What Badger must be able to change is copied into
	// os.TempDir meanwhile: the logs, of up to twice MemTable each.
	ReadOnly bool
	// Barrier makes the data durable that commits so far refer to. It runs before each batch is written;
	// nil if there is no such data. Its failure stops the store.
	Barrier func(context.Context) error
	// FlushInterval is the longest time that an Ordered update stays in memory only: at most 1 s.
	FlushInterval time.Duration
	// MaxUnflushed bounds the bytes of commits that aren't written yet; more makes updates wait.
	MaxUnflushed int
	// MemTable is the size of each of Badger's (up to three) memtables, in bytes.
	MemTable int64
	// BlockCache and IndexCache bound Badger's caches, in bytes. The index cache should hold the bloom
	// filters and block indexes of all tables, about 3 bytes a key.
	BlockCache, IndexCache int64
	// Mapped bounds the resident pages of mapped files in the process, in bytes: beyond it those of
	// Badger's tables are left to the page cache.
	Mapped int64
	// LowWater is how many bytes must be free on the file system for Ordered and Durable updates. 0 means
	// 256 MiB, which is what Badger may need to flush and compact; on a file system under 2 GiB, as
	// much of that as a store of its size can need. Others must not fill the file system below it.
	LowWater int64
	// Ballast is the size of a file that is given up when the disk is full, so that space can be freed;
	// 0 means 64 MiB, or a 32nd of a file system under 2 GiB; negative means none.
	Ballast int64
	// FreeSpace tells the free and total bytes of the file system of dir; nil means statfs(2).
	FreeSpace func(dir string) (free, total uint64, err error)
	// ScrubInterval is how often all tables are checked while the store is open; 0 means an hour,
	// negative never.
	ScrubInterval time.Duration
	// Logger gets Badger's and the store's own messages, which never hold keys or values.
	Logger *slog.Logger

	// beforeCommit injects a failure of the disk, for tests.
	beforeCommit func() error
}

const (
	defaultFlushInterval = 250 * time.Millisecond
	maxFlushInterval     = time.Second
	defaultScrubInterval = time.Hour
	defaultMaxUnflushed  = 16 << 20
	defaultBlockCache    = 32 << 20
	defaultIndexCache    = 48 << 20
	defaultMapped        = 64 << 20
	// defaultMemTable lets one Badger transaction (15 % of it) hold an update of MaxUpdateBytes in
	// MaxUpdateKeys keys, with what sealing and Badger add to each.
	defaultMemTable = 10 << 20
	defaultLowWater = 256 << 20
	defaultBallast  = 64 << 20
)

// perEntry bounds what sealing and Badger add to the size of one entry.
const perEntry = 48

func (o *Options) setDefaults() {
	setDefault(&o.FlushInterval, defaultFlushInterval)
	setDefault(&o.ScrubInterval, defaultScrubInterval)
	setDefault(&o.MaxUnflushed, defaultMaxUnflushed)
	setDefault(&o.MemTable, defaultMemTable)
	setDefault(&o.BlockCache, defaultBlockCache)
	setDefault(&o.IndexCache, defaultIndexCache)
	setDefault(&o.Mapped, defaultMapped)
	if o.FreeSpace == nil {
		o.FreeSpace = statfs
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports what is wrong with the options, defaults taken as set.
func (o Options) Validate() error {
	o.setDefaults()
	var errs []error
	if o.Dir == "" {
		errs = append(errs, errors.New("no Dir"))
	}
	if o.Key == ([32]byte{}) {
		errs = append(errs, errors.New("no Key"))
	}
	if o.FlushInterval < 0 || o.FlushInterval > maxFlushInterval {
		errs = append(errs, fmt.Errorf("FlushInterval %v is not within 0 and %v", o.FlushInterval, maxFlushInterval))
	}
	if need := int64(metastore.MaxUpdateBytes + metastore.MaxUpdateKeys*perEntry); o.MemTable*15/100 <= need {
		errs = append(errs, fmt.Errorf("MemTable %d is under %d", o.MemTable, need*100/15))
	}
	if o.MaxUnflushed < 2*metastore.MaxUpdateBytes {
		errs = append(errs, fmt.Errorf("MaxUnflushed %d is under %d", o.MaxUnflushed, 2*metastore.MaxUpdateBytes))
	}
	if o.LowWater < 0 || o.BlockCache < 1<<20 || o.IndexCache < 1<<20 {
		errs = append(errs, errors.New("LowWater is negative or a cache is under 1 MiB"))
	}
	if len(errs) > 0 {
		return fmt.Errorf("badgerkv options: %w", errors.Join(errs...))
	}
	return nil
}
