package tenancy

import (
	"encoding/json"
	"fmt"
	"slices"
)

// ACL is an access control list of a bucket or an object ("Access control list overview" in the S3 user guide).
type ACL struct {
	Owner  string  `json:"o"` // canonical id
	Grants []Grant `json:"g"`
}

// Grant gives one permission to a tenant, or to a group.
type Grant struct {
	ID         string     `json:"i,omitempty"` // canonical id of a tenant; empty for a group
	Group      Group      `json:"g,omitempty"`
	Permission Permission `json:"p"`
}

// Group is one of S3's predefined groups.
type Group string

// The groups.
const (
	AllUsers           Group = "all"
	AuthenticatedUsers Group = "auth"
	LogDelivery        Group = "log" // grants to it mean nothing here
)

// Permission is one of an ACL.
type Permission string

// The permissions.
const (
	FullControl Permission = "FULL_CONTROL"
	Read        Permission = "READ"
	Write       Permission = "WRITE"
	ReadACP     Permission = "READ_ACP"
	WriteACP    Permission = "WRITE_ACP"
)

// maxGrants is how many grants S3 lets an ACL have.
const maxGrants = 100

// permissionFor is the permission in a bucket's and in an object's ACL that an action needs; an action that is
// in neither can't be granted by ACLs.
var (
	bucketPermission = map[Action]Permission{
		ListBucket: Read, ListBucketUploads: Read, ListBucketVersions: Read,
		PutObject: Write, DeleteObject: Write, AbortUpload: Write, ListUploadParts: Write,
		GetBucketACL: ReadACP, PutBucketACL: WriteACP,
	}
	objectPermission = map[Action]Permission{
		GetObject: Read, GetObjectVersion: Read, "s3:GetObjectAttributes": Read,
		GetObjectACL: ReadACP, PutObjectACL: WriteACP, GetObjectVersionACL: ReadACP, PutObjectVersionACL: WriteACP,
	}
)

// Validate says whether the list may be stored.
func (a *ACL) Validate() error {
	if len(a.Grants) > maxGrants {
		return fmt.Errorf("%w: an ACL has at most %d grants", ErrInvalid, maxGrants)
	}
	for _, g := range a.Grants {
		if (g.ID == "") == (g.Group == "") || !slices.Contains([]Permission{FullControl, Read, Write, ReadACP, WriteACP}, g.Permission) {
			return fmt.Errorf("%w: a grant needs one grantee and a permission", ErrInvalid)
		}
	}
	return nil
}

// Public reports whether the list gives anything to everyone, or to everyone with an account.
func (a *ACL) Public() bool {
	return slices.ContainsFunc(a.Grants, func(g Grant) bool { return g.Group == AllUsers || g.Group == AuthenticatedUsers })
}

// allows reports whether p is granted the permission; public is whether grants to groups count. The owner can
// always read and change the list itself.
func (a *ACL) allows(p Principal, want Permission, public bool) bool {
	if (want == ReadACP || want == WriteACP) && p.known() && a.Owner == p.Tenant.Canonical() {
		return true
	}
	return slices.ContainsFunc(a.Grants, func(g Grant) bool {
		switch {
		case g.Permission != want && g.Permission != FullControl:
			return false
		case g.Group == AllUsers:
			return public
		case g.Group == AuthenticatedUsers:
			return public && p.known()
		}
		return p.known() && g.ID == p.Tenant.Canonical()
	})
}

// Encode is the stored form of the list.
func (a *ACL) Encode() []byte {
	raw, err := json.Marshal(a)
	if err != nil { // nothing in it can't be written
		panic(err)
	}
	return raw
}

// DecodeACL reads a stored list; nothing stored is an empty one. ErrCorrupt if it can't be read.
func DecodeACL(raw []byte) (*ACL, error) {
	a := &ACL{}
	if len(raw) == 0 {
		return a, nil
	}
	if err := json.Unmarshal(raw, a); err != nil {
		return nil, fmt.Errorf("%w: access control list", ErrCorrupt)
	}
	return a, nil
}
