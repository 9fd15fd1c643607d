package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"k3fs/fusefs"
	"k3fs/tenancy"
)

// ownMount is the daemon's own mount, of all buckets of the first tenant. As long as it is the only one it may gather
// small writes (the kernel's write-back cache). Beside others that would show each other's changes late, or never: the
// kernel fixes this with the connection, so a mount without that cache then covers it, for as long as the daemon runs.
type ownMount struct {
	*mount        // the one that was made at the start
	gone   func() // says that it was taken away

	mu     sync.Mutex
	cached bool   // guarded by mu: it gathers writes, and nothing covers it
	cover  *mount // guarded by mu
}

// openMount opens the daemon's own mount, which acts as the first tenant's root account: who may use it is
// decided by the kernel, by the permissions of the files.
func (d *Daemon) openMount(ctx context.Context, cached bool) error {
	point := d.cfg.Mount.Point
	if point == "" {
		return nil
	}
	if err := preparePoint(point, d.log); err != nil {
		return err
	}
	var err error
	if d.accounts, err = readAccountTable(d.cfg.Mount.Accounts); err != nil {
		return err
	}
	m, err := d.attachOwn(ctx, cached && d.accounts == nil)
	if err != nil {
		return err
	}
	gone := make(chan struct{})
	d.own = &ownMount{mount: m, cached: cached && d.accounts == nil, gone: sync.OnceFunc(func() { close(gone) })}
	d.own.watch(m)
	d.health.gone.Store(new((<-chan struct{})(gone)))
	return nil
}

func (d *Daemon) attachOwn(ctx context.Context, cached bool) (*mount, error) {
	c := d.cfg.Mount
	var squash *fusefs.Squash
	if c.RootSquash {
		squash = &fusefs.Squash{UID: c.AnonUID, GID: c.AnonGID}
	}
	return d.attach(ctx, tenancy.Root(tenancy.FirstTenant), d.accounts, fusefs.Options{
		Dir: c.Point, AllowOther: c.AllowOther, ReadOnly: c.ReadOnly, SyncOnClose: c.SyncOnClose, NoAtime: c.NoAtime,
		WriteThrough: !cached, Squash: squash,
	})
}

func (o *ownMount) watch(m *mount) {
	go func() {
		m.door.Wait()
		o.gone()
	}()
}

// share makes the mount exact beside another one, which is about to be made. It returns a warning if processes are
// left for whom it isn't.
func (o *ownMount) share(ctx context.Context, d *Daemon, other wanted) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.cached {
		return ""
	}
	const unseen = "what is written there through the kernel's write-back cache and what is written elsewhere may not be seen by each other"
	if within(other.Dir, o.point) {
		return fmt.Sprintf("%s is inside of %s: %s. Mount it elsewhere, or set mount.writeback = false", other.Dir, o.point, unseen)
	}
	cover, err := d.attachOwn(ctx, false)
	if err != nil {
		return fmt.Sprintf("a mount without the kernel's write-back cache could not be put over %s (%v): %s. Set mount.writeback = false", o.point, err, unseen)
	}
	o.cached, o.cover = false, cover
	o.watch(cover)
	d.log.Info("the daemon's own mount goes on without the kernel's write-back cache, since it isn't alone any more", "mount", o.point)
	if open := o.door.Covered(); open > 0 {
		return fmt.Sprintf("%d files are open in %s from before: %s until they are closed", open, o.point, unseen)
	}
	return ""
}

// close unmounts both, until ctx ends.
func (o *ownMount) close(ctx context.Context) error {
	o.mu.Lock()
	cover := o.cover
	o.cached = false // nothing covers it any more
	o.mu.Unlock()
	if cover == nil {
		return o.mount.close(ctx)
	}
	return errors.Join(cover.close(ctx), o.mount.close(ctx))
}

// live are both, as far as they are there.
func (o *ownMount) live() []*mount {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cover != nil {
		return []*mount{o.mount, o.cover}
	}
	return []*mount{o.mount}
}
