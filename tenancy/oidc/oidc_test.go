package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// provider is an identity provider: discovery, keys, and tokens.
type provider struct {
	t   testing.TB
	srv *httptest.Server

	away  atomic.Bool
	asked atomic.Int64 // for its keys

	mu   sync.Mutex
	keys map[string]crypto.Signer // published
}

func newProvider(t testing.TB) *provider {
	p := &provider{t: t, keys: map[string]crypto.Signer{}}
	p.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": p.srv.URL, "jwks_uri": p.srv.URL + "/keys"})
		case "/keys":
			p.asked.Add(1)
			_, _ = w.Write(p.jwks())
		}
	}))
	t.Cleanup(p.srv.Close)
	return p
}

func (p *provider) jwks() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	var set jose.JSONWebKeySet
	for kid, k := range p.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: kid, Use: "sig"})
	}
	raw, err := json.Marshal(set)
	require.NoError(p.t, err)
	return raw
}

func (p *provider) publish(kid string, k crypto.Signer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys[kid] = k; k == nil {
		delete(p.keys, kid)
	}
}

func (p *provider) claims(more map[string]any) jwt.MapClaims {
	c := jwt.MapClaims{"iss": p.srv.URL, "aud": "k3fs", "sub": "u1", "exp": time.Now().Add(time.Hour).Unix(), "org": "acme", "groups": "builders"}
	for k, v := range more {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func (p *provider) sign(method jwt.SigningMethod, kid string, key any, more map[string]any) string {
	token := jwt.NewWithClaims(method, p.claims(more))
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	require.NoError(p.t, err)
	return text
}

// directory has one account, acme's builder.
type directory struct{}

func (directory) Federated(_ context.Context, tenant, account string) (tenancy.Principal, error) {
	switch {
	case tenant != "acme":
		return tenancy.Principal{}, tenancy.ErrNoTenant
	case account != "builder":
		return tenancy.Principal{}, tenancy.ErrNoAccount
	}
	return tenancy.Principal{Tenant: 7, Account: "builder"}, nil
}

type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func (p *provider) verifier(c *clock, change func(*Issuer)) *Verifier {
	p.t.Helper()
	one := Issuer{URL: p.srv.URL, Audiences: []string{"k3fs"}, TenantClaim: "org", AccountClaim: "groups", Accounts: map[string]string{"builders": "builder"}}
	if change != nil {
		change(&one)
	}
	v, err := New([]Issuer{one}, Options{Directory: directory{}, Now: c.now, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(p.t, err)
	p.t.Cleanup(v.Close)
	return v
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func ecKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	require.NoError(t, err)
	return k
}

func TestVerify(t *testing.T) {
	p, c, ctx := newProvider(t), &clock{}, t.Context()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ec, ec384 := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384())
	p.publish("rsa", rsaKey())
	p.publish("ec", ec)
	p.publish("ec384", ec384)
	p.publish("ed", ed)
	v := p.verifier(c, nil)
	for _, token := range []string{
		p.sign(jwt.SigningMethodRS256, "rsa", rsaKey(), nil), p.sign(jwt.SigningMethodRS512, "rsa", rsaKey(), nil),
		p.sign(jwt.SigningMethodES256, "ec", ec, nil), p.sign(jwt.SigningMethodES384, "ec384", ec384, nil), p.sign(jwt.SigningMethodEdDSA, "ed", ed, nil),
		p.sign(jwt.SigningMethodEdDSA, "", ed, nil), // the only key that fits
		p.sign(jwt.SigningMethodES256, "ec", ec, map[string]any{"aud": []string{"other", "k3fs"}, "groups": []string{"staff", "builders"}, "nbf": time.Now().Unix()}),
	} {
		id, err := v.Verify(ctx, token)
		require.NoError(t, err)
		require.Equal(t, "builder", id.Principal.Account)
		require.Equal(t, "u1", id.Subject)
		require.Equal(t, "k3fs", id.Audience)
	}
	require.Equal(t, int64(1), p.asked.Load(), "keys are kept")
}

func TestRefused(t *testing.T) {
	p, c, ctx := newProvider(t), &clock{}, t.Context()
	ec, other := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil { // Go refuses to make it
		weak = rsaKey()
	}
	p.publish("ec", ec)
	p.publish("rsa", rsaKey())
	p.publish("weak", weak)
	v := p.verifier(c, nil)
	public, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
	require.NoError(t, err)
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	es := func(more map[string]any) string { return p.sign(jwt.SigningMethodES256, "ec", ec, more) }
	good := es(nil)
	parts := strings.Split(good, ".")
	crit := jwt.NewWithClaims(jwt.SigningMethodES256, p.claims(nil))
	crit.Header["kid"], crit.Header["crit"] = "ec", []string{"b64"}
	critical, err := crit.SignedString(ec)
	require.NoError(t, err)
	later := time.Now().Add(time.Hour).Unix()
	for name, token := range map[string]string{
		"none":                   p.sign(jwt.SigningMethodNone, "ec", jwt.UnsafeAllowNoneSignatureType, nil),
		"HMAC with a public key": p.sign(jwt.SigningMethodHS256, "rsa", asPEM, nil),
		"PSS":                    p.sign(jwt.SigningMethodPS256, "rsa", rsaKey(), nil),
		"RSA for an EC key":      p.sign(jwt.SigningMethodRS256, "ec", rsaKey(), nil),
		"another's key":          p.sign(jwt.SigningMethodES256, "ec", other, nil),
		"another's key, no id":   p.sign(jwt.SigningMethodES256, "", other, nil),
		"unknown key":            p.sign(jwt.SigningMethodES256, "no", other, nil),
		"no expiry":              es(map[string]any{"exp": nil}),
		"expiry of a wrong kind": es(map[string]any{"exp": "tomorrow"}),
		"not yet":                es(map[string]any{"nbf": later}),
		"issued later":           es(map[string]any{"iat": later}),
		"another audience":       es(map[string]any{"aud": "other"}),
		"no audience":            es(map[string]any{"aud": nil}),
		"another issuer":         es(map[string]any{"iss": "https://example.com"}),
		"issuer with a slash":    es(map[string]any{"iss": p.srv.URL + "/"}),
		"no issuer":              es(map[string]any{"iss": nil}),
		"another tenant":         es(map[string]any{"org": "other"}),
		"two tenants":            es(map[string]any{"org": []string{"acme", "other"}}),
		"no tenant":              es(map[string]any{"org": nil}),
		"no account":             es(map[string]any{"groups": "staff"}),
		"account by its name":    es(map[string]any{"groups": "builder"}),
		"critical header":        critical,
		"cut":                    good[:len(good)-4],
		"no signature":           parts[0] + "." + parts[1] + ".",
		"another payload":        parts[0] + "." + strings.Split(es(map[string]any{"sub": "u2"}), ".")[1] + "." + parts[2],
		"empty":                  "", "dots": "..", "words": "a.b.c",
		"long":        strings.Repeat("a", 1<<20),
		"header only": base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + ".e30.",
	} {
		id, err := v.Verify(ctx, token)
		require.ErrorIs(t, err, ErrRefused, name)
		require.NotErrorIs(t, err, ErrExpired, name)
		require.Zero(t, id, name)
	}
	_, err = v.Verify(ctx, es(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}))
	require.ErrorIs(t, err, ErrExpired)
	_, err = v.Verify(ctx, p.sign(jwt.SigningMethodES256, "ec", other, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}))
	require.NotErrorIs(t, err, ErrExpired, "who can't sign is told nothing")
	if weak != rsaKey() {
		_, err = v.Verify(ctx, p.sign(jwt.SigningMethodRS256, "weak", weak, nil))
		require.ErrorIs(t, err, ErrRefused)
	}
}

// Keys that were fetched go on counting while the issuer is away, for as long as they may.
func TestOutage(t *testing.T) {
	p, c, ctx := newProvider(t), &clock{}, t.Context()
	ec := ecKey(t, elliptic.P256())
	p.publish("ec", ec)
	p.away.Store(true)
	v := p.verifier(c, nil)
	token := p.sign(jwt.SigningMethodES256, "ec", ec, map[string]any{"exp": time.Now().Add(100 * time.Hour).Unix()})
	_, err := v.Verify(ctx, token)
	require.ErrorIs(t, err, ErrAway, "no keys are known yet")
	p.away.Store(false)
	_, err = v.Verify(ctx, token)
	require.ErrorIs(t, err, ErrAway, "it is not asked again at once")
	c.advance(pause)
	_, err = v.Verify(ctx, token)
	require.NoError(t, err)
	p.away.Store(true)
	c.advance(23 * time.Hour)
	_, err = v.Verify(ctx, token)
	require.NoError(t, err, "keys that are known are used on")
	v.Close() // the fetch aside
	c.advance(time.Hour + time.Minute)
	_, err = v.Verify(ctx, token)
	require.ErrorIs(t, err, ErrAway, "but not for ever")
	p.away.Store(false)
	c.advance(pause)
	_, err = v.Verify(ctx, token)
	require.NoError(t, err)
}

func TestRotation(t *testing.T) {
	p, c, ctx := newProvider(t), &clock{}, t.Context()
	first, second, third := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	p.publish("1", first)
	v := p.verifier(c, nil)
	of := func(kid string, k *ecdsa.PrivateKey) string { return p.sign(jwt.SigningMethodES256, kid, k, nil) }
	_, err := v.Verify(ctx, of("1", first))
	require.NoError(t, err)
	p.publish("2", second)
	c.advance(pause)
	_, err = v.Verify(ctx, of("2", second))
	require.NoError(t, err, "a key that isn't known is asked for")
	require.Equal(t, int64(2), p.asked.Load())
	p.publish("3", third)
	for range 50 {
		_, err = v.Verify(ctx, of("3", third))
		require.ErrorIs(t, err, ErrRefused)
	}
	require.Equal(t, int64(2), p.asked.Load(), "but not whenever somebody sends one")
	c.advance(pause)
	_, err = v.Verify(ctx, of("3", third))
	require.NoError(t, err)
	p.publish("1", nil)
	c.advance(fresh)
	_, err = v.Verify(ctx, of("3", third)) // has the keys fetched aside
	require.NoError(t, err)
	v.Close()
	_, err = v.Verify(ctx, of("1", first))
	require.ErrorIs(t, err, ErrRefused, "a key that was taken back does not count")
}

// Many tokens at a time make the issuer be asked once.
func TestCrowd(t *testing.T) {
	p, c := newProvider(t), &clock{}
	ec := ecKey(t, elliptic.P256())
	p.publish("ec", ec)
	v := p.verifier(c, nil)
	token := p.sign(jwt.SigningMethodES256, "ec", ec, nil)
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			if _, err := v.Verify(context.Background(), token); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.Equal(t, int64(1), p.asked.Load())
}

func TestStaticKeys(t *testing.T) {
	p, c, ctx := newProvider(t), &clock{}, t.Context()
	ec := ecKey(t, elliptic.P256())
	p.publish("ec", ec)
	file := filepath.Join(t.TempDir(), "jwks.json")
	require.NoError(t, os.WriteFile(file, p.jwks(), 0o600))
	p.away.Store(true)
	v := p.verifier(c, func(i *Issuer) { i.JWKS, i.TenantClaim, i.Tenant = file, "", "acme" })
	_, err := v.Verify(ctx, p.sign(jwt.SigningMethodES256, "ec", ec, map[string]any{"org": "other"}))
	require.NoError(t, err, "the issuer is of one tenant, whatever the claim says")
	_, err = v.Verify(ctx, p.sign(jwt.SigningMethodES256, "no", ec, nil))
	require.ErrorIs(t, err, ErrRefused)
	require.Zero(t, p.asked.Load())
}

func TestConfiguration(t *testing.T) {
	good := Issuer{URL: "https://id.example.com", Audiences: []string{"k3fs"}, Tenant: "acme", AccountClaim: "sub"}
	for name, change := range map[string]func(*Issuer){
		"plain http":   func(i *Issuer) { i.URL = "http://id.example.com" },
		"no url":       func(i *Issuer) { i.URL = "" },
		"query":        func(i *Issuer) { i.URL += "?x=y" },
		"no audience":  func(i *Issuer) { i.Audiences = nil },
		"no tenant":    func(i *Issuer) { i.Tenant = "" },
		"two tenants":  func(i *Issuer) { i.TenantClaim = "org" },
		"no account":   func(i *Issuer) { i.AccountClaim = "" },
		"missing file": func(i *Issuer) { i.JWKS = "/nonexistent" },
	} {
		one := good
		change(&one)
		_, err := New([]Issuer{one}, Options{Directory: directory{}})
		require.Error(t, err, name)
	}
	_, err := New([]Issuer{good, good}, Options{Directory: directory{}})
	require.ErrorContains(t, err, "twice")
	_, err = New([]Issuer{good}, Options{Directory: directory{}})
	require.NoError(t, err)
}

// A provider whose configuration is another's, or leads elsewhere, is as good as away.
func TestDiscoveryIsChecked(t *testing.T) {
	for _, doc := range []string{`{"issuer":"https://other.example.com","jwks_uri":"https://other.example.com/keys"}`, `{"issuer":"SELF","jwks_uri":"http://192.0.2.1/keys"}`,
		`{"issuer":"SELF","jwks_uri":"file:///etc/passwd"}`, `{"issuer":"SELF"}`, `[]`, ``, strings.Repeat(" ", maxDocument+1)} {
		srv := httptest.NewServer(nil)
		srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.ReplaceAll(doc, "SELF", srv.URL)))
		})
		v, err := New([]Issuer{{URL: srv.URL, Audiences: []string{"k3fs"}, Tenant: "acme", AccountClaim: "sub"}}, Options{Directory: directory{}, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		p := &provider{t: t, srv: srv}
		_, err = v.Verify(t.Context(), p.sign(jwt.SigningMethodES256, "ec", ecKey(t, elliptic.P256()), nil))
		require.ErrorIs(t, err, ErrAway, doc[:min(len(doc), 80)])
		srv.Close()
	}
}

func FuzzVerify(f *testing.F) {
	p, c := newProvider(f), &clock{}
	ec := ecKey(f, elliptic.P256())
	p.publish("ec", ec)
	v := p.verifier(c, nil)
	good := p.sign(jwt.SigningMethodES256, "ec", ec, nil)
	f.Add(good)
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		if id, err := v.Verify(t.Context(), token); err == nil && !strings.HasPrefix(token, good[:strings.LastIndexByte(good, '.')]) || err != nil && id != (Identity{}) {
			t.Fatalf("%q: %+v %v", token, id, err)
		}
	})
}

func FuzzKeys(f *testing.F) {
	p := newProvider(f)
	p.publish("ec", ecKey(f, elliptic.P256()))
	f.Add(p.jwks())
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, err := parseKeys(raw)
		for _, k := range keys {
			if err != nil || !k.IsPublic() {
				t.Fatalf("%q", raw)
			}
		}
	})
}
