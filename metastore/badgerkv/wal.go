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
	dir    string
	number int
	file   *os.File
}

// openWAL finds the log that Badger writes to, once it is open.
func openWAL(dir string) (*wal, error) {
	names, err := logs(dir)
	if err != nil {
		return nil, err
	}
	w := &wal{dir: dir}
	for _, name := range names { // sorted; but a number may have outgrown its zeros
		var n int
		if _, err := fmt.Sscanf(filepath.Base(name), "%d.mem", &n); err == nil {
			w.number = max(w.number, n)
		}
	}
	if w.file, err = os.Open(w.path(w.number)); err != nil {
		return nil, err
	}
	return w, syncDir(dir)
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
	return filepath.Join(w.dir, fmt.Sprintf("%05d.mem", number))
}

// sync makes what the last transaction wrote durable; those before it are.
func (w *wal) sync() error {
	last := w.number
	for {
		next, err := os.Open(w.path(w.number + 1))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		if err := w.file.Close(); err != nil {
			return err
		}
		w.number, w.file = w.number+1, next
	}
	if w.number != last {
		if err := syncDir(w.dir); err != nil {
			return err
		}
	}
	for {
		// Also what was written through Badger's mapping.
		if err := unix.Fdatasync(int(w.file.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (w *wal) close() error { return w.file.Close() }
