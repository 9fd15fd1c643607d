package adminapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/reflect/protoreflect"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/daemon/adminapi/adminv1/adminv1connect"
	"k3fs/namespace"
	"k3fs/s3api"
	"k3fs/tenancy"
	"k3fs/tenancy/oidc"
)

// maxBody bounds a request, in bytes.
const maxBody = 1 << 20

// Node is the daemon, as its operator looks after it.
type Node interface {
	Status() *adminv1.GetStatusResponse
	Clock() namespace.ClockState
	// Mounts are those on demand of a tenant.
	Mounts(tenancy.TenantID) []*adminv1.Mount
	// EndMount unmounts one of a tenant's; namespace.Error of kind NotFound or Busy.
	EndMount(ctx context.Context, t tenancy.TenantID, dir string, lazy bool) error
	// EndMounts unmounts all of a tenant's, also those in use.
	EndMounts(ctx context.Context, t tenancy.TenantID) error
	// NodeKeys tells what holds the node's keys, to who may rotate them.
	NodeKeys(ctx context.Context, who tenancy.Principal) (*adminv1.NodeKeys, error)
	// RotateNodeKeys gives them another lock; namespace.Error of kind NotPermitted if that is not k3fs's to change.
	RotateNodeKeys(ctx context.Context, who tenancy.Principal) error
	Maintainer
}

// Maintainer is the daemon's maintenance. The caller has asked for the permission.
type Maintainer interface {
	Maintenance() *adminv1.Maintenance
	// Drain refuses what is new at both doors, or takes it again.
	Drain(ctx context.Context, who tenancy.Principal, on bool) error
	SetReadOnly(ctx context.Context, who tenancy.Principal, on bool) error
	// StartScrub begins a scrub; namespace.Error of kind Busy while there is other such work.
	StartScrub(ctx context.Context, who tenancy.Principal, r *adminv1.StartScrubRequest) error
	Scrub() *adminv1.Scrub
	StopScrub(ctx context.Context, who tenancy.Principal) error
	// StartBackup begins a backup of a name that may be in a path; Busy as StartScrub, Exists, and NotPermitted if there
	// is nowhere to make one.
	StartBackup(ctx context.Context, who tenancy.Principal, name string) error
	Backup() *adminv1.Backup
	StopBackup(ctx context.Context, who tenancy.Principal) error
}

// Options say what the API stands on. All but Bearer and Done are required.
type Options struct {
	Namespace *namespace.FS
	Tenancy   *tenancy.Tenancy
	Node      Node
	Logger    *slog.Logger
	// Now is the clock that signatures are checked against.
	Now func() time.Time
	// Bearer finds out for whom a JSON web token speaks; nil: none is taken.
	Bearer func(ctx context.Context, token string) (oidc.Identity, error)
	// Done is told of each request that was answered; may be nil.
	Done func(Call)
}

// Call is a request that was answered.
type Call struct {
	ID, Method, Code string // the method as Service.Method; the code is "ok" or connect's
	Tenant           tenancy.TenantID
	Account          string
	Remote           string
	Traceparent      string // that header (W3C Trace Context), as the client sent it
	Began            time.Time
	Elapsed          time.Duration
}

// Server answers requests.
type Server struct {
	o      Options
	auth   *s3api.Authenticator
	nonces nonces
	rules  map[string]rule // by procedure
	mux    *http.ServeMux
	fails  *connect.ErrorWriter
}

// New makes a server. It fails if a method names no permission.
func New(o Options) (*Server, error) {
	if o.Namespace == nil || o.Tenancy == nil || o.Node == nil || o.Logger == nil || o.Now == nil {
		return nil, errors.New("adminapi: Namespace, Tenancy, Node, Logger and Now are required")
	}
	rules, err := permissions(Files())
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, rules: rules, mux: http.NewServeMux(), fails: connect.NewErrorWriter(),
		auth: s3api.NewAuthenticator(Service, o.Tenancy.Authenticate, maxSkew, o.Now)}
	s.nonces.seen = map[string]time.Time{}
	with := []connect.HandlerOption{connect.WithInterceptors(s.interceptor()), connect.WithReadMaxBytes(maxBody),
		connect.WithRecover(s.recovered)}
	var names []string
	for _, mount := range s.services() {
		path, handler := mount(with...)
		s.mux.Handle(path, s.authenticated(handler))
		names = append(names, path[1:len(path)-1])
	}
	reflector := grpcreflect.NewStaticReflector(append(names, healthService)...)
	s.mux.Handle(grpcreflect.NewHandlerV1(reflector))
	s.mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector))
	s.mux.Handle(s.health(names))
	return s, nil
}

