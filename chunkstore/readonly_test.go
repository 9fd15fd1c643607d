package chunkstore_test

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
)

// TestReadOnly reads, and changes nothing, not even when asked to.
func TestReadOnly(t *testing.T) {
	o := chunkstore.Options{Dir: t.TempDir(), Keys: &storetest.Keys{}, SegmentSize: 16 << 20, Logger: storetest.Discard}
	s, err := chunkstore.Open(t.Context(), o)
	require.NoError(t, err)
	data := bytes.Repeat([]byte("data"), 100_000)
	e, err := s.Append(t.Context(), 1, data)
	require.NoError(t, err)
	require.NoError(t, s.Close())

	segments := func() map[string][]byte {
		all := map[string][]byte{}
		names, err := filepath.Glob(filepath.Join(o.Dir, "*"))
		require.NoError(t, err)
		for _, name := range names {
			all[name], err = os.ReadFile(name)
			require.NoError(t, err)
		}
		return all
	}
	before := segments()
	o.FS = chunkstore.ReadOnly()
	s, err = chunkstore.Open(t.Context(), o)
	require.NoError(t, err)
	got := make([]byte, len(data))
	require.NoError(t, s.ReadAt(t.Context(), 1, e, got, 0))
	require.True(t, bytes.Equal(data, got))
	_, err = s.Append(t.Context(), 1, data)
	require.ErrorIs(t, err, syscall.EROFS)
	require.ErrorIs(t, s.Free(t.Context(), e), syscall.EBADF)
	_, err = s.Reclaim(t.Context(), e.Segment, nil)
	require.ErrorIs(t, err, syscall.EBADF)
	require.NoError(t, s.Close())
	require.Equal(t, before, segments())

	o.Dir = filepath.Join(o.Dir, "absent")
	_, err = chunkstore.Open(t.Context(), o)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoDirExists(t, o.Dir)
}
