package pressure

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// TestNoDescriptorsForData: a daemon that is at work at both doors can't open files any more, so it can't make the next
// segment for data. Who needs one is told, or waits; the daemon lives and loses nothing, and once it may open files again
// all is as before.
func TestNoDescriptorsForData(t *testing.T) {
	disk := harness.NewDisk(t, "ext4", 768<<20) // on which segments are small
	s := start(t, harness.Options{Data: filepath.Join(disk.Dir, "data")}, 4<<20)
	for round := range 2 {
		name := func(i, n int) string { return fmt.Sprintf("r%d-w%d-%d", round, i, n) }
		var stop atomic.Bool
		_, earlier := s.outcome()
		worked := make(chan struct{})
		old := limitDescriptors(t, s.PID(), 4) // it has more than that
		go func() {
			defer close(worked)
			all(t, 4, func(i int) {
				for n := 0; !stop.Load(); n++ {
					if s.write(i, name(i, n)) != nil {
						return
					}
				}
			})
		}()
		require.Eventually(t, func() bool {
			_, errs := s.outcome()
			return len(errs) > len(earlier)
		}, soon, 10*time.Millisecond, "a new segment is needed")
		stop.Store(true)
		limitDescriptors(t, s.PID(), old)
		<-worked
		_, before := s.outcome()
		t.Log(before[len(earlier):])
		all(t, 4, func(i int) { _ = s.write(i, name(i, -1)) })
		_, after := s.outcome()
		require.Len(t, after, len(before), "%v", after[len(before):])
	}
	s.finish()
}

// write writes a name at one of the doors.
func (s *system) write(door int, name string) error {
	if door%2 == 0 {
		return s.put(name)
	}
	return s.save(name)
}

// limitDescriptors lets a running process open no file whose number would not be below n, and returns the limit of before.
func limitDescriptors(t *testing.T, pid int, n uint64) uint64 {
	t.Helper()
	var old unix.Rlimit
	require.NoError(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old))
	require.NoError(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: old.Max}, nil))
	return old.Cur
}
