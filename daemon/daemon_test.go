package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"k3fs/metastore"
	"k3fs/metastore/memkv"
	"k3fs/tenancy"
)

// testConfig serves S3 on a free port over a temporary directory.
func testConfig(t *testing.T) Config {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := Defaults()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	cfg.S3.Listen, cfg.Admin.Listen = l.Addr().String(), ""
	require.NoError(t, l.Close())
	require.NoError(t, cfg.Validate())
	return cfg
}

// running is a daemon inside the test.
type running struct {
	stop func()
	done chan error
}

func start(t *testing.T, cfg Config) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{stop: stop, done: make(chan error, 1)}
	go func() { r.done <- Run(ctx, cfg, "test", slog.New(slog.DiscardHandler)) }()
	require.Eventually(t, func() bool {
		return probeS3(t.Context(), cfg.S3.Listen, cfg.S3.TLS != "") == nil
	}, 10*time.Second, 10*time.Millisecond)
	t.Cleanup(stop)
	return r
}

func (r *running) wait(t *testing.T, within time.Duration) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(within):
		t.Fatalf("it still runs after %s", within)
		return nil
	}
}

func TestRunLeavesNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cfg := testConfig(t)
	for range 2 {
		r := start(t, cfg)
		r.stop()
		require.NoError(t, r.wait(t, 5*time.Second))
	}
}

func TestSystemdIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "100000")
	t.Setenv("WATCHDOG_PID", "")
	cfg := testConfig(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg, "test", slog.New(slog.DiscardHandler)) }()

	expect := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		for {
			require.NoError(t, socket.SetReadDeadline(time.Now().Add(10*time.Second)))
			n, err := socket.Read(buf)
			require.NoError(t, err, "waiting for %s", want)
			if string(buf[:n]) == want {
				return
			}
			require.NotEqual(t, "STOPPING=1", string(buf[:n]))
		}
	}
	expect("READY=1")
	require.NoError(t, probeS3(t.Context(), cfg.S3.Listen, cfg.S3.TLS != ""), "READY means that the door answers")
	expect("WATCHDOG=1")
	expect("WATCHDOG=1")
	stop()
	expect("STOPPING=1")
	require.NoError(t, <-done)
}

// A client that never finishes its request does not hold up the end.
func TestStopCutsOffAStalledRequest(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.StopDeadline = time.Second
	r := start(t, cfg)
	conn, err := net.Dial("tcp", cfg.S3.Listen)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "PUT /bucket/key HTTP/1.1\r\nHost: x\r\n")
	require.NoError(t, err)
	time.Sleep(50 * time.Millisecond)
	r.stop()
	require.NoError(t, r.wait(t, 3*time.Second))
}

func TestRunRefusesATakenAddress(t *testing.T) {
	cfg := testConfig(t)
	l, err := net.Listen("tcp", cfg.S3.Listen)
	require.NoError(t, err)
	defer l.Close()
	err = Run(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	require.ErrorAs(t, err, new(*ConfigError))
	require.ErrorContains(t, err, "s3.listen")
}

func TestBadCredentialsAreAConfigError(t *testing.T) {
	cfg := testConfig(t)
	cfg.Root = RootConfig{"ADMIN", "short"}
	err := Run(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	require.ErrorAs(t, err, new(*ConfigError))
	require.ErrorContains(t, err, "K3FS_ROOT_SECRET_KEY")
}

func TestHealth(t *testing.T) {
	kv := memkv.New(memkv.Options{})
	failed := make(chan struct{})
	h := &health{kv: kv, stopped: []<-chan struct{}{make(chan struct{}), failed}}
	require.ErrorIs(t, h.Ready(), errStarting)
	h.set(serving)
	require.NoError(t, h.Ready())
	master, err := tenancy.CreateMaster(filepath.Join(t.TempDir(), "key"))
	require.NoError(t, err)
	_, err = tenancy.Open(t.Context(), kv, tenancy.Options{Master: master})
	require.NoError(t, err)
	require.NoError(t, h.Probe(t.Context()))

	h.point = filepath.Join(t.TempDir(), "no such mount")
	require.ErrorIs(t, h.Probe(t.Context()), os.ErrNotExist)
	h.point = "/"
	require.NoError(t, h.Probe(t.Context()))

	gone := make(chan struct{})
	h.gone.Store(new((<-chan struct{})(gone)))
	require.NoError(t, h.Ready())
	close(gone)
	require.ErrorIs(t, h.Ready(), errGone)
	close(failed)
	require.ErrorIs(t, h.Ready(), errFailed)
	require.ErrorIs(t, h.Probe(t.Context()), errFailed)
	h.set(stopping)
	require.ErrorIs(t, h.Ready(), errStopping)

	require.NoError(t, kv.Close())
	closed := &health{kv: kv}
	require.ErrorIs(t, closed.Probe(t.Context()), metastore.ErrClosed)
}

// A store that stopped after a failed write ends the daemon, with an error.
func TestServeEndsWhenAStoreStops(t *testing.T) {
	for i := range 2 {
		channels := []chan struct{}{make(chan struct{}), make(chan struct{})}
		d := &Daemon{health: &health{stopped: []<-chan struct{}{channels[0], channels[1]}}, failed: make(chan error, 1),
			notify: notifier{slog.New(slog.DiscardHandler)}}
		close(channels[i])
		require.ErrorIs(t, d.serve(t.Context()), errFailed)
	}
	d := &Daemon{health: &health{stopped: []<-chan struct{}{nil, nil}}, failed: make(chan error, 1),
		notify: notifier{slog.New(slog.DiscardHandler)}}
	broken := errors.New("listener broke")
	d.failed <- broken
	require.ErrorIs(t, d.serve(t.Context()), broken)
}

// Profiles show memory: they are for who administers the host, on the socket, and nowhere else.
func TestProfilesAreForThisHost(t *testing.T) {
	d := &Daemon{health: &health{}}
	d.metrics = newMetrics(d)
	for _, routes := range []http.Handler{d.adminRoutes(http.NotFoundHandler()), d.localRoutes()} {
		w := httptest.NewRecorder()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/debug/pprof/cmdline", nil)
		require.NoError(t, err)
		routes.ServeHTTP(w, req)
		require.NotEqual(t, http.StatusOK, w.Code)
	}
}

// Neither the data directory nor its metadata shows a secret, a name or the master key in clear.
func TestNoSecretOnTheDisk(t *testing.T) {
	cfg := testConfig(t)
	cfg.Root = RootConfig{"ADMINISTRATOR-KEY", "correct-horse-battery-staple"}
	r := start(t, cfg)
	r.stop()
	require.NoError(t, r.wait(t, 5*time.Second))
	line, err := os.ReadFile(cfg.MasterKey)
	require.NoError(t, err)
	inHex := strings.Fields(string(line))[1]
	raw, err := hex.DecodeString(inHex)
	require.NoError(t, err)
	files := 0
	err = filepath.WalkDir(cfg.Data, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == cfg.MasterKey {
			return err
		}
		if e.IsDir() {
			info, err := e.Info()
			require.NoError(t, err)
			require.Zero(t, info.Mode().Perm()&0o077, path)
			return nil
		}
		files++
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, secret := range []string{cfg.Root.SecretKey, cfg.Root.AccessKey, inHex, string(raw)} {
			require.NotContains(t, string(text), secret, path)
		}
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, files, 3)
}
