// Package tenancy is the one place where identity, permission and keys are decided.
//
// It owns tenants, accounts, access keys, the key hierarchy and (in time) policy and quota. It knows
// nothing of trees, HTTP or FUSE. Both doors obey it, and namespace asks it inside the transaction
// that makes a change: a door never decides on its own.
//
// # Keys
//
//	master key (file, 0600)
//	  ├─ metadata key        HKDF "k3fs/metadata"  seals every metastore value and Badger's own files
//	  └─ tenant key, epoch e random, wrapped by the master key, one per tenant and epoch
//	       └─ data key       HKDF "k3fs/data"      from which chunkstore derives a key per frame
//
// S3 secrets are sealed at rest under the master key and never logged.
package tenancy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

var (
	// ErrNoSuchKey: the access key is unknown or disabled; a door answers it like a wrong signature.
	ErrNoSuchKey = errors.New("tenancy: no such access key")
	// ErrSuspended: the account's tenant is suspended.
	ErrSuspended = errors.New("tenancy: tenant is suspended")
	// ErrBadToken: the session token is not one of ours, or not this access key's.
	ErrBadToken = errors.New("tenancy: bad session token")
	// ErrExpired: the session is over.
	ErrExpired = errors.New("tenancy: session has expired")
	// ErrDenied: the principal lacks the permission.
	ErrDenied = errors.New("tenancy: permission denied")
	// ErrCorrupt: a stored record or key failed its authentication.
	ErrCorrupt = errors.New("tenancy: stored record is corrupt")
)

// TenantID numbers a tenant; it is also the chunkstore.Domain of its data. 0 is no tenant.
type TenantID uint64

// Canonical is the canonical user id by which S3's documents name the tenant: 64 hexadecimal digits, as AWS's.
func (id TenantID) Canonical() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "k3fs canonical user %d", id))
	return hex.EncodeToString(sum[:])
}

// AccountID is the account id by which ARNs name the tenant: 12 digits, as AWS's.
func (id TenantID) AccountID() string { return fmt.Sprintf("%012d", id) }

// accountARN is how ARNs name an account of the tenant.
func (id TenantID) accountARN(name string) string {
	if name == RootAccount {
		return "arn:aws:iam::" + id.AccountID() + ":root"
	}
	return "arn:aws:iam::" + id.AccountID() + ":user/" + name
}

// Principal is who acts: an authenticated account, or nobody. The zero Principal may do nothing.
type Principal struct {
	Tenant    TenantID
	Account   string // the account's id, for records and audit
	AccessKey string // what it authenticated with; empty for a mount
	Root      bool   // the tenant's root account

	session *session // what narrows it, if it acts for a time only

	serial uint64 // of the account, so that a later one of the same name is another; 0: whichever has the name

	// Request is what a door knows of the request, for the conditions of policies; nil for a mount.
	Request *Request
}

// Request answers the condition keys of policies: Values returns what is known under a key such as
// "aws:sourceip", in lower case, or nil.
type Request struct {
	Values func(key string) []string
}

// ARN names the principal as AWS does: a session with temporary credentials by its name, too.
func (p Principal) ARN() string {
	if p.session != nil && !p.Root {
		return "arn:aws:sts::" + p.Tenant.AccountID() + ":assumed-role/" + p.Account + "/" + p.session.name
	}
	return p.Tenant.accountARN(p.Account)
}

// UserID is the id that policies know as aws:userid.
func (p Principal) UserID() string { return p.Tenant.AccountID() + ":" + p.Account }

// known reports whether somebody is authenticated.
func (p Principal) known() bool { return p.Tenant != 0 && p.Account != "" }

// Action is a permission, named as IAM names it ("s3:PutObject").
type Action string

// The actions that namespace asks about. POSIX operations map to the S3 action that has their effect.
const (
	ListAllBuckets     Action = "s3:ListAllMyBuckets"
	CreateBucket       Action = "s3:CreateBucket"
	DeleteBucket       Action = "s3:DeleteBucket"
	ListBucket         Action = "s3:ListBucket"
	GetBucketLocation  Action = "s3:GetBucketLocation"
	ListBucketUploads  Action = "s3:ListBucketMultipartUploads"
	GetObject          Action = "s3:GetObject"
	PutObject          Action = "s3:PutObject"
	DeleteObject       Action = "s3:DeleteObject"
	AbortUpload        Action = "s3:AbortMultipartUpload"
	ListUploadParts    Action = "s3:ListMultipartUploadParts"
	MountAdministrator Action = "k3fs:Mount"

	GetObjectAttributes Action = "s3:GetObjectAttributes"
	GetObjectTagging    Action = "s3:GetObjectTagging"
	PutObjectTagging    Action = "s3:PutObjectTagging"
	DeleteObjectTagging Action = "s3:DeleteObjectTagging"
)

