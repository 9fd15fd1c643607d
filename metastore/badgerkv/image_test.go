package badgerkv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
)

// copyImage copies the files of a store, leaving holes as holes. The store must be at rest.
func copyImage(t testing.TB, from, to string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		return copyFile(path, filepath.Join(to, rel))
	}))
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	zero := make([]byte, 64<<10)
	for off := 0; off < len(data); off += len(zero) {
		block := data[off:min(off+len(zero), len(data))]
		if !bytes.Equal(block, zero[:len(block)]) {
			if _, err := out.WriteAt(block, int64(off)); err != nil {
				return err
			}
		}
	}
	return out.Truncate(int64(len(data)))
}

// write makes one update of one key in a batch of its own.
func write(t testing.TB, s *Store, key, value string) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), metastore.Durable, func(txn metastore.Txn) error {
		return txn.Set([]byte(key), []byte(value))
	}))
}

// content returns all pairs, once by a scan and once by Gets, or the first error.
func content(t testing.TB, s *Store, keys map[string]string) (map[string]string, error) {
	scanned := map[string]string{}
	err := s.View(t.Context(), func(r metastore.Reader) error {
		err := r.Scan(metastore.Range{}, func(k, v []byte) (bool, error) {
			scanned[string(k)] = string(v)
			return true, nil
		})
		if err != nil {
			return err
		}
		for k, want := range keys {
			v, err := r.Get([]byte(k))
			if err != nil && !errors.Is(err, metastore.ErrNotFound) {
				return err
			}
			if err != nil || string(v) != want {
				scanned[k] = fmt.Sprintf("Get: %q, %v", v, err)
			}
		}
		return nil
	})
	return scanned, err
}

// memoryDir returns a new directory in memory where there is one: images are copied hundreds of times.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "badgerkv-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// makeImage returns the files of a store that was killed at rest, with data in tables and in its
// write-ahead log, and the pairs that it holds.
func makeImage(t *testing.T) (dir string, want map[string]string) {
	dir, want = memoryDir(t), map[string]string{}
	live := memoryDir(t)
	put := func(s *Store, i int) {
		k, v := fmt.Sprintf("dir/%04d", i), fmt.Sprintf("value %d %x", i, rand.Uint64())
		write(t, s, k, v)
		want[k] = v
	}
	for round := range 3 {
		s := mustOpen(t, testOptions(live))
		for i := range 40 {
			put(s, round*30+i)
		}
		require.NoError(t, s.Close())
	}
	s := mustOpen(t, testOptions(live))
	for i := range 40 {
		put(s, 200+i)
	}
	copyImage(t, live, dir)
	require.NoError(t, s.Close())
	return dir, want
}

// openDamaged opens a copy of an image after damage, and returns what it holds.
func openDamaged(t *testing.T, image string, want map[string]string, damage func(dir string)) (map[string]string, error) {
	dir := memoryDir(t)
	copyImage(t, image, dir)
	damage(dir)
	s, err := Open(testOptions(dir))
	if err != nil {
		return nil, err
	}
	got, err := content(t, s, want)
	require.NoError(t, s.Close())
	os.RemoveAll(dir)
	return got, err
}

// used is the length of a file up to its last byte that isn't zero.
func used(t *testing.T, path string) int {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return len(bytes.TrimRight(data, "\x00"))
}

func imageFiles(t *testing.T, dir string) (names []string) {
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		names = append(names, rel)
		return err
	}))
	return names
}

// TestFlippedByte: a damaged file is an error or harmless; never wrong data, never a silent absence.
func TestFlippedByte(t *testing.T) {
	image, want := makeImage(t)
	kinds, refused := map[string]bool{}, map[string]int{}
	for _, name := range imageFiles(t, image) {
		if ext := filepath.Ext(name); kinds[ext] && ext != "" {
			continue // one of each kind will do
		}
		kinds[filepath.Ext(name)] = true
		size := used(t, filepath.Join(image, name))
		offsets := []int{0, 1, 7, 8, 12, 16, 20, 24, 31, 40, size / 3, size / 2, size - 9, size - 5, size - 4, size - 3, size - 2, size - 1}
		for range 6 {
			offsets = append(offsets, rand.IntN(size+1))
		}
		for _, off := range offsets {
			if off < 0 || off >= size {
				continue
			}
			got, err := openDamaged(t, image, want, func(dir string) { flip(t, filepath.Join(dir, name), off) })
			if err != nil {
				require.ErrorIs(t, err, metastore.ErrCorrupt, "%s at %d", name, off)
				refused[filepath.Base(name)]++
				continue
			}
			require.Equal(t, want, got, "%s at %d of %d", name, off, size)
		}
	}
	t.Log("refused:", refused)
	for _, kind := range []string{".sst", ".mem", ""} {
		require.True(t, kinds[kind], "no file of kind %q", kind)
	}
	require.NotZero(t, refused["MANIFEST"])
	require.NotZero(t, refused["KEYREGISTRY"])
}

