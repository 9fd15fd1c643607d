package fusefs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	fuse.CAP_READDIRPLUS_AUTO | fuse.CAP_ASYNC_DIO

// Mountpoint is a live mount.
type Mountpoint struct {
	opts   Options
	door   *door
	server *fuse.Server
	dev    uint64        // of the mount, as stat(2) shows it
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
	if err := m.server.WaitMount(); err != nil {
		return nil, errors.Join(fmt.Errorf("fusefs: mounting %s: %w", o.Dir, err), m.Unmount(ctx))
	}
	m.tune()
	return m, nil
}

// attach mounts, with mount(2) if that is permitted, else with fusermount3.
func (m *Mountpoint) attach() error {
	var raw fuse.RawFileSystem = m.door
	if m.opts.Metrics != nil {
		raw = &metered{door: m.door, to: m.opts.Metrics}
	}
	server, direct := fuse.NewServer(raw, m.opts.Dir, m.mountOptions(true))
	if direct != nil {
		var err error
		if server, err = fuse.NewServer(raw, m.opts.Dir, m.mountOptions(false)); err != nil {
			return errors.Join(direct, err)
		}
	}
	m.server = server
	m.door.kernel = server
	m.door.inv.attach(server)
	return nil
}

func (m *Mountpoint) mountOptions(direct bool) *fuse.MountOptions {
	o := &fuse.MountOptions{
		AllowOther:               m.opts.AllowOther,
		FsName:                   m.opts.FSName,
		Name:                     "k3fs",
		Options:                  []string{"default_permissions"},
		MaxWrite:                 maxRequest,
		MaxBackground:            maxBackground,
		EnableSymlinkCaching:     true,
		EnableLocks:              true,
		ExplicitDataCacheControl: true,
		DisableSplice:            true,
		ExtraCapabilities:        capabilities,
		DisabledCapabilities:     fuse.CAP_PASSTHROUGH,
		Logger:                   slog.NewLogLogger(m.opts.Logger.Handler(), slog.LevelWarn),
		DirectMountStrict:        direct,
	}
	switch {
	case direct && m.opts.ReadOnly:
		o.DirectMountFlags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_RDONLY
	case m.opts.ReadOnly:
		o.Options = append(o.Options, "ro")
	}
	return o
}

// serve answers requests until the mount is gone.
func (m *Mountpoint) serve() {
	m.server.Serve()
	m.door.inv.detach()
	m.door.closeAll()
	close(m.done)
}

// tune lifts limits that the kernel sets for FUSE mounts of users it does not trust: readahead of 128 KiB,
// and a strict bound of dirty pages. Only root may.
func (m *Mountpoint) tune() {
	var st unix.Stat_t
	if err := unix.Stat(m.opts.Dir, &st); err != nil {
		return
	}
	m.dev = st.Dev
	bdi := fmt.Sprintf("/sys/class/bdi/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
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
// fail with ENOTCONN.
func (m *Mountpoint) Unmount(ctx context.Context) error {
	flushed := m.syncfs()
	deadline := time.Now().Add(m.opts.UnmountGrace)
	for {
		err := unmount(m.opts.Dir, 0)
		if err == nil || m.gone() {
			<-m.done
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

// abandon detaches a mount that is in use, after writing back its dirty pages, and ends its connection.
func (m *Mountpoint) abandon(cause error) error {
	m.opts.Logger.Warn("the mount is in use: detaching it", "dir", m.opts.Dir, "err", cause)
	err := m.syncfs()
	// MNT_FORCE ends the connection, but leaves a busy mount where it is. Without it the server would
	// go on until the last file is closed.
	_ = unix.Unmount(m.opts.Dir, unix.MNT_FORCE)
	if e := unmount(m.opts.Dir, unix.MNT_DETACH); e != nil && !m.gone() {
		return errors.Join(err, fmt.Errorf("fusefs: unmounting %s: %w", m.opts.Dir, e))
	}
	if os.Geteuid() == 0 {
		<-m.done
	}
	return err
}

// syncfs makes the kernel write back its dirty pages.
func (m *Mountpoint) syncfs() error {
	if m.gone() {
		return nil
	}
	fd, err := unix.Open(m.opts.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // gone, or hidden by another mount: nothing can be done about pages
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || m.dev != 0 && st.Dev != m.dev {
		return nil
	}
	if err := unix.Syncfs(fd); err != nil {
		// syncfs(2) also reports failures of the past that nobody called it for: their writers were told. What
		// fails now fails again.
		m.opts.Logger.Warn("an earlier write back failed", "dir", m.opts.Dir, "err", err)
		if err := unix.Syncfs(fd); err != nil {
			return fmt.Errorf("fusefs: writing back %s: %w", m.opts.Dir, err)
		}
	}
	return nil
}

func (m *Mountpoint) gone() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// RecoverStale detaches the mount that a killed daemon left at dir: every access to it fails with
// ENOTCONN. It reports whether there was one.
func RecoverStale(dir string) (bool, error) {
	found := false
	for {
		var st unix.Statfs_t // stat(2) may be answered from the kernel's cache
		if err := unix.Statfs(dir, &st); err != unix.ENOTCONN {
			return found, nil
		}
		if err := unmount(dir, unix.MNT_DETACH); err != nil {
			return found, fmt.Errorf("fusefs: the stale mount at %s: %w", dir, err)
		}
		found = true
	}
}
