package tenancy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k3fs/metastore"
	"k3fs/tenancy/keyservice"
	"k3fs/tenancy/policy"
)

// ErrExists: the name or access key is taken.
var ErrExists = errors.New("tenancy: already exists")

// ErrNoTenant: there is no tenant with that number or name.
var ErrNoTenant = errors.New("tenancy: no such tenant")

// ErrNoAccount: the tenant has no account of that name.
var ErrNoAccount = errors.New("tenancy: no such account")

// ErrInvalid: a name, access key or secret breaks the rules that its error text says.
var ErrInvalid = errors.New("tenancy: invalid argument")

// FirstTenant is the tenant that Open makes in an empty store. A node with one tenant uses only it.
const FirstTenant TenantID = 1

// RootAccount is the name of every tenant's root account.
const RootAccount = "root"

// Status is whether a tenant may act.
type Status uint8

const (
	// Active tenants act.
	Active Status = iota
	// Suspended tenants keep their data, and their access keys answer ErrSuspended.
	Suspended
)

// Tenant is an owner of buckets, apart from every other.
type Tenant struct {
	ID      TenantID
	Name    string
	Status  Status
	Epoch   uint32 // the epoch of the key that seals its new data; from 1
	Created time.Time
	Email   string // by which ACLs may name it; may be empty
}

// Options are what Open needs.
type Options struct {
	// Keys are the store's own keys, from the file of node keys. Where there is none, Master's are meant.
	Keys *NodeKeys
	// Master is the store's master key. Required without Keys.
	Master *Master
	// Service wraps the keys of tenants that are made from now on; nil: the node's keys do. Keys that it has
	// wrapped need it again.
	Service keyservice.Service
	// KeyLife is how long a key that Service unwrapped is used without asking it again. Default 10 minutes.
	KeyLife time.Duration
	// FirstTenantName names the tenant made in an empty store. Default "default".
	FirstTenantName string
	// Now is the clock that stamps records. Default time.Now.
	Now func() time.Time
}

// Validate fills in the defaults, or says what is missing.
func (o *Options) Validate() error {
	if o.Keys == nil && o.Master == nil {
		return errors.New("tenancy: Options.Keys or Options.Master is required")
	}
	if o.Keys == nil {
		o.Keys = o.Master.NodeKeys()
	}
	if o.KeyLife <= 0 {
		o.KeyLife = defaultKeyLife
	}
	if o.FirstTenantName == "" {
		o.FirstTenantName = "default"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return checkName("tenant", o.FirstTenantName)
}

// Tenancy keeps the records of identity in a metastore. It is safe for concurrent use. Its locks, in the order in which
// they are taken: rotating and changing, which are held while records are changed; and mu, which guards what is kept in memory and is
// never held across I/O.
type Tenancy struct {
	kv      metastore.Store
	now     func() time.Time
	ring    *ring
	wrap    sealer // tenant keys
	secrets sealer // S3 secrets
	decoy   [keyBytes]byte

	rotating sync.Mutex // held while the node's keys change
	keys     atomic.Pointer[NodeKeys]
	data     dataKeys

	used     sync.Map     // of access key to the minute of its last use (*atomic.Int64)
	usedKeys atomic.Int64 // how many are in it

	limits sync.Map // of TenantID to Limits

	readOnly atomic.Bool // as the record says

	sessions seenSessions

	changing sync.Mutex

	mu       sync.RWMutex
	houses   map[TenantID]*house // all tenants, as Allow decides by them
	rules    uint64              // counts changes of houses
	changes  uint64              // counts forget; a fill that began before the last one is not kept
	known    map[string]*login
	epochs   map[TenantID]uint32
	policies map[[sha256.Size]byte]*policy.Document // by bucket and text
}

// Open reads the records in kv, and makes the first tenant with its root account and key if there is
// none. A master key that is not the one of these records is ErrCorrupt.
func Open(ctx context.Context, kv metastore.Store, opts Options) (*Tenancy, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	t := &Tenancy{kv: kv, now: opts.Now, houses: map[TenantID]*house{}, ring: new(ring), decoy: opts.Keys.decoy}
	t.wrap, t.secrets = sealer{labelWrap, t.ring}, sealer{labelSecret, t.ring}
	t.setNodeKeys(opts.Keys)
	t.data.open(opts)
	t.forget()
	if err := errors.Join(t.ensureFirst(ctx, opts.FirstTenantName), t.load(ctx), t.loadLimits(ctx), t.loadReadOnly(ctx)); err != nil {
		return nil, fmt.Errorf("tenancy: open: %w", err)
	}
	return t, nil
}

// ensureFirst makes the first tenant in an empty store, and proves that its key opens.
func (t *Tenancy) ensureFirst(ctx context.Context, name string) error {
	_, err := t.Tenant(ctx, FirstTenant)
	if errors.Is(err, ErrNoTenant) {
		_, err = t.CreateTenant(ctx, name)
		if errors.Is(err, ErrExists) {
			err = fmt.Errorf("%w: the first tenant's record is gone but its name is not", ErrCorrupt)
		}
	}
	if err != nil {
		return err
	}
	epoch, err := t.epochOf(ctx, FirstTenant)
	if err != nil {
		return err
	}
	_, err = t.dataKeyOf(ctx, FirstTenant, epoch)
	if errors.Is(err, keyservice.ErrAway) { // what needs the key waits for it
		return nil
	}
	return err
}

// Tenant returns the tenant with that number, or ErrNoTenant.
func (t *Tenancy) Tenant(ctx context.Context, id TenantID) (Tenant, error) {
	var found Tenant
	err := t.kv.View(ctx, func(r metastore.Reader) (err error) {
		found, err = getTenant(r, id)
		return err
	})
	return found, err
}

// Tenants returns every tenant in the order of their numbers.
func (t *Tenancy) Tenants(ctx context.Context) ([]Tenant, error) {
	var all []Tenant
	err := t.kv.View(ctx, func(r metastore.Reader) error {
		all = nil
		return scan(r, []byte{room, 't'}, func(_, raw []byte) error {
			one, err := decodeTenant(raw)
			all = append(all, one)
			return err
		})
	})
	return all, err
}

// Root returns the principal of a tenant's root account, for doors that the host's administrator
// opens (a mount). It needs no access key.
func Root(id TenantID) Principal {
	return Principal{Tenant: id, Account: RootAccount, Root: true}
}

// forget empties the caches; every change of a record calls it when its update is over, whatever
// came of it: an update that failed to wait for durability may still stand.
func (t *Tenancy) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changes++
	t.known = make(map[string]*login)
	t.epochs = make(map[TenantID]uint32)
}

