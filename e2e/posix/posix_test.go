// Package posix shows that the mount is a file system: go-fuse's posixtest, and what programs rely on
// beyond it.
package posix

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// bucket starts a daemon and returns a bucket's directory in its mount.
func bucket(t *testing.T) (*harness.Daemon, string) {
	t.Helper()
	d := harness.Start(t, harness.Options{})
	dir := filepath.Join(d.Mount, "posix")
	require.NoError(t, os.Mkdir(dir, 0o755))
	return d, dir
}

func TestPosixtestAll(t *testing.T) {
	_, dir := bucket(t)
	for name, test := range posixtest.All {
		if name == "FcntlFlockLocksFile" {
			// Wrong in itself, and left out by go-fuse too: it expects two descriptors of one process to
			// exclude each other by POSIX record locks, which belong to the process. ext4 fails it as well.
			continue
		}
		t.Run(name, func(t *testing.T) {
			sub := filepath.Join(dir, name)
			require.NoError(t, os.Mkdir(sub, 0o755))
			test(t, sub)
			require.NoError(t, os.RemoveAll(sub))
		})
	}
}

func create(t *testing.T, path string, content []byte) *os.File {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	_, err = f.Write(content)
	require.NoError(t, err)
	return f
}

func TestMmapShared(t *testing.T) {
	d, dir := bucket(t)
	path := filepath.Join(dir, "mapped")
	f := create(t, path, bytes.Repeat([]byte{'.'}, 256<<10))
	m, err := unix.Mmap(int(f.Fd()), 0, 256<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(t, err)
	copy(m[100_000:], "stored through memory")
	got := make([]byte, 21)
	_, err = f.ReadAt(got, 100_000)
	require.NoError(t, err)
	require.Equal(t, "stored through memory", string(got), "read sees the map")
	_, err = f.WriteAt([]byte("written"), 5)
	require.NoError(t, err)
	require.Equal(t, "written", string(m[5:12]), "the map sees write")
	require.NoError(t, unix.Msync(m, unix.MS_SYNC))
	copy(m[200_000:], "after msync")
	require.NoError(t, unix.Munmap(m))
	require.NoError(t, f.Close())

	d.MustStop(t)
	d.MustStart(t)
	all, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Len(t, all, 256<<10)
	require.Equal(t, "stored through memory", string(all[100_000:100_021]))
	require.Equal(t, "after msync", string(all[200_000:200_011]))
	require.Equal(t, "written", string(all[5:12]))
}

// TestAppendersDontOverwrite: each O_APPEND write lands whole, behind the others.
func TestAppendersDontOverwrite(t *testing.T) {
	_, dir := bucket(t)
	path := filepath.Join(dir, "log")
	const writers, lines = 4, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range lines {
				if _, err := fmt.Fprintf(f, "%d-%03d %s\n", w, i, strings.Repeat("x", i)); err != nil {
					t.Error(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	next := make([]int, writers)
	for line := range strings.Lines(string(b)) {
		var w, i int
		_, err := fmt.Sscanf(line, "%d-%03d", &w, &i)
		require.NoError(t, err, "%q", line)
		require.Equal(t, fmt.Sprintf("%d-%03d %s\n", w, i, strings.Repeat("x", i)), line)
		require.Equal(t, next[w], i)
		next[w]++
	}
	require.Equal(t, []int{lines, lines, lines, lines}, next)
}

func TestUnlinkWhileOpen(t *testing.T) {
	_, dir := bucket(t)
	path := filepath.Join(dir, "doomed")
	f := create(t, path, bytes.Repeat([]byte("abc"), 100_000))
	require.NoError(t, os.Remove(path))
	_, err := os.Stat(path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = f.WriteAt([]byte("XYZ"), 150_000)
	require.NoError(t, err)
	got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	require.NoError(t, err)
	require.Len(t, got, 300_000)
	require.Equal(t, "XYZ", string(got[150_000:150_003]))
	create(t, path, []byte("another")) // the name is free, and the files are different
	got, err = io.ReadAll(io.NewSectionReader(f, 0, 9))
	require.NoError(t, err)
	require.Equal(t, "abcabcabc", string(got))
	require.NoError(t, f.Close())
	got, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Empty(t, cmpBytes([]byte("another"), got))
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Remove(dir), "nothing hidden may keep the directory")
}

func cmpBytes(want, got []byte) string {
	if bytes.Equal(want, got) {
		return ""
	}
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			return fmt.Sprintf("differ at byte %d of %d and %d", i, len(want), len(got))
		}
	}
	return fmt.Sprintf("lengths %d and %d", len(want), len(got))
}

func TestSparse(t *testing.T) {
	d, dir := bucket(t)
	path := filepath.Join(dir, "sparse")
	const size = 100 << 30
	f := create(t, path, []byte("head"))
	_, err := f.WriteAt([]byte("middle"), 50<<30)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(size))
	require.NoError(t, f.Close())
	d.MustStop(t)
	d.MustStart(t)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, size, info.Size())
	require.Less(t, info.Sys().(*syscall.Stat_t).Blocks*512, int64(16<<20), "holes take no room")
	f, err = os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	for off, want := range map[int64]string{0: "head\x00", 50<<30 - 1: "\x00middle\x00", size - 3: "\x00\x00\x00"} {
		got := make([]byte, len(want))
		_, err := f.ReadAt(got, off)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
}

// TestTruncateShowsNoOldBytes: what a cut removed stays removed when the file grows again.
func TestTruncateShowsNoOldBytes(t *testing.T) {
	_, dir := bucket(t)
	for _, size := range []int{100, 5_000, 70_000, 1 << 20, 3<<20 + 7} {
		for _, cut := range []int{0, 1, size / 2, size - 1} {
			path := filepath.Join(dir, fmt.Sprintf("t-%d-%d", size, cut))
			body := bytes.Repeat([]byte{'x'}, size)
			require.NoError(t, os.WriteFile(path, body, 0o644))
			require.NoError(t, os.Truncate(path, int64(cut)))
			require.NoError(t, os.Truncate(path, int64(size+10)))
			got, err := os.ReadFile(path)
			require.NoError(t, err)
			want := append(bytes.Clone(body[:cut]), make([]byte, size+10-cut)...)
			require.Empty(t, cmpBytes(want, got), path)
		}
	}
}

func TestRename(t *testing.T) {
	_, dir := bucket(t)
	p := func(name string) string { return filepath.Join(dir, name) }
	mkdir := func(names ...string) {
		for _, n := range names {
			require.NoError(t, os.Mkdir(p(n), 0o755))
		}
	}
	write := func(name string) { require.NoError(t, os.WriteFile(p(name), []byte(name), 0o644)) }
	errno := func(want syscall.Errno, from, to string) {
		t.Helper()
		err := unix.Rename(p(from), p(to))
		require.Equal(t, want, err, "rename %s %s", from, to)
	}
	mkdir("full", "empty", "other", "tree", "tree/sub")
	write("full/f")
	write("tree/sub/deep")
	write("a")
	write("b")
	errno(unix.ENOTEMPTY, "other", "full")
	errno(unix.EISDIR, "a", "empty")
	errno(unix.ENOTDIR, "empty", "a")
	errno(unix.EINVAL, "tree", "tree/sub/inside")
	errno(unix.ENOENT, "absent", "x")
	require.NoError(t, unix.Rename(p("a"), p("a")))
	require.NoError(t, unix.Rename(p("a"), p("b"))) // over a file
	got, err := os.ReadFile(p("b"))
	require.NoError(t, err)
	require.Equal(t, "a", string(got))
	require.NoError(t, unix.Rename(p("tree"), p("empty"))) // over an empty directory
	got, err = os.ReadFile(p("empty/sub/deep"))
	require.NoError(t, err)
	require.Equal(t, "tree/sub/deep", string(got))
	require.NoError(t, os.Link(p("b"), p("linked")))
	require.NoError(t, unix.Rename(p("b"), p("linked"))) // two names of one file: nothing happens
	_, err = os.Stat(p("b"))
	require.NoError(t, err)
	require.Equal(t, unix.EEXIST, unix.Renameat2(unix.AT_FDCWD, p("b"), unix.AT_FDCWD, p("full"), unix.RENAME_NOREPLACE))
}

// TestAttributesSurvive: modes, owners, times, links, symlinks and xattrs, over a restart.
func TestAttributesSurvive(t *testing.T) {
	d, dir := bucket(t)
	p := func(name string) string { return filepath.Join(dir, name) }
	when := time.Date(2001, 2, 3, 4, 5, 6, 789_000_000, time.UTC)
	for _, name := range []string{"file", "dir"} {
		if name == "dir" {
			require.NoError(t, os.Mkdir(p(name), 0o755))
		} else {
			create(t, p(name), []byte("x")).Close()
		}
		require.NoError(t, unix.Setxattr(p(name), "user.k3", []byte("value of "+name), 0))
		require.NoError(t, os.Chown(p(name), 1234, 5678))
		require.NoError(t, os.Chmod(p(name), 0o751))
		require.NoError(t, os.Chtimes(p(name), when, when))
	}
	require.NoError(t, os.Symlink("../some/target", p("soft")))
	require.NoError(t, os.Link(p("file"), p("hard")))
	check := func() {
		for _, name := range []string{"file", "dir"} {
			info, err := os.Stat(p(name))
			require.NoError(t, err)
			st := info.Sys().(*syscall.Stat_t)
			require.EqualValues(t, 0o751, info.Mode().Perm(), name)
			require.EqualValues(t, []uint32{1234, 5678}, []uint32{st.Uid, st.Gid}, name)
			require.True(t, when.Equal(info.ModTime()), "%s: %v", name, info.ModTime())
			buf := make([]byte, 100)
			n, err := unix.Getxattr(p(name), "user.k3", buf)
			require.NoError(t, err)
			require.Equal(t, "value of "+name, string(buf[:n]))
		}
		to, err := os.Readlink(p("soft"))
		require.NoError(t, err)
		require.Equal(t, "../some/target", to)
		a, err := os.Stat(p("file"))
		require.NoError(t, err)
		b, err := os.Stat(p("hard"))
		require.NoError(t, err)
		require.True(t, os.SameFile(a, b))
		require.EqualValues(t, 2, a.Sys().(*syscall.Stat_t).Nlink)
	}
	check()
	d.MustStop(t)
	d.MustStart(t)
	check()
}

// TestReaddirWhileRemoving: what rm -rf does, in a directory of several thousand entries.
func TestReaddirWhileRemoving(t *testing.T) {
	_, dir := bucket(t)
	const n = 5_000
	for i := range n {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%05d", i)), nil, 0o644))
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, n)
	f, err := os.Open(dir)
	require.NoError(t, err)
	defer f.Close()
	seen := map[string]bool{}
	for {
		names, err := f.Readdirnames(100)
		for _, name := range names {
			require.False(t, seen[name], "%s comes twice", name)
			seen[name] = true
			require.NoError(t, os.Remove(filepath.Join(dir, name)))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	require.Len(t, seen, n, "entries that were there all the time must be seen")
	require.NoError(t, os.Remove(dir))
}

func TestNames(t *testing.T) {
	_, dir := bucket(t)
	long := strings.Repeat("n", 255)
	names := []string{long, "sp ace", "new\nline", "back\\slash", "ünï", "日本", "-dash", "'quote'", "a%2Fb", "#", "~", ".hidden", "..."}
	for _, name := range names {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644), "%q", name)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		require.Equal(t, e.Name(), string(b))
	}
	slices.Sort(names)
	require.Equal(t, names, got)
	err = os.WriteFile(filepath.Join(dir, long+"n"), nil, 0o644)
	require.ErrorIs(t, err, unix.ENAMETOOLONG)
}

// TestDirectIO writes and reads past the page cache, at odd lengths.
func TestDirectIO(t *testing.T) {
	_, dir := bucket(t)
	path := filepath.Join(dir, "direct")
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT, 0o644)
	require.NoError(t, err)
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	buf, err := unix.Mmap(-1, 0, 4<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	defer func() { _ = unix.Munmap(buf) }()
	want := harness.Series{Name: "direct", Min: 3 << 20, Max: 3 << 20}.Body(1)
	copy(buf, want)
	_, err = f.WriteAt(buf[:len(want)], 0)
	require.NoError(t, err)
	clear(buf)
	_, err = f.ReadAt(buf[:len(want)], 0)
	require.NoError(t, err)
	require.Empty(t, cmpBytes(want, buf[:len(want)]))
	got, err := os.ReadFile(path) // and through the page cache
	require.NoError(t, err)
	require.Empty(t, cmpBytes(want, got))
}

func TestStatfs(t *testing.T) {
	_, dir := bucket(t)
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &st))
	require.Positive(t, st.Blocks)
	require.Positive(t, st.Bavail)
	require.LessOrEqual(t, st.Bavail, st.Blocks)
	require.EqualValues(t, 255, st.Namelen)
}

// TestBuckets: the root of the mount makes and removes buckets by S3's naming rules, and nothing else.
func TestBuckets(t *testing.T) {
	d, dir := bucket(t)
	require.Error(t, os.Mkdir(filepath.Join(d.Mount, "Not_A_Bucket"), 0o755))
	require.Error(t, os.WriteFile(filepath.Join(d.Mount, "file"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o644))
	require.ErrorIs(t, os.Remove(dir), unix.ENOTEMPTY)
	require.NoError(t, os.Mkdir(filepath.Join(d.Mount, "second"), 0o755))
	require.ErrorIs(t, os.Rename(filepath.Join(dir, "f"), filepath.Join(d.Mount, "second", "f")), unix.EXDEV)
	require.ErrorIs(t, os.Link(filepath.Join(dir, "f"), filepath.Join(d.Mount, "second", "f")), unix.EXDEV)
	require.NoError(t, os.Remove(filepath.Join(d.Mount, "second")))
	entries, err := os.ReadDir(d.Mount)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}
