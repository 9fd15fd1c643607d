package badgerkv

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// smallDisk is the size below which LowWater and Ballast default to a share of the file system.
const smallDisk = 2 << 30

// smallReserve is what even an empty store needs.
const smallReserve = 32 << 20

// spaceTTL is how long a reading of the free space is good for.
const spaceTTL = 50 * time.Millisecond

// space watches the free space of the store's file system and keeps the ballast. Badger writes through
// memory maps, where a full disk is SIGBUS and not an error: so the disk must never become full.
type space struct {
	dir, path string // of the store and of its ballast
	probe     func(dir string) (free, total uint64, err error)
	lowWater  uint64
	scaled    bool          // lowWater is a bound, what counts is the size of the store
	size      atomic.Uint64 // of the store: what was there when it was opened, and what was written since
	ballast   int64

	mu   sync.Mutex
	read time.Time // when free was probed
	free uint64
	held bool // the ballast exists in full
}

func newSpace(o Options, path string) (*space, error) {
	s := &space{dir: o.Dir, path: path, probe: o.FreeSpace, lowWater: uint64(o.LowWater), ballast: o.Ballast}
	free, total, err := s.probe(s.dir)
	if err != nil {
		return nil, err
	}
	if s.lowWater == 0 {
		s.lowWater = defaultLowWater
		s.scaled = total < smallDisk
		s.size.Store(allocated(filepath.Join(o.Dir, badgerName)))
	}
	if s.ballast == 0 {
		s.ballast = defaultBallast
		if total < smallDisk {
			s.ballast = int64(total / 32)
		}
	}
	if info, err := os.Stat(path); err == nil {
		s.held = info.Size() == s.ballast
		if !s.held {
			os.Remove(path)
		}
	}
	s.free, s.read = free, time.Now()
	s.settle()
	return s, nil
}

// low tells whether free space is below the low-water mark once promised bytes will have been written.
func (s *space) low(promised int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	return s.free < s.mark()+uint64(max(promised, 0))
}

// mark is the low-water mark. Flushing and compacting may need twice what the store holds.
func (s *space) mark() uint64 {
	if !s.scaled {
		return s.lowWater
	}
	return min(s.lowWater, smallReserve+2*s.size.Load())
}

// wrote notes that the store grows.
func (s *space) wrote(bytes int) { s.size.Add(uint64(bytes)) }

// exhausted tells whether not even updates that free space can be let in, the ballast being gone.
func (s *space) exhausted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	return s.free < s.floor()
}

// floor is the free space below which the ballast is given up, and then everything is refused.
func (s *space) floor() uint64 { return s.mark() / 8 }

// refresh probes the disk when the last reading is old. s.mu must be held.
func (s *space) refresh() {
	if time.Since(s.read) < spaceTTL {
		return
	}
	s.reread()
	s.settle()
}

// reread probes the disk. s.mu must be held.
func (s *space) reread() {
	if free, _, err := s.probe(s.dir); err == nil {
		s.free = free
	}
	s.read = time.Now()
}

// settle gives up the ballast when the disk is nearly full, and makes it again when there is much room.
// s.mu must be held.
func (s *space) settle() {
	switch {
	case s.ballast <= 0:
	case s.held && s.free < s.floor():
		if err := os.Remove(s.path); err == nil || errors.Is(err, fs.ErrNotExist) {
			s.held = false
			s.reread()
		}
	case !s.held && s.free > 2*s.mark()+uint64(s.ballast):
		if err := allocate(s.path, s.ballast); err == nil {
			s.held = true
			s.reread()
		}
	}
}

// allocate makes a file of really allocated blocks.
func allocate(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(file.Fd()), 0, 0, size)
	err = errors.Join(err, file.Close())
	if err != nil {
		os.Remove(path)
	}
	return err
}

// allocated is how many bytes the files in dir take; less matters little.
func allocated(dir string) (sum uint64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(dir, e.Name()), &st) == nil {
			sum += uint64(st.Blocks) * 512
		}
	}
	return sum
}

func statfs(dir string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}
