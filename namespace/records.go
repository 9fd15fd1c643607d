package namespace

import (
	"k3fs/chunkstore"
	"k3fs/tenancy"
)

//go:generate go tool -modfile=../tools/go.mod msgp -file records.go -o records_gen.go -tests=false -unexported -io=false

type (
	contentID uint64
	uploadID  [16]byte
)

// superRec is the store's own state.
//
//msgp:tuple dentryRec listedRec slice extentRec tagRec
type superRec struct {
	Format uint32 `msg:"f"`
	Next   uint64 `msg:"n"`           // numbers (inodes, contents) below this may be in use
	Inodes int64  `msg:"i,omitempty"` // how many there are, while no run is under way; 0 if that is not known
}

// dentryRec is an entry of a directory; its name is in the key. Listed, unless it is empty, is what a
// listing shows of the file's published content (a listedRec), so that a listing is one scan: it is kept
// for files with one name, whose record says where that is.
type dentryRec struct {
	Ino    uint64
	Type   uint8
	Listed []byte
}

// listedRec is what a listing shows of a published content.
type listedRec struct {
	Size, Time              int64
	ETag                    string
	Parts                   uint32
	Algorithm, Sum, SumType string
}

// inodeRec is an inode: POSIX's attributes, and the published content that S3 reads. A regular file
// whose Published is nil has never been published: S3 does not see it.
type inodeRec struct {
	Type   uint8  `msg:"t"`
	Mode   uint32 `msg:"m,omitempty"`
	UID    uint32 `msg:"u,omitempty"`
	GID    uint32 `msg:"g,omitempty"`
	Nlink  uint32 `msg:"l,omitempty"` // of a directory: 2 + its subdirectories
	Rdev   uint32 `msg:"r,omitempty"`
	Size   int64  `msg:"s,omitempty"` // as POSIX sees it: the persisted draft's, else the published one's
	Atime  int64  `msg:"a,omitempty"` // unix nanoseconds
	Mtime  int64  `msg:"mt,omitempty"`
	Ctime  int64  `msg:"ct,omitempty"`
	Btime  int64  `msg:"bt,omitempty"`
	Since  int64  `msg:"w,omitempty"`  // of a symlink: when it was made, by the trusted clock, if that is not near Btime
	Bucket uint64 `msg:"b,omitempty"`  // inode of the bucket's directory; itself for a bucket, 0 for the root
	Owner  uint64 `msg:"o,omitempty"`  // tenant
	Parent uint64 `msg:"p,omitempty"`  // one place where it has a name; further ones are nL records
	Name   string `msg:"n,omitempty"`  // stored name there (a directory's ends in '/')
	Target string `msg:"tg,omitempty"` // of a symlink
	Expl   bool   `msg:"e,omitempty"`  // of a directory: made by mkdir or PUT "a/"; stays when empty
	Xattrs bool   `msg:"x,omitempty"`  // it may have nX records
	Flags  uint32 `msg:"f,omitempty"`  // of chattr(1), see permit.go
	ACL    []byte `msg:"al,omitempty"` // access list, if it says more than Mode; then Mode's group bits are its mask
	DefACL []byte `msg:"ad,omitempty"` // of a directory: the default list, which new nodes in it inherit

	Published *contentRec `msg:"pc,omitempty"` // what S3 reads
	Draft     *contentRec `msg:"dc,omitempty"` // an fsynced draft, published by recovery after a crash
	Object    *objectRec  `msg:"ob,omitempty"` // what S3 knows beside the bytes
	Lock      *lockRec    `msg:"lk,omitempty"` // retention's place; its rules come with Object Lock

	Seq     uint64 `msg:"sq,omitempty"` // orders the versions of a key; 0 is older than all others (version.go)
	Version string `msg:"vi,omitempty"` // its version id; "" is the null version
	Key     string `msg:"vk,omitempty"` // of a version that hangs on a key, and so has no name: that key

	charged charge `msg:"-"` // what the stored record is charged with (usage.go)
}

