package daemon

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/s3api"
)

// serve --tls self answers over HTTP/2, with a certificate that the file it leaves verifies, and logs requests
// without what is secret in them.
func TestSelfSigned(t *testing.T) {
	cfg := testConfig(t)
	cfg.S3.TLS, cfg.S3.Domains = selfSigned, []string{"s3.example.com"}
	cfg.S3.AccessLog, cfg.S3.AccessLogFormat = filepath.Join(t.TempDir(), "access.log"), "json"
	r := start(t, cfg)
	roots := x509.NewCertPool()
	file, err := os.ReadFile(filepath.Join(cfg.Data, "tls", "cert.pem"))
	require.NoError(t, err)
	require.True(t, roots.AppendCertsFromPEM(file))
	for _, name := range []string{"localhost", "127.0.0.1", "bucket.s3.example.com"} {
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name}}
		res, err := (&http.Client{Transport: transport}).Get("https://" + cfg.S3.Listen + "/bucket/key?X-Amz-Signature=hush&X-Amz-Security-Token=hush&a=b")
		require.NoError(t, err, name)
		_, _ = io.Copy(io.Discard, res.Body)
		require.NoError(t, res.Body.Close())
		require.Equal(t, 2, res.ProtoMajor)
		require.Equal(t, 400, res.StatusCode)
		transport.CloseIdleConnections()
	}
	r.stop()
	require.NoError(t, r.wait(t, 20*time.Second))
	log, err := os.Open(cfg.S3.AccessLog)
	require.NoError(t, err)
	defer log.Close()
	lines := 0
	for scan := bufio.NewScanner(log); scan.Scan(); lines++ {
		require.NotContains(t, scan.Text(), "hush")
		var line map[string]any
		require.NoError(t, json.Unmarshal(scan.Bytes(), &line))
		require.Equal(t, "TLSv1.3", line["tls"])
		require.Equal(t, "/bucket/key?X-Amz-Signature=REDACTED&X-Amz-Security-Token=REDACTED&a=b", line["uri"])
	}
	require.Equal(t, 3, lines)
}

// A certificate that changes is used from then on; one that is broken leaves the old one in force.
func TestCertificateIsReloaded(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	require.NoError(t, makeCertificate(cert, key, nil, nil, time.Now()))
	c, err := loadCertificate(cert, key, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	first, err := c.get(nil)
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(cert, []byte("nonsense"), 0o600))
	require.Error(t, c.reload())
	still, err := c.get(nil)
	require.NoError(t, err)
	require.Equal(t, first.Certificate, still.Certificate)

	require.NoError(t, makeCertificate(cert, key, nil, nil, time.Now()))
	later := time.Now().Add(time.Hour)
	require.NoError(t, os.Chtimes(cert, later, later))
	c.looked = time.Time{} // a second later
	second, err := c.get(nil)
	require.NoError(t, err)
	require.NotEqual(t, first.Certificate, second.Certificate)
}

func TestAccessLogIsReopened(t *testing.T) {
	cfg := testConfig(t)
	name := filepath.Join(t.TempDir(), "access.log")
	cfg.S3.AccessLog = name
	a, err := openAccessLog(cfg.S3, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	a.write(requestOf("first\"\n"))
	require.NoError(t, os.Rename(name, name+".1"))
	require.NoError(t, a.reopen())
	a.write(requestOf("second"))
	require.NoError(t, a.close())
	for file, want := range map[string]string{name + ".1": `"first\"\n"`, name: `"second"`} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(text), "\n"), "one request, one line")
		require.Contains(t, string(text), want)
	}
}

func requestOf(agent string) s3api.Request {
	return s3api.Request{ID: "id", Method: "GET", URI: "/b/k", Proto: "HTTP/1.1", Status: 200, UserAgent: agent, Began: time.Now()}
}
