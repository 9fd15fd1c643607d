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

// AccessKey is an access key as it may be shown: without its secret.
type AccessKey struct {
	ID       string // the access key itself, which names it everywhere
	Tenant   TenantID
	Account  string
	Root     bool // acts as the tenant's root account
	Disabled bool
	Created  time.Time
}

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

// login is what Authenticate answers for an access key that exists.
type login struct {
	secret string
	who    Principal
	err    error // nil, ErrNoSuchKey for a disabled key, or ErrSuspended
}

// Authenticate returns the secret of an access key and whom it acts for. An access key that is unknown
// or disabled is ErrNoSuchKey, one of a suspended tenant ErrSuspended. With these two errors comes a
// decoy secret, always the same for the same access key, so that a door can do all the work of checking
// a signature before it refuses, and the time it takes tells nothing.
func (t *Tenancy) Authenticate(ctx context.Context, accessKey string) (string, Principal, error) {
	t.mu.RLock()
	found, ok := t.known[accessKey]
	changes := t.changes
	t.mu.RUnlock()
	if !ok {
		var err error
		found, err = t.lookUp(ctx, accessKey)
		if errors.Is(err, ErrNoSuchKey) {
			return t.decoyFor(accessKey), Principal{}, err // not kept: anybody can invent access keys
		}
		if err != nil {
			return t.decoyFor(accessKey), Principal{}, fmt.Errorf("authenticate: %w", err)
		}
		t.keep(accessKey, found, changes)
	}
	if found.err != nil {
		return t.decoyFor(accessKey), Principal{}, found.err
	}
	return found.secret, found.who, nil
}

func (t *Tenancy) lookUp(ctx context.Context, accessKey string) (login, error) {
	var found login
	if checkAccessKey(accessKey) != nil {
		return found, ErrNoSuchKey
	}
	err := t.kv.View(ctx, func(r metastore.Reader) error {
		key, sealed, err := getCredential(r, accessKey)
		if err != nil {
			return err
		}
		secret, err := t.secrets.open(sealed, aboutSecret(key), "the secret of access key "+accessKey)
		if err != nil {
			return err
		}
		owner, err := getTenant(r, key.Tenant)
		if errors.Is(err, ErrNoTenant) {
			return fmt.Errorf("%w: access key %s belongs to no tenant", ErrCorrupt, accessKey)
		}
		if err != nil {
			return err
		}
		found = login{secret: string(secret), who: key.principal()}
		switch {
		case key.Disabled:
			found.err = ErrNoSuchKey
		case owner.Status != Active:
			found.err = ErrSuspended
		}
		return nil
	})
	return found, err
}

