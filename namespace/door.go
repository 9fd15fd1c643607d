package namespace

import (
	"context"
	"io"

	"k3fs/tenancy"
)

// Posix is what a mount needs of a View. It is an interface so that a remote view can serve a mount on
// a compute node. Names are POSIX names (aliases included). Methods return *Error.
type Posix interface {
	Lookup(ctx context.Context, parent Ino, name string) (Attr, error)
	GetAttr(ctx context.Context, ino Ino) (Attr, error)
	SetAttr(ctx context.Context, ino Ino, s SetAttr) (Attr, error)
	// Accessed says that the inode was read, which may set its access time, lazily, by the rule of relatime
	// (mount(8)). It reports whether it did.
	Accessed(ctx context.Context, ino Ino) (bool, error)
	Mkdir(ctx context.Context, parent Ino, name string, n NewNode) (Attr, error)
	Mknod(ctx context.Context, parent Ino, name string, n NewNode) (Attr, error)
	Symlink(ctx context.Context, parent Ino, name, target string, n NewNode) (Attr, error)
	Readlink(ctx context.Context, ino Ino) (string, error)
	Link(ctx context.Context, ino, parent Ino, name string) (Attr, error)
	Unlink(ctx context.Context, parent Ino, name string) error
	Rmdir(ctx context.Context, parent Ino, name string) error
	Rename(ctx context.Context, parent Ino, name string, newParent Ino, newName string, f RenameFlags) error
	Create(ctx context.Context, parent Ino, name string, n NewNode, f OpenFlags) (Attr, FileHandle, error)
	Open(ctx context.Context, ino Ino, f OpenFlags) (FileHandle, error)
	// Tmpfile makes a file without a name in the directory's bucket (O_TMPFILE). Link gives it its first name,
	// unless f.Excl was set; else it goes with its last handle.
	Tmpfile(ctx context.Context, dir Ino, n NewNode, f OpenFlags) (Attr, FileHandle, error)
	// ReadDir returns up to limit entries after the cookie ("" starts), without "." and "..". It returns
	// fewer than limit only at the end of the directory.
	ReadDir(ctx context.Context, dir Ino, cookie string, limit int, plus bool) ([]DirEntry, error)
	GetXattr(ctx context.Context, ino Ino, name string) ([]byte, error)
	SetXattr(ctx context.Context, ino Ino, name string, value []byte, f XattrFlags) error
	ListXattr(ctx context.Context, ino Ino) ([]string, error)
	RemoveXattr(ctx context.Context, ino Ino, name string) error
	StatFS(ctx context.Context, ino Ino) (StatFS, error)
	// SyncDir makes the names of a directory durable; Sync everything (fsync on a directory, syncfs).
	SyncDir(ctx context.Context, dir Ino) error
	Sync(ctx context.Context) error
}

// FileHandle is an open file. Its methods are safe for concurrent use. Handles of one inode share one
// draft, seen by all of them at once.
type FileHandle interface {
	Ino() Ino
	// ReadAt reads up to len(p) bytes; n < len(p) only at the end of the file, without an error.
	ReadAt(ctx context.Context, p []byte, off int64) (n int, err error)
	// WriteAt writes all of p or returns an error. p is not kept.
	WriteAt(ctx context.Context, p []byte, off int64) (n int, err error)
	// Append writes p at the end, atomically among all handles, and returns the place.
	Append(ctx context.Context, p []byte) (off int64, err error)
	// Allocate implements fallocate(2) for length bytes from off. Unless keepSize is set, a file that ends
	// before the end of the range grows to it; a hole is never punched beyond the end of the file.
	Allocate(ctx context.Context, mode AllocMode, keepSize bool, off, length int64) error
	// CopyFrom copies up to length bytes of src from srcOff to off, sharing extents where it can, and returns
	// how many: fewer at the end of src, and of a range that is very fragmented (copy_file_range(2)). Ranges
	// of one file must not overlap.
	CopyFrom(ctx context.Context, src FileHandle, srcOff, off, length int64) (n int64, err error)
	// Fsync makes content, size and name durable, without publishing (fsync(2)).
	Fsync(ctx context.Context) error
	// Flush publishes the draft when no other handle still writes (close(2)); its error is the last
	// that an application sees.
	Flush(ctx context.Context) error
	// FlushNow is Flush if that waits for no bytes of the file to reach the disk, or come from there: small files
	// are published from memory, as metadata. Else done is false, and nothing happened.
	FlushNow(ctx context.Context) (done bool, err error)
	// Close releases the handle, and publishes if Flush was not called or could not. Never fails twice.
	Close(ctx context.Context) error
	// Seek implements SEEK_DATA and SEEK_HOLE (lseek(2)): hole true looks for a hole.
	Seek(ctx context.Context, off int64, hole bool) (int64, error)
}

