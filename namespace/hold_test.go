package namespace

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
	"k3fs/tenancy"
)

func (w *world) hold(t testing.TB, h Hold) Hold {
	if h.Reason == "" {
		h.Reason = "a test"
	}
	h, err := w.PlaceHold(bg, h)
	require.NoError(t, err)
	return h
}

func (w *world) putIn(t testing.TB, key string, data []byte) {
	_, err := w.PutObject(bg, "bucket", key, bodyOf(data), PutOptions{})
	require.NoError(t, err)
}

func (w *world) getOf(t testing.TB, key string) []byte {
	rd, err := w.GetObject(bg, "bucket", key, ReadOptions{})
	require.NoError(t, err)
	defer rd.Close()
	p := make([]byte, rd.Info().Size)
	_, err = rd.ReadAt(bg, p, 0)
	require.NoError(t, err)
	return p
}

// underHold are the ways that a hold leaves open in a bucket that keeps no versions: to look, to copy from what is
// held, to make what is new, and to change what is no data.
var underHold = map[string]bool{
	"open to read": true, "touch": true, "create in it": true, "mkdir in it": true, "rmdir in it": true,
	"create below it": true, "GET": true, "copy from": true, "set the object's ACL": true, "PUT in it": true,
	"PUT below what is not there in it": true, "PUT below it": true, "PUT the directory": true, "DELETE the directory": true,
}

// What holds of every scope hold, no way changes, and none is closed once they are released.
func TestHoldsHold(t *testing.T) {
	for _, h := range []Hold{{}, {Bucket: "bucket"}, {Bucket: "bucket", Until: time.Now().Add(time.Hour)}, {Bucket: "bucket", Period: time.Hour}} {
		for _, way := range ways(t) {
			s := &span{TB: t}
			w, dir, file, sub := held(s, 0)
			require.NoError(t, w.SetXattr(bg, file, "user.x", nil, 0))
			h := w.hold(t, h)
			err := way.do(w, dir, file, sub)
			if underHold[way.what] {
				require.NoError(t, err, way.what)
			} else {
				requireKind(t, NotPermitted, err)
				require.Contains(t, err.Error(), h.ID)
			}
			require.Equal(t, "content", string(w.published(t, file)), way.what)
			require.Equal(t, "inside", string(w.published(t, w.lookup(t, w.lookup(t, w.bucket, "d"), "f"))), way.what)
			if !underHold[way.what] {
				require.NoError(t, w.ReleaseHold(bg, h.ID, "the test is over"))
				require.NoError(t, way.do(w, dir, file, sub), way.what)
			}
			s.end()
		}
	}
}

// A hold holds what is in its scope and no more.
func TestScopeOfHolds(t *testing.T) {
	w := newWorld(t)
	for _, k := range []string{"a", "ab", "b", "d/a", "d/e/a", "e/a"} {
		w.putIn(t, k, []byte(k))
	}
	w.hold(t, Hold{Bucket: "bucket", Prefix: "a"})
	w.hold(t, Hold{Bucket: "bucket", Prefix: "d/e"})
	other := w.makeBucket(t, "other", alice)
	w.file(t, other, "a", "x")
	require.NoError(t, w.Unlink(bg, other, "a"), "another bucket")
	for k, refused := range map[string]bool{"a": true, "ab": true, "b": false, "d/a": false, "d/e/a": true, "e/a": false} {
		_, err := w.DeleteObject(bg, "bucket", k, DeleteOptions{})
		if refused {
			requireKind(t, NotPermitted, err)
		} else {
			require.NoError(t, err, k)
		}
	}
	requireKind(t, NotPermitted, w.Rename(bg, w.bucket, "d", w.bucket, "moved", 0))
	w.file(t, w.mkdir(t, w.bucket, "free"), "f", "x")
	require.NoError(t, w.Rename(bg, w.bucket, "free", w.bucket, "a-b", 0), "into the scope of a hold")
	requireKind(t, NotPermitted, w.Rename(bg, w.bucket, "a-b", w.bucket, "free", 0))
	empty := w.mkdir(t, w.bucket, "a-empty")
	w.mkdir(t, empty, "sub")
	require.NoError(t, w.Rename(bg, w.bucket, "a-empty", w.bucket, "b-empty", 0), "there is nothing to hold")
}

