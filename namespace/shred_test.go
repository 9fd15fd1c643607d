package namespace

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
	"k3fs/metastore"
	"k3fs/tenancy"
)

// acme is a node with a second tenant that has something in every table of data, and an operator.
type acme struct {
	*keyed
	id    tenancy.TenantID
	own   *View // of the tenant's root
	other *View // of an operator of the node
}

func newAcme(t *testing.T) *acme {
	a := &acme{keyed: newKeyed(t)}
	made, err := a.ten.CreateTenant(bg, "acme")
	require.NoError(t, err)
	a.id = made.ID
	_, err = a.ten.CreateAccount(bg, tenancy.FirstTenant, "second", tenancy.NewAccount{Role: tenancy.RoleOperator})
	require.NoError(t, err)
	a.views()
	a.put(t, "mine", storetest.Bytes(50_000, 1))
	for _, b := range []string{"one", "two"} {
		require.NoError(t, a.own.CreateBucket(bg, b, ""))
		w := world{View: a.own}
		w.versioning(t, b, VersioningEnabled)
		for i := range 6 {
			for range 2 {
				_, err := a.own.PutObject(bg, b, fmt.Sprintf("d%d/o%d", i%3, i), bodyOf(storetest.Bytes(i*9000, uint64(i))), PutOptions{})
				require.NoError(t, err)
			}
		}
		_, err = a.own.DeleteObject(bg, b, "d0/o0", DeleteOptions{})
		require.NoError(t, err)
		up, err := a.own.CreateUpload(bg, b, "up", Upload{})
		require.NoError(t, err)
		_, err = a.own.PutPart(bg, b, "up", up.ID, 1, bodyOf(storetest.Bytes(100_000, 3)))
		require.NoError(t, err)
		info, err := a.own.HeadBucket(bg, b)
		require.NoError(t, err)
		require.NoError(t, writeFile(a.own, info.Ino, "file", storetest.Bytes(30_000, 4)))
	}
	return a
}

func (a *acme) views() {
	a.own = a.fs.As(tenancy.Root(a.id))
	a.other = a.fs.As(tenancy.Principal{Tenant: tenancy.FirstTenant, Account: "second"})
}

func (a *acme) suspend(t *testing.T) {
	require.NoError(t, a.ten.SetStatus(bg, a.id, tenancy.Suspended))
}

// requireGone waits for the wipe, and says that nothing is left of the tenant but its audit log.
func (a *acme) requireGone(t *testing.T) {
	require.NoError(t, a.fs.wipe(bg, a.id)) // beside the daemon's own, which does no harm
	require.NoError(t, a.fs.Reap(bg))
	require.NoError(t, a.kv.View(bg, func(r metastore.Reader) error {
		report, err := a.fs.countHeld(bg, a.id)
		require.NoError(t, err)
		require.Equal(t, ShredReport{Tenant: a.id}, report)
		return r.Scan(prefixRange([]byte(kExtent), 0), func(k, value []byte) (bool, error) {
			_, rec, err := parseExtent(k, value)
			require.NotEqual(t, uint64(a.id), rec.Domain)
			return true, err
		})
	}))
	requireClean(t, a.kv, a.chunks, a.ten)
	_, err := a.ten.DataKey(domain(a.id), 1)
	require.ErrorIs(t, err, tenancy.ErrNoKey)
	require.Equal(t, storetest.Bytes(50_000, 1), a.get(t, "mine"))
	require.NoError(t, a.kv.View(bg, func(r metastore.Reader) error {
		for _, tenant := range []tenancy.TenantID{tenancy.FirstTenant, a.id} {
			log, err := a.fs.auditLog(tenant)
			require.NoError(t, err)
			head, err := log.Verify(r)
			require.NoError(t, err)
			require.Positive(t, head.Seq)
		}
		return nil
	}))
}

