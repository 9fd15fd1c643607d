package fusefs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// maxBackground is how many readahead and writeback requests the kernel may have under way.
const maxBackground = 64

// capabilities beyond go-fuse's defaults.
const capabilities = fuse.CAP_WRITEBACK_CACHE | fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_ATOMIC_O_TRUNC |
	fuse.CAP_DIRECT_IO_ALLOW_MMAP | fuse.CAP_READDIRPLUS_AUTO | fuse.CAP_ASYNC_DIO | fuse.CAP_POSIX_ACL | fuse.CAP_DONT_MASK | fuse.CAP_SETXATTR_EXT

// Mountpoint is a live mount.
type Mountpoint struct {
	opts   Options
	door   *door
	server *fuse.Server
	dev    uint64        // of the mount, as stat(2) shows it; 0 until it is live
	done   chan struct{} // closed when the kernel has let go of the mount
}

// Mount mounts o.FS at o.Dir. It returns when the mount is live. ctx bounds the mounting only.
func Mount(ctx context.Context, o Options) (*Mountpoint, error) {
	o = o.withDefaults()
	if err := errors.Join(o.Validate(), ctx.Err()); err != nil {
		return nil, err
	}
	m := &Mountpoint{opts: o, door: newDoor(o), done: make(chan struct{})}
	if err := m.attach(); err != nil {
		return nil, fmt.Errorf("fusefs: mounting %s: %w", o.Dir, err)
	}
	go m.serve()
	if err := aside(os.Geteuid(), os.Getegid(), m.server.WaitMount); err != nil {
		return nil, errors.Join(fmt.Errorf("fusefs: mounting %s: %w", o.Dir, err), m.Unmount(ctx))
	}
	if err := m.locate(); err != nil {
		return nil, errors.Join(fmt.Errorf("fusefs: mounting %s: %w", o.Dir, err), m.detach(unix.MNT_DETACH))
	}
	m.disarmPoll()
	m.tune()
	return m, nil
}

// serve answers requests until the mount is gone.
func (m *Mountpoint) serve() {
	m.server.Serve()
	m.door.hurry()
	m.opts.Peers.remove(m.door.inv)
	m.door.inv.detach()
	m.door.closeAll()
	close(m.done)
}

// tune lifts limits that the kernel sets for FUSE mounts of users it does not trust: readahead of 128 KiB,
// and a strict bound of dirty pages. Only root may.
func (m *Mountpoint) tune() {
	bdi := fmt.Sprintf("/sys/class/bdi/%d:%d", unix.Major(m.dev), unix.Minor(m.dev))
	for file, value := range map[string]int{
		"read_ahead_kb": m.opts.Readahead >> 10,
		"max_ratio":     m.opts.DirtyRatio,
		"strict_limit":  0,
	} {
		if err := os.WriteFile(filepath.Join(bdi, file), []byte(strconv.Itoa(value)), 0); err != nil {
			m.opts.Logger.Debug("a limit of the mount stays at the kernel's default", "file", file, "err", err)
		}
	}
}

// Wait returns when the mount is gone, by Unmount or by umount(8), and all its files are closed.
func (m *Mountpoint) Wait() { <-m.done }

// Done is closed when Wait would return.
func (m *Mountpoint) Done() <-chan struct{} { return m.done }

// Unmount writes back what the kernel holds, unmounts, and closes the files that were left open. A busy
// mount is given UnmountGrace (and no longer than ctx), is then detached, and the files still open
// fail with ENOTCONN. One whose connection was aborted is detached at once.
func (m *Mountpoint) Unmount(ctx context.Context) error {
	m.door.hurry()
	flushed := m.syncfs()
	deadline := time.Now().Add(m.opts.UnmountGrace)
	for {
		err := m.detach(0)
		if errors.Is(err, unix.EBUSY) && m.gone() { // aborted, and kept busy by those who are still inside
			err = m.detach(unix.MNT_DETACH)
		}
		if err == nil || m.gone() {
			<-m.done
			return flushed
		}
		if errors.Is(err, errNowhere) { // detached, and still in use: the connection ends with this process
			m.door.writeBack()
			return flushed
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) || ctx.Err() != nil {
			return errors.Join(flushed, m.abandon(err))
		}
		select {
		case <-ctx.Done():
		case <-m.done:
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Release writes back what the kernel holds and unmounts, for one who asks: a mount in use is EBUSY and stays,
// or, if lazy, leaves the tree and goes on for those who use it (Wait returns when the last has ended).
func (m *Mountpoint) Release(lazy bool) error {
	err := m.syncfs()
	if err != nil && !lazy {
		return err
	}
	flags := 0
	if lazy {
		flags = unix.MNT_DETACH
	}
	e := m.detach(flags)
	if errors.Is(e, unix.EBUSY) && m.gone() { // aborted, and kept busy by those who are still inside
		e = m.detach(unix.MNT_DETACH)
	}
	if e != nil && !m.gone() {
		return e
	}
	if !lazy {
		<-m.done
	}
	return err
}

// Covered says that another mount of the same files covers this one, and returns how many of its files are open. Their
// pages are written back. Who is still inside, with a working directory, opens files without the page cache.
func (m *Mountpoint) Covered() (open int) {
	m.door.covered.Store(true)
	m.door.writeBack()
	return m.door.files.len()
}

// WriteBack hands what the kernel holds of open files to FS.
func (m *Mountpoint) WriteBack() { m.door.writeBack() }

// OpenFiles is how many files are open.
func (m *Mountpoint) OpenFiles() int { return m.door.files.len() }

// abandon detaches a mount that is in use, after writing back its dirty pages, and ends its connection.
func (m *Mountpoint) abandon(cause error) error {
	m.opts.Logger.Warn("the mount is in use: detaching it", "dir", m.opts.Dir, "err", cause)
	err := m.syncfs()
	// MNT_FORCE ends the connection, but leaves a busy mount where it is. Without it the server would
	// go on until the last file is closed.
	if e := m.Cut(); e != nil {
		return errors.Join(err, e)
	}
	if os.Geteuid() == 0 {
		<-m.done
	}
	return err
}

// Cut ends the connection, so that nothing waits for answers any more, and detaches the mount.
func (m *Mountpoint) Cut() error {
	_ = m.detach(unix.MNT_FORCE)
	if err := m.detach(unix.MNT_DETACH); err != nil && !m.gone() && !errors.Is(err, errNowhere) {
		return fmt.Errorf("fusefs: unmounting %s: %w", m.opts.Dir, err)
	}
	return nil
}

// syncfs makes the kernel write back its dirty pages.
func (m *Mountpoint) syncfs() error {
	if m.gone() {
		return nil
	}
	user, group := m.opts.User, m.opts.Group
	if m.opts.AllowOther {
		user, group = os.Geteuid(), os.Getegid()
	}
	return aside(user, group, func() error {
		fd, err := unix.Open(m.opts.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil // gone, or hidden by another mount: nothing can be done about pages
		}
		defer unix.Close(fd)
		if dev, err := deviceAt(fd, ""); err != nil || m.dev != 0 && dev != m.dev {
			return nil
		}
		if err := unix.Syncfs(fd); err != nil {
			// syncfs(2) also reports failures of the past that nobody called it for: their writers were told.
			// What fails now fails again.
			m.opts.Logger.Warn("an earlier write back failed", "dir", m.opts.Dir, "err", err)
			if err := unix.Syncfs(fd); err != nil {
				return fmt.Errorf("fusefs: writing back %s: %w", m.opts.Dir, err)
			}
		}
		return nil
	})
}

func (m *Mountpoint) gone() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}
