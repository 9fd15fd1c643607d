package tenancy

import (
	"errors"
	"fmt"
	"slices"

	"k3fs/tenancy/policy"
)

// Allow reports whether p may do a on r: nil, or ErrDenied. It does no I/O: what it needs to know of accounts is in
// memory, and always what the records say now. So namespace asks it inside the transaction that makes the change,
// where a retry asks again; and what an administrator changes counts at once, for mounts that are there, too.
//
//   - A suspended tenant, and an account that is disabled, expired or gone, may do nothing.
//   - What a policy denies, be it the bucket's, one attached to the account or the session's, is denied.
//   - A session's policy only takes away.
//   - In its own tenant a root account may do everything, any other what its role or an attached policy gives it, or
//     what the bucket's policy gives to it by name or to everyone.
//   - On another tenant's bucket an account may do what that bucket's policy allows or an ACL grants, as far as its own
//     role and policies let it; nobody, what they give to everyone. A block of public access may be in the way.
//
// In read-only mode it answers ErrReadOnly to who may do what changes buckets.
//
// Source: "Policy evaluation logic" in the IAM user guide.
func (t *Tenancy) Allow(p Principal, a Action, r Resource) error {
	var s *standing
	if p.known() {
		var err error
		if s, err = t.standingOf(p); err != nil {
			return err
		}
	}
	if err := decide(p, s, a, &r, t.policyOf); err != nil {
		return err
	}
	if t.readOnly.Load() && a.Changes() {
		return ErrReadOnly
	}
	return nil
}

// Allow is Tenancy.Allow for principals of which no records are kept: an account that is not root may do to buckets
// what their policies don't deny.
func Allow(p Principal, a Action, r Resource) error {
	s := &standing{root: p.Root, role: RoleReadWrite}
	if actions[a].scope == ofBucket {
		s.role = RoleAdmin
	}
	return decide(p, s, a, &r, parsePolicy)
}

type policyParser func(raw []byte, bucket string) (*policy.Document, error)

// asked is one decision under way.
type asked struct {
	p     Principal
	s     *standing // nil for nobody
	parse policyParser
}

func decide(p Principal, s *standing, a Action, r *Resource, parse policyParser) error {
	q := asked{p, s, parse}
	permitted, err := q.permitted(a, r)
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

func (q *asked) permitted(a Action, r *Resource) (bool, error) {
	what := actions[a]
	if what.scope != ofBucket && !q.p.known() {
		return false, nil
	}
	given, err := q.given(a, r)
	if err != nil || given == policy.Deny {
		return false, err
	}
	mine := given == policy.Allow
	own := q.p.known() && r.Owner == q.p.Tenant
	switch what.scope {
	case ofNode:
		return q.p.Tenant == FirstTenant && (q.s.root || q.s.role.Has(a)), nil
	case ofTenant:
		return mine && (own || r.Owner == 0), nil
	case ofHold:
		return q.hold(a, r, own, mine)
	case ofBucket:
		permitted, err := q.bucket(a, r, own, mine)
		if err == nil && !own && r.Settings != nil && r.Object != nil && objectPermission[a] != "" {
			permitted, err = q.hideAbsent(r, permitted)
		}
		return permitted, err
	}
	return false, nil
}

// given is what the account itself has, wherever it acts: Allow, Deny, or Undecided. Nobody has everything, since he
// has no account that could be without it.
func (q *asked) given(a Action, r *Resource) (policy.Decision, error) {
	if q.s == nil {
		return policy.Allow, nil
	}
	d := policy.Undecided
	if q.s.root || q.s.role.Has(a) && actions[a].scope != ofNode {
		d = policy.Allow
	}
	if len(q.s.attached) == 0 && q.p.session == nil {
		return d, nil
	}
	request, err := q.request(a, r)
	if err != nil {
		return policy.Deny, err
	}
	for _, doc := range q.s.attached {
		if doc == nil {
			return policy.Deny, nil
		}
		d = max(d, doc.Evaluate(request))
	}
	if q.p.session != nil && !q.p.session.lets(a, request) {
		return policy.Deny, nil
	}
	return d, nil
}

// request is what policies are asked.
func (q *asked) request(a Action, r *Resource) (*policy.Request, error) {
	if r.Find != nil && r.Bucket == "" {
		var err error
		if r.Bucket, r.Key, err = r.Find(); err != nil {
			return nil, err
		}
	}
	request := &policy.Request{Who: q.p.who(), Action: string(a), Resource: r.name(), Values: q.p.values(r)}
	if r.ARN == "" && slices.Contains(listings, a) {
		request.Resource = r.Bucket // what of it is listed is a condition's to say
	}
	return request, nil
}

// listings are asked about a part of a bucket's keys, and are of the bucket.
var listings = []Action{ListBucket, ListBucketVersions, ListBucketUploads}

// hold lets who has the permission, and whom of the tenant the bucket's policy allows it, and nobody whom that denies it.
func (q *asked) hold(a Action, r *Resource, own, mine bool) (bool, error) {
	raw := r.Settings[SettingPolicy]
	if len(raw) == 0 {
		return own && mine, nil
	}
	request, err := q.request(a, r)
	if err != nil {
		return false, err
	}
	d, err := q.parse(raw, r.Bucket)
	if err != nil {
		return false, err
	}
	switch d.Evaluate(request) {
	case policy.Deny:
		return false, nil
	case policy.Allow:
		return own, nil
	}
	return own && mine, nil
}

func (q *asked) bucket(a Action, r *Resource, own, mine bool) (bool, error) {
	if r.Settings == nil {
		return own && mine, nil
	}
	block := r.Settings.PublicAccess()
	if r.NewACL != nil && block.BlockPublicAcls {
		if acl, err := DecodeACL(r.NewACL); err != nil || acl.Public() {
			return false, err
		}
	}
	if raw := r.Settings[SettingPolicy]; len(raw) > 0 {
		request, err := q.request(a, r)
		if err != nil {
			return false, err
		}
		d, err := q.parse(raw, r.Bucket)
		if err != nil {
			return false, err
		}
		said := d.Evaluate(request)
		switch {
		case said == policy.Deny:
			// Whoever holds the tenant can always take back a policy that locks everyone out.
			return own && mine && q.p.Root && ofPolicy(a), nil
		case said == policy.Undecided, block.RestrictPublicBuckets && d.Public():
		case own && said == policy.Allow, !own && mine:
			return true, nil
		}
	}
	if !mine {
		return false, nil
	}
	if r.Settings.Ownership() == OwnerEnforced {
		return own, nil
	}
	if own {
		if mine, err := r.listIsOf(q.p.Tenant, a); err != nil || mine {
			return mine, err
		}
	}
	return r.granted(q.p, a, !block.IgnorePublicAcls)
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
func (q *asked) hideAbsent(r *Resource, permitted bool) (bool, error) {
	switch _, err := r.Object(); {
	case err == nil:
		return permitted, nil
	case !errors.Is(err, ErrNoObject):
		return false, err
	}
	lister, known := *q, q.p.Request
	lister.p.Request = &Request{Values: func(key string) []string {
		if key == "s3:prefix" {
			return []string{r.Key}
		}
		if known == nil || known.Values == nil {
			return nil
		}
		return known.Values(key)
	}}
	return lister.permitted(ListBucket, &Resource{Owner: r.Owner, Bucket: r.Bucket, Settings: r.Settings})
}

func ofPolicy(a Action) bool {
	return a == GetBucketPolicy || a == PutBucketPolicy || a == DeleteBucketPolicy
}

// name is how policies name the resource.
func (r *Resource) name() string {
	if r.ARN != "" {
		return r.ARN
	}
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
