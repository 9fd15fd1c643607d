package chunkstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// ReadOnly is the operating system's file system for Options.FS, opened for reading only: a Store on it
// changes nothing, whatever it is asked, and works on a read-only mount. What would change something
// fails with EROFS or EBADF.
func ReadOnly() FS { return readOnlyFS{} }

type readOnlyFS struct{ osFS }

// MkdirAll makes nothing; the directory is missing or not.
func (readOnlyFS) MkdirAll(dir string) error {
	_, err := os.Stat(dir)
	return err
}

func (readOnlyFS) Create(name string) (File, error) { return nil, readOnlyError("create", name) }

func (readOnlyFS) Open(name string) (File, error) { return openDirect(name, os.O_RDONLY) }

func (readOnlyFS) Remove(name string) error { return readOnlyError("remove", name) }

func (readOnlyFS) SyncDir(string) error { return nil }

func readOnlyError(op, name string) error {
	return &os.PathError{Op: op, Path: name, Err: unix.EROFS}
}