// One name in a hold's scope holds a file under all its names, as long as it has that.
func TestHoldsOfLinkedFiles(t *testing.T) {
	w := newWorld(t)
	ino := w.file(t, w.bucket, "free", "x")
	_, err := w.Link(bg, ino, w.bucket, "held-1")
	require.NoError(t, err)
	w.hold(t, Hold{Bucket: "bucket", Prefix: "held"})
	for _, name := range []string{"free", "held-1"} {
		requireKind(t, NotPermitted, w.Unlink(bg, w.bucket, name))
	}
	_, err = w.Link(bg, ino, w.bucket, "another")
	requireKind(t, NotPermitted, err)
	_, err = w.Open(bg, ino, OpenFlags{Write: true})
	requireKind(t, NotPermitted, err)
}

// What is being written when a hold is placed: the hold holds what was published; the writer is told at its close,
// and what it wrote goes.
func TestHoldOnOpenFile(t *testing.T) {
	for _, synced := range []bool{false, true} {
		w := newWorld(t)
		ino := w.file(t, w.bucket, "f", "published")
		h, err := w.Open(bg, ino, OpenFlags{Read: true, Write: true})
		require.NoError(t, err)
		_, err = h.WriteAt(bg, []byte("WRITTEN TOO LATE"), 0)
		require.NoError(t, err)
		if synced {
			require.NoError(t, h.Fsync(bg))
			_, err = h.WriteAt(bg, []byte("AND MORE"), 0)
			require.NoError(t, err)
		}
		w.hold(t, Hold{})
		requireKind(t, NotPermitted, h.Fsync(bg))
		requireKind(t, NotPermitted, h.Flush(bg))
		require.Equal(t, "published", string(w.published(t, ino)))
		requireKind(t, NotPermitted, h.Close(bg))
		h, err = w.Open(bg, ino, OpenFlags{Read: true})
		require.NoError(t, err)
		require.Equal(t, "published", string(readAll(t, h)))
		require.NoError(t, h.Close(bg))
		require.EqualValues(t, len("published"), w.attr(t, ino).Size)
	}
}

// A new file is held once its writer has closed it, however often it is published until then.
func TestHoldOnNewFile(t *testing.T) {
	w := newWorld(t)
	w.hold(t, Hold{})
	h := create(t, w.View, w.bucket, "f")
	for _, part := range []string{"a", "b", "c"} {
		_, err := h.Append(bg, []byte(part))
		require.NoError(t, err)
		require.NoError(t, h.Flush(bg), "a duplicate of the descriptor is closed")
	}
	now := time.Now()
	_, err := w.SetAttr(bg, h.Ino(), SetAttr{Mtime: &now})
	require.NoError(t, err)
	requireKind(t, NotPermitted, w.Unlink(bg, w.bucket, "f"))
	require.NoError(t, h.Close(bg))
	require.Equal(t, "abc", string(w.published(t, h.Ino())))
	_, err = w.Open(bg, h.Ino(), OpenFlags{Write: true})
	requireKind(t, NotPermitted, err)
	require.Empty(t, contents(&w.fs.making))

	// Another hold, while it is open, holds what is published.
	h = create(t, w.View, w.bucket, "g")
	_, err = h.Append(bg, []byte("a"))
	require.NoError(t, err)
	require.NoError(t, h.Flush(bg))
	w.hold(t, Hold{Bucket: "bucket"})
	_, err = h.Append(bg, []byte("b"))
	require.NoError(t, err)
	requireKind(t, NotPermitted, h.Flush(bg))
	requireKind(t, NotPermitted, h.Close(bg))
	require.Equal(t, "a", string(w.published(t, h.Ino())))
}

