package posix

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// The tables of this package are scripts of system calls, a line each, written as strace(1) shows them:
//
//	[as UID[:GID[,GROUP...]]] CALL ARGUMENT... [| CALL ON THE DESCRIPTOR...]... [= RESULT]
//
// A result is an errno's name, or what the call returned; without one the call must succeed. Each section of a
// table has a directory of its own, with the umask 022. Arguments in quotes are Go strings; N*255 is a name of
// that length. "times F,G CALL..." says which of atime, mtime and ctime of F and G the call changed.
type table map[string]string

// onBoth runs a table on ext4, which shows that it is right, and on the mount.
func onBoth(t *testing.T, tbl table) {
	t.Helper()
	_, ours := bucket(t)
	disk := harness.NewDisk(t, "ext4", 512<<20)
	for _, fs := range []struct{ name, dir string }{{"ext4", disk.Dir}, {"k3fs", ours}} {
		for _, section := range slices.Sorted(maps.Keys(tbl)) {
			t.Run(fs.name+"/"+strings.ReplaceAll(section, " ", "_"), func(t *testing.T) {
				dir := filepath.Join(fs.dir, section)
				require.NoError(t, os.Mkdir(dir, 0o755))
				play(t, dir, tbl[section])
			})
		}
	}
}

// playIn names the directory in which this process, the test's own binary, plays the script on its input.
const playIn = "K3FS_POSIX_PLAY_IN"

func TestMain(m *testing.M) {
	dir := os.Getenv(playIn)
	if dir == "" {
		os.Exit(m.Run())
	}
	script, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = os.Chdir(dir)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	runtime.LockOSThread() // the credentials are this thread's
	for _, line := range playLines(string(script)) {
		fmt.Println(line)
	}
}

// play runs a script in a directory, in a process of its own: for the umask, the credentials, and since a thread
// that took others' and ended would take the daemons that it had started along (PR_SET_PDEATHSIG).
func play(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), playIn+"="+dir)
	cmd.Stdin = strings.NewReader(script)
	require.Empty(t, harness.Run(t, cmd))
}

func playLines(script string) (failed []string) {
	unix.Umask(0o022)
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		command, want, said := strings.Cut(line, " = ")
		if !said {
			want = "ok"
		}
		if got := do(words(command)); got != strings.TrimSpace(want) {
			failed = append(failed, fmt.Sprintf("%s\n\tanswered %s", line, got))
		}
	}
	return failed
}

func words(command string) []string {
	all := strings.Fields(command)
	for i, w := range all {
		if s, err := strconv.Unquote(w); err == nil {
			all[i] = s
		}
		for at := strings.Index(all[i], "N*"); at >= 0; at = strings.Index(all[i], "N*") {
			n := all[i][at+2:]
			if end := strings.IndexFunc(n, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
				n = n[:end]
			}
			all[i] = all[i][:at] + strings.Repeat("n", number(n)) + all[i][at+2+len(n):]
		}
	}
	return all
}

// do makes one line's calls.
func do(w []string) string {
	switch w[0] {
	case "as":
		if err := become(w[1]); err != nil {
			return "become: " + err.Error()
		}
		out := do(w[2:])
		if err := become("0"); err != nil {
			return "become: " + err.Error()
		}
		return out
	case "times":
		return times(strings.Split(w[1], ","), w[2:])
	}
	var first, rest []string
	if bar := slices.Index(w, "|"); bar >= 0 {
		first, rest = w[:bar], w[bar+1:]
	} else {
		first = w
	}
	if first[0] == "open" {
		return open(first[1:], rest)
	}
	call, known := calls[first[0]]
	if !known {
		return "no call " + first[0]
	}
	return answer(call(first[1:]))
}

func answer(out string, err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	case err != nil:
		return err.Error()
	case out == "":
		return "ok"
	}
	return out
}

// open makes the calls behind the bars on the descriptor, and answers with what the last, or the first that
// failed, said.
func open(a, rest []string) string {
	mode := uint32(0o644)
	if len(a) > 2 {
		mode = octal(a[2])
	}
	fd, err := unix.Open(a[0], flag(a[1])|unix.O_CLOEXEC, mode)
	if err != nil {
		return answer("", err)
	}
	defer unix.Close(fd)
	out := "ok"
	for len(rest) > 0 {
		var w []string
		if bar := slices.Index(rest, "|"); bar >= 0 {
			w, rest = rest[:bar], rest[bar+1:]
		} else {
			w, rest = rest, nil
		}
		call, known := onDescriptor[w[0]]
		if !known {
			return "no call " + w[0]
		}
		out, err = call(fd, w[1:])
		if out = answer(out, err); err != nil {
			return out
		}
	}
	return out
}

