package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"k3fs/daemon/control"
	"k3fs/fusefs"
	"k3fs/namespace"
	"k3fs/tenancy"
)

// mountType is how the kernel lists our mounts in /proc/self/mountinfo.
const mountType = "fuse.k3fs"

// mount is the POSIX door at one mount point.
type mount struct {
	door    *fusefs.Mountpoint
	unwatch func() // stops telling the door of changes at others
	point   string
	log     *slog.Logger
}

// attach mounts the namespace as who may use it. o says where and how; what it shows and what the daemon
// decides for all mounts is filled in. accounts says as whom users of the host act; nil: as who.
func (d *Daemon) attach(ctx context.Context, who tenancy.Principal, accounts *control.Accounts, o fusefs.Options) (*mount, error) {
	caches := fusefs.NewInvalidator()
	m := &mount{point: o.Dir, log: d.log, unwatch: d.ns.Observe(caches)}
	view := func(p tenancy.Principal) namespace.Posix { return d.ns.As(p).Through(caches).Mounted() }
	o.FS, o.Invalidator, o.Locks, o.Peers = view(who), caches, &d.locks, &d.peers
	if accounts != nil {
		o.As = newActors(d.stores.tenancy, who, accounts, view).as
	}
	if own := &o.Owners; os.Geteuid() != 0 && own.UID == nil && own.GID == nil && len(own.UIDs)+len(own.GIDs) == 0 {
		// Only this user gets in, and files of root (as S3 makes them) would be closed to him.
		own.UID, own.GID = new(uint32(os.Geteuid())), new(uint32(os.Getegid()))
	}
	meter := &fuseMetrics{metrics: d.metrics, slow: d.slow, trace: d.tracer, log: d.log, name: mountName(), tenant: who.Tenant}
	o.UnmountGrace, o.Logger, o.Metrics = d.share(unmountGrace), d.log, meter
	o.Pace, o.Draining = pace{d, who.Tenant}, d.draining
	var err error
	if m.door, err = fusefs.Mount(ctx, o); err != nil {
		m.unwatch()
		return nil, err
	}
	d.log.Info("mounted", "mount", o.Dir, "tenant", uint64(who.Tenant), "requests", meter.name)
	return m, nil
}

// close writes back what the kernel holds and unmounts, until ctx ends. A mount that is in use is detached:
// it leaves the tree, and its open files fail.
func (m *mount) close(ctx context.Context) error {
	defer m.unwatch()
	done := make(chan error, 1)
	go func() { done <- m.door.Unmount(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(detachTime): // the kernel waits for somebody, and not for us
	}
	m.log.Error("the mount does not let go: cutting it off", "mount", m.point)
	return m.door.Cut()
}

// preparePoint makes the mount point ready: made if it is missing, and freed of a mount whose daemon was
// killed. One where a k3fs is mounted that lives is refused.
func preparePoint(point string, log *slog.Logger) error {
	stale, err := fusefs.RecoverStale(point, os.Geteuid(), os.Getegid())
	if err != nil {
		return err
	}
	if stale {
		log.Warn("removed the mount of a k3fs that was killed", "mount", point)
	}
	if err := os.MkdirAll(point, 0o755); err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	kind, err := mountedAt(point)
	if err != nil {
		return err
	}
	if kind == mountType {
		return fmt.Errorf("mount point %s: a running k3fs is mounted there", point)
	}
	f, err := os.Open(point)
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	if names, _ := f.Readdirnames(1); len(names) > 0 {
		log.Warn("the mount point is not empty: the mount hides its files", "mount", point)
	}
	return f.Close()
}

// mountedAt returns the type of the file system that is mounted at point, or "".
func mountedAt(point string) (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	kind := ""
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// proc_pid_mountinfo(5): the fifth field is the mount point, the type follows the separator.
		front, back, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(front)
		if ok && len(fields) > 4 && unescapeMount(fields[4]) == point {
			kind, _, _ = strings.Cut(back, " ")
		}
	}
	return kind, errors.Join(lines.Err(), f.Close())
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
