package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// soon bounds what the kernel does behind a program's back, on a machine that is busy.
const soon = time.Minute

func blocksOf(t *testing.T, path string) int64 {
	st, err := os.Stat(path)
	require.NoError(t, err)
	return st.Sys().(*syscall.Stat_t).Blocks
}

// appended is how many bytes of files were written to the data directory so far.
func appended(t *testing.T, admin string) (n float64) {
	resp, err := http.Get("http://" + admin + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		if _, err := fmt.Sscanf(line, `k3fs_chunk_bytes_total{operation="append"} %g`, &n); err == nil {
			return n
		}
	}
	require.Fail(t, "no metric of appended bytes")
	return 0
}

// cp copies by reference: no data is written, and the copy outlives its source.
func TestCopySharesData(t *testing.T) {
	d, dir := bucket(t)
	data := fill(make([]byte, 64<<20+12_345), 1)
	src := filepath.Join(dir, "src")
	require.NoError(t, os.WriteFile(src, data, 0o644))
	before := appended(t, d.Admin)
	for i, args := range [][]string{{}, {"--reflink=auto"}, {"--sparse=never"}, {"-a"}} {
		dst := filepath.Join(dir, fmt.Sprint("copy", i))
		out, err := exec.Command("cp", append(args, src, dst)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, (int64(len(data))+511)/512, blocksOf(t, dst))
	}
	require.Less(t, appended(t, d.Admin)-before, float64(1<<20), "four copies of 64 MiB")
	require.NoError(t, os.Remove(src))
	d.MustStop(t)
	require.NoError(t, d.Fsck())
	d.MustStart(t)
	for i := range 4 {
		got, err := os.ReadFile(filepath.Join(dir, fmt.Sprint("copy", i)))
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
	}
	require.True(t, bytes.Equal(data, get(t, d.Client(t), "copy0")))
	// The kernel doesn't let a FUSE file system clone.
	a, err := os.Open(filepath.Join(dir, "copy0"))
	require.NoError(t, err)
	defer a.Close()
	b, err := os.Create(filepath.Join(dir, "clone"))
	require.NoError(t, err)
	defer b.Close()
	require.ErrorIs(t, unix.IoctlFileClone(int(b.Fd()), int(a.Fd())), unix.EOPNOTSUPP)
}

// A copy between buckets shares as well; other file systems get a copy of the bytes.
func TestCopyToElsewhere(t *testing.T) {
	d, dir := bucket(t)
	data := fill(make([]byte, 8<<20), 1)
	src := filepath.Join(dir, "src")
	require.NoError(t, os.WriteFile(src, data, 0o644))
	other := filepath.Join(d.Mount, "other")
	require.NoError(t, os.Mkdir(other, 0o755))
	before := appended(t, d.Admin)
	for _, to := range []string{filepath.Join(other, "copy"), filepath.Join(t.TempDir(), "copy")} {
		out, err := exec.Command("cp", src, to).CombinedOutput()
		require.NoError(t, err, "%s", out)
		got, err := os.ReadFile(to)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
	}
	require.Less(t, appended(t, d.Admin)-before, float64(1<<20))
}

func TestFallocateModes(t *testing.T) {
	_, dir := bucket(t)
	path := filepath.Join(dir, "f")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	data := fill(make([]byte, 1<<20), 1)
	_, err = f.Write(data)
	require.NoError(t, err)
	const punch, zero, keep = unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE, unix.FALLOC_FL_KEEP_SIZE
	for _, c := range []struct {
		mode     uint32
		off, n   int64
		want     error
		wantSize int64
	}{
		{punch | keep, 1000, 100_000, nil, 1 << 20},
		{zero, 300_000, 5, nil, 1 << 20},
		{zero | keep, 1<<20 - 10, 100, nil, 1 << 20},
		{keep, 0, 4 << 20, nil, 1 << 20},
		{punch | keep, 4 << 20, 4096, nil, 1 << 20},
		{zero, 1 << 20, 1 << 20, nil, 2 << 20},
		{0, 0, 3 << 20, nil, 3 << 20},
		{punch, 0, 1, unix.EOPNOTSUPP, 3 << 20},
		{0, 0, 0, unix.EINVAL, 3 << 20},
		{0, -1, 1, unix.EINVAL, 3 << 20},
		{0, 1 << 62, 1, unix.EFBIG, 3 << 20},
		{0, 0, 1 << 49, unix.ENOSPC, 3 << 20}, // there is no disk of half a pebibyte
		// The kernel passes none of these on.
		{unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096, unix.EOPNOTSUPP, 3 << 20},
		{unix.FALLOC_FL_INSERT_RANGE, 0, 4096, unix.EOPNOTSUPP, 3 << 20},
		{unix.FALLOC_FL_UNSHARE_RANGE, 0, 4096, unix.EOPNOTSUPP, 3 << 20},
	} {
		err := unix.Fallocate(int(f.Fd()), c.mode, c.off, c.n)
		require.True(t, c.want == nil && err == nil || errors.Is(err, c.want), "mode %#x of %d at %d: %v", c.mode, c.n, c.off, err)
		st, err := f.Stat()
		require.NoError(t, err)
		require.Equal(t, c.wantSize, st.Size(), "mode %#x of %d at %d", c.mode, c.n, c.off)
	}
	want := append(bytes.Clone(data), make([]byte, 2<<20)...)
	clear(want[1000:101_000])
	clear(want[300_000:300_005])
	clear(want[1<<20-10 : 1<<20])
	checkHoles(t, f, want)
	require.NoError(t, f.Close())
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.Less(t, blocksOf(t, path), int64(1<<20/512), "the file is as sparse as it was made")
}

