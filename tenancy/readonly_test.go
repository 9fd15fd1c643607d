package tenancy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// In read-only mode nobody changes a bucket or what is in it, root neither; what reads, and what runs node and tenants,
// goes on. It outlives the store's being opened anew.
func TestReadOnly(t *testing.T) {
	w := newWorld(t)
	ten := w.Tenancy
	root := Root(FirstTenant)
	require.ErrorIs(t, ten.SetReadOnly(t.Context(), Principal{}, true), ErrDenied)
	require.False(t, ten.ReadOnly())
	rules, err := ten.Standing(root)
	require.NoError(t, err)
	require.NoError(t, ten.SetReadOnly(t.Context(), root, true))
	now, err := ten.Standing(root)
	require.NoError(t, err)
	require.Greater(t, now, rules, "what is open asks again")
	w.reopen(t)
	for _, ten := range []*Tenancy{ten, w.Tenancy} {
		for a, what := range actions {
			err := ten.Allow(root, a, Resource{Owner: FirstTenant, Bucket: "b", Key: "k"})
			_, name, _ := strings.Cut(string(a), ":")
			reads := strings.HasPrefix(name, "Get") || strings.HasPrefix(name, "List")
			if (what.scope == ofBucket || a == CreateBucket) && !reads {
				require.ErrorIs(t, err, ErrReadOnly, a)
			} else {
				require.NoError(t, err, a)
			}
			require.ErrorIs(t, ten.Allow(Principal{}, a, Resource{Owner: FirstTenant, Bucket: "b"}), ErrDenied, a)
		}
	}
	require.NoError(t, w.SetReadOnly(t.Context(), root, false))
	require.NoError(t, w.Allow(root, PutObject, Resource{Owner: FirstTenant, Bucket: "b"}))
	w.reopen(t)
	require.False(t, w.ReadOnly())
}
