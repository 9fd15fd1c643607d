package reference

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/sys/unix"
)

// call is one system call of a sequence: which, and all its arguments. What a kind does not need it ignores.
type call struct {
	kind     string
	path, to string // below the root
	slot     int    // of the descriptor that it opens or uses
	flags    int
	mode     uint32
	off, len int64
	user     int // index in users
	name     string
	seconds  [2]int64 // for utimensat, or one of the two below
}

const (
	timeNow  = -1
	timeOmit = -2
)

func (c call) String() string {
	return fmt.Sprintf("%-12s %q %q slot %d flags %#x mode %#o off %d len %d user %d %q %v",
		c.kind, c.path, c.to, c.slot, c.flags, c.mode, c.off, c.len, c.user, c.name, c.seconds)
}

// user is who calls.
type user struct {
	uid, gid int
	groups   []int
}

var users = []user{{}, {uid: 1001, gid: 1001, groups: []int{1001, 2001}}, {uid: 1002, gid: 1002, groups: []int{1002}}}

const slots = 4

// names are few, so that calls meet; one is as long as may be, one too long, one no text.
var names = []string{"a", "b", "c", "d", "e", "\xff\xfe \n\\", strings.Repeat("n", 255), strings.Repeat("n", 256), ".", ".."}

func somePath(r *rand.Rand) string {
	depth := 1 + r.IntN(3)
	parts := make([]string, depth)
	for i := range parts {
		n := 5
		if r.IntN(12) == 0 {
			n = len(names)
		}
		parts[i] = names[r.IntN(n)]
	}
	// A sequence must not leave its root.
	if parts[0] == ".." {
		parts[0] = "a"
	}
	p := strings.Join(parts, "/")
	if strings.Count(p, "..") > 1 {
		p = "a/b"
	}
	if r.IntN(40) == 0 {
		p += "/"
	}
	return p
}

// weights say how often each kind of call is made.
var weights = []struct {
	kind string
	n    int
}{
	{"open", 12}, {"close", 6}, {"write", 10}, {"read", 6}, {"ftruncate", 4}, {"fsync", 1}, {"fallocate", 3},
	{"fchmod", 2}, {"fchown", 1}, {"fstat", 3}, {"futimens", 2}, {"copy", 2}, {"cat", 4},
	{"mkdir", 9}, {"rmdir", 4}, {"unlink", 6}, {"link", 5}, {"symlink", 4}, {"mknod", 3}, {"rename", 10},
	{"renameat2", 6}, {"chmod", 5}, {"chown", 4}, {"lchown", 2}, {"utimens", 5}, {"truncate", 4}, {"stat", 3},
	{"readlink", 2}, {"readdir", 3}, {"access", 2}, {"setxattr", 3}, {"getxattr", 2}, {"listxattr", 2}, {"removexattr", 2},
	{"statx", 1}, {"fsyncdir", 1},
}

func someKind(r *rand.Rand) string {
	all := 0
	for _, w := range weights {
		all += w.n
	}
	n := r.IntN(all)
	for _, w := range weights {
		if n -= w.n; n < 0 {
			return w.kind
		}
	}
	panic("unreachable")
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// someCall makes a random call.
func someCall(r *rand.Rand) call {
	c := call{
		kind: someKind(r), path: somePath(r), to: somePath(r), slot: r.IntN(slots),
		mode: pick[uint32](r, 0o755, 0o644, 0o700, 0o777, 0o6755, 0o2750, 0o1777, 0o2777, 0, 0o4711, 0o640),
		off:  pick[int64](r, 0, 1, 100, 4095, 4096, 10_000, 70_000, 200_000),
		len:  pick[int64](r, 0, 1, 13, 4096, 5000, 70_001),
		name: "user." + pick(r, "a", "b", "long"+strings.Repeat("x", 90)),
	}
	if r.IntN(4) == 0 {
		c.user = 1 + r.IntN(len(users)-1)
	}
	for i := range c.seconds {
		c.seconds[i] = pick[int64](r, timeNow, timeOmit, 0, 1, 1_000_000_000, -1000, 981_173_106)
	}
	c.flags = c.someFlags(r)
	return c
}

func (c call) someFlags(r *rand.Rand) int {
	switch c.kind {
	case "open":
		f := pick(r, unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR)
		for _, more := range []int{unix.O_CREAT, unix.O_CREAT, unix.O_EXCL, unix.O_TRUNC, unix.O_APPEND, unix.O_NOFOLLOW, unix.O_DIRECTORY, unix.O_PATH} {
			n := 6
			if more == unix.O_CREAT {
				n = 2
			}
			if r.IntN(n) == 0 {
				f |= more
			}
		}
		if f&unix.O_ACCMODE != unix.O_WRONLY && f&unix.O_PATH == 0 {
			f |= unix.O_NOATIME // reading through the kernel's cache shows only when the file is closed ("cat")
		}
		if f&unix.O_DIRECTORY != 0 {
			f &^= unix.O_CREAT // a combination that Linux changed its mind about
		}
		return f | unix.O_NONBLOCK // FIFOs
	case "renameat2":
		return pick(r, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE, unix.RENAME_EXCHANGE, unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE)
	case "mknod":
		return pick(r, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFREG, unix.S_IFCHR, unix.S_IFBLK)
	case "fallocate":
		return pick(r, 0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_ZERO_RANGE)
	case "setxattr":
		return pick(r, 0, 0, unix.XATTR_CREATE, unix.XATTR_REPLACE)
	case "utimens":
		return pick(r, 0, unix.AT_SYMLINK_NOFOLLOW)
	case "link":
		return pick(r, 0, 0, unix.AT_SYMLINK_FOLLOW)
	case "access":
		return pick(r, unix.R_OK, unix.W_OK, unix.X_OK, unix.F_OK, unix.R_OK|unix.W_OK|unix.X_OK)
	}
	return 0
}
