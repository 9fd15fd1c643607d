package s3api

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"k3fs/namespace"
	"k3fs/s3api/internal/s3err"
	"k3fs/tenancy"
)

// The codes that this room adds to those of the wire layers.
const (
	codeServiceUnavailable s3err.Code = "ServiceUnavailable"
	codeInternal           s3err.Code = "InternalError"
	codeNotImplemented     s3err.Code = "NotImplemented"
	codeMethodNotAllowed   s3err.Code = "MethodNotAllowed"
	codeNoSuchKey          s3err.Code = "NoSuchKey"
	codeMalformedXML       s3err.Code = "MalformedXML"
	codeInvalidRange                  = s3err.InvalidRange
	codePrecondition       s3err.Code = "PreconditionFailed"
	codeInvalidBucketName  s3err.Code = "InvalidBucketName"
	codeIllegalLocation    s3err.Code = "IllegalLocationConstraintException"
	codeInvalidStorage     s3err.Code = "InvalidStorageClass"
	codeMetadataTooLarge   s3err.Code = "MetadataTooLarge"
	codeInvalidPartNumber  s3err.Code = "InvalidPartNumber"
	codeAccessForbidden    s3err.Code = "AccessForbidden"
	codeSlowDown           s3err.Code = "SlowDown"
	codeExpiredToken       s3err.Code = "ExpiredToken"
)

type answer struct {
	code    s3err.Code
	status  int
	message string // empty: the error's own
}

// kindAnswers translates what the namespace says. Each kind has its line; a test walks them all.
var kindAnswers = map[namespace.Kind]answer{
	namespace.Internal:           {codeInternal, 500, "We encountered an internal error. Please try again."},
	namespace.NotFound:           {codeNoSuchKey, 404, "The specified key does not exist."},
	namespace.NoBucket:           {"NoSuchBucket", 404, "The specified bucket does not exist"},
	namespace.NoUpload:           {"NoSuchUpload", 404, "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."},
	namespace.NoAttr:             {codeNoSuchKey, 404, "The specified attribute does not exist."},
	namespace.Exists:             {"OperationAborted", 409, "A conflicting operation is in progress against this resource. Try again."},
	namespace.BucketOwned:        {"BucketAlreadyOwnedByYou", 409, "Your previous request to create the named bucket succeeded and you already own it."},
	namespace.BucketTaken:        {"BucketAlreadyExists", 409, "The requested bucket name is not available. Select a different name and try again."},
	namespace.NotDir:             {s3err.InvalidArgument, 400, "A component of the key is not a directory."},
	namespace.IsDir:              {s3err.InvalidArgument, 400, "The key names a directory."},
	namespace.NotEmpty:           {"BucketNotEmpty", 409, "The bucket you tried to delete is not empty"},
	namespace.Invalid:            {s3err.InvalidArgument, 400, "Invalid Argument"},
	namespace.InvalidName:        {s3err.InvalidArgument, 400, "The key can't be used: it must be 1 to 1024 bytes of UTF-8 without NUL."},
	namespace.InvalidBucketName:  {codeInvalidBucketName, 400, "The specified bucket is not valid."},
	namespace.NameTooLong:        {"KeyTooLongError", 400, "Your key is too long"},
	namespace.CrossBucket:        {s3err.InvalidRequest, 400, "The operation can't cross buckets."},
	namespace.Loop:               {s3err.InvalidRequest, 400, "A directory can't be moved into itself."},
	namespace.TooManyLinks:       {s3err.InvalidRequest, 400, "Too many links."},
	namespace.Access:             {s3err.AccessDenied, 403, "Access Denied"},
	namespace.NotPermitted:       {s3err.AccessDenied, 403, "Access Denied"},
	namespace.ReadOnly:           {codeServiceUnavailable, 503, "The store is read-only at the moment."},
	namespace.NoSpace:            {"InsufficientStorage", 507, "The disk is full. Delete something and try again."},
	namespace.QuotaExceeded:      {"QuotaExceeded", 403, "The quota is used up."},
	namespace.TooBig:             {s3err.EntityTooLarge, 400, "Your proposed upload exceeds the maximum allowed size"},
	namespace.Range:              {codeInvalidRange, 416, "The requested range is not satisfiable"},
	namespace.PreconditionFailed: {codePrecondition, 412, "At least one of the pre-conditions you specified did not hold"},
	namespace.NotModified:        {"NotModified", 304, "Not Modified"},
	namespace.InvalidPart:        {"InvalidPart", 400, "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."},
	namespace.InvalidPartOrder:   {"InvalidPartOrder", 400, "The list of parts was not in ascending order. Parts must be ordered by part number."},
	namespace.PartTooSmall:       {"EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed size"},
	namespace.WrongOffset:        {"InvalidWriteOffset", 400, "The write offset value that you specified does not match the current object size."},
	namespace.Busy:               {"OperationAborted", 409, "A conflicting operation is in progress against this resource. Try again."},
	namespace.Stale:              {codeNoSuchKey, 404, "The specified key does not exist."},
	namespace.BadHandle:          {codeInternal, 500, "We encountered an internal error. Please try again."},
	namespace.Unsupported:        {codeNotImplemented, 501, "A header or operation you provided implies functionality that is not implemented."},
	namespace.Corrupt:            {codeInternal, 500, "The stored data failed its integrity check and is not served."},
	namespace.Unavailable:        {codeServiceUnavailable, 503, "Reduce your request rate and try again later."},
	namespace.Interrupted:        {s3err.RequestTimeout, 400, "Your socket connection to the server was not read from or written to within the timeout period."},
	namespace.NoVersion:          {"NoSuchVersion", 404, "The specified version does not exist."},
	namespace.BadVersion:         {s3err.InvalidArgument, 400, "Invalid version id specified"},
	namespace.IsMarker:           {codeMethodNotAllowed, 405, "The specified method is not allowed against this resource."},
	namespace.NoLock:             {s3err.InvalidRequest, 400, noLockOnBucket},
	namespace.NoVersioning:       {"InvalidBucketState", 409, "Object Lock needs versioning, which is not enabled, or can't be suspended with an Object Lock configuration."},
	namespace.BadBody:            {s3err.BadDigest, 400, "The body did not arrive as announced."},
}