func TestShred(t *testing.T) {
	a := newAcme(t)
	_, err := a.Shred(bg, a.id, ShredOptions{})
	requireKind(t, Invalid, err) // it acts
	_, err = a.own.Shred(bg, a.id, ShredOptions{})
	requireKind(t, Access, err)
	_, err = a.Shred(bg, tenancy.FirstTenant, ShredOptions{})
	requireKind(t, Invalid, err)
	_, err = a.Shred(bg, 99, ShredOptions{})
	requireKind(t, NotFound, err)

	reader, err := a.own.GetObject(bg, "one", "d2/o5", ReadOptions{})
	require.NoError(t, err)
	defer reader.Close()
	info, err := a.own.HeadBucket(bg, "one")
	require.NoError(t, err)
	dir, err := a.own.Lookup(bg, info.Ino, "d1")
	require.NoError(t, err)
	file, err := a.own.Lookup(bg, dir.Ino, "o4")
	require.NoError(t, err)
	h, err := a.own.Open(bg, file.Ino, OpenFlags{Read: true})
	require.NoError(t, err)

	a.suspend(t)
	plan, err := a.Shred(bg, a.id, ShredOptions{DryRun: true})
	require.NoError(t, err)
	require.Equal(t, int64(2), plan.Buckets)
	require.Positive(t, plan.Bytes)
	require.False(t, plan.Erased)
	require.Equal(t, plan.Bytes, plan.Freed)
	done, err := a.Shred(bg, a.id, ShredOptions{})
	require.NoError(t, err)
	plan.Erased = true
	require.Equal(t, plan, done)

	_, err = reader.(*objectReader).ReadAt(bg, make([]byte, 10), 0)
	require.ErrorIs(t, err, tenancy.ErrNoKey)
	_, err = h.ReadAt(bg, make([]byte, 10), 0)
	requireKind(t, Access, err) // it is suspended
	_, err = h.(*handle).f.read(bg, make([]byte, 10), 0)
	requireKind(t, Unavailable, fail("read", "", err))
	require.NoError(t, reader.Close())
	require.NoError(t, h.Close(bg))
	a.requireGone(t)
	_, err = a.Shred(bg, a.id, ShredOptions{})
	requireKind(t, Invalid, err)
	require.NoError(t, a.CreateBucket(bg, "one", ""), "the name is free")

	_, err = a.RotateKey(bg) // the log of the erased tenant goes along with the first tenant's key
	require.NoError(t, err)
	a.waitKeys(t)
	a.requireGone(t)
}

// TestShredHeld: each kind of protection refuses an erasure, is counted, and leaves everything as it is.
func TestShredHeld(t *testing.T) {
	hour := time.Now().Add(time.Hour)
	lock := func(mode LockMode) func(*testing.T, *acme) {
		return func(t *testing.T, a *acme) {
			require.NoError(t, a.own.ChangeLockConfig(bg, "one", LockConfig{}))
			_, err := a.own.SetRetention(bg, "one", "d1/o1", "", Retention{mode, hour}, false)
			require.NoError(t, err)
		}
	}
	for name, c := range map[string]struct {
		protect func(*testing.T, *acme)
		counted func(ShredReport) int64
	}{
		"compliance": {lock(Compliance), func(r ShredReport) int64 { return r.Compliance }},
		"governance": {lock(Governance), func(r ShredReport) int64 { return r.Governance }},
		"legal hold": {func(t *testing.T, a *acme) {
			require.NoError(t, a.own.ChangeLockConfig(bg, "one", LockConfig{}))
			_, err := a.own.SetLegalHold(bg, "one", "d1/o1", "", true)
			require.NoError(t, err)
		}, func(r ShredReport) int64 { return r.OnLegal }},
		"hold": {func(t *testing.T, a *acme) {
			_, err := a.own.PlaceHold(bg, Hold{Bucket: "two", Prefix: "nothing", Reason: "r"})
			require.NoError(t, err)
		}, func(r ShredReport) int64 { return r.Holds }},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAcme(t)
			c.protect(t, a)
			a.suspend(t)
			_, err := a.Shred(bg, a.id, ShredOptions{})
			requireKind(t, NotPermitted, err)
			var held *HeldError
			require.ErrorAs(t, err, &held)
			require.Equal(t, int64(1), c.counted(held.ShredReport), "%v", held)
			_, err = a.ten.DataKey(domain(a.id), 1)
			require.NoError(t, err)
			if name == "governance" {
				_, err = a.Shred(bg, a.id, ShredOptions{BypassGovernance: true})
				require.NoError(t, err)
				a.requireGone(t)
				return
			}

			// The forced path takes another principal.
			_, err = a.own.RequestErasure(bg, a.id, "r")
			requireKind(t, Access, err)
			asked, err := a.RequestErasure(bg, a.id, "court order 7")
			require.NoError(t, err)
			_, err = a.ConfirmErasure(bg, a.id, asked.ID)
			requireKind(t, NotPermitted, err)
			_, err = a.other.ConfirmErasure(bg, a.id, "e-0")
			requireKind(t, NotFound, err)
			all, err := a.other.Erasures(bg)
			require.NoError(t, err)
			require.Equal(t, []Erasure{asked}, all)
			require.NoError(t, a.CancelErasure(bg, a.id))
			_, err = a.other.ConfirmErasure(bg, a.id, asked.ID)
			requireKind(t, NotFound, err)
			asked, err = a.RequestErasure(bg, a.id, "court order 7")
			require.NoError(t, err)
			done, err := a.other.ConfirmErasure(bg, a.id, asked.ID)
			require.NoError(t, err)
			require.True(t, done.Erased && done.Forced)
			require.Equal(t, int64(1), c.counted(done))
			a.requireGone(t)
		})
	}
}

