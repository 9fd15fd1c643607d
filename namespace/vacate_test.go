package namespace

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// remains are the tables that have something of a tenant by its number.
func (a *acme) remains(t *testing.T) (tables []string) {
	require.NoError(t, a.kv.View(bg, func(r metastore.Reader) error {
		for _, table := range []string{kHold, kCap, kQuota, kErasure, kAudit} {
			prefix := key(table, uint64(a.id))
			err := r.Scan(prefixRange(prefix, 0), func([]byte, []byte) (bool, error) {
				tables = append(tables, table)
				return false, nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	return tables
}

// A tenant is deleted when it is suspended and has nothing any more, and leaves its audit log only.
func TestDeleteTenant(t *testing.T) {
	a := newAcme(t)
	operator := tenancy.Principal{Tenant: tenancy.FirstTenant, Account: "second"}
	remove := func() error {
		_, err := a.ten.As(operator).DeleteTenant(bg, "acme", a.other.Vacate)
		return err
	}
	refused := func(why string) {
		t.Helper()
		err := remove()
		require.ErrorIs(t, err, tenancy.ErrInUse)
		require.ErrorContains(t, err, why)
	}
	act := func(s tenancy.Status) { require.NoError(t, a.ten.SetStatus(bg, a.id, s)) }
	_, err := a.ten.As(tenancy.Root(a.id)).DeleteTenant(bg, "acme", a.own.Vacate)
	require.ErrorIs(t, err, tenancy.ErrDenied)
	refused("suspend it first")

	// What it has is in the way, one after the other.
	require.NoError(t, a.View.SetQuota(bg, QuotaScope{Tenant: a.id}, QuotaLimits{Bytes: 1 << 30}))
	require.NoError(t, a.View.SetRetentionCap(bg, a.id, time.Hour))
	act(tenancy.Suspended)
	refused("has buckets, as one")
	require.NoError(t, a.fs.update(bg, metastore.Reclaim, nil, func(x *txn) error {
		for b, err := x.bucketOf(a.id); b != nil || err != nil; b, err = x.bucketOf(a.id) {
			if err == nil {
				err = x.wipeBucket(b)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
	act(tenancy.Active)
	h, err := a.own.PlaceHold(bg, Hold{Reason: "case"})
	require.NoError(t, err)
	act(tenancy.Suspended)
	refused("1 holds in force")
	act(tenancy.Active)
	require.NoError(t, a.own.ReleaseHold(bg, h.ID, "over"))
	act(tenancy.Suspended)
	_, err = a.View.RequestErasure(bg, a.id, "not needed")
	require.NoError(t, err)

	require.Equal(t, []string{kHold, kCap, kQuota, kErasure, kAudit}, a.remains(t))
	require.NoError(t, remove())
	require.Equal(t, []string{kAudit}, a.remains(t))
	require.ErrorIs(t, remove(), tenancy.ErrNoTenant)
	requireClean(t, a.kv, a.chunks, a.ten)
	require.NoError(t, a.kv.View(bg, func(r metastore.Reader) error {
		for _, tenant := range []tenancy.TenantID{tenancy.FirstTenant, a.id} {
			log, err := a.fs.auditLog(tenant)
			require.NoError(t, err)
			_, err = log.Verify(r)
			require.NoError(t, err)
			found := false
			require.NoError(t, log.Records(r, 0, 1000, func(line []byte) bool {
				found = found || bytes.Contains(line, []byte("tenant.delete"))
				return true
			}))
			require.True(t, found, "tenant %d", tenant)
		}
		return nil
	}))

	// The name is free, and who has it next has nothing of it.
	made, err := a.ten.CreateTenant(bg, "acme")
	require.NoError(t, err)
	require.NotEqual(t, a.id, made.ID)
	quotas, err := a.fs.As(tenancy.Root(made.ID)).Quotas(bg, made.ID)
	require.NoError(t, err)
	require.Empty(t, quotas)
}