// The actions on what is set on a bucket, and on an object's ACL.
const (
	GetBucketPolicy        Action = "s3:GetBucketPolicy"
	PutBucketPolicy        Action = "s3:PutBucketPolicy"
	DeleteBucketPolicy     Action = "s3:DeleteBucketPolicy"
	GetBucketPolicyStatus  Action = "s3:GetBucketPolicyStatus"
	GetBucketACL           Action = "s3:GetBucketAcl"
	PutBucketACL           Action = "s3:PutBucketAcl"
	GetObjectACL           Action = "s3:GetObjectAcl"
	PutObjectACL           Action = "s3:PutObjectAcl"
	GetBucketOwnership     Action = "s3:GetBucketOwnershipControls"
	PutBucketOwnership     Action = "s3:PutBucketOwnershipControls"
	GetBucketPublicAccess  Action = "s3:GetBucketPublicAccessBlock"
	PutBucketPublicAccess  Action = "s3:PutBucketPublicAccessBlock"
	GetBucketCORS          Action = "s3:GetBucketCORS"
	PutBucketCORS          Action = "s3:PutBucketCORS"
	GetBucketTagging       Action = "s3:GetBucketTagging"
	PutBucketTagging       Action = "s3:PutBucketTagging"
	GetBucketWebsite       Action = "s3:GetBucketWebsite"
	PutBucketWebsite       Action = "s3:PutBucketWebsite"
	DeleteBucketWebsite    Action = "s3:DeleteBucketWebsite"
	GetLifecycle           Action = "s3:GetLifecycleConfiguration"
	PutLifecycle           Action = "s3:PutLifecycleConfiguration"
	GetEncryption          Action = "s3:GetEncryptionConfiguration"
	PutEncryption          Action = "s3:PutEncryptionConfiguration"
	GetBucketRequestPay    Action = "s3:GetBucketRequestPayment"
	PutBucketRequestPay    Action = "s3:PutBucketRequestPayment"
	GetBucketAcceleration  Action = "s3:GetAccelerateConfiguration"
	GetBucketLogging       Action = "s3:GetBucketLogging"
	GetBucketNotifications Action = "s3:GetBucketNotification"
	GetBucketVersioning    Action = "s3:GetBucketVersioning"
	PutBucketVersioning    Action = "s3:PutBucketVersioning"
)

// The actions on versions.
const (
	ListBucketVersions         Action = "s3:ListBucketVersions"
	GetObjectVersion           Action = "s3:GetObjectVersion"
	DeleteObjectVersion        Action = "s3:DeleteObjectVersion"
	GetObjectVersionACL        Action = "s3:GetObjectVersionAcl"
	PutObjectVersionACL        Action = "s3:PutObjectVersionAcl"
	GetObjectVersionTagging    Action = "s3:GetObjectVersionTagging"
	PutObjectVersionTagging    Action = "s3:PutObjectVersionTagging"
	DeleteObjectVersionTagging Action = "s3:DeleteObjectVersionTagging"
)

// The actions about locks and holds.
const (
	GetBucketObjectLock Action = "s3:GetBucketObjectLockConfiguration"
	PutBucketObjectLock Action = "s3:PutBucketObjectLockConfiguration"
	GetObjectRetention  Action = "s3:GetObjectRetention"
	PutObjectRetention  Action = "s3:PutObjectRetention"
	GetObjectLegalHold  Action = "s3:GetObjectLegalHold"
	PutObjectLegalHold  Action = "s3:PutObjectLegalHold"
	BypassGovernance    Action = "s3:BypassGovernanceRetention"

	PlaceHold   Action = "k3fs:PlaceHold"
	ReleaseHold Action = "k3fs:ReleaseHold"
	ListHolds   Action = "k3fs:ListHolds"
	ReadAudit   Action = "k3fs:ReadAudit"
)

// AssumeRole is to act as another account of the tenant for a time.
const AssumeRole Action = "sts:AssumeRole"

// Resource is what an action is asked about: a bucket (with its owner) and a key inside it.
type Resource struct {
	Owner  TenantID // the bucket's tenant; 0 when there is no bucket (ListAllBuckets, CreateBucket)
	Bucket string
	Key    string

	// Find returns Bucket and Key where those are not known yet; it is called only when it matters. Nil if they are.
	Find func() (bucket, key string, err error)
	// ARN names what is neither bucket nor object: an account.
	ARN string

	// Settings of the bucket; nil if nothing is set.
	Settings Settings
	// Object returns what the object's own record says, if there is one; nil if the action is about none. It is
	// called only when it matters.
	Object func() (ObjectRules, error)
	// NewACL is the ACL that the action would set, encoded; nil if it sets none.
	NewACL []byte
}
