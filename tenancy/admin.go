package tenancy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k3fs/metastore"
)

// Admin is the administration of identity as one principal may do it, in its own tenant; of tenants, as an operator
// of the node. Each method asks for the permission that it names inside the transaction that it makes. What it changes
// counts when it returns, for requests and for mounts that are there.
//
// Errors, beside those of the store: ErrDenied, ErrInvalid, ErrExists, ErrInUse, and ErrNoAccount, ErrNoSuchKey,
// ErrNoPolicy, ErrNoTenant for what is not there; other tenants' access keys are not there.
type Admin struct {
	t   *Tenancy
	who Principal
}

// As returns the administration as p may do it.
func (t *Tenancy) As(p Principal) *Admin { return &Admin{t, p} }

// do makes a change for which a permission on an account (or "") is needed.
func (a *Admin) do(ctx context.Context, need Action, account string, fn func(c *change) error) error {
	return a.t.change(ctx, func(c *change) error {
		if err := a.may(c, need, account); err != nil {
			return err
		}
		return fn(c)
	})
}

// see reads what a permission is needed for.
func (a *Admin) see(ctx context.Context, need Action, account string, fn func(r metastore.Reader) error) error {
	if err := a.t.Allow(a.who, need, a.resource(account)); err != nil {
		return err
	}
	return a.t.kv.View(ctx, fn)
}

func (a *Admin) resource(account string) Resource {
	r := Resource{Owner: a.who.Tenant}
	if account != "" {
		r.ARN = a.who.Tenant.accountARN(account)
	}
	return r
}

// may asks for a permission, about an account if one is named. Only root deals with root accounts and, in the first
// tenant, with operators: an admin who could would run the node.
func (a *Admin) may(r metastore.Reader, need Action, account string) error {
	if err := a.t.Allow(a.who, need, a.resource(account)); err != nil || account == "" || a.who.Root {
		return err
	}
	one, err := getAccount(r, a.who.Tenant, account)
	if errors.Is(err, ErrNoAccount) {
		return nil
	}
	if err == nil && (one.Root || one.operates()) {
		err = fmt.Errorf("%w: only the root account deals with account %s", ErrDenied, account)
	}
	return err
}

// operates reports whether the account runs the node.
func (a *Account) operates() bool { return a.Tenant == FirstTenant && a.Role == RoleOperator }

// Accounts lists accounts by name, at most limit (0: 1000) of those after the one named after; next is the after of the
// next page, or "". It needs ListAccounts.
func (a *Admin) Accounts(ctx context.Context, after string, limit int) (all []Account, next string, err error) {
	err = a.see(ctx, ListAccounts, "", func(r metastore.Reader) (err error) {
		all = nil
		next, err = page(r, accountKey(a.who.Tenant, ""), after, limit, func(name string, raw []byte) error {
			one, err := decodeAccount(a.who.Tenant, name, raw)
			all = append(all, one)
			return err
		})
		return err
	})
	return all, next, err
}

// Account returns one account. It needs GetAccount.
func (a *Admin) Account(ctx context.Context, name string) (one Account, err error) {
	err = a.see(ctx, GetAccount, name, func(r metastore.Reader) (err error) {
		one, err = getAccount(r, a.who.Tenant, name)
		return err
	})
	return one, err
}

// CreateAccount makes an account. It needs CreateAccount, and AttachPolicy for policies.
func (a *Admin) CreateAccount(ctx context.Context, name string, n NewAccount) (made Account, err error) {
	err = a.do(ctx, CreateAccount, name, func(c *change) (err error) {
		if len(n.Policies) > 0 {
			if err := a.may(c, AttachPolicy, name); err != nil {
				return err
			}
		}
		if made, err = a.t.createAccount(c, a.who.Tenant, name, n); err != nil {
			return err
		}
		return a.may(c, CreateAccount, name) // an operator, perhaps
	})
	return made, err
}

// UpdateAccount changes an account. It needs UpdateAccount.
func (a *Admin) UpdateAccount(ctx context.Context, name string, ch AccountChange) (one Account, err error) {
	err = a.do(ctx, UpdateAccount, name, func(c *change) error {
		if one, err = getAccount(c, a.who.Tenant, name); err != nil {
			return err
		}
		if one, err = a.t.with(one, ch); err != nil {
			return err
		}
		if err := c.putAccount(one); err != nil {
			return err
		}
		return a.may(c, UpdateAccount, name)
	})
	return one, err
}

// DeleteAccount removes an account with its access keys; its sessions, shares and mounts end. It needs DeleteAccount.
func (a *Admin) DeleteAccount(ctx context.Context, name string) error {
	return a.do(ctx, DeleteAccount, name, func(c *change) error {
		one, err := getAccount(c, a.who.Tenant, name)
		if err != nil {
			return err
		}
		return c.deleteAccount(one)
	})
}

// EndSessions ends all temporary credentials that act as an account, or that it asked for. It needs EndSession.
func (a *Admin) EndSessions(ctx context.Context, account string) error {
	return a.do(ctx, EndSession, account, func(c *change) error {
		one, err := getAccount(c, a.who.Tenant, account)
		if err != nil {
			return err
		}
		one.sessions++
		return c.putAccount(one)
	})
}