func TestSetIDBitsFallWithFallocate(t *testing.T) {
	harness.NeedTools(t, "setpriv", "fallocate")
	_, dir := bucket(t)
	for _, call := range []string{"fallocate -l 100", "fallocate -p -o 0 -l 4096"} {
		path := filepath.Join(dir, "prog")
		require.NoError(t, os.WriteFile(path, make([]byte, 8192), 0o644))
		require.NoError(t, os.Chown(path, 1234, 1234))
		require.NoError(t, unix.Chmod(path, 0o6755))
		cmd := exec.Command("setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", "sh", "-c", call+" prog")
		cmd.Dir = dir // that user may not go the way there
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		st, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o755), st.Mode(), call)
	}
}

// O_TMPFILE: nobody sees the file before linkat, S3 not before its writer's close.
func TestTmpfile(t *testing.T) {
	d, dir := bucket(t)
	client := d.Client(t)
	data := fill(make([]byte, 1<<20), 1)
	make := func() int {
		fd, err := unix.Open(dir, unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o640)
		require.NoError(t, err)
		_, err = unix.Pwrite(fd, data, 0)
		require.NoError(t, err)
		var st unix.Stat_t
		require.NoError(t, unix.Fstat(fd, &st))
		require.Zero(t, st.Nlink)
		return fd
	}
	fd := make()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
	require.NoError(t, unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, filepath.Join(dir, "a"), unix.AT_SYMLINK_FOLLOW))
	require.NoError(t, unix.Linkat(fd, "", unix.AT_FDCWD, filepath.Join(dir, "b"), unix.AT_EMPTY_PATH))
	require.Nil(t, get(t, client, "a"), "it is still being written")
	require.NoError(t, unix.Close(fd))
	for _, name := range []string{"a", "b"} {
		require.True(t, bytes.Equal(data, get(t, client, name)))
	}
	excl, err := unix.Open(dir, unix.O_RDWR|unix.O_TMPFILE|unix.O_EXCL|unix.O_CLOEXEC, 0o640)
	require.NoError(t, err)
	require.ErrorIs(t, unix.Linkat(excl, "", unix.AT_FDCWD, filepath.Join(dir, "c"), unix.AT_EMPTY_PATH), unix.ENOENT)
	require.NoError(t, unix.Close(excl))

	// Fsynced and linked, it survives the daemon; without a name it does not.
	linked, lost := make(), make()
	require.NoError(t, unix.Fsync(linked))
	require.NoError(t, unix.Fsync(lost))
	require.NoError(t, unix.Linkat(linked, "", unix.AT_FDCWD, filepath.Join(dir, "linked"), unix.AT_EMPTY_PATH))
	bucketDir, err := os.Open(dir)
	require.NoError(t, err)
	require.NoError(t, bucketDir.Sync())
	d.Kill()
	for _, fd := range []int{linked, lost} {
		_ = unix.Close(fd)
	}
	_ = bucketDir.Close()
	d.Close()
	d.MustStart(t)
	require.True(t, bytes.Equal(data, get(t, client, "linked")))
	entries, err = os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3)
	d.MustStop(t)
	require.NoError(t, d.Fsck())
}

// Two processes, and two descriptors of this one, append lines: each lands whole, behind the others.
func TestAppendByProcesses(t *testing.T) {
	_, dir := bucket(t)
	path := filepath.Join(dir, "log")
	const lines = 300
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			script := `exec 3>>"$1"; i=0; while [ $i -lt $2 ]; do echo "process$3 $i ----------------------------------------" >&3; i=$((i+1)); done`
			if out, err := exec.Command("sh", "-c", script, "sh", path, fmt.Sprint(lines), fmt.Sprint(w)).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
		wg.Go(func() {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			for i := range lines {
				if _, err := fmt.Fprintf(f, "thread%d %d %s\n", w, i, strings.Repeat("-", 40)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	next := map[string]int{}
	for line := range strings.Lines(string(b)) {
		var who, dashes string
		var i int
		_, err := fmt.Sscanf(line, "%s %d %s\n", &who, &i, &dashes)
		require.NoError(t, err, "%q", line)
		require.Equal(t, strings.Repeat("-", 40), dashes)
		require.Equal(t, next[who], i, who)
		next[who]++
	}
	require.Equal(t, map[string]int{"process0": lines, "process1": lines, "thread0": lines, "thread1": lines}, next)
}

// What write(2) wrote with O_SYNC or O_DSYNC is there after the daemon was killed, unclosed.
func TestSyncFlagsAreDurable(t *testing.T) {
	d, dir := bucket(t)
	data := fill(make([]byte, 300_000), 1)
	for name, flag := range map[string]int{"sync": unix.O_SYNC, "dsync": unix.O_DSYNC, "direct": unix.O_DSYNC | unix.O_DIRECT} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|flag, 0o644)
		require.NoError(t, err)
		defer f.Close()
		_, err = f.Write(data[:100_001])
		require.NoError(t, err)
		_, err = f.Write(data[100_001:])
		require.NoError(t, err)
	}
	d.Kill()
	d.Close()
	d.MustStart(t)
	for _, name := range []string{"sync", "dsync", "direct"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got), name)
	}
}

