package tenancy

import (
	"errors"
	"fmt"

	"k3fs/tenancy/policy"
)

// scope says what a permission is about, which decides what Resource.Owner must be.
type scope uint8

const (
	ofTenant scope = iota + 1 // the tenant itself: Owner is 0 or the tenant
	ofBucket                  // a bucket and what is in it: Owner must be the tenant, or the bucket's rules allow it
	ofMount                   // as ofTenant, for the root account only
	ofHold                    // as ofMount; of a bucket, its policy lets others do it, and can deny it to all
	ofNode                    // the whole store: for the root account of the tenant that operates it
)

// scopeOf knows every action; one that it does not know is denied.
func scopeOf(a Action) scope {
	switch a {
	case ListAllBuckets, CreateBucket:
		return ofTenant
	case DeleteBucket, ListBucket, GetBucketLocation, ListBucketUploads, GetObject, PutObject,
		DeleteObject, AbortUpload, ListUploadParts, GetObjectAttributes, GetObjectTagging, PutObjectTagging, DeleteObjectTagging,
		GetBucketPolicy, PutBucketPolicy, DeleteBucketPolicy, GetBucketPolicyStatus, GetBucketACL, PutBucketACL, GetObjectACL,
		PutObjectACL, GetBucketOwnership, PutBucketOwnership, GetBucketPublicAccess, PutBucketPublicAccess, GetBucketCORS,
		PutBucketCORS, GetBucketTagging, PutBucketTagging, GetBucketWebsite, PutBucketWebsite, DeleteBucketWebsite,
		GetLifecycle, PutLifecycle, GetEncryption, PutEncryption, GetBucketRequestPay, PutBucketRequestPay,
		GetBucketAcceleration, GetBucketLogging, GetBucketNotifications, GetBucketVersioning, PutBucketVersioning,
		ListBucketVersions, GetObjectVersion, DeleteObjectVersion, GetObjectVersionACL, PutObjectVersionACL,
		GetObjectVersionTagging, PutObjectVersionTagging, DeleteObjectVersionTagging,
		GetBucketObjectLock, PutBucketObjectLock, GetObjectRetention, PutObjectRetention, GetObjectLegalHold, PutObjectLegalHold,
		BypassGovernance:
		return ofBucket
	case MountAdministrator, ListHolds, ReadAudit:
		return ofMount
	case PlaceHold, ReleaseHold:
		return ofHold
	case CreateAccount, ListAccounts, GetAccount, UpdateAccount, DeleteAccount, CreateAccessKey, ListAccessKeys, UpdateAccessKey,
		DeleteAccessKey, PutPolicy, GetPolicy, ListPolicies, DeletePolicy, AttachPolicy, GetUsage, GetQuota, PutQuota, RotateTenantKey,
		ListMounts, EndMount, ListSessions, EndSession, ListShares, RevokeShare:
		return ofMount
	case CreateTenant, ListTenants, GetTenant, UpdateTenant, DeleteTenant, PutTenantQuota, GetNode, ConfirmClock, Maintain, RotateNodeKeys:
		return ofNode
	}
	return 0
}

// Allow reports whether p may do a on r: nil, or ErrDenied. It does no I/O of its own and depends on nothing
// but its arguments, so namespace asks it inside the transaction that makes the change, where a retry asks
// again.
//
// An account may do everything on the buckets of its own tenant that their policies don't deny. On another's,
// and without an account, it may do what the bucket's policy allows or an ACL grants, unless a policy denies it
// or the block of public access is in the way.
func Allow(p Principal, a Action, r Resource) error { return decide(p, a, &r, parsePolicy) }

// Allow is the function Allow, which remembers the policies that it has parsed.
func (t *Tenancy) Allow(p Principal, a Action, r Resource) error { return decide(p, a, &r, t.policyOf) }

type policyParser func(raw []byte, bucket string) (*policy.Document, error)

func decide(p Principal, a Action, r *Resource, parse policyParser) error {
	own := p.known() && r.Owner == p.Tenant
	var err error
	permitted := false
	switch scopeOf(a) {
	case ofTenant:
		permitted = own || p.known() && r.Owner == 0
	case ofMount:
		permitted = p.Root && (own || p.known() && r.Owner == 0)
	case ofNode:
		permitted = p.Root && p.Tenant == FirstTenant && p.known()
	case ofHold:
		permitted, err = decideHold(p, a, r, own, parse)
	case ofBucket:
		permitted, err = decideBucket(p, a, r, own, parse)
		if err == nil && !own && r.Settings != nil && r.Object != nil && objectPermission[a] != "" {
			permitted, err = hideAbsent(p, r, permitted, parse)
		}
	}
	switch {
	case err != nil:
		return err
	case permitted:
		return nil
	case !p.known():
		return fmt.Errorf("%w: %s: nobody is authenticated", ErrDenied, a)
	}
	return fmt.Errorf("%w: %s", ErrDenied, a)
}

