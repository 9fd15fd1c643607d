package wholefile

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReplaceAndCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	require.NoError(t, Create(path, []byte("one")))
	require.ErrorIs(t, Create(path, []byte("two")), fs.ErrExist)
	requireFile(t, path, "one")
	require.NoError(t, os.Chmod(path, 0o644))
	require.NoError(t, Replace(path, []byte("three")))
	requireFile(t, path, "three")
	require.NoError(t, Replace(filepath.Join(dir, "g"), nil))
	require.Error(t, Replace(filepath.Join(dir, "absent", "f"), nil))
	require.Error(t, Replace(dir, []byte("x")), "a directory is in the way")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 2, "f and g, and nothing of what failed")
}

func requireFile(t *testing.T, path, content string) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, content, string(got))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
}
