package tenancy

import (
	"bytes"
	"context"
	"fmt"

	"k3fs/metastore"
)

// NodeRotation is a change of the lock of the node keys: of the master key, or of the key service in its place.
type NodeRotation struct {
	Path     string // of the file of node keys
	Old, New Lock
	// Replace makes New the lock that the next start uses (it replaces the master key's file); nil if it is that
	// already.
	Replace func() error

	// passed is told of each step that is done, for tests; an error ends the rotation there, as a crash would.
	passed func(step string) error
}

// RotateNodeKeys changes the lock of the node keys, and the keys that seal tenants' keys and secrets with it, while
// everything goes on. At each moment the file of node keys opens with the lock that the next start will use:
//
//  1. the file gets a further generation of sealing keys, and a slot for the new lock beside the old one's;
//  2. Replace: from here on a start uses the new lock;
//  3. the old lock's slot is taken away;
//  4. every tenant's key and every secret is sealed anew, some in each update;
//  5. the older generations are taken out of the file.
//
// After a crash FinishRotation does what is left.
func (t *Tenancy) RotateNodeKeys(ctx context.Context, r NodeRotation) error {
	t.rotating.Lock()
	defer t.rotating.Unlock()
	passed := func(step string) error {
		if r.passed != nil {
			return r.passed(step)
		}
		return nil
	}
	more := t.nodeKeys().next()
	if err := more.Save(ctx, r.Path, r.Old, r.New); err != nil {
		return err
	}
	if err := passed("both locks"); err != nil {
		return err
	}
	if r.Replace != nil {
		if err := r.Replace(); err != nil {
			return fmt.Errorf("replace the master key: %w", err)
		}
	}
	if err := passed("replaced"); err != nil {
		return err
	}
	if err := more.Save(ctx, r.Path, r.New); err != nil {
		return err
	}
	t.setNodeKeys(more)
	if err := passed("new lock"); err != nil {
		return err
	}
	return t.finishRotation(ctx, r.Path, r.New)
}

// FinishRotation does what a crash left of RotateNodeKeys: where there are several generations of sealing keys it
// seals everything under the newest, and forgets the others. lock is the one in force.
func (t *Tenancy) FinishRotation(ctx context.Context, path string, lock Lock) error {
	t.rotating.Lock()
	defer t.rotating.Unlock()
	if len(t.nodeKeys().generation) == 1 {
		return nil
	}
	return t.finishRotation(ctx, path, lock)
}

// Rotating reports whether FinishRotation has something to do.
func (t *Tenancy) Rotating() bool { return len(t.nodeKeys().generation) > 1 }

// finishRotation: t.rotating must be held.
func (t *Tenancy) finishRotation(ctx context.Context, path string, lock Lock) error {
	for _, table := range sealedTables {
		if err := t.renewTable(ctx, table.prefix, table.renew); err != nil {
			return err
		}
	}
	less := t.nodeKeys().newest()
	if err := less.Save(ctx, path, lock); err != nil {
		return err
	}
	t.setNodeKeys(less)
	return nil
}

// NodeKeysForCopy are the node's keys as NodeKeys.ForCopy makes them. A rotation must not be under way.
func (t *Tenancy) NodeKeysForCopy() *NodeKeys { return t.nodeKeys().ForCopy() }

func (t *Tenancy) nodeKeys() *NodeKeys { return t.keys.Load() }

// setNodeKeys waits for changes of records that seal under the generation before.
func (t *Tenancy) setNodeKeys(k *NodeKeys) {
	t.changing.Lock()
	defer t.changing.Unlock()
	t.keys.Store(k)
	t.ring.all.Store(&k.generation)
}

// sealedTables are all records that hold something sealed under the node keys. renew returns the record with that
// sealed under the newest generation, nil if it is.
var sealedTables = []struct {
	prefix []byte
	renew  func(t *Tenancy, rest, raw []byte) ([]byte, error)
}{
	{[]byte{room, 'k'}, (*Tenancy).renewTenantKey},
	{[]byte{room, 'c'}, (*Tenancy).renewCredential},
	{[]byte{room, 'y'}, (*Tenancy).renewSigning},
}

func (t *Tenancy) renewCredential(rest, raw []byte) ([]byte, error) {
	key, sealed, err := decodeCredential(string(rest), raw)
	if err != nil {
		return nil, err
	}
	renewed := false
	for _, one := range []*[]byte{&sealed.current, &sealed.previous} {
		if len(*one) == 0 {
			continue
		}
		fresh, err := t.secrets.renew(*one, aboutSecret(key), "the secret of access key "+key.ID)
		if err != nil {
			return nil, err
		}
		if fresh != nil {
			*one, renewed = fresh, true
		}
	}
	if !renewed {
		return nil, nil
	}
	return encodeCredential(key, sealed), nil
}

// renewBatch is how many records one update looks at.
const renewBatch = 100

// renewTable renews every record of a table. It makes passes until one finds nothing to do: a record that was being
// written when the generation changed may come behind the first.
func (t *Tenancy) renewTable(ctx context.Context, prefix []byte, renew func(*Tenancy, []byte, []byte) ([]byte, error)) error {
	for {
		found, err := t.renewPass(ctx, prefix, renew)
		if err != nil || found == 0 {
			return err
		}
	}
}

func (t *Tenancy) renewPass(ctx context.Context, prefix []byte, renew func(*Tenancy, []byte, []byte) ([]byte, error)) (found int, err error) {
	for from := prefix; from != nil; {
		var keys [][]byte
		err := t.kv.View(ctx, func(r metastore.Reader) error {
			keys = nil
			return r.Scan(metastore.Range{From: from, To: prefixEnd(prefix), Page: renewBatch, KeysOnly: true}, func(k, _ []byte) (bool, error) {
				keys = append(keys, bytes.Clone(k))
				return len(keys) < renewBatch, nil
			})
		})
		if err != nil {
			return found, err
		}
		from = nil
		if len(keys) == renewBatch {
			from = append(bytes.Clone(keys[renewBatch-1]), 0)
		}
		renewed := 0
		err = t.kv.Update(ctx, metastore.DurableReclaim, func(txn metastore.Txn) error {
			renewed = 0
			for _, k := range keys {
				raw, err := get(txn, k)
				if err != nil || raw == nil { // removed meanwhile
					return err
				}
				fresh, err := renew(t, k[len(prefix):], raw)
				if err != nil {
					return err
				}
				if fresh == nil {
					continue
				}
				renewed++
				if err := txn.Set(k, fresh); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return found, err
		}
		found += renewed
	}
	return found, nil
}
