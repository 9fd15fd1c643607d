package fusefs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// lockerEnv makes the test binary a process that takes locks when it is told to on stdin.
const lockerEnv = "FUSEFS_TEST_LOCKER"

// runLocker reads commands, one a line, and writes an answer for each; those that wait for a lock answer late.
func runLocker() {
	signal.Notify(make(chan os.Signal, 1), unix.SIGUSR1) // a signal with a handler, to be interrupted by
	fmt.Println("ready")
	var fds []int
	var out sync.Mutex
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		words := strings.Fields(in.Text())
		answer := func(s string) {
			out.Lock()
			defer out.Unlock()
			fmt.Println(s)
		}
		switch words[0] {
		case "open", "take", "dup":
			fd, err := newDescriptor(words, fds)
			fds = append(fds, fd)
			answer(errName(err))
		case "close":
			answer(errName(unix.Close(fds[number(words[1])])))
		case "fsync":
			fd := fds[number(words[1])]
			go func() { answer(errName(unix.Fsync(fd))) }()
		case "getlk", "ofdgetlk":
			answer(getLock(fds[number(words[1])], words))
		default:
			go func() { answer(errName(lock(fds[number(words[1])], words))) }()
		}
	}
}

// newDescriptor opens a path, takes a descriptor away from another process, or duplicates one.
func newDescriptor(words []string, fds []int) (int, error) {
	switch words[0] {
	case "open":
		return unix.Open(words[1], unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	case "dup":
		return unix.Dup(fds[number(words[1])])
	}
	pid, err := unix.PidfdOpen(number(words[1]), 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(pid)
	return unix.PidfdGetfd(pid, number(words[2]), 0)
}

// lock obeys "setlk FD MODE START LAST" and its kin, and "flock FD MODE".
func lock(fd int, words []string) error {
	if how, ok := map[string]int{"flock": 0, "flocknb": unix.LOCK_NB}[words[0]]; ok {
		return unix.Flock(fd, how|map[string]int{"r": unix.LOCK_SH, "w": unix.LOCK_EX, "u": unix.LOCK_UN}[words[2]])
	}
	l := flockOf(words)
	return unix.FcntlFlock(uintptr(fd), map[string]int{
		"setlk": unix.F_SETLK, "setlkw": unix.F_SETLKW, "ofdsetlk": unix.F_OFD_SETLK, "ofdsetlkw": unix.F_OFD_SETLKW,
	}[words[0]], &l)
}

func flockOf(words []string) unix.Flock_t {
	l := unix.Flock_t{Type: map[string]int16{"r": unix.F_RDLCK, "w": unix.F_WRLCK, "u": unix.F_UNLCK}[words[2]]}
	l.Start = int64(number(words[3]))
	if words[4] != "$" {
		l.Len = int64(number(words[4])) - l.Start + 1
	}
	return l
}

func getLock(fd int, words []string) string {
	l, cmd := flockOf(words), unix.F_GETLK
	if words[0] == "ofdgetlk" {
		cmd = unix.F_OFD_GETLK
	}
	if err := unix.FcntlFlock(uintptr(fd), cmd, &l); err != nil {
		return errName(err)
	}
	if l.Type == unix.F_UNLCK {
		return "free"
	}
	last := "$"
	if l.Len != 0 {
		last = strconv.FormatInt(l.Start+l.Len-1, 10)
	}
	return fmt.Sprintf("%c %d %s by %d", "rw"[l.Type], l.Start, last, l.Pid)
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func errName(err error) string {
	var e unix.Errno
	if errors.As(err, &e) {
		return unix.ErrnoName(e)
	}
	return "ok"
}

// locker is such a process.
type locker struct {
	t       *testing.T
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan string
}

func startLocker(t *testing.T) *locker {
	l := &locker{t: t, cmd: exec.Command(os.Args[0]), answers: make(chan string, 16)}
	l.cmd.Env = append(os.Environ(), lockerEnv+"=1")
	l.cmd.Stderr = os.Stderr
	var err error
	l.in, err = l.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := l.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, l.cmd.Start())
	go func() {
		defer close(l.answers)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			l.answers <- lines.Text()
		}
	}()
	require.Equal(t, "ready", <-l.answers)
	t.Cleanup(l.kill)
	return l
}

func (l *locker) tell(command string) {
	_, err := fmt.Fprintln(l.in, command)
	require.NoError(l.t, err)
}

// kill ends the process, which must not hang.
func (l *locker) kill() {
	if l.cmd.ProcessState == nil {
		_ = l.cmd.Process.Kill()
		_ = l.cmd.Wait()
	}
}
