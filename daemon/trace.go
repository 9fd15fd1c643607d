package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"golang.org/x/time/rate"

	"k3fs/daemon/adminapi"
	"k3fs/fusefs"
	"k3fs/s3api"
	"k3fs/tenancy"
)

// TraceConfig says where OpenTelemetry traces go.
type TraceConfig struct {
	Endpoint string `koanf:"endpoint"` // URL of an OTLP/HTTP collector's traces; empty means no traces
}

func (c *TraceConfig) validate(bad func(key, format string, args ...any)) {
	if c.Endpoint == "" {
		return
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		bad("trace.endpoint", "it is no URL of a collector (such as http://127.0.0.1:4318/v1/traces)")
	}
}

// collected is how long sending a batch of spans may take. Spans that can't be sent are lost; nothing waits for them.
const (
	collected     = 10 * time.Second
	collectedLast = time.Second / 2 // at the end of the daemon
)

// tracer makes a span of each request of the S3 door and the admin API, and of a sample of those of mounts. nil makes none.
type tracer struct {
	provider *sdktrace.TracerProvider
	spans    trace.Tracer
	sample   *rate.Limiter // of requests of mounts
}

// openTracer starts sending spans; nil without a collector.
func openTracer(ctx context.Context, c TraceConfig, version string, log *slog.Logger) (*tracer, error) {
	if c.Endpoint == "" {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(c.Endpoint), otlptracehttp.WithTimeout(collected),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("trace.endpoint: %w", err)}
	}
	about := resource.NewSchemaless(attribute.String("service.name", "k3fs"), attribute.String("service.version", version))
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(about),
		sdktrace.WithBatcher(&warnedExporter{SpanExporter: exporter, log: log}, sdktrace.WithExportTimeout(collected), sdktrace.WithBatchTimeout(time.Second)))
	return &tracer{provider: provider, spans: provider.Tracer("k3fs"), sample: rate.NewLimiter(rate.Every(posixEvery), posixAtOnce)}, nil
}

// warnedExporter says that spans can't be sent, when that begins and when it ends. One goroutine uses it at a time.
type warnedExporter struct {
	sdktrace.SpanExporter
	log *slog.Logger
	bad bool
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *warnedExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && !e.bad:
		e.log.Warn("traces can't be sent, and are dropped until they can", "err", err)
	case err == nil && e.bad:
		e.log.Info("traces are sent again")
	}
	e.bad = err != nil
	return nil // it is said
}

// close sends what is left, for collectedLast at most.
func (t *tracer) close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), collectedLast)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("traces: %w", err)
	}
	return nil
}

// span makes the span of a request that was answered, below that of the client which parent (a traceparent header of
// W3C Trace Context) names, if it is one.
func (t *tracer) span(door, operation, request, parent string, tenant tenancy.TenantID, began time.Time, took time.Duration, failed string, more ...attribute.KeyValue) {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": parent})
	_, span := t.spans.Start(ctx, door+" "+operation, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(began),
		trace.WithAttributes(attribute.String("k3fs.door", door), attribute.String("k3fs.request_id", request),
			attribute.String("k3fs.tenant", strconv.FormatUint(uint64(tenant), 10))),
		trace.WithAttributes(more...))
	if failed != "" {
		span.SetStatus(codes.Error, failed)
	}
	span.End(trace.WithTimestamp(began.Add(took)))
}

func (t *tracer) s3(r *s3api.Request) {
	if t == nil {
		return
	}
	failed := ""
	if r.Status >= 500 { // the semantic conventions: what the client did wrong is no error of a server's span
		failed = r.Code
	}
	t.span("s3", r.Operation, r.ID, r.Traceparent, r.Tenant, r.Began, r.Elapsed, failed,
		attribute.String("http.request.method", r.Method), attribute.Int("http.response.status_code", r.Status),
		attribute.String("aws.s3.bucket", r.Bucket),
		attribute.Int64("http.request.body.size", r.In), attribute.Int64("http.response.body.size", r.Out))
}

// How many requests of mounts get a span: what a job does with files are thousands of requests a second.
const (
	posixAtOnce = 50
	posixEvery  = 100 * time.Millisecond
)

// posix makes the span of a request of a mount, of as many as the sample has room for.
func (t *tracer) posix(m *fuseMetrics, r *fusefs.Request) {
	if t == nil || !t.sample.Allow() {
		return
	}
	failed := ""
	if r.Broken {
		failed = "EIO"
	}
	t.span("posix", r.Op, m.requestID(r.ID), "", m.tenant, time.Now().Add(-r.Took), r.Took, failed, attribute.Int64("k3fs.inode", int64(r.Inode)),
		attribute.Int("k3fs.bytes", r.Bytes), attribute.Bool("k3fs.refused", r.Failed), attribute.String("k3fs.mount", m.name))
}

func (t *tracer) admin(c *adminapi.Call) {
	if t == nil {
		return
	}
	failed := ""
	switch c.Code {
	case "internal", "unknown", "unavailable", "data_loss", "deadline_exceeded", "unimplemented":
		failed = c.Code
	}
	t.span("admin", c.Method, c.ID, c.Traceparent, c.Tenant, c.Began, c.Elapsed, failed, attribute.String("rpc.method", c.Method),
		attribute.String("rpc.response.status_code", c.Code))
}
