// Package doors shows, on real input, that what goes in at one door comes out at the other, whole
// and at once: source trees, large files, a build inside the mount, and a reader among writers.
package doors

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

// goSource is Go's own source tree: about 10,000 files.
func goSource(t *testing.T) string {
	t.Helper()
	root := strings.TrimSpace(harness.Run(t, exec.Command("go", "env", "GOROOT")))
	return filepath.Join(root, "src")
}

// client is a command of an S3 client against d.
func client(d *harness.Daemon, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = d.ClientEnv()
	return cmd
}

// TestGoTreeInByMountOutByS3 copies the tree in through the mount and syncs it out with two clients.
func TestGoTreeInByMountOutByS3(t *testing.T) {
	harness.NeedTools(t, "aws", "rclone", "diff", "cp")
	d := harness.Start(t, harness.Options{})
	src := goSource(t)
	require.NoError(t, os.Mkdir(filepath.Join(d.Mount, "tree"), 0o755))
	harness.Run(t, exec.Command("cp", "-a", src, filepath.Join(d.Mount, "tree", "src")))
	harness.Run(t, exec.Command("diff", "-r", src, filepath.Join(d.Mount, "tree", "src")))

	out := harness.TempDir(t)
	t.Run("aws s3 sync", func(t *testing.T) {
		dir := filepath.Join(out, "aws")
		harness.Run(t, client(d, "aws", "--endpoint-url", "http://"+d.S3, "s3", "sync", "--only-show-errors", "s3://tree/src", dir))
		harness.Run(t, exec.Command("diff", "-r", src, dir))
		again := harness.Run(t, client(d, "aws", "--endpoint-url", "http://"+d.S3, "s3", "sync", "--dryrun", "s3://tree/src", dir))
		require.Empty(t, strings.TrimSpace(again), "a second sync must find nothing to do")
	})
	t.Run("rclone copy", func(t *testing.T) {
		dir := filepath.Join(out, "rclone")
		harness.Run(t, client(d, "rclone", "copy", "--retries", "1", "--transfers", "8", "K3:tree/src", dir))
		harness.Run(t, exec.Command("diff", "-r", src, dir))
	})
	t.Run("listings agree", func(t *testing.T) {
		want := fileList(t, src)
		require.Equal(t, want, fileList(t, filepath.Join(d.Mount, "tree", "src")))
		var got []string
		for line := range strings.Lines(harness.Run(t, client(d, "rclone", "lsf", "-R", "--files-only", "K3:tree/src"))) {
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
		require.ElementsMatch(t, want, got)
	})
}

// TestGoTreeInByS3OutByMount is the reverse direction, each client into a bucket of its own, and a
// restart of the daemon before it is compared.
func TestGoTreeInByS3OutByMount(t *testing.T) {
	harness.NeedTools(t, "aws", "rclone", "diff")
	d := harness.Start(t, harness.Options{})
	src := goSource(t)
	d.MakeBucket(t, "by-aws")
	d.MakeBucket(t, "by-rclone")
	harness.Run(t, client(d, "aws", "--endpoint-url", "http://"+d.S3, "s3", "sync", "--only-show-errors", src, "s3://by-aws/src"))
	harness.Run(t, client(d, "rclone", "sync", "--retries", "1", "--transfers", "8", src, "K3:by-rclone/src"))
	for _, bucket := range []string{"by-aws", "by-rclone"} {
		harness.Run(t, exec.Command("diff", "-r", src, filepath.Join(d.Mount, bucket, "src")))
	}
	d.MustStop(t)
	require.NoError(t, d.Fsck())
	d.MustStart(t)
	for _, bucket := range []string{"by-aws", "by-rclone"} {
		harness.Run(t, exec.Command("diff", "-r", src, filepath.Join(d.Mount, bucket, "src")))
	}
	// Implicit directories vanish with their last object.
	harness.Run(t, client(d, "aws", "--endpoint-url", "http://"+d.S3, "s3", "rm", "--only-show-errors", "--recursive", "s3://by-aws/src"))
	left, err := os.ReadDir(filepath.Join(d.Mount, "by-aws"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// fileList is every regular file below dir, relative to it.
func fileList(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, rel)
		}
		return err
	})
	require.NoError(t, err)
	return files
}