// keep caches a login, unless something changed since changes was read.
func (t *Tenancy) keep(accessKey string, found login, changes uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changes != changes {
		return
	}
	if len(t.known) >= maxKnown {
		t.known = make(map[string]login)
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
	err = t.kv.Update(ctx, metastore.Durable, func(txn metastore.Txn) error {
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
	t.forget()
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
	secret, err := t.secrets.open(sealed, aboutSecret(key), "the root account's secret")
	return Credentials{AccessKey: key.ID, Secret: string(secret), Generated: root.generated}, err
}

func (t *Tenancy) replaceRoot(txn metastore.Txn, root Account, c Credentials) error {
	if root.rootKey != "" {
		if err := dropCredential(txn, AccessKey{ID: root.rootKey, Tenant: root.Tenant}); err != nil {
			return err
		}
	}
	root.rootKey, root.generated = c.AccessKey, c.Generated
	key := AccessKey{ID: c.AccessKey, Tenant: root.Tenant, Account: root.Name, Root: true, Created: t.now()}
	return errors.Join(
		txn.Set(accountKey(root.Tenant, root.Name), encodeAccount(root)),
		t.putCredential(txn, key, c.Secret),
	)
}

// CreateAccount makes an account inside a tenant, durably. ErrExists if the name is taken.
func (t *Tenancy) CreateAccount(ctx context.Context, id TenantID, name string) (Account, error) {
	if err := checkName("account", name); err != nil {
		return Account{}, err
	}
	var made Account
	err := t.kv.Update(ctx, metastore.Durable, func(txn metastore.Txn) error {
		made = Account{Tenant: id, Name: name, Created: t.now()}
		if _, err := getTenant(txn, id); err != nil {
			return err
		}
		if taken, err := has(txn, accountKey(id, name)); err != nil || taken {
			return orExists(err, "account "+name)
		}
		return txn.Set(accountKey(id, name), encodeAccount(made))
	})
	t.forget()
	return made, err
}

// CreateAccessKey makes an access key with a random secret for an account, durably. This is the only
// time that its secret is shown.
func (t *Tenancy) CreateAccessKey(ctx context.Context, id TenantID, account string) (Credentials, error) {
	made, err := newCredentials()
	if err != nil {
		return Credentials{}, err
	}
	err = t.kv.Update(ctx, metastore.Durable, func(txn metastore.Txn) error {
		owner, err := getAccount(txn, id, account)
		if err != nil {
			return err
		}
		key := AccessKey{ID: made.AccessKey, Tenant: id, Account: account, Root: owner.Root, Created: t.now()}
		return t.putCredential(txn, key, made.Secret)
	})
	t.forget()
	if err != nil {
		return Credentials{}, err
	}
	return made, nil
}

// AccessKeys returns the access keys of a tenant, sorted.
func (t *Tenancy) AccessKeys(ctx context.Context, id TenantID) ([]AccessKey, error) {
	var all []AccessKey
	err := t.kv.View(ctx, func(r metastore.Reader) error {
		all = nil
		return scan(r, indexKey(id, ""), func(access, _ []byte) error {
			key, _, err := getCredential(r, string(access))
			all = append(all, key)
			return err
		})
	})
	return all, err
}

// DisableAccessKey stops an access key from working, durably and from now on, or lets it work again.
func (t *Tenancy) DisableAccessKey(ctx context.Context, id TenantID, accessKey string, disabled bool) error {
	err := t.kv.Update(ctx, metastore.Durable, func(txn metastore.Txn) error {
		key, sealed, err := ownCredential(txn, id, accessKey)
		if err != nil {
			return err
		}
		key.Disabled = disabled
		return txn.Set(credentialKey(key.ID), encodeCredential(key, sealed))
	})
	t.forget()
	return err
}

// DeleteAccessKey removes an access key, durably.
func (t *Tenancy) DeleteAccessKey(ctx context.Context, id TenantID, accessKey string) error {
	err := t.kv.Update(ctx, metastore.Durable, func(txn metastore.Txn) error {
		key, _, err := ownCredential(txn, id, accessKey)
		if err != nil {
			return err
		}
		root, err := getAccount(txn, id, key.Account)
		if err != nil {
			return err
		}
		if root.rootKey == key.ID {
			return fmt.Errorf("%w: %s is the root account's own key; replace it with EnsureRoot", ErrInvalid, key.ID)
		}
		return dropCredential(txn, key)
	})
	t.forget()
	return err
}

func (k AccessKey) principal() Principal {
	return Principal{Tenant: k.Tenant, Account: k.Account, AccessKey: k.ID, Root: k.Root}
}

// putCredential adds a new access key. Access keys are unique over all tenants.
func (t *Tenancy) putCredential(txn metastore.Txn, key AccessKey, secret string) error {
	if taken, err := has(txn, credentialKey(key.ID)); err != nil || taken {
		return orExists(err, "access key "+key.ID)
	}
	sealed := t.secrets.seal([]byte(secret), aboutSecret(key))
	return errors.Join(
		txn.Set(credentialKey(key.ID), encodeCredential(key, sealed)),
		txn.Set(indexKey(key.Tenant, key.ID), []byte{recordVersion}),
	)
}

func dropCredential(txn metastore.Txn, key AccessKey) error {
	return errors.Join(txn.Delete(credentialKey(key.ID)), txn.Delete(indexKey(key.Tenant, key.ID)))
}

func getCredential(r metastore.Reader, accessKey string) (AccessKey, []byte, error) {
	raw, err := r.Get(credentialKey(accessKey))
	if errors.Is(err, metastore.ErrNotFound) {
		return AccessKey{}, nil, ErrNoSuchKey
	}
	if err != nil {
		return AccessKey{}, nil, err
	}
	return decodeCredential(accessKey, raw)
}

// ownCredential is getCredential for a tenant that may know of its own access keys only.
func ownCredential(r metastore.Reader, id TenantID, accessKey string) (AccessKey, []byte, error) {
	key, sealed, err := getCredential(r, accessKey)
	if err == nil && key.Tenant != id {
		return AccessKey{}, nil, ErrNoSuchKey
	}
	return key, sealed, err
}

func getAccount(r metastore.Reader, id TenantID, name string) (Account, error) {
	raw, err := r.Get(accountKey(id, name))
	if errors.Is(err, metastore.ErrNotFound) {
		return Account{}, fmt.Errorf("%w: %s", ErrNoAccount, name)
	}
	if err != nil {
		return Account{}, err
	}
	return decodeAccount(id, name, raw)
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
