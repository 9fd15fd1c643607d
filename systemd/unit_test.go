// Package systemd_test checks the unit files with systemd's own tools.
package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tool returns the path of one of systemd's tools. CI must have it.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("%s is not installed: .ci/deps installs it", name)
	}
	require.NoError(t, err)
	return path
}

// unit returns the unit file with its binary replaced by one that exists.
func unit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("k3fs.service")
	require.NoError(t, err)
	const binary = "ExecStart=/usr/local/bin/k3fs "
	require.Contains(t, string(text), binary)
	return strings.Replace(string(text), binary, "ExecStart=/bin/true ", 1)
}

func verify(t *testing.T, text string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "k3fs.service")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	out, err := exec.Command(tool(t, "systemd-analyze"), "verify", "--man=no", path).CombinedOutput()
	var ours []string
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, "k3fs") { // what it says of the host's other units is not ours
			ours = append(ours, line)
		}
	}
	return strings.Join(ours, "\n"), err
}

func TestTheUnitVerifies(t *testing.T) {
	out, err := verify(t, unit(t))
	require.NoError(t, err, out)
	require.Empty(t, out)
}

func TestVerifyWouldSeeAMistake(t *testing.T) {
	out, err := verify(t, strings.Replace(unit(t), "WatchdogSec=60s", "WatchdogSecs=60s", 1))
	require.Contains(t, out, "WatchdogSecs", "%v", err)
	_, err = verify(t, strings.Replace(unit(t), "/bin/true", "/no/such/binary", 1))
	require.Error(t, err)
}

// A mount namespace would hide the FUSE mount from the host.
func TestTheUnitHasNoMountNamespace(t *testing.T) {
	for line := range strings.SplitSeq(unit(t), "\n") {
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		switch key {
		case "PrivateTmp", "ProtectSystem", "ProtectHome", "PrivateDevices", "PrivateMounts", "ReadWritePaths",
			"ReadOnlyPaths", "InaccessiblePaths", "BindPaths", "BindReadOnlyPaths", "TemporaryFileSystem", "DynamicUser",
			"ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ProtectProc",
			"ProcSubset", "RootDirectory", "RootImage", "MountAPIVFS", "ProtectHostname", "PrivateUsers":
			t.Errorf("%s=%s gives the service a mount namespace of its own", key, value)
		}
	}
}

func TestTmpfilesAndSysusersParse(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	for _, args := range [][]string{
		{"systemd-tmpfiles", "--root=" + root, "--create", "--dry-run"},
		{"systemd-sysusers", "--root=" + root, "--dry-run"},
	} {
		name := filepath.Join(".", "k3fs."+strings.TrimPrefix(args[0], "systemd-"))
		abs, err := filepath.Abs(name)
		require.NoError(t, err)
		if args[0] == "systemd-tmpfiles" { // this version has no --dry-run: the root is a throw-away
			args = args[:3]
		}
		out, err := exec.Command(tool(t, args[0]), append(args[1:], abs)...).CombinedOutput()
		require.NoError(t, err, string(out))
		require.NotContains(t, string(out), "k3fs."+strings.TrimPrefix(args[0], "systemd-")+":", string(out))
	}
	for _, dir := range []string{"mnt/k3fs", "etc/k3fs/conf.d"} {
		require.DirExists(t, filepath.Join(root, dir))
	}
}

// The example mounts verify beside the service that they need.
func TestTheMountUnitsVerify(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "k3fs.service"), []byte(unit(t)), 0o600))
	args := []string{"verify", "--man=no"}
	for _, name := range []string{"mnt-models.mount", "mnt-models.automount"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		args = append(args, path)
	}
	run := func() (string, error) {
		out, err := exec.Command(tool(t, "systemd-analyze"), args...).CombinedOutput()
		var ours []string
		for line := range strings.SplitSeq(string(out), "\n") {
			if strings.Contains(line, "mnt-models") || strings.Contains(line, "k3fs") {
				ours = append(ours, line)
			}
		}
		return strings.Join(ours, "\n"), err
	}
	out, err := run()
	require.NoError(t, err, out)
	require.Empty(t, out)

	text, err := os.ReadFile("mnt-models.mount")
	require.NoError(t, err)
	wrong := strings.Replace(string(text), "Where=/mnt/models", "Where=/mnt/other", 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mnt-models.mount"), []byte(wrong), 0o600))
	_, err = run()
	require.Error(t, err, "a unit whose name is not its mount point's")
}
