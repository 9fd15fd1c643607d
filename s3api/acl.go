package s3api

import (
	"cmp"
	"encoding/xml"
	"errors"
	"net/http"
	"slices"
	"strings"

	"k3fs/namespace"
	"k3fs/s3api/internal/s3err"
	"k3fs/tenancy"
)

// aclDoc is an access control list as S3 writes it.
type aclDoc struct {
	XMLName xml.Name `xml:"AccessControlPolicy"`
	NS      string   `xml:"xmlns,attr"`
	Owner   *owner
	List    struct {
		Grants []grantDoc `xml:"Grant"`
	} `xml:"AccessControlList"`
}

type grantDoc struct {
	Grantee    granteeDoc
	Permission string
}

type granteeDoc struct {
	XSI          string `xml:"xmlns:xsi,attr"`
	Type         string `xml:"xsi:type,attr"`
	ID           string `xml:",omitempty"`
	DisplayName  string `xml:",omitempty"`
	URI          string `xml:",omitempty"`
	EmailAddress string `xml:",omitempty"`
}

// aclIn is aclDoc as it is read: a client's prefix for the attribute's namespace may be any.
type aclIn struct {
	XMLName xml.Name `xml:"AccessControlPolicy"`
	Owner   *owner
	List    *struct {
		Grants []struct {
			Grantee *struct {
				ID, URI, EmailAddress string
			}
			Permission string
		} `xml:"Grant"`
	} `xml:"AccessControlList"`
}

const xsi = "http://www.w3.org/2001/XMLSchema-instance"

var groupURIs = map[tenancy.Group]string{
	tenancy.AllUsers:           "http://acs.amazonaws.com/groups/global/AllUsers",
	tenancy.AuthenticatedUsers: "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
	tenancy.LogDelivery:        "http://acs.amazonaws.com/groups/s3/LogDelivery",
}

func groupOf(uri string) (tenancy.Group, error) {
	for g, u := range groupURIs {
		if u == uri {
			return g, nil
		}
	}
	return "", s3err.New(s3err.InvalidArgument, "Invalid group uri")
}

// cannedGrants are what the canned ACLs grant beside FULL_CONTROL to the owner.
var cannedGrants = map[string][]tenancy.Grant{
	"private":                   nil,
	"public-read":               {{Group: tenancy.AllUsers, Permission: tenancy.Read}},
	"public-read-write":         {{Group: tenancy.AllUsers, Permission: tenancy.Read}, {Group: tenancy.AllUsers, Permission: tenancy.Write}},
	"authenticated-read":        {{Group: tenancy.AuthenticatedUsers, Permission: tenancy.Read}},
	"aws-exec-read":             nil, // EC2's image service, which is not here
	"log-delivery-write":        {{Group: tenancy.LogDelivery, Permission: tenancy.Write}, {Group: tenancy.LogDelivery, Permission: tenancy.ReadACP}},
	"bucket-owner-read":         nil, // granted by cannedACL, as they name the bucket's owner
	"bucket-owner-full-control": nil,
}

// grantHeaders are the headers that grant one permission each.
var grantHeaders = map[string]tenancy.Permission{
	"X-Amz-Grant-Full-Control": tenancy.FullControl, "X-Amz-Grant-Read": tenancy.Read, "X-Amz-Grant-Write": tenancy.Write,
	"X-Amz-Grant-Read-Acp": tenancy.ReadACP, "X-Amz-Grant-Write-Acp": tenancy.WriteACP,
}

// checkCanned refuses canned ACLs that S3 does not know.
func checkCanned(h http.Header) error {
	if acl := h.Get("X-Amz-Acl"); acl != "" {
		if _, ok := cannedGrants[acl]; !ok {
			return s3err.New(s3err.InvalidArgument, "The canned ACL %q is not known", printable(acl))
		}
	}
	return nil
}

// cannedACL is the list that a canned ACL stands for, of an owner's resource in a bucket of another (or the
// same) owner.
func cannedACL(name, owner, bucketOwner string) *tenancy.ACL {
	a := &tenancy.ACL{Owner: owner, Grants: []tenancy.Grant{{ID: owner, Permission: tenancy.FullControl}}}
	a.Grants = append(a.Grants, cannedGrants[name]...)
	if owner != bucketOwner {
		switch name {
		case "bucket-owner-read":
			a.Grants = append(a.Grants, tenancy.Grant{ID: bucketOwner, Permission: tenancy.Read})
		case "bucket-owner-full-control":
			a.Grants = append(a.Grants, tenancy.Grant{ID: bucketOwner, Permission: tenancy.FullControl})
		}
	}
	return a
}

