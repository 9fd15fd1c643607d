package tenancy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Sessions are listed to who may, of its own tenant only, until they are over or were ended.
func TestListSessions(t *testing.T) {
	w := newWorld(t)
	ctx, mine := t.Context(), w.As(Root(FirstTenant))
	now := time.Now()
	w.now = func() time.Time { return now }
	for _, name := range []string{"worker", "reader"} {
		_, err := mine.CreateAccount(ctx, name, NewAccount{Role: RoleReadOnly})
		require.NoError(t, err)
	}
	other, _, err := mine.CreateTenant(ctx, "other", "")
	require.NoError(t, err)
	worker, err := w.Federated(ctx, "default", "worker")
	require.NoError(t, err)
	long, err := w.Assume(ctx, worker, NewSession{Name: "long", Duration: time.Hour})
	require.NoError(t, err)
	_, err = w.Assume(ctx, worker, NewSession{Name: "short", Duration: MinSession})
	require.NoError(t, err)
	names := func(a *Admin, account string) (all []string) {
		found, err := a.Sessions(ctx, account)
		require.NoError(t, err)
		for _, one := range found {
			require.Equal(t, "worker", one.Account)
			all = append(all, one.Name)
		}
		return all
	}
	require.Equal(t, []string{"short", "long"}, names(mine, ""))
	require.Equal(t, []string{"short", "long"}, names(mine, "worker"))
	require.Empty(t, names(mine, "reader"))
	require.Empty(t, names(w.As(Root(other.ID)), ""))
	_, err = mine.Sessions(ctx, "nobody")
	require.ErrorIs(t, err, ErrNoAccount)
	_, err = w.As(worker).Sessions(ctx, "")
	require.ErrorIs(t, err, ErrDenied)

	now = now.Add(MinSession)
	require.Equal(t, []string{"long"}, names(mine, ""))
	w.reopen(t) // what is used again is seen again
	w.now = func() time.Time { return now }
	mine = w.As(Root(FirstTenant))
	require.Empty(t, names(mine, ""))
	_, _, err = w.Authenticate(ctx, long.AccessKey, long.Token)
	require.NoError(t, err)
	require.Equal(t, []string{"long"}, names(mine, ""))
	require.NoError(t, mine.EndSessions(ctx, "worker"))
	require.Empty(t, names(mine, ""))
	_, _, err = w.Authenticate(ctx, long.AccessKey, long.Token)
	require.ErrorIs(t, err, ErrBadToken)
}

// A tenant that is removed leaves no limits to the next.
func TestDeletedTenantLeavesNoLimits(t *testing.T) {
	w := newWorld(t)
	ctx, root := t.Context(), Root(FirstTenant)
	made, _, err := w.As(root).CreateTenant(ctx, "gone", "")
	require.NoError(t, err)
	require.NoError(t, w.SetLimits(ctx, root, made.ID, Limits{Requests: 5}))
	_, err = w.As(root).UpdateTenant(ctx, "gone", TenantChange{Status: new(Suspended)})
	require.NoError(t, err)
	_, err = w.As(root).DeleteTenant(ctx, "gone", nothingThere)
	require.NoError(t, err)
	require.Zero(t, w.Limits(made.ID))
	w.reopen(t)
	require.Zero(t, w.Limits(made.ID))
}
