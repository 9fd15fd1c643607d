package fusefs

import (
	"context"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Pace shares the node between tenants: it holds the mount's tenant to its limits, and to its part while others work. Each
// method but Enter waits until what it is told of may pass, or ctx ends. It is called concurrently.
type Pace interface {
	// Limited reports whether there are limits at all; it is asked each time.
	Limited() bool
	Request(ctx context.Context) error
	Read(ctx context.Context, n int) error
	Write(ctx context.Context, n int) error
	// Enter waits for the tenant's turn, and no longer than moments: a request may be what others wait for that have
	// their turn, since the kernel holds locks meanwhile. leave ends it.
	Enter(ctx context.Context) (leave func())
}

// turns is a door at whose requests the tenant's limits and its turn are waited for, before any lock is taken. What
// ends something never waits (Release, Forget, locks), so that nobody who was slowed down holds up others.
type turns struct {
	*door
	pace Pace
}

// turn waits until a request that writes so many bytes may begin. A process that is interrupted meanwhile gets EINTR.
func (t *turns) turn(cancel <-chan struct{}, written int) (leave func(), s fuse.Status) {
	ctx := interruptible{cancel}
	if t.pace.Limited() && !t.hurried() {
		slow, stop := t.unlessHurried(ctx)
		err := t.pace.Request(slow)
		if err == nil && written > 0 {
			err = t.pace.Write(slow, written)
		}
		stop()
		if err != nil && ctx.Err() != nil {
			return nil, fuse.EINTR
		}
	}
	return t.pace.Enter(ctx), fuse.OK
}

// glance is turn for a request that only looks, which applications don't expect to be interrupted: it is let pass then.
func (t *turns) glance(cancel <-chan struct{}) (leave func()) {
	leave, s := t.turn(cancel, 0)
	if s != fuse.OK {
		return func() {}
	}
	return leave
}

// hurried reports whether the mount is being unmounted.
func (d *door) hurried() bool { return d.leaving.Err() != nil }

// unlessHurried is a context that ends with ctx, or when the mount is being unmounted: what the kernel writes back then
// is not slowed down.
func (d *door) unlessHurried(ctx context.Context) (context.Context, func()) {
	slow, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(d.leaving, cancel)
	return slow, func() { unhook(); cancel() }
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
