package namespace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/namespace/internal/trusted"
	"k3fs/tenancy"
)

const (
	inlineMax   = 8 << 10  // a content up to this many bytes lives in the metadata
	embedMax    = 8        // slices that stay in the inode's record
	pageSpan    = 64 << 20 // bytes of a file that one page of slices covers
	reserveStep = 1 << 16  // numbers taken at a time
	reserveLow  = 1 << 12  // numbers that one update may need at most
)

// Authority decides what a principal may do, and holds the keys that seal inline data.
// *tenancy.Tenancy is one.
type Authority interface {
	chunkstore.Keyring
	Allow(p tenancy.Principal, a tenancy.Action, r tenancy.Resource) error
	// Standing reports whether p may do anything at all. What Allow has answered holds as long as rules stays.
	Standing(p tenancy.Principal) (rules uint64, err error)
}

// Options say what a namespace stands on. KV, Chunks and Authority are required.
type Options struct {
	KV        metastore.Store
	Chunks    *chunkstore.Store
	Authority Authority
	Now       func() time.Time // nil: time.Now
	Logger    *slog.Logger     // nil: slog.Default()
	Region    string           // of buckets made without one; "" means us-east-1
	Locks     LockOptions
	Keys      KeyKeeper // nil: keys never change
}

// FS is the namespace of one node.
type FS struct {
	kv     metastore.Store
	chunks *chunkstore.Store
	auth   Authority
	keys   KeyKeeper
	now    func() time.Time
	log    *slog.Logger
	region string

	numMu sync.Mutex    // held while numbers are reserved
	next  atomic.Uint64 // the next free number
	limit atomic.Uint64 // numbers below this are reserved

	rules    atomic.Uint64 // counts changes of the settings of buckets, see handle.permitted
	settings sync.Map      // of Ino: the buckets that may have settings, see settings.go

	locks    LockOptions
	clock    *trusted.Clock
	frozen   atomic.Bool   // what the clock last said
	found    chan struct{} // it was frozen, and goes on
	holding  holding
	making   sync.Map // of contentID: first contents of files whose writers have not closed them yet (protect.go)
	refusals refusals
	keeping  context.CancelFunc // ends keepLocks

	observers atomic.Pointer[[]Observer]
	obsMu     sync.Mutex // held while observers changes

	files    fileTable    // inodes with open handles
	departed departed     // inodes that were removed lately
	pasts    pastInos     // directories of older versions that a kernel may know
	atimes   atimes       // accesses that are not stored yet
	dirty    atomic.Int64 // bytes that all drafts keep in memory
	frames   frames

	gate  sync.RWMutex // read-held while a view finds and pins contents, see view
	pinMu sync.Mutex
	pins  map[contentID]int // guarded by pinMu: contents being read

	inlineKeys sync.Map // inlineKeyID to *inlineKey
	reads      *buffers // of downloads
	writes     *buffers // of uploads

	reaper  reaper
	rekeyer rekeyer
	shreds  shreds
	census  census
	quotas  quotas

	opening bool // recovery is under way: what it settles was acknowledged, whatever the quotas say now
}

// View is the namespace as one principal may use it.
type View struct {
	fs   *FS
	who  tenancy.Principal
	door Observer // changes made through this view are not told to it
}

var (
	_ Posix   = (*View)(nil)
	_ Objects = (*View)(nil)
)

