package nstest

import (
	"context"
	"hash/maphash"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/namespace"
)

// scan reads what a bucket has, and compares. All that was protected is there, as it was.
func (a *attacker) scan(b *book, what string) {
	page, err := a.w.View.ListVersions(context.Background(), b.name, namespace.VersionsOptions{Max: 1 << 20})
	require.NoError(a.t, err, a.story())
	was := b.known
	ids := map[string]bool{}
	times := map[namespace.Ino]time.Time{}
	for _, v := range b.order {
		ids[v.id] = true
		if at, ok := times[v.ino]; !ok || v.earliest.Before(at) {
			times[v.ino] = v.earliest
		}
	}
	b.known, b.order, b.hidden = make(map[string]*kept, len(was)), b.order[:0:0], map[string]bool{}
	for i := range page.Versions {
		found := &page.Versions[i]
		if found.Marker || b.state != "" && temporary(found.Key) && (found.Version == "" || found.Version == "null") {
			b.hidden[found.Key] = found.Latest
			continue // what the mount makes for a while is no version
		}
		at := found.Key + "\x00" + found.Version
		if found.Version == "" {
			at += "null"
		}
		v := was[at]
		remade := v != nil && v.ino != found.Ino && v.id == "null" && strings.HasSuffix(v.key, "/")
		if v == nil || remade || v.etag != found.ETag || v.size != found.Size {
			if v != nil {
				a.mayLose(b, v, what, "altered")
			}
			v = a.meet(b, found, ids)
			for _, y := range was { // a directory's rename, or a link, took a committed file along
				v.strict = v.strict || y.strict && y.ino == v.ino && y.lock == v.lock
			}
			switch first, ok := times[v.ino]; {
			case ok && first.Before(v.earliest): // after a kill the clock may be behind what it showed
				v.earliest = first
			case ok:
			case !found.Latest || what == powerCut:
				v.earliest = time.Time{} // it was something else before, or is what was there before
			}
		}
		if v.ino != found.Ino {
			v.latest = a.host.Now() // the same bytes, which may have been put anew
			a.takeOver(b, v)
		}
		v.ino, v.current = found.Ino, found.Latest
		v.strict = v.strict && v.current
		b.known[at] = v
		b.order = append(b.order, v)
	}
	for at, v := range was {
		if b.known[at] == nil {
			a.mayLose(b, v, what, "lost")
		}
	}
	a.scanLinks(b, what)
}

// takeOver reads the lock of a version whose bytes are in another inode now, as when a file comes back to a key on
// which its version hangs. It is no weaker.
func (a *attacker) takeOver(b *book, v *kept) {
	was := v.lock
	v.lock = namespace.ObjectLock{}
	if _, lock := a.read(b, v); lock != nil {
		v.lock = *lock
	}
	retained := was.Mode != namespace.NoRetention && was.Until.After(a.host.Now())
	if was.LegalHold && !v.lock.LegalHold || retained && (v.lock.Mode < was.Mode || v.lock.Until.Before(was.Until)) {
		a.fail("the lock of %s/%s version %s is %+v, and was %+v", b.name, v.key, v.id, v.lock, was)
	}
}

// mayLose fails if a version that is not there as it was is protected.
func (a *attacker) mayLose(b *book, v *kept, what, how string) {
	if !v.released && (v.durable || what != powerCut) {
		if certain, _ := a.protected(b, v, false); certain {
			a.fail("protected bytes %s by %s: %s/%s version %s, %+v", how, what, b.name, v.key, v.id, v.lock)
		}
	}
}

// meet reads a version that is new.
func (a *attacker) meet(b *book, found *namespace.VersionInfo, ids map[string]bool) *kept {
	now := a.host.Now()
	v := &kept{key: found.Key, id: found.Version, ino: found.Ino, etag: found.ETag, size: found.Size, earliest: a.w.FS.Clock().Now, latest: now}
	if v.id == "" {
		v.id = "null"
	}
	var lock *namespace.ObjectLock
	v.sum, lock = a.read(b, v)
	if lock != nil {
		v.lock = *lock
	}
	if c := b.config; c != nil && c.Mode != namespace.NoRetention && v.id != "null" && found.Latest && !ids[v.id] && v.lock == (namespace.ObjectLock{}) {
		a.fail("a new version without the default retention: %s/%s version %s", b.name, v.key, v.id)
	}
	return v
}

// read reads a version.
func (a *attacker) read(b *book, v *kept) (sum uint64, lock *namespace.ObjectLock) {
	sum, lock, _ = a.readAll(b, v)
	return sum, lock
}

func (a *attacker) readAll(b *book, v *kept) (sum uint64, lock *namespace.ObjectLock, etag string) {
	ctx := context.Background()
	r, err := a.w.View.GetObject(ctx, b.name, v.key, namespace.ReadOptions{Version: v.id})
	if err != nil {
		a.fail("%s/%s version %s can't be read: %v", b.name, v.key, v.id, err)
	}
	defer r.Close()
	info := r.Info()
	p := make([]byte, info.Size)
	if _, err := r.ReadAt(ctx, p, 0); err != nil {
		a.fail("%s/%s version %s can't be read: %v", b.name, v.key, v.id, err)
	}
	return maphash.Bytes(seed, p), info.Lock, info.ETag
}

// check reads a version again: the bytes are what they were, and so is the lock.
func (a *attacker) check(b *book, v *kept) {
	sum, lock, etag := a.readAll(b, v)
	if sum != v.sum || etag != v.etag {
		a.fail("altered: %s/%s version %s of %s, was %s", b.name, v.key, v.id, etag, v.etag)
	}
	if lock == nil {
		lock = &namespace.ObjectLock{}
	}
	if lock.LegalHold != v.lock.LegalHold || lock.Mode != v.lock.Mode || !lock.Until.Equal(v.lock.Until) {
		a.fail("the lock of %s/%s version %s is %+v, was %+v", b.name, v.key, v.id, *lock, v.lock)
	}
}

// checkAll checks all versions, the holds and the audit log.
func (a *attacker) checkAll() {
	ctx := context.Background()
	for _, b := range a.books {
		for _, v := range b.order {
			a.check(b, v)
		}
	}
	holds, err := a.w.View.Holds(ctx)
	require.NoError(a.t, err, a.story())
	var want, have []string
	for _, h := range a.holds {
		want = append(want, h.ID)
	}
	for _, h := range holds {
		have = append(have, h.ID)
	}
	require.ElementsMatch(a.t, want, have, a.story())
	_, err = a.w.View.AuditHead(ctx, true)
	require.NoError(a.t, err, a.story())
	a.checkClock()
}

// checkClock: locks believe no more than they may, and the truth if the host's clock tells it.
func (a *attacker) checkClock() {
	shown := a.w.FS.Clock()
	a.host.mu.Lock()
	latest, truth, right := a.host.believed.now, a.host.truth, a.host.skew == 0
	a.host.mu.Unlock()
	if shown.Now.After(latest) {
		a.fail("locks believe that it is %v, and may not believe more than %v", shown.Now, latest)
	}
	if right && !shown.Frozen && shown.Now.Before(truth) {
		a.fail("it is %v, and locks believe %v", truth, shown.Now)
	}
}

// settled notes that all that is there is durable.
func (a *attacker) settled() {
	for _, b := range a.books {
		for _, v := range b.order {
			v.durable = true
		}
	}
}
