package chunkstore_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestModel compares random operations, with restarts, to a map.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		fs, keys := storetest.NewCrashFS(), &storetest.Keys{}
		open := func() *chunkstore.Store {
			s, err := chunkstore.Open(ctx, chunkstore.Options{
				Dir: "data", FS: fs, Keys: keys, SegmentSize: 512 << 10, ReadCache: 4 << 20, TagCache: 64 << 10,
				Logger: storetest.Discard,
			})
			require.NoError(rt, err)
			return s
		}
		s := open()
		defer func() { s.Close() }()
		model := map[chunkstore.Extent][]byte{}
		some := func(rt *rapid.T) chunkstore.Extent {
			if len(model) == 0 {
				rt.Skip("nothing there")
			}
			return rapid.SampledFrom(slices.SortedFunc(maps.Keys(model), byPlace)).Draw(rt, "extent")
		}
		draw := func(rt *rapid.T, most int) []byte {
			n := rapid.OneOf(rapid.IntRange(1, 20_000), rapid.IntRange(1, most)).Draw(rt, "size")
			return storetest.Bytes(n, rapid.Uint64().Draw(rt, "seed"))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				p := draw(rt, 3<<20)
				e, err := s.Append(ctx, 1, p)
				require.NoError(rt, err)
				require.NotContains(rt, model, e)
				model[e] = p
			},
			"stream": func(rt *rapid.T) {
				st := s.NewStream(1)
				for range rapid.IntRange(1, 4).Draw(rt, "frames") {
					p := draw(rt, 200_000)
					e, err := st.Append(ctx, p)
					require.NoError(rt, err)
					model[e] = p
				}
				require.NoError(rt, st.Close())
			},
			"read": func(rt *rapid.T) {
				e := some(rt)
				off := rapid.IntRange(0, int(e.Length)-1).Draw(rt, "off")
				p := make([]byte, rapid.IntRange(1, int(e.Length)-off).Draw(rt, "n"))
				require.NoError(rt, s.ReadAt(ctx, 1, e, p, int64(off)))
				require.True(rt, string(p) == string(model[e][off:off+len(p)]))
			},
			"sequential": func(rt *rapid.T) {
				e := some(rt)
				step := rapid.IntRange(64<<10, 1<<20).Draw(rt, "step")
				for off := 0; off < int(e.Length); off += step {
					p := make([]byte, min(step, int(e.Length)-off))
					require.NoError(rt, s.ReadAt(ctx, 1, e, p, int64(off)))
					require.True(rt, string(p) == string(model[e][off:off+len(p)]))
				}
			},
			"free": func(rt *rapid.T) {
				e := some(rt)
				delete(model, e)
				require.NoError(rt, s.Free(ctx, e))
				require.ErrorIs(rt, s.ReadAt(ctx, 1, e, make([]byte, e.Length), 0), chunkstore.ErrCorrupt)
			},
			"rotate": func(*rapid.T) { keys.Rotate() },
			"sync":   func(rt *rapid.T) { require.NoError(rt, s.Sync(ctx)) },
			"reopen": func(rt *rapid.T) {
				require.NoError(rt, s.Close())
				s = open()
				reclaimAll(rt, s, model)
			},
		})
		for e := range model {
			require.NoError(rt, s.Verify(ctx, 1, e))
		}
	})
}

func reclaimAll(t require.TestingT, s *chunkstore.Store, model map[chunkstore.Extent][]byte) {
	infos, err := s.Segments(context.Background())
	require.NoError(t, err)
	for _, info := range infos {
		var live []chunkstore.Extent
		for e := range model {
			if e.Segment == info.Number {
				live = append(live, e)
			}
		}
		_, err := s.Reclaim(context.Background(), info.Number, live)
		require.NoError(t, err)
	}
}

