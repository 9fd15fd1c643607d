package nstest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"path"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
	"k3fs/metastore/memkv"
	"k3fs/namespace"
	"k3fs/tenancy"
)

// attackKeys are the keys of an attack; one is a temporary name, one a directory that is an object.
var attackKeys = []string{"a", "b", "c.tmp", "d/a", "d/b", "d/e/a", "f/a", "d/"}

var attackDirs = []string{"d", "f", "d/e"}

const powerCut = "power cut"

// step does one operation and looks at what is there then.
func (a *attacker) step() {
	b := a.books[a.rng.IntN(len(a.books))]
	if a.rng.IntN(3) == 0 {
		b = a.books[2]
	}
	who := root
	switch a.rng.IntN(10) {
	case 0, 1, 2:
		who = plain
	case 3:
		who = stranger
	}
	v := a.w.FS.As(principals[who])
	a.durable = false
	what, other := a.operate(v, who, b)
	a.scan(b, what)
	if other != nil && other != b {
		a.scan(other, what)
	}
	if a.durable {
		a.settled()
	}
	for range 2 {
		if n := len(b.order); n > 0 {
			a.check(b, b.order[a.rng.IntN(n)])
		}
	}
}

// operate does one random operation on a bucket; other is a second that it may have changed.
func (a *attacker) operate(v *namespace.View, who int, b *book) (what string, other *book) {
	ops := []struct {
		what   string
		weight int
		do     func(*namespace.View, int, *book)
	}{
		{"put", 10, a.put}, {"append", 3, a.append}, {"delete", 5, a.remove}, {"delete version", 12, a.removeVersion},
		{"delete many", 3, a.removeMany}, {"multipart", 3, a.multipart}, {"rename object", 3, a.renameObject},
		{"tag", 2, a.tag}, {"retention", 6, a.retention}, {"legal hold", 5, a.legalHold}, {"configure", 1, a.configure},
		{"write", 6, a.write}, {"truncate", 3, a.truncate}, {"open", 2, a.openFile}, {"write on", 3, a.writeOn},
		{"unlink", 4, a.unlink}, {"rename", 5, a.rename}, {"rename directory", 4, a.renameDir}, {"rmdir", 1, a.rmdir},
		{"mkdir", 1, a.mkdir}, {"link", 2, a.link}, {"chmod", 2, a.chmod}, {"hold", 2, a.hold}, {"release", 3, a.release},
		{"lifecycle", 3, a.lifecycle}, {"remove tree", 1, a.removeTree}, {"delete bucket", 1, a.deleteBucket},
	}
	total := 0
	for _, o := range ops {
		total += o.weight
	}
	n := a.rng.IntN(total + 12)
	for _, o := range ops {
		if n -= o.weight; n < 0 {
			a.logf("%s as %d in %s", o.what, who, b.name)
			o.do(v, who, b)
			return o.what, nil
		}
	}
	switch n = a.rng.IntN(26); {
	case n < 10:
		other = a.books[a.rng.IntN(len(a.books))]
		a.copy(v, who, b, other)
		return "copy", other
	case n < 20:
		a.clock(v, who)
		return "clock", nil
	case n < 21:
		require.NoError(a.t, a.w.FS.Reap(context.Background()), a.story())
		return "reap", nil
	}
	return a.restart(), nil
}

func (a *attacker) key() string     { return attackKeys[a.rng.IntN(len(attackKeys))] }
func (a *attacker) fileKey() string { return attackKeys[a.rng.IntN(len(attackKeys)-1)] }

// version draws one of a bucket's versions; nil if there is none.
func (a *attacker) version(b *book) *kept {
	if len(b.order) == 0 {
		return nil
	}
	return b.order[a.rng.IntN(len(b.order))]
}

// bytes draws a content: mostly inline, at times an extent.
func (a *attacker) bytes() []byte {
	n := a.rng.IntN(200)
	if a.rng.IntN(15) == 0 {
		n = 8000 + a.rng.IntN(20_000)
	}
	return storetest.Bytes(n, uint64(a.rng.Uint32()))
}

// length draws how long something is to be protected.
func (a *attacker) length() time.Duration {
	return []time.Duration{time.Hour, 20 * time.Hour, 40 * 24 * time.Hour, 3 * 365 * 24 * time.Hour}[a.rng.IntN(4)] + time.Duration(a.rng.IntN(3600))*time.Second
}

