package namespace

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// QuotaScope names what a quota bounds.
type QuotaScope struct {
	Tenant tenancy.TenantID // 0: the caller's own
	Bucket string           // empty: all of the tenant's
	Prefix string           // of keys, a directory's: it ends in "/"; empty: all of the bucket's
}

// QuotaLimits are the bounds of a scope's usage; 0 is none. What is below a hard limit never exceeds it; a soft one may be
// exceeded for as long as Grace says. What frees or removes is never refused.
type QuotaLimits struct {
	Bytes, SoftBytes   int64
	Inodes, SoftInodes int64
	Grace              time.Duration // by the trusted clock; 0 is DefaultGrace
}

// DefaultGrace is how long a soft limit may be exceeded.
const DefaultGrace = 7 * 24 * time.Hour

// Quota is the limits of a scope and what is used of them.
type Quota struct {
	QuotaScope
	QuotaLimits
	Used Usage
	// Until when the soft limit may be exceeded; zero: it is not exceeded.
	BytesUntil, InodesUntil time.Time
}

const (
	unbounded = math.MaxInt64
	maxQuotas = 1000 // of prefixes in one bucket
)

// quota is a stored quota.
type quota struct {
	scope
	quotaRec
}

func (rec *quotaRec) bounds() bool {
	return rec.Bytes|rec.SoftBytes|rec.Inodes|rec.SoftInodes != 0
}

// settle charges what the update owes, or refuses it: QuotaExceeded.
func (t *txn) settle() error {
	table := t.fs.quotas.table.Load()
	for i := range t.debits {
		d := &t.debits[i]
		bytes, inodes := d.counters()
		q := table.of(d.scope)
		bound := limits{unbounded, unbounded}
		if q != nil && !q.Counting && !t.frees && (d.Bytes > 0 || d.Inodes > 0) {
			var err error
			if bound, err = t.bounds(q, bytes, inodes, d.Usage); err != nil {
				return err
			}
		}
		if err := t.add(q, bytes, d.Bytes, bound.bytes, "bytes"); err != nil {
			return err
		}
		if err := t.add(q, inodes, d.Inodes, bound.inodes, "files"); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) add(q *quota, k []byte, n, bound int64, what string) error {
	if n == 0 {
		return nil
	}
	err := t.Add(k, n, bound)
	if errors.Is(err, metastore.ErrExceeded) {
		err = q.exceeded(bound, what)
	}
	return err
}

// exceeded is the refusal by a quota.
func (q *quota) exceeded(bound int64, what string) error {
	of := "the tenant"
	switch {
	case q.prefix != "":
		of = fmt.Sprintf("%q", q.prefix)
	case q.bucket != 0:
		of = "the bucket"
	}
	return because(QuotaExceeded, "%s may have %d %s", of, bound, what)
}

// limits are what a scope may use at the moment.
type limits struct{ bytes, inodes int64 }

// bounds are the limits of a quota for an update that adds to it. Passing a soft limit is noted in the quota's record.
func (t *txn) bounds(q *quota, bytes, inodes []byte, u Usage) (limits, error) {
	l := limits{orUnbounded(q.Bytes), orUnbounded(q.Inodes)}
	if q.SoftBytes == 0 && q.SoftInodes == 0 {
		return l, nil
	}
	var rec quotaRec
	if found, err := getRec(t, q.quotaKey(), &rec); err != nil || !found {
		return l, err
	}
	was := rec
	nb, err := t.Count(bytes)
	if err != nil {
		return l, err
	}
	ni, err := t.Count(inodes)
	if err != nil {
		return l, err
	}
	now := t.fs.trusted()
	l.bytes = rec.soften(&rec.BytesSince, l.bytes, rec.SoftBytes, nb, u.Bytes, now)
	l.inodes = rec.soften(&rec.InodesSince, l.inodes, rec.SoftInodes, ni, u.Inodes, now)
	if rec.BytesSince == was.BytesSince && rec.InodesSince == was.InodesSince {
		return l, nil
	}
	return l, putRec(t, q.quotaKey(), &rec)
}

func orUnbounded(n int64) int64 {
	if n == 0 {
		return unbounded
	}
	return n
}

// soften is the bound of usage n that is to grow, where a soft limit is below the hard one, and notes in since when
// that was passed.
func (rec *quotaRec) soften(since *int64, hard, soft, n, more, now int64) int64 {
	if soft == 0 {
		return hard
	}
	if n <= soft {
		*since = 0
		if n+more <= soft { // if others are faster, the update runs again and sees it
			return min(soft, hard)
		}
	}
	if more <= 0 {
		return hard
	}
	if *since == 0 {
		*since = now
	}
	if now-*since >= rec.grace() {
		return min(soft, hard)
	}
	return hard
}

func (rec *quotaRec) grace() int64 {
	if rec.Grace == 0 {
		return int64(DefaultGrace)
	}
	return rec.Grace
}

// now is what a quota allows at a moment, without noting anything.
func (rec *quotaRec) now(used Usage, now int64) limits {
	b, i := rec.BytesSince, rec.InodesSince
	return limits{
		rec.soften(&b, orUnbounded(rec.Bytes), rec.SoftBytes, used.Bytes, 1, now),
		rec.soften(&i, orUnbounded(rec.Inodes), rec.SoftInodes, used.Inodes, 1, now),
	}
}

// Quota tells the limits of a scope and what is used of it (tenancy.GetQuota). A tenant or bucket without a quota has no
// limits; NotFound: the prefix has none, and its usage is not known.
func (v *View) Quota(ctx context.Context, s QuotaScope) (q Quota, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		at, err := v.quotaScope(r, tenancy.GetQuota, s)
		if err != nil {
			return err
		}
		one := quota{scope: at}
		found, err := getRec(r, at.quotaKey(), &one.quotaRec)
		if err == nil && !found && s.Prefix != "" {
			err = of(NotFound)
		}
		if err != nil {
			return err
		}
		s.Tenant = at.tenant
		q, err = one.describe(r, s, v.fs.trusted())
		return err
	})
	return q, fail("quota", s.Bucket, err)
}

