package namespace

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
	"k3fs/metastore"
	"k3fs/metastore/badgerkv"
)

// fill makes n empty objects in directories of 1,000, many in an update.
func (w *world) fill(t testing.TB, n int) {
	for i := 0; i < n; {
		from := i
		require.NoError(t, w.View.update(bg, metastore.Ordered, func(tx *txn) error {
			b, err := w.findBucket(tx, "data")
			if err != nil {
				return err
			}
			for i = from; i < min(from+500, n); i++ {
				if b.rec, err = getInode(tx, b.ino); err != nil {
					return err
				}
				p := published{content: func(tx *txn) (contentRec, error) {
					c, err := w.fs.storeContent(tx, b.domain(), &layout{})
					c.ETag = emptyETag
					return c, err
				}}
				if _, err := w.publish(tx, b, fmt.Sprintf("dir-%d/key-%08d", i/1000, i), &p); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

// countingReader counts what a listing reads.
type countingReader struct {
	metastore.Reader
	reads int
}

func (c *countingReader) Get(k []byte) ([]byte, error) {
	c.reads++
	return c.Reader.Get(k)
}

func (c *countingReader) Scan(r metastore.Range, fn func(k, v []byte) (bool, error)) error {
	return c.Reader.Scan(r, func(k, v []byte) (bool, error) {
		c.reads++
		return fn(k, v)
	})
}

// listThrough is ListObjects reading through r.
func (w *world) listThrough(r *countingReader, o ListOptions) (page ListPage, err error) {
	err = w.kv.View(bg, func(below metastore.Reader) error {
		r.Reader = below
		page, err = w.listPage(bg, r, "data", o)
		return err
	})
	return page, err
}

// newDisk is a world over the engines of a node, in a temporary directory.
func newDisk(t testing.TB) *world {
	dir := t.TempDir()
	w := &world{keys: &authority{}}
	var err error
	w.chunks, err = chunkstore.Open(bg, chunkstore.Options{Dir: filepath.Join(dir, "chunks"), Keys: &w.keys.Keys, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	kv, err := badgerkv.Open(badgerkv.Options{Dir: filepath.Join(dir, "meta"), Key: [32]byte{1}, Logger: slog.New(slog.DiscardHandler),
		Barrier: func(ctx context.Context) error { return w.chunks.Sync(ctx) }})
	require.NoError(t, err)
	w.fs, err = Open(bg, Options{KV: kv, Chunks: w.chunks, Authority: w.keys, Logger: storetest.Discard})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, w.fs.Close(bg))
		require.NoError(t, kv.Close())
		require.NoError(t, w.chunks.Close())
	})
	w.View = w.fs.As(alice)
	require.NoError(t, w.CreateBucket(bg, "data", ""))
	return w
}

func BenchmarkPutObject(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		data := storetest.Bytes(size, 1)
		for _, clients := range []int{1, 16} {
			b.Run(fmt.Sprintf("%dKiB/clients=%d", size>>10, clients), func(b *testing.B) {
				w := newDisk(b)
				b.SetBytes(int64(size))
				b.SetParallelism(clients)
				b.ReportAllocs()
				b.ResetTimer()
				if clients == 1 {
					for i := range b.N {
						w.put(b, fmt.Sprintf("d/%d", i), data)
					}
					return
				}
				next := make(chan int, b.N)
				for i := range b.N {
					next <- i
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						w.put(b, fmt.Sprintf("d/%d", <-next), data)
					}
				})
			})
		}
	}
}

func BenchmarkGetObject(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 16 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			w := newDisk(b)
			const n = 64
			data := storetest.Bytes(size, 1)
			for i := range n {
				if size > 1<<20 && i > 2 {
					break
				}
				w.put(b, fmt.Sprintf("d/%d", i), data)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				k := i % n
				if size > 1<<20 {
					k = i % 3
				}
				rd, err := w.GetObject(bg, "data", fmt.Sprintf("d/%d", k), ReadOptions{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := rd.WriteRange(bg, io.Discard, 0, int64(size)); err != nil {
					b.Fatal(err)
				}
				rd.Close()
			}
		})
	}
}

func BenchmarkListObjects(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		w := newDisk(b)
		w.fill(b, n)
		for _, o := range []struct {
			name string
			ListOptions
		}{{"deep", ListOptions{Max: 1000, After: fmt.Sprintf("dir-%d/key-%08d", n/2000, n/2000*1000+500)}},
			{"flat", ListOptions{Max: 1000, Prefix: "dir-3/", Delimiter: "/"}}} {
			b.Run(fmt.Sprintf("%dkeys/%s", n, o.name), func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					page, err := w.ListObjects(bg, "data", o.ListOptions)
					if err != nil || len(page.Objects) != 1000 {
						b.Fatal(err, len(page.Objects))
					}
				}
				b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
			})
		}
	}
}
