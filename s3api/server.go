package s3api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/oklog/ulid/v2"

	"k3fs/namespace"
	"k3fs/s3api/internal/cors"
	"k3fs/s3api/internal/lifecycle"
	"k3fs/s3api/internal/payload"
	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
	"k3fs/tenancy"
	"k3fs/tenancy/fair"
	"k3fs/tenancy/oidc"
)

// HealthPath answers 200 while the daemon serves. "-" can never be a bucket.
const HealthPath = "/-/healthz"

// Options say what the door stands on. As and Authenticate are required.
type Options struct {
	// As returns the namespace as a principal may use it.
	As func(tenancy.Principal) namespace.Objects
	// Authenticate finds an access key's secrets and principal, or fails as tenancy.Tenancy.Authenticate does.
	Authenticate func(ctx context.Context, accessKey, token string) (secrets []string, p tenancy.Principal, err error)
	// Sessions makes temporary credentials; nil: the token service is not there.
	Sessions Sessions
	// Bearer finds out whom a JSON web token speaks for; nil: none is taken.
	Bearer func(ctx context.Context, token string) (oidc.Identity, error)
	// Shared finds out whom a share link speaks for, or fails with tenancy.ErrDenied or ErrExpired; nil: none is taken.
	Shared func(ctx context.Context, c tenancy.ShareClaim) (tenancy.Principal, error)
	// Used is told of access keys that proved who they are; may be nil.
	Used func(accessKey string)
	// Tenants knows tenants by number and by name; without it they have only their ids.
	Tenants Directory
	// KMSKey reports whether a tenant has a key of that id, for SSE-KMS; nil knows none.
	KMSKey func(ctx context.Context, t tenancy.TenantID, id string) bool
	// Health says whether both doors serve; nil means always.
	Health func() error
	// Draining reports whether new requests are refused for a while (503); nil means never.
	Draining func() bool
	// Region that buckets are in, by default us-east-1. Requests may be signed for any region.
	Region string
	// Domains under which buckets are host names ("bucket.s3.example.com" for "s3.example.com"), beside
	// the style with the bucket in the path. Empty: only that.
	Domains []string
	// WebsiteDomains are those under which buckets are websites, for everyone and without signatures.
	WebsiteDomains []string
	// SignatureV2 accepts requests signed by AWS Signature Version 2, which old clients need.
	SignatureV2 bool
	// Ownership of objects in buckets that are made without saying; by default BucketOwnerEnforced, which
	// switches ACLs off. NoOwnership is what S3 once began with: ACLs are on.
	Ownership tenancy.Ownership
	// StaleUploads is after how long Expire aborts an upload that no lifecycle rule is about; 0 means never.
	StaleUploads time.Duration
	// IdleTimeout ends a request whose body, or a response whose reader, makes no progress for so
	// long. Default 60 s.
	IdleTimeout time.Duration
	// Now is the clock that signatures are checked against. Default time.Now.
	Now func() time.Time
	// Logger of requests that fail inside. Default slog.Default().
	Logger *slog.Logger
	// Limiter holds tenants to their limits, and Gate lets those that compete have equal parts of the node; either may be
	// nil.
	Limiter *fair.Limiter
	Gate    *fair.Gate
	// Done is told of each request that was answered; may be nil.
	Done func(Request)
}

// Directory finds tenants, or fails with tenancy.ErrNoTenant. *tenancy.Tenancy is one.
type Directory interface {
	Tenant(ctx context.Context, id tenancy.TenantID) (tenancy.Tenant, error)
	// FindTenant finds one by its name or, with an '@' in it, its address.
	FindTenant(ctx context.Context, name string) (tenancy.Tenant, error)
	Tenants(ctx context.Context) ([]tenancy.Tenant, error)
}

// Server is the S3 door as an http.Handler.
type Server struct {
	o        Options
	verifier *sigv4.Verifier[tenancy.Principal]
	routes   routeIndex

	stsVerifier *sigv4.Verifier[tenancy.Principal]

	engine *gin.Engine
	bodies payload.Opener

	// Buckets' documents that requests ask for.
	cors       parsed[cors.Config]
	lifecycles parsed[lifecycle.Config]
	websites   parsed[websiteDoc]
	encryption parsed[encryptionDoc]
}

