// Package data shows that the bytes of files are what was written, by whatever call and through whichever
// door: random operations against a model, and what fallocate, copy_file_range, O_TMPFILE, O_APPEND,
// O_SYNC, O_DIRECT and mmap promise.
package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"k3fs/e2e/harness"
)

const bucketName = "data"

// bucket starts a daemon and returns a bucket's directory in its mount.
func bucket(t *testing.T) (*harness.Daemon, string) {
	t.Helper()
	d := harness.Start(t, harness.Options{})
	dir := filepath.Join(d.Mount, bucketName)
	require.NoError(t, os.Mkdir(dir, 0o755))
	return d, dir
}

// get reads an object whole; nil if there is none.
func get(t require.TestingT, c *minio.Client, key string) []byte {
	o, err := c.GetObject(context.Background(), bucketName, key, minio.GetObjectOptions{})
	require.NoError(t, err)
	defer o.Close()
	b, err := io.ReadAll(o)
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return nil
	}
	require.NoError(t, err)
	return append([]byte{}, b...)
}

// put writes an object.
func put(t require.TestingT, c *minio.Client, key string, data []byte) {
	_, err := c.PutObject(context.Background(), bucketName, key, bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{})
	require.NoError(t, err)
}

// modelFile is a file under test, what it must hold, and what S3 must say of it.
type modelFile struct {
	path, key string
	f         *os.File
	data      []byte
	published []byte // nil before its first close
}

func (m *modelFile) grow(size int) {
	if size > len(m.data) {
		m.data = append(m.data[:len(m.data):len(m.data)], make([]byte, size-len(m.data))...)
	}
}

func (m *modelFile) write(p []byte, off int) {
	m.grow(off + len(p))
	copy(m.data[off:], p)
}

func (m *modelFile) open(t require.TestingT) {
	var err error
	m.f, err = os.OpenFile(m.path, os.O_RDWR|os.O_CREATE, 0o644)
	require.NoError(t, err)
}

func (m *modelFile) close(t require.TestingT) {
	require.NoError(t, m.f.Close())
	m.published = append([]byte{}, m.data...)
}

// span draws a range that begins in the file or near its end.
func (m *modelFile) span(rt *rapid.T) (off, n int) {
	off = rapid.OneOf(rapid.IntRange(0, len(m.data)+10_000), rapid.Just(len(m.data)), rapid.SampledFrom([]int{0, 4096, 65536, 1 << 20})).Draw(rt, "off")
	n = rapid.OneOf(rapid.IntRange(1, 9000), rapid.SampledFrom([]int{4096, 8192, 65536}), rapid.IntRange(1, 400_000)).Draw(rt, "n")
	return off, n
}

func fill(p []byte, seed uint64) []byte {
	var key [32]byte
	key[0], key[1], key[2], key[3] = byte(seed), byte(seed>>8), byte(seed>>16), byte(seed>>24)
	_, _ = rand.NewChaCha8(key).Read(p)
	return p
}

