// Package mounts drives mounts on demand as people make them: with "k3fs mount", mount(8) and fstab.
package mounts

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// nobody is a user of the host with no rights.
var nobody = &syscall.Credential{Uid: 65534, Gid: 65534}

// host is a daemon and the directories to mount at.
type host struct {
	*harness.Daemon
	t      *testing.T
	binary string
	points string
}

// start runs a daemon whose bucket "data" holds a/f, a/sub/g and b/h.
func start(t *testing.T) *host {
	t.Helper()
	h := hostOf(t, harness.Start(t, harness.Options{}))
	for name, text := range map[string]string{"a/f": "f", "a/sub/g": "g", "b/h": "h"} {
		path := filepath.Join(h.Mount, "data", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	h.sync()
	return h
}

func hostOf(t *testing.T, d *harness.Daemon) *host {
	t.Helper()
	binary, err := harness.Binary()
	require.NoError(t, err)
	h := &host{Daemon: d, t: t, binary: binary, points: harness.TempDir(t)}
	require.NoError(t, os.Chmod(h.points, 0o755))
	t.Cleanup(func() {
		for range 100 { // what the test left, above all when it failed
			table, err := os.ReadFile("/proc/self/mountinfo")
			require.NoError(t, err)
			left := false
			for line := range strings.Lines(string(table)) {
				if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], h.points) {
					left = true
					_ = unix.Unmount(f[4], unix.MNT_DETACH)
				}
			}
			if !left {
				return
			}
		}
	})
	return h
}

// sync makes durable what was written: some tests kill the daemon.
func (h *host) sync() {
	dir, err := os.Open(h.Mount)
	require.NoError(h.t, err)
	defer dir.Close()
	require.NoError(h.t, dir.Sync())
}

// point makes a directory to mount at.
func (h *host) point(name string) string {
	dir := filepath.Join(h.points, name)
	require.NoError(h.t, os.Mkdir(dir, 0o755))
	return dir
}

