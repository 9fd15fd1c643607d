package posix

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// dirent is an entry of a directory, and the position behind it, as telldir(3) has it.
type dirent struct {
	name   string
	cookie int64
}

// stream is a directory's, read by getdents(2) into a buffer of which only what is asked for is used.
type stream struct {
	t  *testing.T
	fd int
}

func openStream(t *testing.T, dir string) stream {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	return stream{t, fd}
}

// next returns the entries that fit into size bytes; none at the end.
func (s stream) next(size int) []dirent {
	s.t.Helper()
	buf := make([]byte, size)
	n, err := unix.Getdents(s.fd, buf)
	require.NoError(s.t, err)
	var all []dirent
	for buf = buf[:n]; len(buf) > 0; { // struct linux_dirent64
		length := binary.NativeEndian.Uint16(buf[16:])
		all = append(all, dirent{unix.ByteSliceToString(buf[19:length]), int64(binary.NativeEndian.Uint64(buf[8:]))})
		buf = buf[length:]
	}
	return all
}

// rest returns all up to the end.
func (s stream) rest() (all []dirent) {
	s.t.Helper()
	for {
		some := s.next(4096)
		if len(some) == 0 {
			return all
		}
		all = append(all, some...)
	}
}

func (s stream) seek(cookie int64) {
	s.t.Helper()
	at, err := unix.Seek(s.fd, cookie, unix.SEEK_SET)
	require.NoError(s.t, err)
	require.Equal(s.t, cookie, at)
}

func names(entries []dirent) []string {
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = e.name
	}
	return all
}

// TestDirectoryStreams: positions of a stream stay what they are while names come and go: what stays is shown
// once, and seekdir to any position goes on with what came behind it (POSIX.1-2024, readdir, telldir, seekdir).
func TestDirectoryStreams(t *testing.T) {
	_, ours := bucket(t)
	disk := harness.NewDisk(t, "ext4", 64<<20)
	for _, fs := range []struct{ name, dir string }{{"ext4", disk.Dir}, {"k3fs", ours}} {
		t.Run(fs.name, func(t *testing.T) {
			dir := filepath.Join(fs.dir, "streams")
			require.NoError(t, os.Mkdir(dir, 0o755))
			const n = 3_000
			for i := range n {
				require.NoError(t, unix.Mknod(filepath.Join(dir, fmt.Sprintf("stay%d", i)), unix.S_IFREG|0o644, 0))
			}
			t.Run("seek", func(t *testing.T) { seekAnywhere(t, dir, n) })
			t.Run("change", func(t *testing.T) { readWhileChanging(t, dir, n) })
			t.Run("seek_and_change", func(t *testing.T) { seekAfterChanges(t, dir, n) })
			t.Run("seek_while_changing", func(t *testing.T) { seekWhileChanging(t, dir, n) })
		})
	}
}

func seekAnywhere(t *testing.T, dir string, n int) {
	s := openStream(t, dir)
	all := s.rest()
	require.Len(t, all, n+2)
	cookies := map[int64]bool{}
	for _, e := range all {
		require.False(t, cookies[e.cookie], "two positions are one: %d", e.cookie)
		cookies[e.cookie] = true
	}
	s.seek(0)
	require.Equal(t, all, s.rest(), "rewinddir")
	other := openStream(t, dir)
	for i := n; i >= 0; i -= 97 {
		for _, s := range []stream{s, other} { // a position is the directory's, as on ext4 and for NFS
			s.seek(all[i].cookie)
			got := s.next(1024)
			require.NotEmpty(t, got)
			require.Equal(t, names(all[i+1:][:len(got)]), names(got), "behind entry %d", i)
		}
	}
	s.seek(all[len(all)-1].cookie)
	require.Empty(t, s.rest())
}

// readWhileChanging reads a stream and between its pieces makes and removes names, behind and before it.
func readWhileChanging(t *testing.T, dir string, n int) {
	s := openStream(t, dir)
	seen := map[string]int{}
	for i := 0; ; i++ {
		some := s.next(1024)
		for _, e := range some {
			seen[e.name]++
		}
		if len(some) == 0 {
			break
		}
		for _, name := range []string{"a", "sta", "stay1x", "zz"} {
			path := filepath.Join(dir, fmt.Sprintf("%s%d", name, i))
			require.NoError(t, unix.Mknod(path, unix.S_IFREG|0o644, 0))
			if i%2 == 0 {
				require.NoError(t, unix.Unlink(path))
			}
		}
	}
	for i := range n {
		require.Equal(t, 1, seen[fmt.Sprintf("stay%d", i)], "stay%d", i)
	}
	for name, times := range seen {
		require.Equal(t, 1, times, name)
	}
	require.Equal(t, 1, seen["."])
	require.Equal(t, 1, seen[".."])
}

// seekAfterChanges goes back to positions whose entries, and those around them, are gone meanwhile. Whether what was
// removed is shown is unspecified.
func seekAfterChanges(t *testing.T, dir string, n int) {
	s := openStream(t, dir)
	all := s.rest()
	stays := map[string]bool{}
	for i, e := range all {
		if stays[e.name] = i%3 == 0 || e.name == "." || e.name == ".."; !stays[e.name] {
			require.NoError(t, unix.Unlink(filepath.Join(dir, e.name)))
		}
	}
	for i := range n / 10 {
		require.NoError(t, unix.Mknod(filepath.Join(dir, fmt.Sprintf("new%d", i)), unix.S_IFREG|0o644, 0))
	}
	for i := len(all) - 1; i >= 0; i -= 31 {
		s.seek(all[i].cookie)
		require.Equal(t, only(stays, all[i+1:]), only(stays, s.rest()), "behind entry %d", i)
	}
}

