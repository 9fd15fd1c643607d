package badgerkv

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/metastore"
)

// smallDiskDir mounts a file system of the given size.
func smallDiskDir(t *testing.T, size int) string {
	dir := t.TempDir()
	err := unix.Mount("k3fs-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mounting a tmpfs needs root: %v", err)
		}
		t.Skipf("mounting a tmpfs needs root: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	return dir
}

// TestFullDisk fills a real, small file system, by the store and by others, again and again. On a full
// disk Badger would die of SIGBUS.
func TestFullDisk(t *testing.T) {
	dir := smallDiskDir(t, 256<<20)
	for round := range 3 {
		o := testOptions(filepath.Join(dir, fmt.Sprint("meta", round)))
		o.LowWater, o.Ballast = 0, 0
		s := mustOpen(t, o)
		eaten := filepath.Join(dir, "eaten")
		if round == 2 {
			eat(t, s, eaten)
		}
		n := fill(t, s)
		require.NoError(t, s.Close())
		s = mustOpen(t, o)
		require.Equal(t, n, count(t, s))
		for i := range n {
			require.NoError(t, s.Update(t.Context(), metastore.Reclaim, func(txn metastore.Txn) error {
				return txn.Delete(fullKey(i))
			}))
		}
		require.NoError(t, s.Sync(t.Context()))
		require.Zero(t, count(t, s))
		require.NoError(t, s.Close())
		require.NoError(t, os.RemoveAll(o.Dir))
		require.NoError(t, os.RemoveAll(eaten))
	}
}

func fullKey(i int) []byte { return fmt.Appendf(nil, "%06d", i) }

// fill writes incompressible values until the store refuses, and returns how many.
func fill(t *testing.T, s *Store) (n int) {
	value := make([]byte, 32<<10)
	for {
		for j := range value {
			value[j] = byte(rand.Uint32())
		}
		err := s.Update(t.Context(), metastore.Ordered, func(txn metastore.Txn) error {
			return txn.Set(fullKey(n), value)
		})
		if err != nil {
			require.ErrorIs(t, err, metastore.ErrFull)
			require.NoError(t, s.Sync(t.Context()))
			return n
		}
		n++
	}
}

// eat takes space until the store refuses to write.
func eat(t *testing.T, s *Store, path string) {
	s.space.mu.Lock()
	free, mark := s.space.free, s.space.mark()
	s.space.mu.Unlock()
	if free > mark {
		require.NoError(t, allocate(path, int64(free-mark)+1<<20))
	}
}

func count(t *testing.T, s *Store) (n int) {
	require.NoError(t, s.View(t.Context(), func(r metastore.Reader) error {
		return r.Scan(metastore.Range{KeysOnly: true}, func(_, _ []byte) (bool, error) {
			n++
			return true, nil
		})
	}))
	return n
}
