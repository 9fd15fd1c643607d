package badgerkv

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"k3fs/metastore"
)

// Names in Options.Dir.
const (
	anchorName  = "anchor"
	ballastName = "ballast"
	badgerName  = "badger"
)

// anchorInterval is how long the anchor may stay unsynced.
const anchorInterval = time.Second

// Open opens the store in o.Dir, or makes one there. It returns an error that is ErrCorrupt if the store
// holds less than was acknowledged, or if any table fails its checksums.
func Open(o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.setDefaults()
	s := &Store{
		opts: o, log: o.Logger, filling: newBatch(), counters: map[string]int64{},
		work: make(chan struct{}, 1), stopped: make(chan struct{}),
		quit: make(chan struct{}), committed: make(chan struct{}), scrubbed: make(chan struct{}), trimmed: make(chan struct{}),
		idle: make(chan struct{}),
	}
	seed := maphash.MakeSeed()
	s.reads.New = func() any { return &readSet{seed: seed} }
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.release())
	}
	go s.trimmer()
	if o.ReadOnly {
		close(s.committed)
		close(s.scrubbed)
		return s, nil
	}
	go s.committer()
	go s.scrubber()
	return s, nil
}

func (s *Store) open() error {
	dir, err := filepath.Abs(s.opts.Dir)
	if err != nil {
		return fmt.Errorf("badgerkv: %w", err)
	}
	s.badgerDir = filepath.Join(dir, badgerName)
	if s.memTable, err = memTable(s.badgerDir, s.opts.MemTable); err != nil {
		return fmt.Errorf("badgerkv: %w", err)
	}
	keys, err := deriveKeys(s.opts.Key)
	if err != nil {
		return err
	}
	if s.opts.ReadOnly {
		return s.openReadOnly(keys)
	}
	if err := os.MkdirAll(s.opts.Dir, 0o700); err != nil {
		return fmt.Errorf("badgerkv: %w", err)
	}
	a, err := openAnchor(filepath.Join(s.opts.Dir, anchorName), keys.anchor)
	if err != nil {
		return fmt.Errorf("badgerkv: anchor: %w", err)
	}
	s.anchor = a
	if s.space, err = newSpace(s.opts, filepath.Join(s.opts.Dir, ballastName)); err != nil {
		return fmt.Errorf("badgerkv: %w", err)
	}
	if s.sealer, err = newSealer(keys.value, s.anchor.state.epoch); err != nil {
		return err
	}
	if err := s.checkFiles(keys); err != nil {
		return err
	}
	if s.db, err = openBadger(s.badgerOptions(keys)); err != nil {
		return err
	}
	if s.wal, err = openWAL(s.db, s.badgerDir); err != nil {
		return fmt.Errorf("badgerkv: %w", err)
	}
	return s.load()
}

// checkFiles looks at Badger's files before Badger does, which drops or crashes on damaged ones.
func (s *Store) checkFiles(keys keys) error {
	exists, err := hasDatabase(s.badgerDir)
	if err != nil {
		return fmt.Errorf("badgerkv: %w", err)
	}
	if !exists {
		if n := s.anchor.state.batch; n > 0 {
			return fmt.Errorf("%w: %s holds no database, but %d batches were acknowledged: "+
				"restore it from a backup", metastore.ErrCorrupt, s.opts.Dir, n)
		}
		if s.opts.ReadOnly {
			return fmt.Errorf("badgerkv: %s holds nothing yet", s.opts.Dir)
		}
		return nil
	}
	if err := syncLogs(s.badgerDir); err != nil {
		return fmt.Errorf("badgerkv: %w", err)
	}
	return verifyTables(s.badgerDir, s.badgerOptions(keys))
}

