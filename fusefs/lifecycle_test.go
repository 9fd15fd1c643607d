package fusefs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const (
	waitFor = 10 * time.Second
	tick    = 5 * time.Millisecond
)

func TestUnmountFlushesAndLeavesNothing(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	fs, dir := newMemFS(), ""
	t.Run("mounted", func(t *testing.T) {
		m := mounted(t, Options{FS: fs})
		dir = m.opts.Dir
		require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte("content"), 0o644))
		_, err := os.ReadDir(dir)
		require.NoError(t, err)
	})
	a, err := fs.Lookup(context.Background(), 1, "f")
	require.NoError(t, err)
	require.EqualValues(t, 7, a.Size)
	require.Zero(t, fs.nodes[a.Ino].open, "all handles are closed")
	goleak.VerifyNone(t, ignore)
}

func TestUnmountBusy(t *testing.T) {
	fs := newMemFS()
	m := mounted(t, Options{FS: fs, UnmountGrace: 100 * time.Millisecond})
	f, err := os.Create(filepath.Join(m.opts.Dir, "f"))
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString("dirty")
	require.NoError(t, err)
	require.NoError(t, m.Unmount(context.Background()))
	m.Wait()
	a, err := fs.Lookup(context.Background(), 1, "f")
	require.NoError(t, err)
	require.EqualValues(t, 5, a.Size, "dirty pages were written back")
	require.Zero(t, fs.nodes[a.Ino].open)
	require.Error(t, f.Sync())
	names, err := os.ReadDir(m.opts.Dir)
	require.NoError(t, err)
	require.Empty(t, names, "nothing is mounted")
}

// A mount whose connection was aborted leaves the tree when it is released, also from those who are still inside.
func TestReleaseAbortedBusy(t *testing.T) {
	m := mounted(t, Options{FS: newMemFS()})
	f, err := os.Open(m.opts.Dir)
	require.NoError(t, err)
	defer f.Close()
	require.ErrorIs(t, m.Release(false), unix.EBUSY)
	require.ErrorIs(t, m.detach(unix.MNT_FORCE), unix.EBUSY, "which ends the connection")
	m.Wait()
	require.NoError(t, m.Release(false))
	_, err = tableEntry(m.opts.Dir)
	require.ErrorContains(t, err, "no k3fs is mounted")
}

func TestUnmountByOthers(t *testing.T) {
	m := mounted(t, Options{FS: newMemFS()})
	require.NoError(t, unix.Unmount(m.opts.Dir, 0))
	m.Wait()
	require.NoError(t, m.Unmount(context.Background()))
}

func TestRecoverStale(t *testing.T) {
	needsFUSE(t)
	d := startDaemon(t, "memory", "-")
	found, err := RecoverStale(d.dir, os.Geteuid(), os.Getegid())
	require.NoError(t, err)
	require.False(t, found, "a live mount is left alone")
	require.NoError(t, d.cmd.Process.Kill())
	require.Error(t, d.cmd.Wait())
	require.ErrorIs(t, unix.Statfs(d.dir, &unix.Statfs_t{}), unix.ENOTCONN)
	found, err = RecoverStale(d.dir, os.Geteuid(), os.Getegid())
	require.NoError(t, err)
	require.True(t, found)
	_, err = os.Stat(d.dir)
	require.NoError(t, err)
	found, err = RecoverStale(d.dir, os.Geteuid(), os.Getegid())
	require.NoError(t, err)
	require.False(t, found)
}

// A daemon that is killed while it waits for its own mount ends, and its connection with it.
func TestKilledWhileAskingItself(t *testing.T) {
	needsFUSE(t)
	t.Setenv(serveEnv+"_STUCK", "1")
	d := startDaemon(t, "memory", "-")
	require.NoError(t, d.cmd.Process.Kill())
	ended := make(chan error, 1)
	go func() { ended <- d.cmd.Wait() }()
	select {
	case err := <-ended:
		require.ErrorContains(t, err, "killed")
	case <-time.After(time.Minute):
		t.Fatal("the daemon can't be killed")
	}
	found, err := RecoverStale(d.dir, os.Geteuid(), os.Getegid())
	require.NoError(t, err)
	require.True(t, found)
}

// Whatever is done aside, the process keeps its descriptors and its user.
func TestAsideLeavesTheProcessAlone(t *testing.T) {
	f, err := os.Open(t.TempDir())
	require.NoError(t, err)
	defer f.Close()
	for range 300 {
		require.NoError(t, aside(os.Geteuid(), os.Getegid(), func() error {
			require.NotEqual(t, unix.Getpid(), unix.Gettid())
			var st unix.Stat_t
			require.ErrorIs(t, unix.Fstat(int(f.Fd()), &st), unix.EBADF)
			return nil
		}))
		_, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		require.NoError(t, err)
	}
}

// TestCollectionAside: a collection of garbage that a thread without descriptors ends must not end the process, as it did:
// the runtime looks there whether anything that it waits for has come.
func TestCollectionAside(t *testing.T) {
	r, w, err := os.Pipe() // waited for by epoll
	require.NoError(t, err)
	defer w.Close()
	read := make(chan error, 1)
	go func() {
		_, err := r.Read(make([]byte, 1))
		read <- err
	}()
	for range 20 {
		require.NoError(t, aside(os.Geteuid(), os.Getegid(), func() error {
			runtime.GC()
			return nil
		}))
	}
	_, err = w.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, <-read)
	require.NoError(t, r.Close())
}

func TestReadOnlyMount(t *testing.T) {
	m := mounted(t, Options{FS: newMemFS(), ReadOnly: true})
	require.ErrorIs(t, os.WriteFile(filepath.Join(m.opts.Dir, "f"), nil, 0o644), unix.EROFS)
}

func TestOptions(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	for name, o := range map[string]Options{
		"no FS":        {Dir: dir},
		"no Dir":       {FS: newMemFS()},
		"relative":     {FS: newMemFS(), Dir: "."},
		"absent":       {FS: newMemFS(), Dir: filepath.Join(dir, "absent")},
		"file":         {FS: newMemFS(), Dir: file},
		"negative TTL": {FS: newMemFS(), Dir: dir, EntryTTL: -1},
		"percentage":   {FS: newMemFS(), Dir: dir, DirtyRatio: 101},
	} {
		_, err := Mount(context.Background(), o)
		require.Error(t, err, name)
	}
	require.NoError(t, Options{FS: newMemFS(), Dir: dir}.Validate())
}

func TestMetrics(t *testing.T) {
	c := &counter{n: map[string]int{}}
	m := mounted(t, Options{FS: newMemFS(), Metrics: c})
	require.NoError(t, os.WriteFile(filepath.Join(m.opts.Dir, "f"), []byte("x"), 0o644))
	_, err := os.ReadFile(filepath.Join(m.opts.Dir, "f"))
	require.NoError(t, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, op := range []string{"lookup", "create", "write", "flush"} {
		require.NotZero(t, c.n[op], op)
	}
	require.Zero(t, c.n["anonymous"], "each request has a number and an inode")
	require.Equal(t, 1, c.n["bytes written"])
}
