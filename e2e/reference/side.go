package reference

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// side is one of the two file systems: the directory where its sequence runs, and the open descriptors.
type side struct {
	root string
	fds  [slots]int // -1 if free
}

func newSide(root string) (*side, error) {
	s := &side{root: root}
	for i := range s.fds {
		s.fds[i] = -1
	}
	if err := os.Mkdir(root, 0o777); err != nil {
		return nil, err
	}
	return s, os.Chmod(root, 0o777)
}

func (s *side) close() {
	for i, fd := range s.fds {
		if fd >= 0 {
			_ = unix.Close(fd)
			s.fds[i] = -1
		}
	}
}

func (s *side) at(path string) string { return s.root + "/" + path }

// become makes the calling thread act as a user on files. The thread must be locked.
func become(u user) error {
	groups := make([]uint32, len(u.groups)+1)
	for i, g := range u.groups {
		groups[i] = uint32(g)
	}
	if err := rawSetgroups(groups[:len(u.groups)]); err != nil {
		return err
	}
	if err := unix.Setfsgid(u.gid); err != nil {
		return err
	}
	return unix.Setfsuid(u.uid)
}

// do makes a call, and says what came of it: the errno, or what it returned.
func (s *side) do(c call) string {
	if err := become(users[c.user]); err != nil {
		return "become: " + err.Error()
	}
	out, err := s.answer(c)
	if e := become(users[0]); e != nil {
		return "become: " + e.Error()
	}
	if err != nil {
		var errno syscall.Errno
		if errors.As(err, &errno) {
			return unix.ErrnoName(errno)
		}
		return err.Error()
	}
	return "ok " + out
}

func (s *side) answer(c call) (string, error) {
	if out, err, known := s.onSlot(c); known {
		return out, err
	}
	p := s.at(c.path)
	switch c.kind {
	case "mkdir":
		return "", unix.Mkdir(p, c.mode)
	case "rmdir":
		return "", unix.Rmdir(p)
	case "unlink":
		return "", unix.Unlink(p)
	case "link":
		return "", unix.Linkat(unix.AT_FDCWD, p, unix.AT_FDCWD, s.at(c.to), c.flags)
	case "symlink":
		return "", unix.Symlink(c.path, s.at(c.to))
	case "mknod":
		return "", unix.Mknod(p, uint32(c.flags)|c.mode&0o1777, int(unix.Mkdev(1, 3)))
	case "rename":
		return "", unix.Rename(p, s.at(c.to))
	case "renameat2":
		return "", unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, s.at(c.to), uint(c.flags))
	case "chmod":
		return "", unix.Chmod(p, c.mode)
	case "chown":
		return "", unix.Chown(p, owner(c.off), owner(c.len))
	case "lchown":
		return "", unix.Lchown(p, owner(c.off), owner(c.len))
	case "utimens":
		return "", unix.UtimesNanoAt(unix.AT_FDCWD, p, timespecs(c), c.flags)
	case "truncate":
		// To the size that it has: with a writeback cache Linux's FUSE keeps mtime, ext4 sets it. Not compared.
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == c.off {
			return "", nil
		}
		return "", unix.Truncate(p, c.off)
	case "stat":
		var st unix.Stat_t
		err := unix.Stat(p, &st)
		return show(&st), err
	case "statx":
		return birth(p)
	case "readlink":
		buf := make([]byte, 4096)
		n, err := unix.Readlink(p, buf)
		return string(buf[:max(n, 0)]), err
	case "access":
		return "", unix.Faccessat(unix.AT_FDCWD, p, uint32(c.flags), unix.AT_EACCESS)
	case "readdir":
		return list(p)
	case "cat":
		return cat(p)
	case "fsyncdir":
		return "", syncDir(p)
	}
	return s.xattr(c, p)
}

func (s *side) xattr(c call, p string) (string, error) {
	switch c.kind {
	case "setxattr":
		return "", unix.Lsetxattr(p, c.name, pattern(c.off, c.len%100), c.flags)
	case "getxattr":
		buf := make([]byte, 1000)
		n, err := unix.Lgetxattr(p, c.name, buf)
		return fmt.Sprintf("%q", buf[:max(n, 0)]), err
	case "listxattr":
		buf := make([]byte, 4096)
		n, err := unix.Llistxattr(p, buf)
		all := strings.Split(string(buf[:max(n, 0)]), "\x00")
		sort.Strings(all)
		return fmt.Sprintf("%q", all), err
	case "removexattr":
		return "", unix.Lremovexattr(p, c.name)
	}
	panic("no call of the kind " + c.kind)
}

