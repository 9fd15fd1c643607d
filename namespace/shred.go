package namespace

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
	"k3fs/tenancy"
)

// A tenant is erased by destroying its keys: from that update on nobody can read any of its data. It is refused while
// locks or holds are in force in the tenant; a forced erasure passes over them and takes two principals, see
// erasure.go. What the tenant had is then removed in slices (wipe), across restarts; its audit log stays.
//
// What speaks against it is looked for before that update, in all the tenant's inodes. So that nothing can come
// meanwhile, the tenant is noted in memory (shreds.under), those updates are waited for that began before the note,
// and from there on none may lock anything of the tenant's nor place a hold.

// ShredOptions say how a tenant is to be erased.
type ShredOptions struct {
	DryRun           bool // only count
	BypassGovernance bool // pass over retention in GOVERNANCE mode, as who has the permission may
}

// ShredReport counts what an erasure is about.
type ShredReport struct {
	Tenant tenancy.TenantID
	Forced bool
	Erased bool // the keys are destroyed

	Buckets, Versions int64 // affected: versions of objects, the current ones included
	Bytes             int64 // in them
	Freed             int64 // bytes that come free, or would; 0 if it was refused, or would be

	Held                            int64 // versions that locks or holds protect, by any of these:
	Compliance, Governance, OnLegal int64 // by their own locks
	Holds                           int64 // holds in force, whatever they cover
}

// HeldError refuses an erasure.
type HeldError struct{ ShredReport }

func (e *HeldError) Error() string {
	return fmt.Sprintf("%d of %d versions are held (%d in COMPLIANCE mode, %d in GOVERNANCE mode, %d under legal hold), and %d holds are in force",
		e.Held, e.Versions, e.Compliance, e.Governance, e.OnLegal, e.Holds)
}

// shreds knows the tenants that are being erased, or were.
type shreds struct {
	under sync.Map // of TenantID: no lock and no hold may come
	gone  sync.Map // of TenantID: the keys are destroyed
}

func (s *shreds) mayLock(tenant tenancy.TenantID) error {
	if _, under := s.under.Load(tenant); under {
		return because(Busy, "the tenant is being erased")
	}
	return nil
}

// erased reports whether a tenant's keys were destroyed.
func (fs *FS) erased(tenant tenancy.TenantID) bool {
	_, gone := fs.shreds.gone.Load(tenant)
	return gone
}

// erasedRec is what is kept of an erased tenant.
type erasedRec struct {
	Report ShredReport
	By     []string
	At     time.Time
	Wiped  bool
}

func erasedKey(t tenancy.TenantID) []byte { return key(kErased, uint64(t)) }

// loadErased notes the tenants that were erased.
func (fs *FS) loadErased(r metastore.Reader) error {
	return r.Scan(prefixRange([]byte(kErased), 0), func(k, _ []byte) (bool, error) {
		if len(k) != len(kErased)+8 {
			return false, of(Corrupt)
		}
		fs.shreds.gone.Store(tenancy.TenantID(binary.BigEndian.Uint64(k[len(kErased):])), nil)
		return true, nil
	})
}

// Shred erases a suspended tenant: it destroys its keys, durably, and begins to remove what it had. With an error of
// kind NotPermitted, whose cause is a *HeldError, locks or holds are in force. It takes the node's permission.
func (v *View) Shred(ctx context.Context, tenant tenancy.TenantID, o ShredOptions) (ShredReport, error) {
	report, err := v.shred(context.WithoutCancel(ctx), tenant, o, nil)
	return report, fail("erase tenant", fmt.Sprint(tenant), err)
}

// shred erases a tenant; a request that was confirmed passes over locks and holds.
func (v *View) shred(ctx context.Context, tenant tenancy.TenantID, o ShredOptions, confirmed *erasureRec) (report ShredReport, err error) {
	fs := v.fs
	if err := v.mayShred(ctx, tenant); err != nil {
		return report, err
	}
	if !o.DryRun {
		fs.holding.note(tenant) // from here on updates read the tenant's holds
		if _, twice := fs.shreds.under.LoadOrStore(tenant, nil); twice {
			return report, because(Busy, "the tenant is being erased")
		}
		defer fs.shreds.under.Delete(tenant)
		fs.settle()
	}
	report, err = fs.countHeld(ctx, tenant)
	report.Forced = confirmed != nil
	against := report.Held > 0 && (report.Compliance > 0 || report.OnLegal > 0 || report.Governance > 0 && !o.BypassGovernance)
	if err != nil || o.DryRun {
		if err == nil && !against && report.Holds == 0 {
			report.Freed = report.Bytes
		}
		return report, err
	}
	err = fs.update(ctx, metastore.DurableReclaim, v.door, func(t *txn) error { return v.destroy(t, &report, against, confirmed) })
	fs.keys.KeysChanged(tenant)
	if err != nil {
		return report, err
	}
	fs.shreds.gone.Store(tenant, nil)
	fs.chunks.Forget(domain(tenant))
	fs.inlineKeys.Range(func(id, _ any) bool {
		if id.(inlineKeyID).d == domain(tenant) {
			fs.inlineKeys.Delete(id)
		}
		return true
	})
	fs.log.Warn("namespace: a tenant was erased", "tenant", tenant, "by", v.who.Account, "forced", report.Forced, "versions", report.Versions, "bytes", report.Bytes)
	fs.rekeyer.wake()
	return report, nil
}

