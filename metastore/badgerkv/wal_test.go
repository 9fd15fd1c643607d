package badgerkv

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
)

// TestSyncsTheLogThatIsWritten: also after Badger went on to another one.
func TestSyncsTheLogThatIsWritten(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	first := s.wal.number
	value := make([]byte, 48<<10)
	for i := range byte(25) {
		_, _ = rand.Read(value)
		require.NoError(t, s.Update(t.Context(), metastore.Durable, func(txn metastore.Txn) error {
			for j := range byte(10) {
				if err := txn.Set([]byte{i, j}, value); err != nil {
					return err
				}
			}
			return nil
		}))
		require.NoFileExists(t, s.wal.path(s.wal.number+1))
		written, err := os.Stat(s.wal.path(s.wal.number))
		require.NoError(t, err)
		synced, err := s.wal.file.Stat()
		require.NoError(t, err)
		require.True(t, os.SameFile(written, synced))
	}
	require.Greater(t, s.wal.number, first, "the updates filled more than one log")
	require.NoError(t, s.Close())
	left, err := filepath.Glob(filepath.Join(s.badgerDir, "*.mem"))
	require.NoError(t, err)
	require.Empty(t, left, "closing leaves no log")
}

// TestFailedSyncOfTheLogStops: what was not synced is not acknowledged.
func TestFailedSyncOfTheLogStops(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	require.NoError(t, put(s, metastore.Durable, "a"))
	require.NoError(t, s.wal.file.Close())
	require.ErrorIs(t, put(s, metastore.Durable, "b"), metastore.ErrStopped)
	require.Error(t, s.Close())
}

// TestDirectoryThatLooksLikeAPattern: also there the logs are found, synced and replayed.
func TestDirectoryThatLooksLikeAPattern(t *testing.T) {
	o := testOptions(filepath.Join(t.TempDir(), `[a*\`))
	s := mustOpen(t, o)
	require.NoError(t, put(s, metastore.Durable, "a"))
	names, err := logs(s.badgerDir)
	require.NoError(t, err)
	require.Equal(t, []string{s.wal.path(s.wal.number)}, names)
	require.NoError(t, s.Close())
	require.NoError(t, mustOpen(t, o).Close())
}
