package namespace

import (
	"time"

	"k3fs/tenancy"
)

// Ino numbers an inode. Numbers are never reused. 0 is none, RootIno the root that holds the buckets.
type Ino uint64

// RootIno is the directory of buckets.
const RootIno Ino = 1

// Type is the kind of an inode.
type Type uint8

// The types of inodes. The values are stored.
const (
	File Type = iota + 1
	Dir
	Symlink
	FIFO
	Socket
	CharDev
	BlockDev
	DeleteMarker // a version that says "deleted" (its rules come with versioning)
)

// Attr is what stat(2) shows of an inode: POSIX's state, the draft included.
type Attr struct {
	Ino                        Ino
	Parent                     Ino // of a directory: what ".." in it leads to; of what else has a name: where one of its names is
	Type                       Type
	Mode                       uint32 // permission, set-id and sticky bits: 07777
	Flags                      Flags
	UID, GID                   uint32
	Nlink                      uint32
	Rdev                       uint32
	Size                       int64 // bytes
	Blocks                     int64 // of 512 bytes
	Atime, Mtime, Ctime, Btime time.Time
}

// SetAttr is a change of attributes (setattr in POSIX's chmod, chown, truncate, utimensat): nil fields stay.
type SetAttr struct {
	Mode         *uint32
	UID, GID     *uint32
	Size         *int64
	Atime, Mtime *time.Time
	Ctime        *time.Time // as the kernel's writeback cache sends it
	KillPriv     bool       // clear set-user-id, set-group-id and file capabilities as a write does
	Touch        bool       // the times are those of now: utimensat(2) without times, or a write's
	Flags        *Flags     // who asks for the change of a flag that permits less or more may make it
	Handle       FileHandle // the open file it is made through (ftruncate); may be nil
}

// NewNode says how to make an inode.
type NewNode struct {
	Mode     uint32 // 07777
	Umask    uint32 // bits of Mode not to set, unless the directory has a default access list
	UID, GID uint32
	Rdev     uint32
	Type     Type // for Mknod
}

// DirEntry is one name in a directory, as POSIX sees it.
type DirEntry struct {
	Name   string // POSIX name: an alias where the stored name can't be shown
	Cookie string // continue after this entry: opaque, stable while the directory changes, ascending bytewise in a directory
	Ino    Ino
	Type   Type
	Attr   *Attr // set when asked for (readdirplus)
}

// RenameFlags are those of renameat2(2).
type RenameFlags uint8

const (
	RenameNoReplace RenameFlags = 1 << iota // fail if the new name is taken
	RenameExchange                          // swap the two
)

// OpenFlags say how a file is opened.
type OpenFlags struct {
	Read, Write, Append, Trunc bool
	Excl                       bool // of Create: fail if the name is taken
	Sync                       bool // O_SYNC or O_DSYNC: every write is durable
}

// AllocMode says what Allocate does with a range of a file.
type AllocMode uint8

// The modes of Allocate.
const (
	AllocSpace AllocMode = iota // look whether there is room for it; a read of it answers as before
	AllocPunch                  // make it a hole
	AllocZero                   // make it read as zeros
)

// StatFS is what statfs(2) shows: sizes in bytes.
type StatFS struct {
	Total, Free, Avail int64
	Files, FilesFree   uint64
	NameMax            uint32
}

// XattrFlags are those of setxattr(2).
type XattrFlags uint8

const (
	XattrCreate   XattrFlags = 1 << iota // fail if it is there
	XattrReplace                         // fail if it is not
	XattrKillSGID                        // an access list, set by one who is not in the file's group
)

// BucketInfo describes a bucket.
type BucketInfo struct {
	Name    string
	Ino     Ino
	Owner   tenancy.TenantID
	Created time.Time
	Region  string
}

// ObjectInfo describes a published object, or (Prefix set) a common prefix in a listing.
type ObjectInfo struct {
	Key          string
	Ino          Ino
	Size         int64
	ETag         string // without quotes
	LastModified time.Time
	Headers      map[string]string // Content-Type, Cache-Control, ...: canonical names, as given at PUT
	DerivedType  string            // what to answer as Content-Type if Headers has none, "" the default; of GetObject and HeadObject
	Meta         map[string]string // x-amz-meta-*: names in lower case, without the prefix
	Tags         []Tag             // as given, in their order
	Checksums    Checksums
	Version      string      // id of the version, "null" of the null version; empty if its bucket never had versions
	Lock         *ObjectLock // the version's, as far as who asks may know it; nil: none. Of GetObject and HeadObject
	CopyOf       string      // of CopyObject: the source's version, as Version has it
	Parts        int         // number of parts if it was made by CompleteMultipartUpload, else 0
	Part         *Part       // the part that was asked for, if one was
	Offset       int64       // of Part in the object
}

// StorageClass is the header of ObjectInfo.Headers that listings show as well. Without it the class is STANDARD.
const StorageClass = "X-Amz-Storage-Class"

// Tag is one of an object's tags. What S3 gives is checked by its door (ValidTagKey, ValidTagValue, MaxTags).
type Tag struct{ Key, Value string }

// Checksums of an object, base64 as S3 writes them; Type is "FULL_OBJECT" or "COMPOSITE" or empty.
type Checksums struct {
	Algorithm string // "CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"; empty if none was asked for
	Value     string
	Type      string
}

