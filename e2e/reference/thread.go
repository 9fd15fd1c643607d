package reference

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawSetgroups sets the groups of the calling thread only (the syscall; the library's function would set
// those of the whole process).
func rawSetgroups(groups []uint32) error {
	var p unsafe.Pointer
	if len(groups) > 0 {
		p = unsafe.Pointer(&groups[0])
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(p), 0); errno != 0 {
		return errno
	}
	return nil
}