func (a *attacker) retained() namespace.Retention {
	return namespace.Retention{Mode: namespace.LockMode(1 + a.rng.IntN(2)), Until: a.w.FS.Clock().Now.Add(a.length()).Truncate(time.Second)}
}

func bodyOf(p []byte) body { return body{bytes.NewReader(p), p} }

func (a *attacker) put(v *namespace.View, who int, b *book) {
	key := a.key()
	var o namespace.PutOptions
	if b.config != nil && a.rng.IntN(4) == 0 {
		o.Lock = &namespace.ObjectLock{Retention: a.retained(), LegalHold: a.rng.IntN(4) == 0}
	}
	a.logf("   %s %+v", key, o.Lock)
	want := a.replace(b, key)
	info, err := v.PutObject(context.Background(), b.name, key, bodyOf(a.bytes()), o)
	a.judge(who, want, err)
	if a.durable = err == nil; a.durable && o.Lock != nil {
		_, lock := a.read(b, &kept{key: key, id: info.Version})
		if lock == nil || lock.LegalHold != o.Lock.LegalHold || lock.Mode != o.Lock.Mode || !lock.Until.Equal(o.Lock.Until) {
			a.fail("the lock %+v was asked for, it is %+v", *o.Lock, lock)
		}
	}
}

func (a *attacker) append(v *namespace.View, who int, b *book) {
	key := a.fileKey()
	off := int64(0)
	if now := b.current(key); now != nil {
		off = now.size
	}
	want := a.replace(b, key)
	_, err := v.AppendObject(context.Background(), b.name, key, bodyOf(a.bytes()), namespace.AppendOptions{Offset: off})
	a.judge(who, want, err)
	a.durable = err == nil
}

func (a *attacker) remove(v *namespace.View, who int, b *book) {
	key := a.key()
	a.logf("   %s", key)
	_, err := v.DeleteObject(context.Background(), b.name, key, namespace.DeleteOptions{})
	a.judge(who, a.replace(b, key), err)
	a.durable = err == nil
}

// erase is the verdict of removing a version for good.
func (a *attacker) erase(b *book, x *kept, who int, bypass bool) verdict {
	bypass = bypass && who == root
	want := of(a.protected(b, x, bypass))
	x.released = bypass && want != refuses
	return want
}

func (a *attacker) removeVersion(v *namespace.View, who int, b *book) {
	x := a.version(b)
	if x == nil {
		return
	}
	bypass := a.rng.IntN(3) == 0
	a.logf("   %s %s %+v bypass %v", x.key, x.id, x.lock, bypass)
	want := a.erase(b, x, who, bypass)
	_, err := v.DeleteObject(context.Background(), b.name, x.key, namespace.DeleteOptions{Version: x.id, Bypass: bypass})
	x.released = x.released && err == nil
	a.judge(who, want, err)
	a.durable = err == nil
}

// removeMany removes versions and keys at once.
func (a *attacker) removeMany(v *namespace.View, who int, b *book) {
	seen := map[string]bool{}
	var keys []namespace.Deletion
	var wants []verdict
	var versions []*kept
	for range a.rng.IntN(5) {
		x := a.version(b)
		if x == nil || seen[x.key] {
			continue
		}
		seen[x.key] = true
		d := namespace.Deletion{Key: x.key}
		want := a.replace(b, x.key)
		if a.rng.IntN(2) == 0 {
			d.Version, d.Bypass = x.id, a.rng.IntN(2) == 0
			want = a.erase(b, x, who, d.Bypass)
		}
		keys, wants, versions = append(keys, d), append(wants, want), append(versions, x)
	}
	done, err := v.DeleteObjects(context.Background(), b.name, keys)
	if len(keys) == 0 {
		return
	}
	if err != nil {
		a.judge(who, either, err)
	}
	for i, x := range versions {
		if one := err; err == nil {
			if one = done[i].Err; one == nil {
				a.judge(who, wants[i], nil)
				continue
			}
			a.judge(who, wants[i], one)
		}
		x.released = false
	}
	a.durable = err == nil
}

