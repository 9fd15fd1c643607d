package namespace

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
)

// copyAll copies a whole range, asking again for what one call did not take.
func copyAll(t require.TestingT, dst, src FileHandle, srcOff, off, length int64) (total int64) {
	for length > 0 {
		n, err := dst.CopyFrom(context.Background(), src, srcOff, off, length)
		require.NoError(t, err)
		if n == 0 {
			return total
		}
		total, srcOff, off, length = total+n, srcOff+n, off+n, length-n
	}
	return total
}

// Some files of two buckets, random writes, holes and copies between them: every read tells what was
// written, S3 sees what was there at the flush, and no extent is freed early or kept for ever.
func TestCopyRangeAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := &span{TB: t}
		defer s.end()
		w := newWorld(s)
		ctx := context.Background()
		other := w.makeBucket(s, "other", alice)
		type open struct {
			h FileHandle
			m *fileModel
		}
		var files []*open
		add := func(dir Ino, name string) { files = append(files, &open{create(s, w.View, dir, name), &fileModel{}}) }
		add(w.bucket, "a")
		add(w.bucket, "b")
		add(other, "c")
		pick := func(rt *rapid.T, label string) *open { return rapid.SampledFrom(files).Draw(rt, label) }
		seed := uint64(0)
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				f, n := pick(rt, "file"), lengths().Draw(rt, "n")
				off := rapid.OneOf(rapid.Just(len(f.m.data)), rapid.IntRange(0, 40_000), rapid.IntRange(0, 4<<20)).Draw(rt, "off")
				seed++
				p := storetest.Bytes(n, seed)
				_, err := f.h.WriteAt(ctx, p, int64(off))
				require.NoError(rt, err)
				f.m.write(p, off)
			},
			"copy": func(rt *rapid.T) {
				from, to := pick(rt, "from"), pick(rt, "to")
				at := rapid.IntRange(0, len(from.m.data)+10).Draw(rt, "at")
				n := rapid.OneOf(rapid.Just(len(from.m.data)), lengths()).Draw(rt, "n")
				off := rapid.OneOf(rapid.Just(0), rapid.IntRange(0, len(to.m.data)+9000)).Draw(rt, "off")
				if from == to && at < off+n && off < at+n {
					_, err := to.h.CopyFrom(ctx, from.h, int64(at), int64(off), int64(n))
					require.True(rt, isKind(err, Invalid) || n == 0)
					return
				}
				src := from.m.data[min(at, len(from.m.data)):min(at+n, len(from.m.data))]
				require.EqualValues(rt, len(src), copyAll(rt, to.h, from.h, int64(at), int64(off), int64(len(src))))
				if len(src) > 0 {
					to.m.write(bytes.Clone(src), off)
				}
			},
			"allocate": func(rt *rapid.T) {
				f, n := pick(rt, "file"), lengths().Draw(rt, "n")
				off := rapid.IntRange(0, len(f.m.data)+10).Draw(rt, "off")
				mode := AllocMode(rapid.IntRange(0, int(AllocZero)).Draw(rt, "mode"))
				keep := mode == AllocPunch || rapid.Bool().Draw(rt, "keep")
				require.NoError(rt, f.h.Allocate(ctx, mode, keep, int64(off), int64(n)))
				if !keep && off+n > len(f.m.data) {
					f.m.truncate(off + n)
				}
				if from := min(off, len(f.m.data)); mode != AllocSpace {
					clear(f.m.data[from:min(off+n, len(f.m.data))])
				}
			},
			"truncate": func(rt *rapid.T) {
				f := pick(rt, "file")
				size := rapid.OneOf(rapid.IntRange(0, len(f.m.data)), rapid.IntRange(0, 5<<20), rapid.IntRange(0, 9000)).Draw(rt, "size")
				n := int64(size)
				_, err := w.SetAttr(ctx, f.h.Ino(), SetAttr{Size: &n, Handle: f.h})
				require.NoError(rt, err)
				f.m.truncate(size)
			},
			"fsync": func(rt *rapid.T) { require.NoError(rt, pick(rt, "file").h.Fsync(ctx)) },
			"flush": func(rt *rapid.T) {
				f := pick(rt, "file")
				require.NoError(rt, f.h.Flush(ctx))
				f.m.published = append([]byte{}, f.m.data...)
			},
			"reopen": func(rt *rapid.T) {
				f := pick(rt, "file")
				ino := f.h.Ino()
				require.NoError(rt, f.h.Close(ctx))
				f.m.published = append([]byte{}, f.m.data...)
				var err error
				f.h, err = w.Open(ctx, ino, OpenFlags{Read: true, Write: true})
				require.NoError(rt, err)
			},
			"reap": func(rt *rapid.T) { require.NoError(rt, w.fs.Reap(ctx)) },
			"": func(rt *rapid.T) {
				seed++
				f := files[seed%uint64(len(files))] // all in turn: reading is most of the work
				require.True(rt, bytes.Equal(f.m.data, readAll(s, f.h)), "content")
				require.True(rt, bytes.Equal(f.m.published, w.published(s, f.h.Ino())), "published")
				for _, f := range files {
					checkDraft(rt, f.h.(*handle).f)
				}
			},
		})
		for _, f := range files {
			require.NoError(rt, f.h.Close(ctx))
			require.True(rt, bytes.Equal(f.m.data, w.published(s, f.h.Ino())))
		}
		require.NoError(rt, w.fs.Reap(ctx))
		require.Empty(rt, w.fs.pins)
		require.Zero(rt, w.count(s, kOrphan))
	})
}

