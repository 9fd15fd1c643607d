package fusefs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/fusefs/locks"
)

// lockCases are stories of processes A, B and C that take locks. A line is "PROCESS COMMAND = ANSWER", and no
// answer means ok. Commands are those of runLocker; the file is the first that was opened, or the one behind
// "@". "waits" means that the answer comes later, which "answers" picks up; "signal" interrupts.
var lockCases = map[string]string{
	"record locks": `
		A setlk w 0 9
		B setlk w 5 14 = EAGAIN
		B setlk r 9 9 = EAGAIN
		B getlk w 0 $ = w 0 9 by A
		B getlk r 10 $ = free
		A getlk w 0 $ = free
		B setlk w 10 19
		A setlk r 0 9
		B setlk r 0 9
		A setlk w 0 9 = EAGAIN
		A getlk w 0 $ = r 0 9 by B
		B setlk u 0 4
		A setlk w 0 4
		B getlk r 0 $ = w 0 4 by A
		A setlk u 0 $
		B getlk w 0 $ = free
		A getlk w 0 $ = r 5 9 by B`,
	"split and join": `
		A setlk w 0 $
		A setlk u 10 19
		B setlk w 10 19
		B setlk w 9 9 = EAGAIN
		B getlk r 20 $ = w 20 $ by A
		B setlk u 0 $
		A setlk w 10 19
		B getlk r 0 $ = w 0 $ by A`,
	"closing any descriptor drops a process's record locks": `
		A open
		A setlk w 0 9
		A setlk@1 w 20 29
		A close 1
		B setlk w 0 $`,
	"closing a duplicate drops them too": `
		A dup 0
		A setlk w 0 9
		A close 1
		B setlk w 0 $`,
	"a borrowed descriptor takes no record locks along": `
		A setlk w 0 9
		C take A
		C setlk@1 w 0 9 = EAGAIN
		C close 1
		B setlk w 0 9 = EAGAIN
		A close 0
		B setlk w 0 9`,
	"waiting": `
		A setlk w 0 9
		B setlkw w 5 14 = waits
		C setlkw r 0 4 = waits
		A setlk u 0 4
		C answers
		A setlk u 5 9
		B answers
		A setlkw w 0 $ = waits
		B close 0
		C setlk u 0 4
		A answers`,
	"the first comes first": `
		A flock w
		B flock w = waits
		C flock w = waits
		A flock u
		B answers
		A flocknb w = EAGAIN
		B close 0
		C answers`,
	"death": `
		A setlk w 0 9
		A flock w
		B setlkw w 0 0 = waits
		C flock w = waits
		A dies
		B answers
		C answers`,
	"death of one who waits": `
		A setlk w 0 9
		B setlkw w 0 9 = waits
		C flock r
		B flock w = waits
		B dies
		A setlk u 0 9
		C setlkw w 0 9
		A flocknb r`,
	"deadlock": `
		A setlk w 0 0
		B setlk w 1 1
		A setlkw w 1 1 = waits
		B setlkw w 0 0 = EDEADLK
		B setlk u 1 1
		A answers`,
	"deadlock of three": `
		A setlk w 0 0
		B setlk w 1 1
		C setlk w 2 2
		A setlkw r 1 1 = waits
		B setlkw w 2 2 = waits
		C setlkw r 0 0 = EDEADLK
		C close 0
		B answers
		B close 0
		A answers`,
	"deadlock of upgrades": `
		A setlk r 0 $
		B setlk r 0 $
		A setlkw w 0 $ = waits
		B setlkw w 0 $ = EDEADLK
		B setlk u 0 $
		A answers`,
	"flock": `
		A flock r
		B flocknb r
		A flocknb w = EAGAIN
		B flocknb w
		A flocknb r = EAGAIN
		C setlk w 0 $
		B flocknb r
		A flocknb r
		B close 0
		A flocknb w`,
	"flock belongs to the description": `
		A flock w
		A open
		A flocknb@1 r = EAGAIN
		A dup 0
		A close 0
		B flocknb w = EAGAIN
		C take A 2
		C flocknb@1 w
		A close 2
		B flocknb w = EAGAIN
		C close 1
		B flock w`,
	"a refused upgrade loses the flock": `
		A flock r
		B flock r
		A flocknb w = EAGAIN
		B flocknb w`,
	"locks of descriptions": `
		A ofdsetlk w 0 9
		A open
		A ofdsetlk@1 w 5 14 = EAGAIN
		A setlk r 0 0 = EAGAIN
		A setlk r 10 10
		B setlk r 0 0 = EAGAIN
		B ofdgetlk w 20 $ = free
		A dup 0
		A close 0
		B ofdsetlk r 0 0 = EAGAIN
		A close 2
		B ofdsetlk r 0 0`,
	"a lent description keeps its locks": `
		A ofdsetlk w 0 9
		C take A
		C ofdsetlk@1 w 5 19
		A close 0
		B setlk r 0 0 = EAGAIN
		C close 1
		B setlk w 0 $`,
	"locks of descriptions know no deadlock": `
		A ofdsetlk w 0 0
		B ofdsetlk w 1 1
		A ofdsetlkw w 1 1 = waits
		B ofdsetlkw w 0 0 = waits
		B dies
		A answers`,
	"a signal with a handler": `
		A setlk w 0 9
		B setlkw w 0 9 = waits
		B signal
		A flock w
		C flock w = waits
		C signal
		A close 0
		B answers
		C answers`,
	"ends of ranges": `
		A setlk w 9223372036854775806 $
		B setlk w 9223372036854775807 $ = EAGAIN
		B getlk r 0 $ = w 9223372036854775806 $ by A
		B setlk w 0 9223372036854775805`,
}

