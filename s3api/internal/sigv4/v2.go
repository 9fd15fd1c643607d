package sigv4

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"k3fs/s3api/internal/s3err"
)

// Signature Version 2 ("Signing and Authenticating REST Requests" in the S3 developer guide). It covers the
// method, four headers, x-amz-* headers, the path and some query parameters. It is off unless switched on.

// v2Signed are the query parameters that a signature covers.
var v2Signed = []string{
	"accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "encryption", "intelligent-tiering", "inventory",
	"legal-hold", "lifecycle", "location", "logging", "metrics", "notification", "object-lock", "partNumber", "policy",
	"policyStatus", "publicAccessBlock", "replication", "requestPayment", "response-cache-control",
	"response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type",
	"response-expires", "restore", "retention", "select", "select-type", "storageClass", "tagging", "torrent",
	"uploadId", "uploads", "versionId", "versioning", "versions", "website", "websiteConfig",
}

// v2Unsigned are the parameters that a signature does not cover and that only choose what of a listing is
// shown. Any other is refused: whoever holds a signed URL could add it.
var v2Unsigned = []string{
	"AWSAccessKeyId", "Expires", "Signature",
	"continuation-token", "delimiter", "encoding-type", "fetch-owner", "key-marker", "list-type", "marker", "max-keys",
	"max-parts", "max-uploads", "part-number-marker", "prefix", "start-after", "upload-id-marker", "version-id-marker", "x-id",
}

// v2Claim is what a request signed by Version 2 says about itself.
type v2Claim struct {
	mechanism Mechanism
	accessKey string
	signature string // base64 of HMAC-SHA1
	date      string // the fourth line of the string to sign
	signedAt  time.Time
}

// verifyV2 authenticates a request that is signed by Version 2, in the header or in the query.
func (v *Verifier[P]) verifyV2(r *http.Request, query []param, mechanism Mechanism) (*Identity[P], error) {
	if !v.v2 {
		return nil, useV4()
	}
	for _, p := range query {
		if !slices.Contains(v2Signed, p.name) && !slices.Contains(v2Unsigned, p.name) {
			return nil, s3err.New(s3err.AccessDenied, "The query parameter %q can't be used with signature version 2.", p.name)
		}
	}
	c, err := v.v2Claim(r, query, mechanism)
	if err != nil {
		return nil, err
	}
	if err := refuseToken(r.Header[tokenHeader]); err != nil {
		return nil, err
	}
	payload, err := unchunkedPayload(r)
	if err != nil {
		return nil, err
	}
	secrets, principal, err := v.secrets(r.Context(), c.accessKey, "")
	if err != nil {
		return nil, err
	}
	head, resource := v2Head(r, c.date), v.v2Path(r)
	ok := equalV2(secrets, head+resource+v2Resource(query), c.signature)
	if !ok && strings.LastIndexByte(resource, '/') == 0 && resource != "/" {
		// A bucket without an object: botocore signs it with a '/' behind it.
		ok = equalV2(secrets, head+resource+"/"+v2Resource(query), c.signature)
	}
	if !ok {
		return nil, mismatch()
	}
	return &Identity[P]{Mechanism: mechanism, AccessKey: c.accessKey, Principal: principal, SignedAt: c.signedAt, Payload: payload}, nil
}

func (v *Verifier[P]) v2Claim(r *http.Request, query []param, mechanism Mechanism) (*v2Claim, error) {
	c := &v2Claim{mechanism: mechanism}
	if mechanism == PresignedV2 {
		return c, v.v2Query(c, query)
	}
	credential := strings.TrimPrefix(strings.Trim(r.Header.Get("Authorization"), " \t"), "AWS ")
	var ok bool
	if c.accessKey, c.signature, ok = strings.Cut(strings.Trim(credential, " \t"), ":"); !ok || !printable(c.accessKey, maxAccessKey) {
		return nil, s3err.New(s3err.InvalidArgument, `Authorization header is invalid -- one and only one ":" is required`)
	}
	var err error
	if c.signedAt, c.date, err = v2Time(r.Header); err != nil {
		return nil, err
	}
	if skew := v.now().Sub(c.signedAt); skew > v.maxSkew || skew < -v.maxSkew {
		return nil, s3err.New(s3err.RequestTimeTooSkewed, "The difference between the request time and the current time is too large.")
	}
	return c, nil
}

