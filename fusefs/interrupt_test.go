package fusefs

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/namespace"
)

// gate holds requests of one kind back, as a disk does that does not answer.
type gate struct {
	reached chan struct{} // closed when the first is held back
	open    func()
}

func hold(fs *memFS, op string) *gate {
	g := &gate{reached: make(chan struct{})}
	opened := make(chan struct{})
	g.open = sync.OnceFunc(func() {
		fs.after.Store(nil)
		close(opened)
	})
	var first sync.Once
	fs.after.Store(new(func(got string) {
		if got == op {
			first.Do(func() { close(g.reached) })
			<-opened
		}
	}))
	return g
}

func (g *gate) await(t *testing.T) {
	select {
	case <-g.reached:
	case <-time.After(waitFor):
		t.Fatal("the request does not come")
	}
}

// A process that waits for the disk and is killed, by whichever signal, is gone at once, and what it had begun
// is done nevertheless.
func TestKilledWhileTheDiskIsSlow(t *testing.T) {
	for op, command := range map[string][]string{
		"fsync":    {"sync", "f"},
		"fsyncdir": {"sync", "."},
		"flush":    {"cp", "f", "new"},
		"read":     {"cat", "f"},
	} {
		for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM} {
			t.Run(op+" "+sig.String(), func(t *testing.T) {
				door, dir := mountedWithDoor(t)
				door.put(namespace.RootIno, "f", "content")
				g := hold(door.fs, op)
				defer g.open()
				// The shell goes there, see TestRealACLOfOtherDoor.
				cmd := exec.Command("sh", append([]string{"-c", `cd "$0" && exec "$@"`, dir}, command...)...)
				require.NoError(t, cmd.Start())
				g.await(t)
				require.NoError(t, cmd.Process.Signal(sig))
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				select {
				case err := <-ended:
					require.ErrorContains(t, err, sig.String())
				case <-time.After(waitFor):
					g.open()
					t.Fatalf("still there: %v", <-ended)
				}
				g.open()
				allClosed(t, door.fs)
				b, err := os.ReadFile(filepath.Join(dir, "f"))
				require.NoError(t, err)
				require.Equal(t, "content", string(b))
				if op == "flush" {
					st, err := os.Stat(filepath.Join(dir, "new"))
					require.NoError(t, err)
					require.EqualValues(t, 7, st.Size())
				}
			})
		}
	}
}

func allClosed(t *testing.T, fs *memFS) {
	require.Eventually(t, func() bool {
		fs.mu.RLock()
		defer fs.mu.RUnlock()
		for _, n := range fs.nodes {
			if n.open > 0 {
				return false
			}
		}
		return true
	}, waitFor, tick, "a handle stays open")
}

// A process that ends by itself ends when what it wrote is published.
func TestExitWaitsForPublication(t *testing.T) {
	fs, dir := mountedMem(t)
	p := startLocker(t)
	p.tell("open " + filepath.Join(dir, "f"))
	require.Equal(t, "ok", <-p.answers)
	g := hold(fs, "flush")
	defer g.open()
	require.NoError(t, p.in.Close())
	g.await(t)
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	select {
	case err := <-ended:
		t.Fatalf("ended before: %v", err)
	case <-time.After(5 * dyingPause):
	}
	g.open()
	require.NoError(t, <-ended)
}

// A signal that a process handles interrupts no fsync: Go programs get them all the time.
func TestSignalDoesNotEndFsync(t *testing.T) {
	fs, dir := mountedMem(t)
	p := startLocker(t)
	p.tell("open " + filepath.Join(dir, "f"))
	require.Equal(t, "ok", <-p.answers)
	g := hold(fs, "fsync")
	defer g.open()
	p.tell("fsync 0")
	g.await(t)
	for range 3 {
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGUSR1))
		time.Sleep(2 * dyingPause)
	}
	require.Empty(t, p.answers)
	g.open()
	require.Equal(t, "ok", <-p.answers)
}

// A process that runs another program has its files closed amid execve(2), while the kernel shows nothing of it to who
// looks whether it is being killed: it is answered all the same.
func TestExecOnSlowDisk(t *testing.T) {
	fs, dir := mountedMem(t)
	g := hold(fs, "flush")
	defer g.open()
	cmd := exec.Command("perl", "-e", `chdir shift; open F, ">", "new"; syswrite F, "content"; exec "true"`, dir)
	require.NoError(t, cmd.Start())
	g.await(t)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	time.Sleep(5 * dyingPause) // it is looked at
	g.open()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(waitFor):
		_ = cmd.Process.Kill()
		t.Fatal("still there")
	}
	b, err := os.ReadFile(filepath.Join(dir, "new"))
	require.NoError(t, err)
	require.Equal(t, "content", string(b))
}
