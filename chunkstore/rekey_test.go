package chunkstore_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
)

const otherDomain = 4

// requireEpoch says that all frames of the domain, and no others, are sealed under the current epoch.
func requireEpoch(t *testing.T, s *chunkstore.Store, d chunkstore.Domain, keys chunkstore.Keyring) (frames int) {
	epoch, err := keys.Current(d)
	require.NoError(t, err)
	infos, err := s.Segments(context.Background())
	require.NoError(t, err)
	for _, info := range infos {
		if info.Err != nil {
			continue
		}
		require.NoError(t, s.Frames(context.Background(), info.Number, func(f chunkstore.Frame) bool {
			if f.Err == nil && f.Domain == d {
				require.Equal(t, epoch, f.Epoch, "the frame at %d of segment %d", f.Offset, info.Number)
				frames++
			}
			return true
		}))
	}
	return frames
}

// TestRekeyCrash cuts the power before every operation of a Rekey among freed extents, and checks that every state is
// whole, and that a Rekey after the restart comes to its end.
func TestRekeyCrash(t *testing.T) {
	states := 0
	for seed := range uint64(4) {
		states += exploreRekey(t, seed)
	}
	t.Logf("%d crash states", states)
	require.Greater(t, states, 300)
}

func exploreRekey(t *testing.T, seed uint64) (states int) {
	ctx := context.Background()
	fs, keys := storetest.NewCrashFS(), &storetest.Keys{}
	run := &crashRun{rng: rand.New(rand.NewPCG(seed, 0)), ledger: newLedger(), keys: keys, s: openCrash(t, fs, keys)}
	for _, n := range []int{100, 5000, 70_000, 200_000, 8192, 1, 30_000, 4096} {
		p := storetest.Bytes(n, seed+uint64(n))
		e, err := run.s.Append(ctx, crashDomain, p)
		require.NoError(t, run.appended(e, p, err))
		_, err = run.s.Append(ctx, otherDomain, p)
		require.NoError(t, err)
	}
	require.NoError(t, run.s.Sync(ctx))
	for e := range run.ledger.pending {
		run.ledger.durable[e] = true
	}
	keys.Rotate()
	chance := rand.New(rand.NewPCG(seed, 1))
	fs.SetHook(func(_ int64, op storetest.Op, crash func(*rand.Rand) *storetest.CrashFS) error {
		for range 6 {
			if op == storetest.OpRead {
				continue
			}
			states++
			cut := crash(chance)
			s := openCrash(t, cut, keys)
			checkContents(t, s, run.ledger)
			_, err := s.Rekey(ctx, crashDomain, chunkstore.RekeyOptions{})
			require.NoError(t, err)
			require.Positive(t, requireEpoch(t, s, crashDomain, keys))
			checkContents(t, s, run.ledger)
			require.NoError(t, s.Close())
			checkCrash(t, cut, keys, run.ledger)
		}
		return nil
	})
	freed := false
	_, err := run.s.Rekey(ctx, crashDomain, chunkstore.RekeyOptions{Pace: func(ctx context.Context, n int64) error {
		if !freed { // between the look at the segment and the writing
			live := run.ledger.live()
			e := live[run.rng.IntN(len(live))]
			delete(run.ledger.durable, e)
			freed = true
			return run.s.Free(ctx, e)
		}
		return nil
	}})
	require.NoError(t, err)
	fs.SetHook(nil)
	require.Positive(t, requireEpoch(t, run.s, crashDomain, keys))
	checkContents(t, run.s, run.ledger)
	require.NoError(t, run.s.Close())
	require.NotContains(t, fs.Files(), "data/rekey.journal")
	return states
}

// TestRekeyUnderLoad reads, appends and frees while keys change, and every read gives what was written.
func TestRekeyUnderLoad(t *testing.T) {
	ctx := context.Background()
	keys := &storetest.Keys{}
	s, err := chunkstore.Open(ctx, chunkstore.Options{
		Dir: t.TempDir(), Keys: keys, SegmentSize: 8 << 20, TagCache: 64 << 10, Logger: storetest.Discard,
	})
	require.NoError(t, err)
	defer s.Close()
	type stored struct {
		e chunkstore.Extent
		p []byte
	}
	var all []stored
	for i := range 40 {
		p := storetest.Bytes(1+i*i*1500, uint64(i))
		e, err := s.Append(ctx, crashDomain, p)
		require.NoError(t, err)
		all = append(all, stored{e, p})
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for worker := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 0))
			for i := 0; !stop.Load(); i++ {
				one := all[rng.IntN(len(all))]
				off := rng.IntN(len(one.p))
				p := make([]byte, 1+rng.IntN(len(one.p)-off))
				if err := s.ReadAt(ctx, crashDomain, one.e, p, int64(off)); err != nil || !bytes.Equal(p, one.p[off:off+len(p)]) {
					t.Errorf("read %d bytes at %d of %d: wrong, or %v", len(p), off, len(one.p), err)
					return
				}
				mine := storetest.Bytes(1+rng.IntN(9000), uint64(i))
				e, err := s.Append(ctx, crashDomain, mine)
				if err == nil {
					p = make([]byte, len(mine))
					err = s.ReadAt(ctx, crashDomain, e, p, 0)
				}
				if err != nil || !bytes.Equal(p, mine) || s.Free(ctx, e) != nil {
					t.Errorf("what was appended is not there: %v", err)
					return
				}
			}
		})
	}
	for range 3 {
		keys.Rotate()
		done, err := s.Rekey(ctx, crashDomain, chunkstore.RekeyOptions{})
		require.NoError(t, err)
		require.GreaterOrEqual(t, done.Frames, int64(len(all)))
		require.Zero(t, done.Damaged)
		requireEpoch(t, s, crashDomain, keys)
	}
	stop.Store(true)
	wg.Wait()
	for _, one := range all {
		require.NoError(t, s.Verify(ctx, crashDomain, one.e))
	}
}

// TestRekeyKeepsDamage: a flipped bit is found after a change of keys as before, and what is around it can be read.
func TestRekeyKeepsDamage(t *testing.T) {
	ctx := context.Background()
	fs, keys := storetest.NewCrashFS(), &storetest.Keys{}
	s, err := chunkstore.Open(ctx, chunkstore.Options{Dir: "data", FS: fs, Keys: keys, SegmentSize: 4 << 20, ReadCache: -1, Logger: storetest.Discard})
	require.NoError(t, err)
	defer s.Close()
	want := storetest.Bytes(100_000, 1)
	e, err := s.Append(ctx, crashDomain, want)
	require.NoError(t, err)
	require.NoError(t, fs.Corrupt(fs.Files()[0], int64(e.Offset)+3*chunkstore.BlockSize, 1))
	keys.Rotate()
	done, err := s.Rekey(ctx, crashDomain, chunkstore.RekeyOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(1), done.Damaged)
	require.Equal(t, 1, requireEpoch(t, s, crashDomain, keys))
	bad := 0
	for off := 0; off < len(want); off += chunkstore.PackageSize {
		p := make([]byte, min(chunkstore.PackageSize, len(want)-off))
		if err := s.ReadAt(ctx, crashDomain, e, p, int64(off)); err != nil {
			require.ErrorIs(t, err, chunkstore.ErrCorrupt)
			bad++
			continue
		}
		require.Equal(t, want[off:off+len(p)], p)
	}
	require.Equal(t, 1, bad)
}

// TestRekeyFails: a disk that fails while places are written stops the store, and the next one finishes.
func TestRekeyFails(t *testing.T) {
	ctx := context.Background()
	for k := int64(1); ; k++ {
		fs, keys := storetest.NewCrashFS(), &storetest.Keys{}
		s := openCrash(t, fs, keys)
		want := storetest.Bytes(60_000, 1)
		e, err := s.Append(ctx, crashDomain, want)
		require.NoError(t, err)
		require.NoError(t, s.Sync(ctx))
		keys.Rotate()
		fs.FailAt(k, func(op storetest.Op) bool { return op == storetest.OpWrite || op == storetest.OpSync })
		_, err = s.Rekey(ctx, crashDomain, chunkstore.RekeyOptions{})
		fs.SetHook(nil)
		s.Close()
		again := openCrash(t, fs, keys)
		got := make([]byte, len(want))
		require.NoError(t, again.ReadAt(ctx, crashDomain, e, got, 0))
		require.Equal(t, want, got)
		again.Close()
		if err == nil {
			require.Greater(t, k, int64(4))
			return
		}
		require.ErrorIs(t, err, chunkstore.ErrStopped)
	}
}
