package namespace

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
	"k3fs/tenancy"
)

// What is done about locks and holds goes into the tenant's audit log (internal/audit) in the update that does it.
// Refusals are no updates: they are noted in memory, those that are alike as one, and stored once a minute.

// auditLog is a tenant's log, whose head the tenant's key authenticates; when that was destroyed, the first tenant's.
func (fs *FS) auditLog(tenant tenancy.TenantID) (*audit.Log, error) {
	by := tenancy.TenantID(0)
	if fs.erased(tenant) {
		by = tenancy.FirstTenant
	}
	return fs.auditLogBy(tenant, by)
}

// auditLogBy is a tenant's log, whose next head the key of by authenticates; 0: its own.
func (fs *FS) auditLogBy(tenant, by tenancy.TenantID) (*audit.Log, error) {
	owner := func(by uint64) chunkstore.Domain {
		if by == 0 {
			return domain(tenant)
		}
		return chunkstore.Domain(by)
	}
	epoch, err := fs.auth.Current(owner(uint64(by)))
	return &audit.Log{Prefix: key(kAudit, uint64(tenant)), Tenant: uint64(tenant), By: uint64(by), Epoch: epoch, Key: func(by uint64, epoch uint32) ([]byte, error) {
		root, err := fs.auth.DataKey(owner(by), epoch)
		if err != nil {
			return nil, err
		}
		return hkdf.Key(sha256.New, root[:], nil, "k3fs audit log head v1", 32)
	}}, err
}

// auditedTenants are the tenants whose logs have records.
func auditedTenants(r metastore.Reader) (all []tenancy.TenantID, err error) {
	for from := key(kAudit); ; {
		var next []byte
		err = r.Scan(metastore.Range{From: from, To: prefixEnd(key(kAudit)), Page: 1, KeysOnly: true}, func(k, _ []byte) (bool, error) {
			if len(k) < len(kAudit)+8 {
				return false, of(Corrupt)
			}
			tenant := binary.BigEndian.Uint64(k[len(kAudit):])
			all = append(all, tenancy.TenantID(tenant))
			next = prefixEnd(key(kAudit, tenant))
			return false, nil
		})
		if err != nil || next == nil {
			return all, err
		}
		from = next
	}
}

// record adds an event to the log of the view's tenant.
func (t *txn) record(v *View, e audit.Event) error { return t.recordFor(v.who.Tenant, v, e) }

// recordFor adds an event to a tenant's log.
func (t *txn) recordFor(tenant tenancy.TenantID, v *View, e audit.Event) error {
	log, err := t.fs.auditLog(tenant)
	if err != nil {
		return err
	}
	e.Account, e.AccessKey = v.who.Account, v.who.AccessKey
	t.fs.stampEvent(&e)
	return log.Append(t, e)
}

func (fs *FS) stampEvent(e *audit.Event) {
	e.Time, e.Wall = stamp(fs.trusted()).UTC(), fs.locks.Wall().UTC()
}

// Bounds of noted refusals: how many that differ are stored once a minute for a tenant, and for how many tenants.
const (
	maxRefusals = 16
	maxRefusers = 64
)

// refusals are those that were noted since they were last stored.
type refusals struct {
	mu    sync.Mutex
	noted map[tenancy.TenantID]map[refused]audit.Event // guarded by mu
}

// refused is what makes refusals alike.
type refused struct{ account, accessKey, op, bucket, why string }

