package tenancy

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"k3fs/metastore"
)

// maxUsed bounds how many access keys' last uses wait to be stored; more are not noted until they are.
const maxUsed = 16 << 10

// Used notes that an access key was used now. It costs no write: StoreUsed stores what was noted.
func (t *Tenancy) Used(accessKey string) {
	minute := t.now().Unix() / 60
	if at, ok := t.used.Load(accessKey); ok {
		at.(*atomic.Int64).Store(minute)
		return
	}
	if t.usedKeys.Load() >= maxUsed {
		return
	}
	at := new(atomic.Int64)
	at.Store(minute)
	if _, raced := t.used.LoadOrStore(accessKey, at); !raced {
		t.usedKeys.Add(1)
	}
}

// StoreUsed stores when access keys were last used. The daemon calls it now and then, and when it stops.
func (t *Tenancy) StoreUsed(ctx context.Context) error {
	noted := map[string]time.Time{}
	t.used.Range(func(key, at any) bool {
		noted[key.(string)] = time.Unix(at.(*atomic.Int64).Load()*60, 0)
		return true
	})
	const slice = 512
	todo := make([]string, 0, slice)
	var err error
	for key := range noted {
		if todo = append(todo, key); len(todo) == slice {
			err, todo = errors.Join(err, t.storeUsed(ctx, todo, noted)), todo[:0]
		}
	}
	return errors.Join(err, t.storeUsed(ctx, todo, noted))
}

func (t *Tenancy) storeUsed(ctx context.Context, keys []string, noted map[string]time.Time) error {
	if len(keys) == 0 {
		return nil
	}
	err := t.kv.Update(ctx, metastore.Ordered, func(txn metastore.Txn) error {
		for _, key := range keys {
			there, err := has(txn, credentialKey(key)) // it may have been deleted
			if err != nil {
				return err
			}
			if there {
				if err := txn.Set(usedKey(key), encodeUsed(noted[key])); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, key := range keys {
		if _, ok := t.used.LoadAndDelete(key); ok {
			t.usedKeys.Add(-1)
		}
	}
	return nil
}

// usedAt is when an access key was last used; it passes an earlier error on.
func (t *Tenancy) usedAt(r metastore.Reader, accessKey string, err error) (time.Time, error) {
	if err != nil {
		return time.Time{}, err
	}
	if at, ok := t.used.Load(accessKey); ok {
		return time.Unix(at.(*atomic.Int64).Load()*60, 0).UTC(), nil
	}
	raw, err := r.Get(usedKey(accessKey))
	if errors.Is(err, metastore.ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	d := newDecoder(raw)
	at := d.time()
	return at, d.end("time of last use")
}

func encodeUsed(at time.Time) []byte {
	e := newEncoder()
	e.time(at)
	return *e
}
