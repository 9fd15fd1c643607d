package daemon

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"k3fs/daemon/adminapi"
	"k3fs/fusefs"
	"k3fs/s3api"
)

// slowLines are the lines that a log holds.
func slowLines(t *testing.T, out *bytes.Buffer) (lines []map[string]any) {
	for text := range strings.Lines(out.String()) {
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &line))
		require.Equal(t, "WARN", line["level"])
		lines = append(lines, line)
	}
	return lines
}

// A slow request is told of once, at each door, with its id and without its query; others are not.
func TestSlowRequestsAreToldOf(t *testing.T) {
	var out bytes.Buffer
	d := &Daemon{health: &health{}, log: slog.New(slog.NewJSONHandler(&out, nil))}
	d.metrics, d.slow = newMetrics(d), newSlowLog(time.Second, d.log)
	m := &fuseMetrics{metrics: d.metrics, slow: d.slow, log: d.log, name: "MOUNT", tenant: 7}
	for _, took := range []time.Duration{time.Second - 1, time.Second} {
		d.answered(s3api.Request{ID: "S3ID", Operation: "GetObject", Tenant: 5, Bucket: "b", Key: strings.Repeat("k", 5000), URI: "/b/k?token=hush",
			Out: 9, Elapsed: took})
		d.administered(adminapi.Call{ID: "ADMINID", Method: "Node.Scrub", Code: "ok", Tenant: 6, Elapsed: took})
		m.Request(fusefs.Request{Op: "write", ID: 12, Inode: 34, Bytes: 56, Took: took})
		m.Request(fusefs.Request{Op: "setlkw", ID: 13, Inode: 34, Took: took})
	}
	lines := slowLines(t, &out)
	require.Len(t, lines, 3)
	for i, want := range []map[string]any{
		{"door": "s3", "operation": "GetObject", "request": "S3ID", "tenant": 5.0, "bucket": "b", "bytes_out": 9.0, "took": "1s"},
		{"door": "admin", "operation": "Node.Scrub", "request": "ADMINID", "tenant": 6.0, "code": "ok"},
		{"door": "posix", "operation": "write", "request": "MOUNT-12", "tenant": 7.0, "inode": 34.0, "bytes": 56.0},
	} {
		require.Subset(t, lines[i], want)
	}
	require.Len(t, lines[0]["key"], maxSlowKey)
	require.NotContains(t, out.String(), "hush")
}

// However many are slow, the log tells of a few, and how many it left out.
func TestSlowLogDoesNotFlood(t *testing.T) {
	var out bytes.Buffer
	s := newSlowLog(time.Millisecond, slog.New(slog.NewJSONHandler(&out, nil)))
	s.pace = rate.NewLimiter(0, slowAtOnce)
	for range 1000 {
		s.s3(&s3api.Request{Elapsed: time.Hour})
	}
	require.Len(t, slowLines(t, &out), slowAtOnce)
	s.pace = rate.NewLimiter(0, 1)
	s.s3(&s3api.Request{Elapsed: time.Hour})
	lines := slowLines(t, &out)
	require.Equal(t, 1000.0-slowAtOnce, lines[slowAtOnce]["left_out"])
	require.Nil(t, newSlowLog(0, nil))
}

// A request of a mount that is not slow costs no allocation.
func TestMeteringAllocatesNothing(t *testing.T) {
	d := &Daemon{health: &health{}, log: slog.New(slog.NewJSONHandler(&bytes.Buffer{}, nil))}
	for _, least := range []time.Duration{0, time.Second} {
		var m fusefs.Metrics = &fuseMetrics{metrics: newMetrics(d), slow: newSlowLog(least, d.log), log: d.log, name: "MOUNT"}
		require.Zero(t, testing.AllocsPerRun(100, func() {
			m.Request(fusefs.Request{Op: "getattr", ID: 12, Inode: 34, Took: time.Microsecond})
		}))
	}
}
