package namespace

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
)

// inMemory is how many bytes of a file are in memory.
func inMemory(h FileHandle) int64 {
	f := h.(*handle).f
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mem.bytes
}

// Writers and readers go on while the disk does nothing, until the file's share of memory is full.
func TestWritersBesideStuckDisk(t *testing.T) {
	w := newWorld(t)
	h := create(t, w.View, w.bucket, "f")
	data := storetest.Bytes(2*memoryMax, 1)
	stuck := make(chan struct{})
	w.disk.SetHook(func(int64, storetest.Op, func(*rand.Rand) *storetest.CrashFS) error {
		<-stuck
		return nil
	})
	write := func(from, to int) error {
		for off := from; off < to; off += chunkstore.FrameSize {
			if _, err := h.WriteAt(bg, data[off:off+chunkstore.FrameSize], int64(off)); err != nil {
				return err
			}
		}
		return nil
	}
	require.NoError(t, write(0, memoryMax))
	require.EqualValues(t, memoryMax, inMemory(h))
	require.True(t, bytes.Equal(data[:memoryMax], readAll(t, h)))

	done := make(chan error)
	go func() { done <- write(memoryMax, len(data)) }()
	select {
	case err := <-done:
		t.Fatal("a writer was not held back:", err)
	case <-time.After(20 * time.Millisecond): // the longer, the more would be found
	}
	require.EqualValues(t, memoryMax, inMemory(h))
	close(stuck)
	require.NoError(t, <-done)
	require.NoError(t, h.Fsync(bg))
	require.Zero(t, inMemory(h))
	require.True(t, bytes.Equal(data, readAll(t, h)))
	checkDraft(t, h.(*handle).f)
	require.LessOrEqual(t, len(h.(*handle).f.slices), 2, "frames out of order")
	require.NoError(t, h.Close(bg))
}

// What the pump could not store is not lost: writers and fsync get the error, and once there is room the
// next fsync stores it.
func TestPumpOnFullDisk(t *testing.T) {
	w := newWorld(t)
	h := create(t, w.View, w.bucket, "f")
	w.disk.SetSize(6 << 20)
	data := storetest.Bytes(6<<20+memoryMax+4<<20, 1)
	var err error
	off := 0
	for ; off < len(data); off += chunkstore.FrameSize {
		if _, err = h.WriteAt(bg, data[off:off+chunkstore.FrameSize], int64(off)); err != nil {
			break
		}
	}
	requireKind(t, NoSpace, err)
	requireKind(t, NoSpace, h.Fsync(bg))
	requireKind(t, NoSpace, h.Flush(bg))
	_, err = h.WriteAt(bg, data[off:off+1], int64(off))
	requireKind(t, NoSpace, err)
	require.True(t, bytes.Equal(data[:off], readAll(t, h)))

	w.disk.SetSize(0)
	require.NoError(t, h.Fsync(bg))
	_, err = h.WriteAt(bg, data[off:], int64(off))
	require.NoError(t, err)
	require.NoError(t, h.Close(bg))
	require.True(t, bytes.Equal(data, w.published(t, h.Ino())))
	require.Zero(t, w.fs.dirty.Load())
}

// A file is cut, written again, and goes, while its bytes are on their way.
func TestCutUnderPump(t *testing.T) {
	w := newWorld(t)
	for round := range 6 {
		h := create(t, w.View, w.bucket, "f")
		m := &fileModel{}
		write := func(n, off int) {
			p := storetest.Bytes(n, uint64(round*n))
			_, err := h.WriteAt(bg, p, int64(off))
			require.NoError(t, err)
			m.write(p, off)
		}
		write(5<<20, 0)
		size := int64(1<<20 + 500_000)
		_, err := w.SetAttr(bg, h.Ino(), SetAttr{Size: &size})
		require.NoError(t, err)
		m.truncate(int(size))
		write(3<<20, 700_000)
		require.True(t, bytes.Equal(m.data, readAll(t, h)))
		if round%2 == 0 {
			require.NoError(t, h.Flush(bg))
			require.True(t, bytes.Equal(m.data, w.published(t, h.Ino())))
			write(2<<20, 300_000)
		}
		require.NoError(t, w.Unlink(bg, w.bucket, "f"))
		require.True(t, bytes.Equal(m.data, readAll(t, h)))
		require.NoError(t, h.Close(bg))
		require.Zero(t, w.fs.dirty.Load())
	}
	require.Zero(t, w.count(t, kZombie))
}
