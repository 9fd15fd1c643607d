// Package oidc finds out for which account of which tenant a JSON web token speaks (RFC 7519, OpenID Connect Core).
//
// It owns the issuers that the node's operator trusts, the keys that they sign with, and the mapping of claims to
// accounts. What the account may do is decided by tenancy, as for any other.
//
// Everything fails closed. Only signatures by RSA, ECDSA and Ed25519 keys of the issuer that the token names count, by an
// algorithm that fits the key: never "none", and never HMAC. A token must say for whom it is (aud) and until when (exp).
// The tenant comes from the issuer's configuration or from a signed claim, from nothing else in the request; and no token
// speaks for a root account.
//
// Keys are fetched by discovery, or read from a file. Those fetched are used on while the issuer is away, for a bounded
// time; a key that is not known is asked for, but not more often than every so often, whoever sends such tokens.
package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"k3fs/tenancy"
)

var (
	// ErrRefused: the token is not one of a trusted issuer for us, or names no account that may act.
	ErrRefused = errors.New("oidc: token refused")
	// ErrExpired: the token was good, and is over.
	ErrExpired = fmt.Errorf("%w: it has expired", ErrRefused)
	// ErrAway: the issuer can't be asked for its keys, and none are known that are fresh enough.
	ErrAway = errors.New("oidc: the issuer is away")
)

const (
	maxToken  = 16 << 10
	leeway    = 30 * time.Second // between our clock and the issuer's
	maxClaims = 64               // values of a claim that are looked at
)

// algorithms are those that count.
var algorithms = []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"}

// Issuer is one that the node trusts.
type Issuer struct {
	// URL is what its tokens say in "iss", to the letter; discovery begins there. https, or http on this host.
	URL string `koanf:"url"`
	// Audiences are those of which a token must name one in "aud". Required.
	Audiences []string `koanf:"audience"`
	// JWKS is a file of keys (RFC 7517) in place of discovery.
	JWKS string `koanf:"jwks"`
	// Tenant is whose accounts the tokens speak for, by name; or TenantClaim is the claim that says it.
	Tenant      string `koanf:"tenant"`
	TenantClaim string `koanf:"tenant_claim"`
	// AccountClaim is the claim whose value, or one of whose values, says which account: by its name, or by Accounts.
	AccountClaim string `koanf:"account_claim"`
	// Accounts maps values of AccountClaim to names of accounts; where it is given no other value counts.
	Accounts map[string]string `koanf:"accounts"`
	// Stale is how long keys are used on while the issuer is away. Default 24 h.
	Stale time.Duration `koanf:"stale"`
}

// Directory finds accounts. *tenancy.Tenancy is one.
type Directory interface {
	// Federated is the principal of an account that may act, by the names of tenant and account; never a root account.
	Federated(ctx context.Context, tenant, account string) (tenancy.Principal, error)
}

// Options of a Verifier. Directory is required.
type Options struct {
	Directory Directory
	Now       func() time.Time // default time.Now
	Client    *http.Client     // for discovery; default one with bounds
	Logger    *slog.Logger     // default slog.Default()
}

// Identity is for whom a token speaks.
type Identity struct {
	Principal                 tenancy.Principal
	Issuer, Subject, Audience string
	Expires                   time.Time
}

// Verifier verifies tokens of its issuers. It is safe for concurrent use.
type Verifier struct {
	o       Options
	issuers map[string]*issuer
	parser  *jwt.Parser
}

