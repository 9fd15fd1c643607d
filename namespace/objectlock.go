package namespace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
	"k3fs/tenancy"
)

// SettingObjectLock is a bucket's Object Lock configuration, a LockConfig. A bucket that has it keeps versions for
// ever after.
const SettingObjectLock = "object-lock"

// LockConfig is how the versions of a bucket are locked.
type LockConfig struct {
	Mode  LockMode // of the retention that each new version gets; NoRetention: it gets none
	Days  int      `json:",omitempty"` // how long; one of the two
	Years int      `json:",omitempty"`
}

// Encode is the stored form.
func (c LockConfig) Encode() []byte {
	raw, err := json.Marshal(c)
	if err != nil { // numbers can be written
		panic(err)
	}
	return raw
}

// LockConfigOf is the configuration among a bucket's settings; nil if Object Lock is not enabled. One that can't be
// read is an error.
func LockConfigOf(s tenancy.Settings) (*LockConfig, error) {
	raw, ok := s[SettingObjectLock]
	if !ok {
		return nil, nil
	}
	c := &LockConfig{}
	if err := json.Unmarshal(raw, c); err != nil {
		return nil, fmt.Errorf("%w: object lock configuration: %w", metastore.ErrCorrupt, err)
	}
	return c, nil
}

// lock is what a version that is published now gets; nil is none.
func (c *LockConfig) lock(now int64) *lockRec {
	if c == nil || c.Mode == NoRetention {
		return nil
	}
	return &lockRec{Mode: uint8(c.Mode), Until: nanos(stamp(now).UTC().AddDate(c.Years, 0, c.Days))}
}

// ObjectLock is a version's lock, as it is shown or asked for.
type ObjectLock struct {
	Retention
	LegalHold bool
}

func (l *lockRec) shown() ObjectLock {
	if l == nil {
		return ObjectLock{}
	}
	s := ObjectLock{LegalHold: l.LegalHold}
	if LockMode(l.Mode) != NoRetention {
		s.Retention = Retention{LockMode(l.Mode), stamp(l.Until)}
	}
	return s
}

// askedLock is the lock that a new object is to have; nil if the door asks for none. It asks whether the view may.
func (v *View) askedLock(r metastore.Reader, b *bucketDir, objectKey string, o *ObjectLock) (*lockRec, error) {
	if o == nil {
		return nil, nil
	}
	c, err := LockConfigOf(b.settings)
	if err == nil && c == nil {
		err = of(NoLock)
	}
	if err != nil {
		return nil, err
	}
	res := b.resource(r, objectKey)
	l := &lockRec{LegalHold: o.LegalHold}
	if o.LegalHold {
		if err := v.fs.auth.Allow(v.who, tenancy.PutObjectLegalHold, res); err != nil {
			return nil, err
		}
	}
	if o.Mode == NoRetention {
		if d := c.lock(v.fs.trusted()); d != nil {
			l.Mode, l.Until = d.Mode, d.Until
		}
		return l, nil
	}
	if err := v.fs.auth.Allow(v.who, tenancy.PutObjectRetention, res); err != nil {
		return nil, err
	}
	l.Mode, l.Until = uint8(o.Mode), nanos(o.Until)
	return l, v.fs.checkRetention(r, b.owner(), o.Retention)
}

// checkAsked is askedLock before a body is read; the update asks again.
func (v *View) checkAsked(ctx context.Context, bucket, objectKey string, o *ObjectLock) error {
	if o == nil {
		return nil
	}
	return v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, err := v.findBucket(r, bucket)
		if err == nil {
			_, err = v.askedLock(r, b, objectKey, o)
		}
		return err
	})
}

// checkRetention says whether data can be retained so, beginning now.
func (fs *FS) checkRetention(r metastore.Reader, t tenancy.TenantID, to Retention) error {
	now := fs.trusted()
	switch {
	case to.Mode == NoRetention:
		return nil
	case to.Mode != Governance && to.Mode != Compliance:
		return of(Invalid)
	case nanos(to.Until) <= now:
		return because(Invalid, "The retain until date must be in the future!")
	}
	return fs.withinCap(r, t, nanos(to.Until)-now)
}

