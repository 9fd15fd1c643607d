// Package storetest holds what tests of and above a chunk store share: a conformance suite, a file system
// that crashes and fails at will, and keys.
package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
)

// Discard is a logger that says nothing.
var Discard = slog.New(slog.DiscardHandler)

// Bytes returns n bytes that follow from seed.
func Bytes(n int, seed uint64) []byte {
	var key [32]byte
	key[0], key[1], key[2], key[3] = byte(seed), byte(seed>>8), byte(seed>>16), byte(seed>>24)
	p := make([]byte, n)
	rand.NewChaCha8(key).Read(p)
	return p
}

// Open opens a store in the directory "data" of fs with small segments, and closes it with the test.
func Open(t testing.TB, fs chunkstore.FS, keys chunkstore.Keyring) *chunkstore.Store {
	t.Helper()
	s, err := chunkstore.Open(context.Background(), chunkstore.Options{
		Dir: "data", FS: fs, Keys: keys, SegmentSize: 16 << 20, Logger: Discard,
	})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// Run checks what every store promises. Each call of open returns another run on the same directory, which
// is new for each call of fresh.
func Run(t *testing.T, fresh func(t *testing.T) (open func(t *testing.T) *chunkstore.Store)) {
	for name, test := range map[string]func(*testing.T, func(*testing.T) *chunkstore.Store){
		"Sizes":     testSizes,
		"Ranges":    testRanges,
		"Stream":    testStream,
		"Cached":    testCached,
		"Domains":   testDomains,
		"ReadAhead": testReadAhead,
		"Bounds":    testBounds,
		"Free":      testFree,
		"Reopen":    testReopen,
		"Reclaim":   testReclaim,
		"Frames":    testFrames,
		"Closed":    testClosed,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

type opener = func(*testing.T) *chunkstore.Store

var sizes = []int{
	1, 15, 16, 4095, 4096, 4097, 9 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 256 << 10, 1<<20 - 1, 1 << 20,
	1<<20 + 1, 3<<20 + 5,
}

func testSizes(t *testing.T, open opener) {
	ctx, s := context.Background(), open(t)
	for i, n := range sizes {
		want := Bytes(n, uint64(i))
		e, err := s.Append(ctx, 7, want)
		require.NoError(t, err)
		require.EqualValues(t, n, e.Length)
		requireRead(t, s, 7, e, want)
		require.NoError(t, s.Verify(ctx, 7, e))
	}
	require.NoError(t, s.Sync(ctx))
	_, err := s.Append(ctx, 7, nil)
	require.Error(t, err)
	_, err = s.Append(ctx, 7, make([]byte, chunkstore.MaxExtent+1))
	require.Error(t, err)
}

func requireRead(t *testing.T, s *chunkstore.Store, d chunkstore.Domain, e chunkstore.Extent, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	require.NoError(t, s.ReadAt(context.Background(), d, e, got, 0))
	require.True(t, string(want) == string(got), "read %d other bytes from %+v", len(want), e)
}

func testRanges(t *testing.T, open opener) {
	ctx, s := context.Background(), open(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range sizes {
		want := Bytes(n, 3)
		e, err := s.Append(ctx, 1, want)
		require.NoError(t, err)
		for range 40 {
			off := rng.IntN(n)
			p := make([]byte, rng.IntN(min(n-off, 300<<10)+1))
			require.NoError(t, s.ReadAt(ctx, 1, e, p, int64(off)))
			require.True(t, string(want[off:off+len(p)]) == string(p), "size %d: %d bytes at %d", n, len(p), off)
		}
	}
}

func testStream(t *testing.T, open opener) {
	ctx, s := context.Background(), open(t)
	st, other := s.NewStream(5), s.NewStream(6)
	want := Bytes(3*chunkstore.FrameSize+777, 9)
	var whole chunkstore.Extent
	for off := 0; off < len(want); off += chunkstore.FrameSize {
		part := want[off:min(len(want), off+chunkstore.FrameSize)]
		e, err := st.Append(ctx, part)
		require.NoError(t, err)
		requireRead(t, s, 5, e, part)
		_, err = other.Append(ctx, part)
		require.NoError(t, err)
		if off == 0 {
			whole = e
			continue
		}
		joined, ok := chunkstore.Join(whole, e)
		require.True(t, ok, "%+v then %+v", whole, e)
		whole = joined
	}
	testStart(t, s, st)
	require.NoError(t, st.Close())
	require.NoError(t, st.Close())
	require.NoError(t, other.Close())
	requireRead(t, s, 5, whole, want)
	require.NoError(t, s.Verify(ctx, 5, whole))
	_, ok := chunkstore.Join(whole, whole)
	require.False(t, ok)
	_, err := st.Append(ctx, want[:1])
	require.ErrorIs(t, err, chunkstore.ErrClosed)
}

// What goes through the page cache and what goes past it lie side by side and are read either way, also by
// the next run.
func testCached(t *testing.T, open opener) {
	ctx, s := context.Background(), open(t)
	st, past := s.NewCachedStream(1), s.NewStream(1)
	want := map[chunkstore.Extent][]byte{}
	for i, n := range []int{100, 300 << 10, chunkstore.FrameSize, chunkstore.FrameSize - 1, 3*chunkstore.FrameSize + 5} {
		p := Bytes(n, uint64(i))
		for _, put := range []func(context.Context, chunkstore.Domain, []byte) (chunkstore.Extent, error){s.AppendCached, s.Append} {
			e, err := put(ctx, 1, p)
			require.NoError(t, err)
			want[e] = p
		}
		for _, st := range []*chunkstore.Stream{st, past} {
			e, err := st.Append(ctx, p[:min(n, chunkstore.FrameSize)])
			require.NoError(t, err)
			want[e] = p[:min(n, chunkstore.FrameSize)]
		}
	}
	check := func() {
		for e, p := range want {
			got := make([]byte, len(p))
			require.NoError(t, s.ReadCached(ctx, 1, e, got, 0))
			require.True(t, string(p) == string(got), "read %d other bytes from %+v", len(p), e)
			requireRead(t, s, 1, e, p)
			require.NoError(t, s.Verify(ctx, 1, e))
		}
	}
	check()
	require.NoError(t, st.Close())
	require.NoError(t, past.Close())
	require.NoError(t, s.Close())
	s = open(t)
	check()
}

// Frames that go side by side lie in the order in which they were started.
func testStart(t *testing.T, s *chunkstore.Store, st *chunkstore.Stream) {
	type end struct {
		e   chunkstore.Extent
		err error
	}
	want := Bytes(4*chunkstore.FrameSize, 10)
	var ends []chan end
	for off := 0; off < len(want); off += chunkstore.FrameSize {
		c := make(chan end, 1)
		ends = append(ends, c)
		st.Start(context.Background(), want[off:off+chunkstore.FrameSize], func(e chunkstore.Extent, err error) { c <- end{e, err} })
	}
	last := uint64(0)
	for i, c := range ends {
		got := <-c
		require.NoError(t, got.err)
		requireRead(t, s, 5, got.e, want[i*chunkstore.FrameSize:][:chunkstore.FrameSize])
		require.Greater(t, got.e.Segment<<32|got.e.Offset, last)
		last = got.e.Segment<<32 | got.e.Offset
	}
	st.Start(context.Background(), nil, func(_ chunkstore.Extent, err error) { require.Error(t, err) })
}

func testDomains(t *testing.T, open opener) {
	ctx, s := context.Background(), open(t)
	for _, warm := range []bool{false, true} {
		for _, n := range sizes {
			e, err := s.Append(ctx, 1, Bytes(n, 4))
			require.NoError(t, err)
			p := make([]byte, n)
			if warm {
				require.NoError(t, s.ReadAt(ctx, 1, e, p, 0))
			}
			require.ErrorIs(t, s.ReadAt(ctx, 2, e, p, 0), chunkstore.ErrCorrupt)
			require.ErrorIs(t, s.Verify(ctx, 2, e), chunkstore.ErrCorrupt)
		}
	}
}

// testReadAhead reads a long extent in pieces, and then as another domain while it is at hand.
func testReadAhead(t *testing.T, open opener) {
	ctx, s := context.Background(), open(t)
	want := Bytes(5*chunkstore.FrameSize, 8)
	e, err := s.Append(ctx, 1, want)
	require.NoError(t, err)
	p := make([]byte, 256<<10)
	for off := 0; off < len(want); off += len(p) {
		require.NoError(t, s.ReadAt(ctx, 1, e, p, int64(off)))
		require.True(t, string(p) == string(want[off:off+len(p)]), "at %d", off)
	}
	for off := 0; off < len(want); off += len(p) {
		require.ErrorIs(t, s.ReadAt(ctx, 2, e, p, int64(off)), chunkstore.ErrCorrupt)
	}
	require.NoError(t, s.Free(ctx, e))
	for off := 0; off < len(want); off += len(p) {
		require.ErrorIs(t, s.ReadAt(ctx, 1, e, p, int64(off)), chunkstore.ErrCorrupt)
	}
}

func testBounds(t *testing.T, open opener) {
	ctx, s := context.Background(), open(t)
	e, err := s.Append(ctx, 1, Bytes(5000, 1))
	require.NoError(t, err)
	require.Error(t, s.ReadAt(ctx, 1, e, make([]byte, 5001), 0))
	require.Error(t, s.ReadAt(ctx, 1, e, make([]byte, 1), 5000))
	require.Error(t, s.ReadAt(ctx, 1, e, make([]byte, 1), -1))
	require.NoError(t, s.ReadAt(ctx, 1, e, nil, 5000))
	for _, wrong := range []chunkstore.Extent{
		{Segment: e.Segment + 100, Offset: e.Offset, Length: e.Length},
		{Segment: e.Segment, Offset: e.Offset + 1, Length: e.Length},
		{Segment: e.Segment, Offset: e.Offset + 4096, Length: e.Length},
		{Segment: e.Segment, Offset: 0, Length: e.Length},
		{Segment: e.Segment, Offset: 1 << 63, Length: e.Length},
		{Segment: e.Segment, Offset: ^uint64(0) &^ 4095, Length: e.Length},
		{Segment: e.Segment, Offset: e.Offset, Length: e.Length - 1},
		{Segment: e.Segment, Offset: e.Offset, Length: chunkstore.MaxExtent},
	} {
		err := s.ReadAt(ctx, 1, wrong, make([]byte, 1), 0)
		require.ErrorIs(t, err, chunkstore.ErrCorrupt, "%+v", wrong)
	}
}

func testFree(t *testing.T, open opener) {
	ctx, s := context.Background(), open(t)
	for _, n := range sizes {
		want := Bytes(n, 1)
		a, err := s.Append(ctx, 1, want)
		require.NoError(t, err)
		b, err := s.Append(ctx, 1, want)
		require.NoError(t, err)
		requireRead(t, s, 1, a, want)
		for range 2 {
			require.NoError(t, s.Free(ctx, a))
			require.ErrorIs(t, s.ReadAt(ctx, 1, a, make([]byte, n), 0), chunkstore.ErrCorrupt)
			require.ErrorIs(t, s.Verify(ctx, 1, a), chunkstore.ErrCorrupt)
		}
		requireRead(t, s, 1, b, want)
	}
	require.NoError(t, s.Free(ctx, chunkstore.Extent{Segment: 999, Offset: 8192, Length: 1}))
}

func testReopen(t *testing.T, open opener) {
	ctx, s := context.Background(), open(t)
	want := Bytes(100_000, 1)
	a, err := s.Append(ctx, 1, want)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	for range 3 {
		s = open(t)
		requireRead(t, s, 1, a, want)
		b, err := s.Append(ctx, 1, want)
		require.NoError(t, err)
		require.Greater(t, b.Segment, a.Segment, "a run appended to a segment of an earlier one")
		require.NoError(t, s.Close())
	}
}

func testReclaim(t *testing.T, open opener) {
	ctx, s := context.Background(), open(t)
	var all []chunkstore.Extent
	want := Bytes(20_000, 1)
	for range 10 {
		e, err := s.Append(ctx, 1, want)
		require.NoError(t, err)
		all = append(all, e)
	}
	number := all[0].Segment
	_, err := s.Reclaim(ctx, number, nil)
	require.Error(t, err, "reclaimed a segment of this run")
	require.NoError(t, s.Close())

	s = open(t)
	live := []chunkstore.Extent{all[7], all[2], all[3], all[2]}
	freed, err := s.Reclaim(ctx, number, live)
	require.NoError(t, err)
	require.EqualValues(t, 7*all[0].DiskBytes(), freed)
	for i, e := range all {
		if i == 2 || i == 3 || i == 7 {
			requireRead(t, s, 1, e, want)
		} else {
			require.ErrorIs(t, s.ReadAt(ctx, 1, e, make([]byte, 1), 0), chunkstore.ErrCorrupt)
		}
	}
	// The newest number is not given again, whatever is in it.
	_, err = s.Reclaim(ctx, number, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	s = open(t)
	fresh, err := s.Append(ctx, 1, want)
	require.NoError(t, err)
	require.Greater(t, fresh.Segment, number)
	_, err = s.Reclaim(ctx, number, nil)
	require.NoError(t, err)
	infos, err := s.Segments(ctx)
	require.NoError(t, err)
	require.Len(t, infos, 1)
	require.Equal(t, fresh.Segment, infos[0].Number)
	require.NoError(t, s.Free(ctx, all[2]), "freed in a segment that is gone")
}

func testFrames(t *testing.T, open opener) {
	ctx, s := context.Background(), open(t)
	var want []string
	bySegment := map[uint64]bool{}
	for i, n := range sizes {
		e, err := s.Append(ctx, chunkstore.Domain(i), Bytes(n, 1))
		require.NoError(t, err)
		bySegment[e.Segment] = true
		for off := 0; off < n; off += chunkstore.FrameSize {
			want = append(want, fmt.Sprintf("%d of %d", i, min(n-off, chunkstore.FrameSize)))
		}
	}
	var got []string
	for number := range bySegment {
		require.NoError(t, s.Frames(ctx, number, func(f chunkstore.Frame) bool {
			require.NoError(t, f.Err)
			got = append(got, fmt.Sprintf("%d of %d", f.Domain, f.Length))
			return true
		}))
	}
	require.ElementsMatch(t, want, got)
}

func testClosed(t *testing.T, open opener) {
	ctx, s := context.Background(), open(t)
	e, err := s.Append(ctx, 1, []byte("x"))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	_, err = s.Append(ctx, 1, []byte("x"))
	require.ErrorIs(t, err, chunkstore.ErrClosed)
	_, err = s.NewStream(1).Append(ctx, []byte("x"))
	require.ErrorIs(t, err, chunkstore.ErrClosed)
	require.ErrorIs(t, s.Sync(ctx), chunkstore.ErrClosed)
	require.ErrorIs(t, s.Free(ctx, e), chunkstore.ErrClosed)
	require.ErrorIs(t, s.ReadAt(ctx, 1, e, make([]byte, 1), 0), chunkstore.ErrClosed)
}
