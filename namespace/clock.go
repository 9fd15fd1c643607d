package namespace

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"k3fs/metastore"
	"k3fs/namespace/internal/audit"
	"k3fs/namespace/internal/trusted"
	"k3fs/tenancy"
)

// LockOptions bound what locks and holds may do, and say what time they go by. The zero value is usable.
type LockOptions struct {
	// Wall is the host's clock; nil: Options.Now.
	Wall func() time.Time
	// Boot names the boot of the host, and says how long it has run by a clock that nobody can set; nil: this run
	// counts as a boot.
	Boot func() (id string, since time.Duration)
	// MaxJump is by how much the host's clock may run ahead, in all, while the host runs; 0: 25 hours. MaxOff is
	// by how much over a restart of the host; 0: 30 days. Beyond them nothing expires until the time is confirmed.
	MaxJump, MaxOff time.Duration
	// MaxRetention is the longest that a tenant may lock data for; nil, or 0 from it, is without a bound.
	MaxRetention func(tenancy.TenantID) time.Duration
}

// floorEvery is how often the trusted clock's floor is stored.
const floorEvery = time.Minute

func (o LockOptions) withDefaults(now func() time.Time) LockOptions {
	if o.Wall == nil {
		o.Wall = now
	}
	if o.Boot == nil {
		begun, run := time.Now(), rand.Text()
		o.Boot = func() (string, time.Duration) { return run, time.Since(begun) }
	}
	if o.MaxJump == 0 {
		o.MaxJump = 25 * time.Hour
	}
	if o.MaxOff == 0 {
		o.MaxOff = 30 * 24 * time.Hour
	}
	if o.MaxRetention == nil {
		o.MaxRetention = func(tenancy.TenantID) time.Duration { return 0 }
	}
	return o
}

// ClockState is what the clock of locks shows.
type ClockState struct {
	Now    time.Time // what locks go by
	Wall   time.Time // what the host says
	Frozen bool      // the host's clock is further ahead than is believed: nothing expires until ConfirmClock
}

// trusted is the time by which locks and holds go, unix nanoseconds.
func (fs *FS) trusted() int64 {
	r := fs.clock.Read()
	if was := fs.frozen.Swap(r.Frozen); was != r.Frozen {
		if r.Frozen {
			fs.log.Error("namespace: the host's clock is further ahead than is believed: no lock and no hold expires until 'k3fs clock confirm'",
				"host", r.Wall.UTC(), "locks", stamp(r.Now).UTC())
		} else {
			fs.log.Info("namespace: the clock of locks goes on", "locks", stamp(r.Now).UTC())
			select {
			case fs.found <- struct{}{}:
			default:
			}
		}
	}
	return r.Now
}

// madeAt is for contentRec.Since and inodeRec.Since: the clock of locks, where the clock of files, which shows files,
// is not near it. It may be a minute ahead, since nothing ends early by that, and behind as two looks at one clock are.
func (fs *FS) madeAt(files int64) int64 {
	now := fs.trusted()
	if d := time.Duration(now - files); d > -time.Minute && d < time.Second {
		return 0
	}
	return now
}

// Clock shows the clock of locks.
func (fs *FS) Clock() ClockState {
	now := fs.trusted()
	return ClockState{Now: stamp(now), Wall: fs.locks.Wall(), Frozen: fs.frozen.Load()}
}

// openClock goes on from the stored floor.
func (fs *FS) openClock(ctx context.Context) error {
	source := trusted.Source{Wall: fs.locks.Wall, Boot: fs.locks.Boot}
	bounds := trusted.Bounds{Running: fs.locks.MaxJump, Restart: fs.locks.MaxOff}
	var rec clockRec
	err := fs.kv.View(ctx, func(r metastore.Reader) error {
		_, err := getRec(r, key(kClock), &rec)
		return err
	})
	if err == nil {
		fs.clock, err = trusted.New(source, bounds, rec.State)
	}
	if err != nil {
		return fmt.Errorf("namespace: reading the clock of locks: %w", err)
	}
	fs.trusted()
	return fs.storeClock(ctx)
}

// storeClock stores the floor.
func (fs *FS) storeClock(ctx context.Context) error {
	fs.trusted()
	return fs.kv.Update(ctx, metastore.Durable, func(t metastore.Txn) error {
		return putRec(t, key(kClock), &clockRec{State: fs.clock.Encode()})
	})
}

// ConfirmClock takes the host's time for the true one, as its operator says. Every tenant's audit log that has
// records says so, too.
func (v *View) ConfirmClock(ctx context.Context) (ClockState, error) {
	if err := v.fs.auth.Allow(v.who, tenancy.ConfirmClock, tenancy.Resource{}); err != nil {
		return ClockState{}, fail("confirm clock", "", err)
	}
	was := v.fs.Clock()
	v.fs.clock.Confirm()
	v.fs.trusted()
	err := v.update(context.WithoutCancel(ctx), metastore.Durable, func(t *txn) error {
		if err := putRec(t, key(kClock), &clockRec{State: t.fs.clock.Encode()}); err != nil {
			return err
		}
		logs, err := auditedTenants(t)
		if err != nil {
			return err
		}
		e := audit.Event{Event: "clock.confirm", Detail: fmt.Sprintf("from %s to %s", was.Now.UTC().Format(time.RFC3339), was.Wall.UTC().Format(time.RFC3339))}
		for _, tenant := range logs {
			if err := t.recordFor(tenant, v, e); err != nil {
				return err
			}
		}
		return nil
	})
	return v.fs.Clock(), fail("confirm clock", "", err)
}

// keepLocks stores the clock's floor now and then, and when the clock goes on after it was frozen, and the refusals that were noted, until ctx ends.
func (fs *FS) keepLocks(ctx context.Context) {
	tick := time.NewTicker(floorEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-fs.found: // what a boot is taken to begin with is found once
		}
		err := errors.Join(fs.storeClock(ctx), fs.storeRefusals(ctx))
		if err != nil && ctx.Err() == nil && !errors.Is(err, metastore.ErrStopped) && !errors.Is(err, metastore.ErrClosed) {
			fs.log.Warn("namespace: the floor of the clock of locks, or refusals, could not be stored", "err", err)
		}
	}
}
