package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"k3fs/chunkstore"
	"k3fs/internal/wholefile"
	"k3fs/metastore"
	"k3fs/metastore/badgerkv"
	"k3fs/namespace"
	"k3fs/tenancy"
)

// copyNote is a file in a copy that says what it is.
const copyNote = "backup.json"

// copyFormat is the form of copies that are made, and read.
const copyFormat = 1

// storeCopy copies a store into a data directory of its own: all records, sealed by another metadata key, and the data
// that they refer to, sealed as they are. Both are opened by what opens the keys of the store.
type storeCopy struct {
	Format  int       `json:"format"`
	Version string    `json:"version"` // of k3fs
	Made    time.Time `json:"made"`
	Lock    string    `json:"lock"` // what opens its keys: the master key, by a hash of it, or the key service
	Records int64     `json:"records"`
	Extents int64     `json:"extents"`
	Bytes   int64     `json:"bytes"` // of data, as they are stored

	from *chunkstore.Store
	dir  string
	log  *slog.Logger
	tell func(phase string, done, of int64)
	// room says why there is none for more, or nil.
	room func() error
}

// Bounds of one update of the copy.
const (
	copyKeys  = metastore.MaxUpdateKeys / 2
	copyBytes = metastore.MaxUpdateBytes / 2
)

// run copies what r shows. The keys are the store's, as ForCopy makes them.
func (c *storeCopy) run(ctx context.Context, r metastore.Reader, keys *tenancy.NodeKeys, lock tenancy.Lock) error {
	c.Format, c.Lock = copyFormat, lock.Name()
	if err := keys.Save(ctx, filepath.Join(c.dir, nodeKeysFile), lock); err != nil {
		return err
	}
	if err := c.records(ctx, r, keys); err != nil {
		return err
	}
	if err := c.data(ctx, r); err != nil {
		return err
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return wholefile.Replace(filepath.Join(c.dir, copyNote), append(text, '\n'))
}

func (c *storeCopy) records(ctx context.Context, r metastore.Reader, keys *tenancy.NodeKeys) (err error) {
	kv, err := badgerkv.Open(badgerkv.Options{Dir: filepath.Join(c.dir, metaDir), Key: keys.MetadataKey(), BlockCache: 1 << 20, IndexCache: 4 << 20,
		ScrubInterval: -1, Ballast: -1, Logger: c.log})
	if err != nil {
		return fmt.Errorf("make the metadata of the copy: %w", err)
	}
	defer func() { err = errors.Join(err, kv.Close()) }()
	var batch []pair
	size := 0
	flush := func() error {
		err := kv.Update(ctx, metastore.Ordered, func(t metastore.Txn) error {
			for _, p := range batch {
				if err := t.Set(p.key, p.value); err != nil {
					return err
				}
			}
			return nil
		})
		c.Records += int64(len(batch))
		batch, size = batch[:0], 0
		c.tell("metadata", 0, 0)
		return errors.Join(err, c.room())
	}
	err = r.Scan(metastore.Range{Page: 4096}, func(k, v []byte) (bool, error) {
		batch = append(batch, pair{append([]byte(nil), k...), append([]byte(nil), v...)})
		if size += len(k) + len(v); len(batch) < copyKeys && size < copyBytes {
			return true, ctx.Err()
		}
		return true, flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

type pair struct{ key, value []byte }

func (c *storeCopy) data(ctx context.Context, r metastore.Reader) (err error) {
	of := int64(0)
	if err := namespace.Extents(r, func(e chunkstore.Extent) error { of += e.DiskBytes(); return ctx.Err() }); err != nil {
		return err
	}
	out, err := c.from.NewCopy(filepath.Join(c.dir, chunksDir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	told := int64(0)
	return namespace.Extents(r, func(e chunkstore.Extent) error {
		if err := out.Add(ctx, e); err != nil {
			return err
		}
		c.Extents++
		if c.Bytes += e.DiskBytes(); c.Bytes-told < 4<<20 {
			return nil
		}
		told = c.Bytes
		c.tell("data", c.Bytes, of)
		return c.room()
	})
}

// roomIn says when the file system of a directory has less than reserve left.
func roomIn(dir string, reserve int64) func() error {
	return func() error {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			return err
		}
		if free := int64(st.Bavail) * st.Bsize; free < reserve {
			return fmt.Errorf("%s has too little room left: make some, or name another place", dir)
		}
		return nil
	}
}

// checkCopyNote makes sure that a directory is a whole copy, of a form that is known.
func checkCopyNote(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, copyNote))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is no whole backup of k3fs: it has no %s", dir, copyNote)
	case err != nil:
		return err
	}
	var c storeCopy
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("%s of %s is damaged: %w", copyNote, dir, err)
	}
	if c.Format != copyFormat {
		return fmt.Errorf("%s was made by another version of k3fs (%s), in format %d: restore it with that", dir, c.Version, c.Format)
	}
	return nil
}

// freePlace reports why makeWhole could not make a directory, which may be there if it is empty.
func freePlace(dir string) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory: name one that is to be made", dir)
	}
	if err != nil {
		return err
	}
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, 0, &st); err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return fmt.Errorf("%s is a mount point: name a directory below it that is to be made", dir)
	}
	names, err := os.ReadDir(dir)
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%s is not empty: name a directory that is to be made, and keep the master key elsewhere", dir)
	}
	return err
}

// makeWhole lets make fill a directory that appears under its name when all of it is durable, or not at all.
func makeWhole(dir string, make func(tmp string) error) (err error) {
	tmp := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".partial") // hidden, as no backup's name is
	if err := os.RemoveAll(tmp); err != nil {                                  // of one that was cut short
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := make(tmp); err != nil {
		return err
	}
	if err := errors.Join(syncTo(tmp), os.Rename(tmp, dir)); err != nil {
		return err
	}
	return syncTo(filepath.Dir(dir))
}

func syncTo(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
