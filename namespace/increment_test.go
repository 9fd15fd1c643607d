package namespace

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
	"k3fs/metastore"
	"k3fs/tenancy"
)

// A file that is written here and there, and synced after each write, is stored as it is each time, with
// exactly the references that it needs.
func TestSyncStoresIncrements(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(3, 4))
	h := create(t, w.View, w.bucket, "f")
	f := h.(*handle).f
	m := &fileModel{}
	increments := 0
	for i := range 400 {
		off := rng.IntN(len(m.data) + 1)
		switch rng.IntN(4) {
		case 0:
			off = rng.IntN(pageSpan + pageSpan/16)
		case 1, 2:
			off = len(m.data)
		}
		if rng.IntN(20) == 0 {
			size := int64(rng.IntN(len(m.data) + 1))
			_, err := w.SetAttr(ctx, h.Ino(), SetAttr{Size: &size, Handle: h})
			require.NoError(t, err)
			m.truncate(int(size))
		} else {
			p := storetest.Bytes(1+rng.IntN(20_000), uint64(i))
			_, err := h.WriteAt(ctx, p, int64(off))
			require.NoError(t, err)
			m.write(p, off)
		}
		var before contentID
		if f.kept != nil {
			before = contentID(f.kept.ID)
		}
		require.NoError(t, h.Fsync(ctx))
		n, err := w.readInode(ctx, h.Ino(), tenancy.GetObject)
		require.NoError(t, err)
		if contentID(n.Draft.ID) == before {
			increments++
		}
		requireMap(t, w, f, n)
		if i%100 == 0 {
			require.True(t, bytes.Equal(m.data, w.content(t, n, n.Draft)), "sync %d", i)
		}
	}
	require.Greater(t, increments, 200)
	require.True(t, bytes.Equal(m.data, readAll(t, h)))
	require.NoError(t, h.Close(ctx))
	require.True(t, bytes.Equal(m.data, w.published(t, h.Ino())))
	require.NoError(t, w.Unlink(ctx, w.bucket, "f"))
	require.Eventually(t, func() bool { return w.count(t, kExtent)+w.count(t, kContent)+w.count(t, kOrphan) == 0 },
		10*time.Second, 10*time.Millisecond, "%d extents, %d pages, %d orphans stay", w.count(t, kExtent), w.count(t, kContent), w.count(t, kOrphan))
}

// requireMap requires that the persisted draft is the map in memory.
func requireMap(t *testing.T, w *world, f *file, n *inodeRec) {
	require.NoError(t, w.kv.View(context.Background(), func(r metastore.Reader) error {
		l, err := w.fs.loadContent(r, n.Draft)
		if err != nil || l.Inline != nil {
			return err
		}
		require.Equal(t, f.slices, l.Slices)
		require.Equal(t, f.size, l.Size)
		return nil
	}))
}
