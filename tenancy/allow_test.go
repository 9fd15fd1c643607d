package tenancy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAllow(t *testing.T) {
	const mine, theirs TenantID = 1, 2
	root := Root(mine)
	rootKey := Principal{Tenant: mine, Account: RootAccount, AccessKey: "AK", Root: true}
	plain := Principal{Tenant: mine, Account: "ci", AccessKey: "AK2"}
	nobody := Principal{}
	for _, p := range []struct {
		name string
		who  Principal
	}{
		{"root of a mount", root}, {"root key", rootKey}, {"plain key", plain}, {"nobody", nobody},
		{"no tenant", Principal{Account: RootAccount, Root: true}},
		{"no account", Principal{Tenant: mine, Root: true}},
	} {
		real := p.who.Tenant != 0 && p.who.Account != ""
		for a, what := range actions {
			tenantWide := what.scope == ofTenant
			for _, owner := range []TenantID{0, mine, theirs} {
				want := real && (owner != theirs && (owner == mine || tenantWide) || what.scope == ofNode) && (p.who.Root || what.scope == ofBucket || what.scope != ofNode && RoleReadWrite.Has(a))
				err := Allow(p.who, a, Resource{Owner: owner, Bucket: "b", Key: "k"})
				if want {
					require.NoError(t, err, "%s %s owner %d", p.name, a, owner)
				} else {
					require.ErrorIs(t, err, ErrDenied, "%s %s owner %d", p.name, a, owner)
				}
			}
		}
		require.ErrorIs(t, Allow(p.who, "s3:FlyToTheMoon", Resource{Owner: mine}), ErrDenied)
		require.ErrorIs(t, Allow(p.who, "", Resource{Owner: mine}), ErrDenied)
	}
}

// What is of the node is for the tenant that operates it; what is of a tenant for that tenant alone.
func TestAllowAdministration(t *testing.T) {
	const other TenantID = 2
	plain := Principal{Tenant: FirstTenant, Account: "ci", AccessKey: "AK"}
	for _, a := range []Action{CreateTenant, ListTenants, GetTenant, UpdateTenant, DeleteTenant, PutTenantQuota, PutRetentionCap, GetNode, ConfirmClock, Maintain, RotateNodeKeys} {
		require.NoError(t, Allow(Root(FirstTenant), a, Resource{}), a)
		for _, who := range []Principal{Root(other), plain, {}, {Root: true}} {
			require.ErrorIs(t, Allow(who, a, Resource{}), ErrDenied, a)
		}
	}
	for _, a := range []Action{CreateAccount, DeleteAccount, CreateAccessKey, PutPolicy, PutQuota, RotateTenantKey, ListMounts} {
		require.NoError(t, Allow(Root(other), a, Resource{}), a)
		for _, who := range []Principal{plain, {}} {
			require.ErrorIs(t, Allow(who, a, Resource{}), ErrDenied, a)
		}
		require.ErrorIs(t, Allow(Root(other), a, Resource{Owner: FirstTenant}), ErrDenied, a)
	}
}
