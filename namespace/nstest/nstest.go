// Package nstest explores what a power cut leaves of a namespace.
//
// It owns a world in memory (memkv over a Barrier, a chunk store over storetest.CrashFS), random
// operations through both doors' interfaces on a few names, and the history of what the names held
// after each commit. At random moments, within operations too, it takes what a power cut could leave of
// both stores, opens a namespace on that, and checks that what both doors then read is one state of the
// history, whole, and not older than what was acknowledged as durable.
package nstest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
	"k3fs/metastore"
	"k3fs/metastore/memkv"
	"k3fs/namespace"
	"k3fs/tenancy"
)

// Authority is a namespace.Authority that decides as tenancy does, with keys that need no master key.
type Authority struct{ storetest.Keys }

// reader is an account that may read.
const reader = "reader"

// Allow implements namespace.Authority.
func (*Authority) Allow(p tenancy.Principal, a tenancy.Action, r tenancy.Resource) error {
	if p.Account == reader && !tenancy.RoleReadOnly.Has(a) {
		return tenancy.ErrDenied
	}
	return tenancy.Allow(p, a, r)
}

// Standing implements namespace.Authority.
func (*Authority) Standing(tenancy.Principal) (uint64, error) { return 1, nil }

// Root is the root account of the first tenant.
var Root = tenancy.Principal{Tenant: tenancy.FirstTenant, Account: tenancy.RootAccount, Root: true}

// durableKV is a memkv that always has at hand what a power cut leaves of it at the least.
type durableKV struct {
	*memkv.Store
	mu     sync.Mutex // held while latest goes forward
	latest atomic.Pointer[memkv.Store]
}

func newDurableKV(kv *memkv.Store) *durableKV {
	d := &durableKV{Store: kv}
	d.note()
	return d
}

// note records what is durable now.
func (d *durableKV) note() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.latest.Store(d.Store.Crash(0, memkv.Options{}))
}

// Update implements metastore.Store.
func (d *durableKV) Update(ctx context.Context, dur metastore.Durability, fn func(metastore.Txn) error) error {
	err := d.Store.Update(ctx, dur, fn)
	if dur == metastore.Durable || dur == metastore.DurableReclaim {
		d.note()
	}
	return err
}

// Sync implements metastore.Store.
func (d *durableKV) Sync(ctx context.Context) error {
	err := d.Store.Sync(ctx)
	d.note()
	return err
}

// World is an open namespace over stores in memory.
type World struct {
	FS     *namespace.FS
	View   *namespace.View
	Bucket namespace.Ino
	disk   *storetest.CrashFS
	chunks *chunkstore.Store
	kv     *durableKV
	keys   *Authority
}

const bucket = "bucket"

// NewWorld opens an empty namespace and makes a bucket in it.
func NewWorld(t testing.TB) *World {
	w, err := open(storetest.NewCrashFS(), memkv.New(memkv.Options{}), &Authority{})
	require.NoError(t, err)
	return w.begin(t)
}

// begin makes the bucket.
func (w *World) begin(t testing.TB) *World {
	require.NoError(t, w.View.CreateBucket(context.Background(), bucket, ""))
	require.NoError(t, w.findBucket())
	return w
}

// open runs a namespace on a disk and the state of a metastore.
func open(disk *storetest.CrashFS, state *memkv.Store, keys *Authority) (*World, error) {
	return openWith(disk, state, keys, func(s *chunkstore.Store) func(context.Context) error { return s.Sync })
}

// openWith is open with another barrier between data and metadata than the one that is right.
func openWith(disk *storetest.CrashFS, state *memkv.Store, keys *Authority,
	barrier func(*chunkstore.Store) func(context.Context) error) (*World, error) {
	return openOptions(disk, state, keys, barrier, namespace.Options{Authority: keys})
}

// openOptions is openWith for a namespace with these options; the stores are filled in.
func openOptions(disk *storetest.CrashFS, state *memkv.Store, keys *Authority,
	barrier func(*chunkstore.Store) func(context.Context) error, o namespace.Options) (*World, error) {
	ctx := context.Background()
	w := &World{disk: disk, keys: keys}
	var err error
	w.chunks, err = chunkstore.Open(ctx, chunkstore.Options{Dir: "data", FS: disk, Keys: keys, SegmentSize: 8 << 20,
		ReadCache: -1, Buffers: 2, Logger: storetest.Discard})
	if err != nil {
		return nil, err
	}
	w.kv = newDurableKV(state.Crash(state.Pending(), memkv.Options{Barrier: barrier(w.chunks)}))
	o.KV, o.Chunks, o.Logger = w.kv, w.chunks, storetest.Discard
	w.FS, err = namespace.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	w.View = w.FS.As(Root)
	return w, nil
}

// fsck checks what a cut left as "k3fs fsck" does, before any recovery.
func (c cut) fsck(keys *Authority) error {
	ctx := context.Background()
	chunks, err := chunkstore.Open(ctx, chunkstore.Options{Dir: "data", FS: c.disk, Keys: keys, SegmentSize: 8 << 20,
		ReadCache: -1, Buffers: 2, Logger: storetest.Discard})
	if err != nil {
		return err
	}
	report, err := namespace.Check(ctx, c.kv, chunks, keys, namespace.CheckOptions{Deep: true})
	if err == nil && len(report.Problems) > 0 {
		err = fmt.Errorf("fsck: %v", report.Problems)
	}
	return errors.Join(err, chunks.Close())
}

func (w *World) findBucket() error {
	a, err := w.View.Lookup(context.Background(), namespace.RootIno, bucket)
	w.Bucket = a.Ino
	return err
}

// Close ends the world.
func (w *World) Close() error {
	if err := w.FS.Close(context.Background()); err != nil {
		return err
	}
	return w.chunks.Close()
}

// cut is what a power cut may leave of both stores.
type cut struct {
	disk *storetest.CrashFS
	kv   *memkv.Store
	when string
	// states of the history that may be found: from the last durable one on. The last is known when the
	// operation under way has ended.
	least int
}

// cutNow is a cut in which some commits that nobody was told of are durable: as in an engine whose
// batches become durable one after the other, the data that they refer to is durable then too.
func (w *World) cutNow(rng *rand.Rand) (cut, error) {
	keep := rng.IntN(w.kv.Pending() + 1)
	if keep > 0 {
		if err := w.chunks.Sync(context.Background()); err != nil {
			return cut{}, err
		}
	}
	kv := w.kv.Crash(keep, memkv.Options{})
	return cut{disk: w.disk.CrashClone(rng), kv: kv, when: fmt.Sprintf("between operations, %d commits kept", keep)}, nil
}

// cutWithin takes cuts while an operation runs, at some of its disk accesses.
func (w *World) cutWithin(rng *rand.Rand, one int, take func(cut)) (stop func()) {
	w.disk.SetHook(func(k int64, op storetest.Op, crash func(*rand.Rand) *storetest.CrashFS) error {
		if op != storetest.OpRead && rng.IntN(one) == 0 {
			// The metastore's state first: what is durable later only has more.
			kv := w.kv.latest.Load()
			take(cut{disk: crash(rng), kv: kv, when: fmt.Sprintf("before disk access %d, a %s", k, op)})
		}
		return nil
	})
	return func() { w.disk.SetHook(nil) }
}
