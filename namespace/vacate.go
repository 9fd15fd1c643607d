package namespace

import (
	"errors"
	"fmt"

	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
	"k3fs/tenancy"
)

// Vacate removes, in the update that deletes a tenant, what is kept here of it: its quota, its cap on retention, holds
// that are over, a request to erase it. Its audit log stays, and tells of it, as does the first tenant's.
// tenancy.ErrInUse if it still has buckets, holds in force, or files that are not yet let go. Who asks for it,
// tenancy.Admin.DeleteTenant, has asked for the permission, and that the tenant is suspended, so that nothing comes.
func (v *View) Vacate(m metastore.Txn, tenant tenancy.TenantID) error {
	t := &txn{Txn: m, fs: v.fs}
	if err := t.vacant(tenant); err != nil {
		return err
	}
	e := audit.Event{Event: "tenant.delete", Detail: fmt.Sprintf("tenant %d", tenant)}
	for _, log := range []tenancy.TenantID{tenancy.FirstTenant, tenant} {
		if err := t.recordFor(log, v, e); err != nil {
			return err
		}
	}
	whole := scope{tenant: tenant}
	bytes, inodes := whole.counters()
	return errors.Join(t.dropAllHolds(tenant), t.Delete(holdKey(tenant, "")), t.Delete(capKey(tenant)),
		t.Delete(whole.quotaKey()), t.Delete(bytes), t.Delete(inodes))
}

// vacant says what a tenant still has.
func (t *txn) vacant(tenant tenancy.TenantID) error {
	inUse := func(format string, args ...any) error {
		return fmt.Errorf("%w: the tenant %s", tenancy.ErrInUse, fmt.Sprintf(format, args...))
	}
	b, err := t.bucketOf(tenant)
	switch {
	case err != nil:
		return err
	case b != nil && t.fs.erased(tenant):
		return inUse("is erased, and its buckets are still being removed: try again")
	case b != nil:
		return inUse("has buckets, as %s: let it act again and remove them, or erase the tenant", b.name)
	}
	report := ShredReport{Tenant: tenant}
	if err := t.fs.countHolds(t, &report); err != nil {
		return err
	}
	if report.Holds > 0 {
		return inUse("has %d holds in force: let it act again and release them, or erase the tenant by two", report.Holds)
	}
	used, err := usageOf(t, scope{tenant: tenant})
	if err == nil && used != (Usage{}) {
		err = inUse("has %d files that are still open, or being removed: end its mounts, and try again", used.Inodes)
	}
	return err
}
