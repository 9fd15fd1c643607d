// Package adminclient is the way of commands to the admin API: it finds the daemon, on its socket or on the network,
// and signs each request with AWS Signature Version 4, so that no secret leaves the caller.
package adminclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"k3fs/daemon/adminapi"
	"k3fs/daemon/control"
)

// region is the one that requests are signed for; the store takes any.
const region = "us-east-1"

// Target is a daemon, and as whom to speak to it.
type Target struct {
	// Socket is the path of a socket of the daemon; else Endpoint is the URL of its admin listener.
	Socket, Endpoint string
	// CA is a file in PEM of who signs the endpoint's certificate; empty: who the host trusts.
	CA string
	// ClientCert and ClientKey are files in PEM, for an endpoint that asks for them.
	ClientCert, ClientKey string

	// Credentials, none for the host's administrator on the socket, who may act for a tenant by its name.
	AccessKey, SecretKey, SessionToken, Tenant string
}

// URL is where the API's services are.
func (t Target) URL() string {
	if t.Socket != "" {
		return "http://k3fs"
	}
	return strings.TrimRight(t.Endpoint, "/")
}

// Client returns an HTTP client that signs what it sends. Secrets never go over plain HTTP to another host: an
// endpoint that is neither https nor a loopback address is an error.
func (t Target) Client() (*http.Client, error) {
	transport := &http.Transport{ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute, DisableCompression: true}
	switch {
	case t.Socket != "":
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return control.Dial(ctx, t.Socket) }
	case strings.HasPrefix(t.Endpoint, "https://"):
		var err error
		if transport.TLSClientConfig, err = t.tls(); err != nil {
			return nil, err
		}
	case !strings.HasPrefix(t.Endpoint, "http://"):
		return nil, fmt.Errorf("%q is no endpoint: write https://HOST:PORT", t.Endpoint)
	}
	return &http.Client{Transport: &signing{t: t, next: transport}}, nil
}

func (t Target) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		raw, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", t.CA)
		}
	}
	if t.ClientCert != "" {
		pair, err := tls.LoadX509KeyPair(t.ClientCert, t.ClientKey)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// signing signs requests.
type signing struct {
	t    Target
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (s *signing) RoundTrip(r *http.Request) (*http.Response, error) {
	signed, err := s.t.Sign(r)
	if err != nil {
		return nil, err
	}
	return s.next.RoundTrip(signed)
}

// Sign returns a request that says, and proves, as whom it is made. Its body is read.
func (t Target) Sign(r *http.Request) (*http.Request, error) {
	r = r.Clone(r.Context())
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, errors.Join(err, r.Body.Close())
		}
		if err := r.Body.Close(); err != nil {
			return nil, err
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	if t.Tenant != "" {
		r.Header.Set(adminapi.TenantHeader, t.Tenant)
	}
	if t.AccessKey == "" {
		return r, nil
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	r.Header.Set(adminapi.NonceHeader, rand.Text())
	who := aws.Credentials{AccessKeyID: t.AccessKey, SecretAccessKey: t.SecretKey, SessionToken: t.SessionToken}
	return r, v4.NewSigner().SignHTTP(r.Context(), who, r, hash, adminapi.Service, region, time.Now())
}
