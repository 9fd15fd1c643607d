package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"

	"k3fs/s3api"
	"k3fs/tenancy"
)

// listenS3 opens the S3 door.
func (d *Daemon) listenS3() error {
	if d.cfg.S3.Listen == "" {
		return nil
	}
	var err error
	if d.certificate, err = d.openTLS(); err != nil {
		return err
	}
	if d.access, err = openAccessLog(d.cfg.S3, d.log); err != nil {
		return err
	}
	door, err := s3api.New(s3api.Options{
		As: d.objects, Authenticate: d.stores.tenancy.Authenticate, Used: d.stores.tenancy.Used, Tenants: d.stores.tenancy, KMSKey: d.stores.tenancy.KMSKey, Health: d.health.Ready,
		Region: d.cfg.S3.Region, IdleTimeout: d.cfg.S3.StallTimeout, Logger: d.log, Done: d.answered,
		Domains: d.cfg.S3.Domains, WebsiteDomains: d.cfg.S3.WebsiteDomains, SignatureV2: d.cfg.S3.SignatureV2,
		Ownership: tenancy.Ownership(d.cfg.S3.ObjectOwnership), StaleUploads: d.cfg.S3.StaleUploads,
	})
	if err != nil {
		return err
	}
	l, err := listen("s3.listen", d.cfg.S3.Listen)
	if err != nil {
		return err
	}
	d.s3At, d.objectDoor = l, door
	d.s3 = d.server(d.requests.count(door))
	room := int64(roomPlain)
	if d.certificate != nil {
		d.s3.TLSConfig = d.certificate.config()
		room = roomTLS
	}
	d.memory.watch(d.s3, room)
	go d.run(d.s3, netutil.LimitListener(l, connections(d.cfg.S3.MaxConnections)), "S3 endpoint")
	return nil
}

// connections is how many S3 connections there may be at once: no more than leave some descriptors for the data.
func connections(most int) int {
	const kept = 128
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur > math.MaxInt32 {
		return most
	}
	n := int(limit.Cur)
	return max(1, min(most, n-min(n/2, kept)))
}

// answered notes a request that the S3 door answered.
func (d *Daemon) answered(r s3api.Request) {
	d.metrics.request(r)
	if d.access != nil {
		d.access.write(r)
	}
}

// reload reads again what changes while k3fs runs: the certificate, and the access log's file.
func (d *Daemon) reload() {
	var errs []error
	if d.certificate != nil {
		errs = append(errs, d.certificate.reload())
	}
	if d.access != nil {
		errs = append(errs, d.access.reopen())
	}
	if err := errors.Join(errs...); err != nil {
		d.log.Error("not all could be read again; what was in force stays", "err", err)
		return
	}
	d.log.Info("certificate and access log were opened again")
}

// listenAdmin opens the listener of health, metrics and profiles.
func (d *Daemon) listenAdmin() error {
	if d.cfg.Admin.Listen == "" {
		return nil
	}
	l, err := listen("admin.listen", d.cfg.Admin.Listen)
	if err != nil {
		return err
	}
	d.adminAt = l
	d.admin = d.server(d.adminRoutes(loopback(l.Addr())))
	go d.run(d.admin, netutil.LimitListener(l, 64), "admin endpoint")
	return nil
}

// adminRoutes are the pages of the admin listener. Profiles show memory, so by default they are there for
// this host only.
func (d *Daemon) adminRoutes(local bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := d.health.Ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
		if d.ns.Clock().Frozen {
			fmt.Fprintln(w, "note: the host's clock is further ahead than is believed: no lock expires until 'k3fs clock confirm'")
		}
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	if p := d.cfg.Admin.Pprof; p == "on" || p == "auto" && local {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// server bounds what a client may hold open. Bodies may take long, so the doors bound their stalls.
func (d *Daemon) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: d.cfg.S3.ReadHeaderTimeout,
		IdleTimeout:       d.cfg.S3.IdleTimeout,
		MaxHeaderBytes:    int(d.cfg.S3.MaxHeader),
		ErrorLog:          log.New(&serverErrors{log: d.log, now: time.Now}, "", 0),
	}
}

// acceptWarnEvery is how often it is said that connections can't be accepted.
const acceptWarnEvery = time.Minute

// serverErrors is what net/http logs to. What tells of clients' broken connections is of no interest; that none can be
// accepted (out of descriptors) is, though not each of its tries.
type serverErrors struct {
	log *slog.Logger
	now func() time.Time

	mu   sync.Mutex
	last time.Time // guarded by mu: of the last warning
}

// Write implements io.Writer: one message of net/http.
func (e *serverErrors) Write(p []byte) (int, error) {
	text := strings.TrimSpace(string(p))
	if !strings.HasPrefix(text, "http: Accept error") {
		e.log.Debug(text)
		return len(p), nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := e.now(); now.Sub(e.last) >= acceptWarnEvery {
		e.last = now
		e.log.Warn("connections can't be accepted, and wait; it is tried again (if it is for descriptors, raise the limit of open files)", "err", text)
	}
	return len(p), nil
}

func (d *Daemon) run(s *http.Server, l net.Listener, what string) {
	if s.TLSConfig != nil {
		l = handshakes{tls.NewListener(l, s.TLSConfig)}
	}
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		d.failed <- fmt.Errorf("%s: %w", what, err)
	}
}

// probeS3 asks the S3 door at addr for its health, over the network.
func probeS3(ctx context.Context, addr string, secure bool) error {
	if host, port, err := net.SplitHostPort(addr); err == nil && net.ParseIP(host).IsUnspecified() {
		addr = net.JoinHostPort("localhost", port)
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+addr+s3api.HealthPath, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // it is ourselves, whatever the name; nothing secret is sent
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("the S3 endpoint does not answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the S3 endpoint answers %s", resp.Status)
	}
	return nil
}

func listen(key, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("%s: %w", key, err)}
	}
	return l, nil
}

func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