// A copy of a long file moves no data, also of one that was not yet flushed, and survives its source.
func TestCopyRangeShares(t *testing.T) {
	w := newDataStore(t)
	ctx := context.Background()
	data := storetest.Bytes(6*chunkstore.FrameSize+12345, 1)
	src, dst := create(t, w.View, w.bucket, "src"), create(t, w.View, w.bucket, "dst")
	_, err := src.WriteAt(ctx, data, 0)
	require.NoError(t, err)
	require.EqualValues(t, len(data), copyAll(t, dst, src, 0, 0, 1<<40))
	require.LessOrEqual(t, w.chunks.Usage().Appended, uint64(len(data)), "nothing is stored twice")
	require.NoError(t, src.Close(ctx))
	require.NoError(t, w.Unlink(ctx, w.bucket, "src"))
	require.NoError(t, w.fs.Reap(ctx))
	require.True(t, bytes.Equal(data, readAll(t, dst)))
	require.NoError(t, dst.Close(ctx))
	require.NoError(t, w.fs.Reap(ctx))
	require.True(t, bytes.Equal(data, w.get(t, "dst")))
}

// A short piece of a long extent is copied: it must not keep the whole of it from being freed.
func TestCopyRangeOfLittleCopies(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	data := storetest.Bytes(2*chunkstore.FrameSize, 1)
	src, dst := create(t, w.View, w.bucket, "src"), create(t, w.View, w.bucket, "dst")
	_, err := src.WriteAt(ctx, data, 0)
	require.NoError(t, err)
	require.NoError(t, src.Flush(ctx))
	n, err := dst.CopyFrom(ctx, src, 100, 5, 20_000)
	require.NoError(t, err)
	require.EqualValues(t, 20_000, n)
	require.Empty(t, dst.(*handle).f.loans)
	require.True(t, bytes.Equal(append(make([]byte, 5), data[100:20_100]...), readAll(t, dst)))
	require.NoError(t, src.Close(ctx))
	require.NoError(t, dst.Close(ctx))
}

func TestCopyRangeRefuses(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	h := create(t, w.View, w.bucket, "f")
	_, err := h.WriteAt(ctx, storetest.Bytes(1000, 1), 0)
	require.NoError(t, err)
	for _, c := range []struct {
		srcOff, off, length int64
		want                Kind
	}{{0, 999, 1000, Invalid}, {0, 0, 1, Invalid}, {-1, 2000, 1, Invalid}, {0, -1, 1, Invalid}, {0, maxFile, 1, TooBig}} {
		_, err := h.CopyFrom(ctx, h, c.srcOff, c.off, c.length)
		requireKind(t, c.want, err)
	}
	n, err := h.CopyFrom(ctx, h, 1000, 5000, 10)
	require.NoError(t, err)
	require.Zero(t, n, "at the end of the source")
	ro, err := w.Open(ctx, h.Ino(), OpenFlags{Read: true})
	require.NoError(t, err)
	_, err = ro.CopyFrom(ctx, h, 0, 5000, 10)
	requireKind(t, BadHandle, err)
	require.NoError(t, ro.Close(ctx))
	require.NoError(t, h.Close(ctx))
}

// A draft that was synced before, in many pieces, and whose next sync would store its change only: what it
// lent and borrowed since has references of both files after it.
func TestCopyRangeBetweenSyncs(t *testing.T) {
	w := newDataStore(t)
	ctx := context.Background()
	src, dst := create(t, w.View, w.bucket, "src"), create(t, w.View, w.bucket, "dst")
	scatter := func(h FileHandle, seed uint64) {
		for i := range 2 * embedMax {
			_, err := h.WriteAt(ctx, storetest.Bytes(100_000, seed), int64(i)<<20)
			require.NoError(t, err)
		}
		require.NoError(t, h.Fsync(ctx))
	}
	scatter(src, 1)
	scatter(dst, 2)
	data := storetest.Bytes(2<<20, 3)
	_, err := src.WriteAt(ctx, data, 5<<20)
	require.NoError(t, err)
	require.EqualValues(t, len(data), copyAll(t, dst, src, 5<<20, 7<<20, int64(len(data))))
	require.NotEmpty(t, src.(*handle).f.loans)
	require.NotEmpty(t, dst.(*handle).f.loans)
	require.NoError(t, src.Fsync(ctx))
	require.NoError(t, dst.Fsync(ctx))
	require.Empty(t, src.(*handle).f.loans)
	require.Empty(t, dst.(*handle).f.loans)
	require.NoError(t, w.fs.Reap(ctx))
	require.NoError(t, src.Close(ctx))
	require.NoError(t, w.Unlink(ctx, w.bucket, "src"))
	require.NoError(t, w.fs.Reap(ctx))
	require.True(t, bytes.Equal(data, readAll(t, dst)[7<<20:9<<20]))
	require.NoError(t, dst.Close(ctx))
	require.True(t, bytes.Equal(data, w.get(t, "dst")[7<<20:9<<20]))
}