// New makes the door.
func New(o Options) (*Server, error) {
	if o.As == nil || o.Authenticate == nil {
		return nil, errors.New("s3api: As and Authenticate are required")
	}
	o.Domains, o.WebsiteDomains = plainDomains(o.Domains), plainDomains(o.WebsiteDomains)
	if o.Ownership == "" {
		o.Ownership = tenancy.OwnerEnforced
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Server{o: o, routes: indexRoutes(routes())}
	s.verifier = sigv4.New[tenancy.Principal](secrets(o.Authenticate), sigv4.Options{Now: o.Now, V2: o.SignatureV2, Bucket: s.bucketOf})
	s.stsVerifier = sigv4.New[tenancy.Principal](secrets(o.Authenticate), sigv4.Options{Service: "sts", Now: o.Now})
	gin.SetMode(gin.ReleaseMode)
	s.engine = gin.New()
	s.engine.RedirectTrailingSlash = false
	s.engine.RedirectFixedPath = false
	s.engine.HandleMethodNotAllowed = false
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions} {
		s.engine.Handle(m, "/*path", s.serve)
	}
	s.engine.NoRoute(s.serve)
	return s, nil
}

func plainDomains(all []string) []string {
	plain := make([]string, len(all))
	for i, d := range all {
		plain[i] = strings.ToLower(strings.TrimPrefix(d, "*."))
	}
	return plain
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.engine.ServeHTTP(w, r) }

// Close ends the door's background work. It is called once no request is being served.
func (s *Server) Close() error { return s.bodies.Close() }

// secrets lets the verifier ask tenancy.
type secrets func(ctx context.Context, accessKey, token string) ([]string, tenancy.Principal, error)

func (f secrets) Secrets(ctx context.Context, accessKey, token string) ([]string, tenancy.Principal, error) {
	found, p, err := f(ctx, accessKey, token)
	switch {
	case err == nil, errors.Is(err, tenancy.ErrNoSuchKey):
		return found, p, err
	case errors.Is(err, tenancy.ErrSuspended):
		return nil, tenancy.Principal{}, s3err.Wrap(err, s3err.AccessDenied, "The account is suspended.")
	case errors.Is(err, tenancy.ErrBadToken):
		return nil, tenancy.Principal{}, s3err.Wrap(err, s3err.InvalidToken, "The provided token is malformed or otherwise invalid.")
	case errors.Is(err, tenancy.ErrExpired):
		return nil, tenancy.Principal{}, s3err.Wrap(err, codeExpiredToken, "The provided token has expired.")
	}
	return nil, tenancy.Principal{}, &s3err.Error{Code: codeServiceUnavailable, Message: "Credentials can't be looked up now.", Err: err}
}

// serve is the one entry of every request.
func (s *Server) serve(c *gin.Context) {
	r := c.Request
	if r.URL.Path == HealthPath {
		s.health(c)
		return
	}
	started := time.Now()
	q := &request{s: s, gin: c, w: c.Writer, r: r, id: ulid.Make().String(), operation: "unknown"}
	h := q.w.Header()
	h.Set("Server", "k3fs")
	h.Set("X-Amz-Request-Id", q.id)
	h.Set("X-Amz-Id-2", q.id)
	q.limitIdle()
	q.continueEmpty()
	q.answer()
	if s.o.Done != nil {
		s.o.Done(q.record(started))
	}
}

func (s *Server) health(c *gin.Context) {
	status := http.StatusOK
	body := "ok\n"
	if s.o.Health != nil {
		if err := s.o.Health(); err != nil {
			status, body = http.StatusServiceUnavailable, "not ready\n"
		}
	}
	c.Data(status, "text/plain; charset=utf-8", []byte(body))
}

// answer runs the request through route, authentication and handler, and writes the error if one is left.
// A panic of a handler becomes a 500 and a log entry; the daemon goes on.
func (q *request) answer() {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			q.s.o.Logger.Error("s3: a handler panicked", "request", q.id, "operation", q.operation, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			q.fail(&namespace.Error{Op: q.operation, Kind: namespace.Internal})
		}
	}()
	if err := q.dispatch(); err != nil {
		q.fail(err)
	}
}

// errDraining: an operator wants no new requests.
var errDraining = errors.New("s3api: draining")

