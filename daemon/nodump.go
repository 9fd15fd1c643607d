package daemon

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// noDump makes sure that the process leaves no core dump, in which the keys in use and clients' data would be: neither
// in a file, nor to a program that the kernel pipes it to, nor to who is not root and looks into its memory.
func noDump() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("no core dumps: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("no core dumps: %w", err)
	}
	return nil
}