func contents(m interface{ Range(func(any, any) bool) }) (all []any) {
	m.Range(func(k, _ any) bool { all = append(all, k); return true })
	return all
}

// A power cut leaves a hold that was acknowledged, and of what it refused nothing.
func TestHoldsSurvive(t *testing.T) {
	w := newWorld(t)
	w.putIn(t, "f", []byte("held"))
	id := w.hold(t, Hold{Bucket: "bucket", Prefix: "f"}).ID
	_, err := w.DeleteObject(bg, "bucket", "f", DeleteOptions{})
	requireKind(t, NotPermitted, err)
	w.cut(t, 0, nil)
	_, err = w.DeleteObject(bg, "bucket", "f", DeleteOptions{})
	requireKind(t, NotPermitted, err)
	require.Equal(t, "held", string(w.getOf(t, "f")))
	require.NoError(t, w.ReleaseHold(bg, id, "done"))
	w.cut(t, 0, nil)
	_, err = w.DeleteObject(bg, "bucket", "f", DeleteOptions{})
	require.NoError(t, err)
}

// What was fsynced before a hold came and not published is no part of what recovery publishes; what was fsynced
// by who made the file is.
func TestRecoveryUnderHold(t *testing.T) {
	w := newWorld(t)
	early := w.file(t, w.bucket, "early", "published")
	h, err := w.Open(bg, early, OpenFlags{Write: true})
	require.NoError(t, err)
	_, err = h.WriteAt(bg, []byte("TOO LATE."), 0)
	require.NoError(t, err)
	require.NoError(t, h.Fsync(bg))
	w.hold(t, Hold{})
	h = create(t, w.View, w.bucket, "new")
	_, err = h.Append(bg, []byte("first"))
	require.NoError(t, err)
	require.NoError(t, h.Flush(bg))
	_, err = h.Append(bg, []byte(" and more"))
	require.NoError(t, err)
	require.NoError(t, h.Fsync(bg))
	w.cut(t, 0, nil)
	require.Equal(t, "published", string(w.getOf(t, "early")))
	require.Equal(t, "first and more", string(w.getOf(t, "new")))
}

// A hold that can't be read protects all that it may cover.
func TestUnreadableHold(t *testing.T) {
	w := newWorld(t)
	w.putIn(t, "f", []byte("x"))
	h := w.hold(t, Hold{Bucket: "bucket", Prefix: "elsewhere"})
	require.NoError(t, w.kv.Update(bg, metastore.Durable, func(txn metastore.Txn) error {
		if err := txn.Set(holdKey(1, h.ID), []byte{0xc1}); err != nil {
			return err
		}
		return (&txn0{txn}).holdsChanged(1)
	}))
	_, err := w.DeleteObject(bg, "bucket", "f", DeleteOptions{})
	requireKind(t, Corrupt, err)
	require.Error(t, w.Unlink(bg, w.bucket, "f"))
	require.Equal(t, "x", string(w.getOf(t, "f")))
	require.NoError(t, w.kv.Update(bg, metastore.Durable, func(txn metastore.Txn) error { return txn.Delete(holdKey(1, h.ID)) }))
}

type txn0 struct{ metastore.Txn }

func (t *txn0) holdsChanged(tenant tenancy.TenantID) error {
	return (&txn{Txn: t.Txn}).holdsChanged(tenant)
}

