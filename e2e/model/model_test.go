package model

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"k3fs/e2e/harness"
)

// TestRandomOperations does random operations at both doors, with restarts and crashes in between, and
// compares everything at both doors with the model.
func TestRandomOperations(t *testing.T) {
	d := harness.Start(t, harness.Options{})
	// rapid is told by flags; a shorter failure is looked for only briefly, since restarts take time.
	for name, value := range map[string]string{"checks": strconv.Itoa(harness.Rounds(60, 2000)), "steps": "60", "shrinktime": "20s", "nofailfile": "true"} {
		require.NoError(t, flag.Set("rapid."+name, value))
	}
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		name := fmt.Sprintf("model-%d", runs)
		m := &machine{d: d, c: d.Client(t), name: name, dir: filepath.Join(d.Mount, name), want: New()}
		m.ok(rt, m.c.MakeBucket(context.Background(), name, minio.MakeBucketOptions{Region: harness.Region}), "make bucket")
		actions := map[string]func(*rapid.T){
			"": m.check, "s3 put": m.s3Put, "s3 put dir": m.s3PutDir, "s3 delete": m.s3Delete, "s3 delete dir": m.s3DeleteDir, "s3 copy": m.s3Copy,
			"write": m.write, "append": m.appendTo, "write at": m.writeAt, "truncate": m.truncate, "rename": m.rename, "rename again": m.rename,
			"unlink": m.unlink, "mkdir": m.mkdir, "rmdir": m.rmdir, "link": m.link, "restart": m.restart,
		}
		rt.Repeat(actions)
		m.compare(rt)
	})
	t.Logf("%d runs", runs)
}

// machine is one bucket in both worlds.
type machine struct {
	d     *harness.Daemon
	c     *minio.Client
	name  string
	dir   string
	want  *Bucket
	steps int
	saved uint32
}

var (
	paths = rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "a-", "ü"}), 1, 3).Draw(t, "parts")
		return strings.Join(parts, "/")
	})
	// Sizes around what the layout cares for: inline limit, package, frame.
	sizes = rapid.SampledFrom([]int{0, 1, 100, 4095, 4097, 8192, 8193, 70_000, 1 << 20, 1<<20 + 1, 2_500_000})
)

func (m *machine) body(t *rapid.T) []byte {
	n := sizes.Draw(t, "size")
	m.saved++
	return harness.Series{Name: m.name, Min: max(n, 4), Max: max(n, 4)}.Body(m.saved)[:n]
}

// present draws one of the files that exist, or any path.
func (m *machine) present(t *rapid.T) string {
	var files []string
	for _, key := range m.want.Keys() {
		if !strings.HasSuffix(key, "/") {
			files = append(files, key)
		}
	}
	if len(files) == 0 || rapid.IntRange(0, 9).Draw(t, "any") == 0 {
		return paths.Draw(t, "path")
	}
	return rapid.SampledFrom(files).Draw(t, "file")
}

func (m *machine) path(p string) string { return filepath.Join(m.dir, p) }

// agree compares an operation's error with the model's.
func agree(t *rapid.T, want, got error, format string, args ...any) {
	t.Helper()
	if want == nil && got == nil || want != nil && errors.Is(got, want) {
		return
	}
	if want != nil && got != nil && errors.Is(want, syscall.EISDIR) && (errors.Is(got, syscall.ENOTEMPTY) || errors.Is(got, syscall.EEXIST)) {
		return
	}
	t.Fatalf("%s: got %v, want %v", fmt.Sprintf(format, args...), got, want)
}

func (m *machine) ok(t *rapid.T, err error, format string, args ...any) {
	t.Helper()
	agree(t, nil, err, format, args...)
}

func (m *machine) s3Put(t *rapid.T) {
	p, body := paths.Draw(t, "key"), m.body(t)
	if m.want.Clashes(p, false) {
		return
	}
	_, err := m.c.PutObject(context.Background(), m.name, p, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{})
	m.ok(t, err, "PUT %s", p)
	m.want.Put(p, body)
}

func (m *machine) s3PutDir(t *rapid.T) {
	p := paths.Draw(t, "key")
	if m.want.Clashes(p, true) {
		return
	}
	_, err := m.c.PutObject(context.Background(), m.name, p+"/", bytes.NewReader(nil), 0, minio.PutObjectOptions{})
	m.ok(t, err, "PUT %s/", p)
	m.want.PutDir(p)
}