// TestShredAgainstHold: while it is looked what speaks against an erasure, nothing can be locked or held.
func TestShredAgainstHold(t *testing.T) {
	a := newAcme(t)
	require.NoError(t, a.own.ChangeLockConfig(bg, "one", LockConfig{}))
	a.fs.shreds.under.Store(a.id, nil)
	_, err := a.own.PlaceHold(bg, Hold{Reason: "too late"})
	requireKind(t, Busy, err)
	_, err = a.own.SetRetention(bg, "one", "d1/o1", "", Retention{Compliance, time.Now().Add(time.Hour)}, false)
	requireKind(t, Busy, err)
	_, err = a.own.SetLegalHold(bg, "one", "d1/o1", "", true)
	requireKind(t, Busy, err)
	_, err = a.PlaceHold(bg, Hold{Reason: "of another tenant"})
	require.NoError(t, err)
	a.suspend(t)
	_, err = a.Shred(bg, a.id, ShredOptions{})
	requireKind(t, Busy, err) // another erasure of it is under way
	a.fs.shreds.under.Delete(a.id)
	_, err = a.Shred(bg, a.id, ShredOptions{})
	require.NoError(t, err)
	a.requireGone(t)
}

// TestShredCrash: a crash between any two slices of the wipe is gone on from.
func TestShredCrash(t *testing.T) {
	slices := 1
	for keep := 0; keep <= slices; keep++ {
		a := newAcme(t)
		a.suspend(t)
		a.fs.rekeyer.stop() // the wipe is this test's
		a.fs.reaper.stop()
		require.NoError(t, a.kv.Sync(bg))
		_, err := a.Shred(bg, a.id, ShredOptions{})
		require.NoError(t, err)
		require.NoError(t, a.fs.wipe(bg, a.id))
		slices = a.kv.Pending()
		require.Greater(t, slices, 6)
		kv := a.kv.Crash(keep, a.kvOptions())
		a.disk = a.disk.CrashClone(rand.New(rand.NewPCG(uint64(keep), 1)))
		a.open(t, kv)
		a.views()
		a.requireGone(t)
	}
}

// before is an authority that doesn't know yet that a tenant was suspended.
type before struct{ Authority }

func (before) Allow(tenancy.Principal, tenancy.Action, tenancy.Resource) error { return nil }

// A bucket that is made while its tenant is suspended, and then removed as one that has nothing, is not made.
func TestNoBucketOfSuspended(t *testing.T) {
	a := newAcme(t)
	a.suspend(t)
	a.fs.auth = before{a.fs.auth}
	requireKind(t, Access, a.own.CreateBucket(bg, "late", ""))
	_, err := a.own.Mkdir(bg, RootIno, "late", NewNode{Mode: 0o755})
	requireKind(t, Access, err)
	require.NoError(t, a.ten.SetStatus(bg, a.id, tenancy.Active))
	require.NoError(t, a.own.CreateBucket(bg, "late", ""))
}
