package namespace

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
	"k3fs/tenancy"
)

// erasureWindow is within what time a forced erasure must be confirmed, by the clock of locks.
const erasureWindow = 24 * time.Hour

// Erasure is a request to erase a tenant in spite of its locks and holds. Another principal than who asked, who has
// the permission too, must confirm it before it is over.
type Erasure struct {
	ID     string
	Tenant tenancy.TenantID
	By     string // the account that asks
	Reason string
	Asked  time.Time
	Until  time.Time
}

// erasureRec is a stored request.
type erasureRec struct {
	ID     string
	Tenant tenancy.TenantID
	Owner  tenancy.TenantID // of the account that asked
	By     string
	Reason string
	Asked  int64
	Until  int64
}

func erasureKey(t tenancy.TenantID) []byte { return key(kErasure, uint64(t)) }

func (e *erasureRec) shown() Erasure {
	return Erasure{ID: e.ID, Tenant: e.Tenant, By: e.By, Reason: e.Reason, Asked: stamp(e.Asked).UTC(), Until: stamp(e.Until).UTC()}
}

// RequestErasure asks for the erasure of a suspended tenant in spite of its locks and holds, for a reason. It is in
// both audit logs when it returns, and erases nothing. A later request takes the place of an earlier one.
func (v *View) RequestErasure(ctx context.Context, tenant tenancy.TenantID, reason string) (Erasure, error) {
	rec, err := v.requestErasure(context.WithoutCancel(ctx), tenant, reason)
	return rec.shown(), fail("request erasure", fmt.Sprint(tenant), err)
}

func (v *View) requestErasure(ctx context.Context, tenant tenancy.TenantID, reason string) (rec erasureRec, err error) {
	if err := v.mayShred(ctx, tenant); err != nil {
		return rec, err
	}
	if reason == "" || len(reason) > maxReason {
		return rec, because(Invalid, "a forced erasure needs a reason, of at most %d bytes", maxReason)
	}
	var random [8]byte
	rand.Read(random[:]) // never fails
	err = v.fs.update(ctx, metastore.Durable, v.door, func(t *txn) error {
		now := t.fs.trusted()
		rec = erasureRec{ID: "e-" + hex.EncodeToString(random[:]), Tenant: tenant, Owner: v.who.Tenant, By: v.who.Account, Reason: reason,
			Asked: now, Until: now + int64(erasureWindow)}
		if err := putJSON(t, erasureKey(tenant), &rec); err != nil {
			return err
		}
		return t.recordErasure(v, &rec, "tenant.erase.request")
	})
	return rec, err
}

// recordErasure notes what is done about a request in the node's log and in the tenant's.
func (t *txn) recordErasure(v *View, rec *erasureRec, event string) error {
	e := audit.Event{Event: event, Detail: fmt.Sprintf("tenant %d, request %s of %s; reason: %s", rec.Tenant, rec.ID, rec.By, rec.Reason)}
	for _, tenant := range []tenancy.TenantID{tenancy.FirstTenant, rec.Tenant} {
		if err := t.recordFor(tenant, v, e); err != nil {
			return err
		}
	}
	return nil
}

// ConfirmErasure erases the tenant of a request. The principal must be another than who asked, and the request not
// over. The answer counts what was affected, freed and held.
func (v *View) ConfirmErasure(ctx context.Context, tenant tenancy.TenantID, id string) (ShredReport, error) {
	report, err := v.confirmErasure(context.WithoutCancel(ctx), tenant, id)
	return report, fail("confirm erasure", fmt.Sprint(tenant), err)
}

func (v *View) confirmErasure(ctx context.Context, tenant tenancy.TenantID, id string) (ShredReport, error) {
	none := ShredReport{Tenant: tenant}
	if err := v.mayShred(ctx, tenant); err != nil {
		return none, err
	}
	rec := &erasureRec{}
	err := v.fs.kv.View(ctx, func(r metastore.Reader) error { return v.confirmable(r, tenant, id, rec) })
	if err != nil {
		return none, err
	}
	return v.shred(ctx, tenant, ShredOptions{}, rec)
}

// confirmable reads a request that the view may confirm.
func (v *View) confirmable(r metastore.Reader, tenant tenancy.TenantID, id string, rec *erasureRec) error {
	found, err := getJSON(r, erasureKey(tenant), rec)
	switch {
	case err != nil:
		return err
	case !found || rec.ID != id:
		return because(NotFound, "there is no such request")
	case rec.Until <= v.fs.trusted():
		return because(NotFound, "the request is over: it had to be confirmed until %s", stamp(rec.Until).UTC().Format(time.RFC3339))
	case rec.Owner == v.who.Tenant && rec.By == v.who.Account:
		return because(NotPermitted, "who asks for an erasure can't confirm it: another account must")
	}
	return nil
}

// takeErasure uses up a request, in the update that does what it asks for.
func (t *txn) takeErasure(tenant tenancy.TenantID, confirmed *erasureRec) error {
	var rec erasureRec
	found, err := getJSON(t, erasureKey(tenant), &rec)
	if err != nil {
		return err
	}
	if !found || rec != *confirmed || rec.Until <= t.fs.trusted() {
		return because(NotFound, "the request is over")
	}
	return t.Delete(erasureKey(tenant))
}

// Erasures lists the requests that can still be confirmed.
func (v *View) Erasures(ctx context.Context) (all []Erasure, err error) {
	if err := v.fs.auth.Allow(v.who, tenancy.DeleteTenant, tenancy.Resource{}); err != nil {
		return nil, fail("list erasures", "", err)
	}
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		all = nil
		return r.Scan(prefixRange([]byte(kErasure), 0), func(k, _ []byte) (bool, error) {
			var rec erasureRec
			found, err := getJSON(r, k, &rec)
			if found && rec.Until > v.fs.trusted() {
				all = append(all, rec.shown())
			}
			return true, err
		})
	})
	return all, fail("list erasures", "", err)
}

// CancelErasure takes a request back.
func (v *View) CancelErasure(ctx context.Context, tenant tenancy.TenantID) error {
	err := v.fs.auth.Allow(v.who, tenancy.DeleteTenant, tenancy.Resource{})
	if err == nil {
		err = v.fs.update(ctx, metastore.Durable, v.door, func(t *txn) error {
			var rec erasureRec
			found, err := getJSON(t, erasureKey(tenant), &rec)
			if err == nil && !found {
				err = of(NotFound)
			}
			if err != nil {
				return err
			}
			if err := t.Delete(erasureKey(tenant)); err != nil {
				return err
			}
			return t.recordErasure(v, &rec, "tenant.erase.cancel")
		})
	}
	return fail("cancel erasure", fmt.Sprint(tenant), err)
}
