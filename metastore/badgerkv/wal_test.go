package badgerkv

import (
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
)

// TestSyncsTheLogThatIsWritten: also after Badger went on to another one.
func TestSyncsTheLogThatIsWritten(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	first := s.wal.number
	for i := range byte(25) {
		fillLog(t, s, i)
		requireFollows(t, s)
	}
	require.Greater(t, s.wal.number, first, "the updates filled more than one log")
	require.NoError(t, s.Close())
	left, err := filepath.Glob(filepath.Join(s.badgerDir, "*.mem"))
	require.NoError(t, err)
	require.Empty(t, left, "closing leaves no log")
}

// TestNoDescriptorForTheLog: Badger itself syncs a log that can't be opened, until it can.
func TestNoDescriptorForTheLog(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	counted := &countedSyncs{syncer: s.wal.db}
	s.wal.db, s.wal.open = counted, func(name string) (*os.File, error) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	for i := range byte(25) {
		fillLog(t, s, i)
	}
	require.FileExists(t, s.wal.path(s.wal.number+1), "the updates filled more than one log")
	require.Positive(t, counted.n)
	s.wal.open = os.Open
	fillLog(t, s, 25)
	requireFollows(t, s)
	require.NoError(t, s.Close())
}

// countedSyncs counts how often Badger was asked.
type countedSyncs struct {
	syncer
	n int
}

func (c *countedSyncs) Sync() error {
	c.n++
	return c.syncer.Sync()
}

// fillLog writes about half a MiB.
func fillLog(t *testing.T, s *Store, i byte) {
	value := make([]byte, 48<<10)
	_, _ = rand.Read(value)
	require.NoError(t, s.Update(t.Context(), metastore.Durable, func(txn metastore.Txn) error {
		for j := range byte(10) {
			if err := txn.Set([]byte{i, j}, value); err != nil {
				return err
			}
		}
		return nil
	}))
}

// requireFollows: what is synced is what Badger writes to.
func requireFollows(t *testing.T, s *Store) {
	require.NoFileExists(t, s.wal.path(s.wal.number+1))
	written, err := os.Stat(s.wal.path(s.wal.number))
	require.NoError(t, err)
	synced, err := s.wal.file.Stat()
	require.NoError(t, err)
	require.True(t, os.SameFile(written, synced))
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