// multipart begins an upload, or completes one that was begun before.
func (a *attacker) multipart(v *namespace.View, who int, b *book) {
	ctx := context.Background()
	if len(a.uploads) > 0 && a.rng.IntN(2) == 0 {
		u := a.uploads[0]
		if u.b != b {
			return
		}
		a.uploads = a.uploads[1:]
		want := a.replace(b, u.key)
		part, err := a.w.View.PutPart(ctx, b.name, u.key, u.id, 1, bodyOf(a.bytes()))
		if err != nil {
			return
		}
		a.logf("   complete %s", u.key)
		_, err = v.CompleteUpload(ctx, b.name, u.key, u.id, []namespace.CompletePart{{Number: 1, ETag: part.ETag}}, namespace.Checksums{}, namespace.Conditions{})
		a.judge(who, want, err)
		a.durable = err == nil
		return
	}
	key := a.fileKey()
	u, err := v.CreateUpload(ctx, b.name, key, namespace.Upload{})
	a.judge(who, either, err)
	if err == nil {
		a.uploads = append(a.uploads, upload{b, key, u.ID})
	}
}

func (a *attacker) copy(v *namespace.View, who int, from, to *book) {
	x := a.version(from)
	if x == nil || strings.HasSuffix(x.key, "/") {
		return
	}
	key := a.fileKey()
	a.logf("copy as %d %s/%s %s to %s/%s", who, from.name, x.key, x.id, to.name, key)
	want := a.replace(to, key)
	_, err := v.CopyObject(context.Background(), from.name, x.key, to.name, key, namespace.CopyOptions{Version: x.id, Replace: true, SelfCopyOK: true})
	a.judge(who, want, err)
	a.durable = err == nil
}

func (a *attacker) renameObject(v *namespace.View, who int, b *book) {
	from, to := a.fileKey(), a.fileKey()
	a.logf("   %s to %s", from, to)
	err := v.RenameObject(context.Background(), b.name, from, to, namespace.Conditions{}, namespace.Conditions{})
	a.judge(who, a.move(b, from, to), err)
	a.durable = err == nil
}

// move is the verdict of a file's rename.
func (a *attacker) move(b *book, from, to string) verdict {
	x, y := b.current(from), b.current(to)
	if x == nil || y != nil && x.ino == y.ino {
		return either
	}
	return a.replace(b, from).and(a.replace(b, to))
}

func (a *attacker) tag(v *namespace.View, who int, b *book) {
	if x := a.version(b); x != nil {
		_, err := v.SetObjectTags(context.Background(), b.name, x.key, x.id, []namespace.Tag{{Key: "k", Value: "v"}})
		a.judge(who, permits, err)
		a.durable = err == nil
	}
}

// relock notes what lock an inode has, under all its names.
func (b *book) relock(x *kept, change func(*namespace.ObjectLock)) {
	change(&x.lock)
	for _, y := range b.order {
		if y != x && y.ino == x.ino {
			y.lock = x.lock
		}
	}
}

func (a *attacker) retention(v *namespace.View, who int, b *book) {
	x := a.version(b)
	if x == nil {
		return
	}
	to, bypass := a.retained(), a.rng.IntN(3) == 0
	if a.rng.IntN(4) == 0 {
		to = namespace.Retention{}
	}
	a.logf("   %s %s from %+v to %+v bypass %v", x.key, x.id, x.lock, to, bypass)
	want := permits
	if l := x.lock; l.Mode != namespace.NoRetention && (l.Mode != to.Mode || to.Until.Before(l.Until)) && !(l.Mode == namespace.Governance && bypass && who == root) {
		want = of(l.Until.After(a.host.Now()), l.Until.After(a.w.FS.Clock().Now))
	}
	_, err := v.SetRetention(context.Background(), b.name, x.key, x.id, to, bypass)
	a.locked(who, b, want, err)
	if a.durable = err == nil; a.durable {
		b.relock(x, func(l *namespace.ObjectLock) { l.Retention = to })
	}
}

// locked judges a change of a lock, which only buckets with Object Lock know.
func (a *attacker) locked(who int, b *book, want verdict, err error) {
	if b.config == nil {
		want = refuses
	}
	a.judge(who, want, err)
}