// decideHold lets the root account, and whom the bucket's policy allows it, and nobody whom that denies it.
func decideHold(p Principal, a Action, r *Resource, own bool, parse policyParser) (bool, error) {
	raw := r.Settings[SettingPolicy]
	if len(raw) == 0 {
		return own && p.Root, nil
	}
	d, err := parse(raw, r.Bucket)
	if err != nil {
		return false, err
	}
	q := policy.Request{Who: p.who(), Action: string(a), Resource: r.name(), Values: p.values(r)}
	switch d.Evaluate(&q) {
	case policy.Deny:
		return false, nil
	case policy.Allow:
		return own, nil
	}
	return own && p.Root, nil
}

func decideBucket(p Principal, a Action, r *Resource, own bool, parse policyParser) (bool, error) {
	if r.Settings == nil {
		return own, nil
	}
	block := r.Settings.PublicAccess()
	if r.NewACL != nil && block.BlockPublicAcls {
		if acl, err := DecodeACL(r.NewACL); err != nil || acl.Public() {
			return false, err
		}
	}
	if raw := r.Settings[SettingPolicy]; len(raw) > 0 {
		d, err := parse(raw, r.Bucket)
		if err != nil {
			return false, err
		}
		q := policy.Request{Who: p.who(), Action: string(a), Resource: r.name(), Values: p.values(r)}
		switch d.Evaluate(&q) {
		case policy.Deny:
			// Whoever holds the tenant can always take back a policy that locks everyone out.
			return own && p.Root && ofPolicy(a), nil
		case policy.Allow:
			if !block.RestrictPublicBuckets || !d.Public() {
				return true, nil
			}
		}
	}
	if r.Settings.Ownership() == OwnerEnforced {
		return own, nil
	}
	if own {
		if mine, err := r.listIsOf(p.Tenant, a); err != nil || mine {
			return mine, err
		}
	}
	return r.granted(p, a, !block.IgnorePublicAcls)
}

// listIsOf reports whether a tenant may do a to what is in its own bucket: anything, but for the access control
// list of an object that another wrote, who alone decides about it.
func (r *Resource) listIsOf(t TenantID, a Action) (bool, error) {
	if a != GetObjectACL && a != PutObjectACL || r.Object == nil {
		return true, nil
	}
	rules, err := r.Object()
	if errors.Is(err, ErrNoObject) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	acl, err := DecodeACL(rules.ACL)
	return err == nil && (acl.Owner == "" || acl.Owner == t.Canonical()), err
}

// hideAbsent lets others learn that an object is not there, which the namespace tells whom it lets in, if and
// only if they may list its name.
func hideAbsent(p Principal, r *Resource, permitted bool, parse policyParser) (bool, error) {
	switch _, err := r.Object(); {
	case err == nil:
		return permitted, nil
	case !errors.Is(err, ErrNoObject):
		return false, err
	}
	asked := p
	asked.Request = &Request{Values: func(key string) []string {
		if key == "s3:prefix" {
			return []string{r.Key}
		}
		if p.Request == nil || p.Request.Values == nil {
			return nil
		}
		return p.Request.Values(key)
	}}
	list := Resource{Owner: r.Owner, Bucket: r.Bucket, Settings: r.Settings}
	return decideBucket(asked, ListBucket, &list, false, parse)
}

func ofPolicy(a Action) bool {
	return a == GetBucketPolicy || a == PutBucketPolicy || a == DeleteBucketPolicy
}

// name is how policies name the resource.
func (r *Resource) name() string {
	if r.Key == "" {
		return r.Bucket
	}
	return r.Bucket + "/" + r.Key
}

// granted reports whether an ACL, of the bucket or of the object, gives p what a needs.
func (r *Resource) granted(p Principal, a Action, public bool) (bool, error) {
	if want, ok := bucketPermission[a]; ok {
		acl, err := DecodeACL(r.Settings[SettingACL])
		return err == nil && acl.allows(p, want, public), err
	}
	want, ok := objectPermission[a]
	if !ok || r.Object == nil {
		return false, nil
	}
	rules, err := r.Object()
	if errors.Is(err, ErrNoObject) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	acl, err := DecodeACL(rules.ACL)
	return err == nil && acl.allows(p, want, public), err
}