func getTenant(r metastore.Reader, id TenantID) (Tenant, error) {
	raw, err := r.Get(tenantKey(id))
	if errors.Is(err, metastore.ErrNotFound) {
		return Tenant{}, fmt.Errorf("%w: number %d", ErrNoTenant, id)
	}
	if err != nil {
		return Tenant{}, err
	}
	return decodeTenant(raw)
}

// Acts is ErrDenied if the records of a transaction say that a tenant is suspended. Allow decides from memory, which knows of that a
// moment later; and a transaction that asks conflicts with a change of it. So what a tenant makes before it is
// suspended is there for who then asks whether it has anything.
func Acts(r metastore.Reader, id TenantID) error {
	one, err := getTenant(r, id)
	switch {
	case errors.Is(err, ErrNoTenant): // of one that is gone memory has known for long that it was suspended
		return nil
	case err == nil && one.Status != Active:
		return fmt.Errorf("%w: %w", ErrDenied, ErrSuspended)
	}
	return err
}

func lastTenant(r metastore.Reader) (TenantID, error) {
	raw, err := r.Get(sequenceKey())
	if errors.Is(err, metastore.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return decodeID(raw)
}

func has(r metastore.Reader, key []byte) (bool, error) {
	_, err := r.Get(key)
	if errors.Is(err, metastore.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func orExists(err error, what string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", ErrExists, what)
}

// scan calls fn for every record whose key begins with prefix, with the rest of the key.
func scan(r metastore.Reader, prefix []byte, fn func(rest, value []byte) error) error {
	return scanFrom(r, prefix, "", func(rest, value []byte) (bool, error) { return true, fn(rest, value) })
}

// scanFrom is scan for the records after the one whose key ends in after ("": for all), until fn returns false.
func scanFrom(r metastore.Reader, prefix []byte, after string, fn func(rest, value []byte) (bool, error)) error {
	from := slices.Clone(prefix)
	if after != "" {
		from = append(append(from, after...), 0)
	}
	return r.Scan(metastore.Range{From: from, To: prefixEnd(prefix)}, func(key, value []byte) (bool, error) {
		return fn(key[len(prefix):], value)
	})
}

// prefixEnd is the first key after all those that begin with prefix.
func prefixEnd(prefix []byte) []byte {
	to := append([]byte(nil), prefix...)
	for i := len(to) - 1; i >= 0; i-- {
		if to[i]++; to[i] != 0 {
			break
		}
	}
	return to
}

// get returns the record under k, nil if there is none.
func get(r metastore.Reader, k []byte) ([]byte, error) {
	raw, err := r.Get(k)
	if errors.Is(err, metastore.ErrNotFound) {
		return nil, nil
	}
	return raw, err
}
