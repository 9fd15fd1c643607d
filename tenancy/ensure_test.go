package tenancy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEnsureAccount(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	g := Given{Tenant: "acme", Account: "worker", AccessKey: "AKIAWORKER", Secret: "secret-one", Email: "worker@acme.example"}
	for _, secret := range []string{"secret-one", "secret-one", "secret-two"} {
		g.Secret = secret
		require.NoError(t, w.EnsureAccount(ctx, g))
		got, who, err := w.Authenticate(ctx, g.AccessKey, "")
		require.NoError(t, err)
		require.Equal(t, []string{secret}, got)
		require.Equal(t, "worker", who.Account)
		require.False(t, who.Root)
	}
	all, err := w.Tenants(ctx)
	require.NoError(t, err)
	require.Len(t, all, 2, "made once")
	require.Equal(t, g.Email, all[1].Email)
	found, err := w.FindTenant(ctx, "WORKER@acme.example")
	require.NoError(t, err)
	require.Equal(t, "acme", found.Name)

	require.NoError(t, w.EnsureAccount(ctx, Given{Tenant: "acme", AccessKey: "AKIAROOT", Secret: "secret-root"}))
	_, who, err := w.Authenticate(ctx, "AKIAROOT", "")
	require.NoError(t, err)
	require.True(t, who.Root)
	require.Equal(t, found.ID, who.Tenant)

	taken := g
	taken.Tenant = "thief"
	require.ErrorIs(t, w.EnsureAccount(ctx, taken), ErrExists)
	for _, bad := range []Given{{Tenant: "a b", AccessKey: "AKIA", Secret: "secret-secret"}, {Tenant: "a", AccessKey: "A/K", Secret: "secret-secret"},
		{Tenant: "a", AccessKey: "AKIA", Secret: "short"}, {Tenant: "a", AccessKey: "AKIA", Secret: "secret-secret", Email: "nobody"}} {
		require.ErrorIs(t, w.EnsureAccount(ctx, bad), ErrInvalid)
	}
	w.reopen(t)
	_, _, err = w.Authenticate(ctx, "AKIAROOT", "")
	require.NoError(t, err)
}
