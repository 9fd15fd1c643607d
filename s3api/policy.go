package s3api

import (
	"encoding/xml"
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"k3fs/namespace"
	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
	"k3fs/tenancy"
	"k3fs/tenancy/policy"
)

// bucketPolicy is GetBucketPolicy.
func (q *request) bucketPolicy() error {
	_, s, err := q.view.BucketSettings(q.ctx(), q.bucket, tenancy.GetBucketPolicy)
	if err != nil {
		return err
	}
	raw := s[tenancy.SettingPolicy]
	if len(raw) == 0 {
		return s3err.New("NoSuchBucketPolicy", "The bucket policy does not exist")
	}
	h := q.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(raw)))
	q.w.WriteHeader(http.StatusOK)
	_, _ = q.w.Write(raw) // a client that went away is nobody's error
	return nil
}

// putBucketPolicy is PutBucketPolicy.
func (q *request) putBucketPolicy() error {
	if err := q.mayChange(tenancy.PutBucketPolicy); err != nil {
		return err
	}
	raw, err := q.readDocument(policy.MaxSize + 1)
	if err != nil {
		return err
	}
	err = q.view.ChangeBucketSettings(q.ctx(), q.bucket, tenancy.PutBucketPolicy, func(info namespace.BucketInfo, s tenancy.Settings) error {
		err := s.CheckPolicy(raw, info.Name)
		var bad *policy.Error
		switch {
		case errors.As(err, &bad):
			return s3err.New("MalformedPolicy", "%s", bad.Error())
		case errors.Is(err, tenancy.ErrDenied):
			return s3err.New(s3err.AccessDenied, "Public policies are prevented by the BlockPublicPolicy setting of this bucket")
		case err != nil:
			return err
		}
		s[tenancy.SettingPolicy] = raw
		return nil
	})
	if err != nil {
		return err
	}
	return q.writeEmpty(http.StatusNoContent)
}

// policyStatus is GetBucketPolicyStatus.
func (q *request) policyStatus() error {
	info, s, err := q.view.BucketSettings(q.ctx(), q.bucket, tenancy.GetBucketPolicyStatus)
	if err != nil {
		return err
	}
	block := s.PublicAccess()
	public := s.PolicyIsPublic(info.Name) && !block.RestrictPublicBuckets
	if acl, err := tenancy.DecodeACL(s[tenancy.SettingACL]); err == nil && s.Ownership() != tenancy.OwnerEnforced {
		public = public || acl.Public() && !block.IgnorePublicAcls
	}
	return q.writeXML(http.StatusOK, struct {
		XMLName  xml.Name `xml:"PolicyStatus"`
		NS       string   `xml:"xmlns,attr"`
		IsPublic bool
	}{NS: xmlns, IsPublic: public})
}

// conditionValues is what this door knows of a request, for the conditions of policies. Keys are in lower case.
func (q *request) conditionValues(key string) []string {
	name, isS3 := strings.CutPrefix(key, "s3:")
	if isS3 {
		return q.s3Values(name)
	}
	one := func(v string) []string {
		if v == "" {
			return nil
		}
		return []string{v}
	}
	switch key {
	case "aws:sourceip":
		return one(q.remote())
	case "aws:securetransport":
		return one(strconv.FormatBool(q.r.TLS != nil))
	case "aws:useragent":
		return one(q.r.UserAgent())
	case "aws:referer":
		return one(q.r.Referer())
	case "aws:currenttime":
		return one(q.s.o.Now().UTC().Format(time.RFC3339))
	case "aws:epochtime":
		return one(strconv.FormatInt(q.s.o.Now().Unix(), 10))
	case "aws:requestedregion":
		return one(q.s.o.Region)
	}
	return nil
}

