package s3api

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"k3fs/namespace"
	"k3fs/s3api/internal/header"
	"k3fs/s3api/internal/payload"
	"k3fs/s3api/internal/s3err"
)

// storedHeaders are the standard headers that an object keeps and gives back.
var storedHeaders = []string{"Content-Type", "Cache-Control", "Content-Disposition", "Content-Language", "Expires"}

const (
	metaPrefix     = "X-Amz-Meta-"
	maxMetaBytes   = 2 << 10 // of all user metadata, as S3 limits it
	storageHeader  = namespace.StorageClass
	redirectHeader = "X-Amz-Website-Redirect-Location"
	taggingHeader  = "X-Amz-Tagging"
)

// storageClasses are S3's. All are stored alike; what was asked for is told.
var storageClasses = map[string]bool{"STANDARD": true, "REDUCED_REDUNDANCY": true, "STANDARD_IA": true, "ONEZONE_IA": true,
	"INTELLIGENT_TIERING": true, "GLACIER": true, "DEEP_ARCHIVE": true, "OUTPOSTS": true, "GLACIER_IR": true, "SNOW": true,
	"EXPRESS_ONEZONE": true}

// refused are headers whose meaning k3fs does not offer yet: a request that carries one fails, since doing
// the rest without it would break a promise (a hold that is not placed, a key that is not used).
var refused = []string{
	"X-Amz-Mfa",
	"X-Amz-Bucket-Namespace",
	"X-Amz-Request-Route", // WriteGetObjectResponse
}

// takenBy are headers that only some actions understand. Any other request that carries one fails.
var takenBy = map[string]string{
	taggingHeader:                       "PutObject CopyObject CreateMultipartUpload",
	redirectHeader:                      "PutObject CopyObject CreateMultipartUpload",
	writeOffset:                         "AppendObject",
	renameSource:                        "RenameObject",
	lockModeHeader:                      "PutObject CopyObject CreateMultipartUpload",
	lockUntilHeader:                     "PutObject CopyObject CreateMultipartUpload",
	legalHoldHeader:                     "PutObject CopyObject CreateMultipartUpload",
	bucketLockHeader:                    "CreateBucket",
	"X-Amz-If-Match-Last-Modified-Time": "DeleteObject",
	"X-Amz-If-Match-Size":               "DeleteObject",
	"X-Amz-Mp-Object-Size":              "CompleteMultipartUpload",
}

// checkHeaders refuses headers that ask for what is not offered. Off values (a lock "false") pass.
func checkHeaders(r *route, h http.Header) error {
	if err := refuseCustomerKeys(h); err != nil {
		return err
	}
	action := "PutObject" // which a form stands for
	if r != nil {
		action = r.name
	}
	for name, actions := range takenBy {
		if h.Get(name) != "" && !slices.Contains(strings.Fields(actions), action) {
			return notImplemented("The header %s is not implemented for %s.", strings.ToLower(name), action)
		}
	}
	for _, name := range refused {
		v := h.Get(name)
		if v != "" && !strings.EqualFold(v, "false") && !strings.EqualFold(v, "OFF") {
			return notImplemented("The header %s is not implemented.", strings.ToLower(name))
		}
	}
	if c := h.Get(storageHeader); c != "" && !storageClasses[c] {
		return s3err.New(codeInvalidStorage, "The storage class you specified is not valid")
	}
	return nil
}

// storageClass is what an object's stored headers say.
func storageClass(stored map[string]string) string {
	if c := stored[storageHeader]; c != "" {
		return c
	}
	return "STANDARD"
}

// properties collects what a write's headers say about the object: PutObject, CreateMultipartUpload, a form.
func (q *request) properties(h http.Header) (p namespace.PutOptions, err error) {
	if p.Headers, p.Meta, err = objectHeaders(h); err != nil {
		return p, err
	}
	own, err := q.ownHeaders(h)
	if err != nil {
		return p, err
	}
	maps.Copy(p.Headers, own)
	p.Tags, err = headerTags(h.Get(taggingHeader))
	p.Conditions = writeConditions(h)
	if err == nil {
		p.Lock, err = askedLock(h)
	}
	return p, err
}