// AccessKeys lists the access keys of an account, or of all where account is empty, by id. It needs ListAccessKeys.
func (a *Admin) AccessKeys(ctx context.Context, account string) (all []AccessKey, err error) {
	err = a.see(ctx, ListAccessKeys, account, func(r metastore.Reader) (err error) {
		if account != "" {
			if _, err := getAccount(r, a.who.Tenant, account); err != nil {
				return err
			}
		}
		all, err = keysOf(r, a.who.Tenant, account)
		for i := range all {
			all[i].Used, err = a.t.usedAt(r, all[i].ID, err)
		}
		return err
	})
	return all, err
}

// CreateAccessKey makes an access key for an account, which expires at a time unless that is zero. This is the only
// time that its secret is shown. It needs CreateAccessKey.
func (a *Admin) CreateAccessKey(ctx context.Context, account string, expires time.Time) (made Credentials, err error) {
	err = a.do(ctx, CreateAccessKey, account, func(c *change) error {
		made, err = a.t.createAccessKey(c, a.who.Tenant, account, expires.UTC().Truncate(time.Second))
		return err
	})
	return made, err
}

// doKey makes a change of an access key for which a permission on its account is needed.
func (a *Admin) doKey(ctx context.Context, need Action, accessKey string, fn func(c *change) error) error {
	return a.do(ctx, need, "", func(c *change) error {
		key, _, err := ownCredential(c, a.who.Tenant, accessKey)
		if err != nil {
			return err
		}
		if err := a.may(c, need, key.Account); err != nil {
			return err
		}
		return fn(c)
	})
}

// RotateAccessKey gives an access key another secret, which is shown this once. The one before counts on for overlap, a
// week at most. It needs UpdateAccessKey.
func (a *Admin) RotateAccessKey(ctx context.Context, accessKey string, overlap time.Duration) (made Credentials, err error) {
	err = a.doKey(ctx, UpdateAccessKey, accessKey, func(c *change) error {
		made, err = a.t.rotateAccessKey(c, a.who.Tenant, accessKey, overlap)
		return err
	})
	return made, err
}

// UpdateAccessKey changes an access key. It needs UpdateAccessKey.
func (a *Admin) UpdateAccessKey(ctx context.Context, accessKey string, ch KeyChange) (key AccessKey, err error) {
	err = a.doKey(ctx, UpdateAccessKey, accessKey, func(c *change) error {
		key, err = a.t.updateAccessKey(c, a.who.Tenant, accessKey, ch)
		return err
	})
	return key, err
}

// DeleteAccessKey removes an access key. It needs DeleteAccessKey.
func (a *Admin) DeleteAccessKey(ctx context.Context, accessKey string) error {
	return a.doKey(ctx, DeleteAccessKey, accessKey, func(c *change) error { return deleteAccessKey(c, a.who.Tenant, accessKey) })
}

// PutPolicy stores a named policy, or replaces it. It needs PutPolicy.
func (a *Admin) PutPolicy(ctx context.Context, name string, document []byte) (p Policy, err error) {
	err = a.do(ctx, PutPolicy, "", func(c *change) error {
		p, err = a.t.putPolicy(c, a.who.Tenant, name, document)
		return err
	})
	return p, err
}

// Policy returns a named policy. It needs GetPolicy.
func (a *Admin) Policy(ctx context.Context, name string) (p Policy, err error) {
	err = a.see(ctx, GetPolicy, "", func(r metastore.Reader) (err error) {
		p, err = getPolicy(r, a.who.Tenant, name)
		return err
	})
	return p, err
}

// Policies lists named policies by name, as Accounts does. It needs ListPolicies.
func (a *Admin) Policies(ctx context.Context, after string, limit int) (all []Policy, next string, err error) {
	err = a.see(ctx, ListPolicies, "", func(r metastore.Reader) (err error) {
		all = nil
		next, err = page(r, policyKey(a.who.Tenant, ""), after, limit, func(name string, raw []byte) error {
			one, err := decodePolicy(name, raw)
			all = append(all, one)
			return err
		})
		return err
	})
	return all, next, err
}

// DeletePolicy removes a policy that is attached to no account, or fails with ErrInUse. It needs DeletePolicy.
func (a *Admin) DeletePolicy(ctx context.Context, name string) error {
	return a.do(ctx, DeletePolicy, "", func(c *change) error { return c.deletePolicy(a.who.Tenant, name) })
}

// AttachPolicy attaches a policy to an account; DetachPolicy takes it away. Where that is so already, nothing changes.
// Both need AttachPolicy.
func (a *Admin) AttachPolicy(ctx context.Context, account, name string) error {
	return a.attach(ctx, account, func(c *change, one *Account) error { return one.attach(c, name) })
}

// DetachPolicy is described at AttachPolicy.
func (a *Admin) DetachPolicy(ctx context.Context, account, name string) error {
	return a.attach(ctx, account, func(_ *change, one *Account) error { return one.detach(name) })
}

func (a *Admin) attach(ctx context.Context, account string, fn func(c *change, one *Account) error) error {
	return a.do(ctx, AttachPolicy, account, func(c *change) error {
		one, err := getAccount(c, a.who.Tenant, account)
		if err == nil {
			err = fn(c, &one)
		}
		if err != nil {
			return err
		}
		return c.putAccount(one)
	})
}
