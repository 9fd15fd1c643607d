package namespace

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Both doors hammer a few names: nothing deadlocks, every read is whole, and in the end nothing is left
// of what was removed.
func TestBothDoorsAtOnce(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	contents := [][]byte{}
	for i, n := range []int{0, 100, 9000, 70_000, 300_000} {
		contents = append(contents, bytes.Repeat([]byte{byte('a' + i)}, n))
	}
	whole := func(p []byte) {
		if len(p) > 0 {
			require.True(t, bytes.Equal(p, bytes.Repeat(p[:1], len(p))), "torn: %d bytes", len(p))
			require.Len(t, p, len(contents[p[0]-'a']))
		}
	}
	allowed := func(err error, kinds ...Kind) {
		for _, k := range kinds {
			if isKind(err, k) {
				return
			}
		}
		require.NoError(t, err)
	}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 9))
			for range 120 {
				name, other := fmt.Sprint("n", rng.IntN(3)), fmt.Sprint("n", rng.IntN(3))
				data := contents[rng.IntN(len(contents))]
				switch rng.IntN(7) {
				case 0: // replace by rename, as editors do
					temp := fmt.Sprintf("temp-%d", g)
					_, h, err := w.Create(ctx, w.bucket, temp, NewNode{Mode: 0o644}, OpenFlags{Write: true})
					require.NoError(t, err)
					_, err = h.WriteAt(ctx, data, 0)
					require.NoError(t, err)
					require.NoError(t, h.Flush(ctx))
					require.NoError(t, h.Close(ctx))
					require.NoError(t, w.Rename(ctx, w.bucket, temp, w.bucket, name, 0))
				case 1:
					allowed(w.Unlink(ctx, w.bucket, name), NotFound)
				case 2:
					_, err := w.PutObject(ctx, "bucket", name, bodyOf(data), PutOptions{})
					require.NoError(t, err)
				case 3:
					_, err := w.DeleteObject(ctx, "bucket", name, DeleteOptions{})
					require.NoError(t, err)
				case 4:
					r, err := w.GetObject(ctx, "bucket", name, ReadOptions{})
					allowed(err, NotFound)
					if err == nil {
						var b bytes.Buffer
						_, err := r.WriteRange(ctx, &b, 0, r.Info().Size)
						require.NoError(t, err)
						require.NoError(t, r.Close())
						whole(b.Bytes())
					}
				case 5:
					a, err := w.Lookup(ctx, w.bucket, name)
					allowed(err, NotFound)
					if err != nil {
						continue
					}
					h, err := w.Open(ctx, a.Ino, OpenFlags{Read: true})
					allowed(err, NotFound)
					if err == nil {
						whole(readAll(t, h))
						require.NoError(t, h.Flush(ctx))
						require.NoError(t, h.Close(ctx))
					}
				case 6:
					allowed(w.Rename(ctx, w.bucket, name, w.bucket, other, 0), NotFound)
				}
			}
		})
	}
	wg.Wait()
	for i := range 3 {
		_, err := w.DeleteObject(ctx, "bucket", fmt.Sprint("n", i), DeleteOptions{})
		require.NoError(t, err)
	}
	require.Empty(t, w.shownIn(t, w.bucket))
	require.Empty(t, w.fs.files.files)
	require.Empty(t, w.fs.files.buried)
	require.Zero(t, w.count(t, kZombie))
	require.Equal(t, 2, w.count(t, kInode), "the root and the bucket")
	require.Eventually(t, func() bool { return w.count(t, kExtent)+w.count(t, kContent)+w.count(t, kOrphan) == 0 },
		10*time.Second, 10*time.Millisecond)
}