type mountService func(...connect.HandlerOption) (string, http.Handler)

// services are the handlers of all services, each at its path.
func (s *Server) services() []mountService {
	return []mountService{
		func(o ...connect.HandlerOption) (string, http.Handler) {
			return adminv1connect.NewTenantServiceHandler(tenants{s}, o...)
		},
		func(o ...connect.HandlerOption) (string, http.Handler) {
			return adminv1connect.NewPolicyServiceHandler(policies{s}, o...)
		},
		func(o ...connect.HandlerOption) (string, http.Handler) {
			return adminv1connect.NewUsageServiceHandler(usage{s}, o...)
		},
		func(o ...connect.HandlerOption) (string, http.Handler) {
			return adminv1connect.NewKeyServiceHandler(keys{s}, o...)
		},
		func(o ...connect.HandlerOption) (string, http.Handler) {
			return adminv1connect.NewAccountServiceHandler(accounts{s}, o...)
		},
		func(o ...connect.HandlerOption) (string, http.Handler) {
			return adminv1connect.NewBucketServiceHandler(buckets{s}, o...)
		},
		func(o ...connect.HandlerOption) (string, http.Handler) {
			return adminv1connect.NewObjectServiceHandler(objects{s}, o...)
		},
		func(o ...connect.HandlerOption) (string, http.Handler) {
			return adminv1connect.NewHoldServiceHandler(holds{s}, o...)
		},
		func(o ...connect.HandlerOption) (string, http.Handler) {
			return adminv1connect.NewAuditServiceHandler(auditLog{s}, o...)
		},
		func(o ...connect.HandlerOption) (string, http.Handler) {
			return adminv1connect.NewNodeServiceHandler(node{s}, o...)
		},
		func(o ...connect.HandlerOption) (string, http.Handler) {
			return adminv1connect.NewMaintenanceServiceHandler(maintenance{s}, o...)
		},
	}
}

// Files are the protobuf files of the API.
func Files() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{
		adminv1.File_k3fs_admin_v1_tenants_proto, adminv1.File_k3fs_admin_v1_accounts_proto, adminv1.File_k3fs_admin_v1_buckets_proto,
		adminv1.File_k3fs_admin_v1_objects_proto,
		adminv1.File_k3fs_admin_v1_usage_proto, adminv1.File_k3fs_admin_v1_node_proto, adminv1.File_k3fs_admin_v1_maintenance_proto,
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Call: Call{ID: ulid.Make().String(), Began: time.Now(), Remote: remote(r), Traceparent: r.Header.Get("Traceparent")}}
	w.Header().Set(requestIDHeader, c.ID)
	s.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
}

// requestIDHeader names a request in its answer; errors name it in their details, and logs, too.
const requestIDHeader = "X-Request-Id"

// call is a request under way.
type call struct {
	Call
	who tenancy.Principal // who asks, once that is known
}

type callKey struct{}

// callOf is the request that a context belongs to.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// done tells of a request that was answered.
func (s *Server) done(c *call, procedure string, err error) {
	c.Method, c.Code, c.Elapsed = methodName(procedure), "ok", time.Since(c.Began)
	c.Tenant, c.Account = c.who.Tenant, c.who.Account
	if err != nil {
		c.Code = connect.CodeOf(err).String()
	}
	if s.o.Done != nil {
		s.o.Done(c.Call)
	}
}

// view is the namespace as who asks may use it. values are what the conditions of policies may ask of the request.
func (s *Server) view(ctx context.Context, values map[string]string) *namespace.View {
	return s.o.Namespace.As(s.principal(ctx, values))
}

func (s *Server) principal(ctx context.Context, values map[string]string) tenancy.Principal {
	c := callOf(ctx)
	who := c.who
	if who.Request != nil {
		known := who.Request.Values
		who.Request = &tenancy.Request{Values: func(key string) []string {
			if v, ok := values[key]; ok {
				return []string{v}
			}
			return known(key)
		}}
	}
	return who
}