// Who may place and release, and what makes no hold.
func TestWhoMayHold(t *testing.T) {
	w := newWorld(t)
	plain := w.fs.As(tenancy.Principal{Tenant: 1, Account: "plain"})
	h := Hold{Bucket: "bucket", Reason: "x"}
	_, err := plain.PlaceHold(bg, h)
	requireKind(t, Access, err)
	_, err = w.fs.As(bob).PlaceHold(bg, h)
	requireKind(t, NoBucket, err)
	placed := w.hold(t, h)
	requireKind(t, Access, plain.ReleaseHold(bg, placed.ID, "x"))
	requireKind(t, NotFound, w.fs.As(bob).ReleaseHold(bg, placed.ID, "x"))
	_, err = plain.Holds(bg)
	requireKind(t, Access, err)
	theirs, err := w.fs.As(bob).Holds(bg)
	require.NoError(t, err)
	require.Empty(t, theirs)
	requireKind(t, Invalid, w.ReleaseHold(bg, placed.ID, ""))
	requireKind(t, NotFound, w.ReleaseHold(bg, "", "x"))

	policy := func(effect, principal, action string) {
		require.NoError(t, w.ChangeBucketSettings(bg, "bucket", tenancy.PutBucketPolicy, func(_ BucketInfo, s tenancy.Settings) error {
			s[tenancy.SettingPolicy] = []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Principal":` + principal +
				`,"Action":"` + action + `","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}]}`)
			return nil
		}))
	}
	policy("Allow", `{"AWS":"arn:aws:iam::000000000001:user/plain"}`, "k3fs:PlaceHold")
	_, err = plain.PlaceHold(bg, h)
	require.NoError(t, err)
	requireKind(t, Access, plain.ReleaseHold(bg, placed.ID, "x"))
	policy("Deny", `"*"`, "k3fs:ReleaseHold")
	requireKind(t, Access, w.ReleaseHold(bg, placed.ID, "root is denied it, too"))

	for _, bad := range []Hold{{}, {Reason: strings.Repeat("x", maxReason+1)}, {Reason: "x", Prefix: "p"}, {Reason: "x", Period: -1},
		{Reason: "x", Period: 1, Until: time.Now().Add(time.Hour)}, {Reason: "x", Tag: "t"}, {Reason: "x", Until: time.Now().Add(-time.Hour)}} {
		_, err := w.PlaceHold(bg, bad)
		requireKind(t, Invalid, err)
	}
	_, err = w.PlaceHold(bg, Hold{Bucket: "none", Reason: "x"})
	requireKind(t, NoBucket, err)
}

// A bucket with a hold of its own stays; what a regime covers keeps the regime.
func TestHoldsOfBuckets(t *testing.T) {
	w := newWorld(t)
	h := w.hold(t, Hold{Bucket: "bucket"})
	requireKind(t, NotPermitted, w.DeleteBucket(bg, "bucket"))
	requireKind(t, NotPermitted, w.Rmdir(bg, RootIno, "bucket"))
	require.NoError(t, w.ReleaseHold(bg, h.ID, "x"))

	h = w.hold(t, Hold{Bucket: "bucket", Period: 6 * 365 * 24 * time.Hour, Tag: "six years"})
	w.putIn(t, "d/f", []byte("x"))
	requireKind(t, NotPermitted, w.Unlink(bg, w.lookup(t, w.bucket, "d"), "f"))
	requireKind(t, NotPermitted, w.ReleaseHold(bg, h.ID, "x"))
	empty := w.makeBucket(t, "empty", alice)
	require.NotZero(t, empty)
	w.hold(t, Hold{Bucket: "empty", Period: time.Hour, Tag: "t"})
	require.NoError(t, w.DeleteBucket(bg, "empty"))
	all, err := w.Holds(bg)
	require.NoError(t, err)
	require.Equal(t, []Hold{h}, all, "the regime of a bucket that is gone is gone")
}

// An update that was under way when the first hold of a tenant came is over before that is acknowledged.
func TestFirstHoldWaitsForUpdates(t *testing.T) {
	w := newWorld(t)
	w.putIn(t, "f", []byte("x"))
	begun, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- w.update(bg, metastore.Ordered, func(*txn) error {
			close(begun)
			<-goOn
			return nil
		})
	}()
	<-begun
	placed := make(chan error)
	go func() {
		_, err := w.PlaceHold(bg, Hold{Reason: "x"})
		placed <- err
	}()
	select {
	case <-placed:
		t.Fatal("the hold is acknowledged while an update that has not seen it goes on")
	case <-time.After(20 * time.Millisecond):
	}
	close(goOn)
	require.NoError(t, <-done)
	require.NoError(t, <-placed)
}