// TestRandomOperations does to two files what programs can do to files, and compares after each step.
func TestRandomOperations(t *testing.T) {
	d, dir := bucket(t)
	client := d.Client(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		files := make([]*modelFile, 2)
		for i := range files {
			key := fmt.Sprintf("%d-%d", run, i)
			files[i] = &modelFile{path: filepath.Join(dir, key), key: key}
			files[i].open(rt)
		}
		defer func() {
			for _, m := range files {
				_ = m.f.Close()
				_ = os.Remove(m.path)
			}
		}()
		seed := uint64(0)
		pick := func(rt *rapid.T, label string) *modelFile { return files[rapid.IntRange(0, 1).Draw(rt, label)] }
		bytesOf := func(n int) []byte { seed++; return fill(make([]byte, n), seed) }
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				m := pick(rt, "file")
				off, n := m.span(rt)
				p := bytesOf(n)
				_, err := m.f.WriteAt(p, int64(off))
				require.NoError(rt, err)
				m.write(p, off)
			},
			"append": func(rt *rapid.T) {
				m := pick(rt, "file")
				p := bytesOf(rapid.IntRange(1, 20_000).Draw(rt, "n"))
				f, err := os.OpenFile(m.path, os.O_WRONLY|os.O_APPEND, 0)
				require.NoError(rt, err)
				_, err = f.Write(p)
				require.NoError(rt, errors.Join(err, f.Close()))
				m.write(p, len(m.data))
			},
			"truncate": func(rt *rapid.T) {
				m := pick(rt, "file")
				off, _ := m.span(rt)
				require.NoError(rt, m.f.Truncate(int64(off)))
				m.data = m.data[:min(off, len(m.data)):min(off, len(m.data))]
				m.grow(off)
			},
			"fallocate": func(rt *rapid.T) {
				m := pick(rt, "file")
				off, n := m.span(rt)
				mode := rapid.SampledFrom([]uint32{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE,
					unix.FALLOC_FL_ZERO_RANGE, unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE}).Draw(rt, "mode")
				require.NoError(rt, unix.Fallocate(int(m.f.Fd()), mode, int64(off), int64(n)))
				if mode&unix.FALLOC_FL_KEEP_SIZE == 0 {
					m.grow(off + n)
				}
				if mode&^unix.FALLOC_FL_KEEP_SIZE != 0 && off < len(m.data) {
					clear(m.data[off:min(off+n, len(m.data))])
				}
			},
			"copy range": func(rt *rapid.T) {
				from, to := pick(rt, "from"), pick(rt, "to")
				at, n := from.span(rt)
				off, _ := to.span(rt)
				if from == to && at < off+n && off < at+n {
					return
				}
				src := bytes.Clone(from.data[min(at, len(from.data)):min(at+n, len(from.data))])
				require.NoError(rt, copyRange(from.f, to.f, int64(at), int64(off), len(src)))
				if len(src) > 0 {
					to.write(src, off)
				}
			},
			"map": func(rt *rapid.T) {
				m := pick(rt, "file")
				if len(m.data) == 0 {
					return
				}
				b, err := unix.Mmap(int(m.f.Fd()), 0, len(m.data), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				require.NoError(rt, err)
				same := bytes.Equal(m.data, b)
				off := rapid.IntRange(0, len(m.data)-1).Draw(rt, "off")
				p := bytesOf(min(rapid.IntRange(1, 20_000).Draw(rt, "n"), len(m.data)-off))
				copy(b[off:], p)
				if rapid.Bool().Draw(rt, "msync") {
					err = unix.Msync(b, unix.MS_SYNC)
				}
				require.NoError(rt, errors.Join(err, unix.Munmap(b)))
				require.True(rt, same, "the map of %s", m.key)
				m.write(p, off)
			},
			"sync": func(rt *rapid.T) { require.NoError(rt, pick(rt, "file").f.Sync()) },
			"seek": func(rt *rapid.T) {
				m := pick(rt, "file")
				checkHoles(rt, m.f, m.data)
			},
			"direct": func(rt *rapid.T) {
				m := pick(rt, "file")
				off, n := m.span(rt)
				f, err := os.OpenFile(m.path, os.O_RDONLY|unix.O_DIRECT, 0)
				require.NoError(rt, err)
				p := make([]byte, n)
				got, err := f.ReadAt(p, int64(off))
				require.NoError(rt, errors.Join(ignoreEOF(err), f.Close()))
				require.True(rt, bytes.Equal(m.data[min(off, len(m.data)):min(off+n, len(m.data))], p[:got]), "direct read")
			},
			"reopen": func(rt *rapid.T) {
				m := pick(rt, "file")
				m.close(rt)
				require.True(rt, bytes.Equal(m.published, get(rt, client, m.key)), "published %s", m.key)
				m.open(rt)
			},
			"GET": func(rt *rapid.T) {
				m := pick(rt, "file")
				got := get(rt, client, m.key)
				require.True(rt, bytes.Equal(m.published, got) && (got == nil) == (m.published == nil), "S3's view of %s while it is open", m.key)
			},
			"": func(rt *rapid.T) {
				for _, m := range files {
					st, err := m.f.Stat()
					require.NoError(rt, err)
					require.EqualValues(rt, len(m.data), st.Size())
					got := make([]byte, len(m.data)+1)
					n, err := m.f.ReadAt(got, 0)
					require.NoError(rt, ignoreEOF(err))
					require.True(rt, bytes.Equal(m.data, got[:n]), "content of %s", m.key)
				}
			},
		})
		for _, m := range files {
			m.close(rt)
			require.True(rt, bytes.Equal(m.data, get(rt, client, m.key)), "published in the end")
		}
	})
	d.MustStop(t)
	require.NoError(t, d.Fsck())
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// copyRange is copy_file_range(2) until n bytes are copied.
func copyRange(from, to *os.File, at, off int64, n int) error {
	for n > 0 {
		got, err := unix.CopyFileRange(int(from.Fd()), &at, int(to.Fd()), &off, n, 0)
		if err != nil {
			return err
		}
		if got == 0 {
			return io.ErrUnexpectedEOF
		}
		n -= got
	}
	return nil
}

// checkHoles requires that SEEK_DATA and SEEK_HOLE alternate over the whole file, and that holes are zeros.
func checkHoles(t require.TestingT, f *os.File, data []byte) {
	size := int64(len(data))
	for at := int64(0); at < size; {
		next, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, syscall.ENXIO) {
			next, err = size, nil
		}
		require.NoError(t, err)
		require.GreaterOrEqual(t, next, at)
		require.Empty(t, bytes.Trim(data[at:next], "\x00"), "a hole at %d holds data", at)
		if next == size {
			return
		}
		at, err = unix.Seek(int(f.Fd()), next, unix.SEEK_HOLE)
		require.NoError(t, err)
		require.Greater(t, at, next)
	}
}
