// Package s3err holds the typed error that the wire layers of s3api return: an S3 error code and the
// sentence that goes with it. It knows codes only; their HTTP status and XML form belong to s3api.
package s3err

import "fmt"

// Code is an error code as the S3 API reference names it ("Error responses").
type Code string

// The codes that reading and authenticating a request can end in.
const (
	AccessDenied                 Code = "AccessDenied"
	AuthorizationHeaderMalformed Code = "AuthorizationHeaderMalformed"
	AuthorizationQueryError      Code = "AuthorizationQueryParametersError"
	BadDigest                    Code = "BadDigest"
	EntityTooLarge               Code = "EntityTooLarge"
	IncompleteBody               Code = "IncompleteBody"
	InvalidAccessKeyID           Code = "InvalidAccessKeyId"
	InvalidArgument              Code = "InvalidArgument"
	InvalidDigest                Code = "InvalidDigest"
	InvalidRange                 Code = "InvalidRange"
	InvalidRequest               Code = "InvalidRequest"
	InvalidToken                 Code = "InvalidToken"
	InvalidURI                   Code = "InvalidURI"
	MalformedTrailer             Code = "MalformedTrailerError"
	MissingContentLength         Code = "MissingContentLength"
	MissingSecurityHeader        Code = "MissingSecurityHeader"
	RequestTimeTooSkewed         Code = "RequestTimeTooSkewed"
	RequestTimeout               Code = "RequestTimeout"
	SHA256Mismatch               Code = "XAmzContentSHA256Mismatch"
	SignatureDoesNotMatch        Code = "SignatureDoesNotMatch"
)

// Error is a request refused. Message goes to the client; Err, if any, is for the log only.
type Error struct {
	Code    Code
	Message string
	// Region is the region that the client should have used; it becomes the <Region> element from
	// which SDKs correct themselves. Empty otherwise.
	Region string
	Err    error
}

// New makes an Error with a formatted message.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap is New with a cause, which is not shown to the client.
func Wrap(err error, code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Err: err}
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }
