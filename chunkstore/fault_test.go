package chunkstore_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
)

// TestFaults fails every operation of a workload in turn. Whatever fails, nothing durable is lost and
// nothing is acknowledged after a failed sync.
func TestFaults(t *testing.T) {
	for seed := range uint64(8) {
		for k := int64(1); ; k++ {
			if !runWithFault(t, seed, k) {
				require.Greater(t, k, int64(50))
				break
			}
		}
	}
}

// runWithFault reports whether there was a k-th operation to fail.
func runWithFault(t *testing.T, seed uint64, k int64) bool {
	ctx := context.Background()
	fs, keys := storetest.NewCrashFS(), &storetest.Keys{}
	run := &crashRun{rng: rand.New(rand.NewPCG(seed, 0)), ledger: newLedger(), keys: keys}
	run.s = openCrash(t, fs, keys)
	run.st = run.s.NewStream(crashDomain)
	failed := storetest.Op("")
	fs.SetHook(func(n int64, op storetest.Op, _ func(*rand.Rand) *storetest.CrashFS) error {
		if k--; k == 0 {
			failed = op
			return storetest.ErrInjected
		}
		return nil
	})
	stopped := false
	for range 60 {
		err := run.step(ctx)
		if stopped && err != nil {
			require.ErrorIs(t, err, chunkstore.ErrStopped)
		}
		if errors.Is(err, chunkstore.ErrStopped) {
			stopped = true
			_, err := run.s.Append(ctx, crashDomain, []byte("x"))
			require.ErrorIs(t, err, chunkstore.ErrStopped)
			require.ErrorIs(t, run.s.Sync(ctx), chunkstore.ErrStopped)
			<-run.s.Stopped()
		}
		if failed == storetest.OpSync || failed == storetest.OpSyncDir {
			select {
			case <-run.s.Stopped():
			default:
				require.Fail(t, "went on after a failed sync", "seed %d", seed)
			}
		}
	}
	fs.SetHook(nil)
	checkContents(t, run.s, run.ledger)
	run.st.Close()
	run.s.Close()
	checkCrash(t, fs.CrashClone(rand.New(rand.NewPCG(seed, uint64(k)))), keys, run.ledger)
	return failed != ""
}

// TestFull fills a small disk, frees, and fills it again.
func TestFull(t *testing.T) {
	ctx := context.Background()
	fs := storetest.NewCrashFS()
	fs.SetSize(40 << 20)
	s, err := chunkstore.Open(ctx, chunkstore.Options{
		Dir: "data", FS: fs, Keys: &storetest.Keys{}, LowWater: 2 << 20, Logger: storetest.Discard,
	})
	require.NoError(t, err)
	defer s.Close()
	data := storetest.Bytes(300<<10, 1)
	var all []chunkstore.Extent
	fill := func() (n int) {
		for {
			e, err := s.Append(ctx, 1, data)
			if err != nil {
				require.ErrorIs(t, err, chunkstore.ErrFull)
				return n
			}
			all = append(all, e)
			n++
		}
	}
	first := fill()
	require.Greater(t, first, 80)
	require.GreaterOrEqual(t, s.Usage().Free, int64(2<<20))
	_, err = s.NewStream(1).Append(ctx, data)
	require.ErrorIs(t, err, chunkstore.ErrFull)
	for _, e := range all {
		require.NoError(t, s.Verify(ctx, 1, e))
		require.NoError(t, s.Free(ctx, e))
	}
	require.Greater(t, fill(), first/2)
	require.NoError(t, s.Sync(ctx))
}

// TestNoSpaceInside: a file system that does not keep the room it promised.
func TestNoSpaceInside(t *testing.T) {
	ctx := context.Background()
	fs := storetest.NewCrashFS()
	s := storetest.Open(t, fs, &storetest.Keys{})
	kept, err := s.Append(ctx, 1, []byte("kept"))
	require.NoError(t, err)
	fs.SetHook(func(_ int64, op storetest.Op, _ func(*rand.Rand) *storetest.CrashFS) error {
		if op == storetest.OpWrite {
			return syscall.ENOSPC
		}
		return nil
	})
	_, err = s.Append(ctx, 1, storetest.Bytes(9000, 1))
	require.ErrorIs(t, err, chunkstore.ErrFull)
	_, err = s.NewStream(1).Append(ctx, []byte("x"))
	require.ErrorIs(t, err, chunkstore.ErrFull)
	fs.SetHook(nil)
	next, err := s.Append(ctx, 1, []byte("next"))
	require.NoError(t, err)
	require.NoError(t, s.Sync(ctx))
	requireContent(t, s, kept, "kept")
	requireContent(t, s, next, "next")
}

// TestNoDescriptors: a process that can't open files makes no new segments, and goes on once it can.
func TestNoDescriptors(t *testing.T) {
	ctx := context.Background()
	for _, fails := range []storetest.Op{storetest.OpCreate, storetest.OpSyncDir} {
		t.Run(string(fails), func(t *testing.T) {
			fs := storetest.NewCrashFS()
			s := storetest.Open(t, fs, &storetest.Keys{})
			before := fs.Files()
			fs.SetHook(func(_ int64, op storetest.Op, _ func(*rand.Rand) *storetest.CrashFS) error {
				if op == fails {
					return syscall.EMFILE
				}
				return nil
			})
			for range 3 {
				_, err := s.Append(ctx, 1, []byte("refused"))
				require.ErrorIs(t, err, syscall.EMFILE)
			}
			require.Equal(t, before, fs.Files())
			fs.SetHook(nil)
			e, err := s.Append(ctx, 1, []byte("next"))
			require.NoError(t, err)
			require.NoError(t, s.Sync(ctx))
			requireContent(t, s, e, "next")
		})
	}
}

func requireContent(t *testing.T, s *chunkstore.Store, e chunkstore.Extent, want string) {
	t.Helper()
	p := make([]byte, e.Length)
	require.NoError(t, s.ReadAt(context.Background(), 1, e, p, 0))
	require.Equal(t, want, string(p))
}

// TestFlips changes one bit anywhere in a segment: the right bytes or ErrCorrupt, never others.
func TestFlips(t *testing.T) {
	ctx := context.Background()
	fs, keys := storetest.NewCrashFS(), &storetest.Keys{}
	s := openCrash(t, fs, keys)
	content := map[chunkstore.Extent][]byte{}
	for i, n := range []int{1, 5000, 9000, 70_000} {
		p := storetest.Bytes(n, uint64(i))
		e, err := s.Append(ctx, crashDomain, p)
		require.NoError(t, err)
		content[e] = p
	}
	require.NoError(t, s.Close())
	name := fs.Files()[0]
	rng := rand.New(rand.NewPCG(1, 1))
	noticed := 0
	for off := int64(0); off < 140_000; off += 1 + rng.Int64N(60) {
		mask := byte(1) << rng.IntN(8)
		require.NoError(t, fs.Corrupt(name, off, mask))
		s := openCrash(t, fs, keys)
		for e, want := range content {
			p := make([]byte, len(want))
			if err := s.ReadAt(ctx, crashDomain, e, p, 0); err != nil {
				require.True(t, errors.Is(err, chunkstore.ErrCorrupt) || errors.Is(err, storetest.ErrNoKey), "%v", err)
				require.Error(t, s.Verify(ctx, crashDomain, e))
				noticed++
			} else {
				require.Equal(t, want, p)
			}
		}
		require.NoError(t, s.Frames(ctx, 1, func(chunkstore.Frame) bool { return true }))
		require.NoError(t, s.Close())
		require.NoError(t, fs.Corrupt(name, off, mask))
	}
	require.Greater(t, noticed, 1000)
}

// TestFramesDamaged: a scan goes on behind what it can't read.
func TestFramesDamaged(t *testing.T) {
	ctx := context.Background()
	fs, keys := storetest.NewCrashFS(), &storetest.Keys{}
	s := openCrash(t, fs, keys)
	var extents []chunkstore.Extent
	for i := range 3 {
		e, err := s.Append(ctx, 1, storetest.Bytes(20_000, uint64(i)))
		require.NoError(t, err)
		extents = append(extents, e)
	}
	require.NoError(t, fs.Corrupt(fs.Files()[0], int64(extents[1].Offset)+3, 1))
	var got []chunkstore.Frame
	require.NoError(t, s.Frames(ctx, extents[0].Segment, func(f chunkstore.Frame) bool {
		got = append(got, f)
		return true
	}))
	require.Len(t, got, 3)
	require.NoError(t, got[0].Err)
	require.ErrorIs(t, got[1].Err, chunkstore.ErrCorrupt)
	require.Equal(t, extents[1].Offset, got[1].Offset)
	require.Equal(t, extents[1].DiskBytes(), got[1].Size)
	require.NoError(t, got[2].Err)
}

// TestLostKey: what a destroyed key sealed can't be read, nor from a cache, but is still found.
func TestLostKey(t *testing.T) {
	ctx := context.Background()
	keys := &lostKeys{}
	s := storetest.Open(t, storetest.NewCrashFS(), keys)
	e, err := s.Append(ctx, 1, storetest.Bytes(70_000, 1))
	require.NoError(t, err)
	p := make([]byte, 10)
	require.NoError(t, s.ReadAt(ctx, 1, e, p, 69_000))
	keys.lost.Store(true)
	s.Forget(1)
	require.ErrorIs(t, s.ReadAt(ctx, 1, e, p, 69_000), storetest.ErrNoKey)
	_, err = s.Append(ctx, 1, p)
	require.ErrorIs(t, err, storetest.ErrNoKey)
	found := 0
	require.NoError(t, s.Frames(ctx, e.Segment, func(f chunkstore.Frame) bool {
		require.ErrorIs(t, f.Err, storetest.ErrNoKey)
		require.EqualValues(t, 70_000, f.Length)
		found++
		return true
	}))
	require.Equal(t, 1, found)
	require.NoError(t, s.Free(ctx, e))
}

type lostKeys struct {
	storetest.Keys
	lost atomic.Bool
}

func (k *lostKeys) DataKey(d chunkstore.Domain, epoch uint32) ([32]byte, error) {
	if k.lost.Load() {
		return [32]byte{}, storetest.ErrNoKey
	}
	return k.Keys.DataKey(d, epoch)
}
