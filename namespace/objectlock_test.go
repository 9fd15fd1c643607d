package namespace

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// hostClock is the clocks of a host. Its test alone sets them, under mu, since the namespace's own goroutine reads them.
type hostClock struct {
	mu    sync.Mutex
	wall  time.Time
	since time.Duration
}

func (c *hostClock) options() LockOptions {
	return LockOptions{
		Wall: func() time.Time {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.wall
		},
		Boot: func() (string, time.Duration) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return "boot", c.since
		},
	}
}

// pass lets time pass.
func (c *hostClock) pass(d time.Duration) {
	c.turn(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since += d
}

// turn sets the wall clock forward or back, though no time passes.
func (c *hostClock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}

// newLocked is a world whose bucket "bucket" has Object Lock.
func newLocked(t testing.TB, c LockConfig) (*world, *hostClock) {
	clock := &hostClock{wall: time.Now()}
	w := newWorldWith(t, clock.options())
	w.versioning(t, "bucket", VersioningEnabled)
	require.NoError(t, w.ChangeLockConfig(bg, "bucket", c))
	return w, clock
}

func (w *world) versionOf(t testing.TB, key string) string {
	info, err := w.HeadObject(bg, "bucket", key, ReadOptions{})
	require.NoError(t, err)
	return info.Version
}

func (w *world) erase(key, version string, bypass bool) error {
	_, err := w.DeleteObject(bg, "bucket", key, DeleteOptions{Version: version, Bypass: bypass})
	return err
}

func (w *world) contentOf(t testing.TB, key, version string) string {
	rd, err := w.GetObject(bg, "bucket", key, ReadOptions{Version: version})
	require.NoError(t, err)
	defer rd.Close()
	var b bytes.Buffer
	_, err = rd.WriteRange(bg, &b, 0, rd.Info().Size)
	require.NoError(t, err)
	return b.String()
}

// protections are all that can protect a version, each placed on "d/f" of a bucket with Object Lock.
var protections = map[string]func(t *testing.T, w *world, version string){
	"governance": func(t *testing.T, w *world, version string) {
		_, err := w.SetRetention(bg, "bucket", "d/f", version, Retention{Governance, time.Now().Add(time.Hour)}, false)
		require.NoError(t, err)
	},
	"compliance": func(t *testing.T, w *world, version string) {
		_, err := w.SetRetention(bg, "bucket", "d/f", version, Retention{Compliance, time.Now().Add(time.Hour)}, false)
		require.NoError(t, err)
	},
	"legal hold": func(t *testing.T, w *world, version string) {
		_, err := w.SetLegalHold(bg, "bucket", "d/f", version, true)
		require.NoError(t, err)
	},
	"hold":        func(t *testing.T, w *world, _ string) { w.hold(t, Hold{}) },
	"prefix hold": func(t *testing.T, w *world, _ string) { w.hold(t, Hold{Bucket: "bucket", Prefix: "d/f"}) },
	"retention by setfattr": func(t *testing.T, w *world, _ string) {
		value := "COMPLIANCE " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		require.NoError(t, w.SetXattr(bg, w.lookup(t, w.lookup(t, w.bucket, "d"), "f"), s3Retention, []byte(value), 0))
	},
	"legal hold by setfattr": func(t *testing.T, w *world, _ string) {
		require.NoError(t, w.SetXattr(bg, w.lookup(t, w.lookup(t, w.bucket, "d"), "f"), s3LegalHold, []byte("ON"), 0))
	},
}

// Ordinary work goes on above a protected version, and whatever it does, the version stays.
func TestWorkAboveLockedVersions(t *testing.T) {
	for what, protect := range protections {
		for work, do := range map[string]func(w *world, dir, file Ino) error{
			"nothing": func(*world, Ino, Ino) error { return nil },
			"PUT": func(w *world, _, _ Ino) error {
				_, err := w.PutObject(bg, "bucket", "d/f", bodyOf([]byte("new")), PutOptions{})
				return err
			},
			"DELETE": func(w *world, _, _ Ino) error { return w.erase("d/f", "", false) },
			"unlink": func(w *world, dir, _ Ino) error { return w.Unlink(bg, dir, "f") },
			"rename": func(w *world, dir, _ Ino) error { return w.Rename(bg, dir, "f", w.bucket, "moved", 0) },
			"rename over": func(w *world, dir, _ Ino) error {
				w.file(t, w.bucket, "other", "x")
				return w.Rename(bg, w.bucket, "other", dir, "f", 0)
			},
			"write": func(w *world, _, file Ino) error {
				h, err := w.Open(bg, file, OpenFlags{Write: true})
				if err != nil {
					return err
				}
				_, err = h.WriteAt(bg, []byte("WRITTEN"), 0)
				require.NoError(t, err)
				return h.Close(bg)
			},
			"truncate": func(w *world, _, file Ino) error {
				size := int64(0)
				_, err := w.SetAttr(bg, file, SetAttr{Size: &size})
				return err
			},
			"tag": func(w *world, _, _ Ino) error {
				_, err := w.SetObjectTags(bg, "bucket", "d/f", "", []Tag{{"a", "b"}})
				return err
			},
			"link, and unlink both": func(w *world, dir, file Ino) error {
				_, err := w.Link(bg, file, w.bucket, "link")
				require.NoError(t, err)
				require.NoError(t, w.Unlink(bg, dir, "f"))
				return w.Unlink(bg, w.bucket, "link")
			},
			"unlink while it is open": func(w *world, dir, file Ino) error {
				h, err := w.Open(bg, file, OpenFlags{Read: true})
				require.NoError(t, err)
				require.NoError(t, w.Unlink(bg, dir, "f"))
				return h.Close(bg)
			},
		} {
			s := &span{TB: t}
			w, _ := newLocked(s, LockConfig{})
			dir := w.mkdir(t, w.bucket, "d")
			file := w.file(t, dir, "f", "evidence")
			version := w.versionOf(t, "d/f")
			protect(t, w, version)
			require.NoError(t, do(w, dir, file), "%s under %s", work, what)
			require.Equal(t, "evidence", w.contentOf(t, "d/f", version), "%s under %s", work, what)
			requireKind(t, NotPermitted, w.erase("d/f", version, false))
			errs, err := w.DeleteObjects(bg, "bucket", []Deletion{{Key: "d/f", DeleteOptions: DeleteOptions{Version: version}}})
			require.NoError(t, err)
			requireKind(t, NotPermitted, errs[0].Err)
			if work == "nothing" || work == "tag" {
				requireKind(t, NotPermitted, w.Rename(bg, w.bucket, "d", w.bucket, "e", 0))
				requireKind(t, NotPermitted, w.SetXattr(bg, file, "user.s3.content-type", []byte("text/plain"), 0))
				require.Equal(t, indefinite == w.xattr(t, file, s3LockedUntil), strings.Contains(what, "hold"))
			}
			if err := w.erase("d/f", version, true); what == "governance" {
				require.NoError(t, err)
			} else {
				requireKind(t, NotPermitted, err)
				requireKind(t, NotEmpty, w.deleteAll(t))
				require.Equal(t, "evidence", w.contentOf(t, "d/f", version))
			}
			w.cut(s, 0, nil)
			if what != "governance" {
				require.Equal(t, "evidence", w.contentOf(t, "d/f", version), "after a restart")
			}
			s.end()
		}
	}
}

// deleteAll removes all that can be removed from the bucket, and then tries the bucket.
func (w *world) deleteAll(t testing.TB) error {
	page, err := w.ListVersions(bg, "bucket", VersionsOptions{Max: 1000})
	require.NoError(t, err)
	for _, v := range page.Versions {
		_ = w.erase(v.Key, v.Version, true)
	}
	page2, err := w.ListObjects(bg, "bucket", ListOptions{Max: 1000})
	require.NoError(t, err)
	for _, o := range page2.Objects {
		_ = w.erase(o.Key, "", true)
	}
	return w.DeleteBucket(bg, "bucket")
}

// The default retention is stamped on what is published through either door, but on temporary names; it passes with
// time, and with nothing else.
func TestDefaultRetention(t *testing.T) {
	w, clock := newLocked(t, LockConfig{Mode: Compliance, Days: 1})
	w.putIn(t, "put", []byte("x"))
	w.file(t, w.bucket, "written", "x")
	w.file(t, w.bucket, "temp~", "x")
	_, err := w.CopyObject(bg, "bucket", "put", "bucket", "copy", CopyOptions{})
	require.NoError(t, err)
	require.NoError(t, w.Rename(bg, w.bucket, "temp~", w.bucket, "renamed", 0))
	versions := map[string]string{}
	for _, key := range []string{"put", "written", "copy", "renamed"} {
		versions[key] = w.versionOf(t, key)
		requireKind(t, NotPermitted, w.erase(key, versions[key], true))
		info, err := w.HeadObject(bg, "bucket", key, ReadOptions{})
		require.NoError(t, err)
		require.Equal(t, Compliance, info.Lock.Mode)
		require.WithinDuration(t, clock.wall.Add(24*time.Hour), info.Lock.Until, time.Minute)
	}
	w.file(t, w.bucket, "another~", "x")
	require.NoError(t, w.Unlink(bg, w.bucket, "another~"))
	clock.turn(10 * 365 * 24 * time.Hour)
	for key, version := range versions {
		requireKind(t, NotPermitted, w.erase(key, version, true))
	}
	require.True(t, w.fs.Clock().Frozen)
	clock.turn(-20 * 365 * 24 * time.Hour)
	for key, version := range versions {
		requireKind(t, NotPermitted, w.erase(key, version, true))
	}
	clock.turn(10 * 365 * 24 * time.Hour)
	clock.pass(25 * time.Hour)
	for key, version := range versions {
		require.NoError(t, w.erase(key, version, false))
	}
}

// A client's lock takes the place of the default; what asks for one needs a bucket that has it.
func TestAskedLocks(t *testing.T) {
	w, clock := newLocked(t, LockConfig{Mode: Governance, Days: 1})
	until := clock.wall.Add(48 * time.Hour).Truncate(time.Second)
	_, err := w.PutObject(bg, "bucket", "f", bodyOf([]byte("x")), PutOptions{Lock: &ObjectLock{Retention: Retention{Compliance, until}}})
	require.NoError(t, err)
	lock, _, err := w.LockOf(bg, "bucket", "f", "", tenancy.GetObjectRetention)
	require.NoError(t, err)
	require.Equal(t, Compliance, lock.Mode)
	require.True(t, until.Equal(lock.Until))
	_, err = w.PutObject(bg, "bucket", "g", bodyOf([]byte("x")), PutOptions{Lock: &ObjectLock{LegalHold: true}})
	require.NoError(t, err)
	lock, _, err = w.LockOf(bg, "bucket", "g", "", tenancy.GetObjectLegalHold)
	require.NoError(t, err)
	require.True(t, lock.LegalHold)
	require.Equal(t, Governance, lock.Mode, "with the default retention")
	for _, bad := range []ObjectLock{{Retention: Retention{Compliance, clock.wall.Add(-time.Hour)}}, {Retention: Retention{9, until}}} {
		_, err = w.PutObject(bg, "bucket", "h", bodyOf([]byte("x")), PutOptions{Lock: &bad})
		requireKind(t, Invalid, err)
	}
	w.makeBucket(t, "plain", alice)
	_, err = w.PutObject(bg, "plain", "f", bodyOf([]byte("x")), PutOptions{Lock: &ObjectLock{LegalHold: true}})
	requireKind(t, NoLock, err)
	requireKind(t, NoVersioning, w.ChangeLockConfig(bg, "plain", LockConfig{}))
	requireKind(t, NoVersioning, w.ChangeBucketSettings(bg, "bucket", tenancy.PutBucketVersioning, func(_ BucketInfo, s tenancy.Settings) error {
		s[SettingVersioning] = []byte(VersioningSuspended)
		return nil
	}))
	requireKind(t, NoVersioning, w.ChangeBucketSettings(bg, "bucket", tenancy.PutBucketPolicy, func(_ BucketInfo, s tenancy.Settings) error {
		delete(s, SettingObjectLock)
		return nil
	}))
	head, err := w.AuditHead(bg, true)
	require.NoError(t, err)
	require.NotZero(t, head.Seq)
}

// An explicit deny wins over the root account's right to bypass governance.
func TestDeniedBypass(t *testing.T) {
	w, _ := newLocked(t, LockConfig{Mode: Governance, Days: 1})
	w.putIn(t, "f", []byte("x"))
	version := w.versionOf(t, "f")
	set := func(policy string) {
		require.NoError(t, w.ChangeBucketSettings(bg, "bucket", tenancy.PutBucketPolicy, func(_ BucketInfo, s tenancy.Settings) error {
			s[tenancy.SettingPolicy] = []byte(policy)
			return nil
		}))
	}
	set(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":["s3:BypassGovernanceRetention","s3:GetObjectRetention"],"Resource":"arn:aws:s3:::bucket/*"}]}`)
	requireKind(t, NotPermitted, w.erase("f", version, true))
	_, err := w.SetRetention(bg, "bucket", "f", "", Retention{}, true)
	requireKind(t, NotPermitted, err)
	info, err := w.HeadObject(bg, "bucket", "f", ReadOptions{})
	require.NoError(t, err)
	require.Equal(t, NoRetention, info.Lock.Mode, "who may not know it is not told")
}

// A configuration that can't be read locks: nothing is published without it.
func TestUnreadableLockConfig(t *testing.T) {
	w, _ := newLocked(t, LockConfig{Mode: Governance, Days: 1})
	require.NoError(t, w.kv.Update(bg, metastore.Durable, func(txn metastore.Txn) error {
		var rec bucketRec
		if _, err := getRec(txn, bucketKey(w.bucket), &rec); err != nil {
			return err
		}
		rec.Settings[SettingObjectLock] = []byte("{")
		return putRec(txn, bucketKey(w.bucket), &rec)
	}))
	_, err := w.PutObject(bg, "bucket", "f", bodyOf([]byte("x")), PutOptions{})
	requireKind(t, Corrupt, err)
}

// The bound of a directory lets it be renamed once nothing below it is locked, and not before.
func TestRenameAboveLocks(t *testing.T) {
	w, clock := newLocked(t, LockConfig{})
	a := w.mkdir(t, w.bucket, "a")
	b := w.mkdir(t, a, "b")
	file := w.file(t, b, "f", "x")
	other := w.mkdir(t, w.bucket, "other")
	rename := func(from, to string) error { return w.Rename(bg, w.bucket, from, w.bucket, to, 0) }
	require.NoError(t, rename("a", "c"))
	_, err := w.SetRetention(bg, "bucket", "c/b/f", "", Retention{Governance, clock.wall.Add(time.Hour)}, false)
	require.NoError(t, err)
	requireKind(t, NotPermitted, rename("c", "a"))
	requireKind(t, NotPermitted, w.Rename(bg, a, "b", other, "b", 0))
	require.NoError(t, w.Rename(bg, b, "f", b, "g", 0), "the file itself leaves its version at its key")
	require.NoError(t, rename("c", "a"), "no current version below is locked")
	_, err = w.SetLegalHold(bg, "bucket", "a/b/g", "", true)
	require.NoError(t, err)
	_, err = w.Link(bg, file, other, "link")
	require.NoError(t, err)
	requireKind(t, NotPermitted, rename("a", "c"))
	requireKind(t, NotPermitted, rename("other", "elsewhere"))
	_, err = w.SetLegalHold(bg, "bucket", "a/b/g", "", false)
	require.NoError(t, err)
	require.NoError(t, rename("a", "c"))
	require.NoError(t, rename("other", "elsewhere"))
	require.NoError(t, w.SetXattr(bg, file, s3Retention, []byte("COMPLIANCE "+clock.wall.Add(time.Hour).UTC().Format(time.RFC3339)), 0))
	requireKind(t, NotPermitted, rename("c", "a"))
	clock.pass(3 * time.Hour)
	require.NoError(t, rename("c", "a"))
}

// A directory remembers whose lock keeps it from being renamed, and looks for another one only when that is gone.
func TestRenameAsksWitness(t *testing.T) {
	w, _ := newLocked(t, LockConfig{})
	dir := w.mkdir(t, w.bucket, "dir")
	for _, name := range []string{"a", "b", "z"} {
		w.file(t, dir, name, "x")
	}
	hold := func(name string, on bool) {
		_, err := w.SetLegalHold(bg, "bucket", "dir/"+name, "", on)
		require.NoError(t, err)
	}
	refusal := func() *Refusal {
		err := w.Rename(bg, w.bucket, "dir", w.bucket, "new", 0)
		requireKind(t, NotPermitted, err)
		return refusalOf(err)
	}
	hold("z", true)
	hold("b", true)
	require.Equal(t, "dir/z", refusal().Key, "found without a search, which would have come to b first")
	require.NoError(t, w.Rename(bg, dir, "z", w.bucket, "z", 0), "its locked version stays at its key")
	require.Equal(t, "b", refusal().Key, "found by the search")
	hold("b", false)
	require.NoError(t, w.Rename(bg, w.bucket, "dir", w.bucket, "new", 0))
}
