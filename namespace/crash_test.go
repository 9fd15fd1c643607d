package namespace

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"k3fs/chunkstore/storetest"
)

// cut takes the power away and starts again on what is left: all that is durable, and some of what is not.
func (w *world) cut(t testing.TB, keep int, rng *rand.Rand) {
	w.fs.reaper.stop()
	// Commits reach the disk behind the data that they refer to, or not at all.
	if keep > 0 && w.chunks.Sync(bg) != nil {
		keep = 0
	}
	kv := w.kv.Crash(keep, w.kvOptions())
	w.disk = w.disk.CrashClone(rng)
	w.open(t, kv)
}

// objectSizes reach every form of a content.
var objectSizes = []int{0, 10, inlineMax, inlineMax + 1, 300_000, 1<<20 + 5, 3 << 20}

func TestObjectsFollowModelAcrossPowerCuts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newStore(t)
		m := bucketModel{}
		seed := uint64(0)
		draw := func() (key string, data []byte) {
			seed++
			return keyGen.Draw(rt, "key"), storetest.Bytes(rapid.SampledFrom(objectSizes).Draw(rt, "size"), seed)
		}
		some := func() string {
			keys := m.list(ListOptions{Max: 1000}).Objects
			if len(keys) == 0 {
				rt.Skip("nothing there")
			}
			return rapid.SampledFrom(keys).Draw(rt, "of").Key
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				k, data := draw()
				w.put(rt2(t, rt), k, data)
				m[k] = string(data)
			},
			"delete": func(rt *rapid.T) {
				k := some()
				found, err := w.DeleteObject(bg, "data", k, DeleteOptions{})
				require.NoError(rt, err)
				require.True(rt, found.Found)
				delete(m, k)
			},
			"copy": func(rt *rapid.T) {
				from, to := some(), keyGen.Draw(rt, "to")
				_, err := w.CopyObject(bg, "data", from, "data", to, CopyOptions{SelfCopyOK: true})
				require.NoError(rt, err)
				m[to] = m[from]
			},
			"multipart": func(rt *rapid.T) {
				k, data := draw()
				up, err := w.CreateUpload(bg, "data", k, Upload{})
				require.NoError(rt, err)
				parts := []CompletePart{w.part(rt2(t, rt), k, up.ID, 1, data)}
				if rapid.Bool().Draw(rt, "abort") {
					require.NoError(rt, w.AbortUpload(bg, "data", k, up.ID))
					return
				}
				_, err = w.CompleteUpload(bg, "data", k, up.ID, parts, Checksums{}, Conditions{})
				require.NoError(rt, err)
				m[k] = string(data)
			},
			"reap": func(rt *rapid.T) { require.NoError(rt, w.fs.Reap(bg)) },
			"cut": func(rt *rapid.T) {
				keep := rapid.IntRange(0, w.kv.Pending()).Draw(rt, "keep")
				w.cut(rt2(t, rt), keep, rand.New(rand.NewPCG(seed, 7)))
			},
			"": func(rt *rapid.T) {
				got, err := w.ListObjects(bg, "data", ListOptions{Max: 1000})
				require.NoError(rt, err)
				require.Equal(rt, m.list(ListOptions{Max: 1000}), bare(got))
				if len(m) > 0 {
					k := some()
					require.True(rt, m[k] == string(w.get(rt2(t, rt), k)), "content of %q", k)
				}
			},
		})
		for k := range m {
			require.True(rt, m[k] == string(w.get(rt2(t, rt), k)), "content of %q", k)
		}
		require.NoError(rt, w.fs.Reap(bg))
		requireClean(rt2(t, rt), w.kv, w.chunks, w.keys)
		require.NoError(rt, w.fs.Close(bg))
	})
}

// both is a testing.TB that fails a rapid check, so that it is made smaller, and cleans up after the test.
type both struct {
	testing.TB
	rt *rapid.T
}

func rt2(t testing.TB, rt *rapid.T) testing.TB   { return both{t, rt} }
func (b both) Errorf(format string, args ...any) { b.rt.Errorf(format, args...) }
func (b both) FailNow()                          { b.rt.FailNow() }
func (b both) Helper()                           {}

