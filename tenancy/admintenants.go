package tenancy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k3fs/metastore"
)

// Tenants lists tenants by number, at most limit (0: 1000) of those after a number; next is the after of the next page,
// or 0. It needs ListTenants.
func (a *Admin) Tenants(ctx context.Context, after TenantID, limit int) (all []Tenant, next TenantID, err error) {
	err = a.see(ctx, ListTenants, "", func(r metastore.Reader) error {
		all, next = nil, 0
		from := ""
		if after != 0 {
			from = string(tenantKey(after)[2:])
		}
		more, err := page(r, []byte{room, 't'}, from, limit, func(_ string, raw []byte) error {
			one, err := decodeTenant(raw)
			all = append(all, one)
			return err
		})
		if more != "" {
			next = all[len(all)-1].ID
		}
		return err
	})
	return all, next, err
}

// Tenant returns a tenant by its name. It needs GetTenant; of its own tenant every account knows.
func (a *Admin) Tenant(ctx context.Context, name string) (one Tenant, err error) {
	err = a.t.kv.View(ctx, func(r metastore.Reader) (err error) {
		if one, err = getTenantNamed(r, name); err == nil && one.ID == a.who.Tenant && a.who.known() {
			return nil
		}
		if denied := a.t.Allow(a.who, GetTenant, a.resource("")); denied != nil {
			return denied
		}
		return err
	})
	if err != nil {
		return Tenant{}, err
	}
	return one, nil
}

// CreateTenant makes a tenant with its first key and its root account, whose access key it returns; the secret is shown
// this once. It needs CreateTenant.
func (a *Admin) CreateTenant(ctx context.Context, name, email string) (made Tenant, root Credentials, err error) {
	err = a.do(ctx, CreateTenant, "", func(c *change) error {
		if made, err = a.t.createTenant(ctx, c, name, email); err != nil {
			return err
		}
		root, err = a.t.createAccessKey(c, made.ID, RootAccount, time.Time{})
		return err
	})
	return made, root, err
}

// UpdateTenant renames a tenant, suspends it or lets it act again. A suspended tenant is refused everywhere, mounts,
// sessions and shares included. It needs UpdateTenant.
func (a *Admin) UpdateTenant(ctx context.Context, name string, ch TenantChange) (one Tenant, err error) {
	err = a.do(ctx, UpdateTenant, "", func(c *change) error {
		if one, err = getTenantNamed(c, name); err != nil {
			return err
		}
		one, err = c.updateTenant(one.ID, ch)
		return err
	})
	return one, err
}

// ResetTenant makes another access key for a tenant's root account, for a tenant that has lost its own; the ones that
// it has stay. It needs UpdateTenant.
func (a *Admin) ResetTenant(ctx context.Context, name string) (root Credentials, err error) {
	err = a.do(ctx, UpdateTenant, "", func(c *change) error {
		one, err := getTenantNamed(c, name)
		if err != nil {
			return err
		}
		root, err = a.t.createAccessKey(c, one.ID, RootAccount, time.Time{})
		return err
	})
	return root, err
}

// DeleteTenant removes a suspended tenant with its accounts, access keys and policies, and returns its number, which is
// not given out again. vacate is called inside the transaction to remove what others keep of the tenant; it says with
// ErrInUse what is in the way (buckets, holds). It needs DeleteTenant.
func (a *Admin) DeleteTenant(ctx context.Context, name string, vacate func(t metastore.Txn, id TenantID) error) (id TenantID, err error) {
	err = a.do(ctx, DeleteTenant, "", func(c *change) error {
		one, err := getTenantNamed(c, name)
		if err != nil {
			return err
		}
		id = one.ID
		return c.deleteTenant(id, vacate)
	})
	return id, err
}

func getTenantNamed(r metastore.Reader, name string) (Tenant, error) {
	raw, err := r.Get(tenantNameKey(name))
	if errors.Is(err, metastore.ErrNotFound) {
		return Tenant{}, fmt.Errorf("%w: %s", ErrNoTenant, name)
	}
	if err != nil {
		return Tenant{}, err
	}
	id, err := decodeID(raw)
	if err != nil {
		return Tenant{}, err
	}
	return getTenant(r, id)
}
