package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k3fs/chunkstore"
	"k3fs/daemon/adminapi"
	"k3fs/daemon/control"
	"k3fs/fusefs"
	"k3fs/fusefs/locks"
	"k3fs/namespace"
	"k3fs/s3api"
	"k3fs/tenancy"
	"k3fs/tenancy/fair"
	"k3fs/tenancy/oidc"
)

// Daemon is a running k3fs.
type Daemon struct {
	cfg     Config
	log     *slog.Logger
	version string
	notify  notifier

	stores   *stores
	issuers  *oidc.Verifier // nil: no identity provider is trusted
	ns       *namespace.FS
	own      *ownMount         // nil without a mount point
	accounts *control.Accounts // as whom users act in the own mount; nil: as the first tenant's root
	mounts   *mounts
	control  *control.Server
	locks    locks.Table
	scrub    scrubState
	backup   backupState
	jobs     jobs
	limiter  *fair.Limiter // of all doors
	gate     *fair.Gate    // of the S3 door
	peers    fusefs.Peers
	health   *health
	metrics  *metrics
	slow     *slowLog // nil: none
	tracer   *tracer  // nil: none

	started   time.Time
	s3, admin *http.Server

	adminLocal    *http.Server // of the admin API's sockets
	api           *adminapi.Server
	s3At, adminAt net.Listener
	objectDoor    *s3api.Server
	certificate   *certificate // nil: plain HTTP
	access        *accessLog   // nil: none

	adminCertificate *certificate // nil: plain HTTP
	requests         inflight     // of the S3 door and the admin API
	memory           *memoryLimit
	failed           chan error // a listener that broke
}

// Run runs k3fs until ctx ends, which is a clean end, or until it can't go on. The configuration must be
// validated. Errors that a changed configuration would cure are *ConfigError.
func Run(ctx context.Context, cfg Config, version string, log *slog.Logger) error {
	memory := newMemoryLimit(cfg.Limits.Memory, log)
	memory.set(0)
	d := &Daemon{memory: memory, cfg: cfg, log: log, version: version, notify: notifier{log}, started: time.Now(), failed: make(chan error, 4)}
	if err := d.open(ctx); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			log.Info("stopped before it served")
			return d.close()
		}
		return errors.Join(err, d.close())
	}
	reason := d.serve(ctx)
	if reason != nil {
		log.Error("can't go on", "err", reason)
	} else {
		log.Info("stopping")
	}
	err := errors.Join(reason, d.close())
	if err == nil {
		log.Info("stopped")
	}
	return err
}

// open opens everything, in the order of the package comment.
func (d *Daemon) open(ctx context.Context) (err error) {
	begun := time.Now()
	if err := noDump(); err != nil {
		return err
	}
	if d.stores, err = openStores(ctx, d.cfg, d.log); err != nil {
		return err
	}
	d.limiter, d.gate = fair.NewLimiter(d.stores.tenancy.Limits), fair.NewGate()
	if err := d.stores.rootCredentials(ctx, d.cfg, d.log); err != nil {
		return err
	}
	if err := d.stores.ensureAccounts(ctx, d.cfg, d.log); err != nil {
		return err
	}
	if err := d.openIssuers(); err != nil {
		return err
	}
	locks, err := d.cfg.Locks.lockOptions()
	if err != nil {
		return err
	}
	d.ns, err = namespace.Open(ctx, namespace.Options{
		KV: d.stores.kv, Chunks: d.stores.chunks, Authority: d.stores.tenancy, Keys: d.stores.tenancy,
		Logger: d.log, Region: d.cfg.S3.Region, Now: newFileClock(d.log).Now, Locks: locks,
	})
	if err != nil {
		return fmt.Errorf("open the namespace: %w", err)
	}
	d.health = &health{kv: d.stores.kv, stopped: []<-chan struct{}{d.stores.kv.Stopped(), d.stores.chunks.Stopped()},
		point: d.cfg.Mount.Point}
	if d.tracer, err = openTracer(ctx, d.cfg.Trace, d.version, d.log); err != nil {
		return err
	}
	d.metrics, d.slow = newMetrics(d), newSlowLog(d.cfg.Log.Slow, d.log)
	if err := d.listenAdmin(); err != nil {
		return err
	}
	d.mounts = &mounts{d: d, all: map[string]*demanded{}}
	before, err := d.mounts.before()
	if err != nil {
		return err
	}
	if err := d.openMount(ctx, d.cfg.Mount.WriteBack && len(before) == 0); err != nil {
		return err
	}
	if err := d.mounts.restore(ctx, before); err != nil {
		return err
	}
	if err := d.listenS3(); err != nil {
		return err
	}
	if err := d.listenAdminSockets(); err != nil {
		return err
	}
	if err := d.listenControl(); err != nil {
		return err
	}
	d.health.set(serving)
	if err := d.answers(ctx); err != nil {
		return err
	}
	d.log.Info("k3fs serves", "version", d.version, "data", d.cfg.Data, "s3", address(d.s3At),
		"mount", d.cfg.Mount.Point, "admin", address(d.adminAt), "after", time.Since(begun).Round(time.Millisecond).String())
	return nil
}

// answers proves that both doors answer, as a client would find out.
func (d *Daemon) answers(ctx context.Context) error {
	if err := d.health.Probe(ctx); err != nil {
		return err
	}
	if d.s3At == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return probeS3(ctx, d.s3At.Addr().String(), d.certificate != nil)
}

// serve waits for the end: nil when ctx ended, else why the daemon can't go on.
func (d *Daemon) serve(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go d.notify.watch(watching, d.health.Probe)
	d.notify.ready()
	d.notify.status("serving")
	go d.keepUses(watching)
	if d.objectDoor != nil {
		go d.expire(watching)
	}
	if d.stores != nil {
		go d.stores.tenancy.KeepKeys(watching, func(t tenancy.TenantID) { d.stores.chunks.Forget(chunkstore.Domain(t)) })
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-hangup:
			d.reload()
			continue
		case <-ctx.Done():
			return nil
		case <-d.health.stopped[0]:
		case <-d.health.stopped[1]:
		case <-d.health.goneC():
		case err := <-d.failed:
			return err
		}
		return d.health.Failed()
	}
}

// expire applies the lifecycle rules of buckets now and then, until ctx ends.
func (d *Daemon) expire(ctx context.Context) {
	pause := min(max(d.cfg.S3.LifecycleDay/10, time.Second), time.Hour)
	for tick := time.NewTicker(pause); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		if d.stores.tenancy.ReadOnly() {
			continue
		}
		if !d.requests.begin() {
			return // stopping
		}
		gone, err := d.objectDoor.Expire(ctx, d.cfg.S3.LifecycleDay)
		d.requests.end()
		if err != nil && ctx.Err() == nil {
			d.log.Warn("not all lifecycle rules could be applied; they are tried again", "err", err)
		}
		if gone > 0 {
			d.log.Info("lifecycle rules were applied", "objects_and_uploads", gone)
		}
	}
}

// objects is the S3 door's way into the namespace.
func (d *Daemon) objects(p tenancy.Principal) namespace.Objects { return d.ns.As(p) }

func address(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}
