package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k3fs/internal/wholefile"
)

// selfSigned, as s3.tls, asks for a certificate made here.
const selfSigned = "self"

// certLook is how often a certificate's files are looked at, at most.
const certLook = time.Second

// certificate is a TLS certificate in two files, read again once they change. The last one that could be read
// stays in force. Its lock, mu, is a leaf.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   [2]time.Time // modification times of what is current
	looked  time.Time
}

func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	return c, c.reload()
}

// reload reads the files. On an error what was read before stays.
func (c *certificate) reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

// read is reload with mu held.
func (c *certificate) read() error {
	stamp, err := c.stamps()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current, c.stamp = &pair, stamp
	return nil
}

func (c *certificate) stamps() (s [2]time.Time, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s[i] = info.ModTime()
	}
	return s, nil
}

// get is tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= certLook {
		c.looked = now
		if s, err := c.stamps(); err == nil && s != c.stamp {
			if err := c.read(); err != nil {
				c.log.Warn("the new TLS certificate can't be used; the old one stays", "err", err)
			} else {
				c.log.Info("TLS certificate was read again", "file", c.certFile)
			}
		}
	}
	return c.current, nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"h2", "http/1.1"}}
}

// handshakes is a TLS listener whose handshakes run on goroutines of their own. They need several times the stack that a
// connection needs afterwards, and would leave each connection with it.
type handshakes struct{ net.Listener }

// Accept returns a connection whose handshake has begun. The server, which makes it too, waits for it within its time
// and is told its error.
func (l handshakes) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if secure, ok := c.(*tls.Conn); ok {
		begun := make(chan struct{})
		go func() {
			close(begun)
			_ = secure.Handshake()
		}()
		<-begun
	}
	return c, err
}

// openTLS reads the certificate that a section of the configuration names, or makes one, which the sections share;
// nil means plain HTTP.
func (d *Daemon) openTLS(section, own, certFile, keyFile string) (*certificate, error) {
	if own == selfSigned {
		certFile, keyFile = filepath.Join(d.cfg.Data, "tls", "cert.pem"), filepath.Join(d.cfg.Data, "tls", "key.pem")
		if !exists(certFile) || !exists(keyFile) {
			if err := makeCertificate(certFile, keyFile, []string{d.cfg.S3.Listen, d.cfg.Admin.Listen}, d.cfg.S3.Domains, time.Now()); err != nil {
				return nil, fmt.Errorf("make a TLS certificate: %w", err)
			}
			d.log.Info("made a self-signed TLS certificate: give it to clients as CA bundle", "file", certFile)
		}
	}
	if certFile == "" {
		return nil, nil
	}
	c, err := loadCertificate(certFile, keyFile, d.log)
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("%[1]s.tls_cert, %[1]s.tls_key: %[2]w", section, err)}
	}
	return c, nil
}

// makeCertificate makes a self-signed certificate for this host's names and addresses, and for every bucket's
// name below the configured domains, good for ten years.
func makeCertificate(certFile, keyFile string, listeners, domains []string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "k3fs"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if name, err := os.Hostname(); err == nil && name != "localhost" {
		t.DNSNames = append(t.DNSNames, name)
	}
	for _, at := range listeners {
		if host, _, err := net.SplitHostPort(at); err == nil && host != "" && host != "localhost" {
			if ip := net.ParseIP(host); ip == nil {
				t.DNSNames = append(t.DNSNames, host)
			} else if !ip.IsUnspecified() && !ip.IsLoopback() {
				t.IPAddresses = append(t.IPAddresses, ip)
			}
		}
	}
	for _, d := range domains {
		d = strings.TrimPrefix(d, "*.")
		t.DNSNames = append(t.DNSNames, d, "*."+d)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(certFile), 0o700); err != nil {
		return err
	}
	return errors.Join(
		wholefile.Replace(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})),
		wholefile.Replace(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
	)
}
