package tenancy

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what an account may do before any policy is attached to it: a built-in policy.
type Role string

// The roles of accounts. An account whose record is older than roles is RoleReadWrite.
const (
	// RoleAdmin may do everything in its tenant, accounts and policies included.
	RoleAdmin Role = "admin"
	// RoleOperator runs the node (in the first tenant) and sees what there is in its tenant, and reads no data.
	RoleOperator Role = "operator"
	// RoleReadWrite reads and writes objects and makes buckets. Who else may, and what is locked, is not its to say.
	RoleReadWrite Role = "readwrite"
	// RoleReadOnly reads.
	RoleReadOnly Role = "readonly"
	// RoleAuditor reads, places holds, and reads the audit log.
	RoleAuditor Role = "auditor"
)

// Roles are all of them.
func Roles() []Role { return []Role{RoleAdmin, RoleOperator, RoleReadWrite, RoleReadOnly, RoleAuditor} }

// Validate says whether there is such a role.
func (r Role) Validate() error {
	if !slices.Contains(Roles(), r) {
		all := make([]string, 0, len(Roles()))
		for _, one := range Roles() {
			all = append(all, string(one))
		}
		return fmt.Errorf("%w: %q is no role; there are %s", ErrInvalid, string(r), strings.Join(all, ", "))
	}
	return nil
}

// Has reports whether the role may do a in its own tenant; of the node, in the first tenant.
func (r Role) Has(a Action) bool { return actions[a].roles&r.bit() != 0 }

// roles is a set of them.
type roles uint8

const (
	admin roles = 1 << iota
	operator
	readWrite
	readOnly
	auditor

	readers = admin | readWrite | readOnly | auditor
	writers = admin | readWrite
	seers   = readers | operator // see what there is, not what is in it
)

func (r Role) bit() roles {
	switch r {
	case RoleAdmin:
		return admin
	case RoleOperator:
		return operator
	case RoleReadWrite:
		return readWrite
	case RoleReadOnly:
		return readOnly
	case RoleAuditor:
		return auditor
	}
	return 0
}

// scope says what a permission is about, which decides what Resource.Owner must be.
type scope uint8

const (
	ofTenant scope = iota + 1 // the tenant itself: Owner is 0 or the tenant
	ofBucket                  // a bucket and what is in it: Owner must be the tenant, or the bucket's rules allow it
	ofHold                    // as ofTenant; of a bucket, its policy lets others of the tenant do it, and can deny it to all
	ofNode                    // the whole store: for root and operators of the first tenant, and nothing attached gives it
)

// action is what is known of one: what it is about, and which roles have it. A tenant's root has all of them.
type action struct {
	scope scope
	roles roles
}