// run runs k3fs as a user (nil: root), and returns what it printed and its exit code.
func (h *host) run(as *syscall.Credential, env []string, args ...string) (string, int) {
	h.t.Helper()
	cmd := exec.Command(h.binary, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "K3FS_CONTROL__LISTEN=" + filepath.Join(h.Data, "control.sock")}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(h.t, err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// mount mounts as root, which must work.
func (h *host) mount(source, dir string, args ...string) {
	h.t.Helper()
	out, code := h.run(nil, nil, append([]string{"mount", source, dir}, args...)...)
	require.Zero(h.t, code, out)
	require.True(h.t, harness.Mounted(dir))
}

func (h *host) umount(dir string, args ...string) {
	h.t.Helper()
	out, code := h.run(nil, nil, append([]string{"umount", dir}, args...)...)
	require.Zero(h.t, code, out)
	require.False(h.t, harness.Mounted(dir))
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func TestBucketAndPrefix(t *testing.T) {
	h := start(t)
	all, prefix, ro := h.point("all"), h.point("prefix"), h.point("ro")
	h.mount("data", all)
	h.mount("data/a", prefix)
	h.mount("data/a/sub", ro, "-o", "ro,noatime,noexec,_netdev,x-systemd.automount,nofail")
	require.Equal(t, "f", read(t, all+"/a/f"))
	require.Equal(t, "f", read(t, prefix+"/f"))
	require.Equal(t, "g", read(t, ro+"/g"))
	require.ErrorIs(t, os.WriteFile(ro+"/x", nil, 0o644), unix.EROFS)

	list, code := h.run(nil, nil, "mount")
	require.Zero(t, code)
	for _, line := range []string{"data on " + all + " (rw,nosuid,nodev,", "data/a on " + prefix + " (", "data/a/sub on " + ro + " (ro,nosuid,nodev,noexec,noatime,"} {
		require.Contains(t, list, line)
	}
	for _, dir := range []string{ro, prefix, all} {
		h.umount(dir)
	}
	entries, err := os.ReadDir(all)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// What is refused says why, with mount(8)'s exit codes.
func TestRefusals(t *testing.T) {
	h := start(t)
	dir := h.point("dir")
	file := filepath.Join(h.points, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{32, `there is no bucket "absent"`, []string{"absent", dir}},
		{32, `bucket "data" has no directory "a/none": make it first`, []string{"data/a/none/x", dir}},
		{32, `bucket "data" has no directory "a/f"`, []string{"data/a/f", dir}},
		{1, "is not BUCKET or BUCKET/PREFIX", []string{"data/../data", dir}},
		{1, "is not BUCKET or BUCKET/PREFIX", []string{"data//a", dir}},
		{1, `unknown option "bogus=1"`, []string{"data", dir, "-o", "bogus=1"}},
		{32, "no such file or directory", []string{"data", dir + "/none"}},
		{32, "not a directory", []string{"data", file}},
		{1, "must not contain each other", []string{"data", h.Data + "/chunks"}},
		{1, "give a bucket and a directory", []string{"data"}},
		{2, "no k3fs daemon listens at", []string{"data", dir, "--socket", dir + "/none"}},
	} {
		out, code := h.run(nil, nil, append([]string{"mount"}, c.args...)...)
		require.Equal(t, c.code, code, "%v: %s", c.args, out)
		require.Contains(t, out, c.says)
		require.False(t, harness.Mounted(dir))
	}
	out, code := h.run(nil, nil, "umount", dir)
	require.Equal(t, 32, code)
	require.Contains(t, out, "nothing is mounted")
	h.mount("data", dir)
	out, code = h.run(nil, nil, "mount", "data", dir)
	require.Equal(t, 32, code, out)
	h.umount(dir)
}

func TestCredentials(t *testing.T) {
	h := start(t)
	dir := h.point("dir")
	env := func(key, secret string) []string {
		return []string{"AWS_ACCESS_KEY_ID=" + key, "AWS_SECRET_ACCESS_KEY=" + secret}
	}
	for _, wrong := range [][]string{env(harness.AccessKey, "wrong-secret-wrong"), env("UNKNOWNKEY", harness.SecretKey)} {
		out, code := h.run(nil, wrong, "mount", "data", dir)
		require.Equal(t, 1, code)
		require.Contains(t, out, "or its secret is wrong")
		require.False(t, harness.Mounted(dir))
	}
	out, code := h.run(nil, env(harness.AccessKey, harness.SecretKey), "mount", "data", dir)
	require.Zero(t, code, out)
	h.umount(dir)

	file := filepath.Join(h.points, "credentials")
	text := "AWS_ACCESS_KEY_ID=" + harness.AccessKey + "\nAWS_SECRET_ACCESS_KEY=" + harness.SecretKey + "\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	out, code = h.run(nil, nil, "mount", "data", dir, "-o", "credentials="+file)
	require.Equal(t, 1, code)
	require.Contains(t, out, "chmod 600")
	require.NoError(t, os.Chmod(file, 0o600))
	h.mount("data", dir, "-o", "credentials="+file)
	h.umount(dir)
	require.NotContains(t, h.Log(), harness.SecretKey)
	require.NotContains(t, h.Log(), "wrong-secret")
	wanted, err := os.ReadFile(filepath.Join(h.Data, "mounts.json"))
	require.NoError(t, err)
	require.NotContains(t, string(wanted), harness.SecretKey)
}

// A process that uses a mount keeps it there, and is named; umount -l detaches it and the process goes on.
func TestBusy(t *testing.T) {
	h := start(t)
	dir := h.point("dir")
	h.mount("data", dir)
	f, err := os.Create(dir + "/held")
	require.NoError(t, err)
	defer f.Close()
	out, code := h.run(nil, nil, "umount", dir)
	require.Equal(t, 32, code)
	require.Contains(t, out, fmt.Sprintf("in use by process %d", os.Getpid()))
	require.Contains(t, out, "k3fs umount -l "+dir)
	require.True(t, harness.Mounted(dir))
	h.umount(dir, "-l")
	_, err = f.WriteString("still here")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, "still here", read(t, filepath.Join(h.Mount, "data/held")))
	h.mount("data", dir)
	require.Equal(t, "still here", read(t, dir+"/held"))
}

// After SIGKILL every access fails with ENOTCONN; the next start mounts again what was mounted, and what was
// unmounted stays so. A stop unmounts all.
func TestRestart(t *testing.T) {
	h := start(t)
	kept, gone := h.point("kept"), h.point("gone")
	h.mount("data/a", kept, "-o", "ro,uid=1234")
	h.mount("data", gone)
	h.umount(gone)
	h.Kill()
	_, err := os.ReadFile(kept + "/f")
	require.ErrorIs(t, err, unix.ENOTCONN)
	list, _ := h.run(nil, nil, "mount")
	require.Contains(t, list, "data/a on "+kept)
	require.Contains(t, list, "dead")

	h.MustStart(t)
	require.Equal(t, "f", read(t, kept+"/f"))
	require.ErrorIs(t, os.WriteFile(kept+"/x", nil, 0o644), unix.EROFS)
	var st unix.Stat_t
	require.NoError(t, unix.Stat(kept+"/f", &st))
	require.EqualValues(t, 1234, st.Uid)
	require.False(t, harness.Mounted(gone))

	h.MustStop(t)
	require.False(t, harness.Mounted(kept))
	h.MustStart(t)
	require.Equal(t, "f", read(t, kept+"/f"), "wanted until somebody unmounts it")
	h.umount(kept)
	h.Kill()
	h.MustStart(t)
	require.False(t, harness.Mounted(kept))
}

// A dead mount can be unmounted without a daemon, and mounted over by the next k3fs mount.
func TestDeadMount(t *testing.T) {
	h := start(t)
	one, two := h.point("one"), h.point("two")
	h.mount("data", one)
	h.mount("data", two)
	h.Kill()
	h.umount(one)
	require.NoError(t, os.Remove(filepath.Join(h.Data, "mounts.json")))
	h.MustStart(t)
	_, err := os.Stat(two + "/a")
	require.ErrorIs(t, err, unix.ENOTCONN)
	h.mount("data", two)
	require.Equal(t, "f", read(t, two+"/a/f"))
}

// Stopping flushes and unmounts, whoever works in the mounts.
func TestStopWhileBusy(t *testing.T) {
	h := start(t)
	var dirs []string
	for i := range 4 {
		dir := h.point(fmt.Sprintf("dir%d", i))
		h.mount("data", dir)
		f, err := os.Create(fmt.Sprintf("%s/held%d", dir, i))
		require.NoError(t, err)
		defer f.Close()
		_, err = f.WriteString("written before the stop")
		require.NoError(t, err)
		dirs = append(dirs, dir)
	}
	h.MustStop(t)
	for _, dir := range dirs {
		require.False(t, harness.Mounted(dir))
	}
	h.MustStart(t)
	for i := range dirs {
		require.Equal(t, "written before the stop", read(t, fmt.Sprintf("%s/data/held%d", h.Mount, i)))
	}
}

func TestTwentyMountsAtOnce(t *testing.T) {
	h := start(t)
	var dirs [20]string
	for i := range dirs {
		dirs[i] = h.point(fmt.Sprint(i))
	}
	var all sync.WaitGroup
	var said [20]string
	var codes [20]int
	begun := time.Now()
	for i, dir := range dirs {
		all.Go(func() { said[i], codes[i] = h.run(nil, nil, "mount", "data", dir) })
	}
	all.Wait()
	t.Logf("20 mounts after %v", time.Since(begun))
	for i, dir := range dirs {
		require.Zero(t, codes[i], said[i])
		require.NoError(t, os.WriteFile(fmt.Sprintf("%s/from-%d", dir, i), []byte(dir), 0o644))
	}
	for i := range dirs {
		for _, other := range dirs {
			require.Equal(t, dirs[i], read(t, fmt.Sprintf("%s/from-%d", other, i)))
		}
	}
	h.MustStop(t)
	for _, dir := range dirs {
		require.False(t, harness.Mounted(dir))
	}
}