// Open opens the namespace: it makes the root on first use, and runs recovery (recover.go).
func Open(ctx context.Context, o Options) (*FS, error) {
	if o.KV == nil || o.Chunks == nil || o.Authority == nil {
		return nil, errors.New("namespace: KV, Chunks and Authority are required")
	}
	fs := &FS{kv: o.KV, chunks: o.Chunks, auth: o.Authority, keys: o.Keys, now: o.Now, log: o.Logger, region: o.Region,
		pins: map[contentID]int{}, reads: newBuffers(), writes: newBuffers()}
	fs.files.init()
	fs.reaper.kick, fs.reaper.busy = make(chan struct{}, 1), make(chan struct{}, 1)
	fs.found = make(chan struct{}, 1)
	if fs.now == nil {
		fs.now = time.Now
	}
	if fs.log == nil {
		fs.log = slog.Default()
	}
	if fs.region == "" {
		fs.region = "us-east-1"
	}
	fs.locks = o.Locks.withDefaults(fs.now)
	inodes, err := fs.loadSuper(ctx)
	if err != nil {
		return nil, err
	}
	if err := fs.loadSettings(ctx); err != nil {
		return nil, fmt.Errorf("namespace: reading the settings of buckets: %w", err)
	}
	if err := fs.openClock(ctx); err != nil {
		return nil, err
	}
	if err := fs.loadHolds(ctx); err != nil {
		return nil, fmt.Errorf("namespace: reading the holds: %w", err)
	}
	if err := errors.Join(fs.ensureUsage(ctx), fs.loadQuotas(ctx)); err != nil {
		return nil, fmt.Errorf("namespace: reading usage and quotas: %w", err)
	}
	fs.opening = true
	if err := fs.kv.View(ctx, fs.loadErased); err != nil {
		return nil, fmt.Errorf("namespace: reading which tenants were erased: %w", err)
	}
	if err := fs.recover(ctx); err != nil {
		return nil, err
	}
	fs.opening = false
	ctx, fs.keeping = context.WithCancel(context.WithoutCancel(ctx))
	go fs.keepLocks(ctx)
	fs.census.start(fs, inodes)
	fs.reaper.start(fs)
	fs.rekeyer.start(fs)
	return fs, nil
}

// Close publishes what open handles have written, stops the collector and makes everything durable.
// The stores below stay open. Handles still open fail afterwards.
func (fs *FS) Close(ctx context.Context) error {
	fs.atimes.close()
	fs.keeping()
	err := errors.Join(fs.publishAll(ctx), fs.storeAtimes(ctx))
	fs.rekeyer.stop()
	fs.reaper.stop()
	err = errors.Join(err, fs.storeRefusals(ctx), fs.storeClock(ctx))
	return errors.Join(err, fs.leave(ctx), fs.kv.Sync(ctx))
}

// As returns the namespace as p may use it.
func (fs *FS) As(p tenancy.Principal) *View { return &View{fs: fs, who: p} }

// Through returns the view of a door that observes the namespace itself: it is not told of changes that
// are made through this view.
func (v *View) Through(o Observer) *View { return &View{fs: v.fs, who: v.who, door: o} }

// Observe makes o be told of changes until stop is called.
func (fs *FS) Observe(o Observer) (stop func()) {
	fs.setObservers(func(all []Observer) []Observer { return append(all, o) })
	return func() {
		fs.setObservers(func(all []Observer) []Observer {
			kept := all[:0:0]
			for _, x := range all {
				if x != o {
					kept = append(kept, x)
				}
			}
			return kept
		})
	}
}

func (fs *FS) setObservers(change func([]Observer) []Observer) {
	fs.obsMu.Lock()
	defer fs.obsMu.Unlock()
	var all []Observer
	if p := fs.observers.Load(); p != nil {
		all = append(all, *p...)
	}
	all = change(all)
	fs.observers.Store(&all)
}

// tell calls f for every observer but the door that made the change.
func (fs *FS) tell(door Observer, f func(Observer)) {
	if p := fs.observers.Load(); p != nil {
		for _, o := range *p {
			if o != door {
				f(o)
			}
		}
	}
}

// quiet reports whether there is nobody to tell of what door does.
func (fs *FS) quiet(door Observer) bool {
	quiet := true
	fs.tell(door, func(Observer) { quiet = false })
	return quiet
}

// txn is one attempt of an update.
type txn struct {
	metastore.Txn
	fs      *FS
	now     int64             // unix nanoseconds, the same for all that the update stamps
	changes []Change          // for the observers
	quiet   bool              // nobody is to be told of changes
	dropped bool              // there is work for the reaper
	left    map[Ino]*inodeRec // inodes that this attempt removes, as they were
	buried  []Ino             // what this attempt removes for good and nobody may open meanwhile
	made    int64             // inodes, less those that it removed
	locked  bool              // it changes a lock
	bypass  bool              // who asks wants to pass governance retention, and may
	debits  []debit           // what it adds to the usage of scopes
	frees   bool              // it removes something: no quota refuses that

	vacated []byte // key of the entry that it removed last

	set      tenancy.Settings // of the bucket asked for last, if setRead
	setOwner tenancy.TenantID
	setOf    Ino
	setRead  bool
}

