package namespace

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
)

// seekMap lists the borders between data and holes, beginning with data or not.
func seekMap(t testing.TB, h FileHandle) (borders []int64) {
	ctx := context.Background()
	for at := int64(0); ; {
		data, err := h.Seek(ctx, at, false)
		if isKind(err, NotFound) {
			return borders
		}
		require.NoError(t, err)
		hole, err := h.Seek(ctx, data, true)
		require.NoError(t, err)
		borders = append(borders, data, hole)
		at = hole
	}
}

// Holes are where nothing was written or where they were punched, in drafts as in what is published.
func TestHolesAreExact(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	h := create(t, w.View, w.bucket, "f")
	for _, off := range []int64{1 << 20, 8 << 20} {
		_, err := h.WriteAt(ctx, storetest.Bytes(3<<20, 1), off)
		require.NoError(t, err)
	}
	_, err := h.WriteAt(ctx, storetest.Bytes(4096, 2), 20<<20)
	require.NoError(t, err)
	require.NoError(t, h.Allocate(ctx, AllocPunch, true, 2<<20, 1<<20))
	require.NoError(t, h.Allocate(ctx, AllocZero, true, 10<<20, 5<<20))
	require.NoError(t, h.Allocate(ctx, AllocPunch, true, 30<<20, 5<<20)) // beyond the end
	require.NoError(t, h.Allocate(ctx, AllocZero, false, 24<<20, 1<<20))
	want := []int64{1 << 20, 2 << 20, 3 << 20, 4 << 20, 8 << 20, 10 << 20, 20 << 20, 20<<20 + 4096}
	const used = (1 + 1 + 2) << 20
	for _, when := range []string{"draft", "fsynced", "published", "opened again"} {
		require.Equal(t, want, seekMap(t, h), when)
		a, err := w.GetAttr(ctx, h.Ino())
		require.NoError(t, err)
		require.EqualValues(t, 25<<20, a.Size, when)
		require.EqualValues(t, (used+4096)/512, a.Blocks, when)
		switch when {
		case "draft":
			require.NoError(t, h.Fsync(ctx))
		case "fsynced":
			require.NoError(t, h.Flush(ctx))
		case "published":
			ino := h.Ino()
			require.NoError(t, h.Close(ctx))
			h, err = w.Open(ctx, ino, OpenFlags{Read: true})
			require.NoError(t, err)
		}
	}
	require.NoError(t, h.Close(ctx))
}

// The hole at the end of a short file stays one.
func TestShortFileKeepsItsHole(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	h := create(t, w.View, w.bucket, "f")
	_, err := h.WriteAt(ctx, []byte("head"), 0)
	require.NoError(t, err)
	size := int64(8000)
	_, err = w.SetAttr(ctx, h.Ino(), SetAttr{Size: &size, Handle: h})
	require.NoError(t, err)
	ino := h.Ino()
	require.NoError(t, h.Close(ctx))
	h, err = w.Open(ctx, ino, OpenFlags{Read: true, Write: true})
	require.NoError(t, err)
	require.Equal(t, []int64{0, 4}, seekMap(t, h))
	require.True(t, bytes.Equal(append([]byte("head"), make([]byte, 7996)...), readAll(t, h)))
	require.Len(t, w.published(t, ino), 8000)
	require.NoError(t, h.Close(ctx))
}

func TestAllocate(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	h := create(t, w.View, w.bucket, "f")
	size := func() int64 {
		a, err := w.GetAttr(ctx, h.Ino())
		require.NoError(t, err)
		return a.Size
	}
	require.NoError(t, h.Allocate(ctx, AllocSpace, true, 0, 5000))
	require.Zero(t, size())
	require.NoError(t, h.Allocate(ctx, AllocSpace, false, 100, 5000))
	require.EqualValues(t, 5100, size())
	require.NoError(t, h.Allocate(ctx, AllocSpace, false, 0, 10))
	require.EqualValues(t, 5100, size(), "it never shrinks the file")
	requireKind(t, Invalid, h.Allocate(ctx, AllocPunch, false, 0, 10))
	requireKind(t, Invalid, h.Allocate(ctx, AllocSpace, false, 0, 0))
	requireKind(t, Invalid, h.Allocate(ctx, AllocSpace, false, -1, 10))
	requireKind(t, TooBig, h.Allocate(ctx, AllocSpace, false, maxFile, 1))
	require.NoError(t, h.Allocate(ctx, AllocPunch, true, 1<<62, 1<<62))
	ro, err := w.Open(ctx, h.Ino(), OpenFlags{Read: true})
	require.NoError(t, err)
	requireKind(t, BadHandle, ro.Allocate(ctx, AllocSpace, false, 0, 10))
	require.NoError(t, ro.Close(ctx))
	require.NoError(t, h.Close(ctx))
}
