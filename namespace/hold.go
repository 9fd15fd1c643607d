package namespace

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
	"k3fs/tenancy"
)

// Hold keeps all data of a tenant, a bucket, or the keys with a prefix as they are, those that come later
// included, until it is released or over.
type Hold struct {
	ID      string
	Bucket  string // empty: all of the tenant's
	Prefix  string // of keys; empty: all of the bucket's
	Reason  string
	By      string // the account that placed it
	Created time.Time
	Until   time.Time     // zero: until it is released
	Period  time.Duration // in place of Until: each version for so long after its publication
	Tag     string        // the regime that it stands for: it can't be released while there are data in its scope
}

// Limits of holds: how many a tenant may have, and bytes of a reason and a tag.
const (
	maxHolds  = 1000
	maxReason = 1000
	maxTag    = 100
)

// hold is a stored hold.
type hold struct {
	ID string
	holdRec
}

// until is when the hold ends for what was published at a time; forever if nobody knows.
func (h *hold) until(published int64) int64 {
	switch {
	case h.Period > 0 && published > forever-h.Period:
		return forever
	case h.Period > 0:
		return published + h.Period
	case h.Until == 0:
		return forever
	}
	return h.Until
}

// over reports whether the hold has ended, for all that it covers.
func (h *hold) over(now int64) bool { return h.Period == 0 && h.Until != 0 && h.Until <= now }

// holding knows which tenants may have holds, so that the others cost nothing, and what those of the others were
// when they were last read.
//
// A tenant is noted before its first hold is placed, and no update that began before the note is under way when
// that goes on: fence is held for reading by every update. From then on each update that may change data reads the
// tenant's holdsRec, so that the store finds its conflict with one that places a hold.
type holding struct {
	fence sync.RWMutex
	noted sync.Map // of TenantID to *holdSet; the set is nil before it was read
}

// holdSet is the holds of a tenant, as of a nonce.
type holdSet struct {
	nonce uint64
	all   []hold
}

func (h *holding) may(t tenancy.TenantID) bool {
	_, may := h.noted.Load(t)
	return may
}

// note notes a tenant, and waits for the updates that have not seen it.
func (h *holding) note(t tenancy.TenantID) {
	if h.may(t) {
		return
	}
	h.fence.Lock()
	defer h.fence.Unlock()
	h.noted.LoadOrStore(t, (*holdSet)(nil))
}

// loadHolds notes every tenant that has, or had, holds.
func (fs *FS) loadHolds(ctx context.Context) error {
	return fs.kv.View(ctx, func(r metastore.Reader) error {
		return r.Scan(prefixRange(key(kHold), 0), func(k, _ []byte) (bool, error) {
			if len(k) < len(kHold)+8 {
				return false, of(Corrupt)
			}
			fs.holding.noted.LoadOrStore(tenancy.TenantID(binary.BigEndian.Uint64(k[len(kHold):])), (*holdSet)(nil))
			return true, nil
		})
	})
}

// holdsOf are the holds of a tenant, those included that are over. What can't be read is an error, so that
// nothing is changed that it may cover. The slice is shared.
func (fs *FS) holdsOf(r metastore.Reader, t tenancy.TenantID) ([]hold, error) {
	known, may := fs.holding.noted.Load(t)
	if !may {
		return nil, nil
	}
	var rec holdsRec
	if found, err := getRec(r, holdKey(t, ""), &rec); err != nil || !found {
		return nil, err
	}
	if set := known.(*holdSet); set != nil && set.nonce == rec.Nonce {
		return set.all, nil
	}
	all, err := scanHolds(r, t)
	if err == nil {
		fs.holding.noted.Store(t, &holdSet{rec.Nonce, all})
	}
	return all, err
}

func scanHolds(r metastore.Reader, t tenancy.TenantID) (all []hold, err error) {
	prefix := holdKey(t, "")
	err = r.Scan(prefixRange(prefix, 16), func(k, value []byte) (bool, error) {
		if len(k) == len(prefix) {
			return true, nil
		}
		h := hold{ID: string(k[len(prefix):])}
		if _, err := h.UnmarshalMsg(value); err != nil {
			return false, fmt.Errorf("%w: hold %q: %w", metastore.ErrCorrupt, h.ID, err)
		}
		all = append(all, h)
		return true, nil
	})
	return all, err
}

// covering are the holds in whose scope an inode is, by any of its names.
func (fs *FS) covering(r metastore.Reader, ino Ino, n *inodeRec) ([]hold, error) {
	all, err := fs.holdsOf(r, tenancy.TenantID(n.Owner))
	if err != nil || len(all) == 0 {
		return nil, err
	}
	set, err := fs.settingsOf(r, Ino(n.Bucket))
	if err != nil {
		return nil, err
	}
	var names []nameOf
	var found []hold
	for _, h := range all {
		if h.Bucket != 0 && h.Bucket != n.Bucket {
			continue
		}
		if names == nil {
			names, err = namesOf(r, ino, n)
			if versioningOf(set) != unversioned && n.Version == "" { // what bears a temporary name is no version
				temp := excludedBy(set)
				names = slices.DeleteFunc(names, func(at nameOf) bool { return temp.match(at.key) })
			}
			if err != nil || len(names) == 0 {
				return nil, err
			}
		}
		if slices.ContainsFunc(names, func(at nameOf) bool { return strings.HasPrefix(at.key, h.Prefix) }) {
			found = append(found, h)
		}
	}
	return found, nil
}