// Objects is what an S3 endpoint needs of a View. Keys are S3 keys, unescaped. Methods return *Error.
type Objects interface {
	ListBuckets(ctx context.Context) ([]BucketInfo, error)
	CreateBucket(ctx context.Context, name, region string) error
	DeleteBucket(ctx context.Context, name string) error
	HeadBucket(ctx context.Context, name string) (BucketInfo, error)
	CreateBucketWith(ctx context.Context, name, region string, s tenancy.Settings) error
	// BucketSettings describes a bucket with what is set on it, to who may do a.
	BucketSettings(ctx context.Context, bucket string, a tenancy.Action) (BucketInfo, tenancy.Settings, error)
	// ChangeBucketSettings lets change alter them, inside the transaction, for who may do a.
	ChangeBucketSettings(ctx context.Context, bucket string, a tenancy.Action, change func(BucketInfo, tenancy.Settings) error) error
	// BucketFront returns settings that answer a browser before anybody is authenticated, and the owner (0: none).
	BucketFront(ctx context.Context, bucket string, names ...string) (tenancy.TenantID, tenancy.Settings, error)
	// ObjectACL, and what else takes the id of a version, is about the current one if that is empty.
	// ChangeLockConfig enables Object Lock, or changes its default retention.
	ChangeLockConfig(ctx context.Context, bucket string, c LockConfig) error
	LockOf(ctx context.Context, bucket, key, version string, a tenancy.Action) (lock ObjectLock, id string, err error)
	SetRetention(ctx context.Context, bucket, key, version string, to Retention, bypass bool) (id string, err error)
	SetLegalHold(ctx context.Context, bucket, key, version string, on bool) (id string, err error)
	ObjectACL(ctx context.Context, bucket, key, version string) (acl []byte, info BucketInfo, s tenancy.Settings, err error)
	SetObjectACL(ctx context.Context, bucket, key, version string, change func(old []byte, info BucketInfo, s tenancy.Settings) ([]byte, error)) error

	// MayPut asks whether the key may be written, without writing; a write asks again.
	MayPut(ctx context.Context, bucket, key string) error
	PutObject(ctx context.Context, bucket, key string, body Body, o PutOptions) (ObjectInfo, error)
	// GetObject opens the published object; the reader keeps seeing it whole whatever happens to the name.
	GetObject(ctx context.Context, bucket, key string, o ReadOptions) (ObjectReader, error)
	HeadObject(ctx context.Context, bucket, key string, o ReadOptions) (ObjectInfo, error)
	// ObjectParts describes an object and lists the parts that it was made of, by number.
	ObjectParts(ctx context.Context, bucket, key string, o ReadOptions, after, limit int) (info ObjectInfo, parts []Part, truncated bool, err error)
	// AppendObject puts bytes behind an object's (S3 Express: PutObject with x-amz-write-offset-bytes).
	AppendObject(ctx context.Context, bucket, key string, body Body, o AppendOptions) (ObjectInfo, error)
	// RenameObject gives an object another key of its bucket (S3 Express).
	RenameObject(ctx context.Context, bucket, from, to string, source, target Conditions) error
	// ObjectTags and SetObjectTags also return the id of the version, as ObjectInfo.Version has it.
	ObjectTags(ctx context.Context, bucket, key, version string) (tags []Tag, id string, err error)
	SetObjectTags(ctx context.Context, bucket, key, version string, tags []Tag) (id string, err error)
	// DeleteObject removes the key, in a versioned bucket by a delete marker, or one version for good; removing
	// what is absent is no error.
	DeleteObject(ctx context.Context, bucket, key string, o DeleteOptions) (Deleted, error)
	// DeleteObjects removes up to 1,000 keys; done[i] belongs to keys[i].
	DeleteObjects(ctx context.Context, bucket string, keys []Deletion) (done []Deleted, err error)
	CopyObject(ctx context.Context, srcBucket, srcKey, bucket, key string, o CopyOptions) (ObjectInfo, error)
	ListObjects(ctx context.Context, bucket string, o ListOptions) (ListPage, error)
	ListVersions(ctx context.Context, bucket string, o VersionsOptions) (VersionsPage, error)

	CreateUpload(ctx context.Context, bucket, key string, u Upload) (Upload, error)
	// LookupUpload returns the upload's properties.
	LookupUpload(ctx context.Context, bucket, key, id string) (Upload, error)
	PutPart(ctx context.Context, bucket, key, id string, number int, body Body) (Part, error)
	// CopyPart makes a part of length bytes from off of another object; length -1 means to its end.
	CopyPart(ctx context.Context, srcBucket, srcKey string, o ReadOptions, off, length int64, bucket, key, id string, number int) (Part, error)
	CompleteUpload(ctx context.Context, bucket, key, id string, parts []CompletePart, sums Checksums, c Conditions) (ObjectInfo, error)
	AbortUpload(ctx context.Context, bucket, key, id string) error
	ListParts(ctx context.Context, bucket, key, id string, after, limit int) (u Upload, parts []Part, truncated bool, err error)
	// ListUploads pages through uploads by key, then upload id, strictly after (afterKey, afterID);
	// an empty afterID means after all uploads of afterKey.
	ListUploads(ctx context.Context, bucket, prefix, delimiter, afterKey, afterID string, limit int) (UploadsPage, error)
}

// ObjectReader reads one published content.
type ObjectReader interface {
	Info() ObjectInfo
	ReadAt(ctx context.Context, p []byte, off int64) (n int, err error) // as FileHandle.ReadAt
	// WriteRange writes length bytes from off to w, reading ahead.
	WriteRange(ctx context.Context, w io.Writer, off, length int64) (int64, error)
	Close() error
}
