package tenancy

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"k3fs/metastore"
)

const (
	minAccessKey = 3
	maxAccessKey = 128
	minSecret    = 8
	maxSecret    = 128
	maxName      = 64

	// maxKnown bounds the cache of logins; past it the cache starts anew.
	maxKnown = 16 << 10
)

// Credentials are an access key with its secret, to be handed to whom they are for and not kept.
// Printing or logging them hides the secret.
type Credentials struct {
	AccessKey string
	Secret    string
	Generated bool // made by k3fs, not given by the administrator
}

// String hides the secret.
func (c Credentials) String() string { return c.AccessKey + ":(hidden)" }

// GoString hides the secret.
func (c Credentials) GoString() string { return c.String() }

// LogValue hides the secret from slog.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// login is what there is to know of an access key that exists.
type login struct {
	key      AccessKey
	who      Principal
	current  string
	previous string // counts until key.PreviousUntil
}

// secrets are those that are in force at a time, the newest first; none of an access key that is out of force.
func (l *login) secrets(now time.Time) []string {
	switch {
	case l.key.Disabled, !l.key.Expires.IsZero() && !now.Before(l.key.Expires):
		return nil
	case l.previous != "" && now.Before(l.key.PreviousUntil):
		return []string{l.current, l.previous}
	}
	return []string{l.current}
}

// Authenticate returns the secrets of an access key that are in force (two while it is rotated), and whom it acts
// for. An access key that is unknown, disabled or expired, as its account may be, is ErrNoSuchKey; one of a suspended
// tenant ErrSuspended. With these two errors comes a decoy secret, always the same for the same access key, so that a
// door can do all the work of checking a signature before it refuses, and the time it takes tells nothing.
//
// token is the session's of temporary credentials, which are ErrBadToken with another one and ErrExpired when they are
// over; it is empty for all other access keys.
//
// A door that has checked the signature calls Used.
func (t *Tenancy) Authenticate(ctx context.Context, accessKey, token string) ([]string, Principal, error) {
	if token != "" {
		secret, who, err := t.authenticateSession(ctx, accessKey, token)
		if err != nil {
			return []string{t.decoyFor(accessKey)}, Principal{}, err
		}
		return []string{secret}, who, nil
	}
	found, err := t.loginOf(ctx, accessKey)
	if err == nil {
		var secrets []string
		if secrets, err = t.inForce(found); err == nil {
			return secrets, found.who, nil
		}
	}
	if !errors.Is(err, ErrNoSuchKey) && !errors.Is(err, ErrSuspended) {
		err = fmt.Errorf("authenticate: %w", err)
	}
	return []string{t.decoyFor(accessKey)}, Principal{}, err
}

// inForce are the secrets of a login whose account and tenant may act.
func (t *Tenancy) inForce(l *login) ([]string, error) {
	switch _, err := t.standingOf(l.who); {
	case errors.Is(err, ErrSuspended):
		return nil, ErrSuspended
	case err != nil:
		return nil, ErrNoSuchKey
	}
	if secrets := l.secrets(t.now()); secrets != nil {
		return secrets, nil
	}
	return nil, ErrNoSuchKey
}

// loginOf finds an access key in memory or in the store.
func (t *Tenancy) loginOf(ctx context.Context, accessKey string) (*login, error) {
	t.mu.RLock()
	found, ok := t.known[accessKey]
	changes := t.changes
	t.mu.RUnlock()
	if ok {
		return found, nil
	}
	found, err := t.lookUp(ctx, accessKey)
	if err == nil { // one that there is not isn't kept: anybody can invent access keys
		t.keep(accessKey, found, changes)
	}
	return found, err
}

func (t *Tenancy) lookUp(ctx context.Context, accessKey string) (*login, error) {
	if checkAccessKey(accessKey) != nil {
		return nil, ErrNoSuchKey
	}
	found := &login{}
	err := t.kv.View(ctx, func(r metastore.Reader) error {
		key, sealed, err := getCredential(r, accessKey)
		if err != nil {
			return err
		}
		a, err := getAccount(r, key.Tenant, key.Account)
		if errors.Is(err, ErrNoAccount) {
			return fmt.Errorf("%w: access key %s belongs to no account", ErrCorrupt, accessKey)
		}
		if err != nil {
			return err
		}
		found.key, found.who = key, a.principal()
		found.who.AccessKey = accessKey
		if found.current, err = t.openSecret(key, sealed.current); err == nil && len(sealed.previous) > 0 {
			found.previous, err = t.openSecret(key, sealed.previous)
		}
		return err
	})
	return found, err
}