// Set implements metastore.Txn.
func (t *txn) Set(key, value []byte) error {
	t.forgetSettings(key)
	return t.Txn.Set(key, value)
}

// Delete implements metastore.Txn.
func (t *txn) Delete(key []byte) error {
	t.forgetSettings(key)
	return t.Txn.Delete(key)
}

// forgetSettings has settings read anew once a bucket's record is written.
func (t *txn) forgetSettings(key []byte) {
	if strings.HasPrefix(string(key), kBucket) {
		t.setRead = false
	}
}

// entryChanged notes that the POSIX name in parent now means something else.
func (t *txn) entryChanged(parent Ino, name string) {
	if !t.quiet {
		t.changes = append(t.changes, Change{Parent: parent, Name: name})
	}
}

// attrChanged notes that the inode's attributes (and, with data, its bytes) changed.
func (t *txn) attrChanged(ino Ino, data bool) {
	if !t.quiet {
		t.changes = append(t.changes, Change{Ino: ino, Attr: true, Data: data})
	}
}

// update runs fn in a transaction and tells the observers what it changed. fn may run several times.
func (v *View) update(ctx context.Context, d metastore.Durability, fn func(*txn) error) error {
	return v.refused("", v.fs.update(ctx, d, v.door, fn))
}

func (fs *FS) update(ctx context.Context, d metastore.Durability, door Observer, fn func(*txn) error) error {
	return fs.updateWithin(ctx, fs.holding.fence.RLocker(), d, door, fn)
}

// updateWithin is update with fence held while fn runs and commits.
func (fs *FS) updateWithin(ctx context.Context, fence sync.Locker, d metastore.Durability, door Observer, fn func(*txn) error) error {
	if err := fs.reserve(ctx); err != nil {
		return err
	}
	var changes []Change
	var buried []Ino
	var left map[Ino]*inodeRec
	var dropped bool
	var made int64
	quiet := fs.quiet(door)
	fence.Lock()
	err := fs.kv.Update(ctx, d, func(m metastore.Txn) error {
		fs.files.unbury(buried)
		t := txn{Txn: m, fs: fs, now: fs.now().UnixNano(), quiet: quiet, frees: fs.opening}
		err := fn(&t)
		if err == nil {
			err = t.settle()
		}
		changes, buried, left, dropped, made = t.changes, t.buried, t.left, t.dropped, t.made
		if err == nil && len(changes) > 0 {
			fs.tell(door, func(o Observer) { o.Changing(changes) })
		}
		return err
	})
	fence.Unlock()
	fs.files.unbury(buried)
	if made != 0 && !undone(err) {
		fs.census.inodes.Add(made)
	}
	if err == nil {
		fs.departed.add(left)
	}
	// Also after an error: a wait for durability that was cut short leaves the commit standing.
	if len(changes) > 0 {
		fs.tell(door, func(o Observer) { o.Changed(door, changes) })
	}
	if dropped {
		fs.reaper.wake()
	}
	return err
}

// loadSuper reads the store's own record, and makes it and the root on first use.
func (fs *FS) loadSuper(ctx context.Context) (inodes int64, err error) {
	var super superRec
	err = fs.kv.Update(ctx, metastore.DurableReclaim, func(t metastore.Txn) error {
		super = superRec{}
		found, err := getRec(t, key(kSuper), &super)
		if err != nil || found && super.Inodes == 0 {
			return err
		}
		if inodes = super.Inodes; found {
			super.Inodes = 0
			return putRec(t, key(kSuper), &super)
		}
		super = superRec{Format: 1, Next: uint64(RootIno) + 1}
		now := fs.now().UnixNano()
		root := inodeRec{Type: uint8(Dir), Mode: 0o755, Nlink: 2, Expl: true, Atime: now, Mtime: now, Ctime: now, Btime: now}
		return errors.Join(putRec(t, key(kSuper), &super), putRec(t, inodeKey(RootIno), &root))
	})
	if err != nil {
		return 0, fmt.Errorf("namespace: reading the super record: %w", err)
	}
	if super.Format != 1 {
		return 0, fmt.Errorf("namespace: the store has format %d, this program knows format 1", super.Format)
	}
	fs.next.Store(super.Next)
	fs.limit.Store(super.Next)
	fs.census.inodes.Store(inodes)
	return inodes, nil
}

