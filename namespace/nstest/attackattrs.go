package nstest

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/namespace"
)

// What the attack does to attributes at the mount: those that lock, those that commit, those that describe.

// lockAttribute changes the retention, or the legal hold, of a file by an extended attribute.
func (a *attacker) lockAttribute(v *namespace.View, who int, b *book) {
	x := a.version(b)
	if x == nil {
		return
	}
	ctx := context.Background()
	if a.rng.IntN(2) == 0 {
		on := a.rng.IntN(2) == 0
		a.logf("   %s %s legal hold %v", x.key, x.id, on)
		value := map[bool]string{true: "ON", false: "OFF"}[on]
		err := v.SetXattr(ctx, x.ino, "user.s3.legal-hold", []byte(value), 0)
		a.lockedByAttribute(who, b, x, permits, err, func(l *namespace.ObjectLock) { l.LegalHold = on })
		return
	}
	to, remove := a.retained(), a.rng.IntN(4) == 0
	if remove {
		to = namespace.Retention{}
	}
	a.logf("   %s %s from %+v to %+v", x.key, x.id, x.lock, to)
	want := permits
	if l := x.lock; l.Mode != namespace.NoRetention && (l.Mode != to.Mode || to.Until.Before(l.Until)) {
		want = of(l.Until.After(a.host.Now()), l.Until.After(a.w.FS.Clock().Now))
	}
	var err error
	if remove {
		err = v.RemoveXattr(ctx, x.ino, "user.s3.retention")
	} else {
		err = v.SetXattr(ctx, x.ino, "user.s3.retention", []byte(to.Mode.String()+" "+to.Until.UTC().Format(time.RFC3339)), 0)
	}
	a.lockedByAttribute(who, b, x, want, err, func(l *namespace.ObjectLock) { l.Retention = to })
}

func (a *attacker) lockedByAttribute(who int, b *book, x *kept, want verdict, err error, change func(*namespace.ObjectLock)) {
	switch {
	case b.config == nil:
		want = refuses
	case !x.current: // the mount does not change older versions
		want = refuses
		if err == nil {
			a.fail("an older version was locked through the mount")
		}
	}
	if want == refuses && err != nil {
		want = either // by whatever kind of error
	}
	a.judge(who, want, err)
	if a.durable = err == nil; a.durable {
		a.relock(b, x, change)
	}
}

// convention switches the convention of WORM file servers in a bucket.
func (a *attacker) convention(v *namespace.View, who int, b *book) {
	if b.name == "versioned" || b.name == "retained" {
		return
	}
	on := a.rng.IntN(3) > 0
	value := map[bool]string{true: "on", false: "off"}[on]
	err := v.SetXattr(context.Background(), b.dir, "user.s3.worm", []byte(value), 0)
	a.judge(who, permits, err)
	if a.durable = err == nil; a.durable {
		b.worm = on
	}
}

// commit sets a file's access time and takes its write permissions away.
func (a *attacker) commit(v *namespace.View, who int, b *book) {
	key := a.fileKey()
	x := b.current(key)
	if x == nil {
		return
	}
	want := a.committed(x)
	if !b.versioned(x) || temporary(key) {
		want = of(a.protected(b, x, false))
	}
	if a.open4(b, key) || temporary(key) && want == refuses {
		want = either
	}
	until := a.w.FS.Clock().Now.Add(a.length()).Truncate(time.Second)
	a.logf("   %s until %v, worm %v, %+v strict %v", key, until, b.worm, x.lock, x.strict)
	rw, ro := uint32(0o644), uint32(0o444)
	for _, s := range []namespace.SetAttr{{Mode: &rw}, {Atime: &until}, {Mode: &ro}} {
		_, err := v.SetAttr(context.Background(), x.ino, s)
		a.judge(who, want, err)
		if err != nil {
			return
		}
	}
	a.durable = b.worm
	if b.worm {
		a.host.mu.Lock()
		l, now := x.lock, a.host.believed.now
		a.host.mu.Unlock()
		_, lock := a.read(b, x)
		if lock == nil || lock.Mode != namespace.Compliance || lock.Until.Before(until) || l.Until.After(now) && lock.Until.Before(l.Until) {
			a.fail("committed until %v, and the lock is %+v", until, lock)
		}
		a.relock(b, x, func(l *namespace.ObjectLock) { *l = *lock })
		for _, y := range b.order {
			y.strict = y.strict || y.current && y.ino == x.ino
		}
	}
}

// describe changes user metadata in place.
func (a *attacker) describe(v *namespace.View, who int, b *book) {
	key := a.fileKey()
	x := b.current(key)
	if x == nil {
		return
	}
	want := of(a.protected(b, x, false))
	if a.open4(b, key) || temporary(key) && want == refuses {
		want = either
	}
	a.logf("   %s", key)
	err := v.SetXattr(context.Background(), x.ino, "user.s3.meta.x", []byte{'a' + byte(a.rng.IntN(26))}, 0)
	a.judge(who, want, err)
}

// chattr takes the flag from a file that a lock shows as immutable.
func (a *attacker) chattr(v *namespace.View, who int, b *book) {
	key := a.fileKey()
	x := b.current(key)
	if x == nil {
		return
	}
	want := a.committed(x)
	if !b.versioned(x) || temporary(key) {
		want = of(a.protected(b, x, false))
	}
	if a.open4(b, key) || temporary(key) && want == refuses {
		want = either
	}
	a.logf("   %s", key)
	none := namespace.Flags(0)
	_, err := v.SetAttr(context.Background(), x.ino, namespace.SetAttr{Flags: &none})
	a.judge(who, want, err)
}

// tmpfile makes a file without a name, and gives it one.
func (a *attacker) tmpfile(v *namespace.View, who int, b *book) {
	key := a.fileKey()
	dir, name, ok := a.dirOf(v, b, key)
	if !ok {
		return
	}
	ctx := context.Background()
	a.logf("   %s", key)
	_, h, err := v.Tmpfile(ctx, dir, namespace.NewNode{Mode: 0o644}, namespace.OpenFlags{Write: true})
	a.judge(who, permits, err)
	if err != nil {
		return
	}
	_, err = h.WriteAt(ctx, a.bytes(), 0)
	require.NoError(a.t, err, a.story())
	flushed := a.rng.IntN(2) == 0
	if flushed {
		require.NoError(a.t, h.Flush(ctx), a.story())
	}
	_, err = v.Link(ctx, h.Ino(), dir, name)
	a.judge(who, permits, err)
	a.judge(who, either, h.Close(ctx))
}