func flip(t *testing.T, path string, off int) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer file.Close()
	var b [1]byte
	_, err = file.ReadAt(b[:], int64(off))
	require.NoError(t, err)
	b[0] ^= 1 << rand.IntN(8)
	_, err = file.WriteAt(b[:], int64(off))
	require.NoError(t, err)
}

// TestMissingFile: the same for each file that is gone, or cut in half.
func TestMissingFile(t *testing.T) {
	image, want := makeImage(t)
	for _, name := range imageFiles(t, image) {
		for what, damage := range map[string]func(path string) error{
			"removed": os.Remove,
			"emptied": func(path string) error { return os.Truncate(path, 0) },
			"cut":     func(path string) error { return os.Truncate(path, int64(used(t, path)/2)) },
		} {
			got, err := openDamaged(t, image, want, func(dir string) {
				require.NoError(t, damage(filepath.Join(dir, name)))
			})
			if err != nil {
				require.ErrorIs(t, err, metastore.ErrCorrupt, "%s %s", name, what)
				continue
			}
			require.Equal(t, want, got, "%s %s", name, what)
		}
	}
}

// TestLogCutAnywhere: after a power cut the log may end anywhere behind what the anchor on the disk says.
// The store then holds a prefix of its history, of whole batches.
func TestLogCutAnywhere(t *testing.T) {
	live, image := memoryDir(t), memoryDir(t)
	s := mustOpen(t, testOptions(live))
	const batches, acknowledged = 60, 20
	for i := range batches {
		require.NoError(t, s.Update(t.Context(), metastore.Durable, func(txn metastore.Txn) error {
			return errors.Join(txn.Set(fmt.Appendf(nil, "a%02d", i), nil), txn.Set(fmt.Appendf(nil, "b%02d", i), nil),
				txn.Set([]byte("n"), fmt.Append(nil, i)))
		}))
		if i+1 == acknowledged {
			require.NoError(t, os.MkdirAll(image, 0o700))
			require.NoError(t, copyFile(filepath.Join(live, anchorName), filepath.Join(image, "early-anchor")))
		}
	}
	copyImage(t, live, image)
	require.NoError(t, s.Close())
	logs, err := filepath.Glob(filepath.Join(image, badgerName, "*.mem"))
	require.NoError(t, err)
	require.Len(t, logs, 1)
	size := used(t, logs[0])
	outcomes := map[int]bool{}
	for range 40 {
		cut := rand.IntN(size)
		dir := memoryDir(t)
		copyImage(t, image, dir)
		require.NoError(t, os.Rename(filepath.Join(dir, "early-anchor"), filepath.Join(dir, anchorName)))
		log := filepath.Join(dir, badgerName, filepath.Base(logs[0]))
		require.NoError(t, zeroFrom(log, cut))
		seen, readErr := readOnlyContent(t, dir)
		s, err := Open(testOptions(dir))
		if err != nil {
			require.ErrorIs(t, err, metastore.ErrCorrupt)
			require.ErrorIs(t, readErr, metastore.ErrCorrupt)
			outcomes[-1] = true
			continue
		}
		got, err := content(t, s, nil)
		require.NoError(t, err)
		require.NoError(t, readErr)
		require.Equal(t, got, seen)
		n := (len(got) - 1) / 2
		require.GreaterOrEqual(t, n, acknowledged)
		require.Equal(t, fmt.Sprint(n-1), got["n"])
		for i := range n {
			require.Contains(t, got, fmt.Sprintf("a%02d", i))
			require.Contains(t, got, fmt.Sprintf("b%02d", i))
		}
		outcomes[n] = true
		write(t, s, "after", "the crash")
		require.NoError(t, s.Close())
		os.RemoveAll(dir)
	}
	require.True(t, outcomes[-1], "never fell behind the anchor")
	require.Greater(t, len(outcomes), 5)
}

// zeroFrom wipes a file from an offset on, as a log is that was preallocated and never written there.
func zeroFrom(path string, off int) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	return errors.Join(file.Truncate(int64(off)), file.Truncate(size))
}

func TestWrongKey(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	write(t, s, "a", "1")
	require.NoError(t, s.Close())
	wrong := o
	wrong.Key[0]++
	_, err := Open(wrong)
	require.ErrorIs(t, err, metastore.ErrCorrupt)
	s = mustOpen(t, o)
	got, err := content(t, s, nil)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1"}, got)
	_, err = Open(o)
	require.ErrorContains(t, err, "in use")
	require.NoError(t, s.Close())
}

// TestNothingInClear: neither keys nor values can be read from the files.
func TestNothingInClear(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	for i := range 50 {
		write(t, s, fmt.Sprintf("secret-name-%d", i), "secret-content")
	}
	look := func() {
		for _, name := range imageFiles(t, o.Dir) {
			data, err := os.ReadFile(filepath.Join(o.Dir, name))
			require.NoError(t, err)
			require.NotContains(t, string(data), "secret-", name)
		}
	}
	look()
	require.NoError(t, s.Close())
	look()
}