func (a *attacker) legalHold(v *namespace.View, who int, b *book) {
	x := a.version(b)
	if x == nil {
		return
	}
	on := a.rng.IntN(2) == 0
	a.logf("   %s %s %v", x.key, x.id, on)
	_, err := v.SetLegalHold(context.Background(), b.name, x.key, x.id, on)
	a.locked(who, b, permits, err)
	if a.durable = err == nil; a.durable {
		b.relock(x, func(l *namespace.ObjectLock) { l.LegalHold = on })
	}
}

// configure changes how a bucket keeps and locks versions.
func (a *attacker) configure(v *namespace.View, who int, b *book) {
	if b.config != nil && a.rng.IntN(2) == 0 {
		c := namespace.LockConfig{}
		if b.name == "retained" {
			c = namespace.LockConfig{Mode: namespace.LockMode(1 + a.rng.IntN(2)), Days: 1 + a.rng.IntN(40)}
		}
		err := v.ChangeLockConfig(context.Background(), b.name, c)
		a.judge(who, permits, err)
		if a.durable = err == nil; a.durable {
			b.config = &c
		}
		return
	}
	if b.name == "plain" { // it never keeps any
		return
	}
	state := []string{namespace.VersioningSuspended, namespace.VersioningEnabled}[a.rng.IntN(2)]
	want := permits
	if b.config != nil && state != namespace.VersioningEnabled {
		want = refuses
	}
	a.logf("   %s", state)
	err := a.setVersioning(v, b, state)
	a.judge(who, want, err)
	if a.durable = err == nil; a.durable {
		b.state = state
	}
}

func (a *attacker) hold(v *namespace.View, who int, b *book) {
	if len(a.holds) > 4 {
		return
	}
	h := namespace.Hold{Bucket: b.name, Reason: "an attack"}
	switch a.rng.IntN(8) {
	case 0:
		h.Bucket = ""
	case 1, 2, 3, 4:
		h.Prefix = []string{"a", "d", "d/", "d/e", "f", "b"}[a.rng.IntN(6)]
	}
	switch a.rng.IntN(4) {
	case 0:
		h.Until = a.w.FS.Clock().Now.Add(a.length())
	case 1, 2:
		h.Period = a.length()
	}
	placed, err := v.PlaceHold(context.Background(), h)
	a.logf("   %+v", placed)
	want := permits
	if who != root {
		want = refuses
	}
	if who == stranger && h.Bucket == "" {
		if err == nil {
			require.NoError(a.t, v.ReleaseHold(context.Background(), placed.ID, "its own"))
		}
		return
	}
	a.judge(who, want, err)
	if a.durable = err == nil; a.durable {
		a.holds = append(a.holds, placed)
	}
}

func (a *attacker) release(v *namespace.View, who int, _ *book) {
	if len(a.holds) == 0 {
		return
	}
	i := a.rng.IntN(len(a.holds))
	a.logf("   %s", a.holds[i].ID)
	want := permits
	if who != root {
		want = refuses
	}
	err := v.ReleaseHold(context.Background(), a.holds[i].ID, "an attack")
	a.judge(who, want, err)
	if a.durable = err == nil; a.durable {
		a.holds = append(a.holds[:i:i], a.holds[i+1:]...)
	}
}

// lifecycle removes older versions that nothing protects, as rules do, and tries to remove others.
func (a *attacker) lifecycle(_ *namespace.View, _ int, b *book) {
	var keys []namespace.Deletion
	var wants []verdict
	for _, x := range b.order {
		if !x.current && len(keys) < 1000 {
			keys = append(keys, namespace.Deletion{Key: x.key, DeleteOptions: namespace.DeleteOptions{Version: x.id}})
			wants = append(wants, of(a.protected(b, x, false)))
		}
	}
	done, err := a.w.View.DeleteObjects(context.Background(), b.name, keys)
	require.NoError(a.t, err, a.story())
	for i := range done {
		a.logf("   %s %s", keys[i].Key, keys[i].Version)
		a.judge(root, wants[i], done[i].Err)
	}
	a.durable = true
}

func (a *attacker) removeTree(v *namespace.View, who int, b *book) {
	dir := attackDirs[a.rng.IntN(len(attackDirs))] + "/"
	a.logf("   %s", dir)
	want := permits
	for _, x := range b.order {
		if x.current && strings.HasPrefix(x.key, dir) {
			want = want.and(a.replace(b, x.key))
		}
	}
	err := v.RemoveTree(context.Background(), b.name, dir)
	a.judge(who, want, err)
	require.NoError(a.t, a.w.FS.Reap(context.Background()), a.story())
}

