package chunkstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// osFS is the operating system's file system.
type osFS struct{}

var _ FS = osFS{}

func (osFS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

func (osFS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return withDirect(f, name, err)
}

func (osFS) Open(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	return withDirect(f, name, err)
}

// withDirect adds a second descriptor that goes past the page cache. Where the file system refuses
// that, everything goes through the page cache.
func withDirect(f *os.File, name string, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	direct, err := os.OpenFile(name, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return &osFile{File: f, direct: f}, nil
	}
	return &osFile{File: f, direct: direct}, nil
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

// osFile is a file with two descriptors: one past the page cache, which all of the Store's aligned reads
// and writes use, and one through it. For 64 KiB and a Sync after each, going past it is as fast or
// faster (the page cache's own memory is slow to get on virtual machines, and fdatasync has less to do),
// and above the store FUSE has a page cache already. The kernel keeps both descriptors coherent.
type osFile struct {
	*os.File
	direct *os.File // the File itself where direct access is refused
}

var _ File = (*osFile)(nil)

func aligned(p []byte, off int64) bool {
	return (uintptr(unsafe.Pointer(unsafe.SliceData(p)))|uintptr(off)|uintptr(len(p)))%BlockSize == 0
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	if aligned(p, off) {
		return f.direct.ReadAt(p, off)
	}
	return f.File.ReadAt(p, off)
}

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	if aligned(p, off) {
		return f.direct.WriteAt(p, off)
	}
	return f.File.WriteAt(p, off)
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

func (f *osFile) Close() error {
	err := f.File.Close()
	if f.direct != f.File {
		err = errors.Join(err, f.direct.Close())
	}
	return err
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
