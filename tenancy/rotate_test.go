package tenancy

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
	"k3fs/metastore/memkv"
	"k3fs/tenancy/keyservice"
	"k3fs/tenancy/keyservice/memory"
)

// node is a store with its key files.
type node struct {
	kv           *memkv.Store
	master, keys string // files
}

func newNode(t *testing.T) *node {
	dir := t.TempDir()
	n := &node{memkv.New(memkv.Options{}), filepath.Join(dir, "master.key"), filepath.Join(dir, "node-keys")}
	_, err := CreateMaster(n.master)
	require.NoError(t, err)
	return n
}

// open opens the store with what is in the files, as the daemon does.
func (n *node) open(t *testing.T) (*Tenancy, *Master) {
	m, err := LoadMaster(n.master)
	require.NoError(t, err)
	k, err := LoadNodeKeys(t.Context(), n.keys, m)
	if errors.Is(err, fs.ErrNotExist) {
		k, err = m.NodeKeys(), nil
	}
	require.NoError(t, err)
	ten, err := Open(t.Context(), n.kv, Options{Keys: k})
	require.NoError(t, err)
	return ten, m
}

func (n *node) rotation(t *testing.T, old *Master, passed func(string) error) NodeRotation {
	fresh, err := NewMaster()
	require.NoError(t, err)
	return NodeRotation{Path: n.keys, Old: old, New: fresh, Replace: func() error { return fresh.Replace(n.master) }, passed: passed}
}

// TestRotateNodeKeysCrash ends a rotation behind each of its steps, as a crash would: the store opens with the
// master key that is there, and the rotation can be finished and made again.
func TestRotateNodeKeysCrash(t *testing.T) {
	crash := errors.New("crash")
	for _, step := range []string{"both locks", "replaced", "new lock", "k", "c", ""} {
		t.Run(step, func(t *testing.T) {
			n := newNode(t)
			ten, m := n.open(t)
			metadata := ten.nodeKeys().MetadataKey()
			root, err := ten.EnsureRoot(t.Context(), "", "")
			require.NoError(t, err)
			key, err := ten.dataKeyOf(t.Context(), FirstTenant, 1)
			require.NoError(t, err)

			left := 2
			passed := func(at string) error {
				if at == step {
					return crash
				}
				return nil
			}
			if step == "k" || step == "c" { // in the middle of the records
				n.kv = memkv.New(memkv.Options{})
				ten, m = n.open(t)
				root, err = ten.EnsureRoot(t.Context(), "", "")
				require.NoError(t, err)
				key, err = ten.dataKeyOf(t.Context(), FirstTenant, 1)
				require.NoError(t, err)
				ten.kv = &failing{Store: n.kv, prefix: "t" + step, err: crash}
			}
			err = ten.RotateNodeKeys(t.Context(), n.rotation(t, m, passed))
			if step == "" {
				require.NoError(t, err)
				left = 1
			} else {
				require.ErrorIs(t, err, crash)
			}

			for range 2 { // a second rotation follows the first
				ten, m = n.open(t)
				require.Len(t, ten.nodeKeys().generation, left)
				require.NoError(t, ten.FinishRotation(t.Context(), n.keys, m))
				require.False(t, ten.Rotating())
				requireNewest(t, n.kv, ten)
				ten, m = n.open(t) // without the older generations
				again, err := ten.EnsureRoot(t.Context(), "", "")
				require.NoError(t, err)
				require.Equal(t, root, again)
				got, err := ten.dataKeyOf(t.Context(), FirstTenant, 1)
				require.NoError(t, err)
				require.Equal(t, key, got)
				require.Equal(t, metadata, ten.nodeKeys().MetadataKey())
				require.NoError(t, ten.RotateNodeKeys(t.Context(), n.rotation(t, m, nil)))
				left = 1
				_, err = LoadNodeKeys(t.Context(), n.keys, m)
				require.ErrorIs(t, err, ErrWrongKey, "the old master key opens nothing")
			}
		})
	}
}

