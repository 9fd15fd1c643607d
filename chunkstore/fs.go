package chunkstore

// FS is all that a Store asks of a file system, so that tests can crash it and fail it at every
// operation. Names are paths below Options.Dir joined with a slash. Implementations are safe for
// concurrent use. A full disk is reported by an error that unwraps to syscall.ENOSPC or EDQUOT, a
// missing file by one that unwraps to fs.ErrNotExist.
type FS interface {
	// MkdirAll makes a directory and its parents, durably.
	MkdirAll(dir string) error
	// Create makes a file that must not exist.
	Create(name string) (File, error)
	// Open opens an existing file to read and write.
	Open(name string) (File, error)
	// Remove unlinks a file; open Files of it stay usable.
	Remove(name string) error
	// List returns the names in a directory, in any order.
	List(dir string) ([]string, error)
	// SyncDir makes the creations and removals in a directory durable.
	SyncDir(dir string) error
	// Space returns the size of the file system and what is free on it, in bytes.
	Space(dir string) (total, free int64, err error)
}

// File is an open file of an FS.
type File interface {
	// ReadAt and WriteAt are those of io.ReaderAt and io.WriterAt. Offset, length and the address of p are
	// always multiples of BlockSize, so that an implementation may go past the page cache.
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	// Sync makes the file's data and size durable (fdatasync).
	Sync() error
	// Preallocate makes the file size bytes long, with room on the disk where that can be had.
	Preallocate(size int64) error
	// Punch gives back the room of n bytes at off, which read as zeros from then on.
	Punch(off, n int64) error
	// NextData returns the first offset at or after off that may hold data, or io.EOF.
	NextData(off int64) (int64, error)
	// Size returns the file's length and the bytes that it takes on the disk.
	Size() (length, allocated int64, err error)
	Close() error
}

// CachedFile is a File that can also be used through the page cache, where the file system's own File is
// past it. Sync and both ways of reading see what was written either way.
type CachedFile interface {
	File
	// ReadCached is ReadAt through the page cache.
	ReadCached(p []byte, off int64) (int, error)
	// WriteCached is WriteAt through the page cache, which keeps what was written.
	WriteCached(p []byte, off int64) (int, error)
}
