package tenancy

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"k3fs/metastore"
	"k3fs/tenancy/policy"
)

// ErrNoPolicy: the tenant has no policy of that name.
var ErrNoPolicy = errors.New("tenancy: no such policy")

// ErrInUse: a policy is attached to accounts, or a tenant still has buckets.
var ErrInUse = errors.New("tenancy: in use")

const maxNamedPolicies = 1000 // of a tenant

// Policy is a named policy of a tenant, which can be attached to its accounts.
type Policy struct {
	Name     string
	Document []byte // JSON, as it was given
	Updated  time.Time
}

func (t *Tenancy) putPolicy(c *change, id TenantID, name string, document []byte) (Policy, error) {
	if err := checkName("policy", name); err != nil {
		return Policy{}, err
	}
	if _, err := policy.ParseIdentity(document); err != nil {
		return Policy{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if known, err := has(c, policyKey(id, name)); err != nil {
		return Policy{}, err
	} else if !known {
		if n, err := count(c, policyKey(id, "")); err != nil || n >= maxNamedPolicies {
			return Policy{}, errors.Join(err, tooMany(n, maxNamedPolicies, "policies in a tenant"))
		}
	}
	p := Policy{Name: name, Document: slices.Clone(document), Updated: t.now().UTC().Truncate(time.Second)}
	c.policies[named{id, name}] = true
	return p, c.Set(policyKey(id, name), encodePolicy(p))
}

// deletePolicy removes a policy that no account has attached.
func (c *change) deletePolicy(id TenantID, name string) error {
	if _, err := getPolicy(c, id, name); err != nil {
		return err
	}
	err := scan(c, accountKey(id, ""), func(account, raw []byte) error {
		a, err := decodeAccount(id, string(account), raw)
		if err == nil && slices.Contains(a.Policies, name) {
			err = fmt.Errorf("%w: policy %s is attached to account %s: detach it first", ErrInUse, name, a.Name)
		}
		return err
	})
	if err != nil {
		return err
	}
	c.policies[named{id, name}] = true
	return c.Delete(policyKey(id, name))
}

func getPolicy(r metastore.Reader, id TenantID, name string) (Policy, error) {
	raw, err := r.Get(policyKey(id, name))
	if errors.Is(err, metastore.ErrNotFound) {
		return Policy{}, fmt.Errorf("%w: %s", ErrNoPolicy, name)
	}
	if err != nil {
		return Policy{}, err
	}
	return decodePolicy(name, raw)
}