// What is done about holds is in the log of the tenant, and so is what they refused.
func TestHoldsAreAudited(t *testing.T) {
	w := newWorld(t)
	w.putIn(t, "f", []byte("x"))
	h := w.hold(t, Hold{Bucket: "bucket", Reason: "case 7"})
	for range 3 {
		_, err := w.DeleteObject(bg, "bucket", "f", DeleteOptions{})
		requireKind(t, NotPermitted, err)
	}
	require.NoError(t, w.ReleaseHold(bg, h.ID, "case closed"))
	lines, err := w.AuditRecords(bg, 0, 100)
	require.NoError(t, err)
	var events []string
	for _, line := range lines {
		events = append(events, string(line))
	}
	require.Len(t, events, 3)
	require.Contains(t, events[0], `"event":"hold.place"`)
	require.Contains(t, events[0], `case 7`)
	require.Contains(t, events[1], `"event":"hold.release"`)
	require.Contains(t, events[2], `"event":"refused"`)
	require.Contains(t, events[2], `"count":3`)
	require.Contains(t, events[2], `"key":"f"`)
	head, err := w.AuditHead(bg, true)
	require.NoError(t, err)
	require.EqualValues(t, 3, head.Seq)
	_, err = w.fs.As(tenancy.Principal{Tenant: 1, Account: "plain"}).AuditRecords(bg, 0, 1)
	requireKind(t, Access, err)

	// An attacker adds no more than a bounded number of records.
	for i := range 1000 {
		w.fs.refusals.note(w.View, 1, "x", &Refusal{Why: strings.Repeat("y", i)})
	}
	head, err = w.AuditHead(bg, true)
	require.NoError(t, err)
	require.LessOrEqual(t, head.Seq, uint64(3+maxRefusals+1))

	require.NoError(t, w.kv.Update(bg, metastore.Durable, func(txn metastore.Txn) error {
		return txn.Delete(append(key(kAudit, 1), 0, 0, 0, 0, 0, 0, 0, 2))
	}))
	_, err = w.AuditHead(bg, true)
	require.ErrorIs(t, err, audit.ErrTampered)
}

// A regime counts from the publication by the clock of locks, also where the content was stored before and the
// host's clock, which stamps files, is another than it was then.
func TestRegimesCountByTheClockOfLocks(t *testing.T) {
	clock := &hostClock{wall: time.Now()}
	w := newWorldWith(t, clock.options())
	w.versioning(t, "bucket", VersioningEnabled)
	for _, key := range []string{"source", "a", "b"} {
		w.putIn(t, key, []byte(key))
	}
	h := create(t, w.View, w.bucket, "synced")
	_, err := h.Append(bg, []byte("synced"))
	require.NoError(t, err)
	require.NoError(t, h.Fsync(bg))
	clock.pass(20 * time.Hour) // the clock of files stays behind
	require.NoError(t, h.Flush(bg))
	require.NoError(t, h.Close(bg))
	require.NoError(t, w.Rename(bg, w.bucket, "a", w.bucket, "renamed", 0))
	require.NoError(t, w.RenameObject(bg, "bucket", "b", "renamed-object", Conditions{}, Conditions{}))
	_, err = w.CopyObject(bg, "bucket", "source", "bucket", "copied", CopyOptions{})
	require.NoError(t, err)
	w.putIn(t, "put", []byte("put"))
	w.hold(t, Hold{Bucket: "bucket", Period: 10 * time.Hour})
	for _, key := range []string{"put", "copied", "renamed", "renamed-object", "synced"} {
		err := w.erase(key, w.versionOf(t, key), false)
		require.Truef(t, isKind(err, NotPermitted), "%s: %v", key, err)
	}
	require.NoError(t, w.erase("source", w.versionOf(t, "source"), false))
}

