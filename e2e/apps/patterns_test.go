package apps

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

// debianPython is the one that Debian's packages are for.
const debianPython = "/usr/bin/python3"

func testdata(name string) string {
	return filepath.Join(harness.ModuleRoot(), "e2e", "apps", "testdata", name)
}

// alike runs a program in a local directory and on the mount, and compares what it prints.
func alike(t *testing.T, program string, args ...string) {
	t.Helper()
	_, dir := bucket(t)
	want := harness.Run(t, command(harness.TempDir(t), program, args...))
	require.NotEmpty(t, want)
	require.Equal(t, want, harness.Run(t, command(dir, program, args...)))
}

func TestHDF5(t *testing.T) { alike(t, debianPython, testdata("hdf5.py"), "file.h5") }

func TestVim(t *testing.T) {
	harness.NeedTools(t, "vim.tiny")
	alike(t, "bash", testdata("vim.sh"))
}

// TestRsync: rsync carries everything to the mount and back, and finds nothing to do the second time.
func TestRsync(t *testing.T) {
	harness.NeedTools(t, "rsync", "setfacl", "setfattr")
	_, dir := bucket(t)
	local := harness.TempDir(t)
	harness.Run(t, command(local, "bash", testdata("rsync.sh")))
	sync := func(from, to string) string {
		return harness.Run(t, exec.Command("rsync", "-aHAX", "--checksum", "--sparse", "--delete", "--out-format=%i %n", from+"/", to+"/"))
	}
	there, back := filepath.Join(dir, "there"), filepath.Join(local, "back")
	require.Contains(t, sync(filepath.Join(local, "tree"), there), "large")
	require.Empty(t, sync(filepath.Join(local, "tree"), there), "the second time")
	require.Contains(t, sync(there, back), "large")
	require.Empty(t, sync(there, back))
	require.Empty(t, sync(filepath.Join(local, "tree"), back), "all has come back")
}

// TestGoModule: the tests of a module are built and run on the mount.
func TestGoModule(t *testing.T) {
	_, dir := bucket(t)
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/spf13/pflag")
	list.Dir = harness.ModuleRoot()
	source := strings.TrimSpace(harness.Run(t, list))
	harness.Run(t, exec.Command("cp", "-r", source, filepath.Join(dir, "pflag")))
	harness.Run(t, exec.Command("chmod", "-R", "u+w", filepath.Join(dir, "pflag")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "tmp"), 0o755))
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	for range 2 {
		cmd := command(filepath.Join(dir, "pflag"), "go", "test", "-count=1", "-vet=off", "./...")
		cmd.Env = append(cmd.Env, "HOME="+home, "GOTMPDIR="+filepath.Join(dir, "tmp"), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
		require.Contains(t, harness.Run(t, cmd), "ok  \tgithub.com/spf13/pflag")
	}
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// rank is a process of a job that shares a file.
type rank struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// TestMPIIO: ranks that share a file, of one mount or of two, see what the others wrote.
func TestMPIIO(t *testing.T) {
	harness.NeedTools(t, "python3")
	d, dir := bucket(t)
	ranks := func(t *testing.T, dirs ...string) {
		const rounds = 6
		var all []*rank
		for i, dir := range dirs {
			r := &rank{cmd: exec.Command("python3", testdata("mpiio.py"), filepath.Join(dir, "shared"), fmt.Sprint(i), fmt.Sprint(len(dirs)), fmt.Sprint(rounds))}
			r.cmd.Stderr = os.Stderr
			var err error
			r.in, err = r.cmd.StdinPipe()
			require.NoError(t, err)
			out, err := r.cmd.StdoutPipe()
			require.NoError(t, err)
			r.out = bufio.NewScanner(out)
			require.NoError(t, r.cmd.Start())
			t.Cleanup(func() { _ = r.cmd.Process.Kill() })
			all = append(all, r)
		}
		for range rounds {
			for _, what := range []string{"written", "read"} {
				for _, r := range all {
					require.True(t, r.out.Scan(), "a rank ended")
					require.Equal(t, what, r.out.Text())
				}
				for _, r := range all {
					_, err := fmt.Fprintln(r.in)
					require.NoError(t, err)
				}
			}
		}
		for _, r := range all {
			require.NoError(t, r.in.Close())
			require.NoError(t, r.cmd.Wait())
		}
		require.NoError(t, os.Remove(filepath.Join(dirs[0], "shared")))
	}
	t.Run("ext4", func(t *testing.T) { local := harness.TempDir(t); ranks(t, local, local, local) })
	t.Run("one mount", func(t *testing.T) { ranks(t, dir, dir, dir, dir) })
	t.Run("two mounts", func(t *testing.T) {
		binary, err := harness.Binary()
		require.NoError(t, err)
		second := harness.TempDir(t)
		harness.Run(t, exec.Command(binary, "mount", "--data", d.Data, "apps", second))
		defer harness.Run(t, exec.Command(binary, "umount", "--data", d.Data, second))
		ranks(t, dir, second, dir, second)
	})
}
