package namespace

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// attackOps is how many operations the randomised attack makes if K3FS_ATTACK_OPS doesn't say.
const attackOps = 20_000

// slack is by how much the clock of locks may run ahead of the time that has passed: LockOptions.MaxJump, and an hour.
const slack = 26 * time.Hour

// item is a version, or in the bucket that keeps none a file, as the model knows it.
type item struct {
	bucket, key, version string // version is empty where there are none
	content              string
	mode                 LockMode
	until                time.Time
	legalHold            bool
}

// attack is a world under attack, and the model of what must not be lost.
type attack struct {
	t     *testing.T
	w     *world
	rng   *rand.Rand
	clock *hostClock
	began time.Time
	items []*item
	holds []Hold
	n     int
	log   []string
}

// now is the true time: what has passed by the clock that nobody can set.
func (a *attack) now() time.Time { return a.began.Add(a.clock.since) }

func (a *attack) logf(format string, args ...any) {
	a.log = append(a.log, fmt.Sprintf(format, args...))
	if len(a.log) > 60 {
		a.log = a.log[1:]
	}
}

func (a *attack) story() string { return strings.Join(a.log, "\n") }

// held reports whether a hold covers it for certain, whatever the clock of locks shows.
func (a *attack) held(i *item) bool {
	return slices.ContainsFunc(a.holds, func(h Hold) bool {
		return (h.Bucket == "" || h.Bucket == i.bucket) && strings.HasPrefix(i.key, h.Prefix) &&
			(h.Until.IsZero() || h.Until.After(a.now().Add(slack)))
	})
}

// protected reports whether it is for certain, from one who bypasses governance or doesn't.
func (a *attack) protected(i *item, bypass bool) bool {
	retained := i.mode != NoRetention && i.until.After(a.now().Add(slack))
	return i.legalHold || retained && !(bypass && i.mode == Governance) || a.held(i)
}

// never reports whether nothing has ever protected it.
func (a *attack) never(i *item) bool {
	return i.mode == NoRetention && !i.legalHold && !slices.ContainsFunc(a.holds, func(h Hold) bool {
		return (h.Bucket == "" || h.Bucket == i.bucket) && strings.HasPrefix(i.key, h.Prefix)
	})
}

func (a *attack) pick() *item {
	if len(a.items) == 0 {
		return &item{}
	}
	return a.items[a.rng.IntN(len(a.items))]
}

var attackKeys = []string{"a", "b", "d/a", "d/b", "d/s/a", "held/a", "held/b"}

func (a *attack) key() string { return attackKeys[a.rng.IntN(len(attackKeys))] }

// bucketName is "locked", which keeps versions and has Object Lock, or "plain".
func (a *attack) bucketName() string { return []string{"locked", "plain"}[a.rng.IntN(2)] }

// view is one of the principals: the root account, a plain account of the tenant, another tenant's.
func (a *attack) view() *View {
	switch a.rng.IntN(6) {
	case 0:
		return a.w.fs.As(tenancy.Principal{Tenant: 1, Account: "plain"})
	case 1:
		return a.w.fs.As(bob)
	}
	return a.w.View
}

func (a *attack) fresh() string {
	a.n++
	return fmt.Sprintf("content %d", a.n)
}

// find is the item that a key leads to now; nil if none does.
func (a *attack) find(bucket, key string) *item {
	info, err := a.w.HeadObject(bg, bucket, key, ReadOptions{})
	if err != nil {
		return nil
	}
	for _, i := range a.items {
		if i.bucket == bucket && i.key == key && i.version == info.Version {
			return i
		}
	}
	return nil
}

// published notes what a key leads to now, with what is in it.
func (a *attack) published(bucket, key, content string) {
	info, err := a.w.HeadObject(bg, bucket, key, ReadOptions{})
	require.NoError(a.t, err, a.story())
	if info.Version == "" {
		a.forget(func(i *item) bool { return i.bucket == bucket && i.key == key })
	}
	i := &item{bucket: bucket, key: key, version: info.Version, content: content}
	if info.Lock != nil {
		i.mode, i.until, i.legalHold = info.Lock.Mode, info.Lock.Until, info.Lock.LegalHold
	}
	a.items = append(a.items, i)
}

