package namespace

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
	"k3fs/tenancy"
)

// A tenant's key changes while everything goes on. Two epochs are live then: new data are sealed under the new one,
// and everything of the tenant's that is sealed under an older one is sealed anew, in its place (chunkstore.Rekey), so
// that no content, version or lock has to do with it. That a tenant has more than one key is the note by which a
// start goes on with what a crash cut short. An older key is destroyed when nothing is left under it.

// KeyKeeper keeps the keys of tenants. *tenancy.Tenancy is one.
type KeyKeeper interface {
	NextKey(ctx context.Context, tenant tenancy.TenantID) (tenancy.NewKey, error)
	InstallKey(t metastore.Txn, k tenancy.NewKey) error
	KeyEpochs(r metastore.Reader, tenant tenancy.TenantID) ([]uint32, error)
	DropKey(t metastore.Txn, tenant tenancy.TenantID, epoch uint32) error
	DestroyKeys(t metastore.Txn, tenant tenancy.TenantID) error
	KeysChanged(tenant tenancy.TenantID)
	Tenants(ctx context.Context) ([]tenancy.Tenant, error)
}

// KeyState is how far a tenant's change of keys is.
type KeyState struct {
	Epoch uint32   // its key seals new data; 0: the tenant's keys were destroyed
	Older []uint32 // under whose keys there may be data; none: no change is under way

	Frames, Bytes, Damaged int64 // sealed anew by this run of the daemon; packages that were damaged before
	Inline                 int64 // small contents sealed anew
	Segments, Of           int   // looked at, in this pass
	Trouble                string
}

// Busy reports whether a change of keys is under way.
func (s KeyState) Busy() bool { return len(s.Older) > 0 }

const (
	rekeyBatch = 64 // small contents in one update: of at most inlineMax bytes each, that is half of what fits
	rekeyRetry = 5 * time.Second
)

// rekeyer seals anew what is under older keys, one tenant after the other.
type rekeyer struct {
	kick   chan struct{} // of one element
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	state map[tenancy.TenantID]KeyState // what this run did; Epoch and Older are not kept
}

func (r *rekeyer) start(fs *FS) {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done, r.kick = cancel, make(chan struct{}), make(chan struct{}, 1)
	r.state = map[tenancy.TenantID]KeyState{}
	go func() {
		defer close(r.done)
		if fs.keys != nil {
			r.run(ctx, fs)
		}
	}()
	r.wake()
}

func (r *rekeyer) stop() {
	r.cancel()
	<-r.done
}

func (r *rekeyer) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

func (r *rekeyer) run(ctx context.Context, fs *FS) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.kick:
		}
		err := fs.rekeyAll(ctx)
		if ctx.Err() != nil || errors.Is(err, metastore.ErrStopped) || errors.Is(err, metastore.ErrClosed) || errors.Is(err, chunkstore.ErrStopped) {
			return
		}
		if err != nil {
			fs.log.Warn("namespace: a change of keys is held up, and goes on later", "err", err)
			if !sleep(ctx, rekeyRetry) {
				return
			}
			r.wake()
		}
	}
}

// note changes what is known of a tenant.
func (r *rekeyer) note(tenant tenancy.TenantID, change func(*KeyState)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state[tenant]
	change(&s)
	r.state[tenant] = s
}

// RotateKey gives the view's tenant a new key, durably, and begins to seal its data anew. It does not wait for the end
// of that, which KeyState tells. Busy: the last change is not over.
func (v *View) RotateKey(ctx context.Context) (s KeyState, err error) {
	if err = v.fs.auth.Allow(v.who, tenancy.RotateTenantKey, tenancy.Resource{Owner: v.who.Tenant}); err == nil {
		err = v.rotateKey(context.WithoutCancel(ctx))
	}
	if err != nil {
		return s, fail("rotate key", "", err)
	}
	s, err = v.fs.keyState(ctx, v.who.Tenant)
	return s, fail("rotate key", "", err)
}

func (v *View) rotateKey(ctx context.Context) error {
	fs, tenant := v.fs, v.who.Tenant
	if fs.keys == nil {
		return of(Unsupported)
	}
	next, err := fs.keys.NextKey(ctx, tenant)
	if err != nil {
		return err
	}
	err = v.update(ctx, metastore.Durable, func(t *txn) error {
		epochs, err := fs.keys.KeyEpochs(t, tenant)
		if err != nil {
			return err
		}
		if len(epochs) != 1 {
			return because(Busy, "the tenant has %d keys: the last change of its key is not over", len(epochs))
		}
		if err := fs.keys.InstallKey(t, next); err != nil {
			return err
		}
		return t.record(v, audit.Event{Event: "key.rotate", Count: int(next.Epoch), Detail: "a new key of the tenant is in force"})
	})
	fs.keys.KeysChanged(tenant)
	if errors.Is(err, tenancy.ErrKeyChanged) {
		err = &Error{Kind: Busy, Err: err}
	}
	if err == nil {
		fs.rekeyer.wake()
	}
	return err
}

