package doors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// TestHeld attacks what is protected, at both doors of a real daemon that is stopped and killed meanwhile: no protected
// bytes are lost or altered, and ordinary work goes on. namespace/nstest has the attack at large; here are the daemon,
// the kernel, the SDK and the command.
func TestHeld(t *testing.T) {
	d := harness.Start(t, harness.Options{})
	a := &raid{t: t, d: d, c: d.Client(t), rng: harness.Rand(t), held: map[string][]byte{}}
	ctx := context.Background()
	require.NoError(t, a.c.MakeBucket(ctx, "locked", minio.MakeBucketOptions{Region: harness.Region, ObjectLocking: true}))
	d.MakeBucket(t, "plain")
	ops := []func(){
		a.put, a.put, a.removeVersion, a.removeVersion, a.removeVersion, a.shorten, a.overwrite, a.overwrite, a.unlink, a.rename,
		a.renameDir, a.attribute, a.change, a.change, a.change, a.change, a.hold, a.release,
	}
	n := harness.Rounds(300, 20_000)
	for i := range n {
		if i%(n/4) == n/8 {
			a.restart(i/(n/4)%2 == 0)
		}
		ops[a.rng.IntN(len(ops))]()
		if i%50 == 49 {
			a.check()
		}
	}
	a.check()
	require.NotZero(t, a.refused)
	t.Logf("%d operations, %d refused, %d versions protected in the end", n, a.refused, len(a.locked))
}

// raid knows what is protected: versions in one bucket, files under a hold in the other.
type raid struct {
	t       *testing.T
	d       *harness.Daemon
	c       *minio.Client
	rng     *rand.Rand
	locked  []lockedVersion
	held    map[string][]byte // by key, whether the hold is placed or not
	id      string            // of the hold; "" while there is none
	refused int
}

type lockedVersion struct {
	key, id    string
	body       []byte
	compliance bool
	until      time.Time // zero: a legal hold
}

var raidKeys = []string{"a", "b", "d/a", "d/b", "e/a"}

func (a *raid) key() string { return raidKeys[a.rng.IntN(len(raidKeys))] }

func (a *raid) path(bucket, key string) string { return filepath.Join(a.d.Mount, bucket, key) }

func (a *raid) body() []byte {
	return bytes.Repeat([]byte{byte('a' + a.rng.IntN(26))}, []int{1, 100, 9000, 300_000}[a.rng.IntN(4)]+a.rng.IntN(50))
}

// isRefused reports whether a protection is why something failed, at either door.
func isRefused(err error) bool {
	return errors.Is(err, syscall.EPERM) || minio.ToErrorResponse(err).Code == "AccessDenied"
}

// expect compares an error with what the rule says.
func (a *raid) expect(refused bool, err error, format string, args ...any) {
	a.t.Helper()
	what := fmt.Sprintf(format, args...)
	if !refused {
		require.NoError(a.t, err, what)
		return
	}
	a.refused++
	require.True(a.t, isRefused(err), "%s: %v", what, err)
}

func (a *raid) put() {
	key, body := a.key(), a.body()
	var o minio.PutObjectOptions
	v := lockedVersion{key: key, body: body}
	kind := a.rng.IntN(4)
	switch kind {
	case 0:
		o.LegalHold = minio.LegalHoldEnabled
	case 1, 2:
		o.Mode = []minio.RetentionMode{minio.Governance, minio.Compliance}[kind-1]
		v.compliance, v.until = kind == 2, time.Now().Add(24*time.Hour).Truncate(time.Second)
		o.RetainUntilDate = v.until
	}
	o.SendContentMd5 = true
	info, err := a.c.PutObject(context.Background(), "locked", key, bytes.NewReader(body), int64(len(body)), o)
	a.expect(false, err, "PUT %s", key)
	if v.id = info.VersionID; kind < 3 {
		a.locked = append(a.locked, v)
	}
}

// isLocked finds a version among those that are protected.
func (a *raid) isLocked(key, id string) int {
	return slices.IndexFunc(a.locked, func(v lockedVersion) bool { return v.key == key && v.id == id })
}