// headerACL is the list that a request's headers ask for; nil if they ask for none.
func (q *request) headerACL(owner, bucketOwner string) (*tenancy.ACL, error) {
	h := q.r.Header
	if err := checkCanned(h); err != nil {
		return nil, err
	}
	var grants []tenancy.Grant
	for _, name := range []string{"X-Amz-Grant-Read", "X-Amz-Grant-Write", "X-Amz-Grant-Read-Acp", "X-Amz-Grant-Write-Acp", "X-Amz-Grant-Full-Control"} {
		for _, value := range h.Values(name) {
			more, err := q.parseGrants(value, grantHeaders[name])
			if err != nil {
				return nil, err
			}
			grants = append(grants, more...)
		}
	}
	canned := h.Get("X-Amz-Acl")
	switch {
	case canned != "" && grants != nil:
		return nil, s3err.New(s3err.InvalidRequest, "Specifying both Canned ACLs and Header Grants is not allowed")
	case canned != "":
		return cannedACL(canned, owner, bucketOwner), nil
	case grants == nil:
		return nil, nil
	}
	return q.valid(&tenancy.ACL{Owner: owner, Grants: grants})
}

// parseGrants reads `id="...", uri="...", emailAddress="..."`.
func (q *request) parseGrants(value string, p tenancy.Permission) (grants []tenancy.Grant, err error) {
	for one := range strings.SplitSeq(value, ",") {
		kind, who, ok := strings.Cut(strings.TrimSpace(one), "=")
		who = strings.Trim(strings.TrimSpace(who), `"`)
		if !ok || who == "" {
			return nil, s3err.New(s3err.InvalidArgument, "Argument format not recognized")
		}
		g := tenancy.Grant{Permission: p}
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "id":
			g.ID, err = q.knownID(who)
		case "emailaddress":
			g.ID, err = q.idOfAddress(who)
		case "uri":
			g.Group, err = groupOf(who)
		default:
			err = s3err.New(s3err.InvalidArgument, "Argument format not recognized")
		}
		if err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, nil
}

// knownID checks that a canonical id is a tenant's.
func (q *request) knownID(id string) (string, error) {
	if _, ok, err := q.tenantOf(id); err != nil {
		return "", err
	} else if !ok {
		return "", s3err.New(s3err.InvalidArgument, "Invalid id")
	}
	return id, nil
}

func (q *request) idOfAddress(address string) (string, error) {
	unresolved := s3err.New("UnresolvableGrantByEmailAddress", "The email address you provided does not match any account on record.")
	if q.s.o.Tenants == nil || !strings.Contains(address, "@") {
		return "", unresolved
	}
	t, err := q.s.o.Tenants.FindTenant(q.ctx(), address)
	if errors.Is(err, tenancy.ErrNoTenant) {
		return "", unresolved
	}
	return t.ID.Canonical(), err
}

// tenantOf finds a tenant by its canonical id.
func (q *request) tenantOf(id string) (t tenancy.Tenant, ok bool, err error) {
	if q.s.o.Tenants == nil {
		return t, false, nil
	}
	all, err := q.s.o.Tenants.Tenants(q.ctx())
	for _, t := range all {
		if t.ID.Canonical() == id {
			return t, true, err
		}
	}
	return t, false, err
}

func (q *request) valid(a *tenancy.ACL) (*tenancy.ACL, error) {
	if err := a.Validate(); err != nil {
		return nil, malformedACL()
	}
	return a, nil
}

func malformedACL() error {
	return s3err.New("MalformedACLError", "The XML you provided was not well-formed or did not validate against our published schema")
}

