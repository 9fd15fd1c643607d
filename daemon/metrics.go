package daemon

import (
	"context"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"k3fs/fusefs"
	"k3fs/metastore/badgerkv"
	"k3fs/s3api"
	"k3fs/tenancy"
)

// latencies are the buckets of request durations, in seconds: from what memory answers to what a large
// upload takes.
var latencies = []float64{.0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// metrics is what /metrics shows. Names of objects or tenants are never labels.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec   // door, operation, code
	seconds  *prometheus.HistogramVec // door, operation
	bytes    *prometheus.CounterVec   // door, direction

	// series are those found so far, since finding them by label is dear. A map here is never changed: a larger
	// one takes its place, by who has growing.
	series  atomic.Pointer[map[seriesKey]*series]
	growing sync.Mutex

	s3Moved, posixMoved moved
}

type seriesKey struct{ door, operation, code string }

// moved are the bytes that went in and out of a door.
type moved struct{ in, out prometheus.Counter }

func (m moved) add(in, out int64) {
	m.in.Add(float64(in))
	m.out.Add(float64(out))
}

// series are what one kind of answered request adds to.
type series struct {
	requests prometheus.Counter
	seconds  prometheus.Observer
}

func newMetrics(d *Daemon) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "k3fs_requests_total",
			Help: "Requests answered, by door, operation and result."}, []string{"door", "operation", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "k3fs_request_seconds",
			Help: "Time to answer a request, by door and operation.", Buckets: latencies}, []string{"door", "operation"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "k3fs_bytes_total",
			Help: "Bytes of data that crossed a door."}, []string{"door", "direction"}),
	}
	m.series.Store(&map[seriesKey]*series{})
	m.s3Moved = moved{m.bytes.WithLabelValues("s3", "in"), m.bytes.WithLabelValues("s3", "out")}
	m.posixMoved = moved{m.bytes.WithLabelValues("posix", "in"), m.bytes.WithLabelValues("posix", "out")}
	info := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "k3fs_info", Help: "1, with the version.",
		ConstLabels: prometheus.Labels{"version": d.version}}, func() float64 { return 1 })
	ready := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "k3fs_ready", Help: "1 if the daemon serves."},
		func() float64 {
			if d.health.Ready() != nil {
				return 0
			}
			return 1
		})
	readOnly := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "k3fs_read_only", Help: "1 in read-only mode."}, func() float64 {
		if d.stores.tenancy.ReadOnly() {
			return 1
		}
		return 0
	})
	problems := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "k3fs_scrub_problems", Help: "Problems that the last scrub of this run has found."},
		func() float64 { s := d.scrub.shown(); return float64(int64(len(s.Problems)) + s.MoreProblems) })
	frozen := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "k3fs_lock_clock_frozen",
		Help: "1 if locks and holds don't expire until the host's clock is confirmed."}, func() float64 {
		if d.ns.Clock().Frozen {
			return 1
		}
		return 0
	})
	m.registry.MustRegister(frozen, readOnly, problems, m.requests, m.seconds, m.bytes, info, ready, usageCollector{d},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// fuseMetrics counts the requests of a mount of the POSIX door.
type fuseMetrics struct {
	*metrics
	slow   *slowLog
	trace  *tracer
	log    *slog.Logger
	name   string // of the mount, in the ids of its requests
	tenant tenancy.TenantID
}

// requestID is what a request of the mount is called in logs.
func (m *fuseMetrics) requestID(n uint64) string { return m.name + "-" + strconv.FormatUint(n, 10) }

// Request implements fusefs.Metrics.
func (m *fuseMetrics) Request(r fusefs.Request) {
	code := "ok"
	if r.Failed {
		code = "error"
	}
	m.count("posix", r.Op, code, r.Took)
	m.slow.posix(m, &r)
	m.trace.posix(m, &r)
	if m.log.Enabled(context.Background(), slog.LevelDebug) {
		m.log.Debug("posix request", "request", m.requestID(r.ID), "operation", r.Op, "inode", uint64(r.Inode), "bytes", r.Bytes,
			"failed", r.Failed, "took", r.Took)
	}
}

// Moved implements fusefs.Metrics.
func (m *fuseMetrics) Moved(written, read int) { m.posixMoved.add(int64(written), int64(read)) }

// request counts one request of the S3 door.
func (m *metrics) request(r s3api.Request) {
	m.count("s3", r.Operation, strconv.Itoa(r.Status), r.Elapsed)
	m.s3Moved.add(r.In, r.Out)
}

func (m *metrics) count(door, operation, code string, elapsed time.Duration) {
	key := seriesKey{door, operation, code}
	s := (*m.series.Load())[key]
	if s == nil {
		s = m.grow(key)
	}
	s.requests.Inc()
	s.seconds.Observe(elapsed.Seconds())
}

// grow adds the series of key.
func (m *metrics) grow(key seriesKey) *series {
	m.growing.Lock()
	defer m.growing.Unlock()
	all := maps.Clone(*m.series.Load())
	s := &series{requests: m.requests.WithLabelValues(key.door, key.operation, key.code),
		seconds: m.seconds.WithLabelValues(key.door, key.operation)}
	all[key] = s
	m.series.Store(&all)
	return s
}

// usageCollector reads what the stores count, once per scrape.
type usageCollector struct{ d *Daemon }

var (
	diskTotal     = prometheus.NewDesc("k3fs_disk_bytes", "Size of the data directory's file system.", nil, nil)
	diskFree      = prometheus.NewDesc("k3fs_disk_free_bytes", "Free bytes of it.", nil, nil)
	diskLow       = prometheus.NewDesc("k3fs_disk_low_water_bytes", "Writes are refused when less is free.", nil, nil)
	segments      = prometheus.NewDesc("k3fs_chunk_segments", "Segment files.", nil, nil)
	chunkMoved    = prometheus.NewDesc("k3fs_chunk_bytes_total", "Plaintext bytes appended, read and freed.", []string{"operation"}, nil)
	metaBatches   = prometheus.NewDesc("k3fs_meta_batches_total", "Batches of metadata made durable, each with one sync.", nil, nil)
	metaKeys      = prometheus.NewDesc("k3fs_meta_keys_total", "Keys that they wrote.", nil, nil)
	metaSeconds   = prometheus.NewDesc("k3fs_meta_sync_seconds_total", "Time spent on batches: syncing the data that they refer to, and writing them.", []string{"step"}, nil)
	metaUnflushed = prometheus.NewDesc("k3fs_meta_unflushed_bytes", "Bytes of metadata that are not durable yet.", nil, nil)
	metaTables    = prometheus.NewDesc("k3fs_meta_tables", "Badger's tables.", nil, nil)
	metaTableSize = prometheus.NewDesc("k3fs_meta_table_bytes", "Bytes of them on disk.", nil, nil)
	cacheLookups  = prometheus.NewDesc("k3fs_cache_lookups_total", "Look-ups in a cache, by what became of them.", []string{"cache", "result"}, nil)
	storeStopped  = prometheus.NewDesc("k3fs_stopped", "1 once a write to the disk failed or the mount is gone.", nil, nil)
)

// Describe implements prometheus.Collector.
func (usageCollector) Describe(c chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{diskTotal, diskFree, diskLow, segments, chunkMoved,
		metaBatches, metaKeys, metaSeconds, metaUnflushed,
		metaTables, metaTableSize, cacheLookups, storeStopped} {
		c <- desc
	}
}

// Collect implements prometheus.Collector.
func (u usageCollector) Collect(c chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, v float64) {
		c <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v)
	}
	count := func(desc *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, v, labels...)
	}
	now := u.d.stores.chunks.Usage()
	gauge(diskTotal, float64(now.Total))
	gauge(diskFree, float64(now.Free))
	gauge(diskLow, float64(now.LowWater))
	gauge(segments, float64(now.Segments))
	count(chunkMoved, float64(now.Appended), "append")
	count(chunkMoved, float64(now.Read), "read")
	count(chunkMoved, float64(now.Freed), "free")
	kv := u.d.stores.kv.Stats()
	count(metaBatches, float64(kv.Batches))
	count(metaKeys, float64(kv.Keys))
	count(metaSeconds, kv.Barrier.Seconds(), "data")
	count(metaSeconds, kv.Commit.Seconds(), "metadata")
	gauge(metaUnflushed, float64(kv.Unflushed))
	gauge(metaTables, float64(kv.Tables))
	gauge(metaTableSize, float64(kv.TableBytes))
	for name, of := range map[string]badgerkv.Cache{"meta_block": kv.Blocks, "meta_index": kv.Indexes,
		"chunk_tags": {Hits: now.CacheHits, Misses: now.CacheMisses}} {
		count(cacheLookups, float64(of.Hits), name, "hit")
		count(cacheLookups, float64(of.Misses), name, "miss")
	}
	stopped := 0.0
	if u.d.health.Failed() != nil {
		stopped = 1
	}
	gauge(storeStopped, stopped)
}
