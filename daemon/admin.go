package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"k3fs/daemon/adminapi"
	"k3fs/daemon/control"
)

// maxAdminConnections bounds the connections at a time of each listener of the admin API; more wait.
const maxAdminConnections = 256

// listenAdmin opens the listener of health, metrics and the admin API.
func (d *Daemon) listenAdmin() error {
	var err error
	d.api, err = adminapi.New(adminapi.Options{Namespace: d.ns, Tenancy: d.stores.tenancy, Node: operated{d}, Logger: d.log, Now: time.Now, Bearer: d.bearer(), Done: d.administered})
	if err != nil || d.cfg.Admin.Listen == "" {
		return err
	}
	a := d.cfg.Admin
	if d.adminCertificate, err = d.openTLS("admin", a.TLS, a.TLSCert, a.TLSKey); err != nil {
		return err
	}
	l, err := listen("admin.listen", a.Listen)
	if err != nil {
		return err
	}
	d.adminAt = l
	d.admin = d.server(d.adminRoutes(d.remoteAPI(loopback(l.Addr()))))
	d.admin.Protocols = bothHTTP()
	if d.adminCertificate != nil {
		d.admin.TLSConfig = d.adminCertificate.config()
		d.admin.TLSConfig.NextProtos = []string{"h2", "http/1.1"}
		if err := requireClients(d.admin.TLSConfig, a.ClientCA); err != nil {
			return errors.Join(&ConfigError{fmt.Errorf("admin.client_ca: %w", err)}, l.Close())
		}
	}
	go d.run(d.admin, secured(d.admin, netutil.LimitListener(l, maxAdminConnections)), "admin endpoint")
	return nil
}

// bothHTTP are HTTP/1.1 and HTTP/2, the latter without TLS, too, as gRPC speaks it.
func bothHTTP() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// requireClients makes a listener ask clients for a certificate; without a file of who signs them it asks nobody.
func requireClients(c *tls.Config, file string) error {
	if file == "" {
		return nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(raw) {
		return fmt.Errorf("%s holds no certificate in PEM", file)
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return nil
}

// remoteAPI is the API as it is served on the network: nowhere that secrets in its answers could be overheard.
func (d *Daemon) remoteAPI(local bool) http.Handler {
	if local || d.adminCertificate != nil {
		return d.countedAPI()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the admin API is served here only with TLS: set admin.tls, or use it on a loopback address or its socket", http.StatusForbidden)
	})
}

// countedAPI is the API while there is somebody to answer: requests that are being handled end before what they use does.
func (d *Daemon) countedAPI() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if phase(d.health.phase.Load()) == starting || !d.requests.begin() {
			http.Error(w, "the daemon starts or stops: try again", http.StatusServiceUnavailable)
			return
		}
		defer d.requests.end()
		d.api.ServeHTTP(w, r)
	})
}

// adminRoutes are the pages of the admin listener.
func (d *Daemon) adminRoutes(api http.Handler) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/", api)
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
	return mux
}

// listenAdminSockets opens the API's sockets: one in the data directory, for who may look in there, and one for all
// users of the host.
func (d *Daemon) listenAdminSockets() error {
	d.adminLocal = d.server(d.localRoutes())
	d.adminLocal.Protocols = bothHTTP()
	d.adminLocal.ConnContext = adminapi.WithPeer
	own := filepath.Join(d.cfg.Data, control.AdminSocketName)
	l, err := control.Listen(own, 0o600)
	if err != nil {
		return err
	}
	d.serveLocal(l)
	path := d.cfg.Admin.Socket
	if path == "" || path == own {
		return nil
	}
	l, err = listenShared(path, path == control.AdminSocket)
	switch {
	case err == nil:
		d.serveLocal(l)
		return nil
	case path == control.AdminSocket:
		d.log.Info("no socket of the admin API in the usual place: name the data directory with --data", "socket", path, "err", err)
		return nil
	}
	return &ConfigError{fmt.Errorf("admin.socket: %w", err)}
}

func (d *Daemon) serveLocal(l net.Listener) {
	go d.run(d.adminLocal, netutil.LimitListener(adminapi.PeerListener(l), maxAdminConnections), "admin socket")
}

// localRoutes are those of the sockets: the same, and profiles, which show memory, for the host's administrator.
func (d *Daemon) localRoutes() http.Handler {
	mux := d.adminRoutes(d.countedAPI())
	for path, page := range map[string]http.HandlerFunc{"/debug/pprof/": pprof.Index, "/debug/pprof/cmdline": pprof.Cmdline,
		"/debug/pprof/profile": pprof.Profile, "/debug/pprof/symbol": pprof.Symbol, "/debug/pprof/trace": pprof.Trace} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if !adminapi.Administrator(r.Context()) {
				http.NotFound(w, r)
				return
			}
			page(w, r)
		})
	}
	return mux
}

// administered notes a request that the admin API answered.
func (d *Daemon) administered(c adminapi.Call) {
	d.metrics.count("admin", c.Method, c.Code, c.Elapsed)
	d.slow.admin(&c)
	d.tracer.admin(&c)
	d.log.Debug("admin request", "request", c.ID, "method", c.Method, "code", c.Code, "tenant", uint64(c.Tenant), "account", c.Account,
		"remote", c.Remote, "took", c.Elapsed)
}

func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
