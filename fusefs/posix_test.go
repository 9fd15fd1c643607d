package fusefs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestAppendByMany(t *testing.T) { onBoth(t, testAppendByMany) }

func testAppendByMany(t *testing.T, dir string) {
	path := filepath.Join(dir, "log")
	const writers, lines = 8, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
			require.NoError(t, err)
			for i := range lines {
				_, err := fmt.Fprintf(f, "writer %d line %04d\n", w, i)
				require.NoError(t, err)
			}
			require.NoError(t, f.Close())
		})
	}
	wg.Wait()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	got := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	require.Len(t, got, writers*lines)
	slices.Sort(got)
	require.Len(t, slices.Compact(got), writers*lines, "lines were lost or mixed")
}

// The mount is another process's: a page fault stops a thread that the Go scheduler believes running.
func TestSharedMapping(t *testing.T) {
	dir := mountedDaemon(t)
	path := filepath.Join(dir, "mapped")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(3*memBlock))
	m, err := unix.Mmap(int(f.Fd()), 0, 3*memBlock, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(t, err)
	copy(m[memBlock-2:], "across")
	other, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "across", string(other[memBlock-2:memBlock+4]), "other opens see the mapping")
	require.NoError(t, unix.Msync(m, unix.MS_SYNC))
	_, err = f.WriteAt([]byte("written"), 100)
	require.NoError(t, err)
	require.Equal(t, "written", string(m[100:107]), "the mapping sees writes")
	require.NoError(t, f.Close())
	copy(m[2*memBlock:], "late")
	require.NoError(t, unix.Munmap(m))

	// Without the page cache, what was stored after close must come from the daemon.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	got := aligned(4096)
	_, err = unix.Pread(fd, got, 2*memBlock)
	require.NoError(t, err)
	require.Equal(t, "late", string(got[:4]))
	_, err = unix.Pread(fd, got, memBlock)
	require.NoError(t, err)
	require.Equal(t, "ross", string(got[:4]))
}

func TestUnlinkWhileOpen(t *testing.T) {
	fs, dir := mountedMem(t)
	path := filepath.Join(dir, "doomed")
	f, err := os.Create(path)
	require.NoError(t, err)
	_, err = f.WriteString("still here")
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	_, err = os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, f.Sync())
	_, err = f.WriteAt([]byte("STILL"), 0)
	require.NoError(t, err)
	got := make([]byte, 10)
	_, err = f.ReadAt(got, 0)
	require.NoError(t, err)
	require.Equal(t, "STILL here", string(got))
	st, err := f.Stat()
	require.NoError(t, err)
	require.Zero(t, st.Sys().(*syscall.Stat_t).Nlink)
	require.NoError(t, f.Close())
	require.Eventually(t, func() bool {
		fs.mu.RLock()
		defer fs.mu.RUnlock()
		return len(fs.nodes) == 1
	}, waitFor, tick, "the inode goes with its last handle")
}

// Data that only the kernel has is never reported as a hole.
func TestSeekDataSeesDirtyPages(t *testing.T) { onBoth(t, testSeekDataSeesDirtyPages) }

func testSeekDataSeesDirtyPages(t *testing.T, dir string) {
	f, err := os.Create(filepath.Join(dir, "sparse"))
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("data"), 5*memBlock)
	require.NoError(t, err)
	at, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA)
	require.NoError(t, err)
	require.EqualValues(t, 5*memBlock, at)
	at, err = unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
	require.NoError(t, err)
	require.EqualValues(t, 0, at)
	at, err = unix.Seek(int(f.Fd()), 5*memBlock, unix.SEEK_HOLE)
	require.NoError(t, err)
	require.EqualValues(t, 5*memBlock+4, at)
	_, err = unix.Seek(int(f.Fd()), 6*memBlock, unix.SEEK_DATA)
	require.ErrorIs(t, err, unix.ENXIO)
	b, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	require.Equal(t, make([]byte, 5*memBlock), b[:5*memBlock])
}

func TestRenameFlags(t *testing.T) { onBoth(t, testRenameFlags) }

func testRenameFlags(t *testing.T, dir string) {
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	require.NoError(t, os.WriteFile(a, []byte("A"), 0o644))
	require.NoError(t, os.WriteFile(b, []byte("B"), 0o644))
	rename := func(flags uint) error { return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, flags) }
	require.ErrorIs(t, rename(unix.RENAME_NOREPLACE), unix.EEXIST)
	require.ErrorIs(t, rename(unix.RENAME_WHITEOUT), unix.EINVAL)
	require.NoError(t, rename(unix.RENAME_EXCHANGE))
	got, err := os.ReadFile(a)
	require.NoError(t, err)
	require.Equal(t, "B", string(got))
	require.NoError(t, rename(0))
	got, err = os.ReadFile(b)
	require.NoError(t, err)
	require.Equal(t, "B", string(got))
	_, err = os.Stat(a)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorIs(t, rename(0), unix.ENOENT)
}

func TestXattrs(t *testing.T) { onBoth(t, testXattrs) }

