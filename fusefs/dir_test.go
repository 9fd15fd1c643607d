package fusefs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func fill(t *testing.T, dir string, n int) {
	for i := range n {
		require.NoError(t, unix.Mknod(filepath.Join(dir, fmt.Sprintf("file-%06d", i)), unix.S_IFREG|0o644, 0))
	}
}

// list reads a directory with a buffer of the given size, calling between after each read.
func list(t *testing.T, dir string, size int, between func(names []string)) []string {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	var all []string
	for buf := make([]byte, size); ; {
		n, err := unix.ReadDirent(fd, buf)
		require.NoError(t, err)
		if n == 0 {
			return all
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		all = append(all, names...)
		if between != nil {
			between(names)
		}
	}
}

func TestReadDirLarge(t *testing.T) { onBoth(t, testReadDirLarge) }

func testReadDirLarge(t *testing.T, dir string) {
	n := 100_000
	if raceDetector {
		n = 5000
	}
	fill(t, dir, n)
	for _, size := range []int{1 << 10, 1 << 15, 1 << 20} {
		names := list(t, dir, size, nil)
		require.Len(t, names, n)
		for i, name := range names {
			require.Equal(t, fmt.Sprintf("file-%06d", i), name)
		}
	}
}

// Removing while reading, as rm -r does, meets every name exactly once.
func TestReadDirWhileRemoving(t *testing.T) { onBoth(t, testReadDirWhileRemoving) }

func testReadDirWhileRemoving(t *testing.T, dir string) {
	n := 5000
	if raceDetector {
		n = 2500
	}
	for _, size := range []int{1 << 10, 1 << 15} {
		fill(t, dir, n)
		names := list(t, dir, size, func(names []string) {
			for _, name := range names {
				require.NoError(t, os.Remove(filepath.Join(dir, name)))
			}
		})
		require.Len(t, names, n)
		require.Empty(t, list(t, dir, size, nil))
	}
}

// Names that stay are met exactly once whatever else comes and goes.
func TestReadDirWhileChanging(t *testing.T) { onBoth(t, testReadDirWhileChanging) }

func testReadDirWhileChanging(t *testing.T, dir string) {
	const n = 3000
	fill(t, dir, n)
	round := 0
	names := list(t, dir, 4<<10, func([]string) {
		round++
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("a-new-%d", round)), nil, 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("z-new-%d", round)), nil, 0o644))
		if round > 1 {
			require.NoError(t, os.Remove(filepath.Join(dir, fmt.Sprintf("a-new-%d", round-1))))
		}
	})
	seen := map[string]int{}
	for _, name := range names {
		seen[name]++
	}
	for i := range n {
		require.Equal(t, 1, seen[fmt.Sprintf("file-%06d", i)])
	}
}

func TestSeekDir(t *testing.T) { onBoth(t, testSeekDir) }

func testSeekDir(t *testing.T, dir string) {
	const n = 4000
	fill(t, dir, n)
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	buf := make([]byte, 2048)
	type place struct {
		off  int64
		next string
	}
	var places []place
	for {
		off, err := unix.Seek(fd, 0, unix.SEEK_CUR)
		require.NoError(t, err)
		got, err := unix.ReadDirent(fd, buf)
		require.NoError(t, err)
		if got == 0 {
			break
		}
		_, _, names := unix.ParseDirent(buf[:got], -1, nil)
		places = append(places, place{off, names[0]})
	}
	for i := range places {
		p := places[(i*37)%len(places)]
		_, err := unix.Seek(fd, p.off, unix.SEEK_SET)
		require.NoError(t, err)
		got, err := unix.ReadDirent(fd, buf)
		require.NoError(t, err)
		_, _, names := unix.ParseDirent(buf[:got], -1, nil)
		require.Equal(t, p.next, names[0])
	}
}
