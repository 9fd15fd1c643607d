package chunkstore_test

import (
	"context"
	"errors"
	"flag"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
)

const crashDomain = 3

var crashWorkloads = flag.Int("crash.workloads", 20, "workloads of TestCrash, of about 400 states each")

// ledger is what a run knows of its extents: what they hold, and what was promised of them.
type ledger struct {
	content map[chunkstore.Extent][]byte
	durable map[chunkstore.Extent]bool // Sync returned after, and Free was not called
	pending map[chunkstore.Extent]bool // appended since the last Sync
}

func newLedger() *ledger {
	return &ledger{map[chunkstore.Extent][]byte{}, map[chunkstore.Extent]bool{}, map[chunkstore.Extent]bool{}}
}

func (l *ledger) live() []chunkstore.Extent { return slices.Collect(maps.Keys(l.durable)) }

// crashRun is a workload whose file system is cloned before every operation.
type crashRun struct {
	s      *chunkstore.Store
	st     *chunkstore.Stream
	rng    *rand.Rand
	ledger *ledger
	keys   *storetest.Keys
}

func (r *crashRun) step(ctx context.Context) error {
	switch n := r.rng.IntN(20); {
	case n < 8:
		p := storetest.Bytes(1+r.rng.IntN(1+r.rng.IntN(12_000)), r.rng.Uint64())
		e, err := r.s.Append(ctx, crashDomain, p)
		return r.appended(e, p, err)
	case n < 11:
		p := storetest.Bytes(1+r.rng.IntN(1+r.rng.IntN(90_000)), r.rng.Uint64())
		e, err := r.st.Append(ctx, p)
		return r.appended(e, p, err)
	case n < 12:
		r.keys.Rotate()
		st := r.st
		r.st = r.s.NewStream(crashDomain)
		return st.Close()
	case n < 15 && len(r.ledger.durable) > 4:
		live := r.ledger.live()
		slices.SortFunc(live, byPlace)
		e := live[r.rng.IntN(len(live))]
		delete(r.ledger.durable, e)
		return r.s.Free(ctx, e)
	case n < 18:
		if err := r.s.Sync(ctx); err != nil {
			return err
		}
		maps.Copy(r.ledger.durable, r.ledger.pending)
		clear(r.ledger.pending)
	}
	return nil
}

func byPlace(a, b chunkstore.Extent) int {
	if a.Segment != b.Segment {
		return int(a.Segment) - int(b.Segment)
	}
	return int(a.Offset) - int(b.Offset)
}

func (r *crashRun) appended(e chunkstore.Extent, p []byte, err error) error {
	if err != nil {
		return err
	}
	r.ledger.content[e] = p
	r.ledger.pending[e] = true
	return nil
}

// TestCrash cuts the power before every operation of random workloads, several times with other luck, and
// checks each state that a restart may find.
func TestCrash(t *testing.T) {
	const luck = 6
	workloads := *crashWorkloads
	if testing.Short() {
		workloads = min(workloads, 10)
	}
	var states atomic.Int64
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for seed := range uint64(workloads) {
		g.Go(func() error {
			states.Add(int64(exploreCrashes(t, seed, luck)))
			return nil
		})
	}
	require.NoError(t, g.Wait())
	t.Logf("%d crash states", states.Load())
	require.Greater(t, states.Load(), int64(300*workloads))
}

func exploreCrashes(t *testing.T, seed uint64, luck int) (states int) {
	ctx := context.Background()
	fs, keys := storetest.NewCrashFS(), &storetest.Keys{}
	run := &crashRun{rng: rand.New(rand.NewPCG(seed, 0)), ledger: newLedger(), keys: keys}
	chance := rand.New(rand.NewPCG(seed, 1))
	fs.SetHook(func(k int64, op storetest.Op, crash func(*rand.Rand) *storetest.CrashFS) error {
		for range luck {
			if op != storetest.OpRead {
				states++
				checkCrash(t, crash(chance), keys, run.ledger)
			}
		}
		return nil
	})
	run.s = openCrash(t, fs, keys)
	run.st = run.s.NewStream(crashDomain)
	for range 60 {
		require.NoError(t, run.step(ctx))
	}
	require.NoError(t, run.st.Close())
	require.NoError(t, run.s.Close())
	return states
}

// openCrash opens a store whose segments are so small that workloads fill several.
func openCrash(t *testing.T, fs chunkstore.FS, keys chunkstore.Keyring) *chunkstore.Store {
	s, err := chunkstore.Open(context.Background(), chunkstore.Options{
		Dir: "data", FS: fs, Keys: keys, SegmentSize: 256 << 10, Logger: storetest.Discard,
	})
	require.NoError(t, err)
	return s
}

// checkCrash restarts on a crash state: what was durable is whole, nothing reads as anything else, and
// the store works on.
func checkCrash(t *testing.T, fs *storetest.CrashFS, keys chunkstore.Keyring, l *ledger) {
	ctx := context.Background()
	s := openCrash(t, fs, keys)
	defer s.Close()
	checkContents(t, s, l)

	live := map[uint64][]chunkstore.Extent{}
	for e := range l.durable {
		live[e.Segment] = append(live[e.Segment], e)
	}
	infos, err := s.Segments(ctx)
	require.NoError(t, err)
	fresh := storetest.Bytes(5000, 99)
	e, err := s.Append(ctx, crashDomain, fresh)
	require.NoError(t, err)
	for _, info := range infos {
		if info.Err == nil {
			require.NoError(t, s.Frames(ctx, info.Number, func(f chunkstore.Frame) bool {
				return f.Err == nil || errors.Is(f.Err, chunkstore.ErrCorrupt)
			}))
		}
		_, err := s.Reclaim(ctx, info.Number, live[info.Number])
		require.NoError(t, err)
	}
	checkContents(t, s, l)
	require.NoError(t, s.Sync(ctx))
	p := make([]byte, len(fresh))
	require.NoError(t, s.ReadAt(ctx, crashDomain, e, p, 0))
	require.Equal(t, fresh, p)
	require.NotContains(t, l.content, e, "an extent was given twice")
}

func checkContents(t *testing.T, s *chunkstore.Store, l *ledger) {
	for e, want := range l.content {
		p := make([]byte, len(want))
		switch err := s.ReadAt(context.Background(), crashDomain, e, p, 0); {
		case err == nil:
			require.True(t, string(p) == string(want), "wrong bytes from %+v", e)
		case l.durable[e]:
			require.NoError(t, err, "durable extent %+v", e)
		default:
			require.ErrorIs(t, err, chunkstore.ErrCorrupt)
		}
	}
}
