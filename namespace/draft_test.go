package namespace

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
	"k3fs/metastore"
	"k3fs/metastore/memkv"
)

// fileModel is what a file must hold.
type fileModel struct {
	data      []byte
	published []byte // nil if it never was
}

func (m *fileModel) write(p []byte, off int) {
	if need := off + len(p); need > len(m.data) {
		m.data = append(m.data, make([]byte, need-len(m.data))...)
	}
	copy(m.data[off:], p)
}

func (m *fileModel) truncate(size int) {
	if size <= len(m.data) {
		m.data = m.data[:size:size]
		return
	}
	m.data = append(m.data, make([]byte, size-len(m.data))...)
}

// lengths draws sizes of writes on all sides of what a draft distinguishes.
func lengths() *rapid.Generator[int] {
	return rapid.OneOf(rapid.IntRange(1, 5000), rapid.IntRange(1, 5000), rapid.IntRange(1, 40_000),
		rapid.IntRange(chunkstore.FrameSize/2-5000, chunkstore.FrameSize/2+5000),
		rapid.SampledFrom([]int{4096, inlineMax, chunkstore.FrameSize, chunkstore.FrameSize + 4096, 3 * chunkstore.FrameSize}))
}

// One file, several handles, random operations: every read tells what was written, S3 sees exactly what
// was there when the last writer flushed.
func TestDraftAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := &span{TB: t}
		defer s.end()
		w := newWorld(s)
		ctx := context.Background()
		m := &fileModel{}
		first := create(t, w.View, w.bucket, "f")
		ino := first.Ino()
		handles := []FileHandle{first}
		wrote := []bool{true}
		seed := uint64(0)
		pick := func(rt *rapid.T) int { return rapid.IntRange(0, len(handles)-1).Draw(rt, "handle") }
		flushed := func(i int) {
			wrote[i] = false
			for _, w := range wrote {
				if w {
					return
				}
			}
			m.published = append([]byte{}, m.data...)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				i, n := pick(rt), lengths().Draw(rt, "n")
				off := rapid.OneOf(rapid.Just(len(m.data)), rapid.IntRange(0, 40_000), rapid.IntRange(0, 4<<20)).Draw(rt, "off")
				seed++
				p := storetest.Bytes(n, seed)
				_, err := handles[i].WriteAt(ctx, p, int64(off))
				require.NoError(rt, err)
				m.write(p, off)
				wrote[i] = true
			},
			"append": func(rt *rapid.T) {
				i, n := pick(rt), lengths().Draw(rt, "n")
				seed++
				p := storetest.Bytes(n, seed)
				off, err := handles[i].Append(ctx, p)
				require.NoError(rt, err)
				require.EqualValues(rt, len(m.data), off)
				m.write(p, int(off))
				wrote[i] = true
			},
			"truncate": func(rt *rapid.T) {
				i := pick(rt)
				size := rapid.OneOf(rapid.IntRange(0, len(m.data)), rapid.IntRange(0, 5<<20), rapid.IntRange(0, 9000)).Draw(rt, "size")
				n := int64(size)
				a, err := w.SetAttr(ctx, ino, SetAttr{Size: &n, Handle: handles[i]})
				require.NoError(rt, err)
				require.Equal(rt, n, a.Size)
				m.truncate(size)
				wrote[i] = true
			},
			"read": func(rt *rapid.T) {
				off := rapid.IntRange(0, len(m.data)+10).Draw(rt, "off")
				p := make([]byte, lengths().Draw(rt, "n"))
				n, err := handles[pick(rt)].ReadAt(ctx, p, int64(off))
				require.NoError(rt, err)
				want := m.data[min(off, len(m.data)):min(off+len(p), len(m.data))]
				require.True(rt, bytes.Equal(want, p[:n]), "read of %d at %d", len(p), off)
			},
			"flush": func(rt *rapid.T) {
				i := pick(rt)
				require.NoError(rt, handles[i].Flush(ctx))
				flushed(i)
			},
			"fsync": func(rt *rapid.T) {
				require.NoError(rt, handles[pick(rt)].Fsync(ctx))
				// Not that nothing is pending: the reaper commits too.
				require.NoError(rt, w.kv.Crash(0, memkv.Options{}).View(ctx, func(r metastore.Reader) error {
					n, err := getInode(r, ino)
					require.NoError(rt, err)
					require.EqualValues(rt, len(m.data), n.Size)
					if c := n.content(); c != nil {
						require.EqualValues(rt, len(m.data), c.Size)
					}
					return nil
				}))
			},
			"open": func(rt *rapid.T) {
				flags := OpenFlags{Read: true, Write: true, Trunc: rapid.IntRange(0, 4).Draw(rt, "trunc") == 0}
				h, err := w.Open(ctx, ino, flags)
				require.NoError(rt, err)
				handles, wrote = append(handles, h), append(wrote, true)
				if flags.Trunc {
					m.truncate(0)
				}
			},
			"close": func(rt *rapid.T) {
				i := pick(rt)
				require.NoError(rt, handles[i].Close(ctx))
				flushed(i)
				handles, wrote = append(handles[:i], handles[i+1:]...), append(wrote[:i], wrote[i+1:]...)
				if len(handles) == 0 {
					require.Empty(rt, w.fs.files.files)
					h, err := w.Open(ctx, ino, OpenFlags{Read: true, Write: true})
					require.NoError(rt, err)
					handles, wrote = append(handles, h), append(wrote, true)
				}
			},
			"": func(rt *rapid.T) {
				a, err := w.GetAttr(ctx, ino)
				require.NoError(rt, err)
				require.EqualValues(rt, len(m.data), a.Size)
				got := w.published(t, ino)
				require.True(rt, bytes.Equal(m.published, got) && (got == nil) == (m.published == nil), "published")
				checkDraft(rt, handles[0].(*handle).f)
			},
		})
		require.True(rt, bytes.Equal(m.data, readAll(t, handles[0])))
		for _, h := range handles {
			require.NoError(rt, h.Close(ctx))
		}
		require.True(rt, bytes.Equal(m.data, w.published(t, ino)))
		require.Zero(rt, w.fs.dirty.Load())
	})
}

