package namespace

import (
	"bytes"
	"context"

	"k3fs/metastore"
)

// Flags are those of an inode that chattr(1) sets, with the values that Linux gives them (FS_IOC_SETFLAGS).
type Flags uint32

// The flags that an inode can have.
const (
	Immutable  Flags = 0x10 // FS_IMMUTABLE_FL: nothing of it changes, nor do its names
	AppendOnly Flags = 0x20 // FS_APPEND_FL: a file only grows, a directory only gains entries
	NoDump     Flags = 0x40 // FS_NODUMP_FL: for dump(8), without effect here
	NoAtime    Flags = 0x80 // FS_NOATIME_FL

	inherited = NoDump | NoAtime // by what is made in a directory that has them
	allFlags  = Immutable | AppendOnly | inherited
)

// act is what an operation is about to do to an inode.
type act uint8

const (
	actWrite     act = iota // change bytes that it has: write, truncate, punch
	actAppend               // add bytes behind its end
	actSetattr              // change mode, owner, times, extended attributes, access lists, S3 metadata
	actTouch                // stamp it with the present time
	actLink                 // give it one more name
	actUnname               // take a name away, or move it: unlink, rmdir, rename, S3 overwrite and DELETE
	actAddEntry             // give a name in it, a directory
	actDropEntry            // take a name in it
	actLabel                // change tags or the access list that S3 has of it
	actDescribe             // change headers or user metadata that S3 has of it
	actRekey                // move it along with a directory that is renamed
	actErase                // remove a version for good: only locks are asked
)

// permits is the rule of what may be done to an inode with these flags, whoever asks and through which door
// (ext4's: chattr(1), ioctl_iflags(2)).
func permits(f Flags, a act) bool {
	switch {
	case f&Immutable != 0:
		return false
	case f&AppendOnly != 0:
		return a == actAppend || a == actTouch || a == actAddEntry
	}
	return true
}

// permit asks the rule, inside the update that is about to act.
func (n *inodeRec) permit(a act) error {
	if !permits(Flags(n.Flags), a) {
		return of(NotPermitted)
	}
	return nil
}

// act is what a change of attributes does; none if nothing that the rule knows.
func (s SetAttr) act() (a act, some bool) {
	switch {
	case s.Mode != nil, s.UID != nil, s.GID != nil, !s.Touch && (s.Atime != nil || s.Mtime != nil):
		return actSetattr, true
	case s.Atime != nil, s.Mtime != nil, s.KillPriv:
		return actTouch, true
	}
	return 0, false
}

// setFlags changes an inode's flags as ext4 does: what only makes sense for files and directories is dropped
// on others.
func (n *inodeRec) setFlags(f Flags) error {
	if f&^allFlags != 0 {
		return of(Unsupported)
	}
	if t := Type(n.Type); t != File && t != Dir {
		f &= inherited
	}
	n.Flags = uint32(f)
	return nil
}

// permitWrite asks the rule for a write of p at off. The kernel appends by writing whole pages, the beginning
// of the first again as it was: so an append-only file takes writes that change no byte below its floor.
// f.mu must be held, and no flight overlap.
func (f *file) permitWrite(ctx context.Context, p []byte, off int64) error {
	switch {
	case permits(f.flags, actWrite):
		return nil
	case !permits(f.flags, actAppend):
		return of(NotPermitted)
	case off >= f.floor:
		return nil
	}
	old := make([]byte, min(int64(len(p)), f.floor-off))
	for _, r := range f.plan(old, off) {
		if err := f.fs.chunks.ReadAt(ctx, f.d, r.e, r.p, r.off); err != nil {
			return err
		}
	}
	if !bytes.Equal(old, p[:len(old)]) {
		return of(NotPermitted)
	}
	return nil
}

// permitOpen asks all rules for opening a file for what the flags say.
func (fs *FS) permitOpen(r metastore.Reader, ino Ino, n *inodeRec, o OpenFlags) error {
	switch {
	case o.Trunc, o.Write && !o.Append:
		return fs.permit(r, ino, n, actWrite, false)
	case o.Append:
		return fs.permit(r, ino, n, actAppend, false)
	}
	return nil
}
