package nstest

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/metastore/memkv"
	"k3fs/namespace"
)

// What the attack does to locks, holds, and the clock by which they end, and how it ends the namespace itself.

// relock notes what lock an inode has, under all its names.
func (a *attacker) relock(b *book, x *kept, change func(*namespace.ObjectLock)) {
	x.strict = x.strict && x.lock.Until.After(a.w.FS.Clock().Now) // what has passed is as if it had never been
	change(&x.lock)
	for _, y := range b.order {
		if y != x && y.ino == x.ino {
			y.lock, y.strict = x.lock, x.strict
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
		a.relock(b, x, func(l *namespace.ObjectLock) { l.Retention = to })
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
		a.relock(b, x, func(l *namespace.ObjectLock) { l.LegalHold = on })
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
	require.NoError(a.t, a.w.FS.Reap(context.Background()), a.story())
	for _, b := range a.books {
		a.scan(b, what)
	}
	a.durable = what == "restart"
	a.checkClock()
	return what
}