// fromQuery are condition keys that are query parameters, and fromHeader those that are headers.
var (
	fromQuery  = map[string]string{"prefix": "prefix", "delimiter": "delimiter", "max-keys": "max-keys", "versionid": "versionId"}
	fromHeader = []string{
		"x-amz-acl", "x-amz-copy-source", "x-amz-metadata-directive", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
		"x-amz-server-side-encryption-customer-algorithm", "x-amz-storage-class", "x-amz-website-redirect-location", "x-amz-content-sha256",
		"x-amz-object-ownership", "if-match", "if-none-match",
	}
	fromLock = map[string]string{"object-lock-mode": "X-Amz-Object-Lock-Mode", "object-lock-retain-until-date": "X-Amz-Object-Lock-Retain-Until-Date",
		"object-lock-legal-hold": "X-Amz-Object-Lock-Legal-Hold"}
)

// first is the one of several values that the handlers act on: a condition must not hold for another one.
func first(values []string) []string { return values[:min(len(values), 1)] }

// retentionDays is how long the request asks to retain, in days that have begun.
func (q *request) retentionDays() []string {
	until := first(q.s3Values("object-lock-retain-until-date"))
	if len(until) == 0 {
		return nil
	}
	t, err := lockTime(until[0])
	if err != nil {
		return nil // the handler refuses it
	}
	return []string{strconv.FormatFloat(math.Ceil(t.Sub(q.s.o.Now()).Hours()/24), 'f', 0, 64)}
}

func (q *request) s3Values(name string) []string {
	if param, ok := fromQuery[name]; ok {
		return first(q.query[param])
	}
	if _, grant := grantHeaders[http.CanonicalHeaderKey(name)]; grant { // of which all count
		if all := q.r.Header.Values(name); len(all) > 0 {
			return []string{strings.Join(all, ", ")}
		}
		return nil
	}
	if slices.Contains(fromHeader, name) {
		return first(q.r.Header.Values(name))
	}
	if header, ok := fromLock[name]; ok {
		if v := q.lock[name]; v != "" {
			return []string{v}
		}
		return first(q.r.Header.Values(header))
	}
	switch {
	case name == "object-lock-remaining-retention-days":
		return q.retentionDays()
	case name == "authtype" && q.identity != nil:
		switch q.identity.Mechanism {
		case sigv4.Header, sigv4.HeaderV2:
			return []string{"REST-HEADER"}
		case sigv4.Presigned, sigv4.PresignedV2:
			return []string{"REST-QUERY-STRING"}
		case sigv4.Form, sigv4.FormV2:
			return []string{"POST"}
		}
	case name == "signatureversion" && q.identity != nil:
		switch q.identity.Mechanism {
		case sigv4.Header, sigv4.Presigned, sigv4.Form:
			return []string{"AWS4-HMAC-SHA256"}
		case sigv4.HeaderV2, sigv4.PresignedV2, sigv4.FormV2:
			return []string{"AWS"}
		}
	case name == "signatureage" && q.identity != nil && !q.identity.SignedAt.IsZero():
		return []string{strconv.FormatInt(q.s.o.Now().Sub(q.identity.SignedAt).Milliseconds(), 10)}
	case name == "tlsversion" && q.r.TLS != nil:
		return []string{map[uint16]string{0x0303: "1.2", 0x0304: "1.3"}[q.r.TLS.Version]}
	case name == "locationconstraint":
		return q.location
	case name == "requestobjecttagkeys":
		var keys []string
		for k := range q.requestTags() {
			keys = append(keys, k)
		}
		return keys
	}
	if tag, ok := strings.CutPrefix(name, "requestobjecttag/"); ok {
		return q.requestTags()[tag]
	}
	return nil
}

// requestTags are the tags that the request gives to an object.
func (q *request) requestTags() url.Values {
	if q.tags != nil {
		return q.tags
	}
	tags, err := url.ParseQuery(q.r.Header.Get("X-Amz-Tagging"))
	if err != nil {
		return nil // the handler refuses it
	}
	return tags
}
