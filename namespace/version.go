package namespace

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// Versions (docs/decisions/0021). A key's current version is the inode that its entry names. What was there
// before hangs on the key: an inode without a name for a version, no more than a record for a delete marker.
//
// A version ceases to be in four functions only: discard and eraseInode (node.go), which drop what it holds,
// dropCurrent, which takes its key from a version that has another one, and dropMarker.

// Settings of a bucket that say how it keeps versions.
const (
	SettingVersioning = "versioning"      // VersioningEnabled, VersioningSuspended; none: never enabled
	SettingExclude    = "version-exclude" // patterns of temporary names, see exclude.go
)

// The values of SettingVersioning, as S3 names them.
const (
	VersioningEnabled   = "Enabled"
	VersioningSuspended = "Suspended"
)

// nullVersion is the id of the version that was made while versioning was not enabled.
const nullVersion = "null"

// versioning is whether a bucket keeps versions.
type versioning uint8

const (
	unversioned versioning = iota
	enabled
	suspended // what is written is the null version; what has an id stays
)

func versioningOf(s tenancy.Settings) versioning {
	switch string(s[SettingVersioning]) {
	case VersioningEnabled:
		return enabled
	case VersioningSuspended:
		return suspended
	}
	return unversioned
}

// slot is a key of a bucket, on which versions may hang.
type slot struct {
	bucket Ino
	key    string
	state  versioning
	temp   bool // the mount uses the name for a while: it makes no version
	held   bool // of such a name: a hold covers it

	settings tenancy.Settings // of the bucket
	asked    *lockRec         // the lock that a client asks for, in place of the default; nil: for none
}

func (b *bucketDir) slot(objectKey string) slot {
	return slot{bucket: b.ino, key: objectKey, state: versioningOf(b.settings), settings: b.settings}
}

// slotOf is the slot of an entry that the mount changes. Keys that S3 can't say have no versions.
func (t *txn) slotOf(dir *inodeRec, stored string) (slot, error) {
	one, _, err := t.slotsOfTwo(dir, stored, "")
	return one, err
}

// slotsOfTwo are the slots of two entries of a directory, or of one, if the other's name is empty.
func (t *txn) slotsOfTwo(dir *inodeRec, stored, other string) (one, two slot, err error) {
	s, err := t.fs.settingsOf(t, Ino(dir.Bucket))
	if err != nil || versioningOf(s) == unversioned {
		return slot{}, slot{}, err
	}
	_, base, err := keyOf(t, dir)
	if err == nil {
		one, err = t.slotAt(dir, s, base+stored)
	}
	if err == nil && other != "" {
		two, err = t.slotAt(dir, s, base+other)
	}
	return one, two, err
}

func (t *txn) slotAt(dir *inodeRec, s tenancy.Settings, objectKey string) (at slot, err error) {
	if len(objectKey) > maxKey {
		return slot{}, nil
	}
	at = slot{bucket: Ino(dir.Bucket), key: objectKey, state: versioningOf(s), temp: excludedBy(s).match(objectKey), settings: s}
	if at.temp {
		at.held, err = t.heldKey(dir, objectKey)
	}
	return at, err
}

// keeps reports whether the version that n is stays when it leaves the key.
func (s *slot) keeps(n *inodeRec) bool {
	if n.Published == nil || s.state == unversioned || s.spare(n) {
		return false
	}
	return n.Version != "" || s.state == enabled && !s.temp
}

// spare reports whether the key is a temporary name of a file that has another: git gives a file its name by a link.
// What is locked or held is never spare: the other name may be beyond the hold.
func (s *slot) spare(n *inodeRec) bool {
	return s.temp && !s.held && n.Lock == nil && n.Nlink > 1 && Type(n.Type) == File
}

// marks reports whether the mount puts a delete marker where n leaves the key.
func (s *slot) marks(n *inodeRec) bool {
	return n.Published != nil && s.state != unversioned && (n.Version != "" || !s.temp) && !s.spare(n)
}

// versionID is how S3 names the version.
func (n *inodeRec) versionID() string { return shownID(n.Version) }

func shownID(id string) string {
	if id == "" {
		return nullVersion
	}
	return id
}

// hung reports whether the inode is an older version.
func (n *inodeRec) hung() bool { return n.Key != "" }

// versionIDs writes version ids: the sequence number, by which they are found, and 12 random bytes.
var versionIDs = base32.HexEncoding.WithPadding(base32.NoPadding)

