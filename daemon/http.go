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
	"strings"
	"sync"
	"time"

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
	s3 := d.cfg.S3
	if d.certificate, err = d.openTLS("s3", s3.TLS, s3.TLSCert, s3.TLSKey); err != nil {
		return err
	}
	if d.access, err = openAccessLog(d.cfg.S3, d.log); err != nil {
		return err
	}
	door, err := s3api.New(s3api.Options{
		As: d.objects, Authenticate: d.stores.tenancy.Authenticate, Used: d.stores.tenancy.Used,
		Sessions: d.stores.tenancy, Bearer: d.bearer(), Shared: d.stores.tenancy.Shared, Tenants: d.stores.tenancy, KMSKey: d.stores.tenancy.KMSKey, Limiter: d.limiter, Gate: d.gate, Health: d.health.Ready, Draining: d.draining,
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
	go d.run(d.s3, secured(d.s3, netutil.LimitListener(l, connections(d.cfg.S3.MaxConnections))), "S3 endpoint")
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
	d.slow.s3(&r)
	d.tracer.s3(&r)
	if d.access != nil {
		d.access.write(r)
	}
}

// reload reads again what changes while k3fs runs: the certificate, and the access log's file.
func (d *Daemon) reload() {
	var errs []error
	for _, c := range []*certificate{d.certificate, d.adminCertificate} {
		if c != nil {
			errs = append(errs, c.reload())
		}
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

// secured is l with TLS, where the server has it. It is asked before the server serves, which changes its TLSConfig.
func secured(s *http.Server, l net.Listener) net.Listener {
	if s.TLSConfig == nil {
		return l
	}
	return handshakes{tls.NewListener(l, s.TLSConfig)}
}

func (d *Daemon) run(s *http.Server, l net.Listener, what string) {
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
