// Package sigv4 authenticates S3 requests: AWS Signature Version 4 in the Authorization header, in the query
// string (presigned URLs) and in a browser's form, the signature chain of aws-chunked bodies, and, where it is
// switched on, Signature Version 2.
//
// It owns the decision whether a request was made by the holder of a secret, and nothing after that:
// who the holder is comes from a [Secrets], what the holder may do is decided elsewhere, and the body
// is read and verified by the payload package from the [Payload] found here.
//
// Everything fails closed. A request that carries no mechanism is anonymous and is reported as such; one
// that carries half a mechanism, or two, is refused. Every error is an *s3err.Error.
//
// The package keeps no secret and no derived key beyond the request: deriving a signing key costs about
// 2 µs, less than it would cost to keep a cache true when a secret is changed or revoked.
//
// Sources: "Authenticating Requests (AWS Signature Version 4)" in the S3 API reference.
package sigv4

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"k3fs/s3api/internal/s3err"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeFormat = "20060102T150405Z"
	dateFormat = "20060102"
	maxExpiry  = 7 * 24 * time.Hour
)

// Secrets finds the secrets of an access key and the principal P that it stands for. There are two while a key is
// rotated. token is what came with it ("" if nothing did): temporary keys have one, and no others.
//
// An *s3err.Error is handed to the client as it is (a suspended tenant, a store that is down); every
// other error becomes InvalidAccessKeyId.
type Secrets[P any] interface {
	Secrets(ctx context.Context, accessKey, token string) (secrets []string, principal P, err error)
}

// Mechanism is how a request was authenticated.
type Mechanism int

// The mechanisms.
const (
	Anonymous   Mechanism = iota // no credentials at all; the zero value, and never a principal
	Header                       // Authorization: AWS4-HMAC-SHA256
	Presigned                    // X-Amz-Signature in the query
	Form                         // x-amz-signature in a form, of its policy
	HeaderV2                     // Authorization: AWS
	PresignedV2                  // Signature in the query
	FormV2                       // signature in a form
	Bearer                       // Authorization: Bearer; proven by the caller
	Share                        // X-K3-Token in the query; proven by the caller
)

// Scope is a credential scope: the day, region and service that a signing key is derived for.
type Scope struct {
	Date    string // YYYYMMDD
	Region  string
	Service string
}

// String is the scope as it is written into a string to sign.
func (s Scope) String() string {
	return s.Date + "/" + s.Region + "/" + s.Service + "/" + terminator
}

// Identity is the outcome of a successful verification.
type Identity[P any] struct {
	Mechanism     Mechanism
	AccessKey     string // empty when anonymous
	Principal     P      // the zero value when anonymous
	Scope         Scope
	SignedAt      time.Time
	SignedHeaders []string // lower case, as the client listed them
	Payload       Payload
}

// Options are the rules of a Verifier. The zero value is useful.
type Options struct {
	// Region that clients must sign for. Empty accepts any region that is consistent in itself, as
	// clients of a store that has no regions expect.
	Region string
	// Service that clients must sign for. Default "s3".
	Service string
	// MaxSkew between the client's clock and ours, in either direction. Default 15 minutes, as AWS.
	MaxSkew time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// V2 accepts Signature Version 2, which covers less of a request and rests on SHA-1.
	V2 bool
	// Bucket is the bucket that a Host header names, or "". Nil if none ever does.
	Bucket func(host string) string
}

// Verifier authenticates requests. It is safe for concurrent use.
type Verifier[P any] struct {
	known   Secrets[P]
	region  string
	service string
	maxSkew time.Duration
	now     func() time.Time
	v2      bool
	bucket  func(host string) string
}

// New makes a Verifier that finds its secrets in s.
func New[P any](s Secrets[P], o Options) *Verifier[P] {
	v := &Verifier[P]{known: s, region: o.Region, service: o.Service, maxSkew: o.MaxSkew, now: o.Now, v2: o.V2, bucket: o.Bucket}
	if v.service == "" {
		v.service = "s3"
	}
	if v.maxSkew <= 0 {
		v.maxSkew = 15 * time.Minute
	}
	if v.now == nil {
		v.now = time.Now
	}
	return v
}

// Verify authenticates r from its line and headers, without touching the body. After it returned nil,
// r.URL's query is known to parse in full (url.Values of r.URL.Query() drop nothing).
//
// A request without credentials yields an Identity whose Mechanism is Anonymous. In a presigned one, x-amz-*
// parameters of the query are also set as headers of r, see hoist.
func (v *Verifier[P]) Verify(r *http.Request) (*Identity[P], error) { return v.verify(r, nil) }

// VerifyBody is Verify for services whose clients hash the body without saying so in a header: body is the SHA-256 of
// the body that came.
func (v *Verifier[P]) VerifyBody(r *http.Request, body [32]byte) (*Identity[P], error) {
	id, err := v.verify(r, &body)
	if err == nil && id.Mechanism != Anonymous && (id.Payload.Mode != Exact || id.Payload.SHA256 != body) {
		return nil, mismatch()
	}
	return id, err
}

