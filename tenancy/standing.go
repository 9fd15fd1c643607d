package tenancy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k3fs/metastore"
	"k3fs/tenancy/policy"
)

// standing is what counts of a principal's account at this moment: what Allow decides by.
type standing struct {
	root     bool
	role     Role
	attached []*policy.Document
}

// member is an account as it is remembered for Allow. It is never changed, only replaced.
type member struct {
	id       uint64
	root     bool
	role     Role
	disabled bool
	expires  time.Time
	policies []string
	sessions uint64 // counts how often all its sessions were ended
}

// house is a tenant as it is remembered.
type house struct {
	status   Status
	members  map[string]*member
	policies map[string]*policy.Document // the named ones; nil for one that can't be read, which denies everything
	signing  map[signingName][keyBytes]byte
}

// load reads all tenants, accounts and named policies into memory, where Allow finds them without I/O.
func (t *Tenancy) load(ctx context.Context) error {
	var all []Tenant
	err := t.kv.View(ctx, func(r metastore.Reader) error {
		all = nil
		return scan(r, []byte{room, 't'}, func(_, raw []byte) error {
			one, err := decodeTenant(raw)
			all = append(all, one)
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, one := range all {
		c := t.newChange()
		c.tenants[one.ID], c.signing[one.ID] = true, true
		err := t.kv.View(ctx, func(r metastore.Reader) error {
			err := scan(r, accountKey(one.ID, ""), func(name, _ []byte) error {
				c.accounts[named{one.ID, string(name)}] = true
				return nil
			})
			return errors.Join(err, scan(r, policyKey(one.ID, ""), func(name, _ []byte) error {
				c.policies[named{one.ID, string(name)}] = true
				return nil
			}))
		})
		if err := errors.Join(err, t.recall(ctx, c)); err != nil {
			return err
		}
	}
	return nil
}

// named is an account or a policy of a tenant.
type named struct {
	tenant TenantID
	name   string
}

// change is a transaction that changes records of identity, and remembers which.
type change struct {
	metastore.Txn
	tenants  map[TenantID]bool
	accounts map[named]bool
	policies map[named]bool
	signing  map[TenantID]bool
}

func (t *Tenancy) newChange() *change {
	return &change{tenants: map[TenantID]bool{}, accounts: map[named]bool{}, policies: map[named]bool{}, signing: map[TenantID]bool{}}
}

// change makes a durable change of records of identity. On return it counts: for requests, and for mounts that are
// there. Changes come one after another, so that a permission that fn asks for is not taken away meanwhile.
func (t *Tenancy) change(ctx context.Context, fn func(c *change) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // what is remembered must be what came of it
	t.changing.Lock()
	defer t.changing.Unlock()
	c := t.newChange()
	err := t.kv.Update(ctx, metastore.Durable, func(txn metastore.Txn) error {
		c.Txn = txn
		return fn(c)
	})
	t.forget()
	return errors.Join(err, t.recall(ctx, c))
}

// recall brings into memory what the records say that c touched, whether it was committed or not. What can't be read
// is forgotten, and so denied. t.changing must be held once the store is open.
func (t *Tenancy) recall(ctx context.Context, c *change) error {
	tenants, members, policies := map[TenantID]Tenant{}, map[named]*member{}, map[named]*policy.Document{}
	signing := map[TenantID]map[signingName][keyBytes]byte{}
	err := t.kv.View(ctx, func(r metastore.Reader) error {
		for id := range c.tenants {
			one, err := getTenant(r, id)
			if err == nil {
				tenants[id] = one
			} else if !errors.Is(err, ErrNoTenant) {
				return err
			}
		}
		for name := range c.accounts {
			a, err := getAccount(r, name.tenant, name.name)
			if err == nil {
				members[name] = a.member()
			} else if !errors.Is(err, ErrNoAccount) {
				return err
			}
		}
		for name := range c.policies {
			p, err := getPolicy(r, name.tenant, name.name)
			if err == nil {
				policies[name], _ = policy.ParseIdentity(p.Document) // nil denies
			} else if !errors.Is(err, ErrNoPolicy) {
				return err
			}
		}
		for id := range c.signing {
			var err error
			if signing[id], err = t.readSigning(r, id); err != nil {
				return err
			}
		}
		return nil
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rules++
	for id := range c.tenants {
		one, ok := tenants[id]
		switch h := t.houses[id]; {
		case !ok:
			delete(t.houses, id)
			t.limits.Delete(id)
		case h == nil:
			t.houses[id] = &house{status: one.Status, members: map[string]*member{}, policies: map[string]*policy.Document{}}
		default:
			h.status = one.Status
		}
	}
	for id := range c.signing {
		if h := t.houses[id]; h != nil {
			h.signing = signing[id]
		}
	}
	for name := range c.accounts {
		if h := t.houses[name.tenant]; h != nil {
			if m, ok := members[name]; ok {
				h.members[name.name] = m
			} else {
				delete(h.members, name.name)
			}
		}
	}
	for name := range c.policies {
		if h := t.houses[name.tenant]; h != nil {
			if p, ok := policies[name]; ok {
				h.policies[name.name] = p
			} else {
				delete(h.policies, name.name)
			}
		}
	}
	return err
}

// standingOf is what counts of p's account now. Errors are ErrDenied.
func (t *Tenancy) standingOf(p Principal) (*standing, error) {
	now := t.now()
	t.mu.RLock()
	defer t.mu.RUnlock()
	h, m, err := t.memberOf(p, now)
	if err != nil {
		return nil, err
	}
	s := &standing{root: m.root, role: m.role}
	for _, name := range m.policies {
		s.attached = append(s.attached, h.policies[name])
	}
	return s, nil
}

// Standing reports whether p's account may do anything at all now, and counts the changes of accounts, their policies
// and their tenants: what Allow has answered holds as long as the count stays. It is cheap enough for each read and
// write of a file that is open. Errors are ErrDenied.
func (t *Tenancy) Standing(p Principal) (rules uint64, err error) {
	now := t.now()
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, _, err = t.memberOf(p, now)
	return t.rules, err
}

// memberOf is p's account, which is enabled. t.mu must be held.
func (t *Tenancy) memberOf(p Principal, now time.Time) (*house, *member, error) {
	h := t.houses[p.Tenant]
	switch {
	case h == nil:
		return nil, nil, fmt.Errorf("%w: there is no tenant %d", ErrDenied, p.Tenant)
	case h.status != Active:
		return nil, nil, fmt.Errorf("%w: %w", ErrDenied, ErrSuspended)
	}
	m := h.members[p.Account]
	switch {
	case m == nil || p.serial != 0 && m.id != p.serial || m.root != p.Root:
		return nil, nil, fmt.Errorf("%w: there is no account %s any more", ErrDenied, p.Account)
	case !m.acts(now):
		return nil, nil, fmt.Errorf("%w: account %s is disabled or expired", ErrDenied, p.Account)
	}
	return h, m, nil
}

// acts reports whether the account is enabled and has not expired.
func (m *member) acts(now time.Time) bool {
	return !m.disabled && (m.expires.IsZero() || now.Before(m.expires))
}
