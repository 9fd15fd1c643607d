package s3api

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"k3fs/namespace"
	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
	"k3fs/tenancy"
	"k3fs/tenancy/fair"
)

// request is one S3 request on its way through a handler.
type request struct {
	s         *Server
	gin       *gin.Context
	w         gin.ResponseWriter
	r         *http.Request
	id        string
	operation string
	sub       string // the route's sub-resource, if it has one

	bucket, key string
	query       url.Values
	identity    *sigv4.Identity[tenancy.Principal]
	view        namespace.Objects
	location    []string          // of CreateBucket, for the conditions of policies
	tags        url.Values        // of PutObjectTagging, for the conditions of policies
	lock        map[string]string // of PutObjectRetention and PutObjectLegalHold, for the conditions of policies
	in          int64             // bytes read of the body
	code        s3err.Code        // of the error that was answered, or ""

	tenant tenancy.TenantID // whose limits count: the caller's, 0 for anonymous ones
	pass   *fair.Pass       // nil before it is known
}

// enter asks the limits and the gate for a request of a tenant.
func (q *request) enter(t tenancy.TenantID) (err error) {
	if retry := q.s.o.Limiter.Admit(t); retry > 0 {
		q.w.Header().Set("Retry-After", strconv.Itoa(int((retry+time.Second-1)/time.Second)))
		return s3err.New(codeSlowDown, "Please reduce your request rate.")
	}
	q.tenant = t
	q.pass, err = q.s.o.Gate.Enter(q.ctx(), t)
	return err
}

func (q *request) ctx() context.Context { return q.r.Context() }

// limitIdle makes every read of the body and every write of the answer fail when it makes no progress for
// the idle time, so that a stalled client holds nothing for ever.
func (q *request) limitIdle() {
	rc := http.NewResponseController(q.w)
	idle := q.s.o.IdleTimeout
	_ = rc.SetReadDeadline(time.Now().Add(idle)) // test recorders have none
	_ = rc.SetWriteDeadline(time.Now().Add(idle))
	if q.r.Body != nil {
		q.r.Body = &idleBody{q: q, body: q.r.Body, rc: rc, idle: idle}
	}
}

// continueEmpty answers Expect: 100-continue where net/http does not, for a body of no bytes: botocore waits
// for it, and takes the next answer of the connection for it.
func (q *request) continueEmpty() {
	if q.r.ContentLength == 0 && strings.EqualFold(q.r.Header.Get("Expect"), "100-continue") {
		if w, ok := q.w.(interface{ Unwrap() http.ResponseWriter }); ok {
			w.Unwrap().WriteHeader(http.StatusContinue)
		}
	}
}

type idleBody struct {
	q    *request
	body io.ReadCloser
	rc   *http.ResponseController
	idle time.Duration
	next time.Time // when to move the deadlines again
}

func (b *idleBody) Read(p []byte) (n int, err error) {
	if now := time.Now(); now.After(b.next) {
		_ = b.rc.SetReadDeadline(now.Add(b.idle))
		_ = b.rc.SetWriteDeadline(now.Add(2 * b.idle))
		b.next = now.Add(b.idle / 8)
	}
	q := b.q
	if q.pass == nil { // on the way to finding out whose it is
		n, err = b.body.Read(p)
		q.in += int64(n)
		return n, err
	}
	entered := q.pass.Outside(q.ctx(), func() {
		if n, err = b.body.Read(p); n > 0 && q.s.o.Limiter.Write(q.ctx(), q.tenant, n) != nil {
			err = q.ctx().Err()
		}
	})
	q.in += int64(n)
	if err == nil {
		err = entered
	}
	return n, err
}

func (b *idleBody) Close() error { return b.body.Close() }

// idleWriter is the answer's writer with a deadline that moves as long as the client reads.
type idleWriter struct {
	q    *request
	w    io.Writer
	rc   *http.ResponseController
	idle time.Duration
	next time.Time
}

func (q *request) bodyWriter() *idleWriter {
	return &idleWriter{q: q, w: q.w, rc: http.NewResponseController(q.w), idle: q.s.o.IdleTimeout}
}