// codeStatus is the HTTP status of the codes that the wire layers and handlers give themselves; the rest
// are 400.
var codeStatus = map[s3err.Code]int{
	s3err.AccessDenied:          403,
	s3err.InvalidAccessKeyID:    403,
	s3err.RequestTimeTooSkewed:  403,
	s3err.SignatureDoesNotMatch: 403,
	s3err.MissingContentLength:  411,
	codeServiceUnavailable:      503,
	codeInternal:                500,
	codeNotImplemented:          501,
	codeMethodNotAllowed:        405,
	codeNoSuchKey:               404,
	codeInvalidRange:            416,
	codePrecondition:            412,
	codeAccessForbidden:         403,
	codeSlowDown:                503,

	"BucketAlreadyExists": 409, "NoSuchBucketPolicy": 404, "NoSuchTagSet": 404, "NoSuchCORSConfiguration": 404, "NoSuchWebsiteConfiguration": 404,
	"NoSuchLifecycleConfiguration": 404, "OwnershipControlsNotFoundError": 404, "NoSuchPublicAccessBlockConfiguration": 404,
	"ServerSideEncryptionConfigurationNotFoundError": 404, noLockConfigError: 404, "NoSuchObjectLockConfiguration": 404,
}

type errorDoc struct {
	XMLName    xml.Name `xml:"Error"`
	Code       s3err.Code
	Message    string
	Key        string `xml:",omitempty"`
	BucketName string `xml:",omitempty"`
	Region     string `xml:",omitempty"`
	Resource   string
	RequestID  string `xml:"RequestId"`
	HostID     string `xml:"HostId"`
}

// translate finds S3's answer to an error.
func translate(err error) (answer, *s3err.Error) {
	var wire *s3err.Error
	if errors.As(err, &wire) {
		status, ok := codeStatus[wire.Code]
		if !ok {
			status = 400
		}
		return answer{wire.Code, status, wire.Message}, wire
	}
	var e *namespace.Error
	if errors.As(err, &e) {
		if a, ok := kindAnswers[e.Kind]; ok {
			if errors.As(err, new(*namespace.Refusal)) {
				a.message = wormRefusal
			}
			return a, nil
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return kindAnswers[namespace.Interrupted], nil
	}
	return kindAnswers[namespace.Internal], nil
}

// fail answers with the error's document. Once the answer has begun, the connection is cut instead, so that
// the client can't take half an object for a whole one.
func (q *request) fail(err error) {
	a, wire := translate(err)
	q.code = a.code
	wanted := a.code == codeSlowDown || errors.Is(err, errDraining) || errors.Is(err, tenancy.ErrReadOnly)
	if a.status >= 500 && a.status != http.StatusNotImplemented && !wanted {
		q.s.o.Logger.Error("s3: request failed", "request", q.id, "operation", q.operation, "status", a.status, "error", err)
	}
	if q.w.Written() {
		panic(http.ErrAbortHandler)
	}
	h := q.w.Header()
	for _, name := range []string{"Content-Length", "Content-Range", "Accept-Ranges", "Content-Encoding", "Content-Type", "Content-Disposition", "Cache-Control", "Expires"} {
		h.Del(name)
	}
	tellMarker(h, err)
	if q.r.Body != nil && q.r.ContentLength != 0 {
		h.Set("Connection", "close") // what is left of the body must not be taken for the next request
	}
	if a.status == http.StatusNotModified || q.r.Method == http.MethodHead {
		q.w.WriteHeader(a.status)
		q.w.WriteHeaderNow()
		return
	}
	doc := errorDoc{Code: a.code, Message: a.message, Resource: printable(q.r.URL.Path), RequestID: q.id, HostID: q.id, BucketName: printable(q.bucket)}
	if a.code == codeNoSuchKey {
		doc.Key = printable(q.key)
	}
	if wire != nil {
		doc.Region = wire.Region
	}
	if err := q.writeXML(a.status, doc); err != nil {
		q.w.WriteHeader(500)
		q.w.WriteHeaderNow()
	}
	q.drain()
}

// drain reads on after an early refusal, within bounds, so that a client that is still sending its body gets
// to read the answer before the connection is closed.
func (q *request) drain() {
	if q.r.Body == nil || q.r.ContentLength == 0 || q.in == 0 && q.r.Header.Get("Expect") != "" {
		return
	}
	q.w.Flush()
	_ = http.NewResponseController(q.w).SetReadDeadline(time.Now().Add(drainTime))
	if b, ok := q.r.Body.(*idleBody); ok {
		_, _ = io.CopyN(io.Discard, b.body, drainBytes)
	}
}

const (
	drainBytes = 32 << 20
	drainTime  = 5 * time.Second
)

// printable makes a client's bytes fit for an XML document.
func printable(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func notImplemented(format string, args ...any) error {
	return s3err.New(codeNotImplemented, format, args...)
}