func (a *attacker) deleteBucket(v *namespace.View, who int, b *book) {
	if len(b.order) > 0 {
		err := v.DeleteBucket(context.Background(), b.name)
		a.judge(who, refuses, err)
	}
}

// clock moves the host's clock, lets time go by, or sets the clock right and says so.
func (a *attacker) clock(v *namespace.View, who int) {
	const year = 365 * 24 * time.Hour
	what := a.rng.IntN(10)
	a.host.change(func() {
		switch {
		case what < 3:
			a.host.skew = time.Duration(a.rng.Int64N(int64(20*year))) - 10*year
		case what < 5:
			a.host.skew = time.Duration(a.rng.Int64N(int64(60*time.Hour))) - 30*time.Hour
		case what < 8:
			a.host.truth = a.host.truth.Add(time.Duration(a.rng.Int64N(int64([]time.Duration{time.Hour, 30 * 24 * time.Hour, year}[a.rng.IntN(3)]))))
		default:
			a.host.skew = 0
		}
		a.logf("clock: truth %v, off by %v", a.host.truth, a.host.skew)
	})
	a.w.FS.Clock()
	if what == 9 {
		_, err := v.ConfirmClock(context.Background())
		want := permits
		if who != root {
			want = refuses
		}
		a.judge(who, want, err)
		if a.durable = err == nil; a.durable {
			a.host.confirmed()
		}
	}
	a.checkClock()
}

// restart ends the namespace, one way or another, and opens it again.
func (a *attacker) restart() (what string) {
	old := a.w
	a.closeHandles()
	keys := old.keys
	var err error
	switch a.rng.IntN(3) {
	case 0:
		what = "restart"
		require.NoError(a.t, old.Close(), a.story())
		a.w, err = a.open(old.disk, old.kv.Store, keys)
	case 1:
		what = "kill"
		require.NoError(a.t, old.chunks.Sync(context.Background()))
		a.w, err = a.open(old.disk.CrashClone(rand.New(rand.NewPCG(a.rng.Uint64(), 4))), old.kv.Crash(old.kv.Pending(), memkv.Options{}), keys)
	default:
		what = powerCut
		c := cut{kv: old.kv.Crash(0, memkv.Options{})}
		c.disk = old.disk.CrashClone(rand.New(rand.NewPCG(a.rng.Uint64(), 4)))
		require.NoError(a.t, a.fsck(c, keys), a.story())
		a.host.reboot()
		a.w, err = a.open(c.disk, c.kv, keys)
	}
	a.logf("%s", what)
	require.NoError(a.t, err, a.story())
	if what != "restart" {
		require.NoError(a.t, old.Close(), a.story())
	}
	a.uploads = nil
	require.NoError(a.t, a.w.FS.Reap(context.Background()), a.story()) // what RemoveTree left to do
	for _, b := range a.books {
		a.scan(b, what)
	}
	a.durable = what == "restart"
	a.checkClock()
	return what
}

// dirOf finds the directory of a key at the mount.
func (a *attacker) dirOf(v *namespace.View, b *book, key string) (dir namespace.Ino, name string, ok bool) {
	ctx := context.Background()
	at, err := a.w.View.Lookup(ctx, namespace.RootIno, b.name)
	require.NoError(a.t, err, a.story())
	dirs, name := path.Split(strings.TrimSuffix(key, "/"))
	for _, part := range strings.Split(strings.Trim(dirs, "/"), "/") {
		if part == "" {
			continue
		}
		if at, err = a.w.View.Lookup(ctx, at.Ino, part); err != nil || at.Type != namespace.Dir {
			return 0, "", false
		}
	}
	return at.Ino, name, true
}

func (a *attacker) openKey(v *namespace.View, b *book, key string, f namespace.OpenFlags) (namespace.FileHandle, error) {
	dir, name, ok := a.dirOf(v, b, key)
	if !ok {
		return nil, &namespace.Error{Kind: namespace.NotFound}
	}
	_, h, err := v.Create(context.Background(), dir, name, namespace.NewNode{Mode: 0o644}, f)
	return h, err
}