func (a *raid) removeVersion() {
	ctx := context.Background()
	var all []minio.ObjectInfo
	for o := range a.c.ListObjects(ctx, "locked", minio.ListObjectsOptions{WithVersions: true, Recursive: true}) {
		require.NoError(a.t, o.Err)
		all = append(all, o)
	}
	if len(all) == 0 {
		return
	}
	o := all[a.rng.IntN(len(all))]
	bypass := a.rng.IntN(4) == 0
	i := a.isLocked(o.Key, o.VersionID)
	passes := i >= 0 && bypass && !a.locked[i].compliance && !a.locked[i].until.IsZero()
	err := a.c.RemoveObject(ctx, "locked", o.Key, minio.RemoveObjectOptions{VersionID: o.VersionID, GovernanceBypass: bypass})
	a.expect(i >= 0 && !passes, err, "remove %s %s", o.Key, o.VersionID)
	if passes {
		a.locked = slices.Delete(a.locked, i, i+1)
	}
}

func (a *raid) shorten() {
	if len(a.locked) == 0 {
		return
	}
	v := &a.locked[a.rng.IntN(len(a.locked))]
	if v.until.IsZero() {
		return
	}
	mode, sooner, longer := minio.Governance, v.until.Add(-time.Hour), v.until.Add(time.Hour)
	if v.compliance {
		mode = minio.Compliance
	}
	ctx := context.Background()
	a.expect(true, a.c.PutObjectRetention(ctx, "locked", v.key, minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &sooner, VersionID: v.id}), "shorten %s", v.key)
	a.expect(false, a.c.PutObjectRetention(ctx, "locked", v.key, minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &longer, VersionID: v.id}), "lengthen %s", v.key)
	v.until = longer
}

// overwrite is ordinary work in a bucket with Object Lock, as are unlink and rename.
func (a *raid) overwrite() {
	p := a.path("locked", a.key())
	a.expect(false, os.MkdirAll(filepath.Dir(p), 0o755), "mkdir for %s", p)
	flags := []int{os.O_TRUNC, os.O_APPEND, 0}[a.rng.IntN(3)]
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|flags, 0o644)
	a.expect(false, err, "open %s", p)
	_, err = f.Write(a.body())
	a.expect(false, errors.Join(err, f.Close()), "write %s", p)
}

func (a *raid) unlink() {
	p := a.path("locked", a.key())
	if err := os.Remove(p); !errors.Is(err, os.ErrNotExist) {
		a.expect(false, err, "unlink %s", p)
	}
}

func (a *raid) rename() {
	from, to := a.path("locked", a.key()), a.path("locked", a.key())
	a.expect(false, os.MkdirAll(filepath.Dir(to), 0o755), "mkdir for %s", to)
	if err := os.Rename(from, to); !errors.Is(err, os.ErrNotExist) {
		a.expect(false, err, "rename %s to %s", from, to)
	}
}

// renameDir takes current versions along, and is refused if one of them is locked.
func (a *raid) renameDir() {
	from := a.path("locked", "d")
	files, err := os.ReadDir(from)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	require.NoError(a.t, err)
	locked := false
	for _, f := range files {
		locked = locked || a.isLocked("d/"+f.Name(), a.version(filepath.Join(from, f.Name()))) >= 0
	}
	to := a.path("locked", fmt.Sprintf("moved-%d", a.rng.Uint32()))
	err = os.Rename(from, to)
	a.expect(locked, err, "rename the directory with %v", files)
}

// version is the id of the version that a file is.
func (a *raid) version(p string) string {
	b := make([]byte, 100)
	n, err := unix.Getxattr(p, "user.s3.version-id", b)
	require.NoError(a.t, err, p)
	return string(b[:n])
}

// attribute places a legal hold, or retention, through the mount.
func (a *raid) attribute() {
	key := a.key()
	p := a.path("locked", key)
	body, err := os.ReadFile(p)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	require.NoError(a.t, err)
	id := a.version(p)
	if a.isLocked(key, id) >= 0 {
		return
	}
	v := lockedVersion{key: key, id: id, body: body}
	name, value := "user.s3.legal-hold", "ON"
	if a.rng.IntN(2) == 0 {
		v.compliance, v.until = true, time.Now().Add(24*time.Hour).Truncate(time.Second)
		name, value = "user.s3.retention", "COMPLIANCE "+v.until.UTC().Format(time.RFC3339)
	}
	a.expect(false, unix.Setxattr(p, name, []byte(value), 0), "setfattr %s %s", name, p)
	a.locked = append(a.locked, v)
}

