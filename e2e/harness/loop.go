package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Disk is a file system of its own, in an image behind a loop device, that can lose its power.
type Disk struct {
	Dir   string // where it is mounted
	kind  string
	image string
}

// NewDisk makes and mounts a file system ("ext4" or "xfs") of size bytes. It is unmounted and removed
// at the end of the test.
func NewDisk(t testing.TB, kind string, size int64) *Disk {
	t.Helper()
	NeedMount(t)
	NeedTools(t, "mkfs."+kind, "mount", "umount", "losetup")
	dir := TempDir(t)
	d := &Disk{Dir: filepath.Join(dir, "disk"), kind: kind, image: filepath.Join(dir, "image")}
	if err := os.Mkdir(d.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(d.image)
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	Run(t, exec.Command("mkfs."+kind, "-q", d.image))
	if err := d.mount(); err != nil {
		Unable(t, "loop mount: %v", err)
	}
	t.Cleanup(func() {
		if err := d.unmount(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *Disk) mount() error {
	if out, err := exec.Command("mount", "-o", "loop", "-t", d.kind, d.image, d.Dir).CombinedOutput(); err != nil {
		return fmt.Errorf("mount %s: %w: %s", d.kind, err, out)
	}
	return nil
}

func (d *Disk) unmount() error {
	if !Mounted(d.Dir) {
		return nil
	}
	if out, err := exec.Command("umount", d.Dir).CombinedOutput(); err != nil {
		users, _ := exec.Command("fuser", "-vm", d.Dir).CombinedOutput()
		_ = exec.Command("umount", "-l", d.Dir).Run()
		return fmt.Errorf("umount %s: %w: %s\n%s", d.Dir, err, strings.TrimSpace(string(out)), users)
	}
	return nil
}

// Both file systems take the same request: _IOR('X', 125, __u32), EXT4_IOC_SHUTDOWN and
// XFS_IOC_GOINGDOWN, and the same flag for "do not write the log first".
const (
	iocShutdown = 0x8004587d
	noLogFlush  = 2
)

// CutPower stops the file system dead: what it had not written to the image is lost, its own log
// included, and every later operation fails. The loop device's image is the disk: what had reached it
// stays. Programs that use the file system must be ended before RestorePower.
func (d *Disk) CutPower() error {
	dir, err := os.Open(d.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	flags := uint32(noLogFlush)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), iocShutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return fmt.Errorf("shut down %s: %w", d.Dir, errno)
	}
	return nil
}

// RestorePower unmounts the dead file system and mounts it again, which replays its log.
func (d *Disk) RestorePower() error {
	if err := d.unmount(); err != nil {
		return err
	}
	return d.mount()
}