func newVersionID(seq uint64) string {
	var b [20]byte
	binary.BigEndian.PutUint64(b[:], seq)
	rand.Read(b[8:]) // never fails
	return versionIDs.EncodeToString(b[:])
}

func parseVersionID(id string) (seq uint64, ok bool) {
	b, err := versionIDs.DecodeString(id)
	if err != nil || len(b) != 20 {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), true
}

// newVersion makes what n publishes a new version of the key, whose null version it then takes the place of while
// versioning is suspended. A lock is the old version's.
func (t *txn) newVersion(s slot, n *inodeRec) error {
	n.Seq, n.Version, n.Lock = 0, "", nil
	if s.state == unversioned {
		return nil
	}
	if s.temp {
		return t.nameNull(s)
	}
	n.Seq = t.fs.number()
	if s.state == suspended {
		return t.dropNull(s)
	}
	n.Version = newVersionID(n.Seq)
	return t.lockNew(s, n)
}

// lockNew gives a new version the lock that is asked for, or the bucket's default retention.
func (t *txn) lockNew(s slot, n *inodeRec) error {
	c, err := LockConfigOf(s.settings)
	if err != nil || c == nil {
		return err
	}
	if n.Lock = s.asked; n.Lock == nil {
		n.Lock = c.lock(t.fs.trusted())
	}
	return nil
}

// hang makes an inode that has no name any more, and whose entry is gone or another's, an older version of a
// key. Who has it open keeps it; what was written and not published is lost, as for a file that was removed.
func (t *txn) hang(s slot, ino Ino, n *inodeRec) error {
	if n.Draft != nil {
		if err := errors.Join(t.fs.dropContent(t, n.domain(), n.Draft), t.Delete(draftKey(ino))); err != nil {
			return err
		}
		n.Draft = nil
	}
	n.Nlink, n.Parent, n.Name, n.Key, n.Size = 0, 0, "", s.key, n.Published.Size
	if err := t.place(s, n); err != nil {
		return err
	}
	t.attrChanged(ino, false)
	if err := t.shortenHung(ino, n); err != nil {
		return err
	}
	return t.putInode(ino, n)
}

// shortenHung is shorten for a version that hangs on its key.
func (t *txn) shortenHung(ino Ino, n *inodeRec) error {
	short, err := shortOf(n)
	if err != nil {
		return err
	}
	rec := versionRec{Ino: uint64(ino), ID: n.Version, Listed: short}
	return putRec(t, versionKey(Ino(n.Bucket), n.Key, n.Seq), &rec)
}

// place finds where a version is to hang. A key has one null version: a second, which the exclude patterns or a
// directory's rename can bring, gets an id. One whose number is taken, by the same version that came to the key on
// two ways, gets another; the one that keeps the id is locked as both were.
func (t *txn) place(s slot, n *inodeRec) error {
	null := false
	if n.Version == "" {
		var err error
		if null, err = t.hasKey(nullKey(s.bucket, s.key)); err != nil {
			return err
		}
	}
	taken, err := t.hasKey(versionKey(s.bucket, s.key, n.Seq))
	if err != nil {
		return err
	}
	renumber := taken || n.Version == "" && null
	if taken && n.Lock != nil {
		if ino, same, err := t.double(s, n); err != nil {
			return err
		} else if same != nil {
			same.Lock = same.Lock.with(n.Lock, t.fs.trusted())
			if err := t.putInode(ino, same); err != nil {
				return err
			}
		}
	}
	if renumber {
		n.Seq = t.fs.number()
	}
	switch {
	case n.Version == "" && !null:
		return t.Set(nullKey(s.bucket, s.key), binary.BigEndian.AppendUint64(nil, n.Seq))
	case renumber:
		n.Version = newVersionID(n.Seq)
	}
	return nil
}

func (t *txn) hasKey(k []byte) (bool, error) { return hasKey(t, k) }

