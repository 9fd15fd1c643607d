package tenancy

import (
	"context"
	"crypto/sha256"
	"fmt"

	"k3fs/metastore"
)

// KMSKey reports whether id is a name of one of the tenant's keys, as SSE-KMS may give it: the tenant's own
// id (KMSKeyID), or one that EnsureKMSKey gave. Whatever the name, data is sealed with the tenant's data key.
// On a failure to find out it is none.
func (t *Tenancy) KMSKey(ctx context.Context, tenant TenantID, id string) bool {
	if id == tenant.KMSKeyID() {
		return true
	}
	if checkName("key", id) != nil {
		return false
	}
	known := false
	err := t.kv.View(ctx, func(r metastore.Reader) (err error) {
		known, err = has(r, kmsKey(tenant, id))
		return err
	})
	return known && err == nil
}

// EnsureKMSKey gives the tenant's key one more name for SSE-KMS, durably.
func (t *Tenancy) EnsureKMSKey(ctx context.Context, tenant TenantID, id string) error {
	if err := checkName("key", id); err != nil {
		return err
	}
	return t.kv.Update(ctx, metastore.Durable, func(txn metastore.Txn) error {
		if _, err := getTenant(txn, tenant); err != nil {
			return err
		}
		return txn.Set(kmsKey(tenant, id), []byte{recordVersion})
	})
}

// KMSKeyID is the id of the tenant's key as SSE-KMS shows it where none was named: in form a UUID, as AWS's.
func (t TenantID) KMSKeyID() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "k3fs kms key %d", t))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