// ownHeaders are those of S3's own headers that an object keeps, and that a copy does not take over: storage
// class, website redirect and encryption.
func (q *request) ownHeaders(h http.Header) (map[string]string, error) {
	told, err := q.encryption(h)
	if err != nil {
		return nil, err
	}
	own := map[string]string{}
	maps.Copy(own, told)
	if c := h.Get(storageHeader); c != "" && c != "STANDARD" {
		own[storageHeader] = c
	}
	if to := h.Get(redirectHeader); to != "" {
		if !strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "http://") && !strings.HasPrefix(to, "https://") || len(to) > maxMetaBytes {
			return nil, s3err.New("InvalidRedirectLocation", "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.")
		}
		own[redirectHeader] = to
	}
	return own, nil
}

// objectHeaders collects what a PUT, Copy or CreateMultipartUpload says about the object.
func objectHeaders(h http.Header) (headers, meta map[string]string, err error) {
	headers = map[string]string{}
	for _, name := range storedHeaders {
		if v := h.Get(name); v != "" {
			headers[name] = v
		}
	}
	if v := payload.ContentEncoding(h); v != "" {
		headers["Content-Encoding"] = v
	}
	size := 0
	for name, values := range h {
		rest, ok := strings.CutPrefix(name, metaPrefix)
		if !ok {
			continue
		}
		if meta == nil {
			meta = map[string]string{}
		}
		v := storedMeta(strings.Join(values, ","))
		meta[strings.ToLower(rest)] = v
		size += len(rest) + len(v)
	}
	if size > maxMetaBytes {
		return nil, nil, s3err.New(codeMetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size")
	}
	return headers, meta, nil
}

// conditions reads the conditional headers, or those of a copy's source with the prefix.
func conditions(h http.Header, prefix string) namespace.Conditions {
	date := func(name string) time.Time {
		t, _ := header.ParseTime(h.Get(prefix + name)) // RFC 9110 section 13.1.3: what can't be read is ignored
		return t
	}
	return namespace.Conditions{
		IfMatch:           header.ParseETags(h.Values(prefix + "If-Match")).List(),
		IfNoneMatch:       header.ParseETags(h.Values(prefix + "If-None-Match")).List(),
		IfModifiedSince:   date("If-Modified-Since"),
		IfUnmodifiedSince: date("If-Unmodified-Since"),
	}
}

// writeConditions are those that a write may carry: ETags only.
func writeConditions(h http.Header) namespace.Conditions {
	c := conditions(h, "")
	c.IfModifiedSince, c.IfUnmodifiedSince = time.Time{}, time.Time{}
	return c
}

func quoted(etag string) string { return `"` + etag + `"` }

// describe sets the headers by which GET and HEAD describe an object.
func (q *request) describe(o namespace.ObjectInfo, whole bool) {
	h := q.w.Header()
	h.Set("Content-Type", cmp.Or(o.DerivedType, namespace.DefaultType))
	for name, v := range o.Headers {
		h.Set(name, v)
	}
	for name, v := range o.Meta {
		// Not Set: the names go out in lower case, as S3 sends them.
		h["x-amz-meta-"+name] = []string{sentMeta(v)}
	}
	h.Set("Etag", quoted(o.ETag))
	h.Set("Last-Modified", o.LastModified.UTC().Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
	tellVersion(h, o.Version)
	tellLock(h, &o)
	tellEncryption(h, o.Headers)
	q.tellExpiration(&o)
	if len(o.Tags) > 0 {
		h.Set("X-Amz-Tagging-Count", strconv.Itoa(len(o.Tags)))
	}
	if o.Part != nil && o.Parts > 0 {
		h.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(o.Parts))
	}
	switch {
	case !q.checksumMode():
	case o.Part != nil:
		sum := o.Part.Checksums
		sum.Type = o.Checksums.Type
		setChecksum(h, sum)
	case whole:
		setChecksum(h, o.Checksums)
	}
	for param, name := range map[string]string{
		"response-content-type": "Content-Type", "response-content-language": "Content-Language", "response-expires": "Expires",
		"response-cache-control": "Cache-Control", "response-content-disposition": "Content-Disposition", "response-content-encoding": "Content-Encoding",
	} {
		if v := q.query.Get(param); v != "" {
			h.Set(name, v)
		}
	}
}

// checksumMode reports whether the client asks for the checksum.
func (q *request) checksumMode() bool {
	return strings.EqualFold(q.r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED")
}

func setChecksum(h http.Header, c namespace.Checksums) {
	if c.Algorithm == "" {
		return
	}
	h.Set("X-Amz-Checksum-"+c.Algorithm, c.Value)
	if c.Type != "" {
		h.Set("X-Amz-Checksum-Type", c.Type)
	}
}
