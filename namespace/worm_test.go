package namespace

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
