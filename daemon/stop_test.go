package daemon

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/metastore"
)

// mountable gives cfg a mount point. CI must be able to mount.
func mountable(t *testing.T, cfg *Config) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err == nil {
		err = f.Close()
	}
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("can't mount here: %v", err)
	}
	require.NoError(t, err)
	cfg.Mount.Point = filepath.Join(t.TempDir(), "mnt")
	t.Cleanup(func() { _ = unix.Unmount(cfg.Mount.Point, unix.MNT_DETACH) })
}

// begin sends the head of a signed request and leaves its body and its answer to the test.
func begin(t *testing.T, cfg Config, method, path string, length int) net.Conn {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+cfg.S3.Listen+path+"?X-Amz-Expires=60", nil)
	require.NoError(t, err)
	req.ContentLength = int64(length)
	url, header, err := v4.NewSigner().PresignHTTP(t.Context(),
		aws.Credentials{AccessKeyID: cfg.Root.AccessKey, SecretAccessKey: cfg.Root.SecretKey},
		req, "UNSIGNED-PAYLOAD", "s3", cfg.S3.Region, time.Now())
	require.NoError(t, err)
	conn, err := net.Dial("tcp", cfg.S3.Listen)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	_, query, _ := strings.Cut(url, "?")
	_, err = fmt.Fprintf(conn, "%s %s?%s HTTP/1.1\r\n", method, path, query)
	require.NoError(t, err)
	require.NoError(t, header.Write(conn))
	_, err = io.WriteString(conn, "\r\n")
	require.NoError(t, err)
	return conn
}

// A client that stops sending, one that stops reading, and a process that works in the mount, all at once,
// don't hold up the end, and take nothing from what was acknowledged.
func TestStopInTimeWhoeverStalls(t *testing.T) {
	cfg := testConfig(t)
	cfg.Root = RootConfig{"ADMINISTRATOR-KEY", "correct-horse-battery-staple"}
	cfg.Limits.StopDeadline = 3 * time.Second
	mountable(t, &cfg)
	r := start(t, cfg)
	bucket := filepath.Join(cfg.Mount.Point, "demo")
	require.NoError(t, os.Mkdir(bucket, 0o755))
	large := filepath.Join(bucket, "large")
	require.NoError(t, os.WriteFile(large, make([]byte, 64<<20), 0o600))

	upload := begin(t, cfg, http.MethodPut, "/demo/upload", 64<<20)
	_, err := upload.Write(make([]byte, 3<<20))
	require.NoError(t, err)
	download := begin(t, cfg, http.MethodGet, "/demo/large", 0)
	resp, err := http.ReadResponse(bufio.NewReaderSize(download, 16), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NoError(t, upload.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, err = upload.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the upload waits for its rest")
	// The shell goes there: a child of the process that serves the mount must not before it has executed a program.
	busy := exec.Command("sh", "-c", `cd "$0" && exec 3>held && echo draft >&3 && exec sleep 60`, bucket)
	require.NoError(t, busy.Start())
	t.Cleanup(func() {
		_ = busy.Process.Kill()
		_ = busy.Wait()
	})
	require.Eventually(t, func() bool {
		st, err := os.Stat(filepath.Join(bucket, "held"))
		return err == nil && st.Size() > 0
	}, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, os.Mkdir(filepath.Join(bucket, "acknowledged"), 0o755))

	begun := time.Now()
	r.stop()
	require.NoError(t, r.wait(t, cfg.Limits.StopDeadline+time.Second))
	t.Logf("stopped after %s", time.Since(begun))
	kind, err := mountedAt(cfg.Mount.Point)
	require.NoError(t, err)
	require.Empty(t, kind)

	again := start(t, cfg)
	st, err := os.Stat(filepath.Join(bucket, "acknowledged"))
	require.NoError(t, err)
	require.True(t, st.IsDir())
	st, err = os.Stat(large)
	require.NoError(t, err)
	require.EqualValues(t, 64<<20, st.Size())
	require.NoFileExists(t, filepath.Join(bucket, "upload"))
	again.stop()
	require.NoError(t, again.wait(t, cfg.Limits.StopDeadline+time.Second))
}

// A reader of the metastore that never ends does not hold up the end either.
func TestStopInTimeWithTheStoresInUse(t *testing.T) {
	cfg := testConfig(t)
	cfg.S3.Listen = ""
	cfg.Limits.StopDeadline = time.Second
	d := &Daemon{cfg: cfg, log: slog.New(slog.DiscardHandler), notify: notifier{slog.New(slog.DiscardHandler)}}
	require.NoError(t, d.open(t.Context()))
	kv := d.stores.kv
	reading, release, released := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(released)
		_ = kv.View(context.Background(), func(metastore.Reader) error {
			close(reading)
			<-release
			return nil
		})
	}()
	<-reading
	key := []byte("zz")
	require.NoError(t, kv.Update(t.Context(), metastore.Ordered, func(m metastore.Txn) error { return m.Set(key, key) }))
	require.NoError(t, d.close())
	require.Zero(t, kv.Stats().Unflushed, "what was acknowledged is durable")
	close(release)
	<-released
	require.Eventually(t, func() bool { // closing ends behind our back
		lock, err := lockData(cfg.Data)
		return err == nil && lock.Close() == nil
	}, 5*time.Second, 10*time.Millisecond)
}

func TestInflight(t *testing.T) {
	var f inflight
	var served atomic.Int32
	entered, leave := make(chan struct{}), make(chan struct{})
	h := f.count(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		served.Add(1)
		close(entered)
		<-leave
	}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(nil, nil)
	}()
	<-entered
	idle := f.drain()
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { h.ServeHTTP(nil, nil) })
	select {
	case <-idle:
		t.Fatal("idle while a request runs")
	default:
	}
	close(leave)
	<-idle
	<-done
	require.EqualValues(t, 1, served.Load())
	require.NotNil(t, new(inflight).drain())
}
