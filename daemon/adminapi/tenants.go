package adminapi

import (
	"context"
	"strconv"

	"connectrpc.com/connect"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/tenancy"
)

// tenants implements TenantService.
type tenants struct{ *Server }

// admin is the administration of identity as who asks may do it.
func (s *Server) admin(ctx context.Context) *tenancy.Admin {
	return s.o.Tenancy.As(s.principal(ctx, nil))
}

func shownTenant(t tenancy.Tenant) *adminv1.Tenant {
	return &adminv1.Tenant{Id: uint64(t.ID), Name: t.Name, Email: t.Email, Suspended: t.Status != tenancy.Active, Created: timestamp(t.Created),
		AccountId: t.ID.AccountID(), CanonicalId: t.ID.Canonical()}
}

func shownCredentials(c tenancy.Credentials) *adminv1.Credentials {
	return &adminv1.Credentials{AccessKey: c.AccessKey, SecretKey: c.Secret}
}

// CreateTenant implements TenantService.
func (s tenants) CreateTenant(ctx context.Context, r *connect.Request[adminv1.CreateTenantRequest]) (*connect.Response[adminv1.CreateTenantResponse], error) {
	made, root, err := s.admin(ctx).CreateTenant(ctx, r.Msg.GetName(), r.Msg.GetEmail())
	if err != nil {
		return nil, err
	}
	s.note(ctx, "tenant created", "tenant", made.Name)
	return connect.NewResponse(&adminv1.CreateTenantResponse{Tenant: shownTenant(made), Root: shownCredentials(root)}), nil
}

// ListTenants implements TenantService.
func (s tenants) ListTenants(ctx context.Context, r *connect.Request[adminv1.ListTenantsRequest]) (*connect.Response[adminv1.ListTenantsResponse], error) {
	after, err := strconv.ParseUint(r.Msg.GetPageToken(), 10, 64)
	if err != nil && r.Msg.GetPageToken() != "" {
		return nil, invalid("the page token is none of ListTenants")
	}
	all, next, err := s.admin(ctx).Tenants(ctx, tenancy.TenantID(after), pageSize(r.Msg.GetPageSize()))
	if err != nil {
		return nil, err
	}
	answer := &adminv1.ListTenantsResponse{}
	for _, t := range all {
		answer.Tenants = append(answer.Tenants, shownTenant(t))
	}
	if next != 0 {
		answer.NextPageToken = strconv.FormatUint(uint64(next), 10)
	}
	return connect.NewResponse(answer), nil
}

// GetTenant implements TenantService.
func (s tenants) GetTenant(ctx context.Context, r *connect.Request[adminv1.GetTenantRequest]) (*connect.Response[adminv1.GetTenantResponse], error) {
	t, err := s.admin(ctx).Tenant(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.GetTenantResponse{Tenant: shownTenant(t)}), nil
}

// UpdateTenant implements TenantService.
func (s tenants) UpdateTenant(ctx context.Context, r *connect.Request[adminv1.UpdateTenantRequest]) (*connect.Response[adminv1.UpdateTenantResponse], error) {
	ch := tenancy.TenantChange{Name: r.Msg.NewName, Email: r.Msg.Email}
	if r.Msg.Suspended != nil {
		to := tenancy.Active
		if r.Msg.GetSuspended() {
			to = tenancy.Suspended
		}
		ch.Status = &to
	}
	t, err := s.admin(ctx).UpdateTenant(ctx, r.Msg.GetName(), ch)
	if err != nil {
		return nil, err
	}
	s.note(ctx, "tenant changed", "tenant", t.Name, "suspended", t.Status != tenancy.Active)
	return connect.NewResponse(&adminv1.UpdateTenantResponse{Tenant: shownTenant(t)}), nil
}

// ResetTenant implements TenantService.
func (s tenants) ResetTenant(ctx context.Context, r *connect.Request[adminv1.ResetTenantRequest]) (*connect.Response[adminv1.ResetTenantResponse], error) {
	root, err := s.admin(ctx).ResetTenant(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	s.note(ctx, "tenant's root account got another access key", "tenant", r.Msg.GetName(), "access_key", root.AccessKey)
	return connect.NewResponse(&adminv1.ResetTenantResponse{Root: shownCredentials(root)}), nil
}

// DeleteTenant implements TenantService.
func (s tenants) DeleteTenant(ctx context.Context, r *connect.Request[adminv1.DeleteTenantRequest]) (*connect.Response[adminv1.DeleteTenantResponse], error) {
	id, err := s.admin(ctx).DeleteTenant(ctx, r.Msg.GetName(), s.view(ctx, nil).Vacate)
	if err != nil {
		return nil, err
	}
	s.note(ctx, "tenant deleted", "tenant", r.Msg.GetName())
	if err := s.o.Node.EndMounts(ctx, id); err != nil {
		s.o.Logger.Warn("not all mounts of a deleted tenant could be ended", "tenant", r.Msg.GetName(), "err", err)
	}
	return connect.NewResponse(&adminv1.DeleteTenantResponse{}), nil
}

// note logs what was changed, by whom, with the request's id.
func (s *Server) note(ctx context.Context, what string, args ...any) {
	c := callOf(ctx)
	s.o.Logger.Info(what, append(args, "request", c.ID, "by_tenant", uint64(c.who.Tenant), "by", c.who.Account)...)
}
