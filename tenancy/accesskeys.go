package tenancy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k3fs/metastore"
)

const maxKeysOfAccount = 16

// AccessKey is an access key as it may be shown: without its secrets.
type AccessKey struct {
	ID       string // the access key itself, which names it everywhere
	Tenant   TenantID
	Account  string
	Root     bool // acts as the tenant's root account
	Disabled bool
	Created  time.Time
	Expires  time.Time // zero: never

	// PreviousUntil is until when the secret counts that the key had before it was rotated; zero if none does.
	PreviousUntil time.Time
	// Used is when the key was last used, to the minute; zero if never.
	Used time.Time
}

// KeyChange says what is to change of an access key; nil leaves a thing as it is.
type KeyChange struct {
	Disabled *bool
	Expires  *time.Time // the zero time: never
}

// CreateAccessKey makes an access key with a random secret for an account, durably. This is the only
// time that its secret is shown.
func (t *Tenancy) CreateAccessKey(ctx context.Context, id TenantID, account string) (Credentials, error) {
	var made Credentials
	err := t.change(ctx, func(c *change) (err error) {
		made, err = t.createAccessKey(c, id, account, time.Time{})
		return err
	})
	return made, err
}

func (t *Tenancy) createAccessKey(c *change, id TenantID, account string, expires time.Time) (Credentials, error) {
	made, err := newCredentials()
	if err != nil {
		return Credentials{}, err
	}
	owner, err := getAccount(c, id, account)
	if err != nil {
		return Credentials{}, err
	}
	keys, err := keysOf(c, id, account)
	if err == nil && len(keys) >= maxKeysOfAccount {
		err = fmt.Errorf("%w: account %s has %d access keys, which is the most: delete one", ErrInvalid, account, len(keys))
	}
	if err := errors.Join(err, t.checkExpiry(expires)); err != nil {
		return Credentials{}, err
	}
	key := AccessKey{ID: made.AccessKey, Tenant: id, Account: account, Root: owner.Root, Created: t.now(), Expires: expires}
	if err := t.putCredential(c, key, made.Secret); err != nil {
		return Credentials{}, err
	}
	return made, nil
}

// AccessKeys returns the access keys of a tenant, sorted.
func (t *Tenancy) AccessKeys(ctx context.Context, id TenantID) ([]AccessKey, error) {
	var all []AccessKey
	err := t.kv.View(ctx, func(r metastore.Reader) (err error) {
		all, err = keysOf(r, id, "")
		for i := range all {
			all[i].Used, err = t.usedAt(r, all[i].ID, err)
		}
		return err
	})
	return all, err
}

// keysOf are the access keys of an account, or of all of them where account is empty.
func keysOf(r metastore.Reader, id TenantID, account string) (all []AccessKey, err error) {
	err = scan(r, indexKey(id, ""), func(access, _ []byte) error {
		key, _, err := getCredential(r, string(access))
		if err == nil && (account == "" || key.Account == account) {
			all = append(all, key)
		}
		return err
	})
	return all, err
}

// DisableAccessKey stops an access key from working, durably and from now on, or lets it work again.
func (t *Tenancy) DisableAccessKey(ctx context.Context, id TenantID, accessKey string, disabled bool) error {
	return t.change(ctx, func(c *change) error {
		_, err := t.updateAccessKey(c, id, accessKey, KeyChange{Disabled: &disabled})
		return err
	})
}

func (t *Tenancy) updateAccessKey(c *change, id TenantID, accessKey string, ch KeyChange) (AccessKey, error) {
	key, sealed, err := ownCredential(c, id, accessKey)
	if err != nil {
		return key, err
	}
	if ch.Disabled != nil {
		key.Disabled = *ch.Disabled
	}
	if ch.Expires != nil {
		key.Expires = ch.Expires.UTC().Truncate(time.Second)
		if err := t.checkExpiry(key.Expires); err != nil {
			return key, err
		}
	}
	return key, c.Set(credentialKey(key.ID), encodeCredential(key, sealed))
}