// lockStory plays one case. Each process has a directory to open the file in.
type lockStory struct {
	t       *testing.T
	path    map[string]string
	procs   map[string]*locker
	waiting func() int // how many wait for locks of the file
	blocked map[string]int
}

func (s *lockStory) play(lines string) {
	for _, who := range []string{"A", "B", "C"} {
		s.procs[who] = startLocker(s.t)
		s.do(who, "open", "ok")
	}
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		command, want, _ := strings.Cut(line, " = ")
		if want == "" {
			want = "ok"
		}
		who, command, _ := strings.Cut(command, " ")
		s.do(who, command, want)
	}
}

func (s *lockStory) do(who, command, want string) {
	p, label := s.procs[who], who+" "+command
	switch words := strings.Fields(command); words[0] {
	case "dies":
		p.kill()
		s.blocked[who] = 0
		return
	case "signal":
		require.NoError(s.t, p.cmd.Process.Signal(syscall.SIGUSR1))
		return
	case "answers":
		s.blocked[who]--
	case "open":
		p.tell("open " + s.path[who])
	case "take":
		from := "0"
		if len(words) > 2 {
			from = words[2]
		}
		p.tell(fmt.Sprintf("take %d %d", s.procs[words[1]].cmd.Process.Pid, s.descriptor(words[1], from)))
	case "dup", "close":
		p.tell(command)
	default:
		verb, file, found := strings.Cut(words[0], "@")
		if !found {
			file = "0"
		}
		p.tell(strings.Join(append([]string{verb, file}, words[1:]...), " "))
	}
	if want == "waits" {
		s.blocked[who]++
		require.Eventually(s.t, func() bool { return s.waiting() == s.blocked["A"]+s.blocked["B"]+s.blocked["C"] }, waitFor, tick, "%s does not wait", label)
		return
	}
	select {
	case got, ok := <-p.answers:
		require.True(s.t, ok, "%s: it died", label)
		require.Equal(s.t, want, s.named(got), label)
	case <-time.After(waitFor):
		require.Fail(s.t, "no answer", label)
	}
}

// named puts processes' names for their ids.
func (s *lockStory) named(answer string) string {
	for who, p := range s.procs {
		answer = strings.ReplaceAll(answer, fmt.Sprintf(" by %d", p.cmd.Process.Pid), " by "+who)
	}
	return answer
}

// descriptor is the number of the process's nth descriptor of the file.
func (s *lockStory) descriptor(who, nth string) int {
	dir := fmt.Sprintf("/proc/%d/fd", s.procs[who].cmd.Process.Pid)
	names, err := os.ReadDir(dir)
	require.NoError(s.t, err)
	var of []int
	for _, n := range names {
		if to, _ := os.Readlink(filepath.Join(dir, n.Name())); to == s.path[who] {
			of = append(of, number(n.Name()))
		}
	}
	require.NotEmpty(s.t, of)
	slices.Sort(of)
	return of[min(number(nth), len(of)-1)]
}

// blockedInKernel counts who waits for the kernel's own locks of a file.
func blockedInKernel(t *testing.T, path string) int {
	var st syscall.Stat_t
	require.NoError(t, syscall.Stat(path, &st))
	b, err := os.ReadFile("/proc/locks")
	require.NoError(t, err)
	return len(regexp.MustCompile(fmt.Sprintf(`(?m)^\d+: +->.*:%d `, st.Ino)).FindAll(b, -1))
}

// twoMounts mounts a real namespace twice, as a daemon does on demand, and returns its table of locks and a bucket in each.
func twoMounts(t *testing.T) (*locks.Table, string, string) {
	needsFUSE(t)
	table, peers := &locks.Table{}, &Peers{}
	first, second := NewInvalidator(), NewInvalidator()
	views, stop, err := openNamespaceFor(t.TempDir(), first, second)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stop()) })
	a := mounted(t, Options{FS: views[0], Invalidator: first, AllowOther: true, Locks: table, Peers: peers, WriteThrough: true})
	b := mounted(t, Options{FS: views[1], Invalidator: second, AllowOther: true, Locks: table, Peers: peers, WriteThrough: true})
	require.NoError(t, os.Mkdir(filepath.Join(a.opts.Dir, "bucket"), 0o777))
	return table, filepath.Join(a.opts.Dir, "bucket"), filepath.Join(b.opts.Dir, "bucket")
}

// The locking matrix: one mount and two mounts of a daemon give the answers that the kernel gives for its own
// file systems.
func TestLocks(t *testing.T) {
	for _, where := range []string{"kernel", "one mount", "two mounts"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel() // it waits now and then
			table, one, two := twoMounts(t)
			switch where {
			case "kernel":
				one = t.TempDir()
				two = one
			case "one mount":
				two = one
			}
			for name, lines := range lockCases {
				t.Run(name, func(t *testing.T) {
					file := strings.ReplaceAll(name, " ", "-")
					s := &lockStory{t: t, procs: map[string]*locker{}, blocked: map[string]int{}, path: map[string]string{"A": filepath.Join(one, file),
						"B": filepath.Join(two, file), "C": filepath.Join(one, file)}}
					s.waiting = func() int { return blockedInKernel(t, s.path["A"]) }
					if where != "kernel" {
						s.waiting = func() int { _, n := table.Len(); return n }
					}
					s.play(lines)
				})
				if where != "kernel" {
					require.Eventually(t, func() bool { held, waiting := table.Len(); return held+waiting == 0 }, waitFor, tick,
						"%s: locks outlive their owners", name)
				}
			}
		})
	}
}
