package s3api

import (
	"cmp"
	"net/http"
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
	metaPrefix    = "X-Amz-Meta-"
	maxMetaBytes  = 2 << 10 // of all user metadata, as S3 limits it
	sseHeader     = "X-Amz-Server-Side-Encryption"
	storageHeader = "X-Amz-Storage-Class"
)

// refused are headers whose meaning k3fs does not offer yet: a request that carries one fails, since doing
// the rest without it would break a promise (a hold that is not placed, a key that is not used).
var refused = []string{
	"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Object-Lock-Legal-Hold",
	"X-Amz-Bucket-Object-Lock-Enabled", "X-Amz-Mfa",
	"X-Amz-Tagging", "X-Amz-Website-Redirect-Location", "X-Amz-Write-Offset-Bytes",
	"X-Amz-Server-Side-Encryption-Customer-Algorithm", "X-Amz-Server-Side-Encryption-Customer-Key",
	"X-Amz-Copy-Source-Server-Side-Encryption-Customer-Algorithm", "X-Amz-Copy-Source-Server-Side-Encryption-Customer-Key",
	"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "X-Amz-Server-Side-Encryption-Context",
	"X-Amz-If-Match-Last-Modified-Time", "X-Amz-If-Match-Size", "X-Amz-Rename-Source",
	"X-Amz-Copy-Source-Version-Id", "X-Amz-Bucket-Namespace",
}

// checkHeaders refuses headers that ask for what is not offered. Off values (a lock "false") pass.
func checkHeaders(_ *route, h http.Header) error {
	for _, name := range refused {
		v := h.Get(name)
		if v != "" && !strings.EqualFold(v, "false") && !strings.EqualFold(v, "OFF") {
			return notImplemented("The header %s is not implemented.", strings.ToLower(name))
		}
	}
	switch sse := h.Get(sseHeader); sse {
	case "", "AES256": // everything is encrypted, whether asked for or not
	default:
		return notImplemented("Server-side encryption with %q is not implemented; use AES256.", printable(sse))
	}
	switch c := h.Get(storageHeader); c {
	case "", "STANDARD":
	default:
		return s3err.New(codeInvalidStorage, "The storage class you specified is not valid")
	}
	return nil
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
		v := strings.Join(values, ",")
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
		h["x-amz-meta-"+name] = []string{v}
	}
	h.Set("Etag", quoted(o.ETag))
	h.Set("Last-Modified", o.LastModified.UTC().Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
	h.Set(sseHeader, "AES256")
	if whole && strings.EqualFold(q.r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") {
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

func setChecksum(h http.Header, c namespace.Checksums) {
	if c.Algorithm == "" {
		return
	}
	h.Set("X-Amz-Checksum-"+c.Algorithm, c.Value)
	if c.Type != "" {
		h.Set("X-Amz-Checksum-Type", c.Type)
	}
}
