package badgerkv

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
)

// benchKeys is how many keys the read benchmarks choose from: some are in tables, some in a memtable.
const benchKeys = 300_000

func benchKey(i int) []byte { return fmt.Appendf(nil, "e%08d/file-%08d", i/1000, i) }

func benchValue() []byte {
	v := make([]byte, 150)
	for i := range v {
		v[i] = byte(rand.Uint32())
	}
	return v
}

// filled is a store of benchKeys keys.
func filled(b *testing.B) *Store {
	s := mustOpen(b, testOptions(b.TempDir()))
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	value := benchValue()
	for i := 0; i < benchKeys; i += 1000 {
		require.NoError(b, s.Update(b.Context(), metastore.Ordered, func(txn metastore.Txn) error {
			for j := i; j < i+1000; j++ {
				if err := txn.Set(benchKey(j), value); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	require.NoError(b, s.Sync(b.Context()))
	return s
}

func BenchmarkDurable(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := mustOpen(b, testOptions(b.TempDir()))
			defer s.Close()
			value := benchValue()
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for {
						i := int(next.Add(1))
						if i > b.N {
							return
						}
						if err := s.Update(b.Context(), metastore.Durable, createLike(i, value)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
		})
	}
}

// createLike does what making a file does: two reads, three writes.
func createLike(i int, value []byte) func(metastore.Txn) error {
	return func(txn metastore.Txn) error {
		key := benchKey(i)
		if _, err := txn.Get(key); err == nil {
			return nil
		}
		_, _ = txn.Get([]byte("parent"))
		for _, prefix := range []string{"e", "i", "c"} {
			if err := txn.Set(append([]byte(prefix), key...), value); err != nil {
				return err
			}
		}
		return nil
	}
}

func BenchmarkOrdered(b *testing.B) {
	s := mustOpen(b, testOptions(b.TempDir()))
	defer s.Close()
	value := benchValue()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		require.NoError(b, s.Update(b.Context(), metastore.Ordered, func(txn metastore.Txn) error {
			return txn.Set(benchKey(i), value)
		}))
	}
}

func BenchmarkOrderedCreate(b *testing.B) {
	s := mustOpen(b, testOptions(b.TempDir()))
	defer s.Close()
	value := benchValue()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		require.NoError(b, s.Update(b.Context(), metastore.Ordered, createLike(i, value)))
	}
}

func BenchmarkGet(b *testing.B) {
	s := filled(b)
	get := func(b *testing.B, key func() []byte) {
		b.ReportAllocs()
		for b.Loop() {
			k := key()
			err := s.View(b.Context(), func(r metastore.Reader) error {
				_, err := r.Get(k)
				return err
			})
			if err != nil && err != metastore.ErrNotFound {
				b.Fatal(err)
			}
		}
	}
	b.Run("hot", func(b *testing.B) {
		get(b, func() []byte { return benchKey(rand.IntN(2000)) })
	})
	b.Run("random", func(b *testing.B) {
		get(b, func() []byte { return benchKey(rand.IntN(benchKeys)) })
	})
	b.Run("absent", func(b *testing.B) {
		get(b, func() []byte { return append(benchKey(rand.IntN(benchKeys)), 'x') })
	})
	b.Run("overlay", func(b *testing.B) {
		require.NoError(b, s.Update(b.Context(), metastore.Ordered, func(txn metastore.Txn) error {
			return txn.Set([]byte("fresh"), []byte("value"))
		}))
		v := s.acquire()
		defer v.base.release()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Get([]byte("fresh")); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	s := filled(b)
	scan := func(b *testing.B, n int, keysOnly bool) {
		b.ReportAllocs()
		for b.Loop() {
			dir := rand.IntN(benchKeys / 1000)
			got := 0
			require.NoError(b, s.View(b.Context(), func(r metastore.Reader) error {
				rg := metastore.Range{From: benchKey(dir * 1000), To: benchKey(dir*1000 + 1000), Page: n, KeysOnly: keysOnly}
				return r.Scan(rg, func(_, _ []byte) (bool, error) {
					got++
					return got < n, nil
				})
			}))
			if got != n {
				b.Fatal(got)
			}
		}
	}
	b.Run("1", func(b *testing.B) { scan(b, 1, true) })
	b.Run("10", func(b *testing.B) { scan(b, 10, false) })
	b.Run("1000", func(b *testing.B) { scan(b, 1000, false) })
	b.Run("1000keys", func(b *testing.B) { scan(b, 1000, true) })
}

// BenchmarkFill makes the records of b.N files, three each, by four writers at once, reads them, and tells
// the most memory that the process took: all of it, and without the pages of mapped files. Run it with
// -benchtime=400000x and GOMEMLIMIT=352MiB, as the daemon sets it.
func BenchmarkFill(b *testing.B) {
	if b.N == 1 {
		return // the trial run
	}
	s := mustOpen(b, testOptions(b.TempDir()))
	ended, anon := make(chan struct{}), make(chan float64)
	go func() { anon <- peakAnon(ended) }()
	b.ResetTimer()
	makeFiles(b, s, b.N, 4)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
	b.StopTimer()
	b.ReportMetric(memoryMiB("VmHWM"), "peak-MiB")
	b.ReportMetric(memoryMiB("RssFile")+memoryMiB("RssShmem"), "file-MiB")
	close(ended)
	b.ReportMetric(<-anon, "anon-MiB")
	const gets, scans = 20_000, 200
	start := time.Now()
	for range gets {
		require.NoError(b, s.View(b.Context(), func(r metastore.Reader) error {
			_, err := r.Get(append([]byte("i"), benchKey(rand.IntN(b.N))...))
			return err
		}))
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/gets, "µs/get")
	start = time.Now()
	for range scans {
		n, dir := 0, rand.IntN(b.N/1000)
		require.NoError(b, s.View(b.Context(), func(r metastore.Reader) error {
			from, to := benchKey(dir*1000), benchKey(dir*1000+1000)
			return r.Scan(metastore.Range{From: append([]byte("e"), from...), To: append([]byte("e"), to...)},
				func(_, _ []byte) (bool, error) { n++; return true, nil })
		}))
		require.Equal(b, 1000, n)
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/scans, "µs/scan")
	require.NoError(b, s.Close())
}

func makeFiles(b *testing.B, s *Store, creates, writers int) {
	value := benchValue()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= creates {
					return
				}
				if err := s.Update(context.Background(), metastore.Ordered, createLike(i, value)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.NoError(b, s.Sync(context.Background()))
}

// peakAnon is the most anonymous memory that was seen until ended, in MiB.
func peakAnon(ended <-chan struct{}) (peak float64) {
	for {
		select {
		case <-ended:
			return peak
		case <-time.After(20 * time.Millisecond):
			peak = max(peak, memoryMiB("RssAnon"))
		}
	}
}

// memoryMiB reads a field of /proc/self/status.
func memoryMiB(field string) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, field+":"); ok {
				var kib float64
				_, _ = fmt.Sscan(rest, &kib)
				return kib / 1024
			}
		}
	}
	return 0
}
