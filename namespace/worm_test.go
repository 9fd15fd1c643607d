package namespace

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// A file is committed to retention as file servers for compliance have it, and is then as it is at both doors,
// in buckets that keep versions and in others.
func TestCommit(t *testing.T) {
	for _, versioned := range []bool{false, true} {
		for _, way := range ways(t) {
			s := &span{TB: t}
			clock := &hostClock{wall: time.Now()}
			w := newWorldWith(s, clock.options())
			if versioned {
				w.versioning(t, "bucket", VersioningEnabled)
			}
			require.NoError(t, w.SetXattr(bg, w.bucket, s3Worm, []byte("on"), 0))
			dir := w.mkdir(t, w.bucket, "d")
			inside := w.file(t, dir, "f", "inside")
			sub := w.mkdir(t, dir, "sub")
			file := w.file(t, w.bucket, "f", "content")
			require.NoError(t, w.SetXattr(bg, file, "user.x", nil, 0))
			for _, ino := range []Ino{file, inside} {
				w.commit(t, ino, clock.wall.Add(time.Hour))
			}
			free := underHold[way.what] || way.what == "rename into it"
			err := way.do(w, dir, file, sub)
			switch {
			case free:
				require.NoError(t, err, way.what)
			case versioned && way.what == "remove the tree" && err == nil:
				t.Fatal("the tree with a committed file is gone")
			default:
				requireKind(t, NotPermitted, err)
			}
			require.Equal(t, "content", string(w.published(t, file)), way.what)
			require.Equal(t, "inside", string(w.published(t, inside)), way.what)
			require.NotZero(t, w.attr(t, file).Flags&Immutable)
			clock.pass(2 * time.Hour)
			require.Zero(t, w.attr(t, file).Flags&Immutable)
			if !free {
				require.NoError(t, way.do(w, dir, file, sub), way.what)
			}
			s.end()
		}
	}
}

// commit sets a file's access time and takes its write permissions away.
func (w *world) commit(t testing.TB, ino Ino, until time.Time) {
	_, err := w.SetAttr(bg, ino, SetAttr{Atime: &until})
	require.NoError(t, err)
	mode := uint32(0o444)
	_, err = w.SetAttr(bg, ino, SetAttr{Mode: &mode})
	require.NoError(t, err)
}

// What is committed can be retained longer, and no shorter; where the convention is off, nothing is committed.
func TestCommitmentsOnlyGrow(t *testing.T) {
	clock := &hostClock{wall: time.Now()}
	w := newWorldWith(t, clock.options())
	ino := w.file(t, w.bucket, "f", "x")
	w.commit(t, ino, clock.wall.Add(time.Hour))
	mode := uint32(0o644)
	_, err := w.SetAttr(bg, ino, SetAttr{Mode: &mode})
	require.NoError(t, err, "the convention is off")
	require.NoError(t, w.SetXattr(bg, w.bucket, s3Worm, []byte("on"), 0))
	w.commit(t, ino, clock.wall.Add(time.Hour))
	require.Equal(t, clock.wall.Add(time.Hour).UTC().Format(time.RFC3339), w.xattr(t, ino, s3LockedUntil))
	_, err = w.SetAttr(bg, ino, SetAttr{Mode: &mode})
	requireKind(t, NotPermitted, err)
	shorter, longer := clock.wall.Add(time.Minute), clock.wall.Add(2*time.Hour)
	_, err = w.SetAttr(bg, ino, SetAttr{Atime: &shorter})
	requireKind(t, NotPermitted, err)
	_, err = w.SetAttr(bg, ino, SetAttr{Atime: &longer})
	require.NoError(t, err)
	require.Equal(t, longer.UTC().Format(time.RFC3339), w.xattr(t, ino, s3LockedUntil))
	_, err = w.SetRetention(bg, "bucket", "f", "", Retention{}, true)
	requireKind(t, NoLock, err)
	clock.pass(90 * time.Minute)
	requireKind(t, NotPermitted, w.Unlink(bg, w.bucket, "f"))
	clock.pass(time.Hour)
	_, err = w.SetAttr(bg, ino, SetAttr{Mode: &mode})
	require.NoError(t, err)
	require.NoError(t, w.Unlink(bg, w.bucket, "f"))
}

// What a lock makes immutable shows the flag; it can't be taken away, nor does it stay when it is set back.
func TestFlagOfLocks(t *testing.T) {
	w := newWorld(t)
	ino := w.file(t, w.bucket, "f", "x")
	h := w.hold(t, Hold{})
	require.Equal(t, Immutable, w.attr(t, ino).Flags)
	none, both := Flags(0), Immutable|NoDump
	_, err := w.SetAttr(bg, ino, SetAttr{Flags: &none})
	requireKind(t, NotPermitted, err)
	_, err = w.SetAttr(bg, ino, SetAttr{Flags: &both})
	require.NoError(t, err)
	require.NoError(t, w.ReleaseHold(bg, h.ID, "x"))
	require.Equal(t, NoDump, w.attr(t, ino).Flags)
}

