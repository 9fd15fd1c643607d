package chunkstore_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
)

// The Raw benchmarks are what the disk does without us: divide.
//
//	go test ./chunkstore -run '^$' -bench . -benchtime 1x

const bulk = 2 << 30

func openBench(b *testing.B) *chunkstore.Store {
	b.Helper()
	s, err := chunkstore.Open(context.Background(), chunkstore.Options{
		Dir: b.TempDir(), Keys: &storetest.Keys{}, Logger: storetest.Discard,
	})
	require.NoError(b, err)
	b.Cleanup(func() { s.Close() })
	return s
}

func alignedBuffer(n int) []byte {
	p := make([]byte, n+4096)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) & 4095
	return p[skip : skip+n]
}

// openRaw makes a preallocated file for direct access.
func openRaw(b *testing.B, size int64) *os.File {
	b.Helper()
	f, err := os.OpenFile(filepath.Join(b.TempDir(), "raw"), os.O_RDWR|os.O_CREATE|unix.O_DIRECT, 0o600)
	require.NoError(b, err)
	b.Cleanup(func() { f.Close() })
	require.NoError(b, unix.Fallocate(int(f.Fd()), 0, 0, size))
	return f
}

func inParallel(n int, fn func(i int) error) error {
	var g errgroup.Group
	g.SetLimit(n)
	for i := range bulk >> 20 {
		g.Go(func() error { return fn(i) })
	}
	return g.Wait()
}

func BenchmarkSequentialWrite(b *testing.B) {
	data := storetest.Bytes(1<<20, 1)
	for _, writers := range []int{1, 4} {
		name := map[int]string{1: "1", 4: "4"}[writers]
		b.Run("Raw/"+name, func(b *testing.B) {
			b.SetBytes(bulk)
			buf := alignedBuffer(1 << 20)
			copy(buf, data)
			for b.Loop() {
				f := openRaw(b, bulk)
				require.NoError(b, inParallel(writers, func(i int) error {
					_, err := f.WriteAt(buf, int64(i)<<20)
					return err
				}))
				require.NoError(b, unix.Fdatasync(int(f.Fd())))
			}
		})
		b.Run("Stream/"+name, func(b *testing.B) {
			b.SetBytes(bulk)
			ctx := context.Background()
			for b.Loop() {
				s := openBench(b)
				st := s.NewStream(1)
				require.NoError(b, inParallel(writers, func(i int) error {
					_, err := st.Append(ctx, data)
					return err
				}))
				require.NoError(b, st.Close())
				require.NoError(b, s.Sync(ctx))
			}
		})
	}
}

// fill writes bulk bytes as extents of MaxExtent and returns them.
func fill(b *testing.B, s *chunkstore.Store) []chunkstore.Extent {
	b.Helper()
	var out []chunkstore.Extent
	data := storetest.Bytes(chunkstore.MaxExtent, 1)
	for range bulk / chunkstore.MaxExtent {
		e, err := s.Append(context.Background(), 1, data)
		require.NoError(b, err)
		out = append(out, e)
	}
	require.NoError(b, s.Sync(context.Background()))
	return out
}

func BenchmarkSequentialRead(b *testing.B) {
	raw := openRaw(b, bulk)
	buf := alignedBuffer(1 << 20)
	for i := range int64(bulk >> 20) {
		_, err := raw.WriteAt(buf, i<<20)
		require.NoError(b, err)
	}
	b.Run("Raw/1MiB", func(b *testing.B) {
		b.SetBytes(bulk)
		for b.Loop() {
			for i := range int64(bulk >> 20) {
				_, err := raw.ReadAt(buf, i<<20)
				require.NoError(b, err)
			}
		}
	})
	s := openBench(b)
	extents := fill(b, s)
	for _, size := range []int{128 << 10, 1 << 20, 4 << 20} {
		name := map[int]string{128 << 10: "128KiB", 1 << 20: "1MiB", 4 << 20: "4MiB"}[size]
		b.Run("Store/"+name, func(b *testing.B) {
			b.SetBytes(bulk)
			p := make([]byte, size)
			for b.Loop() {
				for _, e := range extents {
					for off := int64(0); off < int64(e.Length); off += int64(size) {
						if err := s.ReadAt(context.Background(), 1, e, p, off); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
		})
	}
}

func BenchmarkRandomRead4K(b *testing.B) {
	raw := openRaw(b, bulk)
	buf := alignedBuffer(1 << 20)
	for i := range int64(bulk >> 20) {
		_, err := raw.WriteAt(buf, i<<20)
		require.NoError(b, err)
	}
	s := openBench(b)
	extents := fill(b, s)
	for _, readers := range []int{1, 16} {
		name := map[int]string{1: "1", 16: "16"}[readers]
		b.Run("Raw/"+name, func(b *testing.B) {
			readers4K(b, readers, func(rng *rand.Rand, p []byte) error {
				_, err := raw.ReadAt(p, rng.Int64N(bulk/4096)*4096)
				return err
			})
		})
		b.Run("Store/"+name, func(b *testing.B) {
			readers4K(b, readers, func(rng *rand.Rand, p []byte) error {
				e := extents[rng.IntN(len(extents))]
				return s.ReadAt(context.Background(), 1, e, p, rng.Int64N(int64(e.Length)/4096)*4096)
			})
		})
	}
}

func readers4K(b *testing.B, readers int, read func(*rand.Rand, []byte) error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for i := range readers {
		wg.Go(func() {
			p, rng := alignedBuffer(4096), rand.New(rand.NewPCG(uint64(i), 9))
			for left.Add(-1) >= 0 {
				if err := read(rng, p); err != nil && !errors.Is(err, io.EOF) {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
}

func BenchmarkAppend64KSync(b *testing.B) {
	data := storetest.Bytes(64<<10, 1)
	buf := alignedBuffer(64 << 10)
	copy(buf, data)
	for _, writers := range []int{1, 16} {
		name := map[int]string{1: "1", 16: "16"}[writers]
		b.Run("Raw/"+name, func(b *testing.B) {
			f := openRaw(b, 8<<30)
			var next atomic.Int64
			writers64K(b, writers, func() error {
				if _, err := f.WriteAt(buf, (next.Add(1)-1)<<16); err != nil {
					return err
				}
				return unix.Fdatasync(int(f.Fd()))
			})
		})
		b.Run("Store/"+name, func(b *testing.B) {
			s := openBench(b)
			writers64K(b, writers, func() error {
				if _, err := s.Append(context.Background(), 1, data); err != nil {
					return err
				}
				return s.Sync(context.Background())
			})
		})
	}
}

func writers64K(b *testing.B, writers int, write func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.SetBytes(64 << 10)
	b.ResetTimer()
	for range writers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := write(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}