// openLockable finds a version of a bucket with Object Lock, for who may do a.
func (v *View) openLockable(r metastore.Reader, bucket, objectKey, version string, a tenancy.Action) (b *bucketDir, o object, err error) {
	if b, err = v.openVersionIn(r, bucket, a, objectKey, version); err != nil {
		return nil, o, err
	}
	c, err := LockConfigOf(b.settings)
	if err == nil && c == nil {
		err = of(NoLock)
	}
	if err != nil {
		return nil, o, err
	}
	o, err = openVersion(r, b, objectKey, version)
	return b, o, err
}

// LockOf returns a version's lock, to who may do a, which is GetObjectRetention or GetObjectLegalHold; "" is the
// current version. NoLock: the bucket has no Object Lock, or the version nothing of what is asked for.
func (v *View) LockOf(ctx context.Context, bucket, objectKey, version string, a tenancy.Action) (lock ObjectLock, id string, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, o, err := v.openLockable(r, bucket, objectKey, version, a)
		if err != nil {
			return err
		}
		lock, id = o.rec.Lock.shown(), b.info(objectKey, &o).Version
		return nil
	})
	return lock, id, fail("get lock", objectKey, err)
}

// SetRetention changes how a version is retained; bypass asks to pass governance retention.
func (v *View) SetRetention(ctx context.Context, bucket, objectKey, version string, to Retention, bypass bool) (id string, err error) {
	err = v.changeLock(ctx, bucket, objectKey, version, tenancy.PutObjectRetention, func(t *txn, b *bucketDir, o *object) error {
		bypass := bypass && v.mayBypass(t, b, objectKey, version)
		id = b.info(objectKey, o).Version
		return t.retain(v, o.ino, o.rec, to, bypass)
	})
	return id, fail("set retention", objectKey, err)
}

// SetLegalHold places a legal hold on a version, or takes it away.
func (v *View) SetLegalHold(ctx context.Context, bucket, objectKey, version string, on bool) (id string, err error) {
	err = v.changeLock(ctx, bucket, objectKey, version, tenancy.PutObjectLegalHold, func(t *txn, b *bucketDir, o *object) error {
		id = b.info(objectKey, o).Version
		return t.setLegalHold(v, o.ino, o.rec, on)
	})
	return id, fail("set legal hold", objectKey, err)
}

// changeLock is the update behind them.
func (v *View) changeLock(ctx context.Context, bucket, objectKey, version string, a tenancy.Action, change func(*txn, *bucketDir, *object) error) error {
	return v.update(context.WithoutCancel(ctx), metastore.Durable, func(t *txn) error {
		b, o, err := v.openLockable(t, bucket, objectKey, version, a)
		if err != nil {
			return err
		}
		return change(t, b, &o)
	})
}

// mayBypass reports whether the view may pass governance retention of a version.
func (v *View) mayBypass(r metastore.Reader, b *bucketDir, objectKey, version string) bool {
	return v.fs.auth.Allow(v.who, tenancy.BypassGovernance, b.versionResource(r, objectKey, version)) == nil
}

// retain changes the retention of an inode's version, and records it.
func (t *txn) retain(v *View, ino Ino, n *inodeRec, to Retention, bypass bool) error {
	if err := t.fs.checkRetention(t, tenancy.TenantID(n.Owner), to); err != nil {
		return err
	}
	var l lockRec
	if n.Lock != nil {
		l = *n.Lock
	}
	now := t.fs.trusted()
	if err := t.fs.refuse(t, ino, n, l.retain(to, now, bypass)); err != nil {
		return err
	}
	event := "retention.place"
	if !l.retained(now) {
		l.Strict = false // it was committed once
	} else {
		event = "retention.change"
		if l.retain(to, now, false) != "" {
			event = "retention.bypass"
		}
	}
	l.Mode, l.Until = uint8(to.Mode), nanos(to.Until)
	if to.Mode == NoRetention {
		l.Until = 0
	}
	return t.setLock(v, ino, n, l, audit.Event{Event: event, Detail: describeRetention(to)})
}