// heldKey reports whether a hold covers a key of dir's bucket.
func (t *txn) heldKey(dir *inodeRec, objectKey string) (bool, error) {
	all, err := t.fs.holdsOf(t, tenancy.TenantID(dir.Owner))
	now := t.fs.trusted()
	return slices.ContainsFunc(all, func(h hold) bool {
		return (h.Bucket == 0 || h.Bucket == dir.Bucket) && strings.HasPrefix(objectKey, h.Prefix) && !h.over(now)
	}), err
}

// PlaceHold places a hold on what its Bucket and Prefix say, for its Reason. It is durable on return, and no change
// that it forbids is answered with success after that.
func (v *View) PlaceHold(ctx context.Context, h Hold) (Hold, error) {
	placed, err := v.placeHold(context.WithoutCancel(ctx), h)
	return placed, fail("place hold", h.Bucket, err)
}

func (v *View) placeHold(ctx context.Context, h Hold) (Hold, error) {
	if err := h.check(); err != nil {
		return h, err
	}
	var random [8]byte
	rand.Read(random[:]) // never fails
	h.ID = "h-" + hex.EncodeToString(random[:])
	err := v.fs.kv.View(ctx, func(r metastore.Reader) error { // before all others wait
		_, err := v.holdScope(r, tenancy.PlaceHold, h.Bucket, h.Prefix)
		return err
	})
	if err != nil {
		return h, err
	}
	v.fs.holding.note(v.who.Tenant)
	err = v.update(ctx, metastore.Durable, func(t *txn) error {
		if err := t.fs.shreds.mayLock(v.who.Tenant); err != nil {
			return err
		}
		rec := holdRec{Prefix: h.Prefix, Reason: h.Reason, Tag: h.Tag, By: v.who.Account, Period: int64(h.Period), Created: t.fs.trusted()}
		if !h.Until.IsZero() {
			rec.Until = nanos(h.Until)
		}
		b, err := v.holdScope(t, tenancy.PlaceHold, h.Bucket, h.Prefix)
		if err != nil {
			return err
		}
		if b != nil {
			rec.Bucket = uint64(b.ino)
		}
		if err := v.fs.withinCap(t, v.who.Tenant, max(rec.Until-rec.Created, rec.Period)); err != nil {
			return err
		}
		// The clock must not show an earlier time, after a crash, than the hold's.
		if err := putRec(t, key(kClock), &clockRec{State: t.fs.clock.Encode()}); err != nil {
			return err
		}
		if rec.Until != 0 && rec.Until <= rec.Created {
			return because(Invalid, "the end of the hold is past")
		}
		all, err := scanHolds(t, v.who.Tenant)
		if err != nil {
			return err
		}
		if len(all) >= maxHolds {
			return because(TooBig, "there are %d holds already", maxHolds)
		}
		h.By, h.Created = rec.By, stamp(rec.Created)
		if rec.Until != 0 {
			h.Until = stamp(rec.Until) // as far as time reaches, as it is listed
		}
		if err := putRec(t, holdKey(v.who.Tenant, h.ID), &rec); err != nil {
			return err
		}
		if err := t.holdsChanged(v.who.Tenant); err != nil {
			return err
		}
		return t.record(v, audit.Event{Event: "hold.place", Bucket: h.Bucket, Key: h.Prefix, Hold: h.ID, Detail: h.describe()})
	})
	return h, err
}

// check says whether a hold can be placed at all.
func (h *Hold) check() error {
	switch {
	case h.Reason == "" || len(h.Reason) > maxReason || len(h.Tag) > maxTag:
		return because(Invalid, "a hold needs a reason, of at most %d bytes", maxReason)
	case h.Bucket == "" && h.Prefix != "", len(h.Prefix) > maxKey:
		return because(Invalid, "a prefix is one of a bucket's keys")
	case h.Period < 0, h.Period > 0 && !h.Until.IsZero():
		return because(Invalid, "a hold has an end, or a period, or neither")
	case h.Tag != "" && h.Bucket == "":
		return because(Invalid, "a regime is one of a bucket")
	}
	return nil
}

func (h *Hold) describe() string {
	s := "reason: " + h.Reason
	if !h.Until.IsZero() {
		s += "; until: " + h.Until.UTC().Format(time.RFC3339)
	}
	if h.Period > 0 {
		s += "; period: " + h.Period.String()
	}
	if h.Tag != "" {
		s += "; regime: " + h.Tag
	}
	return s
}