// New makes a Verifier. It reads files of keys, and asks no issuer yet.
func New(issuers []Issuer, o Options) (*Verifier, error) {
	if o.Directory == nil {
		return nil, errors.New("oidc: Options.Directory is required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: fetchTime}
	}
	client := *o.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.Client = &client
	v := &Verifier{o: o, issuers: map[string]*issuer{}, parser: jwt.NewParser(jwt.WithValidMethods(algorithms),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(o.Now), jwt.WithStrictDecoding())}
	for _, one := range issuers {
		if v.issuers[one.URL] != nil {
			return nil, fmt.Errorf("issuer %q is given twice", one.URL)
		}
		i, err := newIssuer(one, o)
		if err != nil {
			return nil, fmt.Errorf("issuer %q: %w", one.URL, err)
		}
		v.issuers[one.URL] = i
	}
	return v, nil
}

// Close waits for requests to issuers that are under way, which are short.
func (v *Verifier) Close() {
	for _, i := range v.issuers {
		i.fetches.Wait()
	}
}

// Verify finds out for whom a token speaks. Errors are ErrRefused (with ErrExpired), ErrAway, or the store's.
func (v *Verifier) Verify(ctx context.Context, token string) (Identity, error) {
	if len(token) > maxToken || strings.Count(token, ".") != 2 {
		return Identity{}, fmt.Errorf("%w: it is no signed JSON web token", ErrRefused)
	}
	claims, from := jwt.MapClaims{}, (*issuer)(nil)
	_, err := v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		name, err := claims.GetIssuer()
		if from = v.issuers[name]; err != nil || name == "" || from == nil {
			from = nil
			return nil, errors.New("its issuer is not trusted")
		}
		return from.keyFor(t)
	})
	switch {
	case errors.Is(err, ErrAway):
		return Identity{}, ErrAway
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenSignatureInvalid) && from.isFor(claims) != "":
		return Identity{}, ErrExpired
	case err != nil:
		return Identity{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	audience := from.isFor(claims)
	if audience == "" {
		return Identity{}, fmt.Errorf("%w: it is for another audience", ErrRefused)
	}
	return v.identify(ctx, from, claims, audience)
}

// identify maps claims to an account.
func (v *Verifier) identify(ctx context.Context, from *issuer, claims jwt.MapClaims, audience string) (Identity, error) {
	tenant := from.Tenant
	if from.TenantClaim != "" {
		all := texts(claims[from.TenantClaim])
		if len(all) != 1 {
			return Identity{}, fmt.Errorf("%w: the claim %s must name one tenant", ErrRefused, from.TenantClaim)
		}
		tenant = all[0]
	}
	account, err := from.accountOf(claims)
	if err != nil {
		return Identity{}, err
	}
	p, err := v.o.Directory.Federated(ctx, tenant, account)
	for _, known := range []error{tenancy.ErrNoTenant, tenancy.ErrNoAccount, tenancy.ErrDenied, tenancy.ErrSuspended} {
		if errors.Is(err, known) {
			return Identity{}, fmt.Errorf("%w: account %q of tenant %q: %w", ErrRefused, account, tenant, err)
		}
	}
	if err != nil {
		return Identity{}, err
	}
	id := Identity{Principal: p, Issuer: from.URL, Audience: audience}
	id.Subject, _ = claims.GetSubject()
	if at, err := claims.GetExpirationTime(); err == nil && at != nil {
		id.Expires = at.Time
	}
	return id, nil
}

// accountOf is the one account that the claims name.
func (i *issuer) accountOf(claims jwt.MapClaims) (string, error) {
	var names []string
	for _, value := range texts(claims[i.AccountClaim]) {
		name := value
		if len(i.Accounts) > 0 {
			name = i.Accounts[value]
		}
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) != 1 {
		return "", fmt.Errorf("%w: the claim %s names %d accounts, not one", ErrRefused, i.AccountClaim, len(names))
	}
	return names[0], nil
}

// isFor is the one of our audiences that the token is for, or "".
func (i *issuer) isFor(claims jwt.MapClaims) string {
	if i == nil {
		return ""
	}
	for _, a := range texts(claims["aud"]) {
		if slices.Contains(i.Audiences, a) {
			return a
		}
	}
	return ""
}

// texts are the values of a claim that is a string or a list of strings; of anything else there are none.
func texts(claim any) (all []string) {
	switch c := claim.(type) {
	case string:
		return []string{c}
	case []any:
		if len(c) > maxClaims {
			return nil
		}
		for _, one := range c {
			s, ok := one.(string)
			if !ok {
				return nil
			}
			all = append(all, s)
		}
	}
	return all
}