// O_DIRECT takes any alignment, as FUSE does and ext4 doesn't, and agrees with the page cache.
func TestDirectUnaligned(t *testing.T) {
	_, dir := bucket(t)
	path := filepath.Join(dir, "f")
	want := fill(make([]byte, 100_000), 1)
	buffered, err := os.Create(path)
	require.NoError(t, err)
	defer buffered.Close()
	_, err = buffered.Write(want)
	require.NoError(t, err)
	direct, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0)
	require.NoError(t, err)
	defer direct.Close()
	_, err = direct.WriteAt([]byte("unaligned"), 12_345)
	require.NoError(t, err)
	copy(want[12_345:], "unaligned")
	_, err = buffered.WriteAt([]byte("buffered"), 12_350)
	require.NoError(t, err)
	copy(want[12_350:], "buffered")
	got := make([]byte, 50_001)
	for _, f := range []*os.File{direct, buffered} {
		_, err = f.ReadAt(got, 7)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want[7:50_008], got))
	}
}

// The largest file has 2^50 bytes; what would be beyond is EFBIG, and a process has its own limit.
func TestSizeLimits(t *testing.T) {
	_, dir := bucket(t)
	path := filepath.Join(dir, "f")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(1<<50))
	_, err = f.WriteAt([]byte("end"), 1<<50-3)
	require.NoError(t, err)
	require.ErrorIs(t, f.Truncate(1<<50+1), unix.EFBIG)
	require.ErrorIs(t, f.Truncate(1<<63-1), unix.EFBIG)
	at, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA)
	require.NoError(t, err)
	require.Greater(t, at, int64(1<<50-8192))
	require.NoError(t, f.Close())
	require.LessOrEqual(t, blocksOf(t, path), int64(8))
	out, err := exec.Command("sh", "-c", `ulimit -f 16; trap "" XFSZ; dd if=/dev/zero of="$1" bs=4096 count=4 2>&1`, "sh", filepath.Join(dir, "limited")).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "File too large")
	st, err := os.Stat(filepath.Join(dir, "limited"))
	require.NoError(t, err)
	require.EqualValues(t, 16*512, st.Size())
}

// What is stored through a shared map reaches S3 with the close, also if the descriptor was closed before; an
// S3 PUT gives the name a new file, and leaves the mapped one as it was.
func TestMapsAndS3(t *testing.T) {
	d, dir := bucket(t)
	client := d.Client(t)
	path := filepath.Join(dir, "f")
	old := bytes.Repeat([]byte("old."), 50_000)
	require.NoError(t, os.WriteFile(path, old, 0o644))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	m, err := unix.Mmap(int(f.Fd()), 0, len(old), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(t, err)
	copy(m[70_000:], "mapped")
	require.NoError(t, unix.Msync(m, unix.MS_SYNC))
	require.True(t, bytes.Equal(old, get(t, client, "f")), "S3 sees whole files only")
	copy(old[70_000:], "mapped")
	require.NoError(t, f.Close())
	require.True(t, bytes.Equal(old, get(t, client, "f")), "published by the close")
	copy(m[90_000:], "unmapped")
	require.NoError(t, unix.Munmap(m))
	copy(old[90_000:], "unmapped")
	require.Eventually(t, func() bool { return bytes.Equal(old, get(t, client, "f")) }, soon, 10*time.Millisecond)

	f, err = os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	m, err = unix.Mmap(int(f.Fd()), 0, len(old), unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Munmap(m)) }()
	require.Equal(t, "mapped", string(m[70_000:70_006]))
	put(t, client, "f", bytes.Repeat([]byte("NEW!"), 50_000))
	require.True(t, bytes.Equal(old, m), "the mapped file is as it was")
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(bytes.Repeat([]byte("NEW!"), 50_000), got))
	after, err := os.Open(path)
	require.NoError(t, err)
	defer after.Close()
	n, err := unix.Mmap(int(after.Fd()), 0, len(old), unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	require.Equal(t, "NEW!", string(n[70_000:70_004]))
	require.NoError(t, unix.Munmap(n))
}