// holdScope asks whether the view may do a to a scope, and finds its bucket; nil for all of the tenant's.
func (v *View) holdScope(r metastore.Reader, a tenancy.Action, bucket, prefix string) (*bucketDir, error) {
	if bucket == "" {
		return nil, v.fs.auth.Allow(v.who, a, tenancy.Resource{Owner: v.who.Tenant})
	}
	b, err := v.findBucket(r, bucket)
	if err == nil && b.owner() != v.who.Tenant {
		err = of(NoBucket)
	}
	if err != nil {
		return nil, err
	}
	return b, v.allowKey(r, b, a, prefix)
}

// holdsChanged makes everybody read a tenant's holds again.
func (t *txn) holdsChanged(tenant tenancy.TenantID) error {
	var nonce [8]byte
	rand.Read(nonce[:]) // never fails
	return putRec(t, holdKey(tenant, ""), &holdsRec{Nonce: binary.BigEndian.Uint64(nonce[:])})
}

// ReleaseHold takes a hold away, for a reason that goes into the audit log.
func (v *View) ReleaseHold(ctx context.Context, id, reason string) error {
	err := v.update(context.WithoutCancel(ctx), metastore.Durable, func(t *txn) error {
		if reason == "" || len(reason) > maxReason {
			return because(Invalid, "a release needs a reason, of at most %d bytes", maxReason)
		}
		var rec holdRec
		found, err := getRec(t, holdKey(v.who.Tenant, id), &rec)
		if err == nil && (!found || id == "") {
			err = of(NotFound)
		}
		if err != nil {
			return err
		}
		bucket, err := holdBucket(t, rec.Bucket)
		if err != nil {
			return err
		}
		if _, err := v.holdScope(t, tenancy.ReleaseHold, bucket, rec.Prefix); err != nil {
			return err
		}
		if err := t.regimeOver(&rec, bucket); err != nil {
			return err
		}
		if err := t.Delete(holdKey(v.who.Tenant, id)); err != nil {
			return err
		}
		if err := t.holdsChanged(v.who.Tenant); err != nil {
			return err
		}
		return t.record(v, audit.Event{Event: "hold.release", Bucket: bucket, Key: rec.Prefix, Hold: id, Detail: "reason: " + reason})
	})
	return fail("release hold", id, err)
}

// holdBucket is the name of a hold's bucket, empty for all of the tenant's.
func holdBucket(r metastore.Reader, ino uint64) (string, error) {
	if ino == 0 {
		return "", nil
	}
	info, err := bucketInfo(r, Ino(ino))
	return info.Name, err
}

// regimeOver refuses to release a regime's hold while there are data that it covers.
func (t *txn) regimeOver(rec *holdRec, bucket string) error {
	if rec.Tag == "" {
		return nil
	}
	search := search{t: t, left: maxSearch}
	found, err := search.below(Ino(rec.Bucket), "", func(key string, n *inodeRec) bool {
		return n.hasData() && strings.HasPrefix(key, rec.Prefix)
	}, func(key string) bool { return strings.HasPrefix(key, rec.Prefix) || strings.HasPrefix(rec.Prefix, key) })
	if err == nil && found != "" {
		err = &Error{Kind: NotPermitted, Err: &Refusal{Bucket: bucket, Key: found, Why: "data under regime " + rec.Tag}}
	}
	return err
}

// heldBucket refuses to remove a bucket that has holds of its own, though they hold nothing now.
func (t *txn) heldBucket(b *bucketDir) error {
	all, err := t.fs.holdsOf(t, b.owner())
	now := t.fs.trusted()
	for _, h := range all {
		if h.Bucket == uint64(b.ino) && !h.over(now) && h.Tag == "" {
			return &Error{Kind: NotPermitted, Err: &Refusal{Bucket: b.name, Why: "under hold " + h.ID}}
		}
	}
	return err
}

// dropHolds removes the holds of a bucket that goes: they are over, or regimes without data.
func (t *txn) dropHolds(b *bucketDir) error {
	all, err := t.fs.holdsOf(t, b.owner())
	if err != nil {
		return err
	}
	changed := false
	for _, h := range all {
		if h.Bucket != uint64(b.ino) {
			continue
		}
		changed = true
		if err := t.Delete(holdKey(b.owner(), h.ID)); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	return t.holdsChanged(b.owner())
}

// Holds lists the tenant's holds, those that are over included, in the order in which they were placed.
func (v *View) Holds(ctx context.Context) (list []Hold, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		list = nil
		if err := v.fs.auth.Allow(v.who, tenancy.ListHolds, tenancy.Resource{Owner: v.who.Tenant}); err != nil {
			return err
		}
		all, err := scanHolds(r, v.who.Tenant)
		if err != nil {
			return err
		}
		for _, h := range all {
			one := Hold{ID: h.ID, Prefix: h.Prefix, Reason: h.Reason, By: h.By, Created: stamp(h.Created), Period: time.Duration(h.Period), Tag: h.Tag}
			if h.holdRec.Until != 0 {
				one.Until = stamp(h.holdRec.Until)
			}
			if one.Bucket, err = holdBucket(r, h.Bucket); err != nil {
				return err
			}
			list = append(list, one)
		}
		return nil
	})
	slices.SortFunc(list, func(a, b Hold) int { return a.Created.Compare(b.Created) })
	return list, fail("list holds", "", err)
}
