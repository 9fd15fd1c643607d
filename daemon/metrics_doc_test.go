package daemon

import (
	"os"
	"regexp"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// Every metric of k3fs is in the manual, and the manual and the dashboard name none that there is not.
func TestMetricsAreDocumented(t *testing.T) {
	d := &Daemon{health: &health{}}
	served := make(chan *prometheus.Desc, 1000)
	newMetrics(d).registry.Describe(served)
	close(served)
	have := map[string]bool{}
	for desc := range served {
		if name := regexp.MustCompile(`fqName: "(k3fs_[a-z_]+)"`).FindStringSubmatch(desc.String()); name != nil {
			have[name[1]] = true
		}
	}
	require.NotEmpty(t, have)
	manual, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(k3fs_[a-z_]+)`").FindAllSubmatch(manual, -1) {
		listed[string(m[1])] = true
	}
	require.Equal(t, have, listed, "docs/metrics.md lists every metric and no other")
	board, err := os.ReadFile("../docs/grafana.json")
	require.NoError(t, err)
	for _, name := range regexp.MustCompile(`k3fs_[a-z_]+`).FindAllString(string(board), -1) {
		require.True(t, have[regexp.MustCompile(`_bucket$`).ReplaceAllString(name, "")], "the dashboard shows %s, which there is not", name)
	}
}
