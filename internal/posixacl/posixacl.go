// Package posixacl is the algebra of POSIX access control lists (POSIX.1e draft 17, acl(5)): their encoding
// in the extended attributes of Linux, which of them are valid, and how they and the permission bits of
// a mode follow each other. The kernel checks access; Permits does so for whom it doesn't.
package posixacl

import (
	"encoding/binary"
	"errors"
	"slices"
)

// Tag says whom an entry speaks of. The values are those of the encoding.
type Tag uint16

// The tags, in the order in which a list has them.
const (
	UserObj  Tag = 0x01 // the file's owner
	User     Tag = 0x02 // the user ID
	GroupObj Tag = 0x04 // the file's group
	Group    Tag = 0x08 // the group ID
	Mask     Tag = 0x10 // the most that User, GroupObj and Group entries give
	Other    Tag = 0x20
)

// NoID is the ID of an entry whose tag needs none.
const NoID = 0xffffffff

// Entry gives Perm, of the bits 07, to whom Tag and ID name.
type Entry struct {
	Tag  Tag
	Perm uint16
	ID   uint32
}

// ACL is a list whose entries are in order. The empty one is none.
type ACL []Entry

// The encoding (linux/posix_acl_xattr.h): a version, and 8 bytes for each entry, little endian.
const (
	version    = 2
	headerSize = 4
	entrySize  = 8

	// MaxBytes is the longest encoding: Linux's FUSE client reads no longer one.
	MaxBytes = 4096
)

// ErrInvalid: the bytes are no valid list.
var ErrInvalid = errors.New("posixacl: not a valid access control list")

// Parse decodes and checks a list. No entries at all make the empty list, which is none.
func Parse(b []byte) (ACL, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < headerSize || len(b) > MaxBytes || (len(b)-headerSize)%entrySize != 0 || binary.LittleEndian.Uint32(b) != version {
		return nil, ErrInvalid
	}
	var a ACL
	for b = b[headerSize:]; len(b) > 0; b = b[entrySize:] {
		e := Entry{Tag(binary.LittleEndian.Uint16(b)), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])}
		if e.Tag != User && e.Tag != Group {
			e.ID = NoID // whatever is there means nothing
		}
		a = append(a, e)
	}
	if len(a) > 0 && !a.valid() {
		return nil, ErrInvalid
	}
	return a, nil
}

// valid reports whether the entries are one UserObj, any Users, one GroupObj, any Groups, one Mask, which
// may be missing if there are neither Users nor Groups, and one Other, in this order. As in Linux, two
// entries may speak of the same user.
func (a ACL) valid() bool {
	var count [Other + 1]int
	last := Tag(0)
	for _, e := range a {
		if e.Tag == 0 || e.Tag > Other || e.Tag&(e.Tag-1) != 0 || e.Tag < last || e.Perm > 7 {
			return false
		}
		named := e.Tag == User || e.Tag == Group
		if named == (e.ID == NoID) {
			return false
		}
		last = e.Tag
		count[e.Tag]++
	}
	needsMask := count[User]+count[Group] > 0
	return count[UserObj] == 1 && count[GroupObj] == 1 && count[Other] == 1 &&
		count[Mask] <= 1 && (count[Mask] == 1 || !needsMask)
}

// Marshal encodes the list; the empty one has no bytes.
func (a ACL) Marshal() []byte {
	if len(a) == 0 {
		return nil
	}
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, headerSize+entrySize*len(a)), version)
	for _, e := range a {
		b = binary.LittleEndian.AppendUint16(b, uint16(e.Tag))
		b = binary.LittleEndian.AppendUint16(b, e.Perm)
		b = binary.LittleEndian.AppendUint32(b, e.ID)
	}
	return b
}

// Mode is the permission bits, 0777, that a file with this list shows: where there is a mask, it stands for
// the group. minimal: they say all that the list does.
func (a ACL) Mode() (mode uint32, minimal bool) {
	minimal = true
	for _, e := range a {
		p := uint32(e.Perm)
		switch e.Tag {
		case UserObj:
			mode |= p << 6
		case GroupObj:
			mode |= p << 3
		case Other:
			mode |= p
		case Mask:
			mode = mode&^0o070 | p<<3
			minimal = false
		default:
			minimal = false
		}
	}
	return mode, minimal
}

// Permits reports whether a list gives a user of one group what the bits 07 of want say, of a file of owner and group
// (acl(5), "Access check algorithm").
func (a ACL) Permits(uid, gid, owner, group uint32, want uint16) bool {
	mask, other, inGroup := uint16(7), uint16(0), false
	for _, e := range a {
		switch e.Tag {
		case Mask:
			mask = e.Perm
		case Other:
			other = e.Perm
		}
	}
	for _, e := range a { // in the order of the tags
		switch e.Tag {
		case UserObj:
			if uid == owner {
				return e.Perm&want == want
			}
		case User:
			if uid == e.ID {
				return e.Perm&mask&want == want
			}
		case GroupObj, Group:
			if e.Tag == GroupObj && gid == group || e.Tag == Group && gid == e.ID {
				if e.Perm&mask&want == want {
					return true
				}
				inGroup = true
			}
		}
	}
	return !inGroup && other&want == want
}

// Chmod is the list after chmod(2) to the permission bits of mode.
func (a ACL) Chmod(mode uint32) ACL {
	return a.with(func(e *Entry, bits uint16) { e.Perm = bits }, mode)
}

// Inherit is the access list of a new file that is made with mode in a directory with the default list
// a: what a gives, less what mode does not ask for.
func (a ACL) Inherit(mode uint32) ACL {
	return a.with(func(e *Entry, bits uint16) { e.Perm &= bits }, mode)
}

// with is a copy in which set was called for the three entries that show in a mode, with their bits.
func (a ACL) with(set func(e *Entry, bits uint16), mode uint32) ACL {
	c := slices.Clone(a)
	group := slices.IndexFunc(c, func(e Entry) bool { return e.Tag == Mask })
	if group < 0 {
		group = slices.IndexFunc(c, func(e Entry) bool { return e.Tag == GroupObj })
	}
	for i := range c {
		switch e := &c[i]; {
		case e.Tag == UserObj:
			set(e, uint16(mode>>6&7))
		case e.Tag == Other:
			set(e, uint16(mode&7))
		case i == group:
			set(e, uint16(mode>>3&7))
		}
	}
	return c
}
