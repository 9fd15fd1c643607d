package tenancy

import "fmt"

// scope says what a permission is about, which decides what Resource.Owner must be.
type scope uint8

const (
	ofTenant scope = iota + 1 // the tenant itself: Owner is 0 or the tenant
	ofBucket                  // a bucket and what is in it: Owner must be the tenant
	ofMount                   // as ofTenant, for the root account only
)

// scopeOf knows every action; one that it does not know is denied.
func scopeOf(a Action) scope {
	switch a {
	case ListAllBuckets, CreateBucket:
		return ofTenant
	case DeleteBucket, ListBucket, GetBucketLocation, ListBucketUploads, GetObject, PutObject,
		DeleteObject, AbortUpload, ListUploadParts:
		return ofBucket
	case MountAdministrator:
		return ofMount
	}
	return 0
}

// Allow reports whether p may do a on r: nil, or ErrDenied. It does no I/O and depends on nothing but
// its arguments, so namespace asks it inside the transaction that makes the change, where a retry
// asks again. An account may do everything on the buckets of its own tenant and nothing on another's;
// the zero Principal may do nothing.
func Allow(p Principal, a Action, r Resource) error {
	if p.Tenant == 0 || p.Account == "" {
		return fmt.Errorf("%w: %s: nobody is authenticated", ErrDenied, a)
	}
	own := r.Owner == p.Tenant
	permitted := false
	switch scopeOf(a) {
	case ofTenant:
		permitted = own || r.Owner == 0
	case ofBucket:
		permitted = own
	case ofMount:
		permitted = p.Root && (own || r.Owner == 0)
	}
	if !permitted {
		return fmt.Errorf("%w: %s", ErrDenied, a)
	}
	return nil
}

// Allow is the function Allow, as a method for those who hold the tenancy as their authority.
func (t *Tenancy) Allow(p Principal, a Action, r Resource) error { return Allow(p, a, r) }
