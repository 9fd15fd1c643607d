package pressure

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

const (
	syncs = "fsync,fdatasync"
	reads = "pread64,preadv,preadv2"
)

// slowDisk is a disk on which some system calls of the daemon take longer.
type slowDisk struct {
	t     *testing.T
	trace *exec.Cmd
	log   string
	ended bool
}

// slow makes each of calls of the running daemon take longer by delay, until end or the end of the test. The daemon's
// threads are held by strace(1), where a disk would hold them.
func (s *system) slow(calls string, delay time.Duration) *slowDisk {
	s.t.Helper()
	harness.NeedTools(s.t, "strace", "perl")
	d := &slowDisk{t: s.t, log: filepath.Join(harness.TempDir(s.t), "strace")}
	d.trace = exec.Command("strace", "-f", "-e", "trace="+calls, "-e", "signal=none", "-o", d.log,
		"-e", fmt.Sprintf("inject=%s:delay_exit=%d", calls, delay.Microseconds()), "-p", fmt.Sprint(s.PID()))
	d.trace.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	says, err := d.trace.StderrPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, d.trace.Start())
	s.t.Cleanup(d.end)
	attached := make(chan bool, 1)
	go func() {
		for lines := bufio.NewScanner(says); lines.Scan(); {
			if strings.Contains(lines.Text(), fmt.Sprintf("Process %d attached", s.PID())) {
				attached <- true
			}
		}
		close(attached)
	}()
	select {
	case ok := <-attached:
		require.True(s.t, ok, "strace can't attach to the daemon")
	case <-time.After(soon):
		require.Fail(s.t, "strace does not attach to the daemon")
	}
	return d
}

// delayed is how many calls have been held.
func (d *slowDisk) delayed() int {
	text, err := os.ReadFile(d.log)
	require.NoError(d.t, err)
	return strings.Count(string(text), "(DELAYED)")
}

// end makes the disk as fast as before.
func (d *slowDisk) end() {
	if d.ended {
		return
	}
	d.ended = true
	_ = d.trace.Process.Kill() // which lets go of the daemon, however long its calls were to be held
	_ = d.trace.Wait()
}

// TestSlowDisk: on a disk that takes a third of a second for each sync everybody waits, nobody for ever, and what was
// acknowledged is there after SIGKILL.
func TestSlowDisk(t *testing.T) {
	s := start(t, harness.Options{}, mostOfJob)
	d := s.slow(syncs, time.Second/3)
	all(t, 12, func(i int) { // twice each
		write, other := s.put, s.read
		if i%2 == 0 {
			write, other = s.save, s.get
		}
		for n := range 2 {
			name := fmt.Sprintf("w%d-%d", i, n)
			if write(name) == nil {
				if err := s.check(name, other); err != nil {
					s.note(name, err)
				}
			}
		}
	})
	acked, errs := s.outcome()
	require.Empty(t, errs, "a slow disk is no failing one")
	require.Len(t, acked, 24)
	j := s.work("job", 4, 2)
	require.Positive(t, d.delayed())
	require.NoError(t, unix.Kill(s.PID(), unix.SIGKILL))
	d.end()
	s.Kill()
	j.ended()
	require.NoError(t, s.Fsck())
	s.MustStart(t)
	s.finish()
}

// TestInterruptedOnSlowDisk: programs that wait for a disk which does not answer are gone with SIGINT. The disk
// is waited for when the tests' patience has ended long since.
func TestInterruptedOnSlowDisk(t *testing.T) {
	const hung = 5 * soon
	for name, c := range map[string]struct {
		calls   string
		program []string // which does nothing about SIGINT
		call    int      // in which it waits
	}{
		"fsync": {syncs, []string{"perl", "-MIO::Handle", "-e",
			`open(F, ">", "out") or die; print F "x" x 4e6; F->flush; F->sync`}, unix.SYS_FSYNC},
		"read": {reads, []string{"cat", "in"}, unix.SYS_READ},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, harness.Options{}, mostOfJob)
			require.NoError(t, save(s.path("in"), make([]byte, 8<<20)))
			require.NoError(t, s.put("before"))
			s.MustStop(t)
			s.MustStart(t) // with no cache of the file
			d := s.slow(c.calls, hung)
			cmd := exec.Command("env", append([]string{"--default-signal=INT"}, c.program...)...) // the tests may run in the background
			cmd.Dir, cmd.SysProcAttr = s.path(""), &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			require.NoError(t, cmd.Start())
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			require.Eventually(t, func() bool {
				return d.delayed() > 0 && inCall(cmd.Process.Pid, c.call)
			}, soon, 10*time.Millisecond, "it waits for the disk")
			require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
			select {
			case err := <-ended:
				require.ErrorContains(t, err, "interrupt")
			case <-time.After(soon):
				require.Fail(t, "SIGINT does not end it")
			}
			d.end()
			s.finish()
		})
	}
}

// inCall reports whether a process is in a system call.
func inCall(pid, number int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
	return err == nil && strings.HasPrefix(string(text), fmt.Sprint(number, " "))
}
