package chunkstore

import (
	"bytes"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ReadOnly is the operating system's file system for Options.FS, opened for reading only: a Store on it
// changes nothing on the disk, whatever it is asked, and works on a read-only mount. What would change something
// fails with EROFS or EBADF; only what Open must write over frames after a crash amid a Rekey is kept in memory
// (as much as the journal holds), and read from there.
func ReadOnly() FS { return readOnlyFS{over: &overlay{blocks: map[string]map[int64][]byte{}}} }

type readOnlyFS struct {
	osFS
	over *overlay
}

// MkdirAll makes nothing; the directory is missing or not.
func (readOnlyFS) MkdirAll(dir string) error {
	_, err := os.Stat(dir)
	return err
}

func (readOnlyFS) Create(name string) (File, error) { return nil, readOnlyError("create", name) }

func (r readOnlyFS) Open(name string) (File, error) {
	f, err := openDirect(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return readOnlyFile{f, name, r.over}, nil
}

func (readOnlyFS) Remove(name string) error { return readOnlyError("remove", name) }

func (readOnlyFS) SyncDir(string) error { return nil }

func readOnlyError(op, name string) error {
	return &os.PathError{Op: op, Path: name, Err: unix.EROFS}
}

// overlay is what was written over files, in blocks by file and offset.
type overlay struct {
	mu     sync.RWMutex
	blocks map[string]map[int64][]byte
}

// readOnlyFile is an open file, with what lies over it.
type readOnlyFile struct {
	File
	name string
	over *overlay
}

func (f readOnlyFile) WriteAt(p []byte, off int64) (int, error) {
	f.over.mu.Lock()
	defer f.over.mu.Unlock()
	blocks := f.over.blocks[f.name]
	if blocks == nil {
		blocks = map[int64][]byte{}
		f.over.blocks[f.name] = blocks
	}
	for at := 0; at < len(p); at += BlockSize {
		blocks[off+int64(at)] = bytes.Clone(p[at : at+BlockSize])
	}
	return len(p), nil
}

func (f readOnlyFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.over.mu.RLock()
	defer f.over.mu.RUnlock()
	blocks := f.over.blocks[f.name]
	for at := 0; len(blocks) > 0 && at+BlockSize <= n; at += BlockSize {
		if b := blocks[off+int64(at)]; b != nil {
			copy(p[at:], b)
		}
	}
	return n, err
}

func (f readOnlyFile) Sync() error { return nil }
