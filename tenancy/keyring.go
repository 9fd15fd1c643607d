package tenancy

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/tenancy/keyservice"
)

// ErrNoKey: a tenant's key of that epoch does not exist, so data sealed under it can't be opened.
var ErrNoKey = errors.New("tenancy: no such tenant key")

// ErrKeyAway: a tenant's key can't be had now, since the key service is away. Later it may be.
var ErrKeyAway = errors.New("tenancy: the tenant's key can't be had now")

var _ chunkstore.Keyring = (*Tenancy)(nil)

// keyOf names a tenant's key.
type keyOf struct {
	tenant TenantID
	epoch  uint32
}

func (k keyOf) String() string {
	return fmt.Sprintf("the key of tenant %d, epoch %d,", k.tenant, k.epoch)
}

// Current implements chunkstore.Keyring: the epoch whose key seals new data of the tenant.
func (t *Tenancy) Current(d chunkstore.Domain) (uint32, error) {
	return t.epochOf(context.Background(), TenantID(d))
}

// DataKey implements chunkstore.Keyring: the tenant's data key in an epoch. ErrNoKey if there is none, ErrKeyAway if
// the key service must be asked and is away.
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
	if errors.Is(err, ErrNoTenant) { // what outlives a tenant is under its last key
		if one.Epoch, err = t.lastEpoch(ctx, id); err == nil && one.Epoch == 0 {
			err = fmt.Errorf("%w: number %d", ErrNoTenant, id)
		}
	}
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
	return t.data.get(ctx, keyOf{id, epoch}, t.unwrap)
}

// A tenant's key is stored as the node's keys seal it or, behind serviceMagic, as the key service wrapped it and the
// node's keys seal that: who has one of the two has nothing.
var serviceMagic = []byte("k3w\x01")

// serviceTime bounds how long one question to the key service may take.
const serviceTime = 10 * time.Second

func (t *Tenancy) contextOf(name keyOf) keyservice.Context {
	return keyservice.Context{
		"k3fs-node": t.nodeKeys().id, keyservice.ContextTenant: strconv.FormatUint(uint64(name.tenant), 10),
		"k3fs-epoch": strconv.FormatUint(uint64(name.epoch), 10),
	}
}

// newTenantKey makes a random key and returns it as it is stored. With a key service it asks that.
func (t *Tenancy) newTenantKey(ctx context.Context, name keyOf) ([]byte, error) {
	var key [keyBytes]byte
	rand.Read(key[:])
	defer clear(key[:])
	if t.data.service == nil {
		return t.wrap.seal(key[:], aboutTenantKey(name.tenant, name.epoch)), nil
	}
	ctx, cancel := context.WithTimeout(ctx, serviceTime)
	defer cancel()
	wrapped, err := t.data.service.Wrap(ctx, key[:], t.contextOf(name))
	if err != nil {
		return nil, keyAway(name, err)
	}
	return append(bytes.Clone(serviceMagic), t.wrap.seal(wrapped, aboutTenantKey(name.tenant, name.epoch))...), nil
}

// keyAway is an error of the key service about a tenant's key.
func keyAway(name keyOf, err error) error {
	return fmt.Errorf("%w: tenant %d, epoch %d: %w", ErrKeyAway, name.tenant, name.epoch, err)
}

// unwrap reads a tenant's key. remote: the key service was asked for it.
func (t *Tenancy) unwrap(ctx context.Context, name keyOf) (key [keyBytes]byte, remote bool, err error) {
	var stored []byte
	err = t.kv.View(ctx, func(r metastore.Reader) (err error) {
		stored, err = r.Get(wrappedKey(name.tenant, name.epoch))
		return err
	})
	if errors.Is(err, metastore.ErrNotFound) {
		return key, false, fmt.Errorf("%w: tenant %d, epoch %d", ErrNoKey, name.tenant, name.epoch)
	}
	if err != nil {
		return key, false, err
	}
	sealed, remote := bytes.CutPrefix(stored, serviceMagic)
	raw, err := t.wrap.open(sealed, aboutTenantKey(name.tenant, name.epoch), name.String())
	if err == nil && remote {
		raw, err = t.askService(ctx, name, raw)
	}
	if err != nil {
		return key, remote, err
	}
	defer clear(raw)
	if len(raw) != keyBytes || [keyBytes]byte(raw) == ([keyBytes]byte{}) {
		return key, remote, fmt.Errorf("%w: %s is no key", ErrCorrupt, name)
	}
	return derive([keyBytes]byte(raw), labelData), remote, nil
}

func (t *Tenancy) askService(ctx context.Context, name keyOf, wrapped []byte) ([]byte, error) {
	if t.data.service == nil {
		return nil, keyAway(name, errors.New("a key service wrapped it, and none is configured"))
	}
	// Who gives up waiting must not make the others who wait for the same key fail.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), serviceTime)
	defer cancel()
	raw, err := t.data.service.Unwrap(ctx, wrapped, t.contextOf(name))
	if err != nil {
		return nil, keyAway(name, err)
	}
	return raw, nil
}

// renewTenantKey is for sealedTables.
func (t *Tenancy) renewTenantKey(rest, raw []byte) ([]byte, error) {
	if len(rest) != 12 {
		return nil, fmt.Errorf("%w: the name of a tenant key's record", ErrCorrupt)
	}
	name := keyOf{TenantID(binary.BigEndian.Uint64(rest)), binary.BigEndian.Uint32(rest[8:])}
	sealed, remote := bytes.CutPrefix(raw, serviceMagic)
	fresh, err := t.wrap.renew(sealed, aboutTenantKey(name.tenant, name.epoch), name.String())
	if err != nil || fresh == nil || !remote {
		return fresh, err
	}
	return append(bytes.Clone(serviceMagic), fresh...), nil
}
