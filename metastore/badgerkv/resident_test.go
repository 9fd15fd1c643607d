package badgerkv

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
)

// residentTables is how many KiB of the tables in dir are resident (proc_pid_smaps(5)).
func residentTables(t *testing.T, dir string) (kib int) {
	dir, err := filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	maps, err := os.Open("/proc/self/smaps")
	require.NoError(t, err)
	defer maps.Close()
	ours := false
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if name, _, _ := strings.Cut(lines.Text(), " "); !strings.HasSuffix(name, ":") { // a mapping, not a fact about one
			ours = strings.Contains(lines.Text(), dir) && strings.HasSuffix(lines.Text(), ".sst")
		}
		if rest, ok := strings.CutPrefix(lines.Text(), "Rss:"); ok && ours {
			var n int
			_, err := fmt.Sscan(rest, &n)
			require.NoError(t, err)
			kib += n
		}
	}
	return kib
}

// TestTrim: pages of tables that were let go are read again.
func TestTrim(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	for i := range 100 {
		require.NoError(t, s.Update(t.Context(), metastore.Ordered, func(txn metastore.Txn) error {
			return txn.Set(fmt.Appendf(nil, "%03d", i), make([]byte, 32<<10))
		}))
	}
	require.NoError(t, s.Close())
	o.Mapped = 1 << 40
	s = mustOpen(t, o)
	defer s.Close()
	want, err := content(t, s, nil)
	require.NoError(t, err)
	require.Len(t, want, 100)
	require.Greater(t, residentTables(t, o.Dir), 2000)
	require.NoError(t, s.trim())
	require.Zero(t, residentTables(t, o.Dir))
	got, err := content(t, s, nil)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// TestLogOfLargerMemTable is replayed although memtables became smaller since.
func TestLogOfLargerMemTable(t *testing.T) {
	o, image := testOptions(t.TempDir()), t.TempDir()
	o.MemTable = 32 << 20
	s := mustOpen(t, o)
	for i := range 800 {
		require.NoError(t, s.Update(t.Context(), metastore.Ordered, func(txn metastore.Txn) error {
			return txn.Set(fmt.Appendf(nil, "%03d", i), make([]byte, 32<<10))
		}))
	}
	require.NoError(t, s.Sync(t.Context()))
	copyImage(t, o.Dir, image)
	require.NoError(t, s.Close())
	for _, readOnly := range []bool{true, false} {
		o := testOptions(image)
		o.ReadOnly = readOnly
		s := mustOpen(t, o)
		got, err := content(t, s, nil)
		require.NoError(t, err)
		require.Len(t, got, 800)
		require.NoError(t, s.Close())
	}
}