// requireNewest says that every sealed record is of the newest generation.
func requireNewest(t *testing.T, kv metastore.Store, ten *Tenancy) {
	for _, table := range sealedTables {
		n, err := ten.renewPass(t.Context(), table.prefix, table.renew)
		require.NoError(t, err)
		require.Zero(t, n)
	}
}

// failing is a store whose updates of a table fail.
type failing struct {
	metastore.Store
	prefix string
	err    error
}

func (f *failing) Update(ctx context.Context, d metastore.Durability, fn func(metastore.Txn) error) error {
	return f.Store.Update(ctx, d, func(t metastore.Txn) error { return fn(failingTxn{t, f}) })
}

type failingTxn struct {
	metastore.Txn
	f *failing
}

func (t failingTxn) Set(k, v []byte) error {
	if string(k[:2]) == t.f.prefix {
		return t.f.err
	}
	return t.Txn.Set(k, v)
}

// TestNodeKeysCopy: either of the two files is enough, and no part of the keys is in them.
func TestNodeKeysCopy(t *testing.T) {
	n := newNode(t)
	_, m := n.open(t)
	k := NewNodeKeys()
	require.NoError(t, k.Save(t.Context(), n.keys, m))
	raw, err := os.ReadFile(n.keys)
	require.NoError(t, err)
	require.NotContains(t, string(raw), string(k.metadata[:]))
	for _, name := range []string{n.keys, n.keys + ".copy"} {
		for _, bad := range [][]byte{nil, raw[:len(raw)/2], []byte("{}")} {
			require.NoError(t, k.Save(t.Context(), n.keys, m))
			require.NoError(t, os.WriteFile(name, bad, 0o600))
			if bad == nil {
				require.NoError(t, os.Remove(name))
			}
			got, err := LoadNodeKeys(t.Context(), n.keys, m)
			require.NoError(t, err)
			require.Equal(t, k, got)
		}
	}
}

// TestKeyServiceAway: keys that the service unwrapped are used for their life, then the answer is ErrKeyAway, at once
// and not by asking each time, and all comes back when the service does.
func TestKeyServiceAway(t *testing.T) {
	service := memory.New()
	var clock atomic.Int64
	now := func() time.Time { return time.Unix(clock.Load(), 0) }
	n := newNode(t)
	opts := Options{Keys: NewNodeKeys(), Service: service, KeyLife: 10 * time.Minute, Now: now}
	ten, err := Open(t.Context(), n.kv, opts)
	require.NoError(t, err)
	key, err := ten.DataKey(1, 1)
	require.NoError(t, err)

	service.SetAway(true)
	asked := service.Calls()
	clock.Add(599)
	got, err := ten.DataKey(1, 1)
	require.NoError(t, err)
	require.Equal(t, key, got)
	require.Equal(t, asked, service.Calls())
	clock.Add(1)
	for range 100 {
		_, err = ten.DataKey(1, 1)
		require.ErrorIs(t, err, ErrKeyAway)
		require.ErrorIs(t, err, keyservice.ErrAway)
		require.NotErrorIs(t, err, ErrNoKey)
	}
	require.Equal(t, asked+1, service.Calls())
	_, over := ten.data.due()
	require.Equal(t, []TenantID{1}, over)
	again, err := Open(t.Context(), n.kv, opts) // a restart meanwhile comes up, without the key
	require.NoError(t, err)
	_, err = again.DataKey(1, 1)
	require.ErrorIs(t, err, ErrKeyAway)
	_, err = ten.CreateTenant(t.Context(), "later")
	require.ErrorIs(t, err, ErrKeyAway)

	service.SetAway(false)
	clock.Add(15)
	got, err = ten.DataKey(1, 1)
	require.NoError(t, err)
	require.Equal(t, key, got)
	clock.Add(301) // half of its life
	due, over := ten.data.due()
	require.Len(t, due, 1)
	require.Empty(t, over)

	// The node's keys alone don't open it, nor does the service alone.
	alone, err := Open(t.Context(), n.kv, Options{Keys: opts.Keys})
	require.ErrorIs(t, err, ErrKeyAway)
	require.Nil(t, alone)
	_, err = Open(t.Context(), n.kv, Options{Keys: NewNodeKeys(), Service: service})
	require.ErrorIs(t, err, ErrCorrupt)
}