func (q *quota) describe(r metastore.Reader, s QuotaScope, now int64) (Quota, error) {
	used, err := usageOf(r, q.scope)
	d := Quota{QuotaScope: s, Used: used,
		QuotaLimits: QuotaLimits{q.Bytes, q.SoftBytes, q.Inodes, q.SoftInodes, time.Duration(q.Grace)}}
	if q.SoftBytes > 0 && used.Bytes > q.SoftBytes && q.BytesSince != 0 {
		d.BytesUntil = stamp(q.BytesSince + q.grace())
	}
	if q.SoftInodes > 0 && used.Inodes > q.SoftInodes && q.InodesSince != 0 {
		d.InodesUntil = stamp(q.InodesSince + q.grace())
	}
	return d, err
}

// Quotas lists the quotas of a tenant (0: the caller's own): its own, its buckets', their prefixes' (tenancy.GetQuota).
func (v *View) Quotas(ctx context.Context, tenant tenancy.TenantID) (all []Quota, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		all = nil
		at, err := v.quotaScope(r, tenancy.GetQuota, QuotaScope{Tenant: tenant})
		if err != nil {
			return err
		}
		stored, err := scanQuotas(r)
		for _, q := range stored {
			if err != nil || q.tenant != at.tenant {
				continue
			}
			s := QuotaScope{Tenant: q.tenant, Prefix: q.prefix}
			if q.bucket != 0 {
				var info BucketInfo
				if info, err = bucketInfo(r, q.bucket); err != nil {
					return err
				}
				s.Bucket = info.Name
			}
			var one Quota
			one, err = q.describe(r, s, v.fs.trusted())
			all = append(all, one)
		}
		return err
	})
	return all, fail("quotas", "", err)
}

// Usage tells what a tenant or a bucket uses, or a prefix that has a quota (tenancy.GetUsage).
func (v *View) Usage(ctx context.Context, s QuotaScope) (u Usage, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		at, err := v.quotaScope(r, tenancy.GetUsage, s)
		if err == nil && s.Prefix != "" && v.fs.quotas.table.Load().of(at) == nil {
			err = of(NotFound)
		}
		if err != nil {
			return err
		}
		u, err = usageOf(r, at)
		return err
	})
	return u, fail("usage", s.Bucket, err)
}
