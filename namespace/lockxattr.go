package namespace

import (
	"strings"
	"time"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// Locks and holds as extended attributes (docs/semantics.md). None is listed: a copier that saw them would lock its
// copy. What is set is of the current version.
const (
	s3Retention   = s3Space + "retention"    // "GOVERNANCE 2030-01-31T00:00:00Z"
	s3LegalHold   = s3Space + "legal-hold"   // "ON"
	s3Holds       = s3Space + "hold"         // ids of the holds that cover it; can't be set
	s3LockedUntil = s3Space + "locked-until" // of all that protects it, the latest end; can't be set
	s3Worm        = s3Space + "worm"         // of a bucket's directory: "on"
)

// indefinite is s3LockedUntil without an end.
const indefinite = "indefinite"

// lockXattr handles them.
type lockXattr struct{}

func isLockXattr(name string) bool {
	switch name {
	case s3Retention, s3LegalHold, s3Holds, s3LockedUntil, s3Worm:
		return true
	}
	return false
}

// need is what S3 asks of who sets such an attribute: only the lock's own action, not that of writing the object.
func (lockXattr) need(name string) tenancy.Action {
	switch name {
	case s3Retention:
		return tenancy.PutObjectRetention
	case s3LegalHold:
		return tenancy.PutObjectLegalHold
	case s3Worm:
		return tenancy.PutBucketObjectLock
	}
	return tenancy.PutObject // can't be set
}

func (lockXattr) get(x *xattrOf, name string) ([]byte, error) {
	value := ""
	switch name {
	case s3Retention:
		if r := x.n.Lock.shown().Retention; r.Mode != NoRetention {
			value = r.Mode.String() + " " + r.Until.UTC().Format(time.RFC3339)
		}
	case s3LegalHold:
		if x.n.Lock.shown().LegalHold {
			value = "ON"
		}
	case s3Worm:
		set, err := x.v.fs.settingsOf(x.r, x.ino)
		if err != nil {
			return nil, err
		}
		value = string(set[SettingWorm])
	default:
		p, err := x.v.fs.protection(x.r, x.ino, x.n)
		if err != nil {
			return nil, err
		}
		if p != nil {
			value = p.describe(name, x.v.fs.trusted())
		}
	}
	if value == "" {
		return nil, of(NoAttr)
	}
	return []byte(value), nil
}

// describe is s3Holds or s3LockedUntil of what is protected so; empty if it is not.
func (p *protection) describe(name string, now int64) string {
	if name == s3LockedUntil {
		switch until := p.until(now); until {
		case 0:
			return ""
		case forever:
			return indefinite
		default:
			return stamp(until).UTC().Format(time.RFC3339)
		}
	}
	var ids []string
	for _, h := range p.holds {
		if h.until(p.published) > now {
			ids = append(ids, h.ID)
		}
	}
	return strings.Join(ids, " ")
}

func (lockXattr) list(*xattrOf) ([]string, error) { return nil, nil }

func (l lockXattr) set(t *txn, x *xattrOf, name string, value []byte, _ XattrFlags) error {
	text := string(value)
	switch name {
	case s3Retention:
		mode, until, ok := strings.Cut(text, " ")
		r := Retention{}
		for _, m := range []LockMode{Governance, Compliance} {
			if mode == m.String() {
				r.Mode = m
			}
		}
		var err error
		if r.Until, err = time.Parse(time.RFC3339, until); err != nil || !ok || r.Mode == NoRetention {
			return of(Invalid)
		}
		return l.retain(t, x, r)
	case s3LegalHold:
		if text != "ON" && text != "OFF" {
			return of(Invalid)
		}
		return l.hold(t, x, text == "ON")
	case s3Worm:
		if text != "on" && text != "off" {
			return of(Invalid)
		}
		return x.setWorm(t, text == "on")
	}
	return of(NotPermitted)
}

func (l lockXattr) remove(t *txn, x *xattrOf, name string) error {
	if _, err := l.get(x, name); err != nil {
		return err
	}
	switch name {
	case s3Retention:
		return l.retain(t, x, Retention{})
	case s3LegalHold:
		return l.hold(t, x, false)
	case s3Worm:
		return x.setWorm(t, false)
	}
	return of(NotPermitted)
}

func (lockXattr) retain(t *txn, x *xattrOf, r Retention) error {
	if err := x.lockable(t); err != nil {
		return err
	}
	return t.retain(x.v, x.ino, x.n, r, false)
}

func (lockXattr) hold(t *txn, x *xattrOf, on bool) error {
	if err := x.lockable(t); err != nil {
		return err
	}
	return t.setLegalHold(x.v, x.ino, x.n, on)
}

// lockable asks whether the inode is a version that can be locked.
func (x *xattrOf) lockable(r metastore.Reader) error {
	set, err := x.v.fs.settingsOf(r, Ino(x.n.Bucket))
	if err != nil {
		return err
	}
	c, err := LockConfigOf(set)
	switch {
	case err != nil:
		return err
	case c == nil:
		return of(NoLock)
	case x.n.Published == nil:
		return of(Invalid)
	}
	return nil
}
