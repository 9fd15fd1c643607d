package nstest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
