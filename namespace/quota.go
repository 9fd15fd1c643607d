package namespace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
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

// quotas is the table of all quotas. It is replaced as a whole, while no update is under way (holding.fence): within
// one it stays as it is. Without quotas it is nil and costs a look.
type quotas struct {
	setting sync.Mutex // held while quotas are set
	table   atomic.Pointer[quotaTable]
	drafts  reservations
}

type quotaTable struct {
	whole map[scope]*quota // of tenants and buckets
	parts map[Ino][]*quota // of prefixes, by bucket
}

// areas are the quotas of a bucket's prefixes.
func (q *quotas) areas(bucket Ino) []*quota {
	if t := q.table.Load(); t != nil {
		return t.parts[bucket]
	}
	return nil
}

// of finds the quota of a scope; nil if it has none.
func (t *quotaTable) of(s scope) *quota {
	if t == nil {
		return nil
	}
	if s.prefix == "" {
		return t.whole[s]
	}
	for _, q := range t.parts[s.bucket] {
		if q.prefix == s.prefix {
			return q
		}
	}
	return nil
}

// covering are the quotas of a bucket's key, and of its tenant.
func (t *quotaTable) covering(owner tenancy.TenantID, bucket Ino, objectKey string) (all []*quota) {
	if t == nil {
		return nil
	}
	for _, s := range []scope{{tenant: owner}, {tenant: owner, bucket: bucket}} {
		if q := t.whole[s]; q != nil {
			all = append(all, q)
		}
	}
	for _, q := range t.parts[bucket] {
		if strings.HasPrefix(objectKey, q.prefix) {
			all = append(all, q)
		}
	}
	return all
}

// with is the table with q in place of what had its scope; without it, if q has no limits.
func (t *quotaTable) with(q *quota) *quotaTable {
	next := &quotaTable{whole: map[scope]*quota{}, parts: map[Ino][]*quota{}}
	if t != nil {
		maps.Copy(next.whole, t.whole)
		maps.Copy(next.parts, t.parts)
	}
	if q.prefix == "" {
		delete(next.whole, q.scope)
		if q.bounds() {
			next.whole[q.scope] = q
		}
	} else {
		var parts []*quota
		for _, other := range next.parts[q.bucket] {
			if other.prefix != q.prefix {
				parts = append(parts, other)
			}
		}
		if q.bounds() {
			parts = append(parts, q)
		}
		next.parts[q.bucket] = parts
	}
	return next
}

func (rec *quotaRec) bounds() bool {
	return rec.Bytes|rec.SoftBytes|rec.Inodes|rec.SoftInodes != 0
}

func (s scope) quotaKey() []byte {
	return append(key(kQuota, uint64(s.tenant), uint64(s.bucket)), s.prefix...)
}

// scanQuotas reads all quotas.
func scanQuotas(r metastore.Reader) (all []*quota, err error) {
	err = r.Scan(prefixRange([]byte(kQuota), 64), func(k, value []byte) (bool, error) {
		rest := k[len(kQuota):]
		if len(rest) < 16 {
			return false, fmt.Errorf("%w: key of a quota", metastore.ErrCorrupt)
		}
		q := &quota{scope: scope{tenancy.TenantID(binary.BigEndian.Uint64(rest)), ino(rest[8:]), string(rest[16:])}}
		all = append(all, q)
		return true, decode(value, &q.quotaRec)
	})
	return all, err
}

// loadQuotas reads the quotas, and counts what one that was being set when the last run ended has used.
func (fs *FS) loadQuotas(ctx context.Context) error {
	var all []*quota
	err := fs.kv.View(ctx, func(r metastore.Reader) (err error) {
		all, err = scanQuotas(r)
		return err
	})
	var table *quotaTable
	for _, q := range all {
		if err == nil && q.Counting {
			err = fs.recountArea(ctx, q)
		}
		table = table.with(q)
	}
	fs.quotas.table.Store(table)
	return err
}

// recountArea counts a prefix's usage while nothing else goes on.
func (fs *FS) recountArea(ctx context.Context, q *quota) error {
	bytes, inodes := q.counters()
	var used Usage
	err := fs.kv.Update(ctx, metastore.Reclaim, func(t metastore.Txn) error {
		return errors.Join(t.Delete(bytes), t.Delete(inodes))
	})
	if err == nil {
		err = fs.kv.View(ctx, func(r metastore.Reader) (err error) {
			used, err = countArea(ctx, r, q.scope)
			return err
		})
	}
	if err != nil {
		return err
	}
	q.Counting = false
	return fs.kv.Update(ctx, metastore.Reclaim, func(t metastore.Txn) error {
		return errors.Join(t.Add(bytes, used.Bytes, unbounded), t.Add(inodes, used.Inodes, unbounded), putRec(t, q.quotaKey(), &q.quotaRec))
	})
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
