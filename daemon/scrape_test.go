package daemon

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/daemon/control"
)

// A running daemon shows what its doors and its stores count.
func TestScrape(t *testing.T) {
	cfg := testConfig(t)
	r := start(t, cfg)
	res, err := http.Get("http://" + cfg.S3.Listen + "/bucket/key")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(cfg.Data, control.AdminSocketName))
	}}
	page := ""
	require.Eventually(t, func() bool { // requests are counted once they are answered
		res, err := (&http.Client{Transport: transport}).Get("http://admin/metrics")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode, string(text))
		page = string(text)
		return strings.Contains(page, `k3fs_requests_total{code="403",door="s3"`)
	}, 20*time.Second, 10*time.Millisecond)
	for _, want := range []string{"k3fs_meta_tables ", "k3fs_meta_table_bytes ", `k3fs_cache_lookups_total{cache="meta_block",result="hit"} `,
		`k3fs_cache_lookups_total{cache="chunk_tags",result="miss"} `, `k3fs_request_seconds_bucket{door="s3",operation=`} {
		require.Contains(t, page, "\n"+want)
	}
	r.stop()
	require.NoError(t, r.wait(t, 20*time.Second))
}
