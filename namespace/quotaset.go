package namespace

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
	"k3fs/tenancy"
)

// check says whether limits make sense.
func (l *QuotaLimits) check(s QuotaScope) error {
	switch {
	case l.Bytes < 0 || l.SoftBytes < 0 || l.Inodes < 0 || l.SoftInodes < 0 || l.Grace < 0:
		return because(Invalid, "limits are not negative")
	case l.Bytes > 0 && l.SoftBytes > l.Bytes || l.Inodes > 0 && l.SoftInodes > l.Inodes:
		return because(Invalid, "a soft limit is below the hard one")
	case s.Prefix != "" && (s.Bucket == "" || !isDirName(s.Prefix) || len(s.Prefix) > maxKey || checkKey(s.Prefix) != nil):
		return because(Invalid, "a prefix is a directory of a bucket, and ends in '/'")
	}
	return nil
}

// quotaScope asks whether the view may do a to a scope, and finds it.
func (v *View) quotaScope(r metastore.Reader, a tenancy.Action, s QuotaScope) (scope, error) {
	if s.Tenant == 0 {
		s.Tenant = v.who.Tenant
	}
	found := scope{tenant: s.Tenant, prefix: s.Prefix}
	if s.Tenant != v.who.Tenant && s.Bucket == "" && (a == tenancy.GetQuota || a == tenancy.GetUsage) {
		a = tenancy.GetTenant // the node's operator sees what each of them uses
	}
	if err := v.fs.auth.Allow(v.who, a, tenancy.Resource{Owner: s.Tenant, Bucket: s.Bucket, Key: s.Prefix}); err != nil || s.Bucket == "" {
		return found, err
	}
	b, err := v.fs.anyBucket(r, s.Bucket)
	if err == nil && b.owner() != s.Tenant {
		err = of(NoBucket)
	}
	if err != nil {
		return found, err
	}
	found.bucket = b.ino
	return found, nil
}

// SetQuota sets the limits of a scope; those of a tenant are the node's operator's to set (tenancy.PutTenantQuota), others
// the tenant's (tenancy.PutQuota). Zero limits remove it. What is above them already stays. It is durable on return, and
// no update that began later exceeds it. The first quota of a prefix counts what is there, beside all other work.
func (v *View) SetQuota(ctx context.Context, s QuotaScope, l QuotaLimits) error {
	err := l.check(s)
	if err == nil {
		err = v.setQuota(context.WithoutCancel(ctx), s, l)
	}
	return fail("set quota", s.Bucket, err)
}

func (v *View) setQuota(ctx context.Context, s QuotaScope, l QuotaLimits) error {
	action := tenancy.PutQuota
	if s.Bucket == "" {
		action = tenancy.PutTenantQuota
	}
	fs := v.fs
	fs.quotas.setting.Lock()
	defer fs.quotas.setting.Unlock()
	err := fs.kv.View(ctx, func(r metastore.Reader) error { // before all others wait
		_, err := v.quotaScope(r, action, s)
		return err
	})
	if err != nil {
		return err
	}
	var q *quota
	var counted chan error
	var used Usage
	fs.holding.fence.Lock()
	err = fs.updateWithin(ctx, fenced{}, metastore.DurableReclaim, v.door, func(t *txn) error {
		found, err := v.quotaScope(t, action, s)
		if err != nil {
			return err
		}
		q, err = t.putQuota(found, l)
		if err != nil {
			return err
		}
		return t.recordFor(found.tenant, v, audit.Event{Event: "quota.set", Bucket: s.Bucket, Key: s.Prefix, Detail: l.String()})
	})
	if err == nil {
		fs.quotas.table.Store(fs.quotas.table.Load().with(q))
		if q.Counting {
			// From the state that this sees on, updates keep the account.
			counted = make(chan error, 1)
			begun := make(chan struct{})
			begin := sync.OnceFunc(func() { close(begun) })
			go func() {
				err := fs.kv.View(ctx, func(r metastore.Reader) (err error) {
					begin()
					used, err = countArea(ctx, r, q.scope)
					return err
				})
				begin() // if it could not
				counted <- err
			}()
			<-begun
		}
	}
	fs.holding.fence.Unlock()
	if err == nil && counted != nil {
		if err = <-counted; err == nil {
			err = fs.counted(ctx, q, used)
		}
	}
	return err
}

// fenced is a lock that the caller has already.
type fenced struct{}

func (fenced) Lock()   {}
func (fenced) Unlock() {}

// putQuota stores the quota of a scope.
func (t *txn) putQuota(s scope, l QuotaLimits) (*quota, error) {
	q := &quota{scope: s}
	found, err := getRec(t, s.quotaKey(), &q.quotaRec)
	if err != nil {
		return nil, err
	}
	q.Bytes, q.SoftBytes, q.Inodes, q.SoftInodes, q.Grace = l.Bytes, l.SoftBytes, l.Inodes, l.SoftInodes, int64(l.Grace)
	if !q.bounds() {
		if s.prefix != "" {
			bytes, inodes := s.counters()
			err = errors.Join(t.Delete(bytes), t.Delete(inodes))
		}
		return q, errors.Join(err, t.Delete(s.quotaKey()))
	}
	if s.prefix != "" && !found {
		if len(t.fs.quotas.areas(s.bucket)) >= maxQuotas {
			return nil, because(TooBig, "the bucket has quotas of %d prefixes already", maxQuotas)
		}
		q.Counting = true
	}
	return q, putRec(t, s.quotaKey(), &q.quotaRec)
}

// counted adds what was counted of a prefix to what was charged since, and puts its quota in force.
func (fs *FS) counted(ctx context.Context, q *quota, used Usage) error {
	bytes, inodes := q.counters()
	fs.holding.fence.Lock()
	defer fs.holding.fence.Unlock()
	done := *q
	done.Counting = false
	err := fs.kv.Update(ctx, metastore.DurableReclaim, func(t metastore.Txn) error {
		return errors.Join(t.Add(bytes, used.Bytes, unbounded), t.Add(inodes, used.Inodes, unbounded), putRec(t, q.quotaKey(), &done.quotaRec))
	})
	if err == nil {
		fs.quotas.table.Store(fs.quotas.table.Load().with(&done))
	}
	return err
}

// String describes limits for the audit log.
func (l QuotaLimits) String() string {
	return fmt.Sprintf("bytes: %d (soft %d); inodes: %d (soft %d); grace: %s", l.Bytes, l.SoftBytes, l.Inodes, l.SoftInodes, l.Grace)
}

// dropQuotas forgets the quotas of a bucket that goes.
func (t *txn) dropQuotas(b *bucketDir) error {
	var errs []error
	err := t.Scan(prefixRange(scope{tenant: b.owner(), bucket: b.ino}.quotaKey(), 16), func(k, _ []byte) (bool, error) {
		errs = append(errs, t.Delete(k))
		return true, nil
	})
	return errors.Join(append(errs, err)...)
}
