package pressure

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

// all runs do for 0 <= i < n at the same time, and fails the test if one of them doesn't end.
func all(t *testing.T, n int, do func(i int)) {
	t.Helper()
	var running sync.WaitGroup
	done := make(chan struct{})
	for i := range n {
		running.Go(func() { do(i) })
	}
	go func() {
		running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(soon):
		require.Fail(t, "an operation hangs")
	}
}

// TestThousandWriters: a thousand programs write at once, half at each door; each content is read back at
// the other, and the daemon stays small.
func TestThousandWriters(t *testing.T) {
	s := start(t, harness.Options{}, 64<<10)
	s.mixed(1000, 1)
	require.Less(t, s.PeakMemory(), int64(512<<20), "bytes")
	s.finish()
}

// TestFewDescriptors: the daemon may open 128 files. Clients hold more connections than that, and many files. S3
// connections beyond half of them wait, so that the rest are there for the data: the mount goes on meanwhile.
func TestFewDescriptors(t *testing.T) {
	const most = 128
	o := harness.Options{}
	o.Binary = limited(t, fmt.Sprint("ulimit -n ", most))
	s := start(t, o, 512<<10)
	for i := range 20 {
		require.NoError(t, s.put(fmt.Sprint("before", i)))
	}
	held := hold(t, s.S3, 300)
	require.Eventually(t, func() bool { return descriptors(s.PID()) >= most/2 }, soon, 10*time.Millisecond, "connections are held")
	var waiting sync.WaitGroup
	for i := range 10 { // for a connection to be taken
		waiting.Go(func() { _ = s.put(fmt.Sprint("during-s3-", i)) })
	}
	files := make([]*os.File, 200) // stay open through the mount, more than the daemon may have
	all(t, len(files), func(i int) {
		name := fmt.Sprint("held", i)
		f, err := os.Create(s.path(name))
		if err == nil {
			files[i] = f
			_, err = f.Write(content(name, s.most).Body(1))
		}
		if err == nil {
			err = f.Sync()
		}
		s.note(name, err)
	})
	all(t, 40, func(i int) { _ = s.save(fmt.Sprint("during-fs-", i)) })
	_, errs := s.outcome()
	require.Empty(t, errs)
	for _, c := range held {
		_ = c.Close()
	}
	for _, f := range files {
		require.NoError(t, f.Close())
	}
	all(t, 1, func(int) { waiting.Wait() })
	require.Eventually(t, func() bool { return descriptors(s.PID()) < 100 }, soon, 10*time.Millisecond, "descriptors are returned")
	all(t, 20, func(i int) { _ = s.put(fmt.Sprint("after-s3-", i)) })
	all(t, 20, func(i int) { _ = s.save(fmt.Sprint("after-fs-", i)) })
	_, errs = s.outcome()
	require.Empty(t, errs)
	s.finish()
}

// hold opens n connections to an endpoint, each in the middle of its request.
func hold(t *testing.T, endpoint string, n int) []net.Conn {
	t.Helper()
	var held []net.Conn
	t.Cleanup(func() {
		for _, c := range held {
			_ = c.Close()
		}
	})
	for range n {
		c, err := net.Dial("tcp", endpoint)
		require.NoError(t, err)
		held = append(held, c)
		_, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: k3fs\r\n"))
	}
	return held
}

// descriptors is how many a process has open.
func descriptors(pid int) int {
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(fds)
}

// TestLittleMemory: a mixed load in a memory cgroup of 256 MiB.
func TestLittleMemory(t *testing.T) {
	const limit = 256 << 20
	o := harness.Options{}
	group := memoryGroup(t, limit)
	if group != "" {
		t.Logf("in the cgroup %s", group)
		o.Binary = limited(t, fmt.Sprintf("echo $$ >'%s/cgroup.procs'", group))
	} else {
		t.Log("no cgroup can be made: limits.memory and the resident size instead")
		o.Env = []string{"K3FS_LIMITS__MEMORY=128MiB"}
	}
	s := start(t, o, 8<<20)
	s.mixed(16, 12)
	if group == "" {
		require.Less(t, s.PeakMemory(), int64(limit), "bytes")
	}
	s.finish()
}

// memoryGroup makes a memory cgroup (version 1 or 2) below the test's own, or returns "".
func memoryGroup(t *testing.T, limit int) string {
	t.Helper()
	own, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	for line := range strings.Lines(string(own)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		var parent, file string
		switch {
		case len(f) < 3:
			continue
		case f[1] == "memory":
			parent, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		case f[1] == "":
			parent, file = "/sys/fs/cgroup", "memory.max"
		default:
			continue
		}
		for _, base := range []string{filepath.Join(parent, f[2]), parent} {
			group := filepath.Join(base, fmt.Sprintf("k3fs-pressure-%d", os.Getpid()))
			if os.Mkdir(group, 0o755) != nil {
				continue
			}
			t.Cleanup(func() { _ = exec.Command("rmdir", group).Run() })
			if f, err := os.OpenFile(filepath.Join(group, file), os.O_WRONLY, 0); err == nil {
				_, err = fmt.Fprint(f, limit)
				if f.Close() == nil && err == nil {
					return group
				}
			}
		}
	}
	return ""
}