// checkDraft checks what always holds for a draft.
func checkDraft(t require.TestingT, f *file) {
	f.mu.Lock()
	defer f.mu.Unlock()
	used := map[chunkstore.Extent]int64{}
	end := int64(0)
	for _, s := range f.slices {
		require.GreaterOrEqual(t, s.Off, end)
		require.Positive(t, s.Len)
		require.LessOrEqual(t, int64(s.Skip)+s.Len, int64(s.Extent))
		end = s.end()
		used[s.extent()] += s.Len
	}
	require.LessOrEqual(t, end, f.size)
	for e, n := range f.fresh {
		require.Equal(t, used[e], n, "use of a fresh extent")
	}
	end, bytes, busy := int64(0), int64(0), int64(0)
	for _, iv := range f.mem.list {
		require.GreaterOrEqual(t, iv.off, end)
		require.NotEmpty(t, iv.data)
		require.LessOrEqual(t, len(iv.data), chunkstore.FrameSize)
		end = iv.end()
		bytes += int64(len(iv.data))
		if iv.busy {
			busy += int64(len(iv.data))
		}
	}
	require.LessOrEqual(t, end, f.size)
	require.Equal(t, f.mem.bytes, bytes)
	require.Equal(t, f.pump.bytes, busy)
	require.LessOrEqual(t, f.pump.frames, pumpFrames)
}