// actions knows every action; one that it does not know is denied.
var actions = map[Action]action{
	ListAllBuckets: {ofTenant, seers},
	CreateBucket:   {ofTenant, writers},

	DeleteBucket:      {ofBucket, writers},
	ListBucket:        {ofBucket, readers},
	GetBucketLocation: {ofBucket, readers},
	ListBucketUploads: {ofBucket, readers},

	GetObject:           {ofBucket, readers},
	PutObject:           {ofBucket, writers},
	DeleteObject:        {ofBucket, writers},
	AbortUpload:         {ofBucket, writers},
	ListUploadParts:     {ofBucket, readers},
	GetObjectAttributes: {ofBucket, readers},
	GetObjectTagging:    {ofBucket, readers},
	PutObjectTagging:    {ofBucket, writers},
	DeleteObjectTagging: {ofBucket, writers},
	GetObjectACL:        {ofBucket, readers},
	PutObjectACL:        {ofBucket, writers},

	ListBucketVersions:         {ofBucket, readers},
	GetObjectVersion:           {ofBucket, readers},
	DeleteObjectVersion:        {ofBucket, writers},
	GetObjectVersionACL:        {ofBucket, readers},
	PutObjectVersionACL:        {ofBucket, writers},
	GetObjectVersionTagging:    {ofBucket, readers},
	PutObjectVersionTagging:    {ofBucket, writers},
	DeleteObjectVersionTagging: {ofBucket, writers},

	GetBucketPolicy:        {ofBucket, seers},
	PutBucketPolicy:        {ofBucket, admin},
	DeleteBucketPolicy:     {ofBucket, admin},
	GetBucketPolicyStatus:  {ofBucket, seers},
	GetBucketACL:           {ofBucket, seers},
	PutBucketACL:           {ofBucket, admin},
	GetBucketOwnership:     {ofBucket, seers},
	PutBucketOwnership:     {ofBucket, admin},
	GetBucketPublicAccess:  {ofBucket, seers},
	PutBucketPublicAccess:  {ofBucket, admin},
	GetBucketCORS:          {ofBucket, seers},
	PutBucketCORS:          {ofBucket, writers},
	GetBucketTagging:       {ofBucket, seers},
	PutBucketTagging:       {ofBucket, writers},
	GetBucketWebsite:       {ofBucket, seers},
	PutBucketWebsite:       {ofBucket, writers},
	DeleteBucketWebsite:    {ofBucket, writers},
	GetLifecycle:           {ofBucket, seers},
	PutLifecycle:           {ofBucket, writers},
	GetEncryption:          {ofBucket, seers},
	PutEncryption:          {ofBucket, writers},
	GetBucketRequestPay:    {ofBucket, seers},
	PutBucketRequestPay:    {ofBucket, writers},
	GetBucketAcceleration:  {ofBucket, seers},
	GetBucketLogging:       {ofBucket, seers},
	GetBucketNotifications: {ofBucket, seers},
	GetBucketVersioning:    {ofBucket, seers},
	PutBucketVersioning:    {ofBucket, admin},

	GetBucketObjectLock: {ofBucket, seers},
	PutBucketObjectLock: {ofBucket, admin},
	GetObjectRetention:  {ofBucket, readers},
	PutObjectRetention:  {ofBucket, writers | auditor},
	GetObjectLegalHold:  {ofBucket, readers},
	PutObjectLegalHold:  {ofBucket, admin | auditor},
	BypassGovernance:    {ofBucket, admin},

	PlaceHold:   {ofHold, admin | auditor},
	ReleaseHold: {ofHold, admin},
	ListHolds:   {ofTenant, admin | operator | auditor},
	ReadAudit:   {ofTenant, admin | auditor},

	MountAdministrator: {ofTenant, readers},
	MountAs:            {ofTenant, admin},
	MountAsRoot:        {ofTenant, admin},

	CreateAccount:   {ofTenant, admin},
	ListAccounts:    {ofTenant, admin | operator | auditor},
	GetAccount:      {ofTenant, admin | operator | auditor},
	UpdateAccount:   {ofTenant, admin},
	DeleteAccount:   {ofTenant, admin},
	CreateAccessKey: {ofTenant, admin},
	ListAccessKeys:  {ofTenant, admin | operator | auditor},
	UpdateAccessKey: {ofTenant, admin},
	DeleteAccessKey: {ofTenant, admin},
	PutPolicy:       {ofTenant, admin},
	GetPolicy:       {ofTenant, admin | operator | auditor},
	ListPolicies:    {ofTenant, admin | operator | auditor},
	DeletePolicy:    {ofTenant, admin},
	AttachPolicy:    {ofTenant, admin},
	AssumeRole:      {ofTenant, admin},

	GetUsage:        {ofTenant, seers},
	GetQuota:        {ofTenant, seers},
	PutQuota:        {ofTenant, admin},
	RotateTenantKey: {ofTenant, admin},
	ListMounts:      {ofTenant, admin | operator | auditor},
	EndMount:        {ofTenant, admin | operator},
	ListSessions:    {ofTenant, admin | operator | auditor},
	EndSession:      {ofTenant, admin | operator},
	ListShares:      {ofTenant, admin | operator | auditor},
	RevokeShare:     {ofTenant, admin | operator},

	CreateTenant:    {ofNode, operator},
	ListTenants:     {ofNode, operator},
	GetTenant:       {ofNode, operator},
	UpdateTenant:    {ofNode, operator},
	DeleteTenant:    {ofNode, operator},
	PutTenantQuota:  {ofNode, operator},
	PutRetentionCap: {ofNode, operator},
	GetNode:         {ofNode, operator},
	ConfirmClock:    {ofNode, operator},
	Maintain:        {ofNode, operator},
	RotateNodeKeys:  {ofNode, operator},
}