// change changes a file that may be held, in one of all ways, or makes it.
func (a *raid) change() {
	ctx := context.Background()
	key := "held/" + []string{"x", "y", "z"}[a.rng.IntN(3)]
	p, body := a.path("plain", key), a.body()
	a.expect(false, os.MkdirAll(filepath.Dir(p), 0o755), "mkdir")
	was, there := a.held[key]
	refused := a.id != "" && there
	var err error
	now := body // nil: none
	what := a.rng.IntN(8)
	switch {
	case what == 0:
		_, err = a.c.PutObject(ctx, "plain", key, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{SendContentMd5: true})
	case what == 1 || !there:
		err = os.WriteFile(p, body, 0o644)
	case what == 2:
		now, err = nil, a.c.RemoveObject(ctx, "plain", key, minio.RemoveObjectOptions{})
	case what == 3:
		now, err = nil, os.Remove(p)
	case what == 4:
		now, err = was[:1], os.Truncate(p, 1)
	case what == 5:
		now, err = nil, os.Rename(p, p+"-moved")
	case what == 6:
		now, err = was, os.Chmod(p, 0o600)
	default:
		var f *os.File
		if f, err = os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0); err == nil {
			_, err = f.Write(body)
			err = errors.Join(err, f.Close())
		}
		now = slices.Concat(was, body)
	}
	a.expect(refused, err, "change %d of %s", what, key)
	switch {
	case refused:
	case now == nil:
		delete(a.held, key)
	default:
		a.held[key] = now
	}
}

// k3fs runs the command.
func (a *raid) k3fs(args ...string) string {
	binary, err := harness.Binary()
	require.NoError(a.t, err)
	return strings.TrimSpace(harness.Run(a.t, exec.Command(binary, append(args, "--data", a.d.Data)...)))
}

func (a *raid) hold() {
	if a.id == "" {
		a.id = a.k3fs("hold", "place", "--bucket", "plain", "--prefix", "held/", "--reason", "an attack")
		require.Regexp(a.t, `^h-[0-9a-f]{16}$`, a.id)
	}
}

func (a *raid) release() {
	if a.id != "" {
		a.k3fs("hold", "release", a.id, "--reason", "an attack")
		a.id = ""
	}
}

// restart stops or kills the daemon. What the mount wrote and nobody synced may be lost by a kill: what S3 acknowledges
// makes all that was before durable.
func (a *raid) restart(kill bool) {
	if kill {
		_, err := a.c.PutObject(context.Background(), "plain", "last", strings.NewReader("x"), 1, minio.PutObjectOptions{SendContentMd5: true})
		a.expect(false, err, "PUT")
		dir, err := os.Open(a.d.Mount)
		require.NoError(a.t, err)
		require.NoError(a.t, errors.Join(unix.Syncfs(int(dir.Fd())), dir.Close()))
		a.d.Kill()
	} else {
		a.d.MustStop(a.t)
	}
	a.d.MustStart(a.t)
	a.check()
}

// check reads all that is protected.
func (a *raid) check() {
	ctx := context.Background()
	for _, v := range a.locked {
		o, err := a.c.GetObject(ctx, "locked", v.key, minio.GetObjectOptions{VersionID: v.id})
		require.NoError(a.t, err)
		body, err := io.ReadAll(o)
		require.NoError(a.t, err, "%s version %s", v.key, v.id)
		require.True(a.t, bytes.Equal(v.body, body), "%s version %s is altered", v.key, v.id)
		require.NoError(a.t, o.Close())
	}
	for key, want := range a.held {
		body, err := os.ReadFile(a.path("plain", key))
		require.NoError(a.t, err, key)
		require.True(a.t, bytes.Equal(want, body), "%s is altered", key)
	}
}