func (a *attack) forget(gone func(*item) bool) { a.items = slices.DeleteFunc(a.items, gone) }

// lost requires that what a successful operation took from a bucket that keeps nothing was free to go.
func (a *attack) lost(i *item) {
	if i == nil || i.bucket == "locked" {
		return
	}
	require.False(a.t, a.protected(i, false), "%+v is gone\n%s", i, a.story())
	a.forget(func(o *item) bool { return o == i })
}

// ordinary requires that what nothing forbids succeeds.
func (a *attack) ordinary(v *View, err error, free bool) {
	if v.who.Tenant == 1 && free {
		require.NoError(a.t, err, a.story())
	}
}

func (a *attack) dir(bucket, key string) (Ino, string, bool) {
	parts := strings.Split(key, "/")
	info, err := a.w.HeadBucket(bg, bucket)
	require.NoError(a.t, err, a.story())
	ino := info.Ino
	for _, name := range parts[:len(parts)-1] {
		at, err := a.w.Lookup(bg, ino, name)
		if err != nil {
			return 0, "", false
		}
		ino = at.Ino
	}
	return ino, parts[len(parts)-1], true
}

func (a *attack) step() {
	bucket, key, v := a.bucketName(), a.key(), a.view()
	old := a.find(bucket, key)
	free := bucket == "locked" || old == nil || a.never(old)
	switch a.rng.IntN(18) {
	case 0, 1:
		content := a.fresh()
		_, err := v.PutObject(bg, bucket, key, bodyOf([]byte(content)), PutOptions{})
		a.logf("PUT %s/%s: %v", bucket, key, err)
		a.ordinary(v, err, free)
		if err == nil {
			a.lost(old)
			a.published(bucket, key, content)
		}
	case 2, 3:
		a.write(v, bucket, key, old, free)
	case 4:
		_, err := v.DeleteObject(bg, bucket, key, DeleteOptions{})
		a.logf("DELETE %s/%s: %v", bucket, key, err)
		a.ordinary(v, err, free)
		if err == nil {
			a.lost(old)
		}
	case 5:
		if dir, name, ok := a.dir(bucket, key); ok && old != nil {
			err := v.Unlink(bg, dir, name)
			a.logf("unlink %s/%s: %v", bucket, key, err)
			a.ordinary(v, err, free)
			if err == nil {
				a.lost(old)
			}
		}
	case 6, 7:
		a.renameFile(v, bucket, key, old)
	case 8:
		a.renameDir(v, bucket)
	case 9, 10, 11:
		a.erase(v, a.pick(), a.rng.IntN(2) == 0)
	case 12, 13:
		a.lock(v, a.pick())
	case 14:
		a.placeOrRelease(v)
	case 15:
		require.NoError(a.t, a.w.fs.Reap(bg), a.story())
	case 16:
		a.timePasses()
	default:
		a.meddle(v)
	}
}

// write is a session of the mount.
func (a *attack) write(v *View, bucket, key string, old *item, free bool) {
	dir, name, ok := a.dir(bucket, key)
	if !ok {
		return
	}
	_, h, err := v.Create(bg, dir, name, NewNode{Mode: 0o644}, OpenFlags{Write: true, Trunc: true})
	a.logf("open %s/%s: %v", bucket, key, err)
	a.ordinary(v, err, free)
	if err != nil {
		return
	}
	content := a.fresh()
	_, err = h.WriteAt(bg, []byte(content), 0)
	require.NoError(a.t, err, a.story())
	if err = h.Flush(bg); err == nil {
		err = h.Close(bg)
	}
	require.NoError(a.t, err, a.story())
	a.lost(old)
	a.published(bucket, key, content)
}

