package mounts

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// points returns how many mounts are on top of each other at a directory.
func points(t *testing.T, dir string) (n int) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == dir {
			n++
		}
	}
	return n
}

// The daemon's own mount gathers writes as long as it is alone. A second mount ends that: from then on both see what
// the other one does, also in files whose size the kernel knew before.
func TestOwnMountBesideAnother(t *testing.T) {
	h := start(t)
	known := filepath.Join(h.Mount, "data/a/f")
	require.Equal(t, "f", read(t, known))
	dir := h.point("one")
	h.mount("data", dir)
	require.Equal(t, 2, points(t, h.Mount), "without the cache, over the one with it")

	other := filepath.Join(dir, "a/f")
	want := "f"
	for i := range 100 {
		path := []string{known, other}[i%2]
		text := fmt.Sprintf("<%d>", i)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		require.NoError(t, err)
		_, err = f.WriteString(text)
		require.NoError(t, err)
		want += text
		for _, path := range []string{known, other} { // before it is closed
			st, err := os.Stat(path)
			require.NoError(t, err)
			require.EqualValues(t, len(want), st.Size())
			require.Equal(t, want, read(t, path))
		}
		require.NoError(t, f.Close())
		if i%10 == 9 {
			want = want[:len(want)/3]
			require.NoError(t, os.Truncate([]string{known, other}[i/10%2], int64(len(want))))
		}
	}

	h.MustStop(t)
	require.Zero(t, points(t, h.Mount))
	h.MustStart(t)
	require.Equal(t, 1, points(t, h.Mount), "who has mounts to make again begins without the cache")
	require.Equal(t, want, read(t, other))
	appended, err := os.OpenFile(other, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = appended.WriteString("more")
	require.NoError(t, err)
	require.Equal(t, want+"more", read(t, known))

	require.NoError(t, appended.Close())
	h.umount(dir)
	h.MustStop(t)
	h.MustStart(t)
	h.mount("data", dir)
	require.Equal(t, 2, points(t, h.Mount))
	h.Kill()
	h.MustStart(t)
	require.Equal(t, want+"more", read(t, known))
	require.Equal(t, 1, points(t, h.Mount))
}

// Who has a file open, or stands in a directory, when a second mount comes goes on; and who mounts is told.
func TestInsideWhenAnotherMountComes(t *testing.T) {
	h := start(t)
	held, err := os.OpenFile(filepath.Join(h.Mount, "data/held"), os.O_RDWR|os.O_CREATE, 0o644)
	require.NoError(t, err)
	defer held.Close()
	_, err = held.WriteString("before ")
	require.NoError(t, err)

	shell := exec.Command("sh", "-c", `echo ready; while read line; do printf '%s' "$line" >> appended && echo done; done`)
	shell.Dir = filepath.Join(h.Mount, "data")
	in, err := shell.StdinPipe()
	require.NoError(t, err)
	out, err := shell.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, shell.Start())
	answer := func(want string) {
		t.Helper()
		buf := make([]byte, len(want)+1)
		_, err := io.ReadFull(out, buf)
		require.NoError(t, err)
		require.Equal(t, want+"\n", string(buf))
	}
	answer("ready")

	dir := h.point("one")
	said, code := h.run(nil, nil, "mount", "data", dir)
	require.Zero(t, code, said)
	require.Contains(t, said, "1 files are open in "+h.Mount)
	require.Contains(t, h.Log(), "1 files are open in "+h.Mount)
	require.Equal(t, "before ", read(t, dir+"/held"), "it was written back")
	_, err = held.WriteString("after")
	require.NoError(t, err)
	require.NoError(t, held.Sync())
	require.Equal(t, "before after", read(t, dir+"/held"))
	require.NoError(t, held.Close())

	want := ""
	for i := range 20 {
		_, err := fmt.Fprintf(in, "s%d\n", i)
		require.NoError(t, err)
		answer("done")
		require.NoError(t, appendTo(dir+"/appended", "m"))
		want += fmt.Sprintf("s%dm", i)
		for _, path := range []string{dir + "/appended", filepath.Join(h.Mount, "data/appended")} {
			require.Equal(t, want, read(t, path))
		}
	}
	require.NoError(t, in.Close())
	require.NoError(t, shell.Wait())
}

func appendTo(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(text))
	return errors.Join(err, unix.Close(fd))
}

// Mounts on demand that ask for the cache beside others are warned.
func TestWritebackBesideAnother(t *testing.T) {
	h := start(t)
	one, two, three := h.point("one"), h.point("two"), h.point("three")
	h.mount("data/a", one)
	out, code := h.run(nil, nil, "mount", "data/b", two, "-o", "writeback")
	require.Zero(t, code, out)
	require.NotContains(t, out, one)
	out, code = h.run(nil, nil, "mount", "data", three)
	require.Zero(t, code, out)
	require.Contains(t, out, "warning: "+two+" and "+three+" show the same files")
	require.NotContains(t, out, one)
}
