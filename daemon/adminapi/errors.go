package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"

	"k3fs/namespace"
	"k3fs/tenancy"
	"k3fs/tenancy/policy"
)

// domain is the one of the reasons in errors' details.
const domain = "k3fs"

// codes are the codes of the kinds of namespace errors.
var codes = map[namespace.Kind]connect.Code{
	namespace.NotFound: connect.CodeNotFound, namespace.NoBucket: connect.CodeNotFound, namespace.NoUpload: connect.CodeNotFound,
	namespace.NoAttr: connect.CodeNotFound, namespace.NoVersion: connect.CodeNotFound, namespace.IsMarker: connect.CodeNotFound,
	namespace.Exists: connect.CodeAlreadyExists, namespace.BucketOwned: connect.CodeAlreadyExists, namespace.BucketTaken: connect.CodeAlreadyExists,
	namespace.Invalid: connect.CodeInvalidArgument, namespace.InvalidName: connect.CodeInvalidArgument,
	namespace.InvalidBucketName: connect.CodeInvalidArgument, namespace.NameTooLong: connect.CodeInvalidArgument,
	namespace.BadVersion: connect.CodeInvalidArgument, namespace.TooBig: connect.CodeInvalidArgument, namespace.BadBody: connect.CodeInvalidArgument,
	namespace.Range: connect.CodeOutOfRange, namespace.Access: connect.CodePermissionDenied,
	namespace.NotPermitted: connect.CodeFailedPrecondition, namespace.NotDir: connect.CodeFailedPrecondition,
	namespace.IsDir: connect.CodeFailedPrecondition, namespace.NotEmpty: connect.CodeFailedPrecondition,
	namespace.CrossBucket: connect.CodeFailedPrecondition, namespace.Loop: connect.CodeFailedPrecondition,
	namespace.TooManyLinks: connect.CodeFailedPrecondition, namespace.ReadOnly: connect.CodeFailedPrecondition,
	namespace.PreconditionFailed: connect.CodeFailedPrecondition, namespace.NotModified: connect.CodeFailedPrecondition,
	namespace.InvalidPart: connect.CodeFailedPrecondition, namespace.InvalidPartOrder: connect.CodeFailedPrecondition,
	namespace.PartTooSmall: connect.CodeFailedPrecondition, namespace.WrongOffset: connect.CodeFailedPrecondition,
	namespace.BadHandle: connect.CodeFailedPrecondition, namespace.NoLock: connect.CodeFailedPrecondition,
	namespace.NoVersioning: connect.CodeFailedPrecondition, namespace.Busy: connect.CodeFailedPrecondition,
	namespace.Stale: connect.CodeAborted, namespace.NoSpace: connect.CodeResourceExhausted, namespace.QuotaExceeded: connect.CodeResourceExhausted,
	namespace.Unsupported: connect.CodeUnimplemented, namespace.Corrupt: connect.CodeDataLoss,
	namespace.Unavailable: connect.CodeUnavailable, namespace.Interrupted: connect.CodeCanceled,
}

// tenancyCodes are those of tenancy's errors.
var tenancyCodes = []struct {
	err    error
	code   connect.Code
	reason string
}{
	{tenancy.ErrDenied, connect.CodePermissionDenied, "Access"},
	{tenancy.ErrReadOnly, connect.CodeFailedPrecondition, "ReadOnly"},
	{tenancy.ErrNoTenant, connect.CodeNotFound, "NoTenant"},
	{tenancy.ErrNoAccount, connect.CodeNotFound, "NoAccount"},
	{tenancy.ErrNoPolicy, connect.CodeNotFound, "NoPolicy"},
	{tenancy.ErrNoShare, connect.CodeNotFound, "NoShare"},
	{tenancy.ErrInUse, connect.CodeFailedPrecondition, "InUse"},
	{tenancy.ErrNoSuchKey, connect.CodeNotFound, "NoAccessKey"},
	{tenancy.ErrExists, connect.CodeAlreadyExists, "Exists"},
	{tenancy.ErrInvalid, connect.CodeInvalidArgument, "Invalid"},
	{tenancy.ErrKeyAway, connect.CodeUnavailable, "KeyServiceAway"},
	{tenancy.ErrCorrupt, connect.CodeDataLoss, "Corrupt"},
	{context.Canceled, connect.CodeCanceled, "Interrupted"},
	{context.DeadlineExceeded, connect.CodeDeadlineExceeded, "Interrupted"},
}