// Every write that is acknowledged is there after a power cut at any disk operation; every other is whole
// or absent; nothing is left over.
func TestPutsUnderFailingDisk(t *testing.T) {
	for k := int64(1); k < 60; k++ {
		w := newStore(t)
		w.damaged = true
		w.put(t, "before", storetest.Bytes(200_000, 1))
		w.disk.FailAt(w.disk.Ops()+k, func(op storetest.Op) bool {
			return op == storetest.OpWrite || op == storetest.OpSync || op == storetest.OpPunch
		})
		acked := map[string][]byte{}
		for i := range 12 {
			data := storetest.Bytes(objectSizes[i%len(objectSizes)], uint64(i))
			if _, err := w.PutObject(bg, "data", fmt.Sprint(i), bodyOf(data), PutOptions{}); err == nil {
				acked[fmt.Sprint(i)] = data
			}
			if i%3 == 2 {
				_, _ = w.DeleteObject(bg, "data", "before", DeleteOptions{})
				_ = w.fs.Reap(bg)
			}
		}
		w.disk.SetHook(nil)
		rng := rand.New(rand.NewPCG(uint64(k), 1))
		w.cut(t, rng.IntN(w.kv.Pending()+1), rng)
		for key, data := range acked {
			require.True(t, bytes.Equal(data, w.get(t, key)), "object %s, fault %d", key, k)
		}
		for _, key := range w.listKeys(t) {
			w.get(t, key)
		}
		require.NoError(t, w.fs.Reap(bg))
		requireClean(t, w.kv, w.chunks, w.keys)
	}
}

// Readers see whole contents while they are overwritten, deleted and collected.
func TestReapBesideReaders(t *testing.T) {
	w := newStore(t)
	const keys = 4
	version := func(v uint64) []byte {
		data := storetest.Bytes(40_000, v)
		data[0], data[1] = byte(v), byte(v>>8)
		return data
	}
	for k := range keys {
		w.put(t, fmt.Sprint(k), version(uint64(k)))
	}
	var stop atomic.Bool
	var reads, seen atomic.Int64
	var wg sync.WaitGroup
	work := func(f func(n uint64)) {
		wg.Go(func() {
			for n := uint64(1); !stop.Load(); n++ {
				f(n)
			}
		})
	}
	for i := range 2 {
		work(func(n uint64) {
			k := fmt.Sprint(n % keys)
			switch n % 5 {
			case 0:
				_, err := w.CopyObject(bg, "data", fmt.Sprint((n+1)%keys), "data", k, CopyOptions{})
				if err != nil && !isKind(err, NotFound) {
					t.Error(err)
				}
			case 1:
				if _, err := w.DeleteObject(bg, "data", k, DeleteOptions{}); err != nil {
					t.Error(err)
				}
			default:
				if _, err := w.PutObject(bg, "data", k, bodyOf(version(n*2+uint64(i))), PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
		work(func(n uint64) {
			rd, err := w.GetObject(bg, "data", fmt.Sprint(n%keys), ReadOptions{})
			if err != nil {
				if !isKind(err, NotFound) {
					t.Error(err)
				}
				return
			}
			defer rd.Close()
			if n%3 == 0 {
				time.Sleep(time.Millisecond)
			}
			var b bytes.Buffer
			if _, err := rd.WriteRange(bg, &b, 0, 1<<20); err != nil {
				t.Error(err)
			}
			if etagOf(b.Bytes()) != rd.Info().ETag {
				t.Error("torn read")
			}
			reads.Add(1)
		})
	}
	work(func(uint64) {
		if err := w.fs.Reap(bg); err != nil {
			t.Error(err)
		}
		seen.Add(1)
	})
	time.Sleep(700 * time.Millisecond)
	stop.Store(true)
	wg.Wait()
	require.Positive(t, reads.Load())
	require.Positive(t, seen.Load())
	require.NoError(t, w.fs.Reap(bg))
	require.Empty(t, w.fs.pins)
	require.Zero(t, w.records(t, kOrphan))
}
