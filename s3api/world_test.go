package s3api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
	"k3fs/metastore/memkv"
	"k3fs/namespace"
	"k3fs/tenancy"
	"k3fs/tenancy/fair"
	"k3fs/tenancy/oidc"
)

// world is a door on a real namespace, all in memory, with two tenants.
type world struct {
	t          testing.TB
	srv        *httptest.Server
	fs         *namespace.FS
	ten        *tenancy.Tenancy
	tokens     map[string]tenancy.Principal // bearer tokens that are taken
	mine, them tenancy.Credentials
	theirs     tenancy.TenantID // of them
	door       *Server
	ahead      atomic.Int64 // what tenancy's clock is ahead, in nanoseconds
	clock      atomic.Int64 // what the door's clock is ahead, in nanoseconds
	seen       atomic.Pointer[watch]
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ctx := context.Background()
	quiet := slog.New(slog.DiscardHandler)
	master, err := tenancy.CreateMaster(filepath.Join(t.TempDir(), "master"))
	require.NoError(t, err)
	kv := memkv.New(memkv.Options{})
	w := &world{t: t}
	ten, err := tenancy.Open(ctx, kv, tenancy.Options{Master: master, Now: func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }})
	require.NoError(t, err)
	w.ten = ten
	w.mine, err = ten.EnsureRoot(ctx, "AKIAMINE00000000", "mine-secret-mine-secret-mine-secret-1234")
	require.NoError(t, err)
	require.NoError(t, ten.EnsureKMSKey(ctx, tenancy.FirstTenant, "mine"))
	other, err := ten.CreateTenant(ctx, "other")
	require.NoError(t, err)
	w.theirs = other.ID
	_, err = ten.CreateAccount(ctx, other.ID, "worker", tenancy.NewAccount{})
	require.NoError(t, err)
	w.them, err = ten.CreateAccessKey(ctx, other.ID, "worker")
	require.NoError(t, err)
	chunks := storetest.Open(t, storetest.NewCrashFS(), ten)
	w.fs, err = namespace.Open(ctx, namespace.Options{KV: kv, Chunks: chunks, Authority: ten, Logger: quiet})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.fs.Close(ctx)) })
	door, err := New(Options{As: func(p tenancy.Principal) namespace.Objects { return w.fs.As(p) }, Authenticate: ten.Authenticate, Used: ten.Used, Sessions: ten, Shared: ten.Shared, Bearer: w.bearer, Tenants: ten, Limiter: fair.NewLimiter(ten.Limits), Gate: fair.NewGate(), KMSKey: ten.KMSKey, SignatureV2: true, StaleUploads: 30 * 24 * time.Hour, Domains: []string{"s3.example.com"}, WebsiteDomains: []string{"web.example.com"}, Logger: quiet,
		Now:  func() time.Time { return time.Now().Add(time.Duration(w.clock.Load())) },
		Done: func(r Request) { w.seen.Load().add(r) }})
	require.NoError(t, err)
	w.door = door
	w.srv = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer w.seen.Load().begin()()
		door.ServeHTTP(rw, r)
	}))
	t.Cleanup(func() {
		w.srv.Close()
		require.NoError(t, door.Close())
	})
	return w
}

// bearer takes the tokens of the world, and knows an expired one.
func (w *world) bearer(_ context.Context, token string) (oidc.Identity, error) {
	p, ok := w.tokens[token]
	switch {
	case token == "expired":
		return oidc.Identity{}, oidc.ErrExpired
	case token == "away":
		return oidc.Identity{}, oidc.ErrAway
	case !ok:
		return oidc.Identity{}, oidc.ErrRefused
	}
	return oidc.Identity{Principal: p, Issuer: "https://id.example.com", Subject: "u1", Audience: "k3fs"}, nil
}

// call makes a signed request; cred nil sends it unsigned. change, if not nil, is applied after signing.
func (w *world) call(cred *tenancy.Credentials, method, pathAndQuery, body string, header http.Header, change func(*http.Request)) *http.Response {
	w.t.Helper()
	r, err := http.NewRequest(method, w.srv.URL+pathAndQuery, strings.NewReader(body))
	require.NoError(w.t, err)
	for k, v := range header {
		r.Header[k] = v
	}
	if cred != nil {
		sum := sha256.Sum256([]byte(body))
		hash := hex.EncodeToString(sum[:])
		r.Header.Set("X-Amz-Content-Sha256", hash)
		signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		require.NoError(w.t, signer.SignHTTP(context.Background(), aws.Credentials{AccessKeyID: cred.AccessKey, SecretAccessKey: cred.Secret},
			r, hash, "s3", "us-east-1", time.Now()))
	}
	if change != nil {
		change(r)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(w.t, err)
	return res
}

// do is call as the first tenant, and reads the answer.
func (w *world) do(method, pathAndQuery, body string, header http.Header) (status int, text string, h http.Header) {
	w.t.Helper()
	res := w.call(&w.mine, method, pathAndQuery, body, header, nil)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	return res.StatusCode, string(b), res.Header
}

func (w *world) want(status int, method, pathAndQuery, body string, header http.Header) string {
	w.t.Helper()
	got, text, _ := w.do(method, pathAndQuery, body, header)
	require.Equal(w.t, status, got, "%s %s: %s", method, pathAndQuery, text)
	return text
}

var noOptions namespace.ReadOptions

func code(body io.Reader) string {
	b, _ := io.ReadAll(body)
	_, rest, _ := bytes.Cut(b, []byte("<Code>"))
	c, _, _ := bytes.Cut(rest, []byte("</Code>"))
	return string(c)
}
