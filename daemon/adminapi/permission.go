package adminapi

import (
	"context"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/tenancy"
)

// rule is what a method needs.
type rule struct {
	action tenancy.Action
	scope  adminv1.Scope
}

// permissions reads what each method of the files needs. A method that names nothing, or nothing that tenancy knows,
// is an error.
func permissions(files []protoreflect.FileDescriptor) (map[string]rule, error) {
	rules := map[string]rule{}
	for _, f := range files {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				p, _ := proto.GetExtension(m.Options(), adminv1.E_Permission).(*adminv1.Permission)
				r := rule{tenancy.Action(p.GetAction()), p.GetScope()}
				if err := r.check(); err != nil {
					return nil, fmt.Errorf("adminapi: %s: %w", m.FullName(), err)
				}
				rules[fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())] = r
			}
		}
	}
	return rules, nil
}

// check makes sure that tenancy knows the action.
func (r rule) check() error {
	if r.action == "" {
		return fmt.Errorf("it names no permission")
	}
	root, res := tenancy.Root(tenancy.FirstTenant), tenancy.Resource{}
	switch r.scope {
	case adminv1.Scope_SCOPE_SELF:
		return nil
	case adminv1.Scope_SCOPE_TENANT, adminv1.Scope_SCOPE_NODE:
	case adminv1.Scope_SCOPE_BUCKET:
		res = tenancy.Resource{Owner: root.Tenant, Bucket: "bucket"}
	default:
		return fmt.Errorf("its permission has no scope")
	}
	if err := tenancy.Allow(root, r.action, res); err != nil {
		return fmt.Errorf("tenancy does not know its permission: %w", err)
	}
	return nil
}

// interceptor lets a method run for who has its permission.
func (s *Server) interceptor() connect.Interceptor {
	return connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
			c := callOf(ctx)
			answer, err := s.run(ctx, r, next)
			if err != nil {
				err = describe(c.ID, failure(err))
				s.logFailure(c, r.Spec().Procedure, err)
			}
			s.done(c, r.Spec().Procedure, err)
			return answer, err
		}
	})
}

func (s *Server) run(ctx context.Context, r connect.AnyRequest, next connect.UnaryFunc) (connect.AnyResponse, error) {
	who := callOf(ctx).who
	if who.Tenant == 0 || who.Account == "" {
		return nil, unauthenticated("nobody is authenticated")
	}
	need, ok := s.rules[r.Spec().Procedure]
	if !ok {
		return nil, tenancy.ErrDenied
	}
	switch need.scope {
	case adminv1.Scope_SCOPE_TENANT, adminv1.Scope_SCOPE_NODE:
		if err := s.o.Tenancy.Allow(who, need.action, tenancy.Resource{}); err != nil {
			return nil, err
		}
	}
	return next(ctx, r)
}

// methodName is a procedure's as people write it: Service.Method.
func methodName(procedure string) string {
	service, method, ok := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	if !ok {
		return "unknown"
	}
	return service[strings.LastIndexByte(service, '.')+1:] + "." + method
}