func (v *Verifier[P]) verify(r *http.Request, body *[32]byte) (*Identity[P], error) {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	mechanism, err := detect(r, query)
	if err != nil {
		return nil, err
	}
	var c *claim
	switch mechanism {
	case Header:
		c, err = v.headerClaim(r, body)
	case Presigned:
		c, err = v.presignedClaim(r, query)
	case HeaderV2, PresignedV2:
		return v.verifyV2(r, query, mechanism)
	default:
		payload, err := unchunkedPayload(r)
		if err != nil {
			return nil, err
		}
		return &Identity[P]{Payload: payload}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := checkSignedHeaders(r, c); err != nil {
		return nil, err
	}
	id, err := v.prove(r, query, c)
	if err == nil && mechanism == Presigned {
		err = hoist(r, query)
	}
	if err != nil {
		return nil, err
	}
	return id, nil
}

// claim is what a request says about itself before anything of it is proven.
type claim struct {
	mechanism     Mechanism
	accessKey     string
	token         string // of a session, or ""
	scope         Scope
	signedHeaders []string
	signature     string // 64 lower-case hex digits
	signedAt      time.Time
	payload       Payload
	payloadHash   string // the last line of the canonical request
}

// prove recomputes the signature of c with the secret of its access key.
func (v *Verifier[P]) prove(r *http.Request, query []param, c *claim) (*Identity[P], error) {
	secrets, principal, err := v.secrets(r.Context(), c.accessKey, c.token)
	if err != nil {
		return nil, err
	}
	timestamp := c.signedAt.Format(timeFormat)
	canonical := newCanonical(r, query, c)
	var messages []string
	for _, uri := range canonicalURIs(r) {
		messages = append(messages, stringToSign(timestamp, c.scope, canonical.hash(uri)))
	}
	key, ok := c.signedBy(secrets, messages)
	if !ok {
		return nil, mismatch()
	}
	payload := c.payload
	if payload.Mode.signedChunks() {
		payload.Chain = &Chain{key: key, timestamp: timestamp, scope: c.scope.String(), previous: c.signature}
	}
	return &Identity[P]{
		Mechanism: c.mechanism, AccessKey: c.accessKey, Principal: principal, Scope: c.scope,
		SignedAt: c.signedAt, SignedHeaders: c.signedHeaders, Payload: payload,
	}, nil
}

// signedBy finds the signing key of the secret by which one of the messages was signed.
func (c *claim) signedBy(secrets, messages []string) (key [32]byte, ok bool) {
	for _, secret := range secrets {
		key = signingKey(secret, c.scope)
		for _, m := range messages {
			if equal(sign(key[:], m), c.signature) {
				return key, true
			}
		}
	}
	return key, false
}

// secrets are those of an access key, none of which is empty.
func (v *Verifier[P]) secrets(ctx context.Context, accessKey, token string) ([]string, P, error) {
	secrets, principal, err := v.known.Secrets(ctx, accessKey, token)
	switch {
	case err != nil:
		err = secretError(err)
	case len(secrets) == 0 || slices.Contains(secrets, ""):
		err = s3err.New(s3err.InvalidAccessKeyID, "%s", noSuchKeyMessage)
	}
	return secrets, principal, err
}

func secretError(err error) error {
	if e, ok := err.(*s3err.Error); ok {
		return e
	}
	return s3err.Wrap(err, s3err.InvalidAccessKeyID, "%s", noSuchKeyMessage)
}

const noSuchKeyMessage = "The AWS Access Key Id you provided does not exist in our records."

func mismatch() *s3err.Error {
	return s3err.New(s3err.SignatureDoesNotMatch, "The request signature we calculated does not match the signature "+
		"you provided. Check your key and signing method.")
}

// detect finds the one mechanism that a request uses.
func detect(r *http.Request, query []param) (Mechanism, error) {
	headers, scheme := len(r.Header["Authorization"]), ""
	if headers == 1 {
		scheme, _, _ = strings.Cut(strings.Trim(r.Header["Authorization"][0], " \t"), " ")
	}
	v4, v2 := false, false
	for _, p := range query {
		switch strings.ToLower(p.name) {
		case "x-amz-algorithm", "x-amz-credential", "x-amz-signature":
			v4 = true
		case "awsaccesskeyid", "signature":
			v2 = true
		}
	}
	switch {
	case headers > 1, headers == 1 && (v4 || v2), v4 && v2:
		return Anonymous, s3err.New(s3err.InvalidArgument, "Only one auth mechanism allowed; only the X-Amz-Algorithm query "+
			"parameter, Signature query string parameter or the Authorization header should be specified")
	case headers == 1 && scheme == "":
		return Anonymous, s3err.New(s3err.AccessDenied, "Access Denied: the Authorization header is empty")
	case v2:
		return PresignedV2, nil
	case scheme == "AWS":
		return HeaderV2, nil
	case headers == 1:
		return Header, nil
	case v4:
		return Presigned, nil
	}
	return Anonymous, nil
}

func useV4() *s3err.Error {
	return s3err.New(s3err.InvalidRequest,
		"The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
}

// equal compares a computed signature with a claimed one in constant time.
func equal(computed [32]byte, claimed string) bool {
	var b [64]byte
	hex.Encode(b[:], computed[:])
	return subtle.ConstantTimeCompare(b[:], []byte(claimed)) == 1
}

// single returns the value of a header that may appear at most once.
func single(h http.Header, name string) (value string, present bool, err error) {
	values := h[name]
	switch len(values) {
	case 0:
		return "", false, nil
	case 1:
		return strings.Trim(values[0], " \t"), true, nil
	}
	return "", true, s3err.New(s3err.InvalidArgument, "The header %s may appear only once.", strings.ToLower(name))
}
