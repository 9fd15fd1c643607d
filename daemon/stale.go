package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// mountType is how the kernel lists our mounts in /proc/self/mountinfo.
const mountType = "fuse.k3fs"

// preparePoint makes the mount point ready: made if it is missing, and freed of a mount whose daemon was
// killed (every access answers ENOTCONN). A live mount, or a directory with files in it, is refused.
func preparePoint(point string, log *slog.Logger) error {
	for range 8 { // stale mounts may lie on one another
		_, err := os.Stat(point)
		if !errors.Is(err, syscall.ENOTCONN) {
			break
		}
		log.Warn("removing the mount of a k3fs that was killed", "mount", point)
		if err := detach(point); err != nil {
			return fmt.Errorf("mount point %s is left over from a k3fs that was killed, and can't be unmounted: %w", point, err)
		}
	}
	if err := os.MkdirAll(point, 0o755); err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	kind, err := mountedAt(point)
	if err != nil {
		return err
	}
	if kind == mountType {
		return fmt.Errorf("mount point %s: a running k3fs is mounted there", point)
	}
	names, err := os.ReadDir(point)
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	if len(names) > 0 {
		return fmt.Errorf("mount point %s is not empty: its files would be hidden", point)
	}
	return nil
}

// detach unmounts lazily: the mount leaves the tree at once, and ends when nobody uses it any more.
func detach(point string) error {
	err := syscall.Unmount(point, syscall.MNT_DETACH)
	if !errors.Is(err, syscall.EPERM) {
		return err
	}
	out, err := exec.Command("fusermount3", "-u", "-z", "--", point).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fusermount3: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// mountedAt returns the type of the file system that is mounted at point, or "".
func mountedAt(point string) (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	kind := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// proc_pid_mountinfo(5): the fifth field is the mount point, the type follows the separator.
		front, back, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(front)
		if ok && len(fields) > 4 && unescapeMount(fields[4]) == point {
			kind, _, _ = strings.Cut(back, " ")
		}
	}
	return kind, nil
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