func (a *attack) renameFile(v *View, bucket, key string, old *item) {
	to := a.key()
	target := a.find(bucket, to)
	from, name, ok1 := a.dir(bucket, key)
	dir, newName, ok2 := a.dir(bucket, to)
	if !ok1 || !ok2 || old == nil || key == to {
		return
	}
	err := v.Rename(bg, from, name, dir, newName, 0)
	a.logf("rename %s/%s %s: %v", bucket, key, to, err)
	a.ordinary(v, err, bucket == "locked" || a.never(old) && (target == nil || a.never(target)))
	if err != nil {
		return
	}
	a.lost(target)
	a.lost(old)
	a.published(bucket, to, old.content)
}

// renameDir renames a directory to and fro: current versions go along, and none of them may be protected.
func (a *attack) renameDir(v *View, bucket string) {
	info, err := a.w.HeadBucket(bg, bucket)
	require.NoError(a.t, err)
	var moving []*item
	protected := false
	for _, key := range attackKeys {
		if i := a.find(bucket, key); i != nil && strings.HasPrefix(key, "d/") {
			moving = append(moving, i)
			protected = protected || a.protected(i, false)
		}
	}
	err = v.Rename(bg, info.Ino, "d", info.Ino, "e", 0)
	a.logf("rename %s/d e: %v", bucket, err)
	if err != nil {
		a.ordinary(v, err, len(moving) > 0 && !slices.ContainsFunc(moving, func(i *item) bool { return !a.never(i) }))
		return
	}
	require.False(a.t, protected, a.story())
	require.NoError(a.t, a.w.Rename(bg, info.Ino, "e", info.Ino, "d", 0), a.story())
}

func (a *attack) erase(v *View, i *item, bypass bool) {
	if i.version == "" {
		return
	}
	_, err := v.DeleteObject(bg, i.bucket, i.key, DeleteOptions{Version: i.version, Bypass: bypass})
	a.logf("erase %+v, bypass %v: %v", *i, bypass, err)
	a.ordinary(v, err, a.never(i))
	if err == nil {
		require.False(a.t, a.protected(i, bypass), a.story())
		a.forget(func(o *item) bool { return o == i })
	}
}

// lock changes retention or legal hold, and the model follows what is permitted.
func (a *attack) lock(v *View, i *item) {
	if i.version == "" {
		return
	}
	if a.rng.IntN(3) == 0 {
		on := a.rng.IntN(3) == 0
		_, err := v.SetLegalHold(bg, i.bucket, i.key, i.version, on)
		a.logf("legal hold %v of %s %s: %v", on, i.key, i.version, err)
		if err == nil {
			i.legalHold = on
		}
		return
	}
	r := Retention{LockMode(a.rng.IntN(3)), a.now().Add(time.Duration(a.rng.IntN(2000)) * time.Hour)}
	bypass := a.rng.IntN(2) == 0
	was := *i
	_, err := v.SetRetention(bg, i.bucket, i.key, i.version, r, bypass)
	a.logf("retention %v of %s %s, bypass %v: %v", r, i.key, i.version, bypass, err)
	if err != nil {
		return
	}
	if was.mode != NoRetention && was.until.After(a.now().Add(slack)) && !(bypass && was.mode == Governance) {
		require.Equal(a.t, was.mode, r.Mode, a.story())
		require.False(a.t, r.Until.Before(was.until), a.story())
	}
	i.mode, i.until = r.Mode, r.Until
	if r.Mode == NoRetention {
		i.until = time.Time{}
	}
}

func (a *attack) placeOrRelease(v *View) {
	if len(a.holds) > 0 && a.rng.IntN(3) > 0 {
		n := a.rng.IntN(len(a.holds))
		err := v.ReleaseHold(bg, a.holds[n].ID, "attack")
		a.logf("release %+v: %v", a.holds[n], err)
		if err == nil {
			require.True(a.t, v.who.Root && v.who.Tenant == 1, a.story())
			a.holds = slices.Delete(a.holds, n, n+1)
		}
		return
	}
	h := Hold{Bucket: a.bucketName(), Prefix: []string{"", "held/", "d/"}[a.rng.IntN(3)], Reason: "attack"}
	if a.rng.IntN(2) == 0 {
		h.Until = a.now().Add(time.Duration(100+a.rng.IntN(500)) * time.Hour)
	}
	h, err := v.PlaceHold(bg, h)
	a.logf("place %+v: %v", h, err)
	if v.who.Tenant == 1 && v.who.Root && err == nil {
		a.holds = append(a.holds, h)
		return
	}
	require.Error(a.t, err, a.story())
}