// rotateAccessKey gives an access key another secret. The one that it has counts on for overlap; one before that ends.
func (t *Tenancy) rotateAccessKey(c *change, id TenantID, accessKey string, overlap time.Duration) (Credentials, error) {
	if overlap < 0 || overlap > maxOverlap {
		return Credentials{}, fmt.Errorf("%w: the old secret may live on for 0 to %v", ErrInvalid, maxOverlap)
	}
	made, err := newCredentials()
	if err != nil {
		return Credentials{}, err
	}
	key, sealed, err := ownCredential(c, id, accessKey)
	if err != nil {
		return Credentials{}, err
	}
	if err := ofRootFile(c, key); err != nil {
		return Credentials{}, err
	}
	key.PreviousUntil, sealed.previous = time.Time{}, nil
	if overlap > 0 {
		key.PreviousUntil, sealed.previous = t.now().Add(overlap), sealed.current
	}
	sealed.current = t.secrets.seal([]byte(made.Secret), aboutSecret(key))
	made.AccessKey = key.ID
	if err := c.Set(credentialKey(key.ID), encodeCredential(key, sealed)); err != nil {
		return Credentials{}, err
	}
	return made, nil
}

// ofRootFile refuses the access key that EnsureRoot keeps.
func ofRootFile(r metastore.Reader, key AccessKey) error {
	a, err := getAccount(r, key.Tenant, key.Account)
	if err == nil && a.rootKey == key.ID {
		err = fmt.Errorf("%w: %s is the root account's own key, which the daemon's configuration sets", ErrInvalid, key.ID)
	}
	return err
}

// DeleteAccessKey removes an access key, durably.
func (t *Tenancy) DeleteAccessKey(ctx context.Context, id TenantID, accessKey string) error {
	return t.change(ctx, func(c *change) error { return deleteAccessKey(c, id, accessKey) })
}

func deleteAccessKey(c *change, id TenantID, accessKey string) error {
	key, _, err := ownCredential(c, id, accessKey)
	if err != nil {
		return err
	}
	return errors.Join(ofRootFile(c, key), dropCredential(c, key))
}

// putCredential adds a new access key. Access keys are unique over all tenants.
func (t *Tenancy) putCredential(txn metastore.Txn, key AccessKey, secret string) error {
	if taken, err := has(txn, credentialKey(key.ID)); err != nil || taken {
		return orExists(err, "access key "+key.ID)
	}
	return errors.Join(
		t.setSecret(txn, key, secret),
		txn.Set(indexKey(key.Tenant, key.ID), []byte{recordVersion}),
	)
}

// setSecret stores an access key with one secret.
func (t *Tenancy) setSecret(txn metastore.Txn, key AccessKey, secret string) error {
	sealed := sealedSecrets{current: t.secrets.seal([]byte(secret), aboutSecret(key))}
	return txn.Set(credentialKey(key.ID), encodeCredential(key, sealed))
}

func dropCredential(txn metastore.Txn, key AccessKey) error {
	return errors.Join(txn.Delete(credentialKey(key.ID)), txn.Delete(indexKey(key.Tenant, key.ID)), txn.Delete(usedKey(key.ID)))
}

func getCredential(r metastore.Reader, accessKey string) (AccessKey, sealedSecrets, error) {
	raw, err := r.Get(credentialKey(accessKey))
	if errors.Is(err, metastore.ErrNotFound) {
		return AccessKey{}, sealedSecrets{}, ErrNoSuchKey
	}
	if err != nil {
		return AccessKey{}, sealedSecrets{}, err
	}
	return decodeCredential(accessKey, raw)
}

// ownCredential is getCredential for a tenant that may know of its own access keys only.
func ownCredential(r metastore.Reader, id TenantID, accessKey string) (AccessKey, sealedSecrets, error) {
	key, sealed, err := getCredential(r, accessKey)
	if err == nil && key.Tenant != id {
		return AccessKey{}, sealedSecrets{}, ErrNoSuchKey
	}
	return key, sealed, err
}
