package fusefs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/chunkstore"
	"k3fs/metastore/badgerkv"
	"k3fs/namespace"
	"k3fs/tenancy"
)

// openNamespace opens a real namespace in data, wired as the daemon does.
func openNamespace(data string, inv *Invalidator) (namespace.Posix, func() error, error) {
	views, stop, err := openNamespaceFor(data, inv)
	if err != nil {
		return nil, nil, err
	}
	return views[0], stop, nil
}

// openNamespaceFor opens one for several mounts.
func openNamespaceFor(data string, invs ...*Invalidator) ([]namespace.Posix, func() error, error) {
	ctx := context.Background()
	master, err := tenancy.CreateMaster(filepath.Join(data, "master.key"))
	if err != nil {
		return nil, nil, err
	}
	var chunks atomic.Pointer[chunkstore.Store]
	kv, err := badgerkv.Open(badgerkv.Options{
		Dir: filepath.Join(data, "meta"), Key: master.MetadataKey(),
		Barrier: func(ctx context.Context) error {
			if c := chunks.Load(); c != nil {
				return c.Sync(ctx)
			}
			return nil
		},
	})
	if err != nil {
		return nil, nil, err
	}
	ten, err := tenancy.Open(ctx, kv, tenancy.Options{Master: master})
	if err != nil {
		return nil, nil, errors.Join(err, kv.Close())
	}
	store, err := chunkstore.Open(ctx, chunkstore.Options{Dir: filepath.Join(data, "chunks"), Keys: ten})
	if err != nil {
		return nil, nil, errors.Join(err, kv.Close())
	}
	chunks.Store(store)
	fs, err := namespace.Open(ctx, namespace.Options{KV: kv, Chunks: store, Authority: ten})
	if err != nil {
		return nil, nil, errors.Join(err, kv.Close(), store.Close())
	}
	var views []namespace.Posix
	var unwatch []func()
	for _, inv := range invs {
		unwatch = append(unwatch, fs.Observe(inv))
		views = append(views, fs.As(tenancy.Root(tenancy.FirstTenant)).Through(inv))
	}
	stop := func() error {
		for _, end := range unwatch {
			end()
		}
		return errors.Join(fs.Close(ctx), kv.Close(), store.Close())
	}
	return views, stop, nil
}

// mountedReal mounts a real namespace, and makes a bucket in it.
func mountedReal(t *testing.T, metrics Metrics) string {
	needsFUSE(t)
	inv := NewInvalidator()
	view, stop, err := openNamespace(t.TempDir(), inv)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stop()) })
	m := mounted(t, Options{FS: view, Invalidator: inv, AllowOther: true, Metrics: metrics})
	bucket := filepath.Join(m.opts.Dir, "bucket")
	require.NoError(t, os.Mkdir(bucket, 0o755))
	return bucket
}

// onBoth runs a test on a mount of the double, and in a bucket of a real namespace.
func onBoth(t *testing.T, test func(t *testing.T, dir string)) {
	t.Run("memory", func(t *testing.T) {
		_, dir := mountedMem(t)
		test(t, dir)
	})
	t.Run("namespace", func(t *testing.T) { test(t, mountedReal(t, nil)) })
}

// The same tests as over the double, in a bucket of a real namespace.
func TestRealPosix(t *testing.T) {
	dir := mountedReal(t, nil)
	for name, fn := range posixtest.All {
		if name == "FcntlFlockLocksFile" { // see TestPosix
			continue
		}
		t.Run(name, func(t *testing.T) {
			sub := filepath.Join(dir, name)
			require.NoError(t, os.Mkdir(sub, 0o755))
			fn(t, sub)
		})
	}
}

// A file's own fsync and publication leave its pages in the kernel: they are not told to this mount. If
// they were, the kernel would also write back dirty pages while the namespace holds the file's lock.
func TestRealKeepsPages(t *testing.T) {
	c := &counter{n: map[string]int{}}
	path := filepath.Join(mountedReal(t, c), "big")
	// Others on this machine may drop its caches at any moment; the fault would show each time.
	reads := 1
	for try := 0; reads > 0 && try < 50; try++ {
		before := c.count("read")
		writeAndRead(t, path, 8<<20)
		reads = c.count("read") - before
	}
	require.Zero(t, reads)
}

// writeAndRead writes a file with syncs on the way, and reads it back.
func writeAndRead(t *testing.T, path string, size int) {
	data := make([]byte, size)
	f, err := os.Create(path)
	require.NoError(t, err)
	for i := range 4 {
		_, err = f.WriteAt(data[:size/4], int64(i*size/4))
		require.NoError(t, err)
		require.NoError(t, f.Sync())
	}
	require.NoError(t, f.Close())
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Len(t, got, size)
}

// Times survive what the kernel caches: a file shows the same ones after its inode was forgotten.
func TestRealTimes(t *testing.T) {
	dir := mountedReal(t, nil)
	path := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o644))
	want := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	omit := unix.Timespec{Nsec: unix.UTIME_OMIT}
	require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{omit, unix.NsecToTimespec(want.UnixNano())}, 0))
	require.NoError(t, os.Rename(path, path+".new"))
	require.NoError(t, os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0))
	st, err := os.Stat(path + ".new")
	require.NoError(t, err)
	require.True(t, st.ModTime().Equal(want), "%v", st.ModTime())
}
