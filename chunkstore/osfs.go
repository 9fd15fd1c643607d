package chunkstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// osFS is the operating system's file system.
type osFS struct{}

var _ FS = osFS{}

// MkdirAll makes each new directory durable in its parent, for a segment is only as durable as its path.
func (o osFS) MkdirAll(dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if parent != dir {
		if err := o.MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return o.SyncDir(parent)
}

func (osFS) Create(name string) (File, error) {
	return openDirect(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (osFS) Open(name string) (File, error) { return openDirect(name, os.O_RDWR) }

// openDirect opens a file past the page cache, or through it where the file system refuses that or asks
// for more than BlockSize of alignment.
func openDirect(name string, flags int) (File, error) {
	access := flags & (os.O_RDONLY | os.O_RDWR)
	f, err := os.OpenFile(name, flags|unix.O_DIRECT, 0o600)
	if err == nil && directFits(f) {
		return &osFile{File: f, access: access}, nil
	}
	if err == nil {
		f.Close()
		flags &^= os.O_CREATE | os.O_EXCL
	} else if !errors.Is(err, unix.EINVAL) {
		return nil, err
	}
	f, err = os.OpenFile(name, flags&^os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f, access: access}, nil
}

// directFits says whether direct access works with BlockSize. A kernel before 6.1 does not tell.
func directFits(f *os.File) bool {
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 {
		return true
	}
	return st.Dio_offset_align != 0 && BlockSize%st.Dio_offset_align == 0 && BlockSize%max(st.Dio_mem_align, 1) == 0
}

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) List(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (osFS) Space(dir string) (total, free int64, err error) {
	var st unix.Statfs_t
	err = ignoringEINTR(func() error { return unix.Statfs(dir, &st) })
	if err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize, nil
}

// osFile is a file past the page cache. For appends of 64 KiB with a Sync after each that is as fast as
// going through it, or faster: the page cache's own memory is slow to get on virtual machines, fdatasync
// has less to do, and above the store FUSE has a page cache already.
type osFile struct {
	*os.File
	access int // os.O_RDWR or os.O_RDONLY
	once   sync.Once
	cached *os.File // the same file through the page cache; nil until needed
	err    error    // of opening that
}

var _ CachedFile = (*osFile)(nil)

// ReadCached implements CachedFile. The kernel keeps both ways coherent: a direct write drops the pages that
// it changes, and a direct read waits until those that were written are on the disk.
func (f *osFile) ReadCached(p []byte, off int64) (int, error) {
	if c := f.throughCache(); c != nil {
		return c.ReadAt(p, off)
	}
	return f.ReadAt(p, off)
}

// WriteCached implements CachedFile. The kernel begins to write at once, so that little is left for Sync.
// Should it fail, Sync says so.
func (f *osFile) WriteCached(p []byte, off int64) (int, error) {
	c := f.throughCache()
	if c == nil {
		return f.WriteAt(p, off)
	}
	n, err := c.WriteAt(p, off)
	if err == nil {
		_ = unix.SyncFileRange(int(c.Fd()), off, int64(n), unix.SYNC_FILE_RANGE_WRITE)
	}
	return n, err
}

// throughCache is the file through the page cache, or nil: its name is gone, or there are too many open
// files. The kernel is told not to read ahead: a segment's neighbours are other people's extents.
func (f *osFile) throughCache() *os.File {
	f.once.Do(func() {
		if f.cached, f.err = os.OpenFile(f.Name(), f.access, 0); f.err == nil {
			_ = unix.Fadvise(int(f.cached.Fd()), 0, 0, unix.FADV_RANDOM) // advice
		}
	})
	if f.err != nil {
		return nil
	}
	return f.cached
}

func (f *osFile) Close() error {
	f.once.Do(func() { f.err = os.ErrClosed })
	if f.cached != nil {
		f.cached.Close() // what was written through it, Sync has made durable
	}
	return f.File.Close()
}

func (f *osFile) Sync() error {
	err := ignoringEINTR(func() error { return unix.Fdatasync(int(f.Fd())) })
	return f.wrap("fdatasync", err)
}

func (f *osFile) Preallocate(size int64) error {
	err := ignoringEINTR(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return f.Truncate(size)
	}
	return f.wrap("fallocate", err)
}

func (f *osFile) Punch(off, n int64) error {
	const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	err := ignoringEINTR(func() error { return unix.Fallocate(int(f.Fd()), mode, off, n) })
	return f.wrap("punch", err)
}

func (f *osFile) NextData(off int64) (int64, error) {
	next, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return 0, io.EOF
	case errors.Is(err, unix.EINVAL):
		return off, nil
	}
	return next, f.wrap("seek", err)
}

func (f *osFile) Size() (length, allocated int64, err error) {
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Fstat(int(f.Fd()), &st) }); err != nil {
		return 0, 0, f.wrap("stat", err)
	}
	return st.Size, st.Blocks * 512, nil
}

func (f *osFile) wrap(op string, err error) error {
	if err != nil {
		return fmt.Errorf("%w", &os.PathError{Op: op, Path: f.Name(), Err: err})
	}
	return nil
}

func ignoringEINTR(fn func() error) error {
	for {
		if err := fn(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
