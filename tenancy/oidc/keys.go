package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

const (
	fetchTime    = 5 * time.Second
	fresh        = 10 * time.Minute // after which fetched keys are fetched again
	pause        = 30 * time.Second // between two fetches, whatever asks for them
	defaultStale = 24 * time.Hour
	maxDocument  = 1 << 20
	maxKeys      = 100
	minRSA       = 2048
)

// issuer is one with its keys.
type issuer struct {
	Issuer
	o Options

	fetching sync.Mutex // held while the issuer is asked
	fetches  sync.WaitGroup

	mu      sync.Mutex
	keys    []jose.JSONWebKey // guarded by mu
	fetched time.Time         // guarded by mu: when keys were; zero: never
	tried   time.Time         // guarded by mu: when a fetch last began
}

func newIssuer(conf Issuer, o Options) (*issuer, error) {
	if conf.Stale <= 0 {
		conf.Stale = defaultStale
	}
	i := &issuer{Issuer: conf, o: o}
	switch {
	case len(conf.Audiences) == 0:
		return nil, errors.New("audience is required: it keeps tokens for others out")
	case (conf.Tenant == "") == (conf.TenantClaim == ""):
		return nil, errors.New("give either tenant or tenant_claim")
	case conf.AccountClaim == "":
		return nil, errors.New("account_claim is required")
	case conf.URL == "":
		return nil, errors.New("url is required")
	}
	if conf.JWKS != "" {
		raw, err := os.ReadFile(conf.JWKS)
		if err == nil {
			i.keys, err = parseKeys(raw)
		}
		if err == nil && len(i.keys) == 0 {
			err = errors.New("there is no usable key in it")
		}
		if err != nil {
			return nil, fmt.Errorf("jwks %s: %w", conf.JWKS, err)
		}
		return i, nil
	}
	return i, checkURL(conf.URL)
}

// checkURL allows https, and http on this host.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q is no URL of an issuer", text)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http":
		if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
			return nil
		}
	}
	return fmt.Errorf("%q must be https", text)
}

// keyFor finds the key that a token says it is signed by.
func (i *issuer) keyFor(t *jwt.Token) (any, error) {
	if _, ok := t.Header["crit"]; ok {
		return nil, errors.New("it has critical headers, none of which is known")
	}
	kid, _ := t.Header["kid"].(string)
	keys, age, err := i.current()
	if err != nil {
		return nil, err
	}
	key, ok := find(keys, kid, t.Method.Alg())
	if !ok && i.JWKS == "" && i.refresh(age) {
		if keys, _, err = i.current(); err != nil {
			return nil, err
		}
		key, ok = find(keys, kid, t.Method.Alg())
	}
	if !ok {
		return nil, errors.New("the issuer has no such key")
	}
	return key, nil
}

// find is the key of that id which fits the algorithm; without an id, the only one that fits.
func find(keys []jose.JSONWebKey, kid, alg string) (key any, ok bool) {
	n := 0
	for _, k := range keys {
		if k.KeyID == kid || kid == "" {
			if (k.Algorithm == "" || k.Algorithm == alg) && fits(k.Key, alg) {
				key = k.Key
				n++
			}
		}
	}
	return key, n == 1
}

// fits reports whether a public key is of the algorithm's kind, and strong enough.
func fits(key any, alg string) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") && k.N.BitLen() >= minRSA
	case *ecdsa.PublicKey:
		bits := map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}[alg]
		return bits != 0 && k.Curve.Params().BitSize == bits
	case ed25519.PublicKey:
		return alg == "EdDSA" && len(k) == ed25519.PublicKeySize
	}
	return false
}

// current returns the keys that may be used now; age is when they were fetched. Keys that are not fresh are fetched
// again aside; where there are none that may still be used, at once.
func (i *issuer) current() (keys []jose.JSONWebKey, age time.Time, err error) {
	if i.JWKS != "" {
		return i.keys, time.Time{}, nil
	}
	now := i.o.Now()
	i.mu.Lock()
	keys, age = i.keys, i.fetched
	i.mu.Unlock()
	switch since := now.Sub(age); {
	case !age.IsZero() && since < fresh:
		return keys, age, nil
	case !age.IsZero() && since < i.Stale:
		i.fetches.Go(func() { i.refresh(age) })
		return keys, age, nil
	}
	i.refresh(age)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fetched.IsZero() || i.o.Now().Sub(i.fetched) >= i.Stale {
		return nil, time.Time{}, ErrAway
	}
	return i.keys, i.fetched, nil
}

// refresh fetches the keys, unless those fetched at seen have been followed by others, or a fetch began a moment ago.
// It reports whether there are other keys than at seen.
func (i *issuer) refresh(seen time.Time) bool {
	i.fetching.Lock()
	defer i.fetching.Unlock()
	now := i.o.Now()
	i.mu.Lock()
	newer, soon := i.fetched.After(seen), !i.tried.IsZero() && now.Sub(i.tried) < pause
	if !newer && !soon {
		i.tried = now
	}
	i.mu.Unlock()
	if newer || soon {
		return newer
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	keys, err := i.fetch(ctx)
	if err != nil {
		i.o.Logger.Warn("the keys of an identity provider can't be fetched: those known are used on for a while", "issuer", i.URL, "err", err)
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys, i.fetched = keys, now
	return true
}

// fetch asks the issuer (OpenID Connect Discovery 1.0, 4) for its keys.
func (i *issuer) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	raw, err := i.get(ctx, strings.TrimSuffix(i.URL, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var doc struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("its configuration is no JSON: %w", err)
	}
	if doc.Issuer != i.URL {
		return nil, fmt.Errorf("its configuration is of the issuer %q", doc.Issuer)
	}
	if err := checkURL(doc.JWKS); err != nil && !strings.HasPrefix(doc.JWKS, "https://") {
		return nil, fmt.Errorf("jwks_uri: %w", err)
	}
	if raw, err = i.get(ctx, doc.JWKS); err != nil {
		return nil, err
	}
	keys, err := parseKeys(raw)
	if err == nil && len(keys) == 0 {
		err = errors.New("it publishes no usable key")
	}
	return keys, err
}

func (i *issuer) get(ctx context.Context, from string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	res, err := i.o.Client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", from, res.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	if err == nil && len(raw) > maxDocument {
		err = fmt.Errorf("%s answers more than %d bytes", from, maxDocument)
	}
	return raw, err
}

// parseKeys reads a set of keys (RFC 7517). Those that can't verify signatures here are left out.
func parseKeys(raw []byte) (keys []jose.JSONWebKey, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, fmt.Errorf("no set of keys: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	for _, one := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(one) == nil && k.Valid() && k.IsPublic() && (k.Use == "" || k.Use == "sig") {
			keys = append(keys, k)
		}
	}
	return keys, nil
}