// mayShred asks for the permission, and that the tenant is one that can be erased.
func (v *View) mayShred(ctx context.Context, tenant tenancy.TenantID) error {
	if err := v.fs.auth.Allow(v.who, tenancy.DeleteTenant, tenancy.Resource{}); err != nil {
		return err
	}
	if v.fs.keys == nil {
		return of(Unsupported)
	}
	if tenant == tenancy.FirstTenant {
		return because(Invalid, "the first tenant operates the node, and can't be erased")
	}
	if v.fs.erased(tenant) {
		return because(Invalid, "the tenant's keys are destroyed already")
	}
	all, err := v.fs.keys.Tenants(ctx)
	if err != nil {
		return err
	}
	for _, one := range all {
		if one.ID == tenant {
			if one.Status != tenancy.Suspended {
				return because(Invalid, "the tenant %s acts: suspend it first", one.Name)
			}
			return nil
		}
	}
	return because(NotFound, "there is no tenant %d", tenant)
}

// destroy destroys the keys, in an update, if nothing speaks against it.
func (v *View) destroy(t *txn, report *ShredReport, against bool, confirmed *erasureRec) error {
	tenant := report.Tenant
	if err := t.fs.auth.Allow(v.who, tenancy.DeleteTenant, tenancy.Resource{}); err != nil {
		return err
	}
	report.Erased, report.Freed = false, 0
	if err := t.fs.countHolds(t, report); err != nil {
		return err
	}
	by := []string{v.who.Account}
	switch {
	case confirmed != nil:
		if err := t.takeErasure(tenant, confirmed); err != nil {
			return err
		}
		by = append(by, confirmed.By)
	case against || report.Holds > 0:
		return &Error{Kind: NotPermitted, Err: &HeldError{*report}}
	}
	e := audit.Event{Event: "tenant.erase", Count: int(report.Versions), Detail: fmt.Sprintf(
		"tenant %d: its keys are destroyed; %d bytes in %d versions of %d buckets; held were %d, by %d holds and their own locks",
		tenant, report.Bytes, report.Versions, report.Buckets, report.Held, report.Holds)}
	if confirmed != nil {
		e.Event = "tenant.erase.forced"
		e.Detail += fmt.Sprintf("; asked for by %s: %s", confirmed.By, confirmed.Reason)
	}
	if err := t.recordFor(tenancy.FirstTenant, v, e); err != nil {
		return err
	}
	if err := t.recordFor(tenant, v, e); err != nil {
		return err
	}
	// The log outlives the tenant's key: from here on the first tenant's vouches for its head.
	log, err := t.fs.auditLogBy(tenant, tenancy.FirstTenant)
	if err == nil {
		err = log.Renew(t)
	}
	if err == nil {
		err = t.fs.keys.DestroyKeys(t, tenant)
	}
	if err != nil {
		return err
	}
	report.Erased, report.Freed = true, report.Bytes
	return putJSON(t, erasedKey(tenant), &erasedRec{Report: *report, By: by, At: stamp(t.fs.trusted()).UTC()})
}

func putJSON(t metastore.Txn, k []byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return t.Set(k, raw)
}

// getJSON reads a record; found is false if there is none.
func getJSON(r metastore.Reader, k []byte, v any) (found bool, err error) {
	raw, err := r.Get(k)
	if errors.Is(err, metastore.ErrNotFound) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	return err == nil, err
}

// countHeld looks at all inodes for those of a tenant, and counts them and what protects them.
func (fs *FS) countHeld(ctx context.Context, tenant tenancy.TenantID) (ShredReport, error) {
	report := ShredReport{Tenant: tenant}
	const page = 1024
	for from := []byte(kInode); from != nil; {
		err := fs.kv.View(ctx, func(r metastore.Reader) error {
			seen, counted := 0, report
			var next []byte
			err := r.Scan(metastore.Range{From: from, To: prefixEnd([]byte(kInode)), Page: page}, func(k, value []byte) (bool, error) {
				if seen++; seen > page {
					next = bytes.Clone(k)
					return false, ctx.Err()
				}
				var n inodeRec
				if _, err := n.UnmarshalMsg(value); err != nil {
					return false, fmt.Errorf("%w: inode: %w", metastore.ErrCorrupt, err)
				}
				if tenancy.TenantID(n.Owner) != tenant {
					return true, nil
				}
				return true, fs.countOne(r, Ino(binary.BigEndian.Uint64(k[len(kInode):])), &n, &counted)
			})
			if err == nil {
				report, from = counted, next
			}
			return err
		})
		if err != nil {
			return report, err
		}
	}
	err := fs.kv.View(ctx, func(r metastore.Reader) error { return fs.countHolds(r, &report) })
	return report, err
}

// countHolds counts the holds in force.
func (fs *FS) countHolds(r metastore.Reader, report *ShredReport) error {
	holds, err := scanHolds(r, report.Tenant)
	report.Holds = 0
	for _, h := range holds {
		if !h.over(fs.trusted()) {
			report.Holds++
		}
	}
	return err
}

func (fs *FS) countOne(r metastore.Reader, ino Ino, n *inodeRec, report *ShredReport) error {
	if Ino(n.Bucket) == ino {
		report.Buckets++
	}
	if n.Published != nil {
		report.Versions++
		report.Bytes += n.Published.Size
	}
	p, err := fs.protection(r, ino, n)
	if err != nil || p == nil {
		return err
	}
	now := fs.trusted()
	if p.reason(now, false) == "" {
		return nil
	}
	report.Held++
	if p.lock.LegalHold {
		report.OnLegal++
	}
	switch {
	case !p.lock.retained(now):
	case LockMode(p.lock.Mode) == Governance:
		report.Governance++
	default:
		report.Compliance++
	}
	return nil
}
