package s3api

import (
	"encoding/json"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"k3fs/s3api/internal/sigv4"
	"k3fs/tenancy"
)

// Request is what Options.Done is told of a request that was answered. It holds nothing secret: signatures
// and tokens are left out of its URI.
type Request struct {
	ID        string
	Operation string // a route's name ("PutObject"), or "unknown"
	Status    int
	Code      string // S3's error code, or ""
	Began     time.Time
	Elapsed   time.Duration
	In, Out   int64 // bytes of the bodies

	Method, URI, Proto string // URI is redacted
	Bucket, Key        string
	Resource           string           // what the request was about: "OBJECT", "BUCKET", "UPLOADS", "ACL" ...
	Remote             string           // the client's address, without port
	Requester          string           // the canonical id of the tenant; "" if anonymous
	Tenant             tenancy.TenantID // the requester; 0 if anonymous
	Account, AccessKey string
	Signature          string // "SigV4", "SigV2" or ""
	Auth               string // "AuthHeader", "QueryString", "Form" or ""
	Host               string
	TLS                string // the version ("TLSv1.3") or ""
	Referer, UserAgent string
	Traceparent        string // that header (W3C Trace Context), as the client sent it
}

// signatureNames tells how each mechanism is called in an access log.
var signatureNames = map[sigv4.Mechanism][2]string{
	sigv4.Header: {"SigV4", "AuthHeader"}, sigv4.Presigned: {"SigV4", "QueryString"}, sigv4.Form: {"SigV4", "Form"},
	sigv4.HeaderV2: {"SigV2", "AuthHeader"}, sigv4.PresignedV2: {"SigV2", "QueryString"}, sigv4.FormV2: {"SigV2", "Form"},
	sigv4.Bearer: {"Bearer", "AuthHeader"}, sigv4.Share: {"Share", "QueryString"},
}

// record describes the request once it is answered.
func (q *request) record(began time.Time) Request {
	r := Request{
		ID: q.id, Operation: q.operation, Status: q.w.Status(), Code: string(q.code), Began: began, Elapsed: time.Since(began),
		In: q.in, Out: int64(max(q.w.Size(), 0)),
		Method: q.r.Method, URI: redacted(q.r.URL), Proto: q.r.Proto, Bucket: q.bucket, Key: q.key, Resource: q.resource(),
		Remote: q.remote(), Host: q.r.Host, Referer: redactedText(q.r.Referer()), UserAgent: q.r.UserAgent(),
		Traceparent: q.r.Header.Get("Traceparent"),
	}
	if q.r.TLS != nil {
		r.TLS = map[uint16]string{0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}[q.r.TLS.Version]
	}
	if id := q.identity; id != nil && id.Mechanism != sigv4.Anonymous {
		r.Tenant, r.Requester = id.Principal.Tenant, id.Principal.Tenant.Canonical()
		r.Account, r.AccessKey = id.Principal.Account, id.AccessKey
		r.Signature, r.Auth = signatureNames[id.Mechanism][0], signatureNames[id.Mechanism][1]
	}
	return r
}

func (q *request) remote() string {
	if host, _, err := net.SplitHostPort(q.r.RemoteAddr); err == nil {
		return host
	}
	return q.r.RemoteAddr
}

func (q *request) resource() string {
	switch {
	case q.sub != "":
		return strings.ToUpper(strings.ReplaceAll(q.sub, "-", "_"))
	case q.bucket == "":
		return "SERVICE"
	case q.key == "":
		return "BUCKET"
	}
	return "OBJECT"
}

// secretParams are the query parameters whose value proves something.
var secretParams = map[string]bool{
	"x-amz-signature": true, "signature": true, "x-amz-security-token": true, "x-k3-token": true, "token": true,
}

// redacted is a request's path and query without what proves who made it.
func redacted(u *url.URL) string {
	path := u.EscapedPath()
	if u.RawQuery == "" {
		return path
	}
	parts := strings.Split(u.RawQuery, "&")
	for i, part := range parts {
		name, _, _ := strings.Cut(part, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil || secretParams[strings.ToLower(strings.TrimSpace(plain))] {
			parts[i] = name + "=REDACTED"
		}
	}
	return path + "?" + strings.Join(parts, "&")
}

// redactedText is redacted for a URL that a client wrote somewhere else.
func redactedText(s string) string {
	u, err := url.Parse(s)
	if s == "" || err != nil {
		return ""
	}
	head, _, _ := strings.Cut(s, "?")
	if i := strings.Index(head, u.EscapedPath()); i >= 0 && u.User == nil {
		return head[:i] + redacted(u)
	}
	return redacted(u)
}

// AppendS3 appends the request as a line of S3's server access log, with its end.
func (r *Request) AppendS3(b []byte) []byte {
	field := func(s string) {
		if s == "" {
			s = "-"
		}
		b = append(append(b, s...), ' ')
	}
	quote := func(s string) {
		if s == "" {
			field("-")
			return
		}
		b = append(append(append(b, '"'), logText(s)...), '"', ' ')
	}
	count := func(n int64) {
		if n == 0 {
			field("-")
			return
		}
		field(strconv.FormatInt(n, 10))
	}
	millis := strconv.FormatInt(r.Elapsed.Milliseconds(), 10)
	field("-") // the bucket's owner is the requester's to know only
	field(logText(r.Bucket))
	field(r.Began.UTC().Format("[02/Jan/2006:15:04:05 -0700]"))
	field(r.Remote)
	field(r.Requester)
	field(r.ID)
	field("REST." + r.Method + "." + r.Resource)
	field(logText(url.PathEscape(r.Key)))
	quote(r.Method + " " + r.URI + " " + r.Proto)
	field(strconv.Itoa(r.Status))
	field(r.Code)
	count(r.Out)
	field("-")
	field(millis)
	field(millis)
	quote(r.Referer)
	quote(r.UserAgent)
	field("-")
	field(r.ID)
	field(r.Signature)
	field("-")
	field(r.Auth)
	field(logText(r.Host))
	field(r.TLS)
	field("-")
	b = append(b, "-\n"...)
	return b
}

// AppendJSON appends the request as a line of JSON.
func (r *Request) AppendJSON(b []byte) []byte {
	line, err := json.Marshal(map[string]any{
		"time": r.Began.UTC().Format(time.RFC3339Nano), "request_id": r.ID, "operation": r.Operation, "status": r.Status,
		"code": r.Code, "seconds": r.Elapsed.Seconds(), "bytes_in": r.In, "bytes_out": r.Out, "method": r.Method, "uri": r.URI,
		"proto": r.Proto, "bucket": r.Bucket, "key": r.Key, "remote": r.Remote, "requester": r.Requester, "account": r.Account,
		"access_key": r.AccessKey, "signature": r.Signature, "auth": r.Auth, "host": r.Host, "tls": r.TLS, "referer": r.Referer,
		"user_agent": r.UserAgent,
	})
	if err != nil { // nothing in it can't be written
		return b
	}
	return append(append(b, line...), '\n')
}

// logText keeps a client's text from breaking a line of the log, or from looking like another field.
func logText(s string) string {
	if !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == '"' || c >= 0x7f || c == '\\' }) {
		return s
	}
	q := strconv.QuoteToASCII(s)
	return q[1 : len(q)-1]
}