// onSlot makes the calls that concern descriptors.
func (s *side) onSlot(c call) (out string, err error, known bool) {
	fd := s.fds[c.slot]
	switch c.kind {
	case "open":
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		s.fds[c.slot] = -1
		fd, err := unix.Open(s.at(c.path), c.flags|unix.O_CLOEXEC, c.mode)
		if err == nil {
			s.fds[c.slot] = fd
		}
		return "", err, true
	case "close":
		s.fds[c.slot] = -1
		return "", unix.Close(fd), true
	case "write":
		n, err := unix.Pwrite(fd, pattern(c.off, c.len), c.off)
		return fmt.Sprint(n), err, true
	case "read":
		buf := make([]byte, c.len)
		n, err := unix.Pread(fd, buf, c.off)
		return fmt.Sprintf("%d %x", n, sha256.Sum256(buf[:max(n, 0)])), err, true
	case "ftruncate":
		return "", unix.Ftruncate(fd, c.off), true
	case "fsync":
		return "", unix.Fsync(fd), true
	case "fallocate":
		return "", unix.Fallocate(fd, uint32(c.flags), c.off, c.len), true
	case "fchmod":
		return "", unix.Fchmod(fd, c.mode), true
	case "fchown":
		return "", unix.Fchown(fd, owner(c.off), owner(c.len)), true
	case "futimens":
		return "", unix.UtimesNanoAt(fd, "", timespecs(c), unix.AT_EMPTY_PATH), true
	case "copy":
		from, to := c.off, c.off+200_000
		n, err := unix.CopyFileRange(fd, &from, s.fds[(c.slot+1)%slots], &to, int(c.len), 0)
		return fmt.Sprint(n), err, true
	case "fstat":
		var st unix.Stat_t
		err := unix.Fstat(fd, &st)
		return show(&st), err, true
	}
	return "", nil, false
}

// owner turns a number into an id for chown(2); some mean "leave it".
func owner(n int64) int { return []int{-1, 0, 1001, 1002, 2001}[n%5] }

func pattern(seed, n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((seed + int64(i)) * 7 >> 2)
	}
	return b
}

func timespecs(c call) []unix.Timespec {
	ts := make([]unix.Timespec, 2)
	for i, sec := range c.seconds {
		switch sec {
		case timeNow:
			ts[i].Nsec = unix.UTIME_NOW
		case timeOmit:
			ts[i].Nsec = unix.UTIME_OMIT
		default:
			ts[i] = unix.Timespec{Sec: sec, Nsec: 123_456_789}
		}
	}
	return ts
}

func birth(p string) (string, error) {
	var x unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_ALL, &x); err != nil {
		return "", err
	}
	return "born " + when(x.Btime.Sec, int64(x.Btime.Nsec)), nil
}

// when shows a time: exactly if a call set it.
func when(sec, nsec int64) string {
	if time.Since(time.Unix(sec, nsec)).Abs() < 24*time.Hour {
		return "now"
	}
	return fmt.Sprintf("%d.%09d", sec, nsec)
}

// show is what is compared of a stat. The access time of what is no file is left out: resolving a path
// through a symlink, and listing, set it.
func show(st *unix.Stat_t) string {
	size := st.Size
	kind := st.Mode & unix.S_IFMT
	atime := when(st.Atim.Unix())
	if kind == unix.S_IFDIR {
		size = 0
	}
	if kind != unix.S_IFREG {
		atime = "-"
	}
	return fmt.Sprintf("%06o nlink %d %d:%d rdev %d size %d a %s m %s c %s", st.Mode, st.Nlink, st.Uid, st.Gid, st.Rdev,
		size, atime, when(st.Mtim.Unix()), when(st.Ctim.Unix()))
}

func lstat(p string) string {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return unix.ErrnoName(err.(syscall.Errno))
	}
	return show(&st)
}

func list(p string) (string, error) {
	entries, err := os.ReadDir(p)
	if err != nil {
		return "", err
	}
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = fmt.Sprintf("%q %v", e.Name(), e.Type())
	}
	return strings.Join(all, ", "), nil
}

// cat reads a file as a reader does.
func cat(p string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "", unix.EINVAL // a FIFO would block
	}
	b, err := os.ReadFile(p)
	return fmt.Sprintf("%d %x", len(b), sha256.Sum256(b)), err
}

func syncDir(p string) error {
	fd, err := unix.Open(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fsync(fd), unix.Close(fd))
}

// after is what is compared after a call: the attributes of what it was about.
func (s *side) after(c call) string {
	out := []string{lstat(s.at(c.path)), lstat(filepath.Dir(s.at(c.path)))}
	switch c.kind {
	case "link", "symlink", "rename", "renameat2":
		out = append(out, lstat(s.at(c.to)), lstat(filepath.Dir(s.at(c.to))))
	}
	if fd := s.fds[c.slot]; fd >= 0 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			out = append(out, err.Error())
		} else {
			out = append(out, show(&st))
		}
	}
	return strings.Join(out, "\n  ")
}

// tree describes everything below the root, without setting access times.
func (s *side) tree() ([]string, error) {
	var all []string
	err := filepath.WalkDir(s.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%q %s", strings.TrimPrefix(p, s.root), lstat(p))
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			line += " -> " + target
		case d.Type().IsRegular():
			sum, err := content(p)
			if err != nil {
				return err
			}
			line += " " + sum
		}
		names, err := s.xattr(call{kind: "listxattr"}, p)
		all = append(all, line+" "+names)
		return err
	})
	slices.Sort(all)
	return all, err
}

func content(p string) (string, error) {
	fd, err := unix.Open(p, unix.O_RDONLY|unix.O_NOATIME|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), p)
	defer f.Close()
	h := sha256.New()
	_, err = f.WriteTo(h)
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), err
}