// NoteNodeKeys puts what was done about the node's own keys into the first tenant's audit log, durably. It takes the
// permission to do it.
func (v *View) NoteNodeKeys(ctx context.Context, event, detail string) error {
	return fail("rotate node keys", "", v.noteNode(ctx, tenancy.RotateNodeKeys, event, detail))
}

// KeyState tells which keys the view's tenant has, and how far a change of them is.
func (v *View) KeyState(ctx context.Context) (s KeyState, err error) {
	if err = v.fs.auth.Allow(v.who, tenancy.RotateTenantKey, tenancy.Resource{Owner: v.who.Tenant}); err == nil {
		s, err = v.fs.keyState(ctx, v.who.Tenant)
	}
	return s, fail("key state", "", err)
}

func (fs *FS) keyState(ctx context.Context, tenant tenancy.TenantID) (s KeyState, err error) {
	if fs.keys == nil {
		return s, of(Unsupported)
	}
	fs.rekeyer.mu.Lock()
	s = fs.rekeyer.state[tenant]
	fs.rekeyer.mu.Unlock()
	err = fs.kv.View(ctx, func(r metastore.Reader) error {
		s.Epoch, s.Older = 0, nil
		epochs, err := fs.keys.KeyEpochs(r, tenant)
		if n := len(epochs) - 1; n >= 0 {
			s.Epoch, s.Older = epochs[n], epochs[:n]
		}
		return err
	})
	return s, err
}