// v2Query reads AWSAccessKeyId, Signature and Expires of a query, each of which must be there once.
func (v *Verifier[P]) v2Query(c *v2Claim, query []param) error {
	fields := map[string]string{}
	for _, p := range query {
		for _, name := range []string{"AWSAccessKeyId", "Signature", "Expires"} {
			if strings.EqualFold(p.name, name) {
				if _, twice := fields[name]; twice || p.name != name {
					return s3err.New(s3err.AccessDenied, "The query parameter %s must be given once, in this spelling.", name)
				}
				fields[name] = p.value
			}
		}
	}
	c.accessKey, c.signature, c.date = fields["AWSAccessKeyId"], fields["Signature"], fields["Expires"]
	if !printable(c.accessKey, maxAccessKey) || c.signature == "" || c.date == "" {
		return s3err.New(s3err.AccessDenied, "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
	}
	seconds, err := strconv.ParseInt(c.date, 10, 64)
	if err != nil {
		return s3err.New(s3err.AccessDenied, "Invalid date (should be seconds since epoch): %s", c.date)
	}
	now := v.now()
	switch expires := time.Unix(seconds, 0); {
	case now.After(expires):
		return s3err.New(s3err.AccessDenied, "Request has expired")
	case expires.After(now.Add(maxExpiry + v.maxSkew)):
		return s3err.New(s3err.AccessDenied, "Expires must be less than a week from now")
	}
	c.signedAt = now
	return nil
}

// v2Time is the time of a request that is signed in the header, and how it stands in the string to sign.
func v2Time(h http.Header) (t time.Time, signed string, err error) {
	missing := s3err.New(s3err.AccessDenied, "AWS authentication requires a valid Date or x-amz-date header")
	for _, name := range []string{dateHeader, "Date"} {
		value, present, err := single(h, name)
		if err != nil {
			return t, "", err
		}
		if !present {
			continue
		}
		for _, layout := range []string{http.TimeFormat, time.RFC1123Z, time.RFC1123, time.RFC850, time.ANSIC, timeFormat} {
			if t, err = time.Parse(layout, value); err == nil && t.Year() >= 1970 {
				if name == dateHeader {
					value = "" // it is among the x-amz- headers
				}
				return t, value, nil
			}
		}
		return t, "", missing
	}
	return t, "", missing
}

// v2Path is the path as it is signed: with the bucket, wherever the request names that.
func (v *Verifier[P]) v2Path(r *http.Request) string {
	if v.bucket != nil {
		if name := v.bucket(r.Host); name != "" {
			return "/" + name + r.URL.EscapedPath()
		}
	}
	return r.URL.EscapedPath()
}

// v2Head is the string to sign up to the resource.
func v2Head(r *http.Request, date string) string {
	var b strings.Builder
	for _, line := range []string{r.Method, r.Header.Get("Content-Md5"), r.Header.Get("Content-Type"), date} {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	var names []string
	for name := range r.Header {
		if strings.HasPrefix(strings.ToLower(name), "x-amz-") {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(x, y string) int { return strings.Compare(strings.ToLower(x), strings.ToLower(y)) })
	for _, name := range names {
		values := make([]string, len(r.Header[name]))
		for i, value := range r.Header[name] {
			values[i] = strings.Trim(value, " \t")
		}
		b.WriteString(strings.ToLower(name) + ":" + strings.Join(values, ",") + "\n")
	}
	return b.String()
}

// v2Resource is the part of the query that is signed.
func v2Resource(query []param) string {
	var signed []string
	for _, p := range query {
		if !slices.Contains(v2Signed, p.name) {
			continue
		}
		if p.value == "" {
			signed = append(signed, p.name)
		} else {
			signed = append(signed, p.name+"="+p.value)
		}
	}
	if len(signed) == 0 {
		return ""
	}
	slices.Sort(signed)
	return "?" + strings.Join(signed, "&")
}

// equalV2 compares the signature of a message by one of the secrets with a claimed one in constant time.
func equalV2(secrets []string, message, claimed string) bool {
	return slices.ContainsFunc(secrets, func(secret string) bool {
		mac := hmac.New(sha1.New, []byte(secret))
		mac.Write([]byte(message))
		return subtle.ConstantTimeCompare([]byte(base64.StdEncoding.EncodeToString(mac.Sum(nil))), []byte(claimed)) == 1
	})
}
