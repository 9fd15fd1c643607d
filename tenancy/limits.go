package tenancy

import (
	"context"
	"encoding/binary"
	"fmt"

	"k3fs/metastore"
)

// Limits bound what a tenant may ask of the node each second, through all doors together. 0 is no limit.
type Limits struct {
	Requests   int64 // of S3, and operations of mounts
	ReadBytes  int64 // to clients
	WriteBytes int64 // from clients
}

// SetLimits sets a tenant's limits for by, who needs PutTenantQuota. It is durable on return, and counts from then on.
func (t *Tenancy) SetLimits(ctx context.Context, by Principal, id TenantID, l Limits) error {
	if l.Requests < 0 || l.ReadBytes < 0 || l.WriteBytes < 0 {
		return fmt.Errorf("%w: limits are not negative", ErrInvalid)
	}
	t.changing.Lock()
	defer t.changing.Unlock()
	err := t.kv.Update(context.WithoutCancel(ctx), metastore.Durable, func(txn metastore.Txn) error {
		if err := t.Allow(by, PutTenantQuota, Resource{Owner: id}); err != nil {
			return err
		}
		if _, err := getTenant(txn, id); err != nil {
			return err
		}
		if l == (Limits{}) {
			return txn.Delete(limitsKey(id))
		}
		return txn.Set(limitsKey(id), encodeLimits(l))
	})
	if err == nil {
		t.limits.Store(id, l)
	}
	return err
}

// LimitsOf tells a tenant's limits to by, who needs GetQuota, or for another tenant than its own GetTenant.
func (t *Tenancy) LimitsOf(_ context.Context, by Principal, id TenantID) (Limits, error) {
	need := GetQuota
	if id != by.Tenant {
		need = GetTenant
	}
	if err := t.Allow(by, need, Resource{Owner: id}); err != nil {
		return Limits{}, err
	}
	return t.Limits(id), nil
}

// Limits are a tenant's limits as they are at the moment. It does no I/O.
func (t *Tenancy) Limits(id TenantID) Limits {
	if l, ok := t.limits.Load(id); ok {
		return l.(Limits)
	}
	return Limits{}
}

// loadLimits reads the limits of all tenants into memory.
func (t *Tenancy) loadLimits(ctx context.Context) error {
	return t.kv.View(ctx, func(r metastore.Reader) error {
		return scan(r, []byte{room, 'q'}, func(rest, raw []byte) error {
			d := newDecoder(raw)
			l := Limits{int64(d.uint()), int64(d.uint()), int64(d.uint())}
			if len(rest) != 8 {
				return fmt.Errorf("%w: key of limits", ErrCorrupt)
			}
			t.limits.Store(TenantID(binary.BigEndian.Uint64(rest)), l)
			return d.end("limits")
		})
	})
}

func encodeLimits(l Limits) []byte {
	e := newEncoder()
	e.uint(uint64(l.Requests))
	e.uint(uint64(l.ReadBytes))
	e.uint(uint64(l.WriteBytes))
	return *e
}
