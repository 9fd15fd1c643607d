package fusefs

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"github.com/stretchr/testify/require"

	"k3fs/namespace"
)

// needsFUSE skips a test that can't run here; in CI that is a failure.
func needsFUSE(t testing.TB) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("tests of the mount need root and /dev/fuse: uid %d, %v", os.Geteuid(), err)
		}
		t.Skipf("needs root and /dev/fuse: uid %d, %v", os.Geteuid(), err)
	}
}

// mounted mounts o for the time of a test.
func mounted(t testing.TB, o Options) *Mountpoint {
	t.Helper()
	needsFUSE(t)
	if o.Dir == "" {
		o.Dir = t.TempDir()
		require.NoError(t, os.Chmod(filepath.Dir(o.Dir), 0o755)) // for tests as nobody
	}
	m, err := Mount(context.Background(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Unmount(context.Background())) })
	return m
}

// mountedDaemon is a mount of memory in a process of its own.
func mountedDaemon(t testing.TB) string {
	needsFUSE(t)
	return startDaemon(t, "memory", "-").dir
}

func mountedMem(t testing.TB) (*memFS, string) {
	fs := newMemFS()
	return fs, mounted(t, Options{FS: fs, AllowOther: true}).opts.Dir
}

func TestPosix(t *testing.T) {
	for name, fn := range posixtest.All {
		if name == "FcntlFlockLocksFile" {
			// It wants two handles of one process to conflict, which POSIX record locks never do. It
			// fails on ext4, and go-fuse leaves it out on local file systems; see TestLocks.
			continue
		}
		t.Run(name, func(t *testing.T) {
			_, dir := mountedMem(t)
			fn(t, dir)
		})
	}
}

func TestErrnos(t *testing.T) {
	for _, k := range namespace.Kinds() {
		e, ok := errnos[k]
		require.True(t, ok, "%v has no errno", k)
		require.NotZero(t, e, "%v", k)
		require.NotEqual(t, syscall.ENOSYS, e, "%v: ENOSYS turns an operation off for the whole mount", k)
	}
	require.Len(t, errnos, len(namespace.Kinds()))
}
