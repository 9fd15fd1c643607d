package tenancy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k3fs/metastore"
)

// CreateTenant makes a tenant with its root account (which has no access key yet) and its first key.
// It is durable on return. ErrExists if the name is taken, ErrInvalid if it is no name.
func (t *Tenancy) CreateTenant(ctx context.Context, name string) (Tenant, error) {
	var made Tenant
	err := t.change(ctx, func(c *change) (err error) {
		made, err = t.createTenant(ctx, c, name, "")
		return err
	})
	return made, err
}

func (t *Tenancy) createTenant(ctx context.Context, c *change, name, email string) (Tenant, error) {
	if err := errors.Join(checkName("tenant", name), checkEmail(email)); err != nil {
		return Tenant{}, err
	}
	if taken, err := has(c, tenantNameKey(name)); err != nil || taken {
		return Tenant{}, orExists(err, "tenant "+name)
	}
	last, err := lastTenant(c)
	if err != nil {
		return Tenant{}, err
	}
	made := Tenant{ID: last + 1, Name: name, Status: Active, Epoch: 1, Created: t.now(), Email: email}
	key, err := t.newTenantKey(ctx, keyOf{made.ID, made.Epoch})
	if err != nil {
		return Tenant{}, err
	}
	root := Account{Tenant: made.ID, Name: RootAccount, Root: true, Created: made.Created}
	return made, errors.Join(
		c.Set(sequenceKey(), encodeID(made.ID)),
		c.putTenant(made),
		c.Set(tenantNameKey(made.Name), encodeID(made.ID)),
		c.Set(wrappedKey(made.ID, made.Epoch), key),
		c.putAccount(root),
	)
}

func (c *change) putTenant(one Tenant) error {
	c.tenants[one.ID] = true
	return c.Set(tenantKey(one.ID), encodeTenant(one))
}

// SetStatus suspends a tenant or lets it act again, durably. A suspended tenant is refused everywhere at once: its
// access keys, its sessions and its mounts.
func (t *Tenancy) SetStatus(ctx context.Context, id TenantID, s Status) error {
	return t.change(ctx, func(c *change) error {
		_, err := c.updateTenant(id, TenantChange{Status: &s})
		return err
	})
}

// TenantChange says what is to change of a tenant; nil leaves a thing as it is.
type TenantChange struct {
	Name   *string
	Status *Status
	Email  *string
}

func (c *change) updateTenant(id TenantID, ch TenantChange) (Tenant, error) {
	one, err := getTenant(c, id)
	if err != nil {
		return one, err
	}
	if ch.Status != nil {
		if *ch.Status > Suspended {
			return one, fmt.Errorf("%w: tenant status %d", ErrInvalid, *ch.Status)
		}
		if id == FirstTenant && *ch.Status == Suspended {
			return one, fmt.Errorf("%w: the first tenant operates the node and can't be suspended", ErrInvalid)
		}
		one.Status = *ch.Status
	}
	if ch.Email != nil {
		one.Email = *ch.Email
		if err := checkEmail(one.Email); err != nil {
			return one, err
		}
	}
	if ch.Name != nil && *ch.Name != one.Name {
		if err := c.renameTenant(&one, *ch.Name); err != nil {
			return one, err
		}
	}
	return one, c.putTenant(one)
}

func (c *change) renameTenant(one *Tenant, name string) error {
	if err := checkName("tenant", name); err != nil {
		return err
	}
	if taken, err := has(c, tenantNameKey(name)); err != nil || taken {
		return orExists(err, "tenant "+name)
	}
	err := errors.Join(c.Delete(tenantNameKey(one.Name)), c.Set(tenantNameKey(name), encodeID(one.ID)))
	one.Name = name
	return err
}

// deleteTenant removes a suspended tenant with its accounts, access keys and policies, if vacate removes the rest of it.
// Its number is not given out again; its keys stay, since records that outlive it (its audit log) are sealed by them.
func (c *change) deleteTenant(id TenantID, vacate func(t metastore.Txn, id TenantID) error) error {
	one, err := getTenant(c, id)
	switch {
	case err != nil:
		return err
	case id == FirstTenant:
		return fmt.Errorf("%w: the first tenant operates the node", ErrInvalid)
	case one.Status != Suspended:
		return fmt.Errorf("%w: tenant %s acts: suspend it first", ErrInUse, one.Name)
	}
	if err := vacate(c, id); err != nil {
		return err
	}
	accounts, err := namesOf(c, accountKey(id, ""))
	for _, name := range accounts {
		err = errors.Join(err, c.dropAccount(Account{Tenant: id, Name: name}))
	}
	policies, failed := namesOf(c, policyKey(id, ""))
	for _, name := range policies {
		c.policies[named{id, name}] = true
	}
	err = errors.Join(err, failed)
	for _, table := range [][]byte{policyKey(id, ""), numbered('y', id, 0), shareKey(id, ""), kmsKey(id, "")} {
		names, failed := namesOf(c, table)
		err = errors.Join(err, failed)
		for _, name := range names {
			err = errors.Join(err, c.Delete(slices.Concat(table, []byte(name))))
		}
	}
	c.tenants[id], c.signing[id] = true, true
	return errors.Join(err, c.Delete(limitsKey(id)), c.Delete(tenantKey(id)), c.Delete(tenantNameKey(one.Name)))
}

func namesOf(r metastore.Reader, prefix []byte) (names []string, err error) {
	return names, scan(r, prefix, func(name, _ []byte) error {
		names = append(names, string(name))
		return nil
	})
}
