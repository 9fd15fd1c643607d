package namespace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
	"k3fs/metastore"
	"k3fs/metastore/memkv"
	"k3fs/tenancy"
)

// keyed is a namespace whose keys are those of a tenancy, on a disk that can be cut.
type keyed struct {
	*world
	ten *tenancy.Tenancy
	key *tenancy.Master
}

var root = tenancy.Root(tenancy.FirstTenant)

func newKeyed(t *testing.T) *keyed {
	m, err := tenancy.CreateMaster(filepath.Join(t.TempDir(), "master.key"))
	require.NoError(t, err)
	k := &keyed{world: &world{disk: storetest.NewCrashFS()}, key: m}
	k.open(t, memkv.New(k.kvOptions()))
	require.NoError(t, k.CreateBucket(bg, "data", ""))
	info, err := k.HeadBucket(bg, "data")
	require.NoError(t, err)
	k.bucket = info.Ino
	return k
}

func (k *keyed) kvOptions() memkv.Options {
	return memkv.Options{Barrier: func(ctx context.Context) error {
		if k.chunks == nil { // the tenancy comes first
			return nil
		}
		return k.chunks.Sync(ctx)
	}}
}

// open opens what is on the disk, and the records, as a start does.
func (k *keyed) open(t *testing.T, kv *memkv.Store) {
	var err error
	k.kv = kv
	k.ten, err = tenancy.Open(bg, kv, tenancy.Options{Master: k.key})
	require.NoError(t, err)
	k.chunks, err = chunkstore.Open(bg, chunkstore.Options{Dir: "data", FS: k.disk, Keys: k.ten, SegmentSize: 4 << 20, Logger: storetest.Discard})
	require.NoError(t, err)
	k.fs, err = Open(bg, Options{KV: kv, Chunks: k.chunks, Authority: k.ten, Keys: k.ten, Logger: storetest.Discard})
	require.NoError(t, err)
	k.View = k.fs.As(root)
	fs := k.fs
	t.Cleanup(func() { _ = fs.Close(bg) })
}

// waitKeys waits until the change of keys is over.
func (k *keyed) waitKeys(t *testing.T) KeyState {
	for {
		s, err := k.KeyState(bg)
		require.NoError(t, err)
		if !s.Busy() {
			return s
		}
		time.Sleep(time.Millisecond)
	}
}

// requireUnder says that everything of the tenant is sealed under one epoch, and that the others have no key.
func (k *keyed) requireUnder(t *testing.T, epoch uint32) {
	infos, err := k.chunks.Segments(bg)
	require.NoError(t, err)
	for _, info := range infos {
		require.NoError(t, k.chunks.Frames(bg, info.Number, func(f chunkstore.Frame) bool {
			require.True(t, f.Err != nil || f.Epoch == epoch, "a frame under epoch %d: %v", f.Epoch, f.Err)
			require.NotErrorIs(t, f.Err, tenancy.ErrNoKey)
			return true
		}))
	}
	require.NoError(t, k.kv.View(bg, func(r metastore.Reader) error {
		return r.Scan(prefixRange([]byte(kContent), 0), func(key, value []byte) (bool, error) {
			if id, ok := inlineSealedBy(key, value); ok {
				require.Equal(t, epoch, id.epoch)
			}
			return true, nil
		})
	}))
	for e := range epoch {
		_, err := k.ten.DataKey(1, e)
		require.ErrorIs(t, err, tenancy.ErrNoKey)
	}
	_, err = k.AuditHead(bg, true)
	require.NoError(t, err)
}

// TestRotateKey: small and large objects, versions, parts of uploads and open drafts are under the new key, with their
// ETags, and the old one is gone.
func TestRotateKey(t *testing.T) {
	k := newKeyed(t)
	k.versioning(t, "data", VersioningEnabled)
	want := map[string][]byte{}
	etags := map[string]string{}
	for i, n := range []int{0, 1, 8000, 9000, 70_000, 1 << 20, 3<<20 + 17} {
		key := fmt.Sprintf("o%d", i)
		k.put(t, key, storetest.Bytes(n, 99)) // a version below
		want[key] = storetest.Bytes(n, uint64(i))
		etags[key] = k.put(t, key, want[key]).ETag
	}
	h := create(t, k.View, k.bucket, "draft")
	draft := storetest.Bytes(2<<20, 7)
	_, err := h.WriteAt(bg, draft, 0)
	require.NoError(t, err)
	require.NoError(t, h.Fsync(bg))

	for epoch := uint32(2); epoch <= 3; epoch++ {
		s, err := k.RotateKey(bg)
		require.NoError(t, err)
		require.Equal(t, epoch, s.Epoch)
		s = k.waitKeys(t)
		require.Equal(t, epoch, s.Epoch)
		require.Positive(t, s.Frames)
		require.Positive(t, s.Inline)
		require.Empty(t, s.Trouble)
		k.requireUnder(t, epoch)
		for key, data := range want {
			require.True(t, bytes.Equal(data, k.get(t, key)), key)
			info, err := k.HeadObject(bg, "data", key, ReadOptions{})
			require.NoError(t, err)
			require.Equal(t, etags[key], info.ETag)
		}
		require.True(t, bytes.Equal(draft, readAll(t, h)))
	}
	require.NoError(t, h.Flush(bg))
	require.NoError(t, h.Close(bg))
	require.True(t, bytes.Equal(draft, k.get(t, "draft")))

	_, err = k.fs.As(tenancy.Principal{Tenant: 1, Account: "other"}).RotateKey(bg)
	requireKind(t, Access, err)
}

