package fusefs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"k3fs/fusefs/locks"
)

// lockDoor is the table of locks as one mount sees it.
type lockDoor struct {
	*locks.Table
	mount uint64
}

// lockers are the owners that took locks through a handle: processes (fcntl), and the open file description
// (flock, F_OFD_SETLK). The zero value is ready to use.
type lockers struct {
	mu  sync.Mutex
	ids map[uint64]bool // guarded by mu
}

func (l *lockers) add(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids == nil {
		l.ids = map[uint64]bool{}
	}
	l.ids[id] = true
}

// without forgets one owner, and returns the others.
func (l *lockers) without(id uint64) []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ids, id)
	return slices.Collect(maps.Keys(l.ids))
}

// GetLk implements fuse.RawFileSystem: F_GETLK and F_OFD_GETLK.
func (d *door) GetLk(cancel <-chan struct{}, in *fuse.LkIn, out *fuse.LkOut) fuse.Status {
	on, l, f := d.lockOf(in)
	if f == nil {
		return fuse.EBADF
	}
	out.Lk = fuse.FileLock{Typ: syscall.F_UNLCK}
	if held, found := d.locks.present(cancel, func() (locks.Lock, bool) { return d.locks.Test(on, l) }); found {
		out.Lk = fuse.FileLock{Start: held.Start, End: held.Last, Typ: syscall.F_RDLCK, Pid: held.PID}
		if held.Mode == locks.Write {
			out.Lk.Typ = syscall.F_WRLCK
		}
	}
	return fuse.OK
}

// SetLk implements fuse.RawFileSystem: F_SETLK, F_OFD_SETLK, flock with LOCK_NB, and all unlocking.
func (d *door) SetLk(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	on, l, f := d.lockOf(in)
	if f == nil {
		return fuse.EBADF
	}
	f.lockers.add(in.Owner)
	if _, found := d.locks.present(cancel, func() (locks.Lock, bool) { return d.locks.Try(on, l) }); found {
		return fuse.EAGAIN
	}
	return fuse.OK
}

// SetLkw implements fuse.RawFileSystem: F_SETLKW, F_OFD_SETLKW, and flock. A signal ends the wait; the kernel
// begins anew, behind those who wait, if the signal's handler says so (SA_RESTART).
func (d *door) SetLkw(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	on, l, f := d.lockOf(in)
	if f == nil {
		return fuse.EBADF
	}
	f.lockers.add(in.Owner)
	if _, found := d.locks.Try(on, l); !found {
		return fuse.OK
	}
	err := d.locks.Wait(cancel, on, l, on.Kind == locks.Record && waitsAsProcess(cancel, in.Pid))
	switch {
	case err == nil:
		return fuse.OK
	case errors.Is(err, locks.ErrDeadlock):
		return errno(syscall.EDEADLK)
	}
	return fuse.EINTR
}

// lockOf returns what a request is about; no file if its handle is unknown.
func (d *door) lockOf(in *fuse.LkIn) (locks.File, locks.Lock, *file) {
	f := d.files.get(in.Fh)
	if f == nil {
		return locks.File{}, locks.Lock{}, nil
	}
	on := locks.File{Ino: uint64(f.Ino()), Kind: locks.Record}
	if in.LkFlags&fuse.LK_FLOCK != 0 {
		on.Kind = locks.Whole
	}
	l := locks.Lock{Owner: locks.Owner{Mount: d.locks.mount, ID: in.Owner}, PID: in.Lk.Pid,
		Start: min(in.Lk.Start, locks.End), Last: min(in.Lk.End, locks.End)}
	switch in.Lk.Typ {
	case syscall.F_RDLCK:
		l.Mode = locks.Read
	case syscall.F_WRLCK:
		l.Mode = locks.Write
	}
	return on, l, f
}

// closed gives up a process's record locks on a file when it closes one of its descriptors of it: POSIX wants
// them all to go then, whichever descriptor they were taken with.
func (l lockDoor) closed(f *file, owner uint64) {
	l.Release(locks.File{Ino: uint64(f.Ino()), Kind: locks.Record}, locks.Owner{Mount: l.mount, ID: owner})
	for _, id := range f.lockers.without(owner) {
		l.Leaving(locks.Owner{Mount: l.mount, ID: id})
	}
}

// released gives up what belongs to an open file description that is gone: what was taken through the handle,
// and what no process's close took away, which comes before.
func (l lockDoor) released(f *file) {
	for _, id := range f.lockers.without(0) {
		for _, kind := range []locks.Kind{locks.Record, locks.Whole} {
			l.Release(locks.File{Ino: uint64(f.Ino()), Kind: kind}, locks.Owner{Mount: l.mount, ID: id})
		}
	}
}

// The kernel does not wait for us when the last descriptor of a description is closed, nor when a process ends:
// whoever knows of that must not be told that there is a lock. So one whose owner may have gone is waited for.
const (
	leaveTime  = time.Second // after that, the owner is still there
	leavePause = time.Millisecond
)

// present asks what lock is in the way, until it is none of an owner that may have gone.
func (l lockDoor) present(cancel <-chan struct{}, ask func() (locks.Lock, bool)) (locks.Lock, bool) {
	for end := time.Now().Add(leaveTime); ; {
		held, found := ask()
		if !found || !l.mayHaveGone(held) {
			return held, found
		}
		if time.Now().After(end) {
			l.Stays(held.Owner)
		}
		select {
		case <-cancel:
			return held, true
		case <-time.After(leavePause):
		}
	}
}

// mayHaveGone reports whether the lock's owner has closed a descriptor since it last asked for one, or is of a
// process that has ended.
func (l lockDoor) mayHaveGone(held locks.Lock) bool {
	if leaving, known := l.IsLeaving(held.Owner); known {
		return leaving
	}
	if held.PID == 0 { // lives where the mount does not see it
		return false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", held.PID)) // proc_pid_stat(5)
	if err != nil {
		return true
	}
	behind := bytes.LastIndexByte(b, ')') + 2
	return behind < len(b) && (b[behind] == 'Z' || b[behind] == 'X')
}

// How often, and after which pause, a thread is asked for the system call that it is just about to sleep in.
const (
	askTimes = 100
	askPause = 2 * time.Millisecond
)

// waitsAsProcess reports whether the thread waits for a lock of its process (F_SETLKW). The request of one that
// waits for a lock of an open file description (F_OFD_SETLKW) looks the same, but is no part of a deadlock:
// another thread may end it. The thread sleeps in the system call until it is answered, so it can be asked. If
// it can't (it lives outside of our /proc), the common kind is assumed.
func waitsAsProcess(cancel <-chan struct{}, tid uint32) bool {
	for range askTimes {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", tid)) // proc_pid_syscall(5)
		if err != nil {
			return true
		}
		call := strings.Fields(string(b))
		if len(call) > 2 {
			nr, _ := strconv.ParseInt(call[0], 10, 64)
			cmd, _ := strconv.ParseUint(call[2], 0, 64)
			return nr != unix.SYS_FCNTL || cmd != unix.F_OFD_SETLKW
		}
		select {
		case <-cancel:
			return true
		case <-time.After(askPause):
		}
	}
	return true
}