// contentRec describes a content. Exactly one form holds its bytes: none (Size 0 or all hole), inline
// (page 0 is the sealed bytes), Slices here, or pages of slices.
type contentRec struct {
	ID     uint64  `msg:"i"`
	Size   int64   `msg:"s,omitempty"`
	Used   int64   `msg:"u,omitempty"` // bytes that are no hole
	Inline bool    `msg:"n,omitempty"`
	Slices []slice `msg:"l,omitempty"`
	Pages  uint32  `msg:"p,omitempty"` // number of page slots (file size / pageSpan, rounded up)
	ETag   string  `msg:"e,omitempty"`
	Time   int64   `msg:"t,omitempty"` // Last-Modified, unix nanoseconds
	Parts  uint32  `msg:"c,omitempty"` // parts of the multipart upload that made it
	Sum    *sumRec `msg:"k,omitempty"`
	Since  int64   `msg:"w,omitempty"` // when it was made, by the trusted clock, if that is not near Time
	Shared bool    `msg:"h,omitempty"` // several inodes may have it: a sharedRec counts them (share.go)
}

// sharedRec counts the inodes that have a content.
type sharedRec struct {
	Refs uint32 `msg:"r"`
}

// versionRec is what hangs on a key: an older version, or a delete marker (Ino 0), which has no more than
// this record.
type versionRec struct {
	Ino    uint64 `msg:"i,omitempty"`
	ID     string `msg:"v,omitempty"` // "" is the null version
	Time   int64  `msg:"t,omitempty"` // of a delete marker: Last-Modified, unix nanoseconds
	Listed []byte `msg:"l,omitempty"` // what listings show of the version (a listedRec); none: its inode tells
}

// slice maps Len bytes of a file at Off to an extent's bytes at Skip. Gaps between slices are holes.
type slice struct {
	Off, Len        int64
	Segment, Offset uint64
	Extent          uint32 // the extent's length
	Skip            uint32
}

func (s slice) extent() chunkstore.Extent {
	return chunkstore.Extent{Segment: s.Segment, Offset: s.Offset, Length: s.Extent}
}

// pageRec is the slices of one page of a content.
type pageRec struct {
	Slices []slice `msg:"l"`
}

type sumRec struct {
	Algorithm string `msg:"a"`
	Value     string `msg:"v"`
	Type      string `msg:"t,omitempty"`
}

// objectRec is an object's metadata.
type objectRec struct {
	Headers map[string]string `msg:"h,omitempty"`
	Meta    map[string]string `msg:"m,omitempty"`
	ACL     []byte            `msg:"a,omitempty"` // encoded by tenancy
	Tags    []tagRec          `msg:"t,omitempty"`
}

type tagRec struct{ Key, Value string }

// partsRec is some of the parts that a multipart object was made of, in order: where a GET of a part begins.
type partsRec struct {
	Algorithm string   `msg:"a,omitempty"`
	Numbers   []uint16 `msg:"n"` // as they were uploaded
	Sizes     []int64  `msg:"s"`
	Sums      []string `msg:"c,omitempty"` // of Algorithm, one for each
}

// lockRec is a version's lock; its rules are in lock.go.
type lockRec struct {
	LegalHold bool  `msg:"l,omitempty"`
	Mode      uint8 `msg:"m,omitempty"` // a LockMode
	Until     int64 `msg:"u,omitempty"` // of the trusted clock, unix nanoseconds
	Strict    bool  `msg:"s,omitempty"` // committed through the mount: its name, too, stays as it is
}

// lockedToRec is until when something below a directory may be locked (lockedto.go).
type lockedToRec struct {
	Until   int64  `msg:"u"`
	Witness uint64 `msg:"w,omitempty"` // the inode whose lock raised it: the first to look at
}