// TestServiceLock: the key service in place of the master key.
func TestServiceLock(t *testing.T) {
	n := newNode(t)
	service := memory.New()
	ten, m := n.open(t)
	lock := ServiceLock(service)
	require.NoError(t, ten.RotateNodeKeys(t.Context(), NodeRotation{Path: n.keys, Old: m, New: lock}))
	require.NoError(t, os.Remove(n.master))
	k, err := LoadNodeKeys(t.Context(), n.keys, lock)
	require.NoError(t, err)
	require.Equal(t, ten.nodeKeys(), k)
	_, err = LoadNodeKeys(t.Context(), n.keys, m)
	require.ErrorIs(t, err, ErrWrongKey)
	service.SetAway(true)
	_, err = LoadNodeKeys(t.Context(), n.keys, lock)
	require.ErrorIs(t, err, keyservice.ErrAway)
}

// TestTenantKeyEpochs: two epochs are live until the older one is dropped.
func TestTenantKeyEpochs(t *testing.T) {
	n := newNode(t)
	ten, _ := n.open(t)
	first, err := ten.DataKey(1, 1)
	require.NoError(t, err)
	next, err := ten.NextKey(t.Context(), FirstTenant)
	require.NoError(t, err)
	update := func(fn func(metastore.Txn) error) error {
		err := n.kv.Update(t.Context(), metastore.Durable, fn)
		ten.KeysChanged(FirstTenant)
		return err
	}
	require.NoError(t, update(func(txn metastore.Txn) error { return ten.InstallKey(txn, next) }))
	require.ErrorIs(t, update(func(txn metastore.Txn) error { return ten.InstallKey(txn, next) }), ErrKeyChanged)
	epoch, err := ten.Current(1)
	require.NoError(t, err)
	require.Equal(t, uint32(2), epoch)
	second, err := ten.DataKey(1, 2)
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	got, err := ten.DataKey(1, 1)
	require.NoError(t, err)
	require.Equal(t, first, got)
	require.ErrorIs(t, update(func(txn metastore.Txn) error { return ten.DropKey(txn, 1, 2) }), ErrInvalid)
	require.NoError(t, update(func(txn metastore.Txn) error { return ten.DropKey(txn, 1, 1) }))
	_, err = ten.DataKey(1, 1)
	require.ErrorIs(t, err, ErrNoKey)
	require.NoError(t, update(func(txn metastore.Txn) error { return ten.DestroyKeys(txn, 1) }))
	_, err = ten.DataKey(1, 2)
	require.ErrorIs(t, err, ErrNoKey)
}

// TestCheck opens all that the node's keys seal, before, amid and after a rotation, and finds what does not open.
func TestCheck(t *testing.T) {
	n := newNode(t)
	ten, m := n.open(t)
	_, err := ten.EnsureRoot(t.Context(), "", "")
	require.NoError(t, err)
	problems := func(ten *Tenancy) (all []error) {
		require.NoError(t, ten.Check(t.Context(), func(err error) { all = append(all, err) }))
		return all
	}
	require.Empty(t, problems(ten))
	crash := errors.New("crash")
	require.ErrorIs(t, ten.RotateNodeKeys(t.Context(), n.rotation(t, m, func(at string) error {
		if at == "new lock" {
			return crash
		}
		return nil
	})), crash)
	require.True(t, ten.Rotating())
	require.Empty(t, problems(ten))

	ten.setNodeKeys(ten.nodeKeys().newest()) // as if it were over
	require.Len(t, problems(ten), 2, "the tenant's key and the secret are under the older key")
	for _, err := range problems(ten) {
		require.ErrorIs(t, err, ErrCorrupt)
	}
}
