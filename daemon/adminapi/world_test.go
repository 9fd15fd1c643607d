package adminapi_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
	"k3fs/daemon/adminapi"
	"k3fs/daemon/adminapi/adminclient"
	"k3fs/daemon/adminapi/adminv1"
	"k3fs/metastore/memkv"
	"k3fs/namespace"
	"k3fs/tenancy"
	"k3fs/tenancy/oidc"
)

// world is the API on a real namespace, all in memory, with two tenants.
type world struct {
	t     *testing.T
	srv   *httptest.Server
	ten   *tenancy.Tenancy
	fs    *namespace.FS
	root  tenancy.Credentials // of the first tenant
	other tenancy.Credentials // root of the other
	calls chan adminapi.Call

	ahead  atomic.Int64       // of tenancy's clock, in nanoseconds
	issuer ed25519.PrivateKey // of tokens
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, quiet := context.Background(), slog.New(slog.DiscardHandler)
	master, err := tenancy.CreateMaster(filepath.Join(t.TempDir(), "master"))
	require.NoError(t, err)
	kv := memkv.New(memkv.Options{})
	w := &world{t: t, calls: make(chan adminapi.Call, 10_000)}
	w.ten, err = tenancy.Open(ctx, kv, tenancy.Options{Master: master, Now: func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }})
	require.NoError(t, err)
	w.root, err = w.ten.EnsureRoot(ctx, "AKIAROOT00000000", "root-secret-root-secret-root-secret-1234")
	require.NoError(t, err)
	_, w.other, err = w.ten.As(tenancy.Root(tenancy.FirstTenant)).CreateTenant(ctx, "other", "")
	require.NoError(t, err)
	chunks := storetest.Open(t, storetest.NewCrashFS(), w.ten)
	w.fs, err = namespace.Open(ctx, namespace.Options{KV: kv, Chunks: chunks, Authority: w.ten, Logger: quiet})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.fs.Close(ctx)) })
	api, err := adminapi.New(adminapi.Options{Namespace: w.fs, Tenancy: w.ten, Node: daemonLike{w.fs}, Logger: quiet, Now: time.Now,
		Bearer: w.verifier().Verify, Done: func(c adminapi.Call) { w.calls <- c }})
	require.NoError(t, err)
	w.srv = httptest.NewUnstartedServer(api)
	w.srv.Config.Protocols = new(http.Protocols)
	w.srv.Config.Protocols.SetHTTP1(true)
	w.srv.Config.Protocols.SetUnencryptedHTTP2(true)
	w.srv.Start()
	t.Cleanup(w.srv.Close)
	return w
}

// Of the identity provider whose tokens the world takes.
const (
	issuerURL = "https://issuer.example"
	audience  = "k3fs"
)

// verifier takes tokens of one identity provider, whose "sub" are accounts of the first tenant.
func (w *world) verifier() *oidc.Verifier {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(w.t, err)
	w.issuer = private
	keys := filepath.Join(w.t.TempDir(), "keys.json")
	require.NoError(w.t, os.WriteFile(keys, fmt.Appendf(nil, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public)), 0o600))
	v, err := oidc.New([]oidc.Issuer{{URL: issuerURL, Audiences: []string{audience}, JWKS: keys, Tenant: "default", AccountClaim: "sub"}},
		oidc.Options{Directory: w.ten, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(w.t, err)
	return v
}

// token is one of the identity provider for an account, but for what change does to it.
func (w *world) token(account string, change func(c jwt.MapClaims) (jwt.SigningMethod, any)) string {
	c := jwt.MapClaims{"iss": issuerURL, "aud": audience, "sub": account, "exp": time.Now().Add(time.Hour).Unix()}
	var method jwt.SigningMethod = jwt.SigningMethodEdDSA
	var key any = w.issuer
	if change != nil {
		method, key = change(c)
	}
	t := jwt.NewWithClaims(method, c)
	t.Header["kid"] = "one"
	signed, err := t.SignedString(key)
	require.NoError(w.t, err)
	return signed
}

// daemonLike stands for the daemon.
type daemonLike struct{ fs *namespace.FS }

func (daemonLike) Status() *adminv1.GetStatusResponse {
	return &adminv1.GetStatusResponse{Version: "test", Ready: true}
}
func (d daemonLike) Clock() namespace.ClockState { return d.fs.Clock() }
func (daemonLike) Mounts(t tenancy.TenantID) []*adminv1.Mount {
	if t != tenancy.FirstTenant {
		return nil
	}
	return []*adminv1.Mount{{Dir: "/mnt", Source: "bucket"}}
}
func (daemonLike) EndMount(_ context.Context, t tenancy.TenantID, dir string, _ bool) error {
	if t != tenancy.FirstTenant || dir != "/mnt" {
		return &namespace.Error{Op: "end mount", Name: dir, Kind: namespace.NotFound}
	}
	return nil
}

func (daemonLike) EndMounts(context.Context, tenancy.TenantID) error { return nil }
func (daemonLike) NodeKeys(context.Context, tenancy.Principal) (*adminv1.NodeKeys, error) {
	return &adminv1.NodeKeys{Lock: "test"}, nil
}
func (daemonLike) RotateNodeKeys(context.Context, tenancy.Principal) error { return nil }

func (daemonLike) Maintenance() *adminv1.Maintenance                          { return &adminv1.Maintenance{} }
func (daemonLike) Drain(context.Context, tenancy.Principal, bool) error       { return nil }
func (daemonLike) SetReadOnly(context.Context, tenancy.Principal, bool) error { return nil }
func (daemonLike) Scrub() *adminv1.Scrub                                      { return &adminv1.Scrub{} }
func (daemonLike) StopScrub(context.Context, tenancy.Principal) error         { return nil }
func (daemonLike) StartScrub(context.Context, tenancy.Principal, *adminv1.StartScrubRequest) error {
	return nil
}

func (daemonLike) Backup() *adminv1.Backup                                      { return &adminv1.Backup{} }
func (daemonLike) StopBackup(context.Context, tenancy.Principal) error          { return nil }
func (daemonLike) StartBackup(context.Context, tenancy.Principal, string) error { return nil }

// target is the API as an access key uses it.
func (w *world) target(c tenancy.Credentials) adminclient.Target {
	return adminclient.Target{Endpoint: w.srv.URL, AccessKey: c.AccessKey, SecretKey: c.Secret}
}

// client is an HTTP client that signs as an access key.
func (w *world) client(c tenancy.Credentials) *http.Client {
	client, err := w.target(c).Client()
	require.NoError(w.t, err)
	return client
}

func code(t *testing.T, want connect.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, connect.CodeOf(err), "%v", err)
}

// copyOf makes the object a of the bucket case, once, and says how to copy it onto itself.
func copyOf(t *testing.T, v *namespace.View) namespace.CopyOptions {
	if _, err := v.HeadObject(t.Context(), "case", "a", namespace.ReadOptions{}); err != nil {
		bucket, err := v.Lookup(t.Context(), namespace.RootIno, "case")
		require.NoError(t, err)
		_, h, err := v.Create(t.Context(), bucket.Ino, "a", namespace.NewNode{Mode: 0o644, Type: namespace.File}, namespace.OpenFlags{Write: true})
		require.NoError(t, err)
		_, err = h.WriteAt(t.Context(), []byte("evidence"), 0)
		require.NoError(t, err)
		require.NoError(t, h.Flush(t.Context()))
		require.NoError(t, h.Close(t.Context()))
	}
	return namespace.CopyOptions{SelfCopyOK: true}
}