// write opens a file, writes, and closes it.
func (a *attacker) write(v *namespace.View, who int, b *book) {
	key, p := a.fileKey(), a.bytes()
	f := namespace.OpenFlags{Write: true, Trunc: a.rng.IntN(3) == 0, Append: a.rng.IntN(4) == 0}
	a.logf("   %s %+v %d", key, f, len(p))
	want := a.replace(b, key)
	if a.open4(b, key) || len(p) == 0 {
		want = either
	}
	h, err := a.openKey(v, b, key, f)
	if err == nil {
		ctx := context.Background()
		if a.rng.IntN(6) == 0 {
			err = h.Allocate(ctx, namespace.AllocZero, false, 0, 50)
		}
		if err == nil && f.Append {
			_, err = h.Append(ctx, p)
		} else if err == nil {
			_, err = h.WriteAt(ctx, p, 0)
		}
		if err == nil && a.rng.IntN(4) == 0 {
			err = h.Fsync(ctx)
		}
		if flushed := h.Flush(ctx); err == nil {
			err = flushed
		}
		if closed := h.Close(ctx); err == nil {
			err = closed
		}
	}
	a.judge(who, want, err)
}

// open4 reports whether a handle may have the key's file open.
func (a *attacker) open4(b *book, key string) bool {
	x := b.current(key)
	for _, h := range a.handles {
		if h.b == b && (x == nil || x.ino == h.h.Ino()) {
			return true
		}
	}
	return false
}

func (a *attacker) truncate(v *namespace.View, who int, b *book) {
	key := a.fileKey()
	x := b.current(key)
	if x == nil {
		return
	}
	size := int64(a.rng.IntN(300))
	a.logf("   %s to %d", key, size)
	want := a.replace(b, key)
	if a.open4(b, key) || size == x.size {
		want = either
	}
	_, err := v.SetAttr(context.Background(), x.ino, namespace.SetAttr{Size: &size})
	a.judge(who, want, err)
}

// openFile opens a file for later.
func (a *attacker) openFile(v *namespace.View, who int, b *book) {
	if len(a.handles) > 3 {
		return
	}
	key := a.fileKey()
	a.logf("   %s", key)
	h, err := a.openKey(v, b, key, namespace.OpenFlags{Read: true, Write: true})
	a.judge(who, either, err)
	if err == nil {
		a.handles = append(a.handles, &opened{h, b})
	}
}

// writeOn uses a file that was opened before, whatever was done meanwhile.
func (a *attacker) writeOn(_ *namespace.View, _ int, _ *book) {
	if len(a.handles) == 0 {
		return
	}
	ctx := context.Background()
	i := a.rng.IntN(len(a.handles))
	o := a.handles[i]
	var err error
	switch a.rng.IntN(4) {
	case 0, 1:
		_, err = o.h.WriteAt(ctx, a.bytes(), int64(a.rng.IntN(100)))
	case 2:
		err = o.h.Fsync(ctx)
	default:
		err = o.h.Flush(ctx)
		o.h.Close(ctx) //nolint:errcheck // as close(2), it said what it had to say
		a.handles = append(a.handles[:i:i], a.handles[i+1:]...)
	}
	a.judge(root, either, err)
	a.scan(o.b, "writing on")
}

func (a *attacker) closeHandles() {
	for _, o := range a.handles {
		o.h.Close(context.Background()) //nolint:errcheck // as close(2) at the end of a process
	}
	a.handles = nil
	for _, b := range a.books {
		a.scan(b, "closing")
	}
}

func (a *attacker) unlink(v *namespace.View, who int, b *book) {
	key := a.fileKey()
	dir, name, ok := a.dirOf(v, b, key)
	if !ok {
		return
	}
	a.logf("   %s", key)
	want := a.replace(b, key)
	if temporary(key) && b.state != "" {
		want = either
	}
	a.judge(who, want, v.Unlink(context.Background(), dir, name))
}

func (a *attacker) rename(v *namespace.View, who int, b *book) {
	from, to := a.fileKey(), a.fileKey()
	dir, name, ok := a.dirOf(v, b, from)
	toDir, toName, ok2 := a.dirOf(v, b, to)
	if !ok || !ok2 {
		return
	}
	var flags namespace.RenameFlags
	want := a.move(b, from, to)
	if a.rng.IntN(4) == 0 {
		flags = namespace.RenameExchange
		if b.state == namespace.VersioningSuspended {
			want = either
		}
	}
	if temporary(from) || temporary(to) || want == refuses && from == to {
		want = either
	}
	a.logf("   %s to %s flags %d", from, to, flags)
	a.judge(who, want, v.Rename(context.Background(), dir, name, toDir, toName, flags))
}

