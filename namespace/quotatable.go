package namespace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"k3fs/metastore"
	"k3fs/tenancy"
)

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
