package tenancy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"k3fs/metastore"
)

// NewKey is a tenant's key for its next epoch, which is not in force yet.
type NewKey struct {
	Tenant TenantID
	Epoch  uint32
	stored []byte
}

// ErrKeyChanged: the tenant's key changed meanwhile.
var ErrKeyChanged = errors.New("tenancy: the tenant's key changed meanwhile")

// NextKey makes a key for the tenant's next epoch. With a key service it asks that, so it is no part of an update.
func (t *Tenancy) NextKey(ctx context.Context, tenant TenantID) (NewKey, error) {
	one, err := t.Tenant(ctx, tenant)
	if err != nil {
		return NewKey{}, err
	}
	k := NewKey{Tenant: tenant, Epoch: one.Epoch + 1}
	k.stored, err = t.newTenantKey(ctx, keyOf{tenant, k.Epoch})
	return k, err
}

// InstallKey puts a key in force, in an update: the tenant's new data are sealed under it, what is there stays readable
// under its own. ErrKeyChanged if it isn't the next one any more. KeysChanged must be called when the update is over.
func (t *Tenancy) InstallKey(txn metastore.Txn, k NewKey) error {
	one, err := getTenant(txn, k.Tenant)
	if err != nil {
		return err
	}
	if one.Epoch+1 != k.Epoch {
		return fmt.Errorf("%w: tenant %d", ErrKeyChanged, k.Tenant)
	}
	one.Epoch = k.Epoch
	return errors.Join(txn.Set(wrappedKey(k.Tenant, k.Epoch), k.stored), txn.Set(tenantKey(k.Tenant), encodeTenant(one)))
}

// KeyEpochs are the epochs whose keys the tenant has, in ascending order: the last is in force, and under the others
// there may still be data. There are none when the keys were destroyed.
func (t *Tenancy) KeyEpochs(r metastore.Reader, tenant TenantID) (all []uint32, err error) {
	err = scan(r, numbered('k', tenant, 0), func(rest, _ []byte) error {
		if len(rest) != 4 {
			return fmt.Errorf("%w: the name of a tenant key's record", ErrCorrupt)
		}
		all = append(all, binary.BigEndian.Uint32(rest))
		return nil
	})
	return all, err
}

// lastEpoch is the last epoch whose key the tenant has; 0: it has none.
func (t *Tenancy) lastEpoch(ctx context.Context, tenant TenantID) (last uint32, err error) {
	err = t.kv.View(ctx, func(r metastore.Reader) error {
		all, err := t.KeyEpochs(r, tenant)
		if last = 0; len(all) > 0 {
			last = all[len(all)-1]
		}
		return err
	})
	return last, err
}

// DropKey destroys a tenant's key of an epoch that is not in force, in an update. Nothing may be sealed under it.
func (t *Tenancy) DropKey(txn metastore.Txn, tenant TenantID, epoch uint32) error {
	one, err := getTenant(txn, tenant)
	if err != nil {
		return err
	}
	if epoch >= one.Epoch {
		return fmt.Errorf("%w: epoch %d of tenant %d is in force", ErrInvalid, epoch, tenant)
	}
	return txn.Delete(wrappedKey(tenant, epoch))
}

// DestroyKeys destroys all keys of a tenant, in an update: none of its data can be read from then on, by nobody. Who
// asks must have made sure that it may be.
func (t *Tenancy) DestroyKeys(txn metastore.Txn, tenant TenantID) error {
	epochs, err := t.KeyEpochs(txn, tenant)
	if err != nil {
		return err
	}
	for _, epoch := range epochs {
		if err := txn.Delete(wrappedKey(tenant, epoch)); err != nil {
			return err
		}
	}
	return nil
}

// KeysChanged forgets what was known of a tenant's keys that are gone or no more in force. Whoever changed them calls
// it when the update is over, whatever came of it.
func (t *Tenancy) KeysChanged(tenant TenantID) {
	t.forget()
	var there map[uint32]bool
	err := t.kv.View(context.Background(), func(r metastore.Reader) error {
		epochs, err := t.KeyEpochs(r, tenant)
		there = make(map[uint32]bool, len(epochs))
		for _, e := range epochs {
			there[e] = true
		}
		return err
	})
	t.data.drop(func(name keyOf) bool { return name.tenant == tenant && (err != nil || !there[name.epoch]) })
}