// Conditions are the conditional headers of RFC 9110 section 13, decided in the transaction. ETags are
// without quotes; "*" means any.
type Conditions struct {
	IfMatch, IfNoneMatch               []string
	IfModifiedSince, IfUnmodifiedSince time.Time // zero means absent

	// Of a delete alone (x-amz-if-match-last-modified-time, to the second, and x-amz-if-match-size): true
	// also where there is no object.
	LastModified time.Time
	Size         *int64
}

// ReadOptions say what of an object is read, and when.
type ReadOptions struct {
	Conditions
	Version  string // the id of the version, "null" of the null version; empty: the current one
	Part     int    // this part of a multipart object; 0 is all of it
	Checksum bool   // compute a checksum where none is kept, and keep it
}

// Sealed is what the reader of a body knows once its last byte was read and verified.
type Sealed struct {
	ETag      string // MD5 in hex
	MD5       [16]byte
	Checksums Checksums
}

// Body is the data of a PutObject or PutPart. Read gives the verified plaintext; an error other than
// io.EOF aborts the operation and nothing is published. Seal is called once after io.EOF.
type Body interface {
	Read(p []byte) (int, error)
	// Size is the announced length in bytes, or -1.
	Size() int64
	Seal() (Sealed, error)
}

// PutOptions are the properties of a new object.
type PutOptions struct {
	Headers    map[string]string
	Meta       map[string]string
	ACL        []byte // encoded by tenancy; nil: only the bucket's rules
	Tags       []Tag
	Conditions Conditions
	Lock       *ObjectLock // nil: the bucket's default
}

// AppendOptions are those of AppendObject.
type AppendOptions struct {
	PutOptions       // Headers, Meta and Tags of an object that is made by it
	Offset     int64 // where the bytes go: the object's size
}

// DeleteOptions are those of DeleteObject.
type DeleteOptions struct {
	Conditions
	Version string // remove this version for good; empty: make the key have no current version
	Bypass  bool   // pass governance retention, if that is permitted
}

// Deletion names a key of DeleteObjects.
type Deletion struct {
	Key string
	DeleteOptions
}

// Deleted is what a deletion did.
type Deleted struct {
	Found   bool   // there was something to delete
	Marker  bool   // a delete marker was put, or (with a version) removed
	Version string // id of the marker, or of the version that was to go; empty if its bucket never had versions
	Err     error  // of DeleteObjects: why this one failed
}

// CopyOptions are those of CopyObject.
type CopyOptions struct {
	Source      Conditions // x-amz-copy-source-if-*
	Version     string     // of the source; empty: the current one
	Target      Conditions
	Replace     bool // the REPLACE metadata directive: Headers and Meta below, else the source's
	Headers     map[string]string
	Meta        map[string]string
	ACL         []byte            // of the copy; the source's is never taken over
	Override    map[string]string // headers that replace the source's in any case: storage class, encryption, redirect
	ReplaceTags bool              // the REPLACE tagging directive: Tags below, else the source's
	Tags        []Tag
	Checksum    string      // the algorithm of the copy's checksum; empty: the source's
	Lock        *ObjectLock // nil: the bucket's default
	SelfCopyOK  bool        // copying an object onto itself changes something (metadata)
}

// ListOptions select a page of keys, in S3's order (bytewise UTF-8).
type ListOptions struct {
	Prefix, Delimiter string
	After             string // keys, and prefixes, strictly greater than this
	Max               int    // entries (keys and prefixes together) of a page
	// Found, if set, gets the objects of the page as soon as there are ListPart of them, and they are not
	// in the page then. It must not wait: the state that is listed is held meanwhile.
	Found func([]ObjectInfo)
}

// ListPage is one page of a listing.
type ListPage struct {
	Objects   []ObjectInfo
	Prefixes  []string
	Truncated bool
	Next      string // After of the next page, when Truncated
}

// Upload is a multipart upload in progress.
type Upload struct {
	ID        string
	Key       string
	Initiated time.Time
	Headers   map[string]string
	Meta      map[string]string
	ACL       []byte           // of the object to be
	Initiator tenancy.TenantID // who began it; 0 if nobody was authenticated
	Tags      []Tag
	Lock      *ObjectLock // of the object to be
	Checksum  string      // algorithm asked for at creation; may be empty
	Type      string      // checksum type asked for: FULL_OBJECT, COMPOSITE or empty
}

// Part is an uploaded part.
type Part struct {
	Number       int
	Size         int64
	ETag         string
	LastModified time.Time
	Checksums    Checksums
}

// CompletePart names a part in CompleteMultipartUpload.
type CompletePart struct {
	Number    int
	ETag      string
	Checksums Checksums // given by the client; empty fields are not compared
}

// UploadsPage is one page of ListMultipartUploads.
type UploadsPage struct {
	Uploads               []Upload
	Prefixes              []string
	Truncated             bool
	NextKey, NextUploadID string
}

// Change is one thing that other doors must forget.
type Change struct {
	Parent Ino    // with Name: the entry that changed; 0 if none did
	Name   string // POSIX name, the alias where there is one
	Ino    Ino    // with Attr or Data: the inode that changed
	Attr   bool
	Data   bool
}

// Observer is told of changes made through other doors, so that its caches (a kernel's) stay true.
// Changing is called inside the transaction, before it commits, possibly more than once, and must only
// take note (it must not block): what is looked up from then on must not be cached for long. Changed is
// called after the commit and before the door that made the change gets its answer; by is the observer
// of that door (View.Through), nil if it has none.
type Observer interface {
	Changing([]Change)
	Changed(by Observer, changes []Change)
}
