package tenancy

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"k3fs/metastore"
)

// purpose is what a tenant's signing keys are for.
type purpose byte

const (
	forSessions purpose = 's'
	forShares   purpose = 'h'
)

// signingName names a signing key of a tenant. The one with the highest number signs; the others only verify.
type signingName struct {
	purpose purpose
	number  uint32
}

// signingKey is the key of a tenant that signs now, which is made if there is none.
func (t *Tenancy) signingKey(ctx context.Context, id TenantID, p purpose) (number uint32, key [keyBytes]byte, err error) {
	if number, key = t.newestSigning(id, p); number != 0 {
		return number, key, nil
	}
	err = t.change(ctx, func(c *change) error {
		all, err := t.readSigning(c, id)
		if err != nil {
			return err
		}
		if newest(all, p) != 0 {
			return nil // somebody was faster
		}
		return t.putSigning(c, id, signingName{p, 1})
	})
	if err != nil {
		return 0, key, err
	}
	number, key = t.newestSigning(id, p)
	return number, key, nil
}

func (t *Tenancy) newestSigning(id TenantID, p purpose) (uint32, [keyBytes]byte) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if h := t.houses[id]; h != nil {
		if number := newest(h.signing, p); number != 0 {
			return number, h.signing[signingName{p, number}]
		}
	}
	return 0, [keyBytes]byte{}
}

func newest(all map[signingName][keyBytes]byte, p purpose) (number uint32) {
	for name := range all {
		if name.purpose == p {
			number = max(number, name.number)
		}
	}
	return number
}

// signingKeyNumbered is a tenant's key of that number; ok is false if it has none.
func (t *Tenancy) signingKeyNumbered(id TenantID, p purpose, number uint32) (key [keyBytes]byte, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if h := t.houses[id]; h != nil {
		key, ok = h.signing[signingName{p, number}]
	}
	return key, ok
}

func (t *Tenancy) putSigning(c *change, id TenantID, name signingName) error {
	var key [keyBytes]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	c.signing[id] = true
	return c.Set(signingRecord(id, name), t.secrets.seal(key[:], aboutSigning(id, name)))
}

func aboutSigning(id TenantID, name signingName) []byte {
	return append([]byte("signing key"), signingRecord(id, name)...)
}

// readSigning reads a tenant's signing keys.
func (t *Tenancy) readSigning(r metastore.Reader, id TenantID) (map[signingName][keyBytes]byte, error) {
	all := map[signingName][keyBytes]byte{}
	err := scan(r, numbered('y', id, 0), func(rest, raw []byte) error {
		name, ok := parseSigning(rest)
		if !ok {
			return fmt.Errorf("%w: name of a signing key", ErrCorrupt)
		}
		key, err := t.secrets.open(raw, aboutSigning(id, name), "a signing key")
		if err == nil && len(key) != keyBytes {
			err = fmt.Errorf("%w: a signing key", ErrCorrupt)
		}
		if err == nil {
			all[name] = [keyBytes]byte(key)
		}
		return err
	})
	return all, err
}

func parseSigning(rest []byte) (name signingName, ok bool) {
	if len(rest) != 5 {
		return name, false
	}
	return signingName{purpose(rest[0]), binary.BigEndian.Uint32(rest[1:])}, true
}

// renewSigning is for the rotation of the node's keys: rest is the tenant's number and the key's name.
func (t *Tenancy) renewSigning(rest, raw []byte) ([]byte, error) {
	if len(rest) != 8+5 {
		return nil, fmt.Errorf("%w: name of a signing key", ErrCorrupt)
	}
	name, _ := parseSigning(rest[8:])
	return t.secrets.renew(raw, aboutSigning(TenantID(binary.BigEndian.Uint64(rest)), name), "a signing key")
}

// replaceSigning gives a tenant another signing key and takes all others of the purpose away: what they signed is void.
func (t *Tenancy) replaceSigning(c *change, id TenantID, p purpose) error {
	all, err := t.readSigning(c, id)
	if err != nil {
		return err
	}
	for name := range all {
		if name.purpose == p {
			err = errors.Join(err, c.Delete(signingRecord(id, name)))
		}
	}
	return errors.Join(err, t.putSigning(c, id, signingName{p, newest(all, p) + 1}))
}
