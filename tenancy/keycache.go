package tenancy

import (
	"context"
	"errors"
	"sync"
	"time"

	"k3fs/tenancy/keyservice"
)

const (
	defaultKeyLife = 10 * time.Minute
	// After a failure the key service is left alone for a while, which doubles from the first to the last of these.
	firstPause = 250 * time.Millisecond
	lastPause  = 15 * time.Second
)

// dataKeys keeps tenants' data keys in memory: those that the node's keys sealed for as long as they exist, those of
// the key service for life after it was last asked. Its lock, mu, is never held while a key is fetched.
type dataKeys struct {
	service keyservice.Service // nil: none
	life    time.Duration
	now     func() time.Time

	mu       sync.Mutex
	known    map[keyOf]*dataKey
	fetching map[keyOf]*fetch
	dropped  uint64 // counts drop; a fetch that began before the last one is not kept

	pause time.Duration // of the key service after its last failure; 0: it did not fail
	after time.Time     // it is not asked before this
	why   error         // what it failed with
}

// dataKey is a key in memory.
type dataKey struct {
	key     [keyBytes]byte
	fetched time.Time
	remote  bool // the key service unwrapped it, so it has a life
}

// fetch is a key on its way, for all who wait for it.
type fetch struct {
	done chan struct{}
	key  [keyBytes]byte
	err  error
}

type unwrapper func(ctx context.Context, name keyOf) (key [keyBytes]byte, remote bool, err error)

func (k *dataKeys) open(o Options) {
	k.service, k.life, k.now = o.Service, o.KeyLife, o.Now
	k.known, k.fetching = map[keyOf]*dataKey{}, map[keyOf]*fetch{}
}

// get returns a key: one in memory if that may still be used, else what unwrap gives. Callers at the same time share
// one question. While the key service rests after a failure the answer is that failure, at once.
func (k *dataKeys) get(ctx context.Context, name keyOf, unwrap unwrapper) ([keyBytes]byte, error) {
	k.mu.Lock()
	if d := k.known[name]; d != nil {
		if !d.remote || k.now().Sub(d.fetched) < k.life {
			key := d.key
			k.mu.Unlock()
			return key, nil
		}
		if err := k.resting(); err != nil {
			k.mu.Unlock()
			return [keyBytes]byte{}, err
		}
	}
	f := k.fetching[name]
	if f == nil {
		f = k.fetch(ctx, name, unwrap)
	}
	k.mu.Unlock()
	select {
	case <-f.done:
		return f.key, f.err
	case <-ctx.Done():
		return [keyBytes]byte{}, ctx.Err()
	}
}

// resting is the last failure of the key service while it is left alone. k.mu must be held.
func (k *dataKeys) resting() error {
	if k.pause > 0 && k.now().Before(k.after) {
		return k.why
	}
	return nil
}

// fetch begins to fetch a key. k.mu must be held.
func (k *dataKeys) fetch(ctx context.Context, name keyOf, unwrap unwrapper) *fetch {
	f := &fetch{done: make(chan struct{})}
	k.fetching[name] = f
	dropped := k.dropped
	ctx = context.WithoutCancel(ctx)
	go func() {
		key, remote, err := unwrap(ctx, name)
		k.mu.Lock()
		defer k.mu.Unlock()
		defer close(f.done)
		f.key, f.err = key, err
		delete(k.fetching, name)
		if remote {
			k.rest(err)
		}
		if err == nil && k.dropped == dropped {
			k.known[name] = &dataKey{key: key, fetched: k.now(), remote: remote}
		}
	}()
	return f
}

// rest leaves the key service alone after a failure. k.mu must be held.
func (k *dataKeys) rest(err error) {
	if err == nil {
		k.pause, k.why = 0, nil
		return
	}
	k.pause = min(max(2*k.pause, firstPause), lastPause)
	k.after, k.why = k.now().Add(k.pause), err
}

// drop forgets the keys that match; a fetch under way is not kept.
func (k *dataKeys) drop(match func(keyOf) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropped++
	for name, d := range k.known {
		if match(name) {
			clear(d.key[:])
			delete(k.known, name)
		}
	}
}

// due are the keys whose life is half over, and over those whose life has ended, which it takes out of memory.
func (k *dataKeys) due() (due []keyOf, over []TenantID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, d := range k.known {
		switch age := k.now().Sub(d.fetched); {
		case !d.remote || age < k.life/2:
		case age >= k.life:
			clear(d.key[:])
			delete(k.known, name)
			over = append(over, name.tenant)
		case k.resting() == nil && k.fetching[name] == nil:
			due = append(due, name)
		}
	}
	return due, over
}

// KeepKeys asks the key service for the keys in use again before their lives end, and calls forget for the tenants one
// of whose keys has ended its life without: what comes from that key must go out of other caches too. It returns when
// ctx ends; without a key service, at once.
func (t *Tenancy) KeepKeys(ctx context.Context, forget func(TenantID)) {
	if t.data.service == nil {
		return
	}
	tick := time.NewTicker(min(max(t.data.life/20, 10*time.Millisecond), time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due, over := t.data.due()
		for _, tenant := range over {
			forget(tenant)
		}
		for _, name := range due {
			t.data.mu.Lock()
			f := t.data.fetching[name]
			if f == nil {
				f = t.data.fetch(ctx, name, t.unwrap)
			}
			t.data.mu.Unlock()
			select {
			case <-f.done:
			case <-ctx.Done():
				return
			}
		}
	}
}

// KeyService reports the key service's name and, if it is not well, why; "" if there is none.
func (t *Tenancy) KeyService(ctx context.Context) (name string, err error) {
	if t.data.service == nil {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, serviceTime)
	defer cancel()
	return t.data.service.Name(), keyservice.Health(ctx, t.data.service)
}

// serviceLock is a key service as the lock of the node keys.
type serviceLock struct {
	service keyservice.Service
}

// ServiceLock makes a key service the lock of the node keys: it wraps a key for each time the file is written.
func ServiceLock(s keyservice.Service) Lock { return serviceLock{s} }

var nodeContext = keyservice.Context{keyservice.ContextTenant: "node"}

// Name implements Lock.
func (l serviceLock) Name() string { return "key service " + l.service.Name() }

// Seal implements Lock.
func (l serviceLock) Seal(ctx context.Context, plain []byte) ([]byte, error) {
	m, err := NewMaster()
	if err != nil {
		return nil, err
	}
	defer clear(m.key[:])
	ctx, cancel := context.WithTimeout(ctx, serviceTime)
	defer cancel()
	wrapped, err := l.service.Wrap(ctx, m.key[:], nodeContext)
	if err != nil {
		return nil, err
	}
	sealed, err := m.Seal(ctx, plain)
	e := newEncoder()
	e.bytes(wrapped)
	e.bytes(sealed)
	return *e, err
}

// Open implements Lock.
func (l serviceLock) Open(ctx context.Context, raw []byte) ([]byte, error) {
	d := newDecoder(raw)
	wrapped, sealed := d.bytes(), d.bytes()
	if err := d.end("node keys of the key service"); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, serviceTime)
	defer cancel()
	key, err := l.service.Unwrap(ctx, wrapped, nodeContext)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	if len(key) != keyBytes {
		return nil, errors.New("the key service returned no key of ours")
	}
	m := &Master{[keyBytes]byte(key)}
	defer clear(m.key[:])
	return m.Open(ctx, sealed)
}