func describeRetention(r Retention) string {
	if r.Mode == NoRetention {
		return "none"
	}
	return r.Mode.String() + " until " + r.Until.UTC().Format(time.RFC3339)
}

// setLegalHold changes whether an inode's version is under legal hold, and records it.
func (t *txn) setLegalHold(v *View, ino Ino, n *inodeRec, on bool) error {
	var l lockRec
	if n.Lock != nil {
		l = *n.Lock
	}
	l.LegalHold = on
	event := "legal-hold.release"
	if on {
		event = "legal-hold.place"
	}
	return t.setLock(v, ino, n, l, audit.Event{Event: event})
}

// setLock stores a lock.
func (t *txn) setLock(v *View, ino Ino, n *inodeRec, l lockRec, e audit.Event) error {
	names, err := namesOf(t, ino, n)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return of(NotFound) // what has no key any more can't be locked: it is going
	}
	e.Bucket, e.Key, e.Version = names[0].bucket, names[0].key, n.versionID()
	n.Lock = &l
	if l == (lockRec{}) {
		n.Lock = nil
	}
	n.Ctime, t.locked = t.now, true
	t.attrChanged(ino, false)
	return errors.Join(t.putInode(ino, n), t.recordFor(tenancy.TenantID(n.Owner), v, e))
}

// recordLock records a lock that a new object got because a client asked for it.
func (t *txn) recordLock(v *View, b *bucketDir, objectKey, version string, l *lockRec) error {
	if l == nil {
		return nil
	}
	detail := describeRetention(l.shown().Retention)
	if l.LegalHold {
		detail += "; legal hold"
	}
	return t.recordFor(b.owner(), v, audit.Event{Event: "lock.put", Bucket: b.name, Key: objectKey, Version: version, Detail: detail})
}

// showLock tells of a version's lock in its description, as far as the view may know it.
func (v *View) showLock(r metastore.Reader, b *bucketDir, objectKey, version string, n *inodeRec, i *ObjectInfo) {
	if n.Lock == nil {
		return
	}
	lock := n.Lock.shown()
	res := b.versionResource(r, objectKey, version)
	if v.fs.auth.Allow(v.who, tenancy.GetObjectRetention, res) != nil {
		lock.Retention = Retention{}
	}
	if v.fs.auth.Allow(v.who, tenancy.GetObjectLegalHold, res) != nil {
		lock.LegalHold = false
	}
	i.Lock = &lock
}

// ChangeLockConfig lets change, which may run several times, make a bucket's Object Lock configuration from the old
// one, nil if there is none. Once there is one there always is. NoVersions: the bucket keeps none.
func (v *View) ChangeLockConfig(ctx context.Context, bucket string, c LockConfig) error {
	err := v.changeSettings(ctx, bucket, tenancy.PutBucketObjectLock, func(t *txn, b *bucketDir, s tenancy.Settings) error {
		if versioningOf(s) != enabled {
			return of(NoVersioning)
		}
		if d := c.lock(0); d != nil {
			if err := t.fs.withinCap(t, b.owner(), d.Until); err != nil {
				return err
			}
		}
		s[SettingObjectLock] = c.Encode()
		detail := "no default retention"
		if c.Mode != NoRetention {
			detail = fmt.Sprintf("default retention: %s, %d days, %d years", c.Mode, c.Days, c.Years)
		}
		return t.recordFor(b.owner(), v, audit.Event{Event: "bucket.lock", Bucket: bucket, Detail: detail})
	})
	return fail("change lock configuration", bucket, err)
}
