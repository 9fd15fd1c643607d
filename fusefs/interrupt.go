package fusefs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// dyingPause is how often the thread of a request that takes long is looked at.
const dyingPause = 20 * time.Millisecond

// killable handles a request that may wait long for the disk: nobody waits for it any more once its thread is
// being killed. The work itself runs to its end either way, and is counted among those under way until then.
func (d *door) killable(tid uint32, underWay *sync.WaitGroup, work func() error) fuse.Status {
	done := make(chan error, 1)
	underWay.Go(func() { done <- work() })
	look := time.NewTicker(dyingPause)
	defer look.Stop()
	looked := make(chan bool, 1)
	looking := false
	for {
		select {
		case err := <-done:
			return d.status(err)
		case killed := <-looked:
			if looking = false; killed {
				return fuse.EINTR // which nobody sees
			}
		case <-look.C:
			// Who looks is not waited for: the kernel shows nothing of a process in execve(2) before its files are
			// closed, and that may wait for this very answer.
			if !looking {
				looking = true
				go func() { looked <- dying(tid) }()
			}
		}
	}
}

// Fields of /proc/TID/stat, see proc_pid_stat(5), counted behind the command's name.
const (
	statFlags    = 9 - 3
	statPending  = 31 - 3
	statExitCode = 52 - 3

	exiting = 0x4 // PF_EXITING of linux/sched.h
)

// dying reports whether a thread has a fatal signal to end by, or is ending by one. The kernel turns each such
// signal into a SIGKILL for all threads of the process, which stays pending while they wait for us; INTERRUPT
// does not say which signal came, and does not come when a process that ends closes its files.
func dying(tid uint32) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", tid))
	if err != nil {
		return false // lives where we can't see it, so it is waited for
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) <= statExitCode {
		return false
	}
	number := func(field int) uint64 { n, _ := strconv.ParseUint(f[field], 10, 64); return n }
	bySignal := number(statExitCode)&0x7f != 0 // as in wait(2)
	return number(statPending)&(1<<(unix.SIGKILL-1)) != 0 || number(statFlags)&exiting != 0 && bySignal
}
