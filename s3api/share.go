package s3api

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"k3fs/s3api/internal/s3err"
	"k3fs/tenancy"
)

// isShared reports whether a query has a parameter of a share link, in whatever spelling.
func isShared(rawQuery string) bool {
	if !strings.Contains(strings.ToLower(rawQuery), "x-k3-") && !strings.Contains(rawQuery, "%") {
		return false
	}
	for part := range strings.SplitSeq(rawQuery, "&") {
		name, _, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(name); err == nil && strings.HasPrefix(strings.ToLower(plain), "x-k3-") {
			return true
		}
	}
	return false
}

// sharedBy is whom a share link speaks for. The link is for this object alone, to be read; whatever is wrong with it is
// one answer, but for one that was right and is over.
func (q *request) sharedBy() (tenancy.Principal, error) {
	denied := s3err.New(s3err.AccessDenied, "Access Denied")
	if q.s.o.Shared == nil || q.bucket == "" || q.key == "" || q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
		return tenancy.Principal{}, denied
	}
	given := q.r.URL.Query()
	for name, values := range given {
		known := name == "versionId" || name == tenancy.ShareToken || name == tenancy.ShareExpires || name == tenancy.ShareOrg
		if !known || len(values) != 1 {
			return tenancy.Principal{}, denied
		}
	}
	p, err := q.s.o.Shared(q.ctx(), tenancy.ShareClaim{
		Bucket: q.bucket, Key: q.key, Version: given.Get("versionId"),
		Token: given.Get(tenancy.ShareToken), Expires: given.Get(tenancy.ShareExpires), Org: given.Get(tenancy.ShareOrg),
	})
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, tenancy.ErrExpired):
		return p, s3err.Wrap(err, s3err.AccessDenied, "Request has expired")
	case errors.Is(err, tenancy.ErrDenied):
		return p, s3err.Wrap(err, s3err.AccessDenied, "Access Denied")
	}
	return p, &s3err.Error{Code: codeServiceUnavailable, Message: "Share links can't be looked up now.", Err: err}
}
