package tenancy

import (
	"context"
	"fmt"

	"k3fs/metastore"
)

// Federated is the principal of an account by the names of its tenant and itself, for who proved to an identity provider
// that he is that account. It is never a root account. ErrNoTenant, ErrNoAccount, or ErrDenied if it may not act.
func (t *Tenancy) Federated(ctx context.Context, tenant, account string) (Principal, error) {
	var one Tenant
	err := t.kv.View(ctx, func(r metastore.Reader) (err error) {
		one, err = getTenantNamed(r, tenant)
		return err
	})
	if err != nil {
		return Principal{}, err
	}
	a, err := t.remembered(one.ID, account)
	if err != nil {
		return Principal{}, err
	}
	if a.Root {
		return Principal{}, fmt.Errorf("%w: identity providers don't speak for root accounts", ErrDenied)
	}
	who := a.principal()
	if _, err := t.standingOf(who); err != nil {
		return Principal{}, err
	}
	return who, nil
}
