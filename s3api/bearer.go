package s3api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
	"k3fs/tenancy"
	"k3fs/tenancy/oidc"
)

// maxBearer bounds a bearer token, in bytes.
const maxBearer = 16 << 10

// bearer finds out who a JSON web token speaks for. All that is wrong with it is one answer: the log says more.
func (s *Server) bearer(ctx context.Context, token string) (oidc.Identity, error) {
	refused := func(err error) error {
		return s3err.Wrap(err, stsIdentity, "The token can't be verified, or names no account here.")
	}
	if s.o.Bearer == nil || token == "" || len(token) > maxBearer {
		return oidc.Identity{}, refused(nil)
	}
	id, err := s.o.Bearer(ctx, token)
	switch {
	case err == nil:
		return id, nil
	case errors.Is(err, oidc.ErrExpired):
		return oidc.Identity{}, s3err.Wrap(err, stsExpired, "The token has expired.")
	case errors.Is(err, oidc.ErrAway):
		return oidc.Identity{}, s3err.Wrap(err, stsIssuerAway, "The identity provider can't be asked for its keys at the moment.")
	}
	s.o.Logger.Debug("s3: bearer token refused", "err", err)
	return oidc.Identity{}, refused(err)
}

// BearerToken returns the token of an Authorization header of that scheme (RFC 6750, 2.1). ok is false for any other.
func BearerToken(h http.Header) (token string, ok bool) {
	if len(h["Authorization"]) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(strings.Trim(h["Authorization"][0], " \t"), " ")
	return strings.Trim(token, " \t"), strings.EqualFold(scheme, "Bearer")
}

// authenticate finds out who makes the request, by the one mechanism that it uses.
func (q *request) authenticate() (*sigv4.Identity[tenancy.Principal], error) {
	token, bearer := BearerToken(q.r.Header)
	shared := isShared(q.r.URL.RawQuery)
	if !bearer && !shared {
		return q.s.verifier.Verify(q.r)
	}
	if bearer && shared {
		return nil, oneMechanism()
	}
	plain := q.r
	if bearer {
		plain = q.r.Clone(q.ctx())
		plain.Header.Del("Authorization")
	}
	id, err := q.s.verifier.Verify(plain)
	if err != nil {
		return nil, err
	}
	if id.Mechanism != sigv4.Anonymous || len(q.r.Header["Authorization"]) > 0 && shared {
		return nil, oneMechanism()
	}
	if shared {
		id.Mechanism = sigv4.Share
		id.Principal, err = q.sharedBy()
		return id, err
	}
	who, err := q.s.bearer(q.ctx(), token)
	if err != nil {
		return nil, bearerError(err)
	}
	id.Mechanism, id.Principal = sigv4.Bearer, who.Principal
	return id, nil
}

func oneMechanism() error {
	return s3err.New(s3err.InvalidArgument, "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query "+
		"string parameter, X-K3-Token query parameter or the Authorization header should be specified")
}

// bearerError says in S3's words what is wrong with a token.
func bearerError(err error) error {
	var wire *s3err.Error
	if !errors.As(err, &wire) {
		return err
	}
	switch wire.Code {
	case stsExpired:
		return s3err.Wrap(wire.Err, codeExpiredToken, "The provided token has expired.")
	case stsIssuerAway:
		return s3err.Wrap(wire.Err, codeServiceUnavailable, "%s", wire.Message)
	}
	return s3err.Wrap(wire.Err, s3err.InvalidToken, "The provided token is malformed or otherwise invalid.")
}