// timePasses lets time pass, or sets the host's clock by up to ten years either way.
func (a *attack) timePasses() {
	if a.rng.IntN(2) == 0 {
		d := time.Duration(a.rng.IntN(50)) * time.Hour
		a.clock.pass(d)
		a.logf("%v pass", d)
		return
	}
	d := time.Duration(a.rng.IntN(20*365*24)-10*365*24) * time.Hour
	a.clock.turn(d)
	a.logf("the clock is set by %v", d)
	if a.rng.IntN(2) == 0 {
		a.w.fs.Clock() // looks at it
		a.clock.turn(-d)
	}
}

// meddle tries what takes whole buckets, or their protection, and restarts.
func (a *attack) meddle(v *View) {
	bucket := a.bucketName()
	switch a.rng.IntN(4) {
	case 0:
		if len(a.items) > 0 {
			if err := v.DeleteBucket(bg, bucket); err == nil {
				require.False(a.t, slices.ContainsFunc(a.items, func(i *item) bool { return i.bucket == bucket }), a.story())
				a.makeBucket(bucket)
			}
		}
	case 1:
		require.Error(a.t, v.ChangeBucketSettings(bg, "locked", tenancy.PutBucketVersioning, func(_ BucketInfo, s tenancy.Settings) error {
			s[SettingVersioning] = []byte(VersioningSuspended)
			return nil
		}), a.story())
	case 2:
		require.NoError(a.t, a.w.kv.Sync(bg), a.story())
		a.w.cut(a.t, 0, nil)
		a.logf("restart")
	case 3:
		require.NoError(a.t, a.w.fs.Reap(bg), a.story())
	}
}

func (a *attack) makeBucket(name string) {
	require.NoError(a.t, a.w.CreateBucket(bg, name, ""), a.story())
	if name == "locked" {
		a.w.versioning(a.t, name, VersioningEnabled)
		require.NoError(a.t, a.w.ChangeLockConfig(bg, name, LockConfig{Mode: Governance, Days: 3}))
	}
}

// check reads everything that the model has.
func (a *attack) check() {
	for _, i := range a.items {
		rd, err := a.w.GetObject(bg, i.bucket, i.key, ReadOptions{Version: i.version})
		require.NoError(a.t, err, "%+v\n%s", i, a.story())
		p := make([]byte, rd.Info().Size)
		_, err = rd.ReadAt(bg, p, 0)
		require.NoError(a.t, err, a.story())
		require.NoError(a.t, rd.Close())
		require.Equal(a.t, i.content, string(p), "%+v\n%s", i, a.story())
	}
}

// The randomised attack: through both doors, by permitted and other principals, with restarts and a clock that is
// set by years either way, nothing that is protected is lost, altered or released early, and no ordinary work is
// refused. The seed of a failure, in K3FS_ATTACK_SEED, repeats it.
func TestAttack(t *testing.T) {
	seed, ops := uint64(1), attackOps
	if s := os.Getenv("K3FS_ATTACK_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	if s := os.Getenv("K3FS_ATTACK_OPS"); s != "" {
		var err error
		ops, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	t.Logf("K3FS_ATTACK_SEED=%d", seed)
	const round = 500 // operations in a world
	for n := 0; n < ops; n += round {
		s := &span{TB: t}
		clock := &hostClock{wall: time.Now()}
		a := &attack{t: t, w: newWorldWith(s, clock.options()), rng: rand.New(rand.NewPCG(seed, uint64(n))), clock: clock, began: clock.wall}
		a.makeBucket("locked")
		a.makeBucket("plain")
		for k := range min(round, ops-n) {
			a.step()
			if k%20 == 0 {
				a.check()
			}
		}
		a.check()
		head, err := a.w.AuditHead(bg, true)
		require.NoError(t, err)
		require.NotZero(t, head.Seq)
		s.end()
	}
}
