package badgerkv

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// ext4Shutdown is EXT4_IOC_SHUTDOWN; with noLogFlush what isn't on the disk is lost, as in a power cut.
const (
	ext4Shutdown = 0x8004587d
	noLogFlush   = 2
)

// loopMount returns a file system in a file, and what mounts it again.
func loopMount(t *testing.T) (dir string, remount func()) {
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	run := func(args ...string) error {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%q: %w: %s", args, err, out)
		}
		return nil
	}
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 1<<30))
	mount := func() error { return run("mount", "-o", "loop", image, dir) }
	err := run("mkfs.ext4", "-q", "-F", image)
	if err == nil {
		err = mount()
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("needs root, loop devices and e2fsprogs: %v", err)
		}
		t.Skipf("needs root, loop devices and e2fsprogs: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, run("umount", dir)) })
	return dir, func() {
		require.NoError(t, run("umount", dir))
		require.NoError(t, mount())
	}
}

// TestPowerCut is TestKilled with a disk that stops in the middle.
func TestPowerCut(t *testing.T) {
	mounted, remount := loopMount(t)
	dir := filepath.Join(mounted, "meta")
	for range 4 {
		acknowledged := runUntil(t, dir, func(process *os.Process) {
			time.Sleep(time.Duration(rand.IntN(600)) * time.Millisecond)
			if err := shutdown(mounted); err != nil {
				t.Error(err)
			}
			time.Sleep(20 * time.Millisecond) // what it says now would be a lie
			_ = process.Kill()
		})
		remount()
		checkPrefix(t, dir, acknowledged)
	}
}

func shutdown(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer file.Close()
	return unix.IoctlSetPointerInt(int(file.Fd()), ext4Shutdown, noLogFlush)
}