// rekeyAll finishes the changes of keys of all tenants.
func (fs *FS) rekeyAll(ctx context.Context) error {
	tenants, err := fs.keys.Tenants(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, one := range tenants {
		s, err := fs.keyState(ctx, one.ID)
		if err == nil && !s.Busy() {
			continue
		}
		if err == nil {
			err = fs.rekey(ctx, one.ID, s.Older)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		fs.rekeyer.note(one.ID, func(s *KeyState) {
			if s.Trouble = ""; err != nil {
				s.Trouble = err.Error()
			}
		})
		failed = errors.Join(failed, err)
	}
	return errors.Join(failed, fs.wipeAll(ctx))
}

// rekey seals everything of a tenant under its newest key, and destroys the older ones.
func (fs *FS) rekey(ctx context.Context, tenant tenancy.TenantID, older []uint32) error {
	fs.settle() // who has chosen an older key has used it
	d := domain(tenant)
	var before KeyState
	fs.rekeyer.note(tenant, func(s *KeyState) { before = *s })
	progress := func(done chunkstore.Rekeyed) {
		fs.rekeyer.note(tenant, func(s *KeyState) {
			s.Frames, s.Bytes, s.Damaged = before.Frames+done.Frames, before.Bytes+done.Bytes, before.Damaged+done.Damaged
			s.Segments, s.Of = done.Segments, done.Of
		})
	}
	if _, err := fs.chunks.Rekey(ctx, d, chunkstore.RekeyOptions{Pace: paced(), Progress: progress}); err != nil {
		return err
	}
	for damaged := map[string]bool{}; ; {
		n, err := fs.rekeyInline(ctx, d, damaged)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	// The head of the audit log, which the key authenticates, goes with the end of the change, in one update; what
	// reads the store as it was before has ended by then.
	fs.settle()
	err := fs.update(ctx, metastore.DurableReclaim, nil, func(t *txn) error {
		for _, epoch := range older {
			if err := fs.keys.DropKey(t, tenant, epoch); err != nil {
				return err
			}
		}
		if tenant == tenancy.FirstTenant {
			if err := t.renewErased(); err != nil {
				return err
			}
		}
		return t.recordOf(tenant, audit.Event{Event: "key.rotated", Detail: "nothing is left under the older keys, which are destroyed"})
	})
	fs.keys.KeysChanged(tenant)
	fs.chunks.Forget(d)
	if err == nil {
		fs.log.Info("namespace: a tenant's key was changed", "tenant", tenant, "older", older)
	}
	return err
}

// renewErased makes the heads of erased tenants' logs, for which the first tenant's key vouches, its newest's.
func (t *txn) renewErased() (err error) {
	t.fs.shreds.gone.Range(func(tenant, _ any) bool {
		var log *audit.Log
		if log, err = t.fs.auditLog(tenant.(tenancy.TenantID)); err == nil {
			err = log.Renew(t)
		}
		return err == nil
	})
	return err
}

// settle waits for the updates and views that are under way.
func (fs *FS) settle() {
	fs.holding.fence.Lock()
	//lint:ignore SA2001 to wait is all
	fs.holding.fence.Unlock()
	fs.gate.Lock()
	//lint:ignore SA2001 to wait is all
	fs.gate.Unlock()
}

// paced leaves as much time to others as each batch takes.
func paced() func(context.Context, int64) error {
	var last time.Time
	return func(ctx context.Context, _ int64) error {
		if !last.IsZero() && !sleep(ctx, min(time.Since(last), time.Second)) {
			return ctx.Err()
		}
		last = time.Now()
		return nil
	}
}

// recordOf adds an event that nobody asked for now to a tenant's log.
func (t *txn) recordOf(tenant tenancy.TenantID, e audit.Event) error {
	log, err := t.fs.auditLog(tenant)
	if err != nil {
		return err
	}
	t.fs.stampEvent(&e)
	return log.Append(t, e)
}

// rekeyInline seals the small contents of a domain under its current key, and returns how many were not. Those that
// are damaged it leaves, and notes.
func (fs *FS) rekeyInline(ctx context.Context, d chunkstore.Domain, damaged map[string]bool) (n int64, err error) {
	pace := paced()
	for from := []byte(kContent); from != nil; {
		var stale [][]byte
		if stale, from, err = fs.staleInline(ctx, d, from); err != nil {
			return n, err
		}
		stale = slices.DeleteFunc(stale, func(k []byte) bool { return damaged[string(k)] })
		if len(stale) == 0 {
			continue
		}
		if err := pace(ctx, 0); err != nil {
			return n, err
		}
		err := fs.kv.Update(ctx, metastore.Reclaim, func(t metastore.Txn) error { return fs.resealInline(t, d, stale, damaged) })
		if err != nil {
			return n, err
		}
		n += int64(len(stale))
		fs.rekeyer.note(tenancy.TenantID(d), func(s *KeyState) { s.Inline += int64(len(stale)) })
	}
	return n, nil
}

// staleInline finds the keys of small contents that are under another key than the current one, from a key on, and
// where to go on; nil at the end.
func (fs *FS) staleInline(ctx context.Context, d chunkstore.Domain, from []byte) (stale [][]byte, next []byte, err error) {
	epoch, err := fs.auth.Current(d)
	if err != nil {
		return nil, nil, err
	}
	const page = 1024
	err = fs.kv.View(ctx, func(r metastore.Reader) error {
		stale, next = nil, nil
		seen := 0
		return r.Scan(metastore.Range{From: from, To: prefixEnd([]byte(kContent)), Page: page}, func(k, value []byte) (bool, error) {
			if seen++; seen > page || len(stale) == rekeyBatch {
				next = bytes.Clone(k)
				return false, ctx.Err()
			}
			if id, ok := inlineSealedBy(k, value); ok && id.d == d && id.epoch != epoch {
				stale = append(stale, bytes.Clone(k))
			}
			return true, nil
		})
	})
	return stale, next, err
}

// inlineSealedBy tells inline bytes from pages of slices, whose first byte is that of a map, and by which key they are
// sealed: a domain's first byte is 0.
func inlineSealedBy(k, value []byte) (inlineKeyID, bool) {
	page, err := parsePageKey(k)
	if err != nil || page.slot != 0 || page.sub != 0 || len(value) < inlineHeader || value[0] != 0 {
		return inlineKeyID{}, false
	}
	return inlineKeyID{chunkstore.Domain(binary.BigEndian.Uint64(value)), binary.BigEndian.Uint32(value[8:])}, true
}

func (fs *FS) resealInline(t metastore.Txn, d chunkstore.Domain, keys [][]byte, damaged map[string]bool) error {
	for _, k := range keys {
		sealed, err := t.Get(k)
		if errors.Is(err, metastore.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		id := contentID(binary.BigEndian.Uint64(k[len(kContent):]))
		plain, err := fs.openInline(id, sealed)
		if errors.Is(err, metastore.ErrCorrupt) { // nobody can read it, under whatever key
			damaged[string(k)] = true
			fs.log.Error("namespace: a small content is damaged; run k3fs fsck", "content", id)
			continue
		}
		if err != nil {
			return err
		}
		fresh, err := fs.sealInline(d, id, plain)
		clear(plain)
		if err != nil {
			return err
		}
		if err := t.Set(k, fresh); err != nil {
			return err
		}
	}
	return nil
}
