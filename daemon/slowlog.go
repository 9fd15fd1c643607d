package daemon

import (
	"crypto/rand"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"k3fs/daemon/adminapi"
	"k3fs/fusefs"
	"k3fs/s3api"
	"k3fs/tenancy"
)

// How many requests the slow log tells of at once, and how often another one: when all are slow, some tell enough.
const (
	slowAtOnce = 20
	slowEvery  = time.Second
)

// maxSlowKey is how much of a key the slow log shows, in bytes: all of one that S3 takes.
const maxSlowKey = 1024

// slowLog warns of requests, at any door, that took long. nil warns of none.
type slowLog struct {
	least time.Duration
	log   *slog.Logger
	pace  *rate.Limiter
	left  atomic.Int64 // that were slow and not told of since the last that was
}

// newSlowLog warns of what takes least or longer; 0 is nothing.
func newSlowLog(least time.Duration, log *slog.Logger) *slowLog {
	if least <= 0 {
		return nil
	}
	return &slowLog{least: least, log: log, pace: rate.NewLimiter(rate.Every(slowEvery), slowAtOnce)}
}

// takes reports whether there is to be a warning of a request that took so long.
func (s *slowLog) takes(took time.Duration) bool {
	if s == nil || took < s.least {
		return false
	}
	if s.pace.Allow() {
		return true
	}
	s.left.Add(1)
	return false
}

func (s *slowLog) warn(door, operation, request string, tenant tenancy.TenantID, took time.Duration, more ...any) {
	all := append([]any{"door", door, "operation", operation, "request", request, "tenant", uint64(tenant), "took", took.String()}, more...)
	if n := s.left.Swap(0); n > 0 {
		all = append(all, "left_out", n)
	}
	s.log.Warn("slow request", all...)
}

func (s *slowLog) s3(r *s3api.Request) {
	if s.takes(r.Elapsed) {
		s.warn("s3", r.Operation, r.ID, r.Tenant, r.Elapsed, "bucket", r.Bucket, "key", r.Key[:min(len(r.Key), maxSlowKey)],
			"status", r.Status, "bytes_in", r.In, "bytes_out", r.Out)
	}
}

func (s *slowLog) admin(c *adminapi.Call) {
	if s.takes(c.Elapsed) {
		s.warn("admin", c.Method, c.ID, c.Tenant, c.Elapsed, "code", c.Code)
	}
}

// posix warns of a slow request of a mount. One that waits for a lock of another process takes as long as that likes.
func (s *slowLog) posix(m *fuseMetrics, r *fusefs.Request) {
	if r.Op != "setlkw" && s.takes(r.Took) {
		s.warn("posix", r.Op, m.requestID(r.ID), m.tenant, r.Took, "inode", uint64(r.Inode), "failed", r.Failed, "bytes", r.Bytes)
	}
}

// mountName returns the name that requests of a new mount have in logs, before their number.
func mountName() string { return rand.Text()[:8] }
