package tenancy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"k3fs/chunkstore"
	"k3fs/metastore"
)

// ErrNoKey: a tenant's key of that epoch does not exist, so data sealed under it can't be opened.
var ErrNoKey = errors.New("tenancy: no such tenant key")

var _ chunkstore.Keyring = (*Tenancy)(nil)

// keyOf names a tenant's key in the cache.
type keyOf struct {
	tenant TenantID
	epoch  uint32
}

// Current implements chunkstore.Keyring: the epoch whose key seals new data of the tenant.
func (t *Tenancy) Current(d chunkstore.Domain) (uint32, error) {
	return t.epochOf(context.Background(), TenantID(d))
}

// DataKey implements chunkstore.Keyring: the tenant's data key in an epoch. ErrNoKey if there is none.
func (t *Tenancy) DataKey(d chunkstore.Domain, epoch uint32) ([keyBytes]byte, error) {
	return t.dataKeyOf(context.Background(), TenantID(d), epoch)
}

func (t *Tenancy) epochOf(ctx context.Context, id TenantID) (uint32, error) {
	t.mu.RLock()
	epoch, ok := t.epochs[id]
	changes := t.changes
	t.mu.RUnlock()
	if ok {
		return epoch, nil
	}
	one, err := t.Tenant(ctx, id)
	if err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changes == changes {
		t.epochs[id] = one.Epoch
	}
	return one.Epoch, nil
}

func (t *Tenancy) dataKeyOf(ctx context.Context, id TenantID, epoch uint32) ([keyBytes]byte, error) {
	name := keyOf{id, epoch}
	t.mu.RLock()
	key, ok := t.dataKeys[name]
	changes := t.changes
	t.mu.RUnlock()
	if ok {
		return key, nil
	}
	key, err := t.unwrap(ctx, name)
	if err != nil {
		return [keyBytes]byte{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changes == changes {
		t.dataKeys[name] = key
	}
	return key, nil
}

func (t *Tenancy) unwrap(ctx context.Context, name keyOf) ([keyBytes]byte, error) {
	var wrapped []byte
	err := t.kv.View(ctx, func(r metastore.Reader) (err error) {
		wrapped, err = r.Get(wrappedKey(name.tenant, name.epoch))
		return err
	})
	if errors.Is(err, metastore.ErrNotFound) {
		return [keyBytes]byte{}, fmt.Errorf("%w: tenant %d, epoch %d", ErrNoKey, name.tenant, name.epoch)
	}
	if err != nil {
		return [keyBytes]byte{}, err
	}
	what := fmt.Sprintf("the key of tenant %d, epoch %d,", name.tenant, name.epoch)
	raw, err := t.wrap.open(wrapped, aboutTenantKey(name.tenant, name.epoch), what)
	if err != nil {
		return [keyBytes]byte{}, err
	}
	if len(raw) != keyBytes || [keyBytes]byte(raw) == ([keyBytes]byte{}) {
		return [keyBytes]byte{}, fmt.Errorf("%w: %s is no key", ErrCorrupt, what)
	}
	return derive([keyBytes]byte(raw), labelData), nil
}

func newKey() (key [keyBytes]byte, err error) {
	_, err = rand.Read(key[:])
	return key, err
}