// below is the verdict of changing the keys of all that is below a directory.
func (a *attacker) below(b *book, dir string) verdict {
	want := permits
	for _, x := range b.order {
		if x.current && strings.HasPrefix(x.key, dir+"/") {
			want = want.and(of(a.protected(b, x, false)))
		}
	}
	return want
}

func (a *attacker) renameDir(v *namespace.View, who int, b *book) {
	from, to := attackDirs[a.rng.IntN(len(attackDirs))], attackDirs[a.rng.IntN(len(attackDirs))]
	dir, name, ok := a.dirOf(v, b, from)
	toDir, toName, ok2 := a.dirOf(v, b, to)
	if !ok || !ok2 || from == to {
		return
	}
	flags := namespace.RenameFlags(a.rng.IntN(4) / 3 * int(namespace.RenameExchange))
	want := a.below(b, from)
	if b.current(to+"/") != nil || flags != 0 {
		want = either
	}
	if b.current(from+"/") == nil && b.current(from+"/a") == nil && b.current(from+"/b") == nil && want == refuses {
		want = either
	}
	a.logf("   %s to %s flags %d", from, to, flags)
	a.judge(who, want, v.Rename(context.Background(), dir, name, toDir, toName, flags))
}

func (a *attacker) rmdir(v *namespace.View, who int, b *book) {
	d := attackDirs[a.rng.IntN(len(attackDirs))]
	if dir, name, ok := a.dirOf(v, b, d); ok {
		a.logf("   %s", d)
		a.judge(who, a.replace(b, d+"/"), v.Rmdir(context.Background(), dir, name))
	}
}

func (a *attacker) mkdir(v *namespace.View, who int, b *book) {
	if dir, name, ok := a.dirOf(v, b, attackDirs[a.rng.IntN(len(attackDirs))]); ok {
		_, err := v.Mkdir(context.Background(), dir, name, namespace.NewNode{Mode: 0o755})
		a.judge(who, permits, err)
	}
}

func (a *attacker) link(v *namespace.View, who int, b *book) {
	from, to := a.fileKey(), a.fileKey()
	x := b.current(from)
	dir, name, ok := a.dirOf(v, b, to)
	if x == nil || !ok {
		return
	}
	want := permits
	if !b.versioned(x) {
		want = of(a.protected(b, x, false))
	}
	a.logf("   %s to %s", from, to)
	_, err := v.Link(context.Background(), x.ino, dir, name)
	a.judge(who, want, err)
}

func (a *attacker) chmod(v *namespace.View, who int, b *book) {
	key := a.fileKey()
	x := b.current(key)
	if x == nil {
		return
	}
	want := permits
	if !b.versioned(x) || temporary(key) {
		want = of(a.protected(b, x, false))
	}
	if a.open4(b, key) || temporary(key) && want == refuses {
		want = either
	}
	mode := uint32(0o600 + a.rng.IntN(0o100))
	_, err := v.SetAttr(context.Background(), x.ino, namespace.SetAttr{Mode: &mode})
	if a.rng.IntN(3) == 0 {
		err = v.SetXattr(context.Background(), x.ino, "user.x", []byte{byte(mode)}, 0)
	}
	a.logf("   %s", key)
	a.judge(who, want, err)
}

// permitted is for tenancy's rule with one answer broken: the control of the attack.
type permitted struct {
	*Authority
	action tenancy.Action
}

// Allow implements namespace.Authority.
func (p permitted) Allow(who tenancy.Principal, a tenancy.Action, r tenancy.Resource) error {
	if a == p.action && who.Tenant == tenancy.FirstTenant {
		return nil
	}
	return p.Authority.Allow(who, a, r)
}

// fsck checks, now and then, what a power cut left.
func (a *attacker) fsck(c cut, keys *Authority) error {
	if a.rng.IntN(fsckEvery) > 0 {
		return nil
	}
	return c.fsck(keys)
}
