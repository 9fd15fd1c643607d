package mounts

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// Nothing outside a mounted directory can be reached through the mount: not by names, links, renames or handles.
func TestPrefixIsConfined(t *testing.T) {
	h := start(t)
	dir := h.point("dir")
	h.mount("data/a", dir)
	outside := filepath.Join(h.Mount, "data/b/h")
	for _, name := range []string{"../b/h", "../h", "sub/../../b/h", "b/h", "../../data/b/h"} {
		_, err := os.Lstat(dir + "/" + name)
		require.ErrorIs(t, err, os.ErrNotExist, name)
	}
	// A symbolic link means what it says on the host of who follows it.
	require.NoError(t, os.Symlink("../b/h", dir+"/up"))
	_, err := os.ReadFile(dir + "/up")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorIs(t, os.Rename(dir+"/f", outside+"2"), unix.EXDEV)
	require.ErrorIs(t, os.Link(dir+"/f", outside+"3"), unix.EXDEV)
	require.ErrorIs(t, os.Link(outside, dir+"/h"), unix.EXDEV)

	// The handle of a file outside, known by its mount, is not known here.
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, outside, 0)
	if err != nil { // no handles at all
		require.ErrorIs(t, err, unix.EOPNOTSUPP)
		return
	}
	at, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	defer unix.Close(at)
	fd, err := unix.OpenByHandleAt(at, handle, unix.O_RDONLY)
	if err == nil {
		_ = unix.Close(fd)
	}
	require.ErrorIs(t, err, unix.ESTALE)
}

// What moves out of the mounted directory has no name in the mount any more; what moves in has one at once.
func TestMovesAcrossThePrefix(t *testing.T) {
	h := start(t)
	dir := h.point("dir")
	h.mount("data/a", dir)
	require.Equal(t, "g", read(t, dir+"/sub/g")) // cached now
	all := filepath.Join(h.Mount, "data")
	require.NoError(t, os.Rename(all+"/a/sub", all+"/b/sub"))
	_, err := os.Lstat(dir + "/sub")
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = os.Lstat(dir + "/sub/g")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.Rename(all+"/b/sub", all+"/a/in"))
	require.Equal(t, "g", read(t, dir+"/in/g"))
	require.NoError(t, os.Link(all+"/b/h", all+"/a/linked"))
	require.Equal(t, "h", read(t, dir+"/linked"))
}

// The mount follows its directory when that is renamed; when it is removed the mount is stale until it is unmounted.
func TestPrefixRenamedAndRemoved(t *testing.T) {
	h := start(t)
	dir := h.point("dir")
	h.mount("data/a", dir)
	all := filepath.Join(h.Mount, "data")
	require.NoError(t, os.Rename(all+"/a", all+"/renamed"))
	require.Equal(t, "f", read(t, dir+"/f"))
	require.NoError(t, os.WriteFile(dir+"/new", []byte("n"), 0o644))
	require.Equal(t, "n", read(t, all+"/renamed/new"))
	require.NoError(t, os.RemoveAll(all+"/renamed"))
	_, err := os.ReadDir(dir)
	require.Error(t, err)
	require.Error(t, os.WriteFile(dir+"/x", nil, 0o644))
	require.NoError(t, os.MkdirAll(all+"/renamed", 0o755))
	h.umount(dir)
	h.mount("data/renamed", dir)
	require.NoError(t, os.WriteFile(dir+"/x", nil, 0o644))
}

// What one mount changes another shows at once: names, attributes, bytes, sizes, and appends of both.
func TestMountsAgree(t *testing.T) {
	h := start(t)
	var dirs [3]string
	for i := range dirs {
		dirs[i] = h.point(fmt.Sprint(i))
		h.mount("data", dirs[i])
	}
	rnd := harness.Rand(t)
	exists := map[string]string{}
	var open [3]*os.File
	for i, dir := range dirs {
		f, err := os.OpenFile(dir+"/shared", os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
		require.NoError(t, err)
		defer f.Close()
		open[i] = f
	}
	exists["shared"] = ""
	for step := range harness.Rounds(400, 5000) {
		at := dirs[rnd.IntN(3)]
		name := fmt.Sprintf("n%d", rnd.IntN(6))
		text := fmt.Sprintf("%d %0*d", step, rnd.IntN(200), 0)
		_, there := exists[name]
		switch op := rnd.IntN(7); {
		case op == 0:
			require.NoError(t, os.WriteFile(at+"/"+name, []byte(text), 0o644))
			exists[name] = text
		case op == 1 && there:
			f, err := os.OpenFile(at+"/"+name, os.O_WRONLY|os.O_APPEND, 0)
			require.NoError(t, err)
			_, err = f.WriteString(text)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			exists[name] += text
		case op == 2 && there:
			n := rnd.IntN(len(exists[name]) + 1)
			require.NoError(t, os.Truncate(at+"/"+name, int64(n)))
			exists[name] = exists[name][:n]
		case op == 3 && there:
			require.NoError(t, os.Remove(at+"/"+name))
			delete(exists, name)
		case op == 4 && there:
			require.NoError(t, os.Rename(at+"/"+name, at+"/n0"))
			moved := exists[name]
			delete(exists, name)
			exists["n0"] = moved
		default: // through files that stay open
			_, err := open[rnd.IntN(3)].WriteString(text)
			require.NoError(t, err)
			exists["shared"] += text
		}
		seen := dirs[rnd.IntN(3)]
		for i := range 6 {
			name := fmt.Sprintf("n%d", i)
			text, there := exists[name]
			got, err := os.ReadFile(seen + "/" + name)
			if !there {
				require.ErrorIs(t, err, os.ErrNotExist, "step %d: %s", step, name)
				continue
			}
			require.NoError(t, err, "step %d: %s", step, name)
			require.Equal(t, text, string(got), "step %d: %s", step, name)
		}
		i := rnd.IntN(3)
		info, err := open[i].Stat()
		require.NoError(t, err)
		require.EqualValues(t, len(exists["shared"]), info.Size(), "step %d", step)
		got := make([]byte, len(exists["shared"])+1)
		n, _ := open[i].ReadAt(got, 0)
		require.Equal(t, exists["shared"], string(got[:n]), "step %d", step)
	}
}
