package s3api

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/namespace"
	"k3fs/tenancy"
)

// A tenant over its limits is told to slow down, and others are not.
func TestLimits(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, 200, w.call(&w.them, "PUT", "/theirs", "", nil, nil).StatusCode)
	require.NoError(t, w.ten.SetLimits(t.Context(), tenancy.Root(tenancy.FirstTenant), w.theirs, tenancy.Limits{Requests: 1}))
	var refused *http.Response
	require.Eventually(t, func() bool { // one each second passes, however slow this runs
		refused = w.call(&w.them, "PUT", "/theirs/a", "x", nil, nil)
		return refused.StatusCode == 503
	}, time.Minute, time.Microsecond)
	body, err := io.ReadAll(refused.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), "<Code>SlowDown</Code>")
	require.Equal(t, "1", refused.Header.Get("Retry-After"))
	for range 5 {
		require.Equal(t, 404, w.call(&w.mine, "GET", "/none", "", nil, nil).StatusCode)
	}
	require.Error(t, w.ten.SetLimits(t.Context(), tenancy.Root(w.theirs), w.theirs, tenancy.Limits{}))
	require.NoError(t, w.ten.SetLimits(t.Context(), tenancy.Root(tenancy.FirstTenant), w.theirs, tenancy.Limits{}))
	for range 5 {
		require.Equal(t, 200, w.call(&w.them, "PUT", "/theirs/a", "x", nil, nil).StatusCode)
	}
}

// A quota refuses with a code of its own, before the body is read if its length is announced.
func TestQuotaExceeded(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, 200, w.call(&w.mine, "PUT", "/mine", "", nil, nil).StatusCode)
	v := w.fs.As(tenancy.Root(tenancy.FirstTenant))
	require.NoError(t, v.SetQuota(t.Context(), namespace.QuotaScope{Bucket: "mine"}, namespace.QuotaLimits{Bytes: 100}))
	require.Equal(t, 200, w.call(&w.mine, "PUT", "/mine/a", strings.Repeat("x", 60), nil, nil).StatusCode)
	res := w.call(&w.mine, "PUT", "/mine/b", strings.Repeat("x", 60), nil, nil)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, 403, res.StatusCode)
	require.Contains(t, string(body), "<Code>QuotaExceeded</Code>")
	require.Equal(t, 204, w.call(&w.mine, "DELETE", "/mine/a", "", nil, nil).StatusCode)
	require.Equal(t, 200, w.call(&w.mine, "PUT", "/mine/b", strings.Repeat("x", 60), nil, nil).StatusCode)
}
