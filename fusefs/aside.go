package fusefs

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// aside calls f, which uses a mount of this process, as a user, on a thread that shares no descriptors with the
// process. Such a call waits for this process itself. If the process is killed meanwhile, the kernel ends the
// connection, and with it the call, when nobody holds /dev/fuse any more: were that the waiting thread, it could
// never end, nor could the process, which holds the data directory. The thread keeps those by which Go's runtime
// waits: a collection that ends on it uses them.
//
// f must make plain system calls only: the descriptors that it opens are unknown to the rest of the process.
// Another user is needed where others are not let in, for the kernel then refuses even root.
func aside(user, group int, f func() error) (err error) {
	onThread(func() {
		leaveDescriptors()
		if err = become(user, group); err == nil {
			err = f()
		}
	})
	return err
}

// leaveDescriptors gives the calling thread a table of descriptors of its own, with those of the runtime only. Where
// that can't be done (before Linux 5.9, without /proc) the danger stays as it was.
func leaveDescriptors() {
	if unix.Unshare(unix.CLONE_FILES) != nil {
		return
	}
	keep, err := runtimeDescriptors()
	if err != nil {
		return
	}
	from := uint(3)
	for _, fd := range keep {
		if fd > from {
			_ = unix.CloseRange(from, fd-1, 0)
		}
		from = max(from, fd+1)
	}
	_ = unix.CloseRange(from, math.MaxUint32, 0)
}

// runtimeDescriptors are the thread's descriptors of epoll and of events, by which the runtime waits for all others, in
// ascending order.
func runtimeDescriptors() (keep []uint, err error) {
	dir := fmt.Sprintf("/proc/self/task/%d/fd", unix.Gettid())
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		link, err := os.Readlink(dir + "/" + name.Name())
		if err != nil || link != "anon_inode:[eventpoll]" && link != "anon_inode:[eventfd]" {
			continue
		}
		fd, err := strconv.ParseUint(name.Name(), 10, 32)
		if err != nil {
			return nil, err
		}
		keep = append(keep, uint(fd))
	}
	slices.Sort(keep)
	return keep, nil
}

// onThread calls f on a thread that ends with it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread outlives its goroutine, and what it has is what /proc/self shows. While this
			// goroutine holds it, the next one gets another.
			onThread(f)
			runtime.UnlockOSThread()
			return
		}
		f()
	}()
	<-done
}

// become changes the user of the calling thread. The library's own functions change the whole process.
func become(user, group int) error {
	if user == os.Geteuid() {
		return nil
	}
	for _, call := range [][2]uintptr{{unix.SYS_SETRESGID, uintptr(group)}, {unix.SYS_SETRESUID, uintptr(user)}} {
		if _, _, errno := unix.RawSyscall(call[0], call[1], call[1], call[1]); errno != 0 {
			return errno
		}
	}
	return nil
}

// Probe asks the kernel, and through it the daemon that serves it, about the mount at dir, as statfs(2) does.
func Probe(dir string) error {
	return aside(os.Geteuid(), os.Getegid(), func() error { return unix.Statfs(dir, new(unix.Statfs_t)) })
}
