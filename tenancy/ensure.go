package tenancy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Given is an account with an access key as the administrator writes it down, for EnsureAccount.
type Given struct {
	Tenant    string // its name; made if there is none
	Account   string // default RootAccount
	AccessKey string
	Secret    string
	Email     string // of the tenant, by which ACLs may name it; may be empty
	Role      Role   // of the account; empty leaves it as it is, or makes it RoleReadWrite
	Policies  []string
}

// EnsureAccount makes the tenant, the account and the access key that g describes, durably, as far as they
// are missing; an access key of the same account gets the given secret. It never takes an access key from
// another account: that is ErrExists.
func (t *Tenancy) EnsureAccount(ctx context.Context, g Given) error {
	if g.Account == "" {
		g.Account = RootAccount
	}
	if err := errors.Join(checkName("tenant", g.Tenant), checkName("account", g.Account), checkAccessKey(g.AccessKey),
		checkSecret(g.Secret), checkEmail(g.Email)); err != nil {
		return err
	}
	id, err := t.ensureTenant(ctx, g)
	if err != nil {
		return fmt.Errorf("tenant %s: %w", g.Tenant, err)
	}
	if err := t.change(ctx, func(c *change) error { return t.ensureAccount(c, id, g) }); err != nil {
		return fmt.Errorf("account %s of tenant %s: %w", g.Account, g.Tenant, err)
	}
	if err = t.change(ctx, func(c *change) error { return t.ensureKey(c, id, g) }); err != nil {
		return fmt.Errorf("access key %s: %w", g.AccessKey, err)
	}
	return nil
}

// EnsurePolicy stores a named policy of a tenant, which is made if there is none of that name.
func (t *Tenancy) EnsurePolicy(ctx context.Context, tenant, name string, document []byte) error {
	if err := checkName("tenant", tenant); err != nil {
		return err
	}
	id, err := t.ensureTenant(ctx, Given{Tenant: tenant})
	if err != nil {
		return fmt.Errorf("tenant %s: %w", tenant, err)
	}
	return t.change(ctx, func(c *change) error {
		if known, err := getPolicy(c, id, name); err == nil && bytes.Equal(known.Document, document) {
			return nil
		}
		_, err := t.putPolicy(c, id, name, document)
		return err
	})
}

// ensureTenant finds or makes the tenant, with its address.
func (t *Tenancy) ensureTenant(ctx context.Context, g Given) (TenantID, error) {
	if _, err := t.CreateTenant(ctx, g.Tenant); err != nil && !errors.Is(err, ErrExists) {
		return 0, err
	}
	var one Tenant
	err := t.change(ctx, func(txn *change) error {
		raw, err := txn.Get(tenantNameKey(g.Tenant))
		if err != nil {
			return err
		}
		id, err := decodeID(raw)
		if err != nil {
			return err
		}
		if one, err = getTenant(txn, id); err != nil || g.Email == "" || one.Email == g.Email {
			return err
		}
		one.Email = g.Email
		return txn.Set(tenantKey(one.ID), encodeTenant(one))
	})
	return one.ID, err
}

// ensureAccount makes the account, or gives it the role and the policies.
func (t *Tenancy) ensureAccount(c *change, id TenantID, g Given) error {
	a, err := getAccount(c, id, g.Account)
	if errors.Is(err, ErrNoAccount) {
		_, err = t.createAccount(c, id, g.Account, NewAccount{Role: g.Role, Policies: g.Policies})
		return err
	}
	if err != nil || g.Role == "" && len(g.Policies) == 0 {
		return err
	}
	if g.Role != "" {
		if a, err = t.with(a, AccountChange{Role: &g.Role}); err != nil {
			return err
		}
	}
	for _, p := range g.Policies {
		if err := a.attach(c, p); err != nil {
			return err
		}
	}
	return c.putAccount(a)
}

func (t *Tenancy) ensureKey(txn *change, id TenantID, g Given) error {
	account, err := getAccount(txn, id, g.Account)
	if err != nil {
		return err
	}
	key, sealed, err := getCredential(txn, g.AccessKey)
	switch {
	case errors.Is(err, ErrNoSuchKey):
		key = AccessKey{ID: g.AccessKey, Tenant: id, Account: account.Name, Root: account.Root, Created: t.now()}
		return t.putCredential(txn, key, g.Secret)
	case err != nil:
		return err
	case key.Tenant != id || key.Account != account.Name:
		return fmt.Errorf("%w for another account", ErrExists)
	}
	if secret, err := t.openSecret(key, sealed.current); err != nil || secret == g.Secret {
		return err
	}
	key.PreviousUntil = time.Time{}
	return t.setSecret(txn, key, g.Secret)
}

// FindTenant returns the tenant that has the name or, with an '@' in it, the address. ErrNoTenant if there
// is none.
func (t *Tenancy) FindTenant(ctx context.Context, name string) (Tenant, error) {
	all, err := t.Tenants(ctx)
	for _, one := range all {
		if one.Name == name || strings.Contains(name, "@") && strings.EqualFold(one.Email, name) {
			return one, err
		}
	}
	if err == nil {
		err = fmt.Errorf("%w: %s", ErrNoTenant, name)
	}
	return Tenant{}, err
}

func checkEmail(s string) error {
	if s != "" && (len(s) > 254 || strings.Count(s, "@") != 1 || strings.ContainsAny(s, " \t\r\n<>&\"")) {
		return fmt.Errorf("%w: %q is no address", ErrInvalid, s)
	}
	return nil
}
