package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"k3fs/chunkstore"
	"k3fs/internal/wholefile"
	"k3fs/metastore/badgerkv"
	"k3fs/tenancy"
)

// What is in the data directory.
const (
	lockFile        = "lock"
	metaDir         = "meta"
	chunksDir       = "chunks"
	credentialsFile = "root-credentials"
)

// defaultFreeSpace is kept free where nothing is configured: this, or an eighth of a smaller disk.
const defaultFreeSpace = 256 << 20

// stores is everything that is open below the namespace.
type stores struct {
	lock    *os.File
	kv      *badgerkv.Store
	chunks  *chunkstore.Store
	tenancy *tenancy.Tenancy
	locked  *locked
}

// openStores locks the data directory and opens what is in it. On an error nothing stays open.
func openStores(ctx context.Context, cfg Config, log *slog.Logger) (_ *stores, err error) {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	s := new(stores)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.lock, err = lockData(cfg.Data); err != nil {
		return nil, err
	}
	if s.locked, err = nodeKeys(ctx, cfg, log, true); err != nil {
		return nil, err
	}
	reserve, err := freeSpace(cfg)
	if err != nil {
		return nil, err
	}
	// The metastore opens before the chunk store, whose keys are in it. Until that is open no record
	// refers to data, so there is nothing for the barrier to do.
	var chunks atomic.Pointer[chunkstore.Store]
	s.kv, err = badgerkv.Open(badgerkv.Options{
		Dir: filepath.Join(cfg.Data, metaDir), Key: s.locked.keys.MetadataKey(), LowWater: reserve, Logger: log,
		Barrier: func(ctx context.Context) error {
			if c := chunks.Load(); c != nil {
				return c.Sync(ctx)
			}
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open metadata: %w", err)
	}
	if s.tenancy, err = tenancy.Open(ctx, s.kv, s.locked.options(cfg)); err != nil {
		return nil, err
	}
	if err = s.locked.settle(ctx, s.tenancy, log); err != nil {
		return nil, err
	}
	s.chunks, err = chunkstore.Open(ctx, chunkstore.Options{
		Dir: filepath.Join(cfg.Data, chunksDir), Keys: s.tenancy, Logger: log,
		LowWater: reserve + reserve/4, // data stops first, so that there is room to record deletes
	})
	if err != nil {
		return nil, fmt.Errorf("open data: %w", err)
	}
	chunks.Store(s.chunks)
	return s, nil
}

// openStoresReadOnly opens what is in the data directory as it stands, and changes nothing there.
func openStoresReadOnly(ctx context.Context, cfg Config, log *slog.Logger) (_ *stores, err error) {
	s := new(stores)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.lock, err = lockForReading(cfg.Data); err != nil {
		return nil, err
	}
	if s.locked, err = nodeKeys(ctx, cfg, log, false); err != nil {
		return nil, err
	}
	s.kv, err = badgerkv.Open(badgerkv.Options{
		Dir: filepath.Join(cfg.Data, metaDir), Key: s.locked.keys.MetadataKey(), ReadOnly: true, Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("open metadata: %w", err)
	}
	if s.tenancy, err = tenancy.Open(ctx, s.kv, s.locked.options(cfg)); err != nil {
		return nil, err
	}
	s.chunks, err = chunkstore.Open(ctx, chunkstore.Options{
		Dir: filepath.Join(cfg.Data, chunksDir), Keys: s.tenancy, FS: chunkstore.ReadOnly(), Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("open data: %w", err)
	}
	return s, nil
}

// close makes everything durable and closes it. The metastore goes first: its last batch needs the
// chunk store's Sync.
func (s *stores) close() error {
	var errs []error
	if s.tenancy != nil {
		errs = append(errs, s.tenancy.StoreUsed(context.Background()))
	}
	if s.kv != nil {
		errs = append(errs, s.kv.Close())
	}
	if s.chunks != nil {
		errs = append(errs, s.chunks.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// ErrLocked: another k3fs runs on the data directory.
var ErrLocked = errors.New("the data directory is in use by another k3fs")

// lockData takes the lock of a data directory, which the kernel frees when its file is closed or the
// process ends.
func lockData(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	return flock(f, syscall.LOCK_EX)
}

// lockForReading keeps daemons out of a data directory, and other readers not. Where the lock's file is
// missing (a copy of the rest, say) it stays so, and there is no lock.
func lockForReading(dir string) (*os.File, error) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	return flock(f, syscall.LOCK_SH)
}

// flock locks f or closes it.
func flock(f *os.File, how int) (*os.File, error) {
	err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%w: %s is locked", ErrLocked, f.Name())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// freeSpace is the free space that is kept, in bytes.
func freeSpace(cfg Config) (int64, error) {
	if cfg.Limits.FreeSpace > 0 {
		return int64(cfg.Limits.FreeSpace), nil
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(cfg.Data, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", cfg.Data, err)
	}
	return min(defaultFreeSpace, int64(st.Blocks)*st.Bsize/8), nil
}

// rootCredentials gives the root account the configured credentials, or the ones that are made once. Those
// are kept in a file, in the form that a shell and --env-file read.
func (s *stores) rootCredentials(ctx context.Context, cfg Config, log *slog.Logger) error {
	c, err := s.tenancy.EnsureRoot(ctx, cfg.Root.AccessKey, cfg.Root.SecretKey)
	if errors.Is(err, tenancy.ErrInvalid) {
		return &ConfigError{fmt.Errorf("K3FS_ROOT_ACCESS_KEY and K3FS_ROOT_SECRET_KEY: %w", err)}
	}
	if err != nil {
		return err
	}
	path := filepath.Join(cfg.Data, credentialsFile)
	if !c.Generated { // an earlier file would tell credentials that are no longer true
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text := fmt.Sprintf("AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\n", c.AccessKey, c.Secret)
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return nil
	}
	if err := wholefile.Replace(path, []byte(text)); err != nil {
		return fmt.Errorf("keep the root credentials: %w", err)
	}
	log.Info("made root credentials", "file", path, "access_key", c.AccessKey)
	return nil
}
