// Package clients walks the S3 clients that people use through the object API of the daemon: put, get,
// list, multipart, copy and delete, with unicode keys, metadata, ranges and conditions where the client
// has them. The assertions live with each client, in its own language.
package clients

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

// testdata is an absolute path, since the scripts run in directories of their own.
func testdata(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	require.NoError(t, err)
	return path
}

// walk runs a client's script in an empty directory against the daemon.
func walk(t *testing.T, d *harness.Daemon, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = harness.TempDir(t), d.ClientEnv()
	harness.Run(t, cmd)
	require.True(t, d.Running(), "the daemon must survive its client")
}

// releases is each of the programs that exists here: Debian's, which must, and a current one.
func releases(t *testing.T, debian, current string) map[string]string {
	t.Helper()
	harness.NeedTools(t, debian)
	found := map[string]string{"debian": debian}
	if _, err := os.Stat(current); err == nil {
		found["current"] = current
	}
	return found
}

func TestAWSCommand(t *testing.T) {
	harness.NeedTools(t, "bash", "curl", "cmp", "bc")
	d := harness.Start(t, harness.Options{})
	for name, program := range releases(t, "/usr/bin/aws", "/root/.pyenv/shims/aws") {
		t.Run(name, func(t *testing.T) { walk(t, d, "bash", testdata(t, "aws.sh"), program, "aws-"+name) })
	}
}

func TestBoto3(t *testing.T) {
	d := harness.Start(t, harness.Options{})
	for name, program := range releases(t, "/usr/bin/python3", "/root/.pyenv/shims/python3") {
		t.Run(name, func(t *testing.T) {
			if exec.Command(program, "-c", "import boto3").Run() != nil {
				if name == "current" {
					return // that Python has no boto3: nothing to test with it
				}
				harness.Unable(t, "%s has no boto3", program)
			}
			walk(t, d, program, testdata(t, "client.py"), "boto3-"+name)
		})
	}
}

func TestRclone(t *testing.T) {
	harness.NeedTools(t, "bash", "rclone")
	walk(t, harness.Start(t, harness.Options{}), "bash", testdata(t, "rclone.sh"), "rclone")
}

// rclone can't lock anything itself, so the buckets are made for it.
func TestRcloneLocks(t *testing.T) {
	harness.NeedTools(t, "bash", "rclone")
	d, ctx := harness.Start(t, harness.Options{}), context.Background()
	c := minioClient(t, d)
	require.NoError(t, c.MakeBucket(ctx, "rclone-locked", minio.MakeBucketOptions{ObjectLocking: true}))
	mode, days, unit := minio.Governance, uint(2), minio.Days
	require.NoError(t, c.SetObjectLockConfig(ctx, "rclone-locked", &mode, &days, &unit))
	require.NoError(t, c.MakeBucket(ctx, "rclone-plain", minio.MakeBucketOptions{}))
	require.NoError(t, c.EnableVersioning(ctx, "rclone-plain"))
	walk(t, d, "bash", testdata(t, "rclone-locks.sh"), "rclone-locked", "rclone-plain")
}

func TestS3cmd(t *testing.T) {
	harness.NeedTools(t, "bash", "s3cmd")
	d := harness.Start(t, harness.Options{Env: []string{"K3FS_S3__SIGNATURE_V2=true"}})
	t.Run("v4", func(t *testing.T) { walk(t, d, "bash", testdata(t, "s3cmd.sh"), "s3cmd-v4") })
	t.Run("v2", func(t *testing.T) { walk(t, d, "bash", testdata(t, "s3cmd.sh"), "s3cmd-v2", "--signature-v2") })
}

// Programs that make a directory of a bucket, beside the mount of k3fs itself.
func TestMountsOfObjects(t *testing.T) {
	harness.NeedTools(t, "bash", "rclone", "s3fs", "fusermount3", "mountpoint")
	d := harness.Start(t, harness.Options{})
	for _, program := range []string{"rclone", "s3fs"} {
		t.Run(program, func(t *testing.T) {
			walk(t, d, "bash", testdata(t, "mounted.sh"), program, "mount-"+program, filepath.Join(d.Mount, "mount-"+program))
		})
	}
}

func TestS5cmd(t *testing.T) {
	harness.NeedTools(t, "bash", "jq", "curl")
	program := filepath.Join(harness.TempDir(t), "s5cmd")
	harness.Run(t, exec.Command("go", "build", "-C", filepath.Join(harness.ModuleRoot(), "tools"), "-o", program, "github.com/peak/s5cmd/v2"))
	walk(t, harness.Start(t, harness.Options{}), "bash", testdata(t, "s5cmd.sh"), program, "s5cmd")
}

func TestJavaScript(t *testing.T) {
	harness.NeedTools(t, "node", "npm")
	js := filepath.Join(harness.ModuleRoot(), "e2e", "js") // .ci/deps installs it
	if _, err := os.Stat(filepath.Join(js, "node_modules", "@aws-sdk", "client-s3")); err != nil {
		ci := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
		ci.Dir = js
		if out, err := ci.CombinedOutput(); err != nil {
			harness.Unable(t, "npm ci: %v\n%s", err, out)
		}
	}
	walk(t, harness.Start(t, harness.Options{}), "node", filepath.Join(js, "client.mjs"), "js-sdk")
}

// The aws command gets temporary credentials from "k3fs context credentials --session", as its credential_process.
func TestAWSCredentialProcess(t *testing.T) {
	d := harness.Start(t, harness.Options{})
	binary, err := harness.Binary()
	require.NoError(t, err)
	home := harness.TempDir(t)
	config := filepath.Join(home, "aws")
	process := binary + " context credentials --session 15m"
	require.NoError(t, os.WriteFile(config, []byte("[default]\ncredential_process = "+process+"\n"), 0o600))
	env := slices.DeleteFunc(d.ClientEnv(), func(kv string) bool {
		return strings.HasPrefix(kv, "AWS_ACCESS_KEY_ID=") || strings.HasPrefix(kv, "AWS_SECRET_ACCESS_KEY=") || strings.HasPrefix(kv, "AWS_CONFIG_FILE=")
	})
	env = append(env, "AWS_CONFIG_FILE="+config, "K3FS_CONFIG="+filepath.Join(home, "k3fs"), "AWS_ENDPOINT_URL_STS=http://"+d.S3)
	run := func(name string, args ...string) string {
		cmd := exec.Command(name, args...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s %v: %s", name, args, out)
		return string(out)
	}
	login := exec.Command(binary, "login", "--endpoint", "unix:"+filepath.Join(d.Data, "admin.sock"), "--s3", "http://"+d.S3, "--access-key", harness.AccessKey)
	login.Env, login.Stdin = env, strings.NewReader(harness.SecretKey+"\n")
	out, err := login.CombinedOutput()
	require.NoError(t, err, "%s", out)
	d.MakeBucket(t, "bucket")
	for name, program := range releases(t, "/usr/bin/aws", "/root/.pyenv/shims/aws") {
		t.Run(name, func(t *testing.T) {
			// Current commands read AWS_ENDPOINT_URL; Debian's do not.
			at := []string{"--endpoint-url", "http://" + d.S3}
			require.Contains(t, run(program, append(at, "sts", "get-caller-identity")...), "arn:aws:")
			require.Contains(t, run(program, append(at, "s3", "ls")...), "bucket")
			require.Contains(t, run(program, append(at, "configure", "list")...), "custom-process")
		})
	}
}
