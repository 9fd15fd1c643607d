package mounts

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// helper is where mount(8) looks for the program that mounts type fuse.k3fs.
const helper = "/sbin/mount.fuse.k3fs"

// install puts the helper in its place for the time of a test. One that the host has, which may be of another version,
// is hidden by it meanwhile.
func install(t *testing.T, binary string) {
	t.Helper()
	harness.NeedTools(t, "mount")
	if _, err := os.Stat(helper); err == nil {
		require.NoError(t, unix.Mount(binary, helper, "", unix.MS_BIND, ""))
		t.Cleanup(func() { require.NoError(t, unix.Unmount(helper, unix.MNT_DETACH)) })
		return
	}
	require.NoError(t, os.RemoveAll(helper)) // a link to nowhere
	require.NoError(t, os.Symlink(binary, helper))
	t.Cleanup(func() { require.NoError(t, os.Remove(helper)) })
}

func code(cmd *exec.Cmd) (string, int) {
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// mount -t fuse.k3fs and fstab lines work, and mount -a does nothing the second time.
func TestMount8(t *testing.T) {
	h := start(t)
	install(t, h.binary)
	one, two := h.point("one"), h.point("two")
	socket := "socket=" + filepath.Join(h.Data, "control.sock")
	out, exit := code(exec.Command("mount", "-t", "fuse.k3fs", "data/a", one, "-o", "ro,"+socket))
	require.Zero(t, exit, out)
	require.Equal(t, "f", read(t, one+"/f"))
	harness.Run(t, exec.Command("umount", one))

	fstab := filepath.Join(h.points, "fstab")
	lines := fmt.Sprintf("data %s fuse.k3fs rw,nofail,_netdev,x-systemd.requires=k3fs.service,%s 0 0\n"+
		"data/a %s fuse.k3fs ro,noatime,%s 0 0\n", one, socket, two, socket)
	require.NoError(t, os.WriteFile(fstab, []byte(lines), 0o644))
	for range 2 {
		out, exit = code(exec.Command("mount", "-a", "-T", fstab))
		require.Zero(t, exit, out)
	}
	require.Equal(t, "f", read(t, one+"/a/f"))
	require.Equal(t, "f", read(t, two+"/f"))
	for _, dir := range []string{one, two} {
		harness.Run(t, exec.Command("umount", dir))
		require.False(t, harness.Mounted(dir))
	}
	out, exit = code(exec.Command("mount", "-t", "fuse.k3fs", "absent", one, "-o", socket))
	require.Equal(t, 32, exit, out)
	require.Contains(t, out, `there is no bucket "absent"`)
}

// The helper takes mount(8)'s arguments, and says what it is called.
func TestHelperArguments(t *testing.T) {
	h := start(t)
	dir := h.point("dir")
	program := filepath.Join(h.points, "mount.k3fs")
	require.NoError(t, os.Symlink(h.binary, program))
	socket := "socket=" + filepath.Join(h.Data, "control.sock")
	for _, c := range []struct {
		exit    int
		mounted bool
		args    []string
	}{
		{0, false, []string{"data", dir, "-f", "-o", socket}},
		{1, false, []string{"data", dir, "-o", "bogus," + socket}},
		{0, true, []string{"data", dir, "-s", "-o", "bogus," + socket}},
		{0, true, []string{"data", dir, "-n", "-v", "-r", "-t", "fuse.k3fs", "-o", socket}},
		{0, true, []string{"data", dir, "-w", "-o", socket}},
		{1, false, []string{"data"}},
		{1, false, []string{"data", dir, "-z"}},
		{1, false, []string{"data", dir, "-N", "/proc/1/ns/mnt", "-o", socket}},
		{2, false, []string{"data", dir, "-o", "socket=/none"}},
	} {
		out, exit := code(exec.Command(program, c.args...))
		require.Equal(t, c.exit, exit, "%v: %s", c.args, out)
		require.Equal(t, c.mounted, harness.Mounted(dir), "%v: %s", c.args, out)
		if c.exit != 0 {
			require.Contains(t, out, "mount.k3fs: ")
		}
		if c.mounted {
			h.umount(dir)
		}
	}
}