func (w *idleWriter) Write(p []byte) (n int, err error) {
	if now := time.Now(); now.After(w.next) {
		_ = w.rc.SetWriteDeadline(now.Add(w.idle))
		w.next = now.Add(w.idle / 8)
	}
	q := w.q
	entered := q.pass.Outside(q.ctx(), func() {
		if err = q.s.o.Limiter.Read(q.ctx(), q.tenant, len(p)); err == nil {
			n, err = w.w.Write(p)
		}
	})
	if err == nil {
		err = entered
	}
	return n, err
}

// xmlns is the namespace of every document of the S3 API.
const xmlns = "http://s3.amazonaws.com/doc/2006-03-01/"

// writeXML answers with a document.
func (q *request) writeXML(status int, doc any) error {
	b, err := xml.Marshal(doc)
	if err != nil {
		return err
	}
	return q.writeRawXML(status, append([]byte(xml.Header), b...))
}

func (q *request) writeRawXML(status int, b []byte) error {
	h := q.w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	q.w.WriteHeader(status)
	q.w.WriteHeaderNow()
	if q.r.Method != http.MethodHead {
		_, _ = q.w.Write(b) // a client that went away is nobody's error
	}
	return nil
}

// writeEmpty answers without a body.
func (q *request) writeEmpty(status int) error {
	if status != http.StatusNoContent && status != http.StatusNotModified {
		q.w.Header().Set("Content-Length", "0")
	}
	q.w.WriteHeader(status)
	q.w.WriteHeaderNow()
	return nil
}

// intParam reads a query parameter as a number between lo and hi; above hi it is hi, absent it is def.
func (q *request) intParam(name string, def, lo, hi int) (int, error) {
	v := q.query.Get(name)
	if v == "" {
		return def, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < lo || n > 1<<31-1 {
		return 0, s3err.New(s3err.InvalidArgument, "Argument %s must be an integer between %d and %d", name, lo, 1<<31-1)
	}
	return min(n, hi), nil
}

// checkExpectedOwner refuses a request about another owner's bucket than it is meant for (x-amz-expected-bucket-owner), and
// a copy from another owner's (x-amz-source-expected-bucket-owner). A bucket that is not there is the handler's to tell.
func (q *request) checkExpectedOwner() error {
	if err := q.expectOwner(q.bucket, q.r.Header.Get("X-Amz-Expected-Bucket-Owner")); err != nil {
		return err
	}
	want := q.r.Header.Get("X-Amz-Source-Expected-Bucket-Owner")
	if want == "" || len(q.r.Header.Values(copySource)) == 0 {
		return nil
	}
	src, err := q.source()
	if err != nil {
		return err
	}
	return q.expectOwner(src.Bucket, want)
}

func (q *request) expectOwner(bucket, want string) error {
	if want == "" || bucket == "" {
		return nil
	}
	t, _, err := q.view.BucketFront(q.ctx(), bucket)
	if err != nil || t == 0 || want == t.Canonical() || want == t.AccountID() {
		return err
	}
	var e *namespace.Error
	if _, err := q.view.HeadBucket(q.ctx(), bucket); errors.As(err, &e) && e.Kind == namespace.NoBucket {
		return q.hideFromAnonymous(err) // whose it is, is not told to who may not know that it is there
	}
	return s3err.New(s3err.AccessDenied, "Access Denied")
}

type owner struct {
	ID          string
	DisplayName string
}

// ownerOf names a tenant in documents.
func (q *request) ownerOf(t tenancy.TenantID) *owner {
	o := &owner{ID: t.Canonical(), DisplayName: t.AccountID()}
	if q.s.o.Tenants != nil {
		if known, err := q.s.o.Tenants.Tenant(q.ctx(), t); err == nil {
			o.DisplayName = known.Name
		}
	}
	return o
}

const timeFormat = "2006-01-02T15:04:05.000Z"

func xmlTime(t time.Time) string { return t.UTC().Format(timeFormat) }
