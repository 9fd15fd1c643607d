package chunkstore_test

import (
	"bytes"
	"context"
	"errors"
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

// TestReadOnlyAmidRekey reads what a crash amid a change of keys left, half of a frame old and half of it new, and leaves it so.
func TestReadOnlyAmidRekey(t *testing.T) {
	keys := &storetest.Keys{}
	o := chunkstore.Options{Dir: t.TempDir(), Keys: keys, SegmentSize: 64 << 20, Logger: storetest.Discard}
	s, err := chunkstore.Open(t.Context(), o)
	require.NoError(t, err)
	data := bytes.Repeat([]byte("data"), 1<<18)
	var extents []chunkstore.Extent
	for range 12 { // more than one batch
		e, err := s.Append(t.Context(), 1, data)
		require.NoError(t, err)
		extents = append(extents, e)
	}
	require.NoError(t, s.Sync(t.Context()))
	names, err := filepath.Glob(filepath.Join(o.Dir, "*.seg"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	old, err := os.ReadFile(names[0])
	require.NoError(t, err)

	keys.Rotate()
	batches := 0
	_, err = s.Rekey(t.Context(), 1, chunkstore.RekeyOptions{Pace: func(context.Context, int64) error {
		if batches++; batches > 1 {
			return context.Canceled // the journal stays, with what was written from it
		}
		return nil
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, s.Close())
	torn, err := os.OpenFile(names[0], os.O_WRONLY, 0)
	require.NoError(t, err)
	from, to := extents[0].Offset+128<<10, extents[0].Offset+512<<10
	_, err = torn.WriteAt(old[from:to], int64(from))
	require.NoError(t, errors.Join(err, torn.Close()))

	read := func(o chunkstore.Options) {
		s, err := chunkstore.Open(t.Context(), o)
		require.NoError(t, err)
		for _, e := range extents {
			got := make([]byte, len(data))
			require.NoError(t, s.ReadAt(t.Context(), 1, e, got, 0))
			require.True(t, bytes.Equal(data, got))
		}
		require.NoError(t, s.Close())
	}
	before, err := os.ReadFile(names[0])
	require.NoError(t, err)
	readOnly := o
	readOnly.FS = chunkstore.ReadOnly()
	read(readOnly)
	after, err := os.ReadFile(names[0])
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after))
	read(o)
}
