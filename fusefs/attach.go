package fusefs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// fsType is what the kernel calls our mounts.
const fsType = "fuse.k3fs"

// attach mounts, with mount(2) if that is permitted, else with fusermount3, and does the INIT handshake.
func (m *Mountpoint) attach() error {
	var raw fuse.RawFileSystem = m.door
	if m.opts.Pace != nil {
		raw = &turns{door: m.door, pace: m.opts.Pace}
	}
	if m.opts.Metrics != nil {
		raw = &metered{RawFileSystem: raw, to: m.opts.Metrics}
	}
	server, err := m.attachSelf(raw)
	if errors.Is(err, os.ErrPermission) && os.Geteuid() != 0 {
		server, err = m.attachHelped(raw)
	}
	if err != nil {
		return err
	}
	m.server = server
	m.door.kernel = server
	m.door.inv.attach(server, m.opts.Root)
	m.opts.Peers.add(m.door.inv)
	return nil
}

// attachSelf mounts with mount(2), as mount.fuse does.
func (m *Mountpoint) attachSelf(raw fuse.RawFileSystem) (*fuse.Server, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/fuse: %w", err)
	}
	target := m.opts.Target
	if target == "" {
		target = m.opts.Dir
	}
	data := []string{
		fmt.Sprintf("fd=%d,rootmode=%o", fd, unix.S_IFDIR),
		fmt.Sprintf("user_id=%d,group_id=%d,max_read=%d", m.opts.User, m.opts.Group, maxRequest),
	}
	data = append(data, m.permissionOptions()...)
	if err := unix.Mount(m.opts.FSName, target, fsType, m.flags(), strings.Join(data, ",")); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	server, err := fuse.NewServer(raw, fmt.Sprintf("/dev/fd/%d", fd), m.serverOptions())
	if err != nil {
		return nil, errors.Join(err, m.detach(unix.MNT_DETACH))
	}
	return server, nil
}

// attachHelped mounts with fusermount3, which lets others in only where /etc/fuse.conf permits it.
func (m *Mountpoint) attachHelped(raw fuse.RawFileSystem) (*fuse.Server, error) {
	server, err := fuse.NewServer(raw, m.opts.Dir, m.serverOptions())
	if err == nil || !m.opts.AllowOther {
		return server, err
	}
	m.opts.AllowOther = false
	if server, err = fuse.NewServer(raw, m.opts.Dir, m.serverOptions()); err == nil {
		m.opts.Logger.Warn("the mount is for this user only: others need user_allow_other in /etc/fuse.conf", "dir", m.opts.Dir)
	}
	return server, err
}

// permissionOptions are those of mount(8) that say who may do what.
func (m *Mountpoint) permissionOptions() []string {
	o := []string{"default_permissions"}
	if m.opts.AllowOther {
		o = append(o, "allow_other")
	}
	return o
}

// flags are those of mount(2).
func (m *Mountpoint) flags() uintptr {
	f := m.opts.Flags | unix.MS_NOSUID | unix.MS_NODEV
	if m.opts.Suid {
		f &^= unix.MS_NOSUID
	}
	if m.opts.Dev {
		f &^= unix.MS_NODEV
	}
	if m.opts.ReadOnly {
		f |= unix.MS_RDONLY
	}
	return f
}

// serverOptions are those of go-fuse, for the handshake and, where we may not mount, for fusermount3.
func (m *Mountpoint) serverOptions() *fuse.MountOptions {
	o := &fuse.MountOptions{
		AllowOther:               m.opts.AllowOther,
		FsName:                   m.opts.FSName,
		Name:                     "k3fs",
		Options:                  []string{"default_permissions"},
		MaxWrite:                 maxRequest,
		MaxBackground:            maxBackground,
		EnableSymlinkCaching:     m.opts.As == nil,
		EnableLocks:              true,
		ExplicitDataCacheControl: true,
		DisableSplice:            true,
		ExtraCapabilities:        m.capabilities(),
		DisabledCapabilities:     fuse.CAP_PASSTHROUGH,
		Logger:                   slog.NewLogLogger(m.opts.Logger.Handler(), slog.LevelWarn),
	}
	for flag, name := range map[uintptr]string{
		unix.MS_RDONLY: "ro", unix.MS_NOEXEC: "noexec", unix.MS_NOATIME: "noatime",
	} {
		if m.flags()&flag != 0 {
			o.Options = append(o.Options, name)
		}
	}
	return o
}

func (m *Mountpoint) capabilities() uint64 {
	if m.opts.WriteThrough {
		return capabilities &^ fuse.CAP_WRITEBACK_CACHE
	}
	return capabilities
}

// disarmPoll keeps this process from hanging when it opens files of its own mount: the Go runtime asks the
// kernel to poll them, with a thread that would have to answer. Once POLL has been answered ENOSYS the kernel asks
// no more. go-fuse answers for the name.
func (m *Mountpoint) disarmPoll() {
	if !m.opts.AllowOther && m.opts.User != os.Geteuid() {
		return // this process can't open them
	}
	_ = aside(os.Geteuid(), os.Getegid(), func() error {
		fd, err := unix.Open(filepath.Join(m.opts.Dir, ".go-fuse-epoll-hack"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return unix.Close(fd)
	})
}
