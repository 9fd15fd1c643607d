package fusefs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/namespace"
)

// TestRealQuota: an application learns EDQUOT at the write, or where the kernel caches writes at fsync and close; df shows
// the quota; and what is over it can be removed.
func TestRealQuota(t *testing.T) {
	for name, through := range map[string]bool{"cached": false, "through": true} {
		t.Run(name, func(t *testing.T) {
			needsFUSE(t)
			inv := NewInvalidator()
			view, stop, err := openNamespace(t.TempDir(), inv)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, stop()) })
			m := mounted(t, Options{FS: view, Invalidator: inv, AllowOther: true, WriteThrough: through})
			dir := filepath.Join(m.opts.Dir, "bucket")
			require.NoError(t, os.Mkdir(dir, 0o755))
			limits := namespace.QuotaLimits{Bytes: 1 << 20, Inodes: 4}
			require.NoError(t, view.(*namespace.View).SetQuota(t.Context(), namespace.QuotaScope{Bucket: "bucket"}, limits))

			require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), make([]byte, 1<<19), 0o644))
			requireRefused(t, filepath.Join(dir, "b"), func(f *os.File) error { return f.Sync() })
			requireRefused(t, filepath.Join(dir, "c"), func(*os.File) error { return nil })
			_, err = os.Create(filepath.Join(dir, "d"))
			require.ErrorIs(t, err, unix.EDQUOT, "a file too many")
			require.ErrorIs(t, os.Truncate(filepath.Join(dir, "a"), 2<<20), unix.EDQUOT)
			var st unix.Statfs_t
			require.NoError(t, unix.Statfs(dir, &st))
			require.Zero(t, st.Ffree)
			require.EqualValues(t, 4, st.Files)
			require.LessOrEqual(t, st.Blocks*uint64(st.Bsize), uint64(1<<20))
			for _, name := range []string{"a", "b", "c"} {
				require.NoError(t, os.Remove(filepath.Join(dir, name)))
			}
			// What was open has its room until the kernel's RELEASE, for which close(2) does not wait.
			require.Eventually(t, func() bool {
				return os.WriteFile(filepath.Join(dir, "e"), make([]byte, 1<<20), 0o644) == nil
			}, time.Minute, 10*time.Millisecond)
		})
	}
}

// requireRefused writes more than the quota has left, and learns it by a write, by what then is done, or by close.
func requireRefused(t *testing.T, path string, then func(*os.File) error) {
	f, err := os.Create(path)
	require.NoError(t, err)
	_, err = f.Write(make([]byte, 1<<20))
	if err == nil {
		err = then(f)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	require.ErrorIs(t, err, unix.EDQUOT)
}
