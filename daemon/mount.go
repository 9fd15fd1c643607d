package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// posixDoor is a mounted POSIX door.
type posixDoor interface {
	// Unmount takes the mount away; EBUSY if somebody uses it.
	Unmount() error
	// Wait returns when the mount is gone.
	Wait()
}

// mount is the POSIX door at its mount point.
type mount struct {
	point string
	door  posixDoor
	log   *slog.Logger
	gone  chan struct{} // closed when the mount is gone
}

// newMount watches a door; gone is closed when its mount is.
func newMount(point string, door posixDoor, gone chan struct{}, log *slog.Logger) *mount {
	m := &mount{point: point, door: door, log: log, gone: gone}
	go func() {
		door.Wait()
		close(m.gone)
	}()
	return m
}

// openMount opens the POSIX door.
func (d *Daemon) openMount(context.Context) error {
	if d.cfg.Mount.Point == "" {
		return nil
	}
	return &ConfigError{errors.New("mount.point: this build has no POSIX door")}
}

// close sends what the kernel still caches to the door and unmounts, within limit. A mount that is in use
// is detached: it leaves the tree at once, and its open files fail when the daemon is gone.
func (m *mount) close(limit time.Duration) error {
	select {
	case <-m.gone:
		return nil
	default:
	}
	done := make(chan error, 1)
	go func() { done <- m.flushAndUnmount() }()
	select {
	case err := <-done:
		if err == nil {
			return nil
		}
		m.log.Warn("the mount is in use: detaching it", "mount", m.point, "err", err)
	case <-time.After(limit):
		m.log.Warn("the mount does not let go: detaching it", "mount", m.point, "after", limit)
	}
	if err := detach(m.point); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("detach %s: %w", m.point, err)
	}
	return nil
}

func (m *mount) flushAndUnmount() error {
	if err := syncFS(m.point); err != nil {
		m.log.Warn("flushing the mount", "mount", m.point, "err", err)
	}
	return m.door.Unmount()
}

// syncFS is syncfs(2): the kernel writes back what it caches of the mount.
func syncFS(point string) error {
	f, err := os.Open(point)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
