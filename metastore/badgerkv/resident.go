package badgerkv

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"golang.org/x/sys/unix"
)

// trimInterval is how often it is asked how much of the mapped files is resident.
const trimInterval = 250 * time.Millisecond

// trimmer keeps the pages of mapped tables from counting as memory of the process. Badger maps all
// tables, writes them through the map and never lets a page go, so that without it the resident size grows
// with the store. A page that is let go stays in the page cache, and is a minor fault away.
func (s *Store) trimmer() {
	defer close(s.trimmed)
	tick := time.NewTicker(trimInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-tick.C:
			if resident, err := residentFiles(); err != nil || resident < s.opts.Mapped {
				continue
			}
			if err := s.trim(); err != nil {
				s.log.Warn("metastore: mapped tables stay in memory", "error", err)
			}
		}
	}
}

// residentFiles is how many bytes of mapped files are resident in the process (proc_pid_statm(5), shared).
func residentFiles() (int64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var total, resident, shared int64
	if _, err := fmt.Sscan(string(text), &total, &resident, &shared); err != nil {
		return 0, err
	}
	return shared * int64(os.Getpagesize()), nil
}

// trim lets go of the pages of all tables. An address may only be advised on while a table is mapped there
// for certain: an iterator holds all tables of the moment when it was opened, and those that were
// there before and after that are among them, since numbers of tables are never used again.
func (s *Store) trim() error {
	v := s.acquire()
	if v == nil {
		return nil
	}
	defer v.base.release()
	before := s.tables()
	it := v.base.txn.NewIterator(badger.IteratorOptions{})
	defer it.Close()
	held := map[string]bool{}
	for t := range s.tables() {
		if !before[t] {
			continue
		}
		path, err := filepath.EvalSymlinks(table.NewFilename(t.id, s.badgerDir)) // as maps tells it
		if err != nil {
			return err
		}
		held[path] = true
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		if err := letGo(lines.Text(), held); err != nil {
			return err
		}
	}
	return lines.Err()
}

// placed is a table at a level.
type placed struct {
	id    uint64
	level int
}

func (s *Store) tables() map[placed]bool {
	all := map[placed]bool{}
	for _, t := range s.db.Tables() {
		all[placed{t.ID, t.Level}] = true
	}
	return all
}

// letGo advises on one line of proc_pid_maps(5), if it is of a table that is held.
func letGo(line string, held map[string]bool) error {
	at := strings.IndexByte(line, '/')
	if at < 0 || !held[line[at:]] {
		return nil
	}
	var from, to uintptr
	var mode string
	if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
		return err
	}
	if !strings.HasSuffix(mode, "s") { // only shared pages are the file's
		return nil
	}
	_, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
	if errno != 0 {
		return fmt.Errorf("madvise: %w", errno)
	}
	return nil
}