func (m *machine) s3Delete(t *rapid.T) {
	p := m.present(t)
	m.ok(t, m.c.RemoveObject(context.Background(), m.name, p, minio.RemoveObjectOptions{}), "DELETE %s", p)
	m.want.Delete(p)
}

func (m *machine) s3DeleteDir(t *rapid.T) {
	p := paths.Draw(t, "key")
	m.ok(t, m.c.RemoveObject(context.Background(), m.name, p+"/", minio.RemoveObjectOptions{}), "DELETE %s/", p)
	m.want.DeleteDir(p)
}

func (m *machine) s3Copy(t *rapid.T) {
	from, to := m.present(t), paths.Draw(t, "to")
	if m.want.Clashes(to, false) || from == to {
		return
	}
	_, err := m.c.CopyObject(context.Background(), minio.CopyDestOptions{Bucket: m.name, Object: to}, minio.CopySrcOptions{Bucket: m.name, Object: from})
	if f := m.want.Files[from]; f != nil {
		m.ok(t, err, "copy %s to %s", from, to)
		m.want.Put(to, f.Content)
	} else if minio.ToErrorResponse(err).Code != "NoSuchKey" {
		t.Fatalf("copy of absent %s: %v", from, err)
	}
}

// write makes the directories that it needs and replaces the content in place.
func (m *machine) write(t *rapid.T) {
	p, body := paths.Draw(t, "path"), m.body(t)
	if m.want.Clashes(p, false) {
		return
	}
	m.ok(t, os.MkdirAll(filepath.Dir(m.path(p)), 0o755), "mkdir -p for %s", p)
	m.ok(t, os.WriteFile(m.path(p), body, 0o644), "write %s", p)
	m.want.MkdirAll(parent(p))
	if f := m.want.Files[p]; f != nil {
		f.Content = bytes.Clone(body) // every name of the file shows it
	} else {
		m.want.Put(p, body)
	}
}

// change opens an existing file, lets fn change it, and closes it.
func (m *machine) change(t *rapid.T, p string, flags int, fn func(*os.File) error) bool {
	f, err := os.OpenFile(m.path(p), os.O_RDWR|flags, 0)
	if m.want.Files[p] == nil {
		if err == nil {
			t.Fatalf("open %s: it must not exist as a file", p)
		}
		return false
	}
	m.ok(t, err, "open %s", p)
	m.ok(t, fn(f), "change %s", p)
	if rapid.Bool().Draw(t, "fsync") {
		m.ok(t, f.Sync(), "fsync %s", p)
	}
	m.ok(t, f.Close(), "close %s", p)
	return true
}

func (m *machine) appendTo(t *rapid.T) {
	p, body := m.present(t), m.body(t)
	if m.change(t, p, os.O_APPEND, func(f *os.File) error { _, err := f.Write(body); return err }) {
		f := m.want.Files[p]
		f.Content = slices.Concat(f.Content, body)
	}
}

func (m *machine) writeAt(t *rapid.T) {
	p, body := m.present(t), m.body(t)
	off := sizes.Draw(t, "offset")
	if m.change(t, p, 0, func(f *os.File) error { _, err := f.WriteAt(body, int64(off)); return err }) && len(body) > 0 {
		f := m.want.Files[p]
		grown := make([]byte, max(len(f.Content), off+len(body)))
		copy(grown, f.Content)
		copy(grown[off:], body)
		f.Content = grown
	}
}

func (m *machine) truncate(t *rapid.T) {
	p, n := m.present(t), sizes.Draw(t, "size")
	if m.change(t, p, 0, func(f *os.File) error { return f.Truncate(int64(n)) }) {
		f := m.want.Files[p]
		cut := make([]byte, n)
		copy(cut, f.Content)
		f.Content = cut
	}
}

func (m *machine) rename(t *rapid.T) {
	from, to := paths.Draw(t, "from"), paths.Draw(t, "to")
	if rapid.Bool().Draw(t, "of a file") {
		from = m.present(t)
	}
	for q := parent(to); q != ""; q = parent(q) {
		if m.want.Files[q] != nil {
			return // ENOTDIR or ENOENT, as the kernel looks first
		}
	}
	for q := parent(from); q != ""; q = parent(q) {
		if m.want.Files[q] != nil {
			return
		}
	}
	want := m.want.Rename(from, to)
	agree(t, want, syscall.Rename(m.path(from), m.path(to)), "rename %s %s", from, to)
}

