package tenancy

import (
	"fmt"
	"math"
)

// ActAs is who a user of by's mount acts as who is mapped to an account: of by's tenant, one for which by has MountAs, or
// by itself. As with sessions, nobody acts as root so, and only root as an operator of the node. Errors are ErrDenied, also if
// there is no such account, and hold as long as the count of Standing stays.
func (t *Tenancy) ActAs(by Principal, account string) (Principal, error) {
	if _, err := t.standingOf(by); err != nil {
		return Principal{}, err
	}
	if account == by.Account {
		return by, nil
	}
	if err := t.Allow(by, MountAs, Resource{Owner: by.Tenant, ARN: by.Tenant.accountARN(account)}); err != nil {
		return Principal{}, err
	}
	as, err := t.remembered(by.Tenant, account)
	if err != nil || as.Root || as.operates() && !by.Root {
		return Principal{}, fmt.Errorf("%w: %s of %s", ErrDenied, MountAs, account)
	}
	return Principal{Tenant: as.Tenant, Account: as.Name, serial: as.id}, nil
}

// Stranger is who may do nothing in a tenant, not even what everybody may.
func Stranger(t TenantID) Principal {
	return Principal{Tenant: t, Account: "-", serial: math.MaxUint64}
}
