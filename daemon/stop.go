package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// How the time from SIGTERM to exit is shared: at which part of limits.stop_deadline a step is given up,
// so that those behind it still get theirs.
const (
	drained   = 0.4 // S3 requests are cut off
	unmounted = 0.6 // the doors are left behind
	published = 0.8 // drafts that are not published by then stay drafts
	flushed   = 0.9 // the rest is for closing files, which nothing depends on

	unmountGrace = 0.2 // how long a busy mount is waited for
)

// detachTime is what detaching a mount takes, in the worst case, from when Unmount is told to give up.
const detachTime = 300 * time.Millisecond

// close closes what open opened: both doors at once, then what is below. It returns by the stop deadline,
// whatever clients, users of the mount and the disk do. What was acknowledged is durable then, or close
// returns an error. It is called once.
func (d *Daemon) close() error {
	d.notify.stopping()
	if d.health != nil {
		d.health.set(stopping)
	}
	begun := time.Now()
	by := func(part float64) (context.Context, context.CancelFunc) {
		return context.WithDeadline(context.Background(), begun.Add(d.share(part)))
	}
	d.closeJobs(by)
	err := errors.Join(d.closeDoors(by), d.closeNamespace(by), d.closeStores(by))
	for _, s := range []*http.Server{d.admin, d.adminLocal} {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
	}
	return errors.Join(err, d.tracer.close())
}

// deadlines makes the context that ends at a part of the stop deadline.
type deadlines func(part float64) (context.Context, context.CancelFunc)

// closeJobs ends long work of operators, which nobody was promised.
func (d *Daemon) closeJobs(by deadlines) {
	ctx, cancel := by(drained)
	defer cancel()
	d.jobs.close(ctx)
}

// closeDoors closes both doors at once.
func (d *Daemon) closeDoors(by deadlines) error {
	ctx, cancel := by(unmounted)
	defer cancel()
	var mounted error
	var unmounting sync.WaitGroup
	if d.own != nil {
		unmounting.Go(func() { mounted = d.own.close(ctx) })
	}
	var demanded, asked error
	if d.mounts != nil {
		unmounting.Go(func() { demanded = d.mounts.close(ctx) })
	}
	if d.control != nil {
		unmounting.Go(func() { asked = d.control.Close(ctx) })
	}
	draining, stop := by(drained)
	defer stop()
	err := d.drainS3(draining, ctx)
	unmounting.Wait()
	return errors.Join(err, mounted, demanded, asked)
}

// drainS3 stops accepting, lets running requests, those of the admin API included, end until draining ends, and then cuts them off: they are
// not acknowledged. Until ctx ends it waits for their handlers to notice.
func (d *Daemon) drainS3(draining, ctx context.Context) error {
	begun := time.Now()
	var err error
	if d.s3 != nil {
		err = d.s3.Shutdown(draining)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		d.log.Warn("S3 requests were cut off", "after", time.Since(begun).Round(time.Millisecond).String())
		err = d.s3.Close()
	}
	select {
	case <-d.requests.drain():
	case <-ctx.Done(): // they end with the process
		d.log.Warn("requests still run: leaving them")
		return err
	}
	if d.access != nil {
		err = errors.Join(err, d.access.close())
	}
	if d.objectDoor != nil {
		err = errors.Join(err, d.objectDoor.Close())
	}
	return err
}

// closeNamespace publishes what the doors left open, as far as there is time: nobody was promised it.
func (d *Daemon) closeNamespace(by deadlines) error {
	if d.ns == nil {
		return nil
	}
	ctx, cancel := by(published)
	defer cancel()
	err := inTime(ctx, func() error { return d.ns.Close(ctx) })
	if errors.Is(err, context.DeadlineExceeded) {
		d.log.Warn("not all open files could be published in time", "err", err)
		return nil
	}
	return err
}

// closeStores makes everything durable that was acknowledged, and closes the stores.
func (d *Daemon) closeStores(by deadlines) error {
	if d.stores == nil {
		return nil
	}
	if d.stores.kv == nil {
		return d.stores.close()
	}
	ctx, cancel := by(flushed)
	defer cancel()
	synced := inTime(ctx, func() error { return d.stores.kv.Sync(ctx) })
	last, end := by(1)
	defer end()
	err := inTime(last, d.stores.close)
	switch {
	case !errors.Is(err, context.DeadlineExceeded):
		return err // closing made durable what Sync did not
	case synced != nil:
		return fmt.Errorf("the last second of changes may be lost: %w", errors.Join(synced, err))
	}
	d.log.Warn("somebody holds the stores open: leaving them. Everything is durable.")
	return nil
}

// inTime runs step, and leaves it behind when ctx ends.
func inTime(ctx context.Context, step func() error) error {
	done := make(chan error, 1)
	go func() { done <- step() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// share is a part of the time from SIGTERM to exit.
func (d *Daemon) share(part float64) time.Duration {
	return time.Duration(float64(d.cfg.Limits.StopDeadline) * part)
}

// inflight counts the requests that are being handled.
type inflight struct {
	mu       sync.Mutex
	n        int
	draining bool
	idle     chan struct{} // made by drain, closed when it drains and n is 0
}

// count makes h counted. What arrives once it drains is refused.
func (f *inflight) count(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !f.begin() {
			panic(http.ErrAbortHandler) // accepted in the very moment of the end
		}
		defer f.end()
		h.ServeHTTP(w, r)
	})
}

// running is how many there are.
func (f *inflight) running() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(f.n)
}

func (f *inflight) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.draining {
		return false
	}
	f.n++
	return true
}

func (f *inflight) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if f.draining && f.n == 0 {
		close(f.idle)
	}
}

// drain refuses new requests, and returns a channel that is closed once none is being handled. It is
// called once.
func (f *inflight) drain() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draining, f.idle = true, make(chan struct{})
	if f.n == 0 {
		close(f.idle)
	}
	return f.idle
}