// TestRotateKeyUnderLoad changes keys while both doors read and write, and cuts the power in the middle of it: what
// was acknowledged is there, readable, and nothing is under the old keys when the change is over.
func TestRotateKeyUnderLoad(t *testing.T) {
	k := newKeyed(t)
	var mu sync.Mutex
	acked := map[string][]byte{} // guarded by mu
	var wg sync.WaitGroup
	var stop atomic.Bool
	load := func() {
		v := k.View
		for worker := range 3 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(worker), 1))
				for i := 0; !stop.Load(); i++ {
					key := fmt.Sprintf("w%d-%d", worker, rng.IntN(8))
					data := storetest.Bytes(1+rng.IntN(30_000), rng.Uint64())
					var err error
					if worker == 0 {
						err = writeFile(v, k.bucket, key, data)
					} else {
						_, err = v.PutObject(bg, "data", key, bodyOf(data), PutOptions{})
					}
					if err != nil {
						t.Errorf("write %s: %v", key, err)
						return
					}
					mu.Lock()
					acked[key] = data
					mu.Unlock()
					got, err := readObject(v, key)
					if err != nil || !bytes.Equal(got, data) { // nobody else writes the key
						t.Errorf("read %s: %d bytes of %d, %v", key, len(got), len(data), err)
						return
					}
				}
			})
		}
	}
	load()
	for range 3 {
		_, err := k.RotateKey(bg)
		require.NoError(t, err)
		k.waitKeys(t)
	}
	k.put(t, "big", storetest.Bytes(9<<20, 1))
	_, err := k.RotateKey(bg)
	require.NoError(t, err)
	for { // in the middle
		s, err := k.KeyState(bg)
		require.NoError(t, err)
		if s.Frames > 0 || !s.Busy() {
			break
		}
	}
	stop.Store(true)
	wg.Wait()
	require.NoError(t, k.kv.Sync(bg))
	kv := k.kv.Crash(0, k.kvOptions()) // first: the disk may be ahead of the records, not behind
	disk := k.disk.CrashClone(rand.New(rand.NewPCG(1, 1)))
	require.NoError(t, k.fs.Close(bg))

	k.disk = disk
	k.open(t, kv)
	for key, data := range acked {
		got, err := readObject(k.View, key)
		require.NoError(t, err, key)
		require.True(t, bytes.Equal(data, got), key)
	}
	stop.Store(false)
	load()
	s := k.waitKeys(t)
	require.Equal(t, uint32(5), s.Epoch)
	stop.Store(true)
	wg.Wait()
	k.requireUnder(t, 5)
	require.True(t, bytes.Equal(storetest.Bytes(9<<20, 1), k.get(t, "big")))
}

func writeFile(v *View, dir Ino, name string, data []byte) error {
	_, h, err := v.Create(bg, dir, name, NewNode{Mode: 0o644}, OpenFlags{Read: true, Write: true, Trunc: true})
	if isKind(err, Exists) {
		var a Attr
		if a, err = v.Lookup(bg, dir, name); err == nil {
			h, err = v.Open(bg, a.Ino, OpenFlags{Read: true, Write: true, Trunc: true})
		}
	}
	if err != nil {
		return err
	}
	_, err = h.WriteAt(bg, data, 0)
	return errors.Join(err, h.Fsync(bg), h.Flush(bg), h.Close(bg))
}

func readObject(v *View, key string) ([]byte, error) {
	rd, err := v.GetObject(bg, "data", key, ReadOptions{})
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	var b bytes.Buffer
	_, err = rd.WriteRange(context.Background(), &b, 0, rd.Info().Size)
	return b.Bytes(), err
}
