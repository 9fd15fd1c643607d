package namespace

import (
	"context"
	"time"

	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
	"k3fs/tenancy"
)

// RetentionCap is for how long a tenant may lock data, at most: by retention, a bucket's default, a hold's end or
// period. 0 is without a bound. A hold until it is released, and a legal hold, have no length.
type RetentionCap struct {
	Tenant time.Duration // as the node's operator set it for the tenant
	Node   time.Duration // the node's configuration has it for all
}

// Most is the stricter of the two.
func (c RetentionCap) Most() time.Duration {
	if c.Tenant == 0 || c.Node != 0 && c.Node < c.Tenant {
		return c.Node
	}
	return c.Tenant
}

// SetRetentionCap sets a tenant's cap; 0 leaves it to the node's configuration. What is locked for longer already, and
// what defaults of buckets say, stays. It needs tenancy.PutRetentionCap, and is in the audit log of that tenant.
func (v *View) SetRetentionCap(ctx context.Context, t tenancy.TenantID, most time.Duration) error {
	err := v.update(context.WithoutCancel(ctx), metastore.Durable, func(tx *txn) error {
		if err := v.fs.auth.Allow(v.who, tenancy.PutRetentionCap, tenancy.Resource{}); err != nil {
			return err
		}
		if most < 0 {
			return because(Invalid, "a cap is a length of time, or 0 for that of the node")
		}
		detail := "none"
		if most > 0 {
			detail = most.String()
		}
		if err := tx.recordFor(t, v, audit.Event{Event: "retention.cap", Detail: detail}); err != nil {
			return err
		}
		if most == 0 {
			return tx.Delete(capKey(t))
		}
		return putRec(tx, capKey(t), &capRec{Most: int64(most)})
	})
	return fail("set retention cap", "", err)
}

// RetentionCap tells a tenant's cap, to who may list its holds, and to who may set it.
func (v *View) RetentionCap(ctx context.Context, t tenancy.TenantID) (c RetentionCap, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		err := v.fs.auth.Allow(v.who, tenancy.PutRetentionCap, tenancy.Resource{})
		if err != nil {
			err = v.fs.auth.Allow(v.who, tenancy.ListHolds, tenancy.Resource{Owner: t})
		}
		if err == nil {
			c, err = v.fs.retentionCap(r, t)
		}
		return err
	})
	return c, fail("get retention cap", "", err)
}

func capKey(t tenancy.TenantID) []byte { return key(kCap, uint64(t)) }

func (fs *FS) retentionCap(r metastore.Reader, t tenancy.TenantID) (RetentionCap, error) {
	var rec capRec
	_, err := getRec(r, capKey(t), &rec)
	return RetentionCap{Tenant: time.Duration(rec.Most), Node: fs.locks.MaxRetention(t)}, err
}

// withinCap refuses to lock data for longer than the tenant may.
func (fs *FS) withinCap(r metastore.Reader, t tenancy.TenantID, length int64) error {
	c, err := fs.retentionCap(r, t)
	if err != nil {
		return err
	}
	if most := c.Most(); most > 0 && length > int64(most) {
		return because(Invalid, "that is longer than the %s that data may be retained here", most)
	}
	return nil
}