// only returns the names of entries that are in set.
func only(set map[string]bool, entries []dirent) []string {
	some := []string{}
	for _, e := range entries {
		if set[e.name] {
			some = append(some, e.name)
		}
	}
	return some
}

// seekWhileChanging goes to and fro among all positions that the stream has handed out, those of entries that came in
// between too, while names come and go at random. What stays all the time is shown behind each position as it was
// when that was handed out.
func seekWhileChanging(t *testing.T, dir string, n int) {
	r := harness.Rand(t)
	s := openStream(t, dir)
	stays, goes := map[string]bool{}, []string{}
	follows := map[int64]int{} // how many of those that stay are still to come behind a position
	read := func(most int) (entries []dirent) {
		for len(entries) < most {
			some := s.next(1024)
			if len(some) == 0 {
				break
			}
			entries = append(entries, some...)
		}
		return entries
	}
	all := read(2 * n)
	for i, e := range all {
		if stays[e.name] = i%5 == 0 || e.name == "." || e.name == ".."; !stays[e.name] {
			goes = append(goes, e.name)
		}
	}
	order := only(stays, all)
	note := func(before int, entries []dirent) {
		for _, e := range entries {
			if stays[e.name] {
				before++
			}
			follows[e.cookie] = before
		}
	}
	note(0, all)
	cookies := []int64{}
	for round := range 150 {
		for range 40 { // some go, and come back; others are new
			name := filepath.Join(dir, fmt.Sprintf("new%d-%d", r.IntN(9), r.IntN(2000)))
			if r.IntN(2) == 0 {
				name = filepath.Join(dir, goes[r.IntN(len(goes))])
			}
			if err := unix.Unlink(name); err == unix.ENOENT {
				require.NoError(t, unix.Mknod(name, unix.S_IFREG|0o644, 0))
			} else {
				require.NoError(t, err)
			}
		}
		cookies = slices.AppendSeq(cookies[:0], maps.Keys(follows))
		slices.Sort(cookies)
		cookie := cookies[r.IntN(len(cookies))]
		before := follows[cookie]
		s.seek(cookie)
		most := n
		if round%2 == 0 {
			most = 100
		}
		entries := read(most)
		shown := only(stays, entries)
		want := order[before:]
		if len(entries) >= most {
			want = want[:min(len(want), len(shown))]
		}
		require.Equal(t, want, shown, "behind position %d, in round %d", cookie, round)
		note(before, entries)
	}
}

// TestLinkCountsThroughS3: a name that S3 removes or overwrites is one link less, and no more.
func TestLinkCountsThroughS3(t *testing.T) {
	d, dir := bucket(t)
	s := s3{t, d.Client(t)}
	p := func(name string) string { return filepath.Join(dir, name) }
	links := func(name string) int {
		t.Helper()
		var st unix.Stat_t
		require.NoError(t, unix.Stat(p(name), &st))
		return int(st.Nlink)
	}
	s.put("a", "content", minio.PutObjectOptions{})
	require.Equal(t, 1, links("a"))
	for _, name := range []string{"b", "c", "d"} {
		require.NoError(t, unix.Link(p("a"), p(name)))
		require.Equal(t, "content", s.get(name))
	}
	require.Equal(t, 4, links("d"))
	held, err := os.Open(p("b"))
	require.NoError(t, err)
	defer held.Close()

	require.NoError(t, s.client.RemoveObject(bg, "posix", "a", minio.RemoveObjectOptions{}))
	require.Equal(t, 3, links("b"))
	require.Equal(t, "content", s.get("c"))
	s.put("c", "other", minio.PutObjectOptions{})
	require.Equal(t, 2, links("b"), "an object put over a name leaves the others")
	require.Equal(t, 1, links("c"))
	require.Equal(t, "content", s.get("b"))
	require.NoError(t, os.WriteFile(p("d"), []byte("through d"), 0o644))
	require.Equal(t, "through d", s.get("b"), "what is written is all names'")
	for _, name := range []string{"b", "d"} {
		require.NoError(t, s.client.RemoveObject(bg, "posix", name, minio.RemoveObjectOptions{}))
	}
	var st unix.Stat_t
	require.NoError(t, unix.Fstat(int(held.Fd()), &st))
	require.EqualValues(t, 0, st.Nlink, "removed, and open")
	got := make([]byte, 9)
	_, err = held.ReadAt(got, 0)
	require.NoError(t, err)
	require.Equal(t, "through d", string(got))

	require.NoError(t, os.Mkdir(p("made"), 0o755))
	require.Equal(t, 3, links("."))
	s.put("on/the/way", "x", minio.PutObjectOptions{})
	require.Equal(t, 4, links("."))
	require.Equal(t, 3, links("on"))
	require.NoError(t, s.client.RemoveObject(bg, "posix", "on/the/way", minio.RemoveObjectOptions{}))
	require.Equal(t, 3, links("."), "directories that S3 made are gone with their last object")
}
