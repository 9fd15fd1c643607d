package posix

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func none(err error) (string, error) { return "", err }

// calls are those of paths, onDescriptor those of a descriptor.
var calls = map[string]func(a []string) (string, error){
	"mkdir":   func(a []string) (string, error) { return none(unix.Mkdir(a[0], octal(a[1]))) },
	"rmdir":   func(a []string) (string, error) { return none(unix.Rmdir(a[0])) },
	"unlink":  func(a []string) (string, error) { return none(unix.Unlink(a[0])) },
	"rename":  func(a []string) (string, error) { return none(unix.Rename(a[0], a[1])) },
	"link":    func(a []string) (string, error) { return none(unix.Link(a[0], a[1])) },
	"symlink": func(a []string) (string, error) { return none(unix.Symlink(a[0], a[1])) },
	"renameat2": func(a []string) (string, error) {
		return none(unix.Renameat2(unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], uint(flag(a[2]))))
	},
	"linkat": func(a []string) (string, error) {
		return none(unix.Linkat(unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], flag(a[2])))
	},
	"mknod": func(a []string) (string, error) {
		return none(unix.Mknod(a[0], uint32(flag(a[1]))|octal(a[2]), int(unix.Mkdev(1, 3))))
	},
	"chmod":       func(a []string) (string, error) { return none(unix.Chmod(a[0], octal(a[1]))) },
	"chown":       func(a []string) (string, error) { return none(unix.Chown(a[0], number(a[1]), number(a[2]))) },
	"lchown":      func(a []string) (string, error) { return none(unix.Lchown(a[0], number(a[1]), number(a[2]))) },
	"truncate":    func(a []string) (string, error) { return none(unix.Truncate(a[0], int64(number(a[1])))) },
	"access":      func(a []string) (string, error) { return none(unix.Access(a[0], uint32(flag(a[1])))) },
	"umask":       func(a []string) (string, error) { unix.Umask(int(octal(a[0]))); return "", nil },
	"chdir":       func(a []string) (string, error) { return none(unix.Chdir(a[0])) },
	"setxattr":    func(a []string) (string, error) { return none(unix.Setxattr(a[0], a[1], []byte(a[2]), flag(a[3]))) },
	"removexattr": func(a []string) (string, error) { return none(unix.Removexattr(a[0], a[1])) },
	"getxattr": func(a []string) (string, error) {
		b := make([]byte, number(a[2]))
		n, err := unix.Getxattr(a[0], a[1], b)
		if len(b) == 0 {
			return strconv.Itoa(n), err
		}
		return string(b[:max(n, 0)]), err
	},
	"utimens": func(a []string) (string, error) {
		return none(unix.UtimesNanoAt(unix.AT_FDCWD, a[0], []unix.Timespec{timespec(a[1]), timespec(a[2])}, 0))
	},
	"lutimens": func(a []string) (string, error) {
		return none(unix.UtimesNanoAt(unix.AT_FDCWD, a[0], []unix.Timespec{timespec(a[1]), timespec(a[2])}, unix.AT_SYMLINK_NOFOLLOW))
	},
	"stat": func(a []string) (string, error) {
		var st unix.Stat_t
		err := unix.Stat(a[0], &st)
		return fields(&st, a[1:]), err
	},
	"lstat": func(a []string) (string, error) {
		var st unix.Stat_t
		err := unix.Lstat(a[0], &st)
		return fields(&st, a[1:]), err
	},
	"readlink": func(a []string) (string, error) {
		b := make([]byte, 5000)
		n, err := unix.Readlink(a[0], b)
		return string(b[:max(n, 0)]), err
	},
	"cat": func(a []string) (string, error) {
		b, err := os.ReadFile(a[0])
		return strconv.Quote(string(b)), err
	},
	"ls": func(a []string) (string, error) {
		entries, err := os.ReadDir(a[0])
		names := make([]string, len(entries))
		for i, e := range entries {
			names[i] = strconv.QuoteToASCII(e.Name())
		}
		slices.Sort(names)
		return fmt.Sprint(names), err
	},
	"same": func(a []string) (string, error) {
		var x, y unix.Stat_t
		if err := unix.Lstat(a[0], &x); err != nil {
			return "", err
		}
		err := unix.Lstat(a[1], &y)
		return strconv.FormatBool(x.Ino == y.Ino), err
	},
}

var onDescriptor = map[string]func(fd int, a []string) (string, error){
	"write": func(fd int, a []string) (string, error) {
		_, err := unix.Write(fd, []byte(a[0]))
		return "", err
	},
	"read": func(fd int, a []string) (string, error) {
		b := make([]byte, number(a[0]))
		n, err := unix.Read(fd, b)
		return strconv.Quote(string(b[:max(n, 0)])), err
	},
	"pread": func(fd int, a []string) (string, error) {
		b := make([]byte, number(a[0]))
		n, err := unix.Pread(fd, b, int64(number(a[1])))
		return strconv.Quote(string(b[:max(n, 0)])), err
	},
	"pwrite": func(fd int, a []string) (string, error) {
		_, err := unix.Pwrite(fd, []byte(a[0]), int64(number(a[1])))
		return "", err
	},
	"getdents": func(fd int, _ []string) (string, error) {
		_, err := unix.Getdents(fd, make([]byte, 32<<10))
		return "", err
	},
	"lseek": func(fd int, a []string) (string, error) {
		n, err := unix.Seek(fd, int64(number(a[0])), number(a[1]))
		return strconv.FormatInt(n, 10), err
	},
	"ftruncate": func(fd int, a []string) (string, error) { return none(unix.Ftruncate(fd, int64(number(a[0])))) },
	"fchmod":    func(fd int, a []string) (string, error) { return none(unix.Fchmod(fd, octal(a[0]))) },
	"fchown":    func(fd int, a []string) (string, error) { return none(unix.Fchown(fd, number(a[0]), number(a[1]))) },
	"fsync":     func(fd int, _ []string) (string, error) { return none(unix.Fsync(fd)) },
	"fallocate": func(fd int, a []string) (string, error) {
		return none(unix.Fallocate(fd, 0, int64(number(a[0])), int64(number(a[1]))))
	},
	"unlink": func(_ int, a []string) (string, error) { return none(unix.Unlink(a[0])) },
	"rename": func(_ int, a []string) (string, error) { return none(unix.Rename(a[0], a[1])) },
	"rmdir":  func(_ int, a []string) (string, error) { return none(unix.Rmdir(a[0])) },
	"linkfd": func(fd int, a []string) (string, error) {
		return none(unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/thread-self/fd/%d", fd), unix.AT_FDCWD, a[0], unix.AT_SYMLINK_FOLLOW))
	},
	"createat": func(fd int, a []string) (string, error) {
		f, err := unix.Openat(fd, a[0], unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err == nil {
			err = unix.Close(f)
		}
		return "", err
	},
	"fstat": func(fd int, a []string) (string, error) {
		var st unix.Stat_t
		err := unix.Fstat(fd, &st)
		return fields(&st, a), err
	},
}

// timespec reads "now", "omit" or seconds.nanoseconds.
func timespec(s string) unix.Timespec {
	switch s {
	case "now":
		return unix.Timespec{Nsec: unix.UTIME_NOW}
	case "omit":
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	sec, nsec, _ := strings.Cut(s, ".")
	ts := unix.Timespec{Sec: int64(number(sec))}
	if nsec != "" {
		n, err := strconv.ParseInt(nsec, 10, 64)
		if err != nil {
			panic(err)
		}
		ts.Nsec = n
	}
	return ts
}

// fields shows what is asked for of a stat.
func fields(st *unix.Stat_t, names []string) string {
	var out []string
	for _, name := range names {
		switch name {
		case "mode":
			out = append(out, fmt.Sprintf("%04o", st.Mode&0o7777))
		case "type":
			for _, kind := range []string{"fifo", "sock", "chr", "blk", "reg", "dir", "lnk"} {
				if uint32(flags[kind]) == st.Mode&unix.S_IFMT {
					out = append(out, kind)
				}
			}
		case "ids":
			out = append(out, fmt.Sprintf("%d:%d", st.Uid, st.Gid))
		case "nlink":
			out = append(out, fmt.Sprint(st.Nlink))
		case "size":
			out = append(out, fmt.Sprint(st.Size))
		case "rdev":
			out = append(out, fmt.Sprintf("%d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)))
		case "atime":
			out = append(out, fmt.Sprintf("%d.%09d", st.Atim.Sec, st.Atim.Nsec))
		case "mtime":
			out = append(out, fmt.Sprintf("%d.%09d", st.Mtim.Sec, st.Mtim.Nsec))
		default:
			out = append(out, "no field "+name)
		}
	}
	return strings.Join(out, " ")
}
