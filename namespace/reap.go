package namespace

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"k3fs/metastore"
)

const (
	reapBatch  = 256                   // orphans looked at in one go
	reapDelay  = 20 * time.Millisecond // from the first drop, so that those that follow share the work
	reapRetry  = 5 * time.Second       // after a failure
	reapHourly = time.Hour             // between looks at what only gets old
)

// reaper collects in the background what nothing refers to any more (collect.go). An orphan is taken once its record
// is durable and no reader pins it: first the extents that nothing else refers to are punched, then one update forgets
// the orphan and its references. A crash in between repeats the work, which does no harm, since an extent of
// an orphan can gain no references: what copies it pins its source until the copy is committed.
type reaper struct {
	kick   chan struct{} // of one element
	cancel context.CancelFunc
	done   chan struct{}
	pinned atomic.Bool // one was passed over because it is being read; who ends that wakes the reaper

	busy   chan struct{}      // of one element, which is there while lock is held
	broken map[contentID]bool // guarded by lock
}

// lock waits until nobody collects, nor keeps others from it, as a backup does for long. unlock ends it.
func (r *reaper) lock(ctx context.Context) error {
	select {
	case r.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *reaper) unlock() { <-r.busy }

func (r *reaper) start(fs *FS) {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan struct{})
	go func() {
		defer close(r.done)
		r.run(ctx, fs)
	}()
	r.wake()
}

func (r *reaper) stop() {
	r.cancel()
	<-r.done
}

// wake tells the reaper that there may be work.
func (r *reaper) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// unpinned tells it that a content is read no more.
func (r *reaper) unpinned() {
	if r.pinned.Swap(false) {
		r.wake()
	}
}

func (r *reaper) run(ctx context.Context, fs *FS) {
	old := time.NewTicker(reapHourly)
	defer old.Stop()
	for delay := reapDelay; ; {
		select {
		case <-ctx.Done():
			return
		case <-old.C:
			if err := fs.forgetDone(ctx); err != nil {
				fs.log.Warn("namespace: forgetting finished uploads failed", "err", err)
			}
			continue
		case <-r.kick:
		}
		if !sleep(ctx, delay) {
			return
		}
		delay = reapDelay
		err := fs.reap(ctx, true)
		if stopped := errors.Is(err, metastore.ErrStopped) || errors.Is(err, metastore.ErrClosed); stopped || ctx.Err() != nil {
			return
		}
		if err != nil {
			fs.log.Error("namespace: collecting unused data failed", "err", err)
			delay = reapRetry
			r.wake()
		}
	}
}

// sleep reports whether ctx lasted for d.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// short reports whether room is so scarce that collecting comes first.
func (fs *FS) short() bool {
	u := fs.chunks.Usage()
	return u.Free < 2*u.LowWater
}
