package badgerkv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// wal makes Badger's write-ahead log durable. Badger's own SyncWrites also syncs its value log in each transaction,
// which holds nothing here: a second flush of the disk in every commit.
//
// Badger writes one transaction into one log, the last of its files NNNNN.mem, and makes the next file when a transaction
// no longer fits. It never removes the last. It leaves the directory's entry of a new one to the file system, which need not
// make it durable with the file (fsync(2)); wal does. Only the committer uses a wal.
type wal struct {
	db     syncer // Badger
	dir    *os.File
	number int
	file   *os.File
	open   func(name string) (*os.File, error) // os.Open, but in tests
}

// syncer makes all that was written durable, the value log, too; for when there is no descriptor to be had.
type syncer interface{ Sync() error }

// openWAL finds the log that Badger writes to, once it is open.
func openWAL(db syncer, dir string) (*wal, error) {
	names, err := logs(dir)
	if err != nil {
		return nil, err
	}
	w := &wal{db: db, open: os.Open}
	for _, name := range names { // sorted; but a number may have outgrown its zeros
		var n int
		if _, err := fmt.Sscanf(filepath.Base(name), "%d.mem", &n); err == nil {
			w.number = max(w.number, n)
		}
	}
	if w.dir, err = os.Open(dir); err != nil {
		return nil, err
	}
	if w.file, err = os.Open(w.path(w.number)); err != nil {
		return nil, errors.Join(err, w.dir.Close())
	}
	if err := w.dir.Sync(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// logs are the paths of Badger's logs; none where there is no directory. filepath.Glob would take characters of dir for
// a pattern.
func logs(dir string) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".mem" {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, err
}

func (w *wal) path(number int) string {
	return filepath.Join(w.dir.Name(), fmt.Sprintf("%05d.mem", number))
}

// sync makes what the last transaction wrote durable; those before it are.
func (w *wal) sync() error {
	err := w.follow()
	switch {
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE): // the next commit tries again
		return errors.Join(w.dir.Sync(), w.db.Sync())
	case err != nil:
		return err
	}
	for {
		// Also what was written through Badger's mapping.
		if err := unix.Fdatasync(int(w.file.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// follow goes on to the log that Badger has gone on to.
func (w *wal) follow() error {
	last := w.number
	for {
		path := w.path(w.number + 1)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) { // takes no descriptor
			break
		} else if err != nil {
			return err
		}
		next, err := w.open(path)
		if err != nil {
			return err
		}
		if err := w.file.Close(); err != nil {
			return errors.Join(err, next.Close())
		}
		w.number, w.file = w.number+1, next
	}
	if w.number == last {
		return nil
	}
	return w.dir.Sync()
}

func (w *wal) close() error { return errors.Join(w.file.Close(), w.dir.Close()) }
