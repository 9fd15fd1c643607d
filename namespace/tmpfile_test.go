package namespace

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
)

func tmpfile(t testing.TB, w *world, data []byte, flags OpenFlags) FileHandle {
	a, h, err := w.Tmpfile(context.Background(), w.bucket, NewNode{Mode: 0o640}, flags)
	require.NoError(t, err)
	require.Zero(t, a.Nlink)
	_, err = h.WriteAt(context.Background(), data, 0)
	require.NoError(t, err)
	return h
}

// newDataStore is newStore, with the bucket of its objects as the one for files.
func newDataStore(t testing.TB) *world {
	w := newStore(t)
	info, err := w.HeadBucket(bg, "data")
	require.NoError(t, err)
	w.bucket = info.Ino
	return w
}

var readWrite = OpenFlags{Read: true, Write: true}

// A file without a name is nobody's but its handles'; named, it is published as others are.
func TestTmpfileLink(t *testing.T) {
	for name, flush := range map[string]bool{"linked, then closed": false, "closed by its writer, then linked": true} {
		t.Run(name, func(t *testing.T) {
			w := newDataStore(t)
			ctx := context.Background()
			data := storetest.Bytes(300_000, 1)
			h := tmpfile(t, w, data, readWrite)
			if flush {
				require.NoError(t, h.Flush(ctx))
			}
			require.Empty(t, w.listKeys(t))
			a, err := w.Link(ctx, h.Ino(), w.bucket, "f")
			require.NoError(t, err)
			require.EqualValues(t, 1, a.Nlink)
			require.EqualValues(t, len(data), a.Size)
			if flush {
				require.True(t, bytes.Equal(data, w.get(t, "f")))
			} else {
				require.Empty(t, w.listKeys(t), "it is still being written")
			}
			_, err = w.Link(ctx, h.Ino(), w.bucket, "second")
			require.NoError(t, err)
			require.NoError(t, h.Close(ctx))
			require.Equal(t, []string{"f", "second"}, w.listKeys(t))
			require.True(t, bytes.Equal(data, w.get(t, "f")))
			require.Zero(t, w.count(t, kZombie)+w.count(t, kDraft))
			require.NoError(t, w.Unlink(ctx, w.bucket, "f"))
			require.NoError(t, w.Unlink(ctx, w.bucket, "second"))
			require.Zero(t, w.attr(t, h.Ino()).Nlink)
		})
	}
}

func TestTmpfileRefuses(t *testing.T) {
	w := newDataStore(t)
	ctx := context.Background()
	excl := tmpfile(t, w, []byte("x"), OpenFlags{Read: true, Write: true, Excl: true})
	_, err := w.Link(ctx, excl.Ino(), w.bucket, "f")
	requireKind(t, NotFound, err)
	require.NoError(t, excl.Close(ctx))

	h := tmpfile(t, w, []byte("x"), readWrite)
	other := w.makeBucket(t, "other", alice)
	_, err = w.Link(ctx, h.Ino(), other, "f")
	requireKind(t, CrossBucket, err)
	_, err = w.Link(ctx, h.Ino(), w.bucket, "f")
	require.NoError(t, err)
	require.NoError(t, w.Unlink(ctx, w.bucket, "f"))
	_, err = w.Link(ctx, h.Ino(), w.bucket, "f")
	requireKind(t, NotFound, err) // it had a name, and lost it
	require.NoError(t, h.Close(ctx))

	_, _, err = w.Tmpfile(ctx, RootIno, NewNode{}, readWrite)
	requireKind(t, NotPermitted, err)
	_, _, err = w.fs.As(bob).Tmpfile(ctx, w.bucket, NewNode{}, readWrite)
	requireKind(t, NotFound, err)
	require.Zero(t, w.count(t, kZombie)+w.count(t, kDraft))
}

// What was fsynced without a name is there with it after a power cut; without a name it is gone.
func TestTmpfileAcrossPowerCut(t *testing.T) {
	w := newDataStore(t)
	ctx := context.Background()
	data := storetest.Bytes(100_000, 1)
	linked, lost := tmpfile(t, w, data, readWrite), tmpfile(t, w, data, readWrite)
	require.NoError(t, linked.Fsync(ctx))
	require.NoError(t, lost.Fsync(ctx))
	_, err := w.Link(ctx, linked.Ino(), w.bucket, "f")
	require.NoError(t, err)
	require.NoError(t, w.SyncDir(ctx, w.bucket))
	w.cut(t, 0, rand.New(rand.NewPCG(1, 1)))
	require.Equal(t, []string{"f"}, w.listKeys(t))
	require.True(t, bytes.Equal(data, w.get(t, "f")))
	_, err = w.GetAttr(ctx, lost.Ino())
	requireKind(t, NotFound, err)
	require.Zero(t, w.count(t, kZombie)+w.count(t, kDraft))
}
