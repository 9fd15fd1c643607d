package daemon

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMakeWholeLeavesNeighbours: what is being made has a name that no backup can have.
func TestMakeWholeLeavesNeighbours(t *testing.T) {
	at := t.TempDir()
	empty := func(string) error { return nil }
	for _, name := range []string{"one.partial", "one"} {
		require.NoError(t, makeWhole(filepath.Join(at, name), empty))
	}
	require.DirExists(t, filepath.Join(at, "one.partial"))
	broken := errors.New("broken")
	require.ErrorIs(t, makeWhole(filepath.Join(at, "two"), func(string) error { return broken }), broken)
	left, err := os.ReadDir(at)
	require.NoError(t, err)
	require.Len(t, left, 2)
}

// TestRestoreLooksAtItsPlaceFirst: a restore that could not get its name in the end does not begin.
func TestRestoreLooksAtItsPlaceFirst(t *testing.T) {
	at := t.TempDir()
	backup, file, link := filepath.Join(at, "backup"), filepath.Join(at, "file"), filepath.Join(at, "link")
	require.NoError(t, os.Mkdir(backup, 0o700))
	note := filepath.Join(backup, copyNote)
	require.NoError(t, os.WriteFile(note, []byte(`{"format": 1}`), 0o600))
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Symlink(t.TempDir(), link))
	restore := func(data string) error {
		_, err := Restore(t.Context(), Config{Data: data, MasterKey: filepath.Join(at, "key")}, backup, false, func(string, int64, int64) {}, slog.New(slog.NewTextHandler(io.Discard, nil)))
		return err
	}
	require.ErrorContains(t, restore(at), "not empty")
	require.ErrorContains(t, restore("/proc"), "mount point")
	require.ErrorContains(t, restore(file), "no directory")
	require.ErrorContains(t, restore(link), "no directory")
	require.NoError(t, os.WriteFile(note, []byte(`{"format": 2}`), 0o600))
	require.ErrorContains(t, restore(filepath.Join(at, "new")), "another version")
	require.NoError(t, os.WriteFile(note, []byte(`[`), 0o600))
	require.ErrorContains(t, restore(filepath.Join(at, "new")), copyNote)
}

// TestMountOf: a directory that is not there yet will be on the mount that its parents are on.
func TestMountOf(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "not", "there")
	require.Equal(t, "/proc", mountOf("/proc/self/not/there", []string{"/none", "/proc"}))
	require.Empty(t, mountOf(elsewhere, []string{"/none", "/proc"}))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink("/proc/self", link))
	require.Equal(t, "/proc", mountOf(filepath.Join(link, "x"), []string{"/proc"}))
}