// syncLogs makes durable what a killed process left in the page cache: it is about to be replayed, and
// what comes after it must not outlive it.
func syncLogs(dir string) error {
	names, err := logs(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		file, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(file.Sync(), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) badgerOptions(k keys) badger.Options {
	return badger.DefaultOptions(s.badgerDir).
		WithSyncWrites(false). // wal does that
		WithDetectConflicts(false).
		WithNumVersionsToKeep(1).
		// Sealed values don't compress, and what compresses (keys) is 8 % of a table: not worth a copy.
		WithCompression(options.None).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithEncryptionKey(k.badger).
		WithMemTableSize(s.memTable).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithBlockCacheSize(s.opts.BlockCache).
		WithIndexCacheSize(s.opts.IndexCache).
		// Never used, since every value is below ValueThreshold.
		WithValueLogFileSize(1 << 20).
		WithMetricsEnabled(false).
		WithLogger(badgerLog{s.log})
}

// memTable is the size of memtables for this run: what is wanted, or that of an earlier run whose log is
// left to be replayed, which would not fit into less. Badger makes a log twice as long as its memtable.
func memTable(dir string, wanted int64) (int64, error) {
	names, err := logs(dir)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return 0, err
		}
		wanted = max(wanted, info.Size()/2)
	}
	return wanted, nil
}

// openBadger turns panics, Badger's way to report some kinds of damage, into errors.
func openBadger(o badger.Options) (db *badger.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: opening badger: panic", metastore.ErrCorrupt)
		}
	}()
	db, err = badger.OpenManaged(o)
	if err != nil {
		return nil, fmt.Errorf("%w: opening badger: %w", metastore.ErrCorrupt, err)
	}
	return db, nil
}

// load checks that the store holds what was acknowledged, and publishes the first view.
func (s *Store) load() error {
	last := s.db.MaxVersion()
	if acknowledged := s.anchor.state.batch; last < acknowledged {
		return fmt.Errorf("%w: batches up to %d were acknowledged, but the store ends with %d: its "+
			"write-ahead log is damaged; restore the store from a backup", metastore.ErrCorrupt, acknowledged, last)
	}
	s.batches = last
	b := s.newBase(last)
	s.newest.Store(&view{base: b, top: s.filling.entries.Snapshot()})
	s.db.SetDiscardTs(last)
	var err error
	if s.marks, err = loadMarks(b.txn, s.sealer, last, 4*s.memTable); err != nil {
		return fmt.Errorf("%w; restore the store from a backup", err)
	}
	return nil
}

// Close implements metastore.Store. It waits for views and updates that are running.
func (s *Store) Close() error {
	if s.closing.Swap(true) {
		return metastore.ErrClosed
	}
	close(s.quit)
	s.wake()
	<-s.committed
	<-s.scrubbed
	<-s.trimmed
	var err error
	if failure := s.failure.Load(); failure != nil {
		err = *failure
	}
	return errors.Join(err, s.release())
}

// release ends all that Open began. Nothing may be committed any more.
func (s *Store) release() error {
	if v := s.newest.Swap(nil); v != nil {
		v.base.release()
		<-s.idle
	}
	var errs []error
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.wal != nil {
		errs = append(errs, s.wal.close())
	}
	if s.anchor != nil {
		errs = append(errs, s.anchor.close())
	}
	if s.scratch != "" {
		errs = append(errs, os.RemoveAll(s.scratch))
	}
	return errors.Join(errs...)
}

// badgerLog passes Badger's messages on.
type badgerLog struct{ log *slog.Logger }

var _ badger.Logger = badgerLog{}

func (l badgerLog) print(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "badger: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}

func (l badgerLog) Errorf(format string, args ...any)   { l.print(slog.LevelError, format, args) }
func (l badgerLog) Warningf(format string, args ...any) { l.print(slog.LevelWarn, format, args) }
func (l badgerLog) Infof(format string, args ...any)    { l.print(slog.LevelDebug, format, args) }

// Debugf drops the message: those quote keys.
func (l badgerLog) Debugf(string, ...any) {}