func hasKey(r metastore.Reader, k []byte) (bool, error) {
	_, err := r.Get(k)
	if errors.Is(err, metastore.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// hangCopy hangs the version that n is on a key, with the content c, in an inode of its own: n goes on.
func (t *txn) hangCopy(s slot, n *inodeRec, c *contentRec) error {
	mode := n.Mode & 0o777
	if Type(n.Type) == Dir {
		mode &= 0o666
	}
	old := inodeRec{
		Type: uint8(File), Mode: mode, UID: n.UID, GID: n.GID, ACL: n.ACL,
		Atime: n.Atime, Mtime: c.Time, Ctime: t.now, Btime: n.Btime,
		Bucket: n.Bucket, Owner: n.Owner, Published: c, Object: n.Object, Lock: n.Lock, Seq: n.Seq, Version: n.Version,
	}
	t.made++
	return t.hang(s, Ino(t.fs.number()), &old)
}

// mark puts a delete marker on a key, above what hangs there with a lower number.
func (t *txn) mark(s slot, seq uint64) (id string, err error) {
	rec := versionRec{Time: t.now}
	if s.state == suspended {
		if err := t.dropNull(s); err != nil {
			return "", err
		}
		if err := t.Set(nullKey(s.bucket, s.key), binary.BigEndian.AppendUint64(nil, seq)); err != nil {
			return "", err
		}
	} else {
		rec.ID = newVersionID(seq)
	}
	if err := t.chargeMarkers(s.bucket, s.key, 1); err != nil {
		return "", err
	}
	return shownID(rec.ID), putRec(t, versionKey(s.bucket, s.key, seq), &rec)
}

// unhang takes what hangs on a key with a number away from it.
func (t *txn) unhang(bucket Ino, objectKey string, seq uint64, id string) error {
	if id == "" {
		if err := t.Delete(nullKey(bucket, objectKey)); err != nil {
			return err
		}
	}
	return t.Delete(versionKey(bucket, objectKey, seq))
}

// dropNull removes the null version, or null delete marker, that hangs on a key, for good.
func (t *txn) dropNull(s slot) error {
	seq, found, err := nullSeq(t, s)
	if err != nil || !found {
		return err
	}
	return t.dropHung(s, seq)
}

// nameNull gives an id to the null version that hangs on a key, to which another null version comes that is not to
// take its place.
func (t *txn) nameNull(s slot) error {
	seq, found, err := nullSeq(t, s)
	if err != nil || !found {
		return err
	}
	if err := t.Delete(nullKey(s.bucket, s.key)); err != nil {
		return err
	}
	return t.nameAnew(s, seq)
}

// nameAnew gives another id to what hangs on a key with a number.
func (t *txn) nameAnew(s slot, seq uint64) error {
	var rec versionRec
	k := versionKey(s.bucket, s.key, seq)
	found, err := getRec(t, k, &rec)
	if err == nil && !found {
		err = fmt.Errorf("%w: a version that is noted is missing", metastore.ErrCorrupt)
	}
	if err != nil {
		return err
	}
	rec.ID = newVersionID(seq)
	if rec.Ino != 0 {
		n, err := getInode(t, Ino(rec.Ino))
		if err != nil {
			return err
		}
		n.Version = rec.ID
		if err := t.putInode(Ino(rec.Ino), n); err != nil {
			return err
		}
	}
	return putRec(t, k, &rec)
}

func nullSeq(r metastore.Reader, s slot) (seq uint64, found bool, err error) {
	b, err := r.Get(nullKey(s.bucket, s.key))
	if errors.Is(err, metastore.ErrNotFound) {
		return 0, false, nil
	}
	if err == nil && len(b) != 8 {
		err = fmt.Errorf("%w: place of a null version", metastore.ErrCorrupt)
	}
	if err != nil {
		return 0, false, err
	}
	return binary.BigEndian.Uint64(b), true, nil
}

// dropHung removes what hangs on a key with a number, for good.
func (t *txn) dropHung(s slot, seq uint64) error {
	var rec versionRec
	found, err := getRec(t, versionKey(s.bucket, s.key, seq), &rec)
	if err == nil && !found {
		err = fmt.Errorf("%w: a version that is noted is missing", metastore.ErrCorrupt)
	}
	if err != nil {
		return err
	}
	if rec.Ino == 0 {
		return t.dropMarker(s, seq, &rec)
	}
	n, err := getInode(t, Ino(rec.Ino))
	if err != nil {
		return err
	}
	return t.discard(Ino(rec.Ino), n)
}

// dropMarker removes a delete marker.
func (t *txn) dropMarker(s slot, seq uint64, rec *versionRec) error {
	return errors.Join(t.chargeMarkers(s.bucket, s.key, -1), t.unhang(s.bucket, s.key, seq, rec.ID))
}