// bodyACL reads the list in a request's body. Its owner must be the resource's.
func (q *request) bodyACL(raw []byte, ownerID string) (*tenancy.ACL, error) {
	var doc aclIn
	err := decodeXML(raw, &doc)
	if err != nil || doc.List == nil {
		return nil, malformedACL()
	}
	if doc.Owner != nil && doc.Owner.ID != "" && doc.Owner.ID != ownerID {
		return nil, s3err.New(s3err.AccessDenied, "Access Denied: an ACL can't change the owner")
	}
	a := &tenancy.ACL{Owner: ownerID}
	for _, g := range doc.List.Grants {
		if g.Grantee == nil {
			return nil, malformedACL()
		}
		grant := tenancy.Grant{Permission: tenancy.Permission(g.Permission)}
		switch {
		case g.Grantee.URI != "":
			grant.Group, err = groupOf(g.Grantee.URI)
		case g.Grantee.EmailAddress != "":
			grant.ID, err = q.idOfAddress(g.Grantee.EmailAddress)
		case g.Grantee.ID != "":
			grant.ID, err = q.knownID(g.Grantee.ID)
		default:
			err = malformedACL()
		}
		if err != nil {
			return nil, err
		}
		a.Grants = append(a.Grants, grant)
	}
	return q.valid(a)
}

// newACL reads what a PutBucketAcl or PutObjectAcl asks for, in headers or in its body, and returns what makes
// the list of it for an owner of the resource and one of the bucket.
func (q *request) newACL() (func(ownerID, bucketOwner string) (*tenancy.ACL, error), error) {
	if a, err := q.headerACL("", ""); err != nil {
		return nil, err
	} else if a != nil {
		if q.r.ContentLength > 0 {
			return nil, s3err.New("UnexpectedContent", "This request does not support content")
		}
		return q.headerACL, nil
	}
	raw, err := q.readDocument(256 << 10)
	if err != nil {
		return nil, err
	}
	return func(ownerID, _ string) (*tenancy.ACL, error) { return q.bodyACL(raw, ownerID) }, nil
}

func ownersOnly(a *tenancy.ACL, owner tenancy.TenantID) bool {
	for _, g := range a.Grants {
		if g.ID != owner.Canonical() {
			return false
		}
	}
	return true
}

func aclsOff() error {
	return s3err.New("AccessControlListNotSupported", "The bucket does not allow ACLs")
}

// writeACL answers with a list.
func (q *request) writeACL(a *tenancy.ACL, fallback tenancy.TenantID) error {
	if a.Owner == "" {
		a.Owner = fallback.Canonical()
		a.Grants = []tenancy.Grant{{ID: a.Owner, Permission: tenancy.FullControl}}
	}
	doc := aclDoc{NS: xmlns, Owner: q.ownerByID(a.Owner)}
	grants := slices.Clone(a.Grants)
	slices.SortStableFunc(grants, func(x, y tenancy.Grant) int { return cmp.Compare(y.Group, x.Group) }) // groups first
	for _, g := range grants {
		d := grantDoc{Permission: string(g.Permission), Grantee: granteeDoc{XSI: xsi}}
		if g.Group != "" {
			d.Grantee.Type, d.Grantee.URI = "Group", groupURIs[g.Group]
		} else {
			o := q.ownerByID(g.ID)
			d.Grantee.Type, d.Grantee.ID, d.Grantee.DisplayName = "CanonicalUser", o.ID, o.DisplayName
		}
		doc.List.Grants = append(doc.List.Grants, d)
	}
	return q.writeXML(http.StatusOK, doc)
}

func (q *request) ownerByID(id string) *owner {
	if t, ok, err := q.tenantOf(id); err == nil && ok {
		return &owner{ID: id, DisplayName: t.Name}
	}
	return &owner{ID: id}
}

// bucketACL is GetBucketAcl.
func (q *request) bucketACL() error {
	info, s, err := q.view.BucketSettings(q.ctx(), q.bucket, tenancy.GetBucketACL)
	if err != nil {
		return err
	}
	a := &tenancy.ACL{}
	if s.Ownership() != tenancy.OwnerEnforced {
		if a, err = tenancy.DecodeACL(s[tenancy.SettingACL]); err != nil {
			return err
		}
	}
	return q.writeACL(a, info.Owner)
}

// putBucketACL is PutBucketAcl.
func (q *request) putBucketACL() error {
	if err := q.mayChange(tenancy.PutBucketACL); err != nil {
		return err
	}
	list, err := q.newACL()
	if err != nil {
		return err
	}
	err = q.view.ChangeBucketSettings(q.ctx(), q.bucket, tenancy.PutBucketACL, func(info namespace.BucketInfo, s tenancy.Settings) error {
		if s.Ownership() == tenancy.OwnerEnforced {
			return aclsOff()
		}
		a, err := list(info.Owner.Canonical(), info.Owner.Canonical())
		if err != nil {
			return err
		}
		if a.Public() && s.PublicAccess().BlockPublicAcls {
			return s3err.New(s3err.AccessDenied, "Public ACLs are prevented by the BlockPublicAcls setting of this bucket")
		}
		s[tenancy.SettingACL] = a.Encode()
		return nil
	})
	if err != nil {
		return err
	}
	return q.writeEmpty(http.StatusOK)
}

