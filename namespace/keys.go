package namespace

import (
	"encoding/binary"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// The whole key layout. Every key of this package begins with 'n' and a letter; numbers are big endian
// and of fixed width, so that keys sort as numbers do. Names are the last field but where marked: S3
// keys and POSIX names hold no NUL, which therefore ends a name inside a key.
//
//	key                                          value            what
//	nS                                           superRec         format, high-water mark of numbers
//	nD parent(8) name                            dentryRec        a leaf's entry, with what listings show of it
//	nD parent(8) name '/'                        dentryRec        a directory's entry
//	nI ino(8)                                    inodeRec         an inode (a version)
//	nL ino(8) parent(8) name                     empty            one more link of an inode with several
//	nA parent(8) alias                           stored name      reverse of aliases made by hashing (long names)
//	nX ino(8) name                               value            an extended attribute
//	nC content(8) page(4)                        pageRec/bytes    slices of 64 MiB of a content; page 0 of an inline one: its bytes, sealed
//	nC content(8) page(4) sub(2)                 pageRec          more slices of that page, if one record can't hold them
//	nQ content(8) page(2)                        partsRec         500 of the parts that a multipart object was made of
//	nE segment(8) offset(8)                      extentRec        an extent's references
//	nO content(8)                                orphanRec        a content to drop once unread, or one being built
//	nZ ino(8)                                    empty            an inode without a name that was still open
//	nW ino(8)                                    empty            a file with a persisted draft, or never published: recovery settles it
//	nR segment(8)                                empty            a segment of an earlier run whose unreferenced room was given back
//	nB ino(8)                                    bucketRec        a bucket's settings
//	nU bucket(8) key NUL upload(16)              uploadRec        a multipart upload in progress
//	nP upload(16) number(2)                      partRec          a part of it
//	nF upload(16)                                doneRec          a finished upload, for a client's retry
//	nG upload(16)                                domain(8)        an upload that ended, whose parts are still to be dropped
//	nH tenant(8)                                 holdsRec         of a tenant that has, or had, holds
//	nH tenant(8) id                              holdRec          a hold
//	nJ tenant(8)                                 JSON             the head of a tenant's audit log
//	nJ tenant(8) seq(8)                          JSON             a record of it
//	nY ino(8)                                    lockedToRec      of a directory: until when something below it may be locked
//	nM                                           clockRec         the floor of the trusted clock
//	nV bucket(8) key NUL ^seq(8)                 versionRec       what hangs on a key, newest first: older versions, delete markers
//	nN bucket(8) key                             seq(8)           where the null version, or null delete marker, of a key hangs
//	nu                                           empty            usage is counted (usagecount.go)
//	nu tenant(8) bucket(8) 'b' or 'i' prefix     counter          bytes or inodes charged to a tenant (bucket 0), a bucket, a prefix with a quota
//	np upload(16)                                counter          bytes of the parts of an upload in progress
//	nq tenant(8) bucket(8) prefix                quotaRec         a quota
//	nz tenant(8)                                 JSON             a tenant whose keys were destroyed (shred.go)
//	ny tenant(8)                                 JSON             a request to erase a tenant in spite of locks and holds
//	nK content(8)                                sharedRec        how many inodes have a content that several may have
const (
	kSuper    = "nS"
	kDentry   = "nD"
	kInode    = "nI"
	kLink     = "nL"
	kAlias    = "nA"
	kXattr    = "nX"
	kContent  = "nC"
	kObjPart  = "nQ"
	kExtent   = "nE"
	kOrphan   = "nO"
	kZombie   = "nZ"
	kDraft    = "nW"
	kSwept    = "nR"
	kBucket   = "nB"
	kUpload   = "nU"
	kPart     = "nP"
	kDone     = "nF"
	kEnded    = "nG"
	kVersion  = "nV"
	kHold     = "nH"
	kAudit    = "nJ"
	kLockedTo = "nY"
	kCap      = "nr"
	kClock    = "nM"
	kNull     = "nN"
	kShared   = "nK"
	kErased   = "nz"
	kErasure  = "ny"
	kUsage    = "nu"
	kUploaded = "np"
	kQuota    = "nq"
)

func key(kind string, nums ...uint64) []byte {
	b := make([]byte, 0, len(kind)+8*len(nums)+32)
	b = append(b, kind...)
	for _, n := range nums {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

func dentryKey(parent Ino, stored string) []byte {
	return append(key(kDentry, uint64(parent)), stored...)
}
func inodeKey(ino Ino) []byte { return key(kInode, uint64(ino)) }
func linkKey(ino, parent Ino, stored string) []byte {
	return append(key(kLink, uint64(ino), uint64(parent)), stored...)
}

// decodeLink splits what follows the inode in a link's key.
func decodeLink(rest []byte) (parent uint64, stored string) {
	return binary.BigEndian.Uint64(rest), string(rest[8:])
}
func aliasKey(parent Ino, alias string) []byte { return append(key(kAlias, uint64(parent)), alias...) }
func xattrKey(ino Ino, name string) []byte     { return append(key(kXattr, uint64(ino)), name...) }
func contentKey(id contentID, page uint32) []byte {
	return binary.BigEndian.AppendUint32(key(kContent, uint64(id)), page)
}
func objPartKey(id contentID, page int) []byte {
	return binary.BigEndian.AppendUint16(key(kObjPart, uint64(id)), uint16(page))
}
func extentKey(segment, offset uint64) []byte { return key(kExtent, segment, offset) }
func orphanKey(id contentID) []byte           { return key(kOrphan, uint64(id)) }
func zombieKey(ino Ino) []byte                { return key(kZombie, uint64(ino)) }
func draftKey(ino Ino) []byte                 { return key(kDraft, uint64(ino)) }
func sweptKey(segment uint64) []byte          { return key(kSwept, segment) }
func bucketKey(ino Ino) []byte                { return key(kBucket, uint64(ino)) }
func uploadKey(bucket Ino, objectKey string, id uploadID) []byte {
	b := append(key(kUpload, uint64(bucket)), objectKey...)
	return append(append(b, 0), id[:]...)
}
func partKey(id uploadID, number int) []byte {
	return binary.BigEndian.AppendUint16(append([]byte(kPart), id[:]...), uint16(number))
}
func holdKey(t tenancy.TenantID, id string) []byte { return append(key(kHold, uint64(t)), id...) }
func doneKey(id uploadID) []byte                   { return append([]byte(kDone), id[:]...) }
func endedKey(id uploadID) []byte                  { return append([]byte(kEnded), id[:]...) }

func uploadedKey(id uploadID) []byte { return append([]byte(kUploaded), id[:]...) }

func sharedKey(id contentID) []byte { return key(kShared, uint64(id)) }
func nullKey(bucket Ino, objectKey string) []byte {
	return append(key(kNull, uint64(bucket)), objectKey...)
}

// historyKey is what the keys of all that hangs on a key begin with.
func historyKey(bucket Ino, objectKey string) []byte {
	return append(append(key(kVersion, uint64(bucket)), objectKey...), 0)
}
func versionKey(bucket Ino, objectKey string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(historyKey(bucket, objectKey), ^seq)
}

// parseVersionKey splits what follows the bucket in such a key.
func parseVersionKey(rest []byte) (objectKey string, seq uint64, ok bool) {
	n := len(rest) - 9
	if n < 0 || rest[n] != 0 {
		return "", 0, false
	}
	return string(rest[:n]), ^binary.BigEndian.Uint64(rest[n+1:]), true
}

// prefixRange covers every key that begins with prefix.
func prefixRange(prefix []byte, page int) metastore.Range {
	return metastore.Range{From: prefix, To: prefixEnd(prefix), Page: page}
}

// prefixEnd is the first key after all those that begin with prefix; nil if there is none.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] != 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}