// A directory that was made and not put is listed as an object, and can be locked, but has no content that a key
// could keep: what would end the lock is refused.
func TestLockOfMadeDirectory(t *testing.T) {
	w, _ := newLocked(t, LockConfig{})
	w.mkdir(t, w.bucket, "d")
	_, err := w.SetLegalHold(bg, "bucket", "d/", "", true)
	require.NoError(t, err)
	for _, o := range []DeleteOptions{{}, {Version: "null"}} {
		_, err = w.DeleteObject(bg, "bucket", "d/", o)
		requireKind(t, NotPermitted, err)
	}
	_, err = w.PutObject(bg, "bucket", "d/", bodyOf([]byte("x")), PutOptions{})
	requireKind(t, NotPermitted, err)
	requireKind(t, NotPermitted, w.Rmdir(bg, w.bucket, "d"))
	lock, _, err := w.LockOf(bg, "bucket", "d/", "null", tenancy.GetObjectLegalHold)
	require.NoError(t, err)
	require.True(t, lock.LegalHold)
}

// TestHeldTemporaryName: what S3 put under a temporary name and a lock or a hold covers stays there, by its id, when
// the mount gives the file another name, to which the hold does not reach, and works on under that.
func TestHeldTemporaryName(t *testing.T) {
	for name, protect := range map[string]func(w *world, id string){
		"hold": func(w *world, id string) { w.hold(t, Hold{Bucket: "data", Prefix: "kept/", Reason: "case 1"}) },
		"legal hold": func(w *world, id string) {
			require.NoError(t, w.ChangeLockConfig(bg, "data", LockConfig{}))
			_, err := w.SetLegalHold(bg, "data", "kept/c.tmp", id, true)
			require.NoError(t, err)
		},
	} {
		for change, do := range map[string]func(w *world){
			"unlink": func(w *world) { w.unlink(t, "kept/c.tmp") },
			"rename": func(w *world) { w.rename(t, "kept/c.tmp", "free/c", 0) },
			"write":  func(w *world) { w.write(t, "free/b", "other") },
		} {
			t.Run(name+"/"+change, func(t *testing.T) {
				w := newVersioned(t)
				id := w.putText(t, "kept/c.tmp", "bytes")
				w.putText(t, "free/a", "")
				kept, name := w.at(t, "kept/c.tmp")
				file, err := w.Lookup(bg, kept, name)
				require.NoError(t, err)
				dir, err := w.Lookup(bg, w.bucket, "free")
				require.NoError(t, err)
				_, err = w.Link(bg, file.Ino, dir.Ino, "b")
				require.NoError(t, err)
				protect(w, id)
				do(w)
				require.Contains(t, w.history(t, "kept/c.tmp"), "bytes")
				_, err = w.DeleteObject(bg, "data", "kept/c.tmp", DeleteOptions{Version: id})
				requireKind(t, NotPermitted, err)
				_, err = w.HeadObject(bg, "data", "kept/c.tmp", ReadOptions{Version: id})
				require.NoError(t, err)
			})
		}
	}
}

// TestRenameWhileSuspended: a held version stays at its key, so the file may be renamed, though what it becomes at the
// other key is a null version, which the bucket would not keep.
func TestRenameWhileSuspended(t *testing.T) {
	for name, rename := range map[string]func(w *world) error{
		"RenameObject": func(w *world) error { return w.RenameObject(bg, "data", "f", "g", Conditions{}, Conditions{}) },
		"rename":       func(w *world) error { return w.Rename(bg, w.bucket, "f", w.bucket, "g", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newVersioned(t)
			w.putText(t, "f", "bytes")
			w.versioning(t, "data", VersioningSuspended)
			w.hold(t, Hold{Bucket: "data"})
			require.NoError(t, rename(w))
			require.Equal(t, "[DELETED]* bytes", w.history(t, "f"))
			require.Equal(t, "[bytes]*", w.history(t, "g"))
			_, err := w.DeleteObject(bg, "data", "g", DeleteOptions{})
			requireKind(t, NotPermitted, err)
		})
	}
}
