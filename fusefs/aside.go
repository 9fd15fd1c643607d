package fusefs

import (
	"math"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// aside calls f, which uses a mount of this process, as a user, on a thread that shares no descriptors with the
// process. Such a call waits for this process itself. If the process is killed meanwhile, the kernel ends the
// connection, and with it the call, when nobody holds /dev/fuse any more: were that the waiting thread, it could
// never end, nor could the process, which holds the data directory.
//
// f must make plain system calls only: the descriptors that it opens are unknown to the rest of the process.
// Another user is needed where others are not let in, for the kernel then refuses even root.
func aside(user, group int, f func() error) (err error) {
	onThread(func() {
		// A kernel that can't (before 5.9) leaves the danger as it was.
		_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_UNSHARE)
		if err = become(user, group); err == nil {
			err = f()
		}
	})
	return err
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
