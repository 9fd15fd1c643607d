package nstest

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
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
	case 4:
		who = onlyReads
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
		{"undelete", 3, a.undelete}, {"metadata", 2, a.describe}, {"lock attribute", 4, a.lockAttribute}, {"commit", 3, a.commit},
		{"convention", 1, a.convention}, {"chattr", 1, a.chattr}, {"tmpfile", 2, a.tmpfile}, {"symlink", 3, a.symlink},
		{"unlink symlink", 2, a.unlinkLink}, {"replace symlink", 2, a.replaceLink}, {"rename symlink", 2, a.renameLink},
		{"lifecycle", 3, a.lifecycle}, {"delete bucket", 1, a.deleteBucket},
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
		a.collect(v, who)
		return "collect", nil
	}
	return a.restart(), nil
}

// collect takes garbage, or says what it would take; nothing that is there may go by it.
func (a *attacker) collect(v *namespace.View, who int) {
	dry := a.rng.IntN(2) == 0
	_, err := v.CollectGarbage(context.Background(), dry, nil)
	want := refuses
	if who == root {
		want = permits
	}
	a.judge(who, want, err)
	require.NoError(a.t, a.w.FS.Reap(context.Background()), a.story())
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
	key, o := a.key(), namespace.PutOptions{Lock: a.asked(b)}
	a.logf("   %s %+v", key, o.Lock)
	want := a.replace(b, key)
	info, err := v.PutObject(context.Background(), b.name, key, bodyOf(a.bytes()), o)
	a.judge(who, want, err)
	if a.durable = err == nil; a.durable {
		a.hasLock(b, key, info.Version, o.Lock)
	}
}

// asked draws the lock that a client asks for with an object; nil for none.
func (a *attacker) asked(b *book) *namespace.ObjectLock {
	if b.config == nil || a.rng.IntN(4) > 0 {
		return nil
	}
	return &namespace.ObjectLock{Retention: a.retained(), LegalHold: a.rng.IntN(4) == 0}
}

// hasLock requires that a new version has the lock that was asked for.
func (a *attacker) hasLock(b *book, key, version string, asked *namespace.ObjectLock) {
	if asked == nil {
		return
	}
	_, lock := a.read(b, &kept{key: key, id: version})
	if lock == nil || lock.LegalHold != asked.LegalHold || lock.Mode != asked.Mode || !lock.Until.Equal(asked.Until) {
		a.fail("the lock %+v was asked for, it is %+v", *asked, lock)
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
		if a.rng.IntN(4) == 0 {
			a.judge(who, permits, v.AbortUpload(ctx, b.name, u.key, u.id))
			return
		}
		want := a.replace(b, u.key)
		part, err := a.w.View.PutPart(ctx, b.name, u.key, u.id, 1, bodyOf(a.bytes()))
		if err != nil {
			return
		}
		a.logf("   complete %s", u.key)
		if u.lock != nil && !u.lock.Until.After(a.w.FS.Clock().Now) {
			want = either // the time it was to be retained until is past
		}
		info, err := v.CompleteUpload(ctx, b.name, u.key, u.id, []namespace.CompletePart{{Number: 1, ETag: part.ETag}}, namespace.Checksums{}, namespace.Conditions{})
		a.judge(who, want, err)
		if a.durable = err == nil; a.durable {
			a.hasLock(b, u.key, info.Version, u.lock)
		}
		return
	}
	key, lock := a.fileKey(), a.asked(b)
	u, err := v.CreateUpload(ctx, b.name, key, namespace.Upload{Lock: lock})
	a.judge(who, either, err)
	if err == nil {
		a.uploads = append(a.uploads, upload{b, key, u.ID, lock})
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
	lock := a.asked(to)
	info, err := v.CopyObject(context.Background(), from.name, x.key, to.name, key, namespace.CopyOptions{Version: x.id, Replace: true, SelfCopyOK: true, Lock: lock})
	a.judge(who, want, err)
	if a.durable = err == nil; a.durable {
		a.hasLock(to, key, info.Version, lock)
	}
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

// undelete removes a delete marker by its id: what is below it comes back.
func (a *attacker) undelete(v *namespace.View, who int, b *book) {
	page, err := a.w.View.ListVersions(context.Background(), b.name, namespace.VersionsOptions{Max: 1 << 20})
	require.NoError(a.t, err, a.story())
	markers := slices.DeleteFunc(page.Versions, func(v namespace.VersionInfo) bool { return !v.Marker })
	if len(markers) == 0 {
		return
	}
	m := markers[a.rng.IntN(len(markers))]
	a.logf("   %s %s", m.Key, m.Version)
	want := permits
	if b.links[m.Key] != nil {
		want = either // the link stays, if anything would come back
	}
	_, err = v.DeleteObject(context.Background(), b.name, m.Key, namespace.DeleteOptions{Version: m.Version})
	a.judge(who, want, err)
	a.durable = err == nil
}

func (a *attacker) deleteBucket(v *namespace.View, who int, b *book) {
	if len(b.order) > 0 {
		err := v.DeleteBucket(context.Background(), b.name)
		a.judge(who, refuses, err)
	}
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
