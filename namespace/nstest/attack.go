package nstest

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
	"k3fs/metastore/memkv"
	"k3fs/namespace"
	"k3fs/tenancy"
)

// AttackOptions bound an attack.
type AttackOptions struct {
	Seed uint64
	Ops  int

	authority namespace.Authority // nil: what decides as tenancy does
	believe   time.Duration       // how far the namespace follows the host's clock; 0: as it is documented
}

// The principals of an attack: the root account and another of the tenant that owns all, another tenant's root, and an
// account of the first tenant that may only read.
var principals = []tenancy.Principal{Root, {Tenant: tenancy.FirstTenant, Account: "plain"}, {Tenant: 2, Account: tenancy.RootAccount, Root: true},
	{Tenant: tenancy.FirstTenant, Account: reader}}

const (
	root = iota
	plain
	stranger
	onlyReads
)

// unpermitted reports whether nothing that a principal does may change anything.
func unpermitted(who int) bool { return who == stranger || who == onlyReads }

// noBypass is the policy by which the tenant's other account may not pass governance retention in a bucket.
const noBypass = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::000000000001:user/plain"},
"Action":"s3:BypassGovernanceRetention","Resource":"arn:aws:s3:::%s/*"}]}`

// kept is a version, as the attack knows it.
type kept struct {
	key, id          string
	ino              namespace.Ino
	current          bool
	etag             string
	sum              uint64 // of the bytes
	size             int64
	lock             namespace.ObjectLock // what was acknowledged, or found when it was new
	earliest, latest time.Time            // bounds of when it was published
	durable          bool                 // a power cut leaves it
	released         bool                 // who may passed its governance
	strict           bool                 // committed through the mount: its name stays, too
}

// book is what the attack knows of a bucket.
type book struct {
	name   string
	dir    namespace.Ino
	worm   bool             // files can be committed
	links  map[string]*link // symbolic links, by key
	hidden map[string]bool  // keys under which the mount has what is no version
	state  string           // of versioning
	config *namespace.LockConfig
	known  map[string]*kept // by key, NUL, id
	order  []*kept          // as listed
}

func (b *book) current(key string) *kept {
	i := slices.IndexFunc(b.order, func(v *kept) bool { return v.current && v.key == key })
	if i < 0 {
		return nil
	}
	return b.order[i]
}

func (b *book) null(key string) *kept { return b.known[key+"\x00null"] }

// versioned reports whether an inode of that id is kept when it is overwritten.
func (b *book) versioned(v *kept) bool {
	return b.state == namespace.VersioningEnabled || b.state != "" && v.id != "null"
}

// attacker runs operations and knows what has to be there.
type attacker struct {
	t       testing.TB
	rng     *rand.Rand
	o       AttackOptions
	w       *World
	host    *host
	books   []*book
	holds   []namespace.Hold
	handles []*opened
	uploads []upload
	log     []string
	refused int
	done    int
	durable bool      // what was done is durable
	shown   time.Time // the latest that the clock of locks has shown
}

// opened is an open file.
type opened struct {
	h namespace.FileHandle
	b *book
}

// upload is a multipart upload in progress.
type upload struct {
	b       *book
	key, id string
	lock    *namespace.ObjectLock // that was asked for
}

// AttackReport counts what an attack did.
type AttackReport struct{ Done, Refused, Versions int }

// Attack does random operations through both doors, as principals that may and may not, with restarts, kills, power
// cuts and changes of the clock, and compares what is there with its own account of what is protected: bytes that
// are, are there unchanged; nothing is released early; nothing that the rule permits is refused.
func Attack(t testing.TB, o AttackOptions) AttackReport {
	a := &attacker{t: t, rng: rand.New(rand.NewPCG(o.Seed, 3)), o: o, host: newHost()}
	a.logf("seed %d", o.Seed)
	var err error
	a.w, err = a.open(storetest.NewCrashFS(), memkv.New(memkv.Options{}), &Authority{})
	require.NoError(t, err)
	a.begin()
	for a.done < o.Ops {
		a.step()
		a.done++
		if a.done%500 == 0 {
			a.checkAll()
		}
	}
	a.closeHandles()
	for _, b := range a.books {
		a.scan(b, "the end")
	}
	a.checkAll()
	versions := 0
	for _, b := range a.books {
		versions += len(b.order)
	}
	require.NoError(t, a.w.Close(), a.story())
	return AttackReport{a.done, a.refused, versions}
}

func (a *attacker) open(disk *storetest.CrashFS, state *memkv.Store, keys *Authority) (*World, error) {
	o := namespace.Options{Authority: keys, Now: a.host.Wall, Locks: namespace.LockOptions{Boot: a.host.Boot, MaxJump: a.o.believe, MaxOff: a.o.believe}}
	if a.o.authority != nil {
		o.Authority = a.o.authority
	}
	return openOptions(disk, state, keys, func(s *chunkstore.Store) func(context.Context) error { return s.Sync }, o)
}

// begin makes the buckets: one that keeps nothing, one that keeps versions, two that lock them.
func (a *attacker) begin() {
	ctx := context.Background()
	for _, name := range []string{"plain", "versioned", "locked", "retained"} {
		b := &book{name: name, known: map[string]*kept{}, links: map[string]*link{}}
		require.NoError(a.t, a.w.View.CreateBucket(ctx, name, ""))
		at, err := a.w.View.Lookup(ctx, namespace.RootIno, name)
		require.NoError(a.t, err)
		b.dir = at.Ino
		a.books = append(a.books, b)
		if name == "plain" {
			continue
		}
		require.NoError(a.t, a.setVersioning(a.w.View, b, namespace.VersioningEnabled))
		b.state = namespace.VersioningEnabled
		if name == "locked" || name == "retained" {
			b.config = &namespace.LockConfig{}
			if name == "retained" {
				b.config = &namespace.LockConfig{Mode: namespace.Governance, Days: 1}
			}
			require.NoError(a.t, a.w.View.ChangeLockConfig(ctx, name, *b.config))
			require.NoError(a.t, a.w.View.ChangeBucketSettings(ctx, name, tenancy.PutBucketPolicy, func(_ namespace.BucketInfo, s tenancy.Settings) error {
				s[tenancy.SettingPolicy] = []byte(fmt.Sprintf(noBypass, name))
				return nil
			}))
		}
	}
}

func (a *attacker) setVersioning(v *namespace.View, b *book, state string) error {
	return v.ChangeBucketSettings(context.Background(), b.name, tenancy.PutBucketVersioning, func(_ namespace.BucketInfo, s tenancy.Settings) error {
		s[namespace.SettingVersioning] = []byte(state)
		return nil
	})
}

func (a *attacker) logf(format string, args ...any) {
	a.log = append(a.log, fmt.Sprintf(format, args...))
	if len(a.log) > 4000 {
		a.log = a.log[2000:]
	}
}

// story is what was done last.
func (a *attacker) story() string {
	return fmt.Sprintf("seed %d, operation %d:\n%s", a.o.Seed, a.done, strings.Join(a.log[max(0, len(a.log)-250):], "\n"))
}

// temporary reports whether the mount makes no versions of the key.
func temporary(key string) bool { return path.Ext(key) == ".tmp" }

// protected says whether a version is protected: certainly, by the attack's own clock, and possibly, by the one that
// the namespace shows, or for another of the file's names.
func (a *attacker) protected(b *book, v *kept, bypass bool) (certain, possible bool) {
	if v == nil {
		return false, false
	}
	latest, shown := a.host.Now(), a.w.FS.Clock().Now
	hollow := v.id == "null" && strings.HasSuffix(v.key, "/") // it may be a directory that was only made
	ask := func(v *kept) (certain, possible bool) {
		if v.lock.LegalHold {
			return true, true
		}
		if v.lock.Mode != namespace.NoRetention && !(bypass && v.lock.Mode == namespace.Governance) {
			certain, possible = v.lock.Until.After(latest), v.lock.Until.After(shown)
		}
		for _, h := range a.holds {
			if h.Bucket != "" && h.Bucket != b.name || !strings.HasPrefix(v.key, h.Prefix) {
				continue
			}
			from, to := h.Until, h.Until
			if h.Period > 0 {
				from, to = v.earliest.Add(h.Period), v.latest.Add(h.Period)
			}
			endless := h.Period == 0 && h.Until.IsZero()
			// Where the null version moves between keys, nobody knows when it was published.
			moved := h.Period > 0 && b.state == namespace.VersioningSuspended && v.id == "null"
			// A directory that was only made is dated by the clock of files, for want of a content.
			possible = possible || endless || moved || hollow && h.Period > 0 || to.After(shown)
			if hollow {
				continue
			}
			certain = certain || endless || from.After(latest)
		}
		return certain, possible
	}
	certain, possible = ask(v)
	if v.current {
		for _, other := range b.order {
			if other.current && other.ino == v.ino && other != v {
				_, also := ask(other)
				possible = possible || also
			}
		}
	}
	return certain, possible
}

// verdict is what the rule says of an operation.
type verdict int

const (
	either verdict = iota // the account does not know
	permits
	refuses
)

func of(certain, possible bool) verdict {
	switch {
	case certain:
		return refuses
	case possible:
		return either
	}
	return permits
}

// and is the verdict of an operation that does two things.
func (v verdict) and(o verdict) verdict {
	switch {
	case v == refuses || o == refuses:
		return refuses
	case v == either || o == either:
		return either
	}
	return permits
}

// committed is the verdict of what a file that was committed through the mount does not suffer, wherever it is.
func (a *attacker) committed(v *kept) verdict {
	if v == nil || !v.strict {
		return permits
	}
	return of(v.lock.Until.After(a.host.Now()), v.lock.Until.After(a.w.FS.Clock().Now))
}

// replace is the verdict of giving a key another content, or none.
func (a *attacker) replace(b *book, key string) verdict {
	return a.replaceVersion(b, key).and(a.committed(b.current(key)))
}

func (a *attacker) replaceVersion(b *book, key string) verdict {
	if v := b.current(key); v != nil && v.id == "null" && strings.HasSuffix(key, "/") {
		if _, possible := a.protected(b, v, false); possible {
			return either
		}
	}
	switch now := b.current(key); {
	case b.hidden[key] && b.config == nil && len(a.holds) > 0:
		return either // another of its names may be held
	case b.state == namespace.VersioningEnabled && (now == nil || now.id != "null" || !temporary(key)):
		return permits
	case b.state == "":
		return of(a.protected(b, now, false))
	case temporary(key):
		if _, possible := a.protected(b, b.null(key), false); possible {
			return either
		}
		return permits
	}
	return of(a.protected(b, b.null(key), false))
}

// judge compares the answer to an operation with the verdict.
func (a *attacker) judge(who int, want verdict, err error) {
	var e *namespace.Error
	kind := namespace.Internal
	if errors.As(err, &e) {
		kind = e.Kind
	}
	no := kind == namespace.NotPermitted || kind == namespace.Access || kind == namespace.NoVersioning
	a.logf("   %v", err)
	if err != nil && no {
		a.refused++
	}
	// After a kill the clock goes on from a floor that is stored once a minute: what is protected is so for longer.
	now := a.w.FS.Clock().Now
	back := now.Before(a.shown)
	if !back {
		a.shown = now
	}
	switch {
	case err != nil && (kind == namespace.Internal || kind == namespace.Corrupt || kind == namespace.Unavailable || kind == namespace.Stale):
		a.fail("broken: %v", err)
	case unpermitted(who) && err == nil:
		a.fail("another tenant, or one who may only read, was permitted it")
	case unpermitted(who):
	case want == refuses && err == nil:
		a.fail("permitted what the rule refuses")
	case want == permits && no && back:
	case want == permits && no:
		a.fail("refused what the rule permits: %v", err)
	}
}

func (a *attacker) fail(format string, args ...any) {
	a.logf("truth %v, at the latest %v, shown %+v", a.host.truth, a.host.now, a.w.FS.Clock())
	story := []string{a.story()}
	for _, h := range a.holds {
		story = append(story, fmt.Sprintf("hold %+v", h))
	}
	for _, b := range a.books {
		for _, v := range b.order {
			story = append(story, fmt.Sprintf("%s %q %+v", b.name, b.state, *v))
		}
	}
	require.FailNow(a.t, fmt.Sprintf(format, args...), strings.Join(story, "\n"))
}

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
