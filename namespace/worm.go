package namespace

import (
	"time"

	"k3fs/namespace/internal/audit"
	"k3fs/tenancy"
)

// SettingWorm says, if it is "on", that files of the bucket can be committed to retention as file servers for
// compliance have it: the access time is set to the end, then the write permissions are removed.
const SettingWorm = "worm"

func wormOf(s tenancy.Settings) bool { return string(s[SettingWorm]) == "on" }

// setWorm switches the convention of a bucket, whose directory x is.
func (x *xattrOf) setWorm(t *txn, on bool) error {
	var rec bucketRec
	found, err := getRec(t, bucketKey(x.ino), &rec)
	if err == nil && !found {
		err = of(Unsupported)
	}
	if err != nil {
		return err
	}
	if rec.Settings == nil {
		rec.Settings = map[string][]byte{}
	}
	detail := "worm off"
	if delete(rec.Settings, SettingWorm); on {
		rec.Settings[SettingWorm] = []byte("on")
		detail = "worm on"
	}
	t.fs.noteSettings(x.ino, rec.Settings)
	if err := putRec(t, bucketKey(x.ino), &rec); err != nil {
		return err
	}
	return t.recordFor(tenancy.TenantID(x.n.Owner), x.v, audit.Event{Event: "bucket.worm", Bucket: rec.Name, Detail: detail})
}

// commits reports whether a change of attributes commits the file to retention until its access time.
func (t *txn) commits(n *inodeRec, s SetAttr) (bool, error) {
	const write = 0o222
	if s.Mode == nil || *s.Mode&write != 0 || n.Mode&write == 0 || Type(n.Type) != File || n.Published == nil {
		return false, nil
	}
	set, err := t.fs.settingsOf(t, Ino(n.Bucket))
	return err == nil && wormOf(set) && n.Atime > t.fs.trusted(), err
}

// commit retains a file until its access time, strictly: its name, too, stays as it is. What retains it longer
// stays in force.
func (t *txn) commit(v *View, ino Ino, n *inodeRec, until int64) error {
	l := lockRec{}
	if n.Lock != nil {
		l = *n.Lock
	}
	if err := t.fs.withinCap(t, tenancy.TenantID(n.Owner), until-t.fs.trusted()); err != nil {
		return err
	}
	l.Strict = true
	if !l.retained(t.fs.trusted()) || l.Until < until {
		l.Until = until
	}
	l.Mode = uint8(Compliance)
	detail := describeRetention(Retention{Compliance, time.Unix(0, l.Until)})
	return t.setLock(v, ino, n, l, audit.Event{Event: "worm.commit", Detail: detail})
}

// lengthens reports whether a change of attributes does nothing but lengthen the retention of a committed file.
func (t *txn) lengthens(n *inodeRec, s SetAttr) bool {
	return n.Lock != nil && n.Lock.Strict && n.Lock.retained(t.fs.trusted()) && s.Atime != nil && !s.Touch &&
		nanos(*s.Atime) > n.Lock.Until && s.Mode == nil && s.UID == nil && s.GID == nil && s.Mtime == nil && s.Flags == nil && !s.KillPriv
}

// looksImmutable reports whether nothing of an inode can change as things are: chattr's 'i' then shows it.
func (p *protection) looksImmutable(now int64) bool {
	return p != nil && p.refuses(actUnname, now, false) != ""
}