func (m *machine) unlink(t *rapid.T) {
	p := m.present(t)
	got := syscall.Unlink(m.path(p))
	if errors.Is(got, syscall.ENOTDIR) {
		got = fs.ErrNotExist
	}
	agree(t, m.want.Unlink(p), got, "unlink %s", p)
}

func (m *machine) mkdir(t *rapid.T) {
	p := paths.Draw(t, "path")
	if m.want.Clashes(p, true) {
		return
	}
	m.ok(t, os.MkdirAll(m.path(p), 0o755), "mkdir -p %s", p)
	m.want.MkdirAll(p)
}

func (m *machine) rmdir(t *rapid.T) {
	p := paths.Draw(t, "path")
	got := syscall.Rmdir(m.path(p))
	want := m.want.Rmdir(p)
	if errors.Is(got, syscall.ENOTDIR) && errors.Is(want, fs.ErrNotExist) {
		return // below a file
	}
	agree(t, want, got, "rmdir %s", p)
}

func (m *machine) link(t *rapid.T) {
	from, to := m.present(t), paths.Draw(t, "to")
	if m.want.Clashes(to, false) && m.want.Files[to] == nil || m.want.Clashes(from, false) {
		return
	}
	agree(t, m.want.Link(from, to), os.Link(m.path(from), m.path(to)), "link %s %s", from, to)
}

// restart stops the daemon cleanly, or kills it once everything has become durable by itself.
func (m *machine) restart(t *rapid.T) {
	switch rapid.IntRange(0, 29).Draw(t, "restart") {
	case 0:
		m.ok(t, m.d.Stop(), "stop")
	case 1:
		time.Sleep(1500 * time.Millisecond) // docs/semantics.md: durable within a second
		m.d.Kill()
	default:
		return
	}
	m.ok(t, m.d.Fsck(), "fsck")
	m.ok(t, m.d.Start(), "start")
}

// check runs after every step; the whole comparison is done after some.
func (m *machine) check(t *rapid.T) {
	if m.steps++; m.steps%10 == 0 {
		m.compare(t)
	}
}

func (m *machine) compare(t *rapid.T) {
	keys := []string{}
	for o := range m.c.ListObjects(context.Background(), m.name, minio.ListObjectsOptions{Recursive: true, MaxKeys: 7}) {
		m.ok(t, o.Err, "list")
		keys = append(keys, o.Key)
		if f := m.want.Files[o.Key]; f != nil && o.Size != int64(len(f.Content)) {
			t.Fatalf("listed size of %s: %d, want %d", o.Key, o.Size, len(f.Content))
		}
	}
	same(t, "S3 listing", m.want.Keys(), keys)
	tree := []string{}
	err := filepath.WalkDir(m.dir, func(p string, e fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(m.dir, p); rel != "." && err == nil {
			if e.IsDir() {
				rel += "/"
			}
			tree = append(tree, rel)
		}
		return err
	})
	m.ok(t, err, "walk")
	slices.Sort(tree)
	same(t, "the mount's tree", m.want.Tree(), tree)
	for p, f := range m.want.Files {
		got, err := os.ReadFile(m.path(p))
		m.ok(t, err, "read %s", p)
		content(t, "the mount's "+p, f.Content, got)
		o, err := m.c.GetObject(context.Background(), m.name, p, minio.GetObjectOptions{})
		m.ok(t, err, "GET %s", p)
		got, err = io.ReadAll(o)
		_ = o.Close()
		m.ok(t, err, "GET %s", p)
		content(t, "S3's "+p, f.Content, got)
	}
}

func same(t *rapid.T, what string, want, got []string) {
	t.Helper()
	if !slices.Equal(want, got) {
		t.Fatalf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func content(t *rapid.T, what string, want, got []byte) {
	t.Helper()
	if bytes.Equal(want, got) {
		return
	}
	at := 0
	for at < min(len(want), len(got)) && want[at] == got[at] {
		at++
	}
	t.Fatalf("%s: %d bytes, want %d; they differ at byte %d", what, len(got), len(want), at)
}