// failure is an error with the code that clients see. What is unforeseen is internal, and its text stays here.
func failure(err error) *connect.Error {
	var done *connect.Error
	if errors.As(err, &done) {
		return done
	}
	var e *namespace.Error
	if errors.As(err, &e) && codes[e.Kind] != 0 {
		return withReason(codes[e.Kind], said(e), e.Kind.String())
	}
	var bad *policy.Error
	if errors.As(err, &bad) {
		return withReason(connect.CodeInvalidArgument, bad, "MalformedPolicy")
	}
	for _, known := range tenancyCodes {
		if errors.Is(err, known.err) {
			return withReason(known.code, errors.New(strings.TrimPrefix(err.Error(), "tenancy: ")), known.reason)
		}
	}
	return connect.NewError(connect.CodeInternal, internalError{err})
}

// said is an error in words that tell what to do, where those of the namespace are short.
func said(e *namespace.Error) error {
	switch e.Kind {
	case namespace.ReadOnly:
		if errors.Is(e, tenancy.ErrReadOnly) {
			return errors.New("the node is in read-only mode, which who operates it ends with 'k3fs maintenance readwrite'")
		}
	case namespace.NoBucket:
		return fmt.Errorf("there is no bucket %q", e.Name)
	case namespace.NotEmpty:
		return fmt.Errorf("%q is not empty: remove what is in it, older versions and uploads included", e.Name)
	case namespace.BucketOwned, namespace.BucketTaken:
		return fmt.Errorf("the name %q is taken: bucket names are unique in a store", e.Name)
	case namespace.InvalidBucketName:
		return fmt.Errorf("%q is no name for a bucket: 3 to 63 lower-case letters, digits, '-' and '.'", e.Name)
	}
	return e
}

// internalError hides an error's text from clients.
type internalError struct{ error }

func (internalError) Error() string { return "something went wrong inside; the daemon's log says more" }

// Unwrap returns the cause.
func (e internalError) Unwrap() error { return e.error }

func withReason(code connect.Code, err error, reason string) *connect.Error {
	return withDetail(connect.NewError(code, err), &errdetails.ErrorInfo{Reason: reason, Domain: domain})
}

func withDetail(err *connect.Error, m proto.Message) *connect.Error {
	if d, e := connect.NewErrorDetail(m); e == nil {
		err.AddDetail(d)
	}
	return err
}

// describe names the request in an error's details.
func describe(id string, err error) error {
	return withDetail(failure(err), &errdetails.RequestInfo{RequestId: id})
}

func invalid(format string, args ...any) error {
	return withReason(connect.CodeInvalidArgument, fmt.Errorf(format, args...), "Invalid")
}

func notFound(format string, args ...any) error {
	return withReason(connect.CodeNotFound, fmt.Errorf(format, args...), "NotFound")
}

// logFailure logs what is our own failure.
func (s *Server) logFailure(c *call, procedure string, err error) {
	var hidden internalError
	if errors.As(err, &hidden) {
		s.o.Logger.Error("admin: a request failed inside", "request", c.ID, "method", methodName(procedure), "err", hidden.error)
	}
}

// recovered answers a request whose method panicked.
func (s *Server) recovered(ctx context.Context, spec connect.Spec, _ http.Header, p any) error {
	s.o.Logger.Error("admin: a method panicked", "request", callOf(ctx).ID, "method", methodName(spec.Procedure),
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return connect.NewError(connect.CodeInternal, internalError{fmt.Errorf("panic: %v", p)})
}
