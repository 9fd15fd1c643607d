package fusefs

import (
	"fmt"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// unmount calls umount2(2), and fusermount3 if that is not permitted to us.
func unmount(dir string, flags int) error {
	err := unix.Unmount(dir, flags)
	if err != unix.EPERM {
		return err
	}
	args := []string{"-u", dir}
	if flags&unix.MNT_DETACH != 0 {
		args = []string{"-u", "-z", dir}
	}
	out, err := exec.Command("fusermount3", args...).CombinedOutput()
	switch {
	case err == nil:
		return nil
	case strings.Contains(string(out), "busy"):
		return unix.EBUSY
	}
	return fmt.Errorf("fusermount3: %w: %s", err, strings.TrimSpace(string(out)))
}