// leave notes what the next run would else have to find out.
func (fs *FS) leave(ctx context.Context) error {
	n := fs.census.stop()
	return fs.kv.Update(ctx, metastore.Reclaim, func(t metastore.Txn) error {
		return putRec(t, key(kSuper), &superRec{Format: 1, Next: fs.limit.Load(), Inodes: n})
	})
}

// number returns a fresh number for an inode or a content. Within an update at most reserveLow
// may be taken.
func (fs *FS) number() uint64 { return fs.next.Add(1) - 1 }

// reserve makes sure that one update finds enough numbers. Commits become durable in order, so a
// reservation is durable before anything that uses its numbers.
func (fs *FS) reserve(ctx context.Context) error {
	if fs.limit.Load()-fs.next.Load() > reserveLow<<2 {
		return nil
	}
	fs.numMu.Lock()
	defer fs.numMu.Unlock()
	if fs.limit.Load()-fs.next.Load() > reserveLow<<2 {
		return nil
	}
	limit := fs.limit.Load() + reserveStep
	err := fs.kv.Update(ctx, metastore.Reclaim, func(t metastore.Txn) error {
		return putRec(t, key(kSuper), &superRec{Format: 1, Next: limit})
	})
	if err == nil {
		fs.limit.Store(limit)
	}
	return err
}

// record is a stored value.
type record interface {
	MarshalMsg([]byte) ([]byte, error)
	UnmarshalMsg([]byte) ([]byte, error)
}

// getRec reads the record under k into r; found is false if there is none.
func getRec(t metastore.Reader, k []byte, r record) (found bool, err error) {
	b, err := t.Get(k)
	if errors.Is(err, metastore.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := r.UnmarshalMsg(b); err != nil {
		return false, fmt.Errorf("%w: record of %q: %w", metastore.ErrCorrupt, k[:2], err)
	}
	return true, nil
}

// putRec stores r under k.
func putRec(t metastore.Txn, k []byte, r record) error {
	b, err := r.MarshalMsg(nil)
	if err != nil {
		return err
	}
	return t.Set(k, b)
}

// fail makes err the *Error that a View's method returns; nil stays nil.
func fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		if e.Op == "" {
			return &Error{Op: op, Name: name, Kind: e.Kind, Err: e.Err}
		}
		return e
	}
	return &Error{Op: op, Name: name, Kind: kindOf(err), Err: err}
}

// of is an error of a kind whose operation and name fail fills in.
func of(k Kind) error { return &Error{Kind: k} }

// because is of, with the reason.
func because(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Err: fmt.Errorf(format, args...)}
}

func kindOf(err error) Kind {
	for _, m := range [...]struct {
		target error
		kind   Kind
	}{
		{tenancy.ErrDenied, Access},
		{tenancy.ErrReadOnly, ReadOnly},
		{tenancy.ErrSuspended, Access},
		{tenancy.ErrNoKey, Unavailable},
		{tenancy.ErrKeyAway, Unavailable},
		{metastore.ErrNotFound, NotFound},
		{metastore.ErrCorrupt, Corrupt},
		{chunkstore.ErrCorrupt, Corrupt},
		{tenancy.ErrCorrupt, Corrupt},
		{metastore.ErrFull, NoSpace},
		{chunkstore.ErrFull, NoSpace},
		{metastore.ErrTooBig, TooBig},
		{metastore.ErrStopped, Unavailable},
		{metastore.ErrClosed, Unavailable},
		{chunkstore.ErrStopped, Unavailable},
		{chunkstore.ErrClosed, Unavailable},
		{context.Canceled, Interrupted},
		{context.DeadlineExceeded, Interrupted},
	} {
		if errors.Is(err, m.target) {
			return m.kind
		}
	}
	return Internal
}
