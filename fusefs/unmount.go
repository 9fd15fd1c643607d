package fusefs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// errMoved: what is at the path is not this mount.
var errMoved = errors.New("another file system is mounted there")

// errNowhere: the mount is in no place of the tree any more.
var errNowhere = errors.New("it is not mounted any more")

// locate finds out which device the new mount is. The mount table is asked, not the mount, whose user may be
// another.
func (m *Mountpoint) locate() error {
	at, err := tableEntry(m.opts.Dir)
	if err == nil {
		m.dev = unix.Mkdev(uint32(at.Major), uint32(at.Minor))
	}
	return err
}

// tableEntry is the mount table's topmost k3fs at dir.
func tableEntry(dir string) (*mountinfo.Info, error) {
	parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(parent, filepath.Base(dir))
	found, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return i.FSType != fsType || i.Mountpoint != dir, false
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no k3fs is mounted at %s", dir)
	}
	return found[len(found)-1], nil
}

// points are the places where the mount is now: its directory, or to where that was moved, and bind mounts.
func (m *Mountpoint) points() ([]string, error) {
	found, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return unix.Mkdev(uint32(i.Major), uint32(i.Minor)) != m.dev, false
	})
	var dirs []string
	for _, i := range found {
		dirs = append(dirs, i.Mountpoint)
	}
	return dirs, err
}

// detach calls umount2(2) for all places where the mount is. It returns errNowhere if there are none.
func (m *Mountpoint) detach(flags int) error {
	if m.dev == 0 {
		return unmount(m.opts.Dir, flags)
	}
	dirs, err := m.points()
	if err != nil {
		return err
	}
	if len(dirs) == 0 {
		return errNowhere
	}
	for _, dir := range dirs {
		if err := detach(dir, m.dev, flags); err != nil {
			return err
		}
	}
	return nil
}

// detach unmounts the file system of a device from dir. No symbolic link is followed, and the device is
// compared, so that nobody who owns a directory on the way makes us unmount something else.
func detach(dir string, dev uint64, flags int) error {
	if os.Geteuid() != 0 {
		return unmount(dir, flags)
	}
	return aside(0, 0, func() error { return detachFrom(dir, dev, flags) })
}

func detachFrom(dir string, dev uint64, flags int) error {
	parent, name := filepath.Split(dir)
	fd, err := unix.Openat2(unix.AT_FDCWD, parent, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	is, err := deviceAt(fd, name)
	if err != nil {
		return err
	}
	if is != dev {
		return errMoved
	}
	return unix.Unmount(fmt.Sprintf("/proc/thread-self/fd/%d/%s", fd, name), flags|unix.UMOUNT_NOFOLLOW)
}

// deviceAt is the device of name in the directory fd, or of fd itself. The file system is not asked: it may be
// dead, or not let us in.
func deviceAt(fd int, name string) (uint64, error) {
	var st unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_STATX_DONT_SYNC | unix.AT_EMPTY_PATH
	if err := unix.Statx(fd, name, flags, 0, &st); err != nil {
		return 0, err
	}
	return unix.Mkdev(st.Dev_major, st.Dev_minor), nil
}

// RecoverStale detaches the mounts of user that killed daemons left at dir: every access to them fails with
// ENOTCONN. It reports whether there was one.
func RecoverStale(dir string, user, group int) (bool, error) {
	for found := false; ; found = true {
		err := aside(user, group, func() error {
			return unix.Statfs(dir, new(unix.Statfs_t)) // stat(2) may be answered from the kernel's cache
		})
		if err != unix.ENOTCONN {
			return found, nil
		}
		at, err := tableEntry(dir)
		if err == nil {
			err = detach(at.Mountpoint, unix.Mkdev(uint32(at.Major), uint32(at.Minor)), unix.MNT_DETACH)
		}
		if err != nil {
			return found, fmt.Errorf("fusefs: the stale mount at %s: %w", dir, err)
		}
	}
}

// unmount calls umount2(2), and fusermount3 if that is not permitted to us.
func unmount(dir string, flags int) error {
	err := aside(os.Geteuid(), os.Getegid(), func() error { return unix.Unmount(dir, flags) })
	if err != unix.EPERM {
		return err
	}
	args := []string{"-u", dir}
	if flags&unix.MNT_DETACH != 0 {
		args = []string{"-u", "-z", dir}
	}
	out, err := exec.Command("fusermount3", args...).CombinedOutput()
	switch {
	case err == nil:
		return nil
	case strings.Contains(string(out), "busy"):
		return unix.EBUSY
	}
	return fmt.Errorf("fusermount3: %w: %s", err, strings.TrimSpace(string(out)))
}