func testXattrs(t *testing.T, dir string) {
	path := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	big := bytes.Repeat([]byte("v"), 20000)
	require.NoError(t, unix.Setxattr(path, "user.big", big, unix.XATTR_CREATE))
	require.NoError(t, unix.Setxattr(path, "user.empty", nil, 0))
	require.ErrorIs(t, unix.Setxattr(path, "user.big", big, unix.XATTR_CREATE), unix.EEXIST)
	require.ErrorIs(t, unix.Setxattr(path, "user.none", big, unix.XATTR_REPLACE), unix.ENODATA)
	require.ErrorIs(t, unix.Setxattr(path, "user.huge", bytes.Repeat([]byte("v"), 65537), 0), unix.E2BIG)
	most := bytes.Repeat([]byte("m"), 65536)
	require.NoError(t, unix.Setxattr(path, "user.most", most, 0))
	whole := make([]byte, 65536)
	_, err := unix.Getxattr(path, "user.most", whole)
	require.NoError(t, err)
	require.Equal(t, most, whole)
	require.NoError(t, unix.Removexattr(path, "user.most"))

	n, err := unix.Getxattr(path, "user.big", nil)
	require.NoError(t, err)
	require.Equal(t, len(big), n)
	_, err = unix.Getxattr(path, "user.big", make([]byte, 100))
	require.ErrorIs(t, err, unix.ERANGE)
	got := make([]byte, 30000)
	n, err = unix.Getxattr(path, "user.big", got)
	require.NoError(t, err)
	require.Equal(t, big, got[:n])
	n, err = unix.Getxattr(path, "user.empty", got)
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = unix.Getxattr(path, "user.none", got)
	require.ErrorIs(t, err, unix.ENODATA)
	_, err = unix.Getxattr(path, "system.posix_acl_access", got)
	require.ErrorIs(t, err, unix.ENODATA)

	n, err = unix.Listxattr(path, nil)
	require.NoError(t, err)
	require.Equal(t, len("user.big\x00user.empty\x00"), n)
	_, err = unix.Listxattr(path, make([]byte, 5))
	require.ErrorIs(t, err, unix.ERANGE)
	n, err = unix.Listxattr(path, got)
	require.NoError(t, err)
	require.Equal(t, "user.big\x00user.empty\x00", string(got[:n]))
	require.NoError(t, unix.Removexattr(path, "user.big"))
	require.ErrorIs(t, unix.Removexattr(path, "user.big"), unix.ENODATA)
}

// asNobody runs a shell command without privileges.
func asNobody(command string) ([]byte, error) {
	cmd := exec.Command("sh", "-c", command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd.CombinedOutput()
}

func TestPermissions(t *testing.T) { onBoth(t, testPermissions) }

func testPermissions(t *testing.T, dir string) {
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0o600))
	_, err := asNobody("cat " + dir + "/secret")
	require.Error(t, err)
	_, err = asNobody("touch " + dir + "/new")
	require.Error(t, err)
	require.NoError(t, os.Chmod(dir, 0o777))
	out, err := asNobody("umask 027; echo hi > " + dir + "/new && mkdir " + dir + "/sub")
	require.NoError(t, err, "%s", out)
	st, err := os.Stat(filepath.Join(dir, "new"))
	require.NoError(t, err)
	require.EqualValues(t, 0o640, st.Mode().Perm())
	require.EqualValues(t, 65534, st.Sys().(*syscall.Stat_t).Uid)
}

// Set-id bits do not survive a write, a truncation or an open that truncates by someone unprivileged,
// nor a change of owner by anybody.
func TestSetIDBitsAreCleared(t *testing.T) { onBoth(t, testSetIDBitsAreCleared) }

func testSetIDBitsAreCleared(t *testing.T, dir string) {
	path := filepath.Join(dir, "tool")
	for name, change := range map[string]func() error{
		"write":    func() error { _, err := asNobody("printf x | dd of=" + path + " conv=notrunc"); return err },
		"append":   func() error { _, err := asNobody("echo x >> " + path); return err },
		"open":     func() error { _, err := asNobody(": > " + path); return err },
		"truncate": func() error { _, err := asNobody("truncate -s 3 " + path); return err },
		"chown":    func() error { return os.Chown(path, 1000, 1000) },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, []byte("#!"), 0o777))
			require.NoError(t, unix.Chmod(path, 0o6777))
			require.NoError(t, change())
			var st unix.Stat_t
			require.NoError(t, unix.Stat(path, &st))
			require.EqualValues(t, 0o777, st.Mode&0o7777)
		})
	}
}

// A chown that changes nobody clears them too, but its caller has to be the owner or root if there are any.
func TestChownOfNobody(t *testing.T) { onBoth(t, testChownOfNobody) }