// note notes a refusal.
func (rs *refusals) note(v *View, tenant tenancy.TenantID, op string, why *Refusal) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.noted == nil {
		rs.noted = map[tenancy.TenantID]map[refused]audit.Event{}
	}
	mine := rs.noted[tenant]
	if mine == nil {
		if len(rs.noted) >= maxRefusers {
			return
		}
		mine = map[refused]audit.Event{}
		rs.noted[tenant] = mine
	}
	k := refused{v.who.Account, v.who.AccessKey, op, why.Bucket, why.Why}
	e, known := mine[k]
	if !known {
		if len(mine) >= maxRefusals {
			k = refused{why: "others"}
		}
		e = mine[k]
		if e.Event == "" {
			e = audit.Event{Event: "refused", Account: k.account, AccessKey: k.accessKey, Bucket: k.bucket, Key: why.Key, Detail: strings.TrimPrefix(op+": "+why.Why, ": ")}
			v.fs.stampEvent(&e)
		}
	}
	e.Count++
	mine[k] = e
}

func (rs *refusals) take() map[tenancy.TenantID]map[refused]audit.Event {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	taken := rs.noted
	rs.noted = nil
	return taken
}

// refused notes an error by which a lock or a hold refused what the view asked for; others are nothing.
func (v *View) refused(op string, err error) error {
	if why := refusalOf(err); why != nil {
		v.fs.refusals.note(v, v.who.Tenant, op, why)
	}
	return err
}

// storeRefusals stores the refusals that were noted.
func (fs *FS) storeRefusals(ctx context.Context) error {
	for tenant, noted := range fs.refusals.take() {
		err := fs.update(ctx, metastore.Reclaim, nil, func(t *txn) error {
			log, err := fs.auditLog(tenant)
			if err != nil {
				return err
			}
			events := slices.SortedFunc(maps.Values(noted), func(a, b audit.Event) int { return a.Time.Compare(b.Time) })
			for _, e := range events {
				if err := log.Append(t, e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// AuditHead is the end of an audit log.
type AuditHead = audit.Head

// AuditRecords returns up to limit records of the tenant's audit log after a number, each a line of JSON.
func (v *View) AuditRecords(ctx context.Context, after uint64, limit int) (lines []json.RawMessage, err error) {
	if err := v.mayAudit(ctx); err != nil {
		return nil, fail("audit", "", err)
	}
	err = v.fs.view(ctx, func(r metastore.Reader) error {
		lines = nil
		log, err := v.fs.auditLog(v.who.Tenant)
		if err != nil {
			return err
		}
		return log.Records(r, after, limit, func(line []byte) bool {
			lines = append(lines, line)
			return len(lines) < limit
		})
	})
	return lines, fail("audit", "", err)
}

// AuditHead returns the end of the tenant's audit log, and with verify after checking all of it.
func (v *View) AuditHead(ctx context.Context, verify bool) (h AuditHead, err error) {
	if err := v.mayAudit(ctx); err != nil {
		return h, fail("audit", "", err)
	}
	err = v.fs.view(ctx, func(r metastore.Reader) error {
		log, err := v.fs.auditLog(v.who.Tenant)
		if err != nil {
			return err
		}
		if verify {
			h, err = log.Verify(r)
		} else {
			h, err = log.Head(r)
		}
		return err
	})
	return h, fail("audit", "", err)
}

// AuditHas reports whether an exported log that ends so is a beginning of the tenant's.
func (v *View) AuditHas(ctx context.Context, seq uint64, hash string) (has bool, err error) {
	if err := v.mayAudit(ctx); err != nil {
		return false, fail("audit", "", err)
	}
	err = v.fs.view(ctx, func(r metastore.Reader) error {
		log, err := v.fs.auditLog(v.who.Tenant)
		if err == nil {
			has, err = log.Has(r, seq, hash)
		}
		return err
	})
	return has, fail("audit", "", err)
}

// mayAudit asks whether the view may read the log, and stores what is still to come into it.
func (v *View) mayAudit(ctx context.Context) error {
	if err := v.fs.auth.Allow(v.who, tenancy.ReadAudit, tenancy.Resource{Owner: v.who.Tenant}); err != nil {
		return err
	}
	return v.fs.storeRefusals(ctx)
}

// VerifyAudit checks an exported audit log, and returns its end.
func VerifyAudit(in io.Reader) (AuditHead, error) { return audit.VerifyExport(in) }
