package mounts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// as runs a shell command as nobody.
func as(who *syscall.Credential, command string) (string, error) {
	cmd := exec.Command("sh", "-c", command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// open lets users who aren't root reach the binary.
func (h *host) open() {
	binary := filepath.Join(h.points, "k3fs")
	harness.Run(h.t, exec.Command("cp", h.binary, binary))
	require.NoError(h.t, os.Chmod(binary, 0o755))
	h.binary = binary
}

// startOpen is start with a socket that everybody may use.
func startOpen(t *testing.T, more ...string) (*host, []string) {
	dir := harness.TempDir(t)
	require.NoError(t, os.Chmod(dir, 0o755))
	socket := "K3FS_CONTROL__LISTEN=" + filepath.Join(dir, "control.sock")
	h := hostOf(t, harness.Start(t, harness.Options{Dir: dir, Env: append(more, socket)}))
	require.NoError(t, os.MkdirAll(filepath.Join(h.Mount, "data/a"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(h.Mount, "data/a/f"), []byte("f"), 0o600))
	h.sync()
	h.open()
	return h, []string{socket, "K3FS_ACCESS_KEY=" + harness.AccessKey, "K3FS_SECRET_KEY=" + harness.SecretKey}
}

// Somebody who isn't root mounts where he owns the directory, with an access key, for himself.
func TestMountByOthers(t *testing.T) {
	h, env := startOpen(t)
	own, roots := h.point("own"), h.point("roots")
	require.NoError(t, os.Chown(own, int(nobody.Uid), int(nobody.Gid)))
	for says, args := range map[string][]string{
		"does not belong to you":             {"mount", "data", roots},
		"allow_other is for root":            {"mount", "data", own, "-o", "allow_other"},
		"suid and dev are for root":          {"mount", "data", own, "-o", "suid"},
		"uidmap and gidmap are for root":     {"mount", "data", own, "-o", "uidmap=0:0"},
		"uid and gid of others are for root": {"mount", "data", own, "-o", "uid=0"},
	} {
		out, code := h.run(nobody, env, args...)
		require.Equal(t, 1, code, out)
		require.Contains(t, out, says)
	}
	out, code := h.run(nobody, env[:1], "mount", "data", own)
	require.Equal(t, 1, code)
	require.Contains(t, out, "give an access key")

	out, code = h.run(nobody, env, "mount", "data/a", own, "-o", "noexec")
	require.Zero(t, code, out)
	out, err := as(nobody, "cat "+own+"/f && echo mine >"+own+"/new && stat -c %u "+own+"/f "+own+"/new")
	require.NoError(t, err, out)
	require.Equal(t, "f65534\n65534\n", out)
	_, err = os.ReadDir(own)
	require.ErrorIs(t, err, unix.EACCES, "not even root")
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(h.Mount, "data/a/new"), &st))
	require.EqualValues(t, nobody.Uid, st.Uid, "it belongs to who made it")
	table := read(t, "/proc/self/mountinfo")
	require.Contains(t, table, own+" rw,nosuid,nodev,noexec,")

	out, code = h.run(&syscall.Credential{Uid: 65533, Gid: 65533}, env, "umount", own)
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "was mounted by user 65534")
	h.Kill()
	h.MustStart(t)
	out, err = as(nobody, "cat "+own+"/f")
	require.NoError(t, err, "mounted again, for the same user: %s", out)
	_, err = os.ReadDir(own)
	require.ErrorIs(t, err, unix.EACCES)
	out, code = h.run(nobody, env, "umount", own)
	require.Zero(t, code, out)
	require.False(t, harness.Mounted(own))
}

func TestUserAllowOther(t *testing.T) {
	h, env := startOpen(t, "K3FS_MOUNT__USER_ALLOW_OTHER=true")
	own := h.point("own")
	require.NoError(t, os.Chown(own, int(nobody.Uid), int(nobody.Gid)))
	out, code := h.run(nobody, env, "mount", "data", own, "-o", "allow_other")
	require.Zero(t, code, out)
	require.Equal(t, "f", read(t, own+"/a/f"))
	out, code = h.run(nobody, env, "umount", own)
	require.Zero(t, code, out)
}

// Root's mounts are for root alone, or for all; then the modes of files decide.
func TestAllowOther(t *testing.T) {
	h := start(t)
	private, public := h.point("private"), h.point("public")
	h.mount("data", private)
	h.mount("data", public, "-o", "allow_other,default_permissions")
	require.NoError(t, os.WriteFile(public+"/secret", nil, 0o600))
	_, err := as(nobody, "ls "+private)
	require.Error(t, err)
	out, err := as(nobody, "cat "+public+"/a/f")
	require.NoError(t, err, out)
	out, err = as(nobody, "cat "+public+"/secret")
	require.Error(t, err)
	require.Contains(t, out, "Permission denied")
	shown := h.point("shown")
	h.mount("data", shown, "-o", "allow_other,uid=65534,fmask=0177,dmask=0077")
	out, err = as(nobody, "cat "+shown+"/secret && echo x >"+shown+"/a/made && stat -c '%u %a' "+shown+"/a "+shown+"/a/made")
	require.NoError(t, err, out)
	require.Equal(t, "65534 700\n65534 600\n", out)
}

// A daemon that is not root mounts with fusermount3.
func TestUnprivilegedDaemon(t *testing.T) {
	harness.NeedTools(t, "fusermount3")
	dev, err := os.Stat("/dev/fuse")
	require.NoError(t, err)
	require.NoError(t, os.Chmod("/dev/fuse", 0o666)) // as udev makes it; this host may have no udev
	t.Cleanup(func() { require.NoError(t, os.Chmod("/dev/fuse", dev.Mode().Perm())) })
	dir := harness.TempDir(t)
	require.NoError(t, os.Chmod(dir, 0o755))
	binary, err := harness.Binary()
	require.NoError(t, err)
	mine := filepath.Join(dir, "k3fs")
	harness.Run(t, exec.Command("cp", binary, mine))
	require.NoError(t, os.Chmod(mine, 0o755))
	d := harness.Start(t, harness.Options{Dir: dir, Binary: mine, User: nobody, Env: []string{"HOME=/nonexistent"}})
	h := hostOf(t, d)
	h.binary = mine
	out, err := as(nobody, "mkdir -p "+d.Mount+"/data/a && echo text >"+d.Mount+"/data/a/f && cat "+d.Mount+"/data/a/f")
	require.NoError(t, err, out)
	require.Equal(t, "text\n", out)

	point := h.point("point")
	require.NoError(t, os.Chown(point, int(nobody.Uid), int(nobody.Gid)))
	out, code := h.run(nobody, nil, "mount", "data/a", point)
	require.Zero(t, code, out)
	out, err = as(nobody, "cat "+point+"/f")
	require.NoError(t, err, out)
	require.Equal(t, "text\n", out)
	out, code = h.run(nobody, nil, "umount", point)
	require.Zero(t, code, out)
	require.False(t, harness.Mounted(point))
	require.False(t, strings.Contains(d.Log(), "panic"))
}
