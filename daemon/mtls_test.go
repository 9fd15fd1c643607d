package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"k3fs/daemon/adminapi/adminclient"
	"k3fs/daemon/adminapi/adminv1"
	"k3fs/daemon/adminapi/adminv1/adminv1connect"
)

// authority signs certificates of clients.
type authority struct {
	file string // its certificate, in PEM
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := &authority{file: filepath.Join(t.TempDir(), "ca.pem"), key: key}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	raw, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &key.PublicKey, key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600))
	return a
}

// client makes files of a certificate that ends at a time, and of its key.
func (a *authority) client(t *testing.T, ends time.Time, use x509.ExtKeyUsage) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "operator"},
		NotBefore: ends.Add(-time.Hour), NotAfter: ends, ExtKeyUsage: []x509.ExtKeyUsage{use}}, a.cert, &private.PublicKey, a.key)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return cert, key
}

// The admin listener with mTLS lets in who has a certificate of the right authority, and nobody else as far as a method,
// a page or the metrics, whatever access key he has.
func TestMutualTLS(t *testing.T) {
	cfg := testConfig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg.Admin.Listen = l.Addr().String()
	require.NoError(t, l.Close())
	clients, others := newAuthority(t), newAuthority(t)
	cfg.Admin.TLS, cfg.Admin.ClientCA = selfSigned, clients.file
	cfg.Root = RootConfig{AccessKey: "AKIAROOT00000000", SecretKey: "root-secret-root-secret-root-secret-1234"}
	r := start(t, cfg)
	soon, past := time.Now().Add(30*time.Minute), time.Now().Add(-30*time.Minute)
	ask := func(change func(*adminclient.Target)) error {
		target := adminclient.Target{Endpoint: "https://" + cfg.Admin.Listen, CA: filepath.Join(cfg.Data, "tls", "cert.pem"),
			AccessKey: cfg.Root.AccessKey, SecretKey: cfg.Root.SecretKey}
		target.ClientCert, target.ClientKey = clients.client(t, soon, x509.ExtKeyUsageClientAuth)
		change(&target)
		client, err := target.Client()
		require.NoError(t, err)
		defer client.CloseIdleConnections()
		answer, err := adminv1connect.NewAccountServiceClient(client, target.URL()).WhoAmI(t.Context(), connect.NewRequest(&adminv1.WhoAmIRequest{}))
		if err == nil {
			require.Equal(t, "root", answer.Msg.Account)
		}
		return err
	}
	require.NoError(t, ask(func(*adminclient.Target) {}))
	require.Equal(t, connect.CodeUnauthenticated, connect.CodeOf(ask(func(c *adminclient.Target) { c.SecretKey = "not-the-secret-not-the-secret" })), "a certificate is no access key")
	for name, change := range map[string]func(*adminclient.Target){
		"no certificate": func(c *adminclient.Target) { c.ClientCert, c.ClientKey = "", "" },
		"a certificate of another authority": func(c *adminclient.Target) {
			c.ClientCert, c.ClientKey = others.client(t, soon, x509.ExtKeyUsageClientAuth)
		},
		"one that has expired": func(c *adminclient.Target) {
			c.ClientCert, c.ClientKey = clients.client(t, past, x509.ExtKeyUsageClientAuth)
		},
		"one that is not valid yet": func(c *adminclient.Target) {
			c.ClientCert, c.ClientKey = clients.client(t, time.Now().Add(3*time.Hour), x509.ExtKeyUsageClientAuth)
		},
		"one for servers": func(c *adminclient.Target) {
			c.ClientCert, c.ClientKey = clients.client(t, soon, x509.ExtKeyUsageServerAuth)
		},
		"a server that the client does not trust": func(c *adminclient.Target) { c.CA = others.file },
		"plain HTTP": func(c *adminclient.Target) { c.Endpoint = "http://" + cfg.Admin.Listen },
	} {
		require.Error(t, ask(change), name)
	}
	res, err := http.Get("http://" + cfg.Admin.Listen + "/metrics")
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.NoError(t, res.Body.Close())
	cert, key := clients.client(t, soon, x509.ExtKeyUsageClientAuth)
	pair, err := tls.LoadX509KeyPair(cert, key)
	require.NoError(t, err)
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", cfg.Admin.Listen, &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true,
			MinVersion: version, MaxVersion: version})
		require.Equal(t, ok, err == nil, "%x: %v", version, err)
		if err == nil {
			require.NoError(t, conn.Close())
		}
	}
	r.stop()
	require.NoError(t, r.wait(t, 20*time.Second))
}