// TestConcurrent runs streams, appends, syncs, reads and frees side by side on the operating system.
func TestConcurrent(t *testing.T) {
	ctx := context.Background()
	s, err := chunkstore.Open(ctx, chunkstore.Options{
		Dir: t.TempDir(), Keys: &storetest.Keys{}, SegmentSize: 24 << 20, ReadCache: 8 << 20, Logger: storetest.Discard,
	})
	require.NoError(t, err)
	var g errgroup.Group
	for w := range 8 {
		d := chunkstore.Domain(w)
		g.Go(func() error { return streamAndRead(ctx, s, d) })
		g.Go(func() error { return appendAndFree(ctx, s, d) })
	}
	require.NoError(t, g.Wait())
	require.NoError(t, s.Close())
}

// streamAndRead writes a stream from several goroutines and reads it back joined.
func streamAndRead(ctx context.Context, s *chunkstore.Store, d chunkstore.Domain) error {
	st := s.NewStream(d)
	parts := make([]chunkstore.Extent, 6)
	var g errgroup.Group
	for i := range parts {
		g.Go(func() (err error) {
			parts[i], err = st.Append(ctx, storetest.Bytes(chunkstore.FrameSize, uint64(d)<<8|uint64(i)))
			return err
		})
	}
	if err := errors.Join(g.Wait(), st.Close(), s.Sync(ctx)); err != nil {
		return err
	}
	order := []int{0, 1, 2, 3, 4, 5}
	slices.SortFunc(order, func(a, b int) int { return byPlace(parts[a], parts[b]) })
	for at := 0; at < len(order); {
		whole, want := parts[order[at]], storetest.Bytes(chunkstore.FrameSize, uint64(d)<<8|uint64(order[at]))
		for at++; at < len(order); at++ {
			joined, ok := chunkstore.Join(whole, parts[order[at]])
			if !ok {
				break
			}
			whole = joined
			want = append(want, storetest.Bytes(chunkstore.FrameSize, uint64(d)<<8|uint64(order[at]))...)
		}
		p := make([]byte, 128<<10)
		for off := 0; off < len(want); off += len(p) {
			if err := s.ReadAt(ctx, d, whole, p, int64(off)); err != nil {
				return err
			}
			if string(p) != string(want[off:off+len(p)]) {
				return errors.New("wrong bytes")
			}
		}
		if err := s.Free(ctx, whole); err != nil {
			return err
		}
	}
	return nil
}

func appendAndFree(ctx context.Context, s *chunkstore.Store, d chunkstore.Domain) error {
	for i := range 40 {
		want := storetest.Bytes(1000+i*2000, uint64(d))
		e, err := s.Append(ctx, d, want)
		if err == nil && i%4 == 0 {
			err = s.Sync(ctx)
		}
		if err != nil {
			return err
		}
		p := make([]byte, len(want))
		if err := s.ReadAt(ctx, d, e, p, 0); err != nil {
			return err
		}
		if string(p) != string(want) {
			return errors.New("wrong bytes")
		}
		if err := s.Free(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// slowSync is an FS whose syncs take a moment and are counted.
type slowSync struct {
	chunkstore.FS
	syncs *atomic.Int64
}

type slowFile struct {
	chunkstore.File
	syncs *atomic.Int64
}

func (f slowSync) Create(name string) (chunkstore.File, error) {
	file, err := f.FS.Create(name)
	return slowFile{file, f.syncs}, err
}

func (f slowFile) Sync() error {
	f.syncs.Add(1)
	time.Sleep(2 * time.Millisecond)
	return f.File.Sync()
}

// TestSyncIsShared: many writers need few syncs, and a sync with nothing to do does nothing.
func TestSyncIsShared(t *testing.T) {
	ctx := context.Background()
	var syncs atomic.Int64
	s := storetest.Open(t, slowSync{storetest.NewCrashFS(), &syncs}, &storetest.Keys{})
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 10 {
				if _, err := s.Append(ctx, 1, []byte("x")); err != nil {
					t.Error(err)
				}
				if err := s.Sync(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Less(t, syncs.Load(), int64(160))
	before := syncs.Load()
	require.NoError(t, s.Sync(ctx))
	require.Equal(t, before, syncs.Load())
}