func testChownOfNobody(t *testing.T, dir string) {
	require.NoError(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "tool")
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	const owner = 1000
	for _, c := range []struct {
		by         int
		mode, left uint32
		err        error
	}{
		{0, 0o4755, 0o755, nil},
		{owner, 0o6755, 0o755, nil},
		{owner, 0o2644, 0o2644, nil}, // without permission to execute the bit means something else
		{2000, 0o755, 0o755, nil},
		{2000, 0o4755, 0o4755, unix.EPERM},
		{2000, 0o2644, 0o2644, unix.EPERM},
	} {
		require.NoError(t, os.Chown(path, owner, owner))
		require.NoError(t, unix.Chmod(path, c.mode))
		err := aside(c.by, c.by, func() error { return unix.Chown(path, -1, -1) })
		var st unix.Stat_t
		require.NoError(t, unix.Stat(path, &st))
		require.Equal(t, c.err, err, "%+v", c)
		require.Equal(t, c.left, st.Mode&0o7777, "%+v", c)
	}
}

func TestSetGIDDirectory(t *testing.T) { onBoth(t, testSetGIDDirectory) }

func testSetGIDDirectory(t *testing.T, dir string) {
	shared := filepath.Join(dir, "shared")
	require.NoError(t, os.Mkdir(shared, 0o755))
	require.NoError(t, os.Chown(shared, 0, 1234))
	require.NoError(t, unix.Chmod(shared, 0o2775))
	require.NoError(t, os.Mkdir(filepath.Join(shared, "d"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(shared, "f"), nil, 0o644))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(shared, "d"), &st))
	require.EqualValues(t, 1234, st.Gid)
	require.EqualValues(t, 0o2755, st.Mode&0o7777)
	require.NoError(t, unix.Stat(filepath.Join(shared, "f"), &st))
	require.EqualValues(t, 1234, st.Gid)
}

func TestDirectIO(t *testing.T) { onBoth(t, testDirectIO) }

func testDirectIO(t *testing.T, dir string) {
	path := filepath.Join(dir, "direct")
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_DIRECT, 0o644)
	require.NoError(t, err)
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	data := aligned(5 << 20)
	for i := range data {
		data[i] = byte(i >> 10)
	}
	_, err = f.Write(data)
	require.NoError(t, err)
	buffered, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, buffered), "buffered reads see direct writes")
	require.NoError(t, os.WriteFile(path, []byte("buffered"), 0o644))
	got := aligned(4096)
	n, err := f.ReadAt(got, 0)
	require.True(t, err == nil || err == io.EOF)
	require.Equal(t, "buffered", string(got[:n]), "direct reads see buffered writes")
}

func TestOpenTruncateAndKeptPages(t *testing.T) { onBoth(t, testOpenTruncateAndKeptPages) }

func testOpenTruncateAndKeptPages(t *testing.T, dir string) {
	path := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("x"), 100000), 0o644))
	require.NoError(t, os.WriteFile(path, []byte("short"), 0o644))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "short", string(got))
	require.NoError(t, os.Truncate(path, 8))
	got, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "short\x00\x00\x00", string(got))
}

// A name that always exists always opens, however fast it is replaced.
func TestOpenAmongReplacements(t *testing.T) {
	_, dir := mountedMem(t)
	path := filepath.Join(dir, "key")
	require.NoError(t, os.WriteFile(path, []byte("first"), 0o644))
	var stop atomic.Bool
	var writers, readers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; !stop.Load(); i++ {
				tmp := fmt.Sprintf("%s.%d", path, w)
				if err := errors.Join(os.WriteFile(tmp, []byte("next"), 0o644), os.Rename(tmp, path)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 4 {
		readers.Go(func() {
			for range 3000 {
				f, err := os.Open(path)
				if err != nil {
					t.Error(err)
					return
				}
				f.Close()
			}
		})
	}
	readers.Wait()
	stop.Store(true)
	writers.Wait()
}

// Who removes what it lists sees every entry, whoever else lists the directory before and meanwhile.
func TestListingWhileRemoving(t *testing.T) {
	_, root := mountedMem(t)
	dir := filepath.Join(root, "d")
	require.NoError(t, os.Mkdir(dir, 0o755))
	const n = 3000
	for i := range n {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%05d", i)), nil, 0o644))
	}
	others := func() {
		_, err := os.ReadDir(dir)
		require.NoError(t, err)
	}
	others()
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
		if len(seen) == 600 {
			others()
		}
	}
	require.Equal(t, n, len(seen))
	require.NoError(t, os.Remove(dir))
}

// A signal that interrupts fsync is not its caller's business.
func TestFsyncIgnoresSignals(t *testing.T) {
	fs, dir := mountedMem(t)
	f, err := os.Create(filepath.Join(dir, "f"))
	require.NoError(t, err)
	defer f.Close()
	syncing := make(chan int)
	fs.after.Store(new(func(op string) {
		if op == "fsync" {
			syncing <- 1
			time.Sleep(50 * time.Millisecond)
		}
	}))
	done := make(chan error)
	var tid atomic.Int64
	go func() {
		runtime.LockOSThread()
		tid.Store(int64(unix.Gettid()))
		done <- unix.Fsync(int(f.Fd())) // without the retry of os.File.Sync
	}()
	<-syncing
	require.NoError(t, unix.Tgkill(os.Getpid(), int(tid.Load()), unix.SIGURG))
	require.NoError(t, <-done)
}
