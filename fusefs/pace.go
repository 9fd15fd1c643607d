package fusefs

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Pace holds the mount's tenant to its limits: each method waits until what it is told of may pass, or ctx ends. It is
// called concurrently.
type Pace interface {
	// Limited reports whether there are limits at all; it is asked each time.
	Limited() bool
	Request(ctx context.Context) error
	Read(ctx context.Context, n int) error
	Write(ctx context.Context, n int) error
}

// enter is pace for requests that open or make a file, which are refused while the daemon drains.
func (d *door) enter(cancel <-chan struct{}) fuse.Status {
	if d.opts.Draining != nil && d.opts.Draining() {
		return fuse.Status(syscall.EAGAIN)
	}
	return d.pace(cancel, 0, 0)
}

// pace waits until a request that reads and writes so many bytes may pass. EINTR: its process was interrupted first.
func (d *door) pace(cancel <-chan struct{}, read, written int) fuse.Status {
	p := d.opts.Pace
	if p == nil || !p.Limited() {
		return fuse.OK
	}
	ctx := interruptible{cancel}
	err := p.Request(ctx)
	if err == nil && read > 0 {
		err = p.Read(ctx, read)
	}
	if err == nil && written > 0 {
		err = p.Write(ctx, written)
	}
	if err != nil {
		return fuse.Status(syscall.EINTR)
	}
	return fuse.OK
}

// interruptible is a context that ends when the kernel interrupts a request.
type interruptible struct{ cancel <-chan struct{} }

// Deadline implements context.Context.
func (interruptible) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (i interruptible) Done() <-chan struct{} { return i.cancel }

// Err implements context.Context.
func (i interruptible) Err() error {
	select {
	case <-i.cancel:
		return context.Canceled
	default:
		return nil
	}
}

// Value implements context.Context.
func (interruptible) Value(any) any { return nil }
