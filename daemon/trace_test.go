package daemon

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"k3fs/daemon/adminapi"
	"k3fs/fusefs"
	"k3fs/s3api"
)

// spanCollector is an OTLP/HTTP collector.
type spanCollector struct {
	mu    sync.Mutex
	spans []*tracev1.Span
	raw   []byte
}

func (c *spanCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unpacked
	}
	raw, err := io.ReadAll(body)
	var sent collector.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(raw, &sent) != nil {
		http.Error(w, "no traces", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, raw...)
	for _, of := range sent.ResourceSpans {
		for _, by := range of.ScopeSpans {
			c.spans = append(c.spans, by.Spans...)
		}
	}
}

func attributes(s *tracev1.Span) map[string]string {
	all := map[string]string{}
	for _, kv := range s.Attributes {
		all[kv.Key] = kv.Value.GetStringValue()
	}
	return all
}

// Requests of S3 and of the admin API become spans, with their ids, below the client's, and without what is secret.
func TestTraces(t *testing.T) {
	c := &spanCollector{}
	server := httptest.NewServer(c)
	defer server.Close()
	d := &Daemon{health: &health{}, log: slog.New(slog.DiscardHandler)}
	d.metrics = newMetrics(d)
	var err error
	d.tracer, err = openTracer(t.Context(), TraceConfig{server.URL + "/v1/traces"}, "test", d.log)
	require.NoError(t, err)
	began := time.Unix(1_700_000_000, 0)
	d.answered(s3api.Request{ID: "S3ID", Operation: "GetObject", Method: "GET", Status: 503, Code: "SlowDown", Tenant: 5, Bucket: "b", Key: "hush",
		URI: "/b/hush?a=hush", Began: began, Elapsed: time.Second, Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
	d.administered(adminapi.Call{ID: "ADMINID", Method: "Node.Scrub", Code: "permission_denied", Tenant: 6, Began: began, Traceparent: "nonsense"})
	require.NoError(t, d.tracer.provider.ForceFlush(t.Context()))
	require.NoError(t, d.tracer.close())

	c.mu.Lock()
	defer c.mu.Unlock()
	require.Len(t, c.spans, 2)
	s3, admin := c.spans[0], c.spans[1]
	require.Equal(t, "s3 GetObject", s3.Name)
	require.Subset(t, attributes(s3), map[string]string{"k3fs.request_id": "S3ID", "k3fs.tenant": "5", "aws.s3.bucket": "b"})
	require.Equal(t, "0af7651916cd43dd8448eb211c80319c", hex.EncodeToString(s3.TraceId))
	require.Equal(t, "b7ad6b7169203331", hex.EncodeToString(s3.ParentSpanId))
	require.Equal(t, uint64(time.Second), s3.EndTimeUnixNano-s3.StartTimeUnixNano)
	require.Equal(t, tracev1.Status_STATUS_CODE_ERROR, s3.Status.GetCode())
	require.Equal(t, "admin Node.Scrub", admin.Name)
	require.Equal(t, "ADMINID", attributes(admin)["k3fs.request_id"])
	require.Empty(t, admin.ParentSpanId)
	require.Equal(t, tracev1.Status_STATUS_CODE_UNSET, admin.Status.GetCode(), "what the client did wrong")
	require.False(t, bytes.Contains(c.raw, []byte("hush")))
}

// Of requests of a mount a sample becomes spans, however many there are.
func TestTracesOfMounts(t *testing.T) {
	c := &spanCollector{}
	server := httptest.NewServer(c)
	defer server.Close()
	d := &Daemon{health: &health{}, log: slog.New(slog.DiscardHandler)}
	d.metrics = newMetrics(d)
	var err error
	d.tracer, err = openTracer(t.Context(), TraceConfig{server.URL + "/v1/traces"}, "test", d.log)
	require.NoError(t, err)
	m := &fuseMetrics{metrics: d.metrics, trace: d.tracer, log: d.log, name: "MOUNT", tenant: 7}
	m.Request(fusefs.Request{Op: "write", ID: 42, Inode: 5, Bytes: 10, Took: time.Second, Failed: true, Broken: true})
	d.tracer.sample.SetLimit(0)
	for range 10 * posixAtOnce {
		m.Request(fusefs.Request{Op: "lookup", Took: time.Millisecond, Failed: true})
	}
	require.NoError(t, d.tracer.provider.ForceFlush(t.Context()))
	require.NoError(t, d.tracer.close())
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Len(t, c.spans, posixAtOnce)
	require.Equal(t, "posix write", c.spans[0].Name)
	require.Subset(t, attributes(c.spans[0]), map[string]string{"k3fs.request_id": "MOUNT-42", "k3fs.tenant": "7", "k3fs.mount": "MOUNT"})
	require.Equal(t, tracev1.Status_STATUS_CODE_ERROR, c.spans[0].Status.GetCode())
	require.Equal(t, tracev1.Status_STATUS_CODE_UNSET, c.spans[1].Status.GetCode(), "what the program did wrong")
}

// A daemon sends the spans of what it answered.
func TestDaemonSendsTraces(t *testing.T) {
	c := &spanCollector{}
	server := httptest.NewServer(c)
	defer server.Close()
	cfg := testConfig(t)
	cfg.Trace.Endpoint = server.URL + "/v1/traces"
	r := start(t, cfg)
	res, err := http.Get("http://" + cfg.S3.Listen + "/bucket/key")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	id := res.Header.Get("X-Amz-Request-Id")
	require.NotEmpty(t, id)
	require.Eventually(t, func() bool { // a batch goes every second
		c.mu.Lock()
		defer c.mu.Unlock()
		return bytes.Contains(c.raw, []byte(id))
	}, time.Minute, 10*time.Millisecond)
	r.stop()
	require.NoError(t, r.wait(t, 20*time.Second))
}

// That a collector is away is said once; nothing else comes of it.
func TestTracesWithoutCollector(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	var out bytes.Buffer
	tr, err := openTracer(t.Context(), TraceConfig{server.URL}, "test", slog.New(slog.NewJSONHandler(&out, nil)))
	require.NoError(t, err)
	for range 3 {
		tr.s3(&s3api.Request{Operation: "GetObject"})
		require.NoError(t, tr.provider.ForceFlush(t.Context()))
	}
	require.NoError(t, tr.close())
	require.Len(t, slowLines(t, &out), 1)
	off, err := openTracer(t.Context(), TraceConfig{}, "test", nil)
	require.NoError(t, err)
	require.Nil(t, off)
	require.Zero(t, testing.AllocsPerRun(10, func() { off.s3(&s3api.Request{}); off.posix(nil, nil) }))
	for _, wrong := range []string{"127.0.0.1:4318", "http://", "http://user:secret@host/", "ftp://host/"} {
		cfg := testConfig(t)
		cfg.Trace.Endpoint = wrong
		require.ErrorContains(t, cfg.Validate(), "trace.endpoint")
		require.NotContains(t, cfg.Validate().Error(), "secret")
	}
}