func (q *request) dispatch() error {
	if draining := q.s.o.Draining; draining != nil && draining() {
		q.w.Header().Set("Retry-After", "5")
		q.w.Header().Set("Connection", "close") // for a balancer to send the next one elsewhere
		return s3err.Wrap(errDraining, codeServiceUnavailable, "This node takes no new requests at the moment.")
	}
	path, ok := strings.CutPrefix(q.r.URL.Path, "/")
	if !ok {
		return s3err.New(s3err.InvalidURI, "Couldn't parse the specified URI.")
	}
	if q.bucket = bucketOf(q.r.Host, q.s.o.WebsiteDomains); q.bucket != "" {
		q.key = path
		q.identity = &sigv4.Identity[tenancy.Principal]{}
		if err := q.enter(0); err != nil {
			return err
		}
		defer q.pass.Leave()
		return q.hideFromAnonymous(q.site())
	}
	if q.bucket = q.s.bucketOf(q.r.Host); q.bucket != "" {
		q.key = path
	} else {
		q.bucket, q.key, _ = strings.Cut(path, "/")
	}
	if !utf8.ValidString(q.key) {
		return s3err.New(s3err.InvalidURI, "Couldn't parse the specified URI.")
	}
	if q.r.Method == http.MethodOptions {
		return q.preflight()
	}
	if q.isSTS() {
		q.sts()
		return nil
	}
	q.answerOrigin()
	id, err := q.authenticate()
	if err != nil {
		return err
	}
	if err := q.enter(id.Principal.Tenant); err != nil {
		return err
	}
	defer q.pass.Leave()
	q.query = q.r.URL.Query()
	q.proven(id)
	q.view = q.viewAs(id.Principal)
	route, err := q.s.routes.find(q)
	if err != nil {
		return err
	}
	q.operation = route.name
	q.sub, _, _ = strings.Cut(route.sub, " ")
	if err := checkHeaders(route, q.r.Header); err != nil {
		return err
	}
	if err := q.checkExpectedOwner(); err != nil {
		return err
	}
	return q.hideFromAnonymous(q.unlessDenied(route, route.handle(q)))
}

// proven takes note of who makes the request.
func (q *request) proven(id *sigv4.Identity[tenancy.Principal]) {
	q.identity = id
	if q.s.o.Used != nil && id.AccessKey != "" {
		q.s.o.Used(id.AccessKey)
	}
}

// unlessDenied: who may not write is told that, and not what else is wrong with the request.
func (q *request) unlessDenied(r *route, err error) error {
	var wire *s3err.Error
	if r.action != tenancy.PutObject || q.key == "" || !errors.As(err, &wire) {
		return err
	}
	if denied := q.view.MayPut(q.ctx(), q.bucket, q.key); denied != nil {
		return denied
	}
	return err
}

// viewAs is the namespace as the request's principal may use it.
func (q *request) viewAs(p tenancy.Principal) namespace.Objects {
	p.Request = &tenancy.Request{Values: q.conditionValues}
	return q.s.o.As(p)
}

// bucketOf is the bucket that a Host header names in virtual-host style, or "".
func (s *Server) bucketOf(host string) string { return bucketOf(host, s.o.Domains) }

// bucketOf is what stands before one of the domains in a Host header, or "".
func bucketOf(host string, domains []string) string {
	if len(domains) == 0 {
		return ""
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, d := range domains {
		if name, ok := strings.CutSuffix(host, "."+d); ok && name != "" {
			return name
		}
	}
	return ""
}

// objectURL is where the object is found, by the host that the request came to.
func (q *request) objectURL(key string) string {
	path := "/" + q.bucket + "/" + key
	if q.s.bucketOf(q.r.Host) != "" {
		path = "/" + key
	}
	return q.scheme() + "://" + printable(q.r.Host) + (&url.URL{Path: path}).EscapedPath()
}

// hideFromAnonymous: who has no credentials is not told which buckets exist; but where ACLs are on by default, and
// every bucket is known, it is as on AWS.
func (q *request) hideFromAnonymous(err error) error {
	var e *namespace.Error
	if q.identity.Mechanism == sigv4.Anonymous && q.s.o.Ownership == tenancy.OwnerEnforced && errors.As(err, &e) && e.Kind == namespace.NoBucket {
		return &namespace.Error{Op: e.Op, Kind: namespace.Access}
	}
	return err
}