// A sequential write becomes few, long extents, whatever pieces it comes in.
func TestSequentialWriteJoins(t *testing.T) {
	for _, step := range []int{4096, 128 << 10, 1 << 20} {
		w := newWorld(t)
		ctx := context.Background()
		h := create(t, w.View, w.bucket, "f")
		data := storetest.Bytes(6<<20, 1)
		for off := 0; off < len(data); off += step {
			_, err := h.WriteAt(ctx, data[off:off+step], int64(off))
			require.NoError(t, err)
		}
		require.NoError(t, h.Flush(ctx))
		f := h.(*handle).f
		require.LessOrEqual(t, len(f.slices), 2, "step %d: %v", step, f.slices)
		require.True(t, bytes.Equal(data, readAll(t, h)))
		require.NoError(t, h.Close(ctx))
	}
}

// Small files are published without waiting for the disk; where that would be needed FlushNow does nothing.
func TestFlushNow(t *testing.T) {
	for _, size := range []int{0, 1, inlineMax, inlineMax + 1} {
		w := newWorld(t)
		h := create(t, w.View, w.bucket, "f")
		data := storetest.Bytes(size, 1)
		_, err := h.WriteAt(bg, data, 0)
		require.NoError(t, err)
		f := h.(*handle).f

		f.mu.Lock() // by an fsync, say
		done, err := h.FlushNow(bg)
		f.mu.Unlock()
		require.NoError(t, err)
		require.False(t, done)
		require.Equal(t, 1, f.unflushed)

		done, err = h.FlushNow(bg)
		require.NoError(t, err)
		require.Equal(t, size <= inlineMax, done)
		if !done {
			require.NotEqual(t, f.seq, f.published)
			require.NoError(t, h.Flush(bg))
		}
		require.True(t, bytes.Equal(data, w.published(t, h.Ino())))
		done, err = h.FlushNow(bg)
		require.NoError(t, err)
		require.True(t, done, "there is nothing to publish")
		require.NoError(t, h.Close(bg))
		_, err = h.FlushNow(bg)
		requireKind(t, BadHandle, err)
	}
}

// Many scattered small writes end in a map whose pages are small.
func TestScatteredWritesAreCompacted(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	h := create(t, w.View, w.bucket, "f")
	data := make([]byte, 16<<20)
	for i, b := range rand.New(rand.NewPCG(1, 2)).Perm(len(data) / 4096) {
		p := storetest.Bytes(4096, uint64(i))
		_, err := h.WriteAt(ctx, p, int64(b)*4096)
		require.NoError(t, err)
		copy(data[b*4096:], p)
	}
	require.NoError(t, h.Flush(ctx))
	require.LessOrEqual(t, len(h.(*handle).f.slices), pageCrowded)
	require.True(t, bytes.Equal(data, readAll(t, h)))
	require.True(t, bytes.Equal(data, w.published(t, h.Ino())))
	require.NoError(t, h.Close(ctx))
}

// Writers, readers, syncs and flushes side by side: a block is always whole, and as new as its writer
// knows it to be.
func TestConcurrentWriters(t *testing.T) {
	const blocks, block, writers = 64, 24 << 10, 4
	w := newWorld(t)
	ctx := context.Background()
	h := create(t, w.View, w.bucket, "f")
	stamped := func(gen uint64, size int) []byte {
		p := make([]byte, size)
		for i := 0; i < len(p); i += 8 {
			binary.LittleEndian.PutUint64(p[i:], gen)
		}
		return p
	}
	check := func(p []byte, least uint64) {
		gen := binary.LittleEndian.Uint64(p)
		require.GreaterOrEqual(t, gen, least)
		require.True(t, bytes.Equal(p, stamped(gen, len(p))), "a torn block")
	}
	_, err := h.WriteAt(ctx, stamped(0, blocks*block), 0)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for g := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			latest := map[int]uint64{}
			p := make([]byte, block)
			for i := 1; i <= 150; i++ {
				b := rng.IntN(blocks/writers)*writers + g // blocks of its own
				latest[b] = uint64(i)
				_, err := h.WriteAt(ctx, stamped(uint64(i), block), int64(b*block))
				require.NoError(t, err)
				b = rng.IntN(blocks/writers)*writers + g
				_, err = h.ReadAt(ctx, p, int64(b*block))
				require.NoError(t, err)
				check(p, latest[b])
				switch rng.IntN(20) {
				case 0:
					require.NoError(t, h.Fsync(ctx))
				case 1:
					require.NoError(t, h.Flush(ctx))
				}
			}
		})
	}
	wg.Go(func() { // whole frames beyond the blocks, in flight beside the rest
		for i := range 20 {
			_, err := h.WriteAt(ctx, stamped(uint64(i), chunkstore.FrameSize), int64(4<<20+i%5<<20))
			require.NoError(t, err)
		}
	})
	wg.Wait()
	require.NoError(t, h.Flush(ctx))
	data := w.published(t, h.Ino())
	for b := range blocks {
		check(data[b*block:(b+1)*block], 0)
	}
	require.True(t, bytes.Equal(data, readAll(t, h)))
	checkDraft(t, h.(*handle).f)
	require.NoError(t, h.Close(ctx))
}

