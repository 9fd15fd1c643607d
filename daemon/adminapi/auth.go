package adminapi

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"k3fs/s3api"
	"k3fs/tenancy"
	"k3fs/tenancy/oidc"
)

// Service is what requests are signed for.
const Service = "k3fs"

// Headers of requests.
const (
	NonceHeader  = "K3fs-Nonce"  // 16 to 64 characters that were never used before; signed
	TenantHeader = "K3fs-Tenant" // of the host's administrator: for whose tenant
)

// maxSkew is how far the clocks of client and server may be apart.
const maxSkew = 5 * time.Minute

// authenticated lets those requests through whose maker is known.
func (s *Server) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			s.refuse(w, r, c, connect.NewError(connect.CodeResourceExhausted, errors.New("the request can't be read, or is over 1 MiB")))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if c.who, err = s.who(r, body); err != nil {
			s.refuse(w, r, c, err)
			return
		}
		c.who.Request = &tenancy.Request{Values: s.conditions(r)}
		next.ServeHTTP(w, r)
	})
}

// refuse answers a request that reaches no method.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, c *call, err error) {
	err = describe(c.ID, err)
	if s.fails.IsSupported(r) {
		_ = s.fails.Write(w, r, err) // a client that went away is nobody's error
	} else {
		http.Error(w, err.Error(), http.StatusUnauthorized)
	}
	procedure := r.URL.Path
	if _, known := s.rules[procedure]; !known {
		procedure = ""
	}
	s.done(c, procedure, err)
}

// who finds out who makes a request: whoever signed it, or for whom its token speaks, or the host's administrator at the
// other end of a socket. What is given and wrong is refused there, too.
func (s *Server) who(r *http.Request, body []byte) (tenancy.Principal, error) {
	if token, is := s3api.BearerToken(r.Header); is {
		return s.bearer(r, body, token)
	}
	signed, err := s.auth.Authenticate(r, body, "k3fs-nonce")
	switch {
	case errors.Is(err, s3api.ErrUnsigned) && Administrator(r.Context()):
		return s.administrator(r)
	case errors.Is(err, s3api.ErrUnsigned):
		return tenancy.Principal{}, unauthenticated("sign the request with an access key ('k3fs login'); only root, on the daemon's socket, needs none")
	case err != nil:
		return tenancy.Principal{}, unauthenticated(err.Error())
	case r.Header.Get(TenantHeader) != "":
		return tenancy.Principal{}, connect.NewError(connect.CodeInvalidArgument, errors.New("an access key has a tenant of its own: leave out "+TenantHeader))
	}
	if !s.nonces.use(signed.AccessKey, r.Header.Values(NonceHeader), signed.Expires.Add(maxSkew), s.o.Now()) {
		return tenancy.Principal{}, unauthenticated("the request was made before: sign each with a " + NonceHeader + " of its own, of 16 to 64 characters")
	}
	s.o.Tenancy.Used(signed.AccessKey)
	return signed.Principal, nil
}

// bearer finds out for whom a JSON web token speaks, by the rules of the S3 port: nothing else may say who asks.
func (s *Server) bearer(r *http.Request, body []byte, token string) (tenancy.Principal, error) {
	plain := r.Clone(r.Context())
	plain.Header.Del("Authorization")
	if _, err := s.auth.Authenticate(plain, body); !errors.Is(err, s3api.ErrUnsigned) || r.Header.Get(TenantHeader) != "" {
		return tenancy.Principal{}, unauthenticated("a bearer token alone says who asks, and of which tenant: send no signature and no " + TenantHeader + " beside it")
	}
	if s.o.Bearer == nil {
		return tenancy.Principal{}, unauthenticated("no identity provider is trusted here: the operator names them in the daemon's configuration (issuers)")
	}
	id, err := s.o.Bearer(r.Context(), token)
	switch {
	case err == nil && id.Principal.Tenant != 0:
		return id.Principal, nil
	case errors.Is(err, oidc.ErrExpired):
		return tenancy.Principal{}, unauthenticated("the token has expired: get another one from your identity provider")
	case errors.Is(err, oidc.ErrAway):
		return tenancy.Principal{}, connect.NewError(connect.CodeUnavailable, errors.New("the identity provider can't be asked for its keys at the moment: try again"))
	}
	s.o.Logger.Debug("admin: bearer token refused", "err", err)
	return tenancy.Principal{}, unauthenticated("the token can't be verified, or names no account here")
}

// administrator is the host's administrator, as the root account of a tenant.
func (s *Server) administrator(r *http.Request) (tenancy.Principal, error) {
	name := r.Header.Get(TenantHeader)
	if name == "" {
		return tenancy.Root(tenancy.FirstTenant), nil
	}
	t, err := s.o.Tenancy.FindTenant(r.Context(), name)
	if err != nil {
		return tenancy.Principal{}, failure(err)
	}
	return tenancy.Root(t.ID), nil
}

func unauthenticated(text string) error {
	return connect.NewError(connect.CodeUnauthenticated, errors.New(text))
}

// conditions is what the conditions of policies may ask of any request. Keys are in lower case.
func (s *Server) conditions(r *http.Request) func(string) []string {
	return func(key string) []string {
		switch key {
		case "aws:sourceip":
			if ip := remote(r); ip != "" {
				return []string{ip}
			}
		case "aws:securetransport":
			return []string{strconv.FormatBool(r.TLS != nil)}
		case "aws:useragent":
			return []string{r.UserAgent()}
		case "aws:currenttime":
			return []string{s.o.Now().UTC().Format(time.RFC3339)}
		case "aws:epochtime":
			return []string{strconv.FormatInt(s.o.Now().Unix(), 10)}
		}
		return nil
	}
}

// remote is the client's address, without port; empty for a unix socket.
func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}