// Attributes that place locks, and those that only tell.
func TestLockXattrs(t *testing.T) {
	w, clock := newLocked(t, LockConfig{})
	ino := w.file(t, w.bucket, "f", "x")
	get := func(name string) string {
		v, err := w.GetXattr(bg, ino, name)
		if isKind(err, NoAttr) {
			return "none"
		}
		require.NoError(t, err)
		return string(v)
	}
	until := clock.wall.Add(time.Hour).UTC().Format(time.RFC3339)
	for _, name := range []string{s3Retention, s3LegalHold, s3Holds, s3LockedUntil} {
		require.Equal(t, "none", get(name))
		requireKind(t, NoAttr, w.RemoveXattr(bg, ino, name))
	}
	require.NoError(t, w.SetXattr(bg, ino, s3Retention, []byte("GOVERNANCE "+until), 0))
	require.Equal(t, "GOVERNANCE "+until, get(s3Retention))
	require.Equal(t, until, get(s3LockedUntil))
	requireKind(t, NotPermitted, w.RemoveXattr(bg, ino, s3Retention))
	for name, bad := range map[string]string{s3Retention: "governance " + until, s3LegalHold: "yes", s3Worm: "maybe"} {
		requireKind(t, Invalid, w.SetXattr(bg, ino, name, []byte(bad), 0))
	}
	requireKind(t, Unsupported, w.SetXattr(bg, ino, s3Worm, []byte("on"), 0))
	require.NoError(t, w.SetXattr(bg, ino, s3LegalHold, []byte("ON"), 0))
	require.Equal(t, indefinite, get(s3LockedUntil))
	require.NoError(t, w.RemoveXattr(bg, ino, s3LegalHold))
	h := w.hold(t, Hold{})
	require.Equal(t, h.ID, get(s3Holds))
	requireKind(t, NotPermitted, w.SetXattr(bg, ino, s3Holds, []byte("x"), 0))
	names, err := w.ListXattr(bg, ino)
	require.NoError(t, err)
	require.Empty(t, names, "a copier would lock its copy")

	plain := w.makeBucket(t, "plain", alice)
	requireKind(t, NoLock, w.SetXattr(bg, w.file(t, plain, "f", "x"), s3LegalHold, []byte("ON"), 0))
}

// Whoever may place a lock through S3 may by an attribute, and nothing else: nobody needs s3:PutObject for it, and
// having that is not enough.
func TestWhoLocksByXattr(t *testing.T) {
	k := newKeyed(t)
	require.NoError(t, k.CreateBucketWith(bg, "locked", "", tenancy.Settings{SettingVersioning: []byte(VersioningEnabled)}))
	require.NoError(t, k.ChangeLockConfig(bg, "locked", LockConfig{}))
	info, err := k.HeadBucket(bg, "locked")
	require.NoError(t, err)
	_, err = k.PutObject(bg, "locked", "f", bodyOf([]byte("x")), PutOptions{})
	require.NoError(t, err)
	file, err := k.Lookup(bg, info.Ino, "f")
	require.NoError(t, err)

	until := func(hours int) []byte {
		return []byte("GOVERNANCE " + time.Now().Add(time.Duration(hours)*time.Hour).UTC().Format(time.RFC3339))
	}
	may := map[tenancy.Role]string{
		tenancy.RoleAdmin: "retain hold worm write unhold unworm", tenancy.RoleAuditor: "retain hold unhold",
		tenancy.RoleReadWrite: "retain write", tenancy.RoleReadOnly: "", tenancy.RoleOperator: "",
	}
	for i, role := range tenancy.Roles() {
		_, err := k.ten.CreateAccount(bg, tenancy.FirstTenant, string(role), tenancy.NewAccount{Role: role})
		require.NoError(t, err)
		v := k.fs.As(tenancy.Principal{Tenant: tenancy.FirstTenant, Account: string(role)})
		for _, c := range []struct {
			what string
			do   func() error
		}{
			{"retain", func() error { return v.SetXattr(bg, file.Ino, s3Retention, until(i+1), 0) }},
			{"hold", func() error { return v.SetXattr(bg, file.Ino, s3LegalHold, []byte("ON"), 0) }},
			{"worm", func() error { return v.SetXattr(bg, info.Ino, s3Worm, []byte("on"), 0) }},
			{"write", func() error { return v.SetXattr(bg, file.Ino, "user.x", nil, 0) }},
			{"unhold", func() error { return v.RemoveXattr(bg, file.Ino, s3LegalHold) }},
			{"unworm", func() error { return v.RemoveXattr(bg, info.Ino, s3Worm) }},
		} {
			if err := c.do(); slices.Contains(strings.Fields(may[role]), c.what) {
				require.NoError(t, err, "%s by %s", c.what, role)
			} else {
				requireKind(t, Access, err)
			}
		}
		for _, told := range []string{s3Holds, s3LockedUntil} {
			require.Error(t, v.SetXattr(bg, file.Ino, told, []byte("x"), 0), role)
			require.Error(t, v.RemoveXattr(bg, file.Ino, told), role)
		}
	}
	// An auditor does not shorten what is retained, nor bypass it.
	v := k.fs.As(tenancy.Principal{Tenant: tenancy.FirstTenant, Account: string(tenancy.RoleAuditor)})
	requireKind(t, NotPermitted, v.SetXattr(bg, file.Ino, s3Retention, until(1), 0))
	requireKind(t, NotPermitted, v.RemoveXattr(bg, file.Ino, s3Retention))
}