func (t *Tenancy) openSecret(key AccessKey, sealed []byte) (string, error) {
	secret, err := t.secrets.open(sealed, aboutSecret(key), "the secret of access key "+key.ID)
	return string(secret), err
}

// keep caches a login, unless something changed since changes was read.
func (t *Tenancy) keep(accessKey string, found *login, changes uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changes != changes {
		return
	}
	if len(t.known) >= maxKnown {
		t.known = make(map[string]*login)
	}
	t.known[accessKey] = found
}

func (t *Tenancy) decoyFor(accessKey string) string {
	mac := hmac.New(sha256.New, t.decoy[:])
	mac.Write([]byte(accessKey))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))[:40]
}

// EnsureRoot gives the first tenant's root account its access key, durably. With an access key and a
// secret these become the root account's, in place of what it had. Without (both empty) it keeps what
// it has, or gets new ones made here. It returns the ones in force.
func (t *Tenancy) EnsureRoot(ctx context.Context, accessKey, secret string) (Credentials, error) {
	given := accessKey != "" || secret != ""
	if given {
		if err := errors.Join(checkAccessKey(accessKey), checkSecret(secret)); err != nil {
			return Credentials{}, err
		}
	}
	fresh, err := newCredentials()
	if err != nil {
		return Credentials{}, err
	}
	if given {
		fresh = Credentials{AccessKey: accessKey, Secret: secret}
	}
	var inForce Credentials
	err = t.change(ctx, func(txn *change) error {
		root, err := getAccount(txn, FirstTenant, RootAccount)
		if err != nil {
			return err
		}
		if root.rootKey != "" {
			if inForce, err = t.rootCredentials(txn, root); err != nil {
				return err
			}
			if !given || inForce == fresh {
				return nil
			}
		}
		inForce = fresh
		return t.replaceRoot(txn, root, fresh)
	})
	if err != nil {
		return Credentials{}, fmt.Errorf("root account: %w", err)
	}
	return inForce, nil
}

func (t *Tenancy) rootCredentials(r metastore.Reader, root Account) (Credentials, error) {
	key, sealed, err := getCredential(r, root.rootKey)
	if err != nil {
		return Credentials{}, err
	}
	secret, err := t.openSecret(key, sealed.current)
	return Credentials{AccessKey: key.ID, Secret: secret, Generated: root.generated}, err
}

func (t *Tenancy) replaceRoot(txn *change, root Account, c Credentials) error {
	if root.rootKey != "" {
		if err := dropCredential(txn, AccessKey{ID: root.rootKey, Tenant: root.Tenant}); err != nil {
			return err
		}
	}
	root.rootKey, root.generated = c.AccessKey, c.Generated
	key := AccessKey{ID: c.AccessKey, Tenant: root.Tenant, Account: root.Name, Root: true, Created: t.now()}
	return errors.Join(
		txn.putAccount(root),
		t.putCredential(txn, key, c.Secret),
	)
}

// newCredentials makes an access key of 20 and a secret of 40 characters, as AWS's are.
func newCredentials() (Credentials, error) {
	raw := make([]byte, 11+30)
	if _, err := rand.Read(raw); err != nil {
		return Credentials{}, err
	}
	id := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw[:11])
	return Credentials{
		AccessKey: "K3" + id,
		Secret:    base64.RawURLEncoding.EncodeToString(raw[11:]),
		Generated: true,
	}, nil
}

// checkAccessKey allows what stands unquoted in a SigV4 credential scope.
func checkAccessKey(s string) error {
	if len(s) < minAccessKey || len(s) > maxAccessKey || strings.ContainsFunc(s, notKeyRune) {
		return fmt.Errorf("%w: an access key has %d to %d letters, digits, '-', '_' or '.'", ErrInvalid, minAccessKey, maxAccessKey)
	}
	return nil
}

func checkSecret(s string) error {
	if len(s) < minSecret || len(s) > maxSecret || strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' }) {
		return fmt.Errorf("%w: a secret key has %d to %d printable ASCII characters without spaces", ErrInvalid, minSecret, maxSecret)
	}
	return nil
}

func checkName(what, s string) error {
	if s == "" || len(s) > maxName || strings.ContainsFunc(s, notKeyRune) {
		return fmt.Errorf("%w: a name of a %s has 1 to %d letters, digits, '-', '_' or '.'", ErrInvalid, what, maxName)
	}
	return nil
}

func notKeyRune(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
		return false
	}
	return true
}
