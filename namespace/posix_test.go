package namespace

import (
	"bytes"
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
	"k3fs/metastore"
	"k3fs/metastore/memkv"
	"k3fs/tenancy"
)

// authority decides as tenancy does, with keys that need no master key.
type authority struct{ storetest.Keys }

func (*authority) Allow(p tenancy.Principal, a tenancy.Action, r tenancy.Resource) error {
	return tenancy.Allow(p, a, r)
}

func (*authority) Standing(tenancy.Principal) (uint64, error) { return 1, nil }

var (
	alice = tenancy.Principal{Tenant: 1, Account: "root", Root: true}
	bob   = tenancy.Principal{Tenant: 2, Account: "root", Root: true}
)

// world is a namespace over stores in memory.
type world struct {
	*View
	fs     *FS
	kv     *memkv.Store
	disk   *storetest.CrashFS
	chunks *chunkstore.Store
	keys   *authority
	bucket Ino

	barrier atomic.Pointer[chunkstore.Store] // chunks
	locks   LockOptions
	damaged bool // Check is expected to find something
}

// span is a testing.TB whose cleanups run at its end, for tests that make many worlds: one after the
// other fits the memory, all together do not.
type span struct {
	testing.TB
	cleanups []func()
}

func (s *span) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *span) end() {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
	s.cleanups = nil
}

func newWorld(t testing.TB) *world {
	return newWorldWith(t, LockOptions{})
}

func newWorldWith(t testing.TB, locks LockOptions) *world {
	w := &world{disk: storetest.NewCrashFS(), keys: &authority{}, locks: locks}
	w.open(t, memkv.New(w.kvOptions()))
	w.bucket = w.makeBucket(t, "bucket", alice)
	return w
}

// kvOptions are those of a metastore that syncs the chunk store first: the one of now, also when what the last one
// runs beside the world is not stopped yet.
func (w *world) kvOptions() memkv.Options {
	return memkv.Options{Barrier: func(ctx context.Context) error { return w.barrier.Load().Sync(ctx) }}
}

func (w *world) open(t testing.TB, kv *memkv.Store) {
	w.kv, w.chunks = kv, storetest.Open(t, w.disk, &w.keys.Keys)
	w.barrier.Store(w.chunks)
	var err error
	w.fs, err = Open(context.Background(), Options{KV: w.kv, Chunks: w.chunks, Authority: w.keys, Logger: storetest.Discard, Locks: w.locks})
	require.NoError(t, err)
	fs, chunks := w.fs, w.chunks
	t.Cleanup(func() {
		_ = fs.Close(context.Background())
		if w.fs == fs && !w.damaged {
			requireClean(t, kv, chunks, w.keys)
		}
	})
	w.View = w.fs.As(alice)
}

// makeBucket makes a bucket and returns its directory.
func (w *world) makeBucket(t testing.TB, name string, owner tenancy.Principal) Ino {
	require.NoError(t, w.fs.As(owner).CreateBucket(context.Background(), name, ""))
	info, err := w.fs.As(owner).HeadBucket(context.Background(), name)
	require.NoError(t, err)
	return info.Ino
}

// published is what S3 reads of an inode; nil if it has never been published.
func (w *world) published(t testing.TB, ino Ino) []byte {
	n, err := w.readInode(context.Background(), ino, tenancy.GetObject)
	require.NoError(t, err)
	if n.Published == nil {
		return nil
	}
	return w.content(t, n, n.Published)
}

func (w *world) content(t testing.TB, n *inodeRec, c *contentRec) []byte {
	p := make([]byte, c.Size)
	require.NoError(t, w.kv.View(context.Background(), func(r metastore.Reader) error {
		l, err := w.fs.loadContent(r, c)
		if err != nil {
			return err
		}
		_, err = w.fs.readLayout(context.Background(), n.domain(), l, p, 0)
		return err
	}))
	return p
}

func create(t testing.TB, v *View, dir Ino, name string) FileHandle {
	_, h, err := v.Create(context.Background(), dir, name, NewNode{Mode: 0o644}, OpenFlags{Read: true, Write: true})
	require.NoError(t, err)
	return h
}

func readAll(t testing.TB, h FileHandle) []byte {
	var out []byte
	buf := make([]byte, 300_000)
	for {
		n, err := h.ReadAt(context.Background(), buf, int64(len(out)))
		require.NoError(t, err)
		out = append(out, buf[:n]...)
		if n < len(buf) {
			return out
		}
	}
}

func TestWriteFlushRead(t *testing.T) {
	for _, size := range []int{0, 1, 4096, inlineMax, inlineMax + 1, 100_000, 256 << 10, chunkstore.FrameSize, 5<<20 + 77} {
		w := newWorld(t)
		ctx := context.Background()
		data := storetest.Bytes(size, 1)
		h := create(t, w.View, w.bucket, "f")
		require.Nil(t, w.published(t, h.Ino()))
		n, err := h.WriteAt(ctx, data, 0)
		require.NoError(t, err)
		require.Equal(t, size, n)
		require.True(t, bytes.Equal(data, readAll(t, h)), "before flush")
		a, err := w.GetAttr(ctx, h.Ino())
		require.NoError(t, err)
		require.EqualValues(t, size, a.Size)
		require.Nil(t, w.published(t, h.Ino()))
		require.NoError(t, h.Flush(ctx))
		require.True(t, bytes.Equal(data, w.published(t, h.Ino())), "published")
		require.True(t, bytes.Equal(data, readAll(t, h)), "after flush")
		require.NoError(t, h.Close(ctx))
		a, err = w.Lookup(ctx, w.bucket, "f")
		require.NoError(t, err)
		require.EqualValues(t, size, a.Size)
		h, err = w.Open(ctx, a.Ino, OpenFlags{Read: true})
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, readAll(t, h)), "opened again")
		require.NoError(t, h.Close(ctx))
		require.Empty(t, w.fs.files.files)
		require.Zero(t, w.fs.dirty.Load())
	}
}