// objectACL is GetObjectAcl.
func (q *request) objectACL() error {
	version, err := q.version()
	if err != nil {
		return err
	}
	raw, info, s, err := q.view.ObjectACL(q.ctx(), q.bucket, q.key, version)
	if err != nil {
		return err
	}
	a := &tenancy.ACL{}
	if s.Ownership() != tenancy.OwnerEnforced {
		if a, err = tenancy.DecodeACL(raw); err != nil {
			return err
		}
	}
	return q.writeACL(a, info.Owner)
}

// putObjectACL is PutObjectAcl.
func (q *request) putObjectACL() error {
	version, err := q.version()
	if err != nil {
		return err
	}
	list, err := q.newACL()
	if err != nil {
		return err
	}
	err = q.view.SetObjectACL(q.ctx(), q.bucket, q.key, version, func(raw []byte, info namespace.BucketInfo, s tenancy.Settings) ([]byte, error) {
		if s.Ownership() == tenancy.OwnerEnforced {
			// What says no more than that the owner has all rights is so anyway, and tools write back what they
			// read. Where the owner himself set the ownership, it is refused as on AWS.
			owner, byDefault := info.Owner.Canonical(), len(s[tenancy.SettingOwnership]) == 0
			if a, err := list(owner, owner); err != nil || !byDefault || !ownersOnly(a, info.Owner) {
				return nil, cmp.Or(err, aclsOff())
			}
			return raw, nil
		}
		old, err := tenancy.DecodeACL(raw)
		if err != nil {
			return nil, err
		}
		if old.Owner == "" {
			old.Owner = info.Owner.Canonical()
		}
		a, err := list(old.Owner, info.Owner.Canonical())
		if err != nil {
			return nil, err
		}
		return a.Encode(), nil
	})
	if err != nil {
		return err
	}
	return q.writeEmpty(http.StatusOK)
}

// uploadACL is the list of an object that is about to be written, encoded: what the headers ask for, or, where
// somebody else than the bucket's owner writes, the writer's own. nil means that only the bucket's rules count.
func (q *request) uploadACL() ([]byte, error) {
	writer := q.identity.Principal.Tenant
	asked := hasACL(q.r.Header)
	if err := checkCanned(q.r.Header); err != nil {
		return nil, err
	}
	owner, s, err := q.view.BucketFront(q.ctx(), q.bucket, tenancy.SettingOwnership)
	if err != nil || owner == 0 || owner == writer && !asked {
		return nil, err // a bucket that is not there is the namespace's to refuse
	}
	if writer == 0 {
		writer = owner // what nobody wrote is the bucket owner's
	}
	canned := q.r.Header.Get("X-Amz-Acl")
	switch s.Ownership() {
	case tenancy.OwnerEnforced:
		// Tools that always send "private" ask for what is so anyway. Where the owner himself set the
		// ownership, it is refused as on AWS.
		byDefault := len(s[tenancy.SettingOwnership]) == 0 && (canned == "private" || canned == "bucket-owner-read")
		if !hasGrants(q.r.Header) && (canned == "" || canned == "bucket-owner-full-control" || byDefault) {
			return nil, nil
		}
		return nil, aclsOff()
	case tenancy.OwnerPreferred:
		if canned == "bucket-owner-full-control" {
			writer = owner
		}
	}
	a, err := q.headerACL(writer.Canonical(), owner.Canonical())
	if err != nil {
		return nil, err
	}
	if a == nil {
		if writer == owner {
			return nil, nil
		}
		a = cannedACL("private", writer.Canonical(), owner.Canonical())
	}
	return a.Encode(), nil
}

func hasACL(h http.Header) bool { return h.Get("X-Amz-Acl") != "" || hasGrants(h) }

func hasGrants(h http.Header) bool {
	for name := range grantHeaders {
		if h.Get(name) != "" {
			return true
		}
	}
	return false
}
