package pressure

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// soon bounds what must end, on a machine that is busy with other things.
const soon = 2 * time.Minute

const jobDir, jobName = "K3FS_PRESSURE_DIR", "K3FS_PRESSURE_NAME"

// mostOfJob is the largest content that a job writes, in bytes.
const mostOfJob = 256 << 10

// TestMain is the tests, or one job of theirs: a process of its own that writes until it can't.
func TestMain(m *testing.M) {
	if dir := os.Getenv(jobDir); dir != "" {
		os.Exit(work(dir, os.Getenv(jobName)))
	}
	os.Exit(m.Run())
}

// work writes one file after the other, and prints the name of each that was fsynced.
func work(dir, job string) int {
	for i := 0; ; i++ {
		name := fmt.Sprintf("%s-%d", job, i)
		if err := save(dir+"/"+name, content(name, mostOfJob).Body(1)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(name)
	}
}

// jobs are processes that write into the mount.
type jobs struct {
	s    *system
	cmds []*exec.Cmd
	ends sync.WaitGroup
	each chan string
}

// work starts n jobs whose names begin with prefix, and returns when each has written enough files.
func (s *system) work(prefix string, n, enough int) *jobs {
	s.t.Helper()
	j := &jobs{s: s, each: make(chan string, n)}
	for i := range n {
		j.start(fmt.Sprintf("%s%d", prefix, i), enough)
	}
	late := time.After(soon)
	for range n {
		select {
		case <-j.each:
		case <-late:
			j.kill()
			require.Fail(s.t, "the jobs write too slowly")
		}
	}
	return j
}

func (j *jobs) start(name string, enough int) {
	exe, err := os.Executable()
	require.NoError(j.s.t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), jobDir+"="+j.s.path(""), jobName+"="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	require.NoError(j.s.t, err)
	require.NoError(j.s.t, cmd.Start())
	j.cmds = append(j.cmds, cmd)
	j.ends.Go(func() {
		n := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			j.s.note(lines.Text(), nil)
			if n++; n == enough {
				j.each <- name
			}
		}
		_ = cmd.Wait()
	})
}

// kill sends each job SIGKILL.
func (j *jobs) kill() {
	for _, cmd := range j.cmds {
		_ = cmd.Process.Kill()
	}
}

// ended fails the test unless all jobs end.
func (j *jobs) ended() {
	j.s.t.Helper()
	done := make(chan struct{})
	go func() {
		j.ends.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(soon):
		j.kill()
		require.Fail(j.s.t, "a job hangs")
	}
}

// TestKilledJob: programs killed in the middle of their writes leave a mount that works.
func TestKilledJob(t *testing.T) {
	s := start(t, harness.Options{}, mostOfJob)
	for round := range 3 {
		j := s.work(fmt.Sprintf("r%d-", round), 6, 8)
		j.kill()
		j.ended()
		require.NoError(t, s.save(fmt.Sprintf("after-%d", round)))
	}
	// What the killed had under way can be removed like anything else.
	entries, err := os.ReadDir(s.path(""))
	require.NoError(t, err)
	acked, _ := s.outcome()
	whole := map[string]bool{}
	for _, name := range acked {
		whole[name] = true
	}
	for _, e := range entries {
		if !whole[e.Name()] {
			require.NoError(t, os.Remove(s.path(e.Name())))
		}
	}
	s.finish()
}

// TestKilledDaemon: programs that write when the daemon is killed end with an error, and its next start
// brings back the mount and all that they had fsynced.
func TestKilledDaemon(t *testing.T) {
	s := start(t, harness.Options{}, mostOfJob)
	j := s.work("w", 8, 8)
	s.Kill()
	j.ended()
	require.NoError(t, s.Fsck())
	s.MustStart(t)
	s.finish()
}

// TestAbortedConnection: the administrator cuts the FUSE connection while programs write. They end with an
// error, and so does the daemon, which leaves nothing mounted: its next start brings back the mount and all
// that they had fsynced.
func TestAbortedConnection(t *testing.T) {
	s := start(t, harness.Options{}, mostOfJob)
	control := connection(t, s.Mount)
	j := s.work("w", 8, 8)
	require.NoError(t, os.WriteFile(control+"/abort", []byte("1"), 0))
	j.ended()
	select {
	case <-s.Exited():
	case <-time.After(soon):
		require.Fail(t, "the daemon runs on without its mount")
	}
	require.Contains(t, s.Log(), "the mount was taken away")
	require.False(t, harness.Mounted(s.Mount))
	require.NoError(t, s.Fsck())
	s.MustStart(t)
	s.finish()
}

// connection is the control directory of the FUSE connection of a mount.
func connection(t *testing.T, mount string) string {
	t.Helper()
	const control = "/sys/fs/fuse/connections"
	var st unix.Stat_t
	require.NoError(t, unix.Stat(mount, &st))
	dir := fmt.Sprintf("%s/%d", control, unix.Minor(st.Dev))
	if _, err := os.Stat(dir); err != nil {
		require.NoError(t, unix.Mount("none", control, "fusectl", 0, ""))
		t.Cleanup(func() { _ = unix.Unmount(control, 0) })
	}
	return dir
}
