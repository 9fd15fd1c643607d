package badgerkv

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
)

// fingerprint tells every name, size, time and byte below dir.
func fingerprint(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		var sum [sha256.Size]byte
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum = sha256.Sum256(data)
		}
		found[path] = fmt.Sprintf("%v %d %v %x", info.Mode(), info.Size(), info.ModTime(), sum)
		return nil
	}))
	return found
}

// readOnlyContent opens the store in dir for reading, and checks that this changes nothing there, whether
// it opens or not, and leaves no scratch.
func readOnlyContent(t testing.TB, dir string) (map[string]string, error) {
	t.Helper()
	scratch := t.TempDir()
	old, set := os.LookupEnv("TMPDIR")
	require.NoError(t, os.Setenv("TMPDIR", scratch))
	defer func() {
		if set {
			os.Setenv("TMPDIR", old)
		} else {
			os.Unsetenv("TMPDIR")
		}
	}()
	before := fingerprint(t, dir)
	o := testOptions(dir)
	o.ReadOnly = true
	s, err := Open(o)
	var got map[string]string
	if err == nil {
		got, err = content(t, s, nil)
		require.NoError(t, err)
		require.ErrorIs(t, s.Update(t.Context(), metastore.Reclaim, func(metastore.Txn) error { return nil }), errReadOnly)
		require.NoError(t, s.Sync(t.Context()))
		require.NoError(t, s.Close())
	}
	require.Equal(t, before, fingerprint(t, dir))
	left, readErr := os.ReadDir(scratch)
	require.NoError(t, readErr)
	require.Empty(t, left)
	return got, err
}

// TestReadOnly reads what a store holds in tables and in a log that a crash left.
func TestReadOnly(t *testing.T) {
	live, image := t.TempDir(), t.TempDir()
	s := mustOpen(t, testOptions(live))
	write(t, s, "table", "1")
	require.NoError(t, s.Close())
	s = mustOpen(t, testOptions(live))
	write(t, s, "log", "2")
	copyImage(t, live, image)
	o := testOptions(live)
	o.ReadOnly = true
	_, err := Open(o)
	require.ErrorContains(t, err, "in use by another process")
	require.NoError(t, s.Close())
	for _, dir := range []string{image, live} {
		got, err := readOnlyContent(t, dir)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"table": "1", "log": "2"}, got)
	}
	tables, err := filepath.Glob(filepath.Join(image, badgerName, "*.sst"))
	require.NoError(t, err)
	require.NotEmpty(t, tables, "nothing was read through a link")
}

// TestReadOnlyExcludesWriters, and no readers.
func TestReadOnlyExcludesWriters(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	write(t, s, "a", "1")
	require.NoError(t, s.Close())
	o.ReadOnly = true
	first, second := mustOpen(t, o), mustOpen(t, o)
	_, err := Open(testOptions(o.Dir))
	require.ErrorContains(t, err, "in use by another process")
	require.NoError(t, first.Close())
	require.NoError(t, second.Close())
	require.NoError(t, mustOpen(t, testOptions(o.Dir)).Close())
}

// TestReadOnlyMakesNothing where no store is.
func TestReadOnlyMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	o := testOptions(dir)
	o.ReadOnly = true
	_, err := Open(o)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoDirExists(t, dir)
}
