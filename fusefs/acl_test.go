package fusefs

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/namespace"
)

const accessList = "system.posix_acl_access"

// listFor is an access list, as an extended attribute, that gives user 1001 these permissions.
func listFor(perm uint16) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, ^uint32(0)}, {2, perm, 1001}, {4, 0, ^uint32(0)}, {16, 7, ^uint32(0)}, {32, 0, ^uint32(0)}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// The kernel caches access lists. One that another door changes holds at once.
func TestRealACLOfOtherDoor(t *testing.T) {
	needsFUSE(t)
	inv := NewInvalidator()
	view, stop, err := openNamespace(t.TempDir(), inv)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stop()) })
	m := mounted(t, Options{FS: view, Invalidator: inv, AllowOther: true})
	bucket := filepath.Join(m.opts.Dir, "bucket")
	require.NoError(t, os.Mkdir(bucket, 0o755))
	path := filepath.Join(bucket, "f")
	require.NoError(t, os.WriteFile(path, []byte("secret"), 0o600))
	st, err := os.Stat(path)
	require.NoError(t, err)
	ino := namespace.Ino(st.Sys().(*syscall.Stat_t).Ino)

	other := view.(*namespace.View).Through(nil)
	reads := func() bool {
		// The shell goes there: a child of this process, which serves the mount, must not before it has executed another
		// program, since until then it stops a part of the runtime.
		cmd := exec.Command("sh", "-c", `cd "$1" && exec cat f`, "sh", bucket)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1001, Gid: 1001, NoSetGroups: false}}
		return cmd.Run() == nil
	}
	require.False(t, reads())
	for range 25 {
		require.NoError(t, other.SetXattr(background, ino, accessList, listFor(4), 0))
		require.True(t, reads(), "given")
		require.NoError(t, other.SetXattr(background, ino, accessList, listFor(0), 0))
		require.False(t, reads(), "taken")
	}
	mode := uint32(0o604)
	require.NoError(t, other.RemoveXattr(background, ino, accessList))
	_, err = other.SetAttr(background, ino, namespace.SetAttr{Mode: &mode})
	require.NoError(t, err)
	require.True(t, reads(), "by the mode")
}

// Flags by both pairs of ioctls; what they don't know is refused.
func TestFlagsByIoctl(t *testing.T) { onBoth(t, testFlagsByIoctl) }

func testFlagsByIoctl(t *testing.T, dir string) {
	path := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	ioctl := func(cmd uint, p unsafe.Pointer) error {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(cmd), uintptr(p)); errno != 0 {
			return errno
		}
		return nil
	}
	set := func(flags uint32) error { return ioctl(unix.FS_IOC_SETFLAGS, unsafe.Pointer(&flags)) }
	get := func() (flags uint32, x [7]uint32) {
		require.NoError(t, ioctl(unix.FS_IOC_GETFLAGS, unsafe.Pointer(&flags)))
		require.NoError(t, ioctl(fsGetXattr, unsafe.Pointer(&x)))
		return flags, x
	}
	for flags, xflags := range map[uint32]uint32{0x10: 0x8, 0x20: 0x10, 0x40 | 0x80: 0x80 | 0x40, 0x30: 0x18, 0: 0} {
		require.NoError(t, set(flags))
		got, x := get()
		require.Equal(t, flags, got)
		require.Equal(t, [7]uint32{xflags}, x)
		require.NoError(t, set(0))
		require.NoError(t, ioctl(fsSetXattr, unsafe.Pointer(&x)))
		got, again := get()
		require.Equal(t, flags, got)
		require.Equal(t, x, again)
	}
	require.NoError(t, set(0))
	require.ErrorIs(t, ioctl(fsSetXattr, unsafe.Pointer(&[7]uint32{0x1})), unix.EOPNOTSUPP)
	require.ErrorIs(t, ioctl(fsSetXattr, unsafe.Pointer(&[7]uint32{0, 0, 0, 7})), unix.EOPNOTSUPP, "a project")
	_, err = unix.IoctlGetInt(int(f.Fd()), unix.TCGETS)
	require.ErrorIs(t, err, unix.ENOTTY)
}