// holdRec is a hold; its id is in the key.
type holdRec struct {
	Bucket  uint64 `msg:"b,omitempty"` // 0: all of the tenant's
	Prefix  string `msg:"p,omitempty"` // of keys; empty: all of the bucket's
	Reason  string `msg:"r"`
	By      string `msg:"y"` // account
	Created int64  `msg:"c"` // of the trusted clock, as all times of locks
	Until   int64  `msg:"u,omitempty"`
	Period  int64  `msg:"d,omitempty"` // nanoseconds from the publication of each version, in place of Until
	Tag     string `msg:"t,omitempty"` // the regime that it stands for; then it stays while there are data
}

// capRec bounds for how long a tenant may lock data.
type capRec struct {
	Most int64 `msg:"m"` // nanoseconds
}

// holdsRec is remade whenever the holds of a tenant change: who has read it knows them.
type holdsRec struct {
	Nonce uint64 `msg:"n"`
}

// quotaRec is a quota; its scope is in the key. 0 is no limit.
type quotaRec struct {
	Bytes       int64 `msg:"b,omitempty"`
	SoftBytes   int64 `msg:"sb,omitempty"`
	Inodes      int64 `msg:"i,omitempty"`
	SoftInodes  int64 `msg:"si,omitempty"`
	Grace       int64 `msg:"g,omitempty"`  // nanoseconds that a soft limit may be exceeded; 0 is DefaultGrace
	BytesSince  int64 `msg:"bs,omitempty"` // since when it is, by the trusted clock
	InodesSince int64 `msg:"is,omitempty"`
	Counting    bool  `msg:"c,omitempty"` // what was there before is not charged yet
}

// clockRec is the floor of the trusted clock, and what it stands on (internal/trusted).
type clockRec struct {
	State []byte `msg:"s"`
}

// extentRec counts the contents that refer to an extent.
type extentRec struct {
	Refs   uint32
	Length uint32
	Domain uint64
}

// orphanRec is a content that no inode refers to: dropped, or still being built (Building) by a run of
// the daemon that, if it is an earlier one, will never finish it.
type orphanRec struct {
	Content  contentRec `msg:"c"`
	Domain   uint64     `msg:"d"`
	Building bool       `msg:"b,omitempty"`
}

type bucketRec struct {
	Name    string `msg:"n"`
	Region  string `msg:"r,omitempty"`
	Created int64  `msg:"c"`
	Owner   uint64 `msg:"o"`

	Settings map[string][]byte `msg:"s,omitempty"` // what its owner set on it, by name

	FileMode uint32 `msg:"f,omitempty"` // of what S3 makes; 0 is the default
	DirMode  uint32 `msg:"d,omitempty"`
}

type uploadRec struct {
	Key       string            `msg:"k"`
	Initiated int64             `msg:"i"`
	Headers   map[string]string `msg:"h,omitempty"`
	Meta      map[string]string `msg:"m,omitempty"`
	ACL       []byte            `msg:"a,omitempty"`
	Tags      []tagRec          `msg:"g,omitempty"`
	Checksum  string            `msg:"c,omitempty"`
	SumType   string            `msg:"t,omitempty"`
	Lock      *lockRec          `msg:"lk,omitempty"` // of the object to be
	Initiator uint64            `msg:"o,omitempty"`  // the tenant that began it; 0 nobody, or before this was kept
}

type partRec struct {
	Content contentRec `msg:"c"`
	MD5     []byte     `msg:"m"`
}

// doneRec remembers a completed upload, so that a client's retry of Complete gets the same answer.
type doneRec struct {
	Bucket uint64 `msg:"b"`
	Key    string `msg:"k"`
	Ino    uint64 `msg:"i"`
	ETag   string `msg:"e"`
	Time   int64  `msg:"t"`
}

func domain(t tenancy.TenantID) chunkstore.Domain { return chunkstore.Domain(t) }