func TestConcurrentAppends(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	h := create(t, w.View, w.bucket, "f")
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 50 {
				_, err := h.Append(ctx, bytes.Repeat([]byte{byte(g)}, 1000))
				require.NoError(t, err)
			}
		})
	}
	wg.Wait()
	data := readAll(t, h)
	require.Len(t, data, 8*50*1000)
	for ; len(data) > 0; data = data[1000:] {
		require.True(t, bytes.Equal(data[:1000], bytes.Repeat(data[:1], 1000)))
	}
	require.NoError(t, h.Close(ctx))
}

func TestUnlinkOpen(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	h := create(t, w.View, w.bucket, "f")
	data := storetest.Bytes(300_000, 1)
	_, err := h.WriteAt(ctx, data, 0)
	require.NoError(t, err)
	require.NoError(t, h.Flush(ctx))
	require.NoError(t, w.Unlink(ctx, w.bucket, "f"))
	require.Zero(t, w.attr(t, h.Ino()).Nlink)
	require.Equal(t, 1, w.count(t, kZombie))
	_, err = h.WriteAt(ctx, []byte("more"), int64(len(data)))
	require.NoError(t, err)
	require.NoError(t, h.Flush(ctx))
	require.NoError(t, h.Fsync(ctx))
	require.True(t, bytes.Equal(append(data, "more"...), readAll(t, h)))
	require.NoError(t, h.Close(ctx))
	require.Zero(t, w.count(t, kZombie))
	_, err = w.Open(ctx, h.Ino(), OpenFlags{Read: true})
	requireKind(t, NotFound, err)
	_, err = h.ReadAt(ctx, make([]byte, 1), 0)
	requireKind(t, BadHandle, err)
	require.NoError(t, h.Close(ctx))
}

// After a restart, a persisted draft is published, and an unlinked open file is gone.
func TestRecoverDraftsAndZombies(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	a, b := create(t, w.View, w.bucket, "a"), create(t, w.View, w.bucket, "b")
	data := storetest.Bytes(400_000, 1)
	for _, h := range []FileHandle{a, b} {
		_, err := h.WriteAt(ctx, data, 0)
		require.NoError(t, err)
		require.NoError(t, h.Fsync(ctx))
	}
	require.NoError(t, w.Unlink(ctx, w.bucket, "b"))
	require.NoError(t, w.kv.Sync(ctx))
	_, err := a.WriteAt(ctx, []byte("lost"), 0)
	require.NoError(t, err)

	w2 := &world{disk: w.disk.CrashClone(rand.New(rand.NewPCG(1, 1))), keys: w.keys, bucket: w.bucket}
	w2.open(t, w.kv.Crash(0, w2.kvOptions()))
	require.NoError(t, w2.fs.settleDrafts(ctx))
	require.NoError(t, w2.fs.dropZombies(ctx))
	require.True(t, bytes.Equal(data, w2.published(t, a.Ino())))
	_, err = w2.GetAttr(ctx, b.Ino())
	requireKind(t, NotFound, err)
	require.Zero(t, w2.count(t, kDraft)+w2.count(t, kZombie))
}
