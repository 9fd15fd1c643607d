// Package plaintext looks for what clients gave to k3fs in what that leaves on the host: nothing of it may be there in
// the clear.
package plaintext

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// marks are words that appear nowhere but in what the test gives to the daemon, by what they are.
var marks = map[string]string{
	"a small object":      "wombat-small-4711",
	"a large object":      "quokka-large-0815",
	"a small file":        "numbat-tiny-2342",
	"a large file":        "bilby-huge-1337",
	"a part of an upload": "dingo-part-9001",
	"an object's name":    "kookaburra-name",
	"a file's name":       "cassowary-name",
	"a directory's name":  "platypus-dir",
	"a bucket's name":     "echidna-bucket",
	"user metadata":       "possum-meta",
	"a tag":               "lorikeet-tag",
	"an attribute":        "galah-xattr",
	"what a symlink says": "brolga-target",
	"the root's secret":   harness.SecretKey,
}

// TestNothingInTheClear works through both doors, and then looks for all of it in the data directory, the log,
// temporary files, the environment that the kernel shows, and for a core dump.
func TestNothingInTheClear(t *testing.T) {
	harness.NeedMount(t)
	dir := harness.TempDir(t)
	tmp := filepath.Join(dir, "tmp")
	require.NoError(t, os.MkdirAll(tmp, 0o700))
	key := make([]byte, 32)
	rand.Read(key)
	marks := maps.Clone(marks)
	marks["the master key"], marks["the master key's text"] = string(key), hex.EncodeToString(key)

	var cores unix.Rlimit // the daemon must not depend on the host's limit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_CORE, &cores))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: cores.Max, Max: cores.Max}))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_CORE, &cores)) }()

	d := harness.New(t, harness.Options{Dir: dir, Env: []string{
		"TMPDIR=" + tmp, "GOTRACEBACK=crash", "K3FS_LOG__LEVEL=debug", "K3FS_MASTER_KEY=" + masterText(key)}})
	d.MustStart(t)
	work(t, d)
	requireForgotten(t, d.PID())
	d.MustStop(t) // from the logs into tables
	requireClear(t, marks, d.Data, tmp)
	d.MustStart(t)
	work(t, d)
	abort(t, d)
	requireClear(t, marks, d.Data, tmp)
	for what, mark := range marks {
		require.NotContains(t, d.Log(), mark, "%s is in the log", what)
	}

	// What looks for it finds it, where it is.
	require.NoError(t, os.WriteFile(filepath.Join(tmp, "seen"), []byte("x"+marks["an attribute"]), 0o600))
	require.Equal(t, []string{"an attribute in " + filepath.Join(tmp, "seen")}, found(t, marks, tmp))
}

// masterText is a master key as its file has it.
func masterText(key []byte) string {
	const magic = "k3fs-master-1 "
	sum := sha256.Sum256(append([]byte(magic), key...))
	return fmt.Sprintf("%s%x %x", magic, key, sum[:8])
}

func fill(mark string, n int) []byte {
	return bytes.Repeat([]byte(mark+"\n"), n/(len(mark)+1)+1)
}

// work leaves every mark behind both doors.
func work(t *testing.T, d *harness.Daemon) {
	ctx := context.Background()
	c := d.Client(t)
	bucket := marks["a bucket's name"]
	if ok, err := c.BucketExists(ctx, bucket); err != nil || !ok {
		d.MakeBucket(t, bucket)
	}
	put := func(key string, data []byte) {
		_, err := c.PutObject(ctx, bucket, key, bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{
			UserMetadata: map[string]string{"k": marks["user metadata"]}, UserTags: map[string]string{"k": marks["a tag"]}, PartSize: 5 << 20})
		require.NoError(t, err)
	}
	put("small/"+marks["an object's name"], fill(marks["a small object"], 3000))
	put("large", fill(marks["a large object"], 1200<<10))
	put("parts", fill(marks["a part of an upload"], 6<<20))

	at := filepath.Join(d.Mount, bucket, marks["a directory's name"])
	require.NoError(t, os.MkdirAll(at, 0o755))
	name := filepath.Join(at, marks["a file's name"])
	require.NoError(t, os.WriteFile(name, fill(marks["a small file"], 2000), 0o644))
	require.NoError(t, os.WriteFile(name+".big", fill(marks["a large file"], 1200<<10), 0o644))
	require.NoError(t, unix.Setxattr(name, "user.k", []byte(marks["an attribute"]), 0))
	_ = os.Remove(filepath.Join(at, "link"))
	require.NoError(t, os.Symlink(marks["what a symlink says"], filepath.Join(at, "link")))
	unix.Sync()
	got, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, fill(marks["a small file"], 2000), got)
}

// requireForgotten says that the environment of a process, as the kernel shows it, has no secret.
func requireForgotten(t *testing.T, pid int) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	require.NoError(t, err)
	require.NotEmpty(t, raw)
	require.NotContains(t, string(raw), harness.SecretKey)
	require.NotContains(t, string(raw), "k3fs-master-1 ")
}

// abort ends the daemon as a crash does that leaves a core dump where one may be left.
func abort(t *testing.T, d *harness.Daemon) {
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", d.PID()))
	require.NoError(t, err)
	require.Regexp(t, `Max core file size +0 +0 `, string(limits))
	before := coresIn(t, ".")
	require.NoError(t, syscall.Kill(d.PID(), syscall.SIGABRT))
	select {
	case <-d.Exited():
	case <-time.After(time.Minute):
		t.Fatal("the daemon outlives SIGABRT")
	}
	require.Equal(t, before, coresIn(t, "."), "there is a core dump")
	_ = exec.Command("umount", "-l", d.Mount).Run() // the dead mount
}

func coresIn(t *testing.T, dir string) (names []string) {
	names, err := filepath.Glob(filepath.Join(dir, "core*"))
	require.NoError(t, err)
	return names
}

func requireClear(t *testing.T, marks map[string]string, dirs ...string) {
	for _, dir := range dirs {
		require.Empty(t, found(t, marks, dir))
	}
}

// found looks for every mark in every file below dir, and in the names of files: as it is, in hexadecimal and base64.
func found(t *testing.T, marks map[string]string, dir string) (hits []string) {
	forms := map[string][][]byte{}
	for what, mark := range marks {
		forms[what] = [][]byte{[]byte(mark), []byte(hex.EncodeToString([]byte(mark)))}
		for skip := range 3 { // wherever it begins in what is encoded
			b := base64.StdEncoding.EncodeToString([]byte(mark)[skip:])
			forms[what] = append(forms[what], []byte(strings.TrimRight(b, "=")[:len(b)-4]))
		}
	}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := readData(path)
		if err != nil {
			return err
		}
		for what, all := range forms {
			for _, form := range all {
				if bytes.Contains(data, form) || strings.Contains(path, string(form)) {
					hits = append(hits, what+" in "+path)
					break
				}
			}
		}
		return nil
	}))
	return hits
}

// readData reads a file without its holes, which may be most of it.
func readData(path string) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for off := int64(0); ; {
		if off, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
		end, err := unix.Seek(int(f.Fd()), off, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		part := make([]byte, end-off)
		if _, err := f.ReadAt(part, off); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		data, off = append(data, part...), end
	}
}
