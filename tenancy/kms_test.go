package tenancy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKMSKeysAreTheTenantsOwn(t *testing.T) {
	w := newWorld(t)
	other, err := w.CreateTenant(t.Context(), "other")
	require.NoError(t, err)
	require.NoError(t, w.EnsureKMSKey(t.Context(), FirstTenant, "backup"))
	w.reopen(t)
	for id, mine := range map[string]bool{"backup": true, FirstTenant.KMSKeyID(): true, other.ID.KMSKeyID(): false, "": false,
		"back": false, "backup/": false, strings.Repeat("k", 100): false} {
		require.Equal(t, mine, w.KMSKey(t.Context(), FirstTenant, id), id)
	}
	require.False(t, w.KMSKey(t.Context(), other.ID, "backup"))
	require.True(t, w.KMSKey(t.Context(), other.ID, other.ID.KMSKeyID()))
	require.ErrorIs(t, w.EnsureKMSKey(t.Context(), FirstTenant, "a/b"), ErrInvalid)
	require.ErrorIs(t, w.EnsureKMSKey(t.Context(), 99, "a"), ErrNoTenant)
}
