package s3api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"time"

	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
	"k3fs/tenancy"
)

// Authenticator finds out who made a request of another API of this store, by the credentials that S3 requests are
// signed with: AWS Signature Version 4 in the Authorization header, for a service of its own, so that what was
// signed for one is of no use at the other.
type Authenticator struct {
	verifier *sigv4.Verifier[tenancy.Principal]
	skew     time.Duration
}

// Signed is who made a request, and until when the same signature would be taken again.
type Signed struct {
	Principal tenancy.Principal
	AccessKey string
	Expires   time.Time
}

// ErrUnsigned: a request carries no credentials at all.
var ErrUnsigned = errors.New("s3api: the request is not signed")

// errWrongKey is the one answer to an unknown, disabled or suspended access key and to a wrong secret.
var errWrongKey = errors.New("the access key or its secret is wrong")

// NewAuthenticator makes one for a service. authenticate is Options.Authenticate; skew bounds how far the clocks of
// client and server may be apart; now may be nil.
func NewAuthenticator(service string, authenticate func(ctx context.Context, accessKey, token string) ([]string, tenancy.Principal, error),
	skew time.Duration, now func() time.Time) *Authenticator {
	// Who is refused is checked against the decoy that comes with the error, and is nobody.
	decoyed := func(ctx context.Context, accessKey, token string) ([]string, tenancy.Principal, error) {
		found, p, err := authenticate(ctx, accessKey, token)
		if errors.Is(err, tenancy.ErrNoSuchKey) || errors.Is(err, tenancy.ErrSuspended) {
			p, err = tenancy.Principal{}, nil
		}
		return found, p, err
	}
	return &Authenticator{skew: skew, verifier: sigv4.New[tenancy.Principal](secrets(decoyed),
		sigv4.Options{Service: service, MaxSkew: skew, Now: now})}
}

// Authenticate proves that a request with this body was made by the holder of a secret, and that the signature is
// over the body and over the headers named here (in lower case). Only the Authorization header counts. ErrUnsigned
// if there is none. The other errors can be shown to the client.
func (a *Authenticator) Authenticate(r *http.Request, body []byte, headers ...string) (Signed, error) {
	id, err := a.verifier.Verify(r)
	if err != nil {
		return Signed{}, shownError(err)
	}
	switch id.Mechanism {
	case sigv4.Header:
	case sigv4.Anonymous:
		return Signed{}, ErrUnsigned
	default:
		return Signed{}, errors.New("sign the request in its Authorization header, with AWS4-HMAC-SHA256")
	}
	if id.Principal.Tenant == 0 {
		return Signed{}, errWrongKey
	}
	for _, name := range headers {
		if !slices.Contains(id.SignedHeaders, name) {
			return Signed{}, errors.New("the header " + name + " is not signed")
		}
	}
	sum := sha256.Sum256(body)
	if id.Payload.Mode != sigv4.Exact || subtle.ConstantTimeCompare(sum[:], id.Payload.SHA256[:]) != 1 {
		return Signed{}, errors.New("the body is not the one that was signed (x-amz-content-sha256)")
	}
	who := id.Principal
	who.AccessKey = id.AccessKey
	return Signed{Principal: who, AccessKey: id.AccessKey, Expires: id.SignedAt.Add(a.skew)}, nil
}

// shownError is an error as clients that are no S3 clients may see it.
func shownError(err error) error {
	var e *s3err.Error
	if !errors.As(err, &e) || e.Code == s3err.InvalidAccessKeyID || e.Code == s3err.SignatureDoesNotMatch {
		return errWrongKey
	}
	return errors.New(e.Message)
}