// become gives this thread the ids of a user; the saved uid stays root's, so that there is a way back. The
// library's functions would change the whole process.
func become(who string) error {
	ids, groups, _ := strings.Cut(who, ",")
	u, g, given := strings.Cut(ids, ":")
	if !given {
		g = u
	}
	var list []uint32
	for s := range strings.SplitSeq(groups, ",") {
		if s != "" {
			list = append(list, uint32(number(s)))
		}
	}
	raw := func(trap, a, b, c uintptr) error {
		if _, _, errno := unix.RawSyscall(trap, a, b, c); errno != 0 {
			return errno
		}
		return nil
	}
	if err := raw(unix.SYS_SETRESUID, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(list)), uintptr(unsafe.Pointer(unsafe.SliceData(list))), 0); errno != 0 {
		return errno
	}
	gid, uid := uintptr(number(g)), uintptr(number(u))
	return errors.Join(raw(unix.SYS_SETRESGID, gid, gid, gid), raw(unix.SYS_SETRESUID, uid, uid, 0))
}

// times says which times of some files a call changed: "f:mc .:-". Both file systems stamp by the kernel's
// coarse clock, so it is waited for that.
func times(paths, call []string) string {
	before := make([]unix.Stat_t, len(paths))
	latest := int64(0)
	for i, p := range paths {
		if err := unix.Lstat(p, &before[i]); err != nil {
			return p + ": " + err.Error()
		}
		for _, ts := range []unix.Timespec{before[i].Atim, before[i].Mtim, before[i].Ctim} {
			latest = max(latest, ts.Nano())
		}
	}
	for now := int64(0); now <= latest; time.Sleep(time.Millisecond) {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
			return err.Error()
		}
		now = ts.Nano()
	}
	answered := do(call)
	var out []string
	for i, p := range paths {
		var after unix.Stat_t
		if err := unix.Lstat(p, &after); err != nil {
			return p + ": " + err.Error()
		}
		changed := ""
		for _, c := range []struct {
			letter    string
			was, ends unix.Timespec
		}{{"a", before[i].Atim, after.Atim}, {"m", before[i].Mtim, after.Mtim}, {"c", before[i].Ctim, after.Ctim}} {
			switch {
			case c.was.Nano() < c.ends.Nano():
				changed += c.letter
			case c.was.Nano() > c.ends.Nano():
				changed += c.letter + "(back)"
			}
		}
		if changed == "" {
			changed = "-"
		}
		out = append(out, p+":"+changed)
	}
	if answered != "ok" {
		out = append(out, answered)
	}
	return strings.Join(out, " ")
}

func number(s string) int {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		panic(err)
	}
	return int(n)
}

func octal(s string) uint32 {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil {
		panic(err)
	}
	return uint32(n)
}

// flag adds up flags by their names.
func flag(s string) int {
	all := 0
	for name := range strings.SplitSeq(s, "|") {
		n, known := flags[name]
		if !known {
			panic("no flag " + name)
		}
		all |= n
	}
	return all
}

var flags = map[string]int{
	"0": 0, "RDONLY": unix.O_RDONLY, "WRONLY": unix.O_WRONLY, "RDWR": unix.O_RDWR, "CREAT": unix.O_CREAT, "EXCL": unix.O_EXCL,
	"TRUNC": unix.O_TRUNC, "APPEND": unix.O_APPEND, "DIRECTORY": unix.O_DIRECTORY, "NOFOLLOW": unix.O_NOFOLLOW,
	"PATH": unix.O_PATH, "NONBLOCK": unix.O_NONBLOCK, "TMPFILE": unix.O_TMPFILE, "NOATIME": unix.O_NOATIME,
	"NOREPLACE": unix.RENAME_NOREPLACE, "EXCHANGE": unix.RENAME_EXCHANGE, "WHITEOUT": unix.RENAME_WHITEOUT, "BOGUS": 1 << 20,
	"FOLLOW": unix.AT_SYMLINK_FOLLOW, "XCREATE": unix.XATTR_CREATE, "XREPLACE": unix.XATTR_REPLACE,
	"fifo": unix.S_IFIFO, "sock": unix.S_IFSOCK, "chr": unix.S_IFCHR, "blk": unix.S_IFBLK, "reg": unix.S_IFREG, "dir": unix.S_IFDIR,
	"lnk": unix.S_IFLNK, "r": unix.R_OK, "w": unix.W_OK, "x": unix.X_OK, "rw": unix.R_OK | unix.W_OK, "f": unix.F_OK,
}
