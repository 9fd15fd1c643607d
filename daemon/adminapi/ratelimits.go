package adminapi

import (
	"context"

	"connectrpc.com/connect"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/tenancy"
)

// limitedTenant is the tenant that is named, or the caller's.
func (s usage) limitedTenant(ctx context.Context, name string) (tenancy.TenantID, error) {
	if name == "" {
		return callOf(ctx).who.Tenant, nil
	}
	t, err := s.admin(ctx).Tenant(ctx, name)
	return t.ID, err
}

// GetRateLimits implements UsageService.
func (s usage) GetRateLimits(ctx context.Context, r *connect.Request[adminv1.GetRateLimitsRequest]) (*connect.Response[adminv1.GetRateLimitsResponse], error) {
	id, err := s.limitedTenant(ctx, r.Msg.GetTenant())
	if err != nil {
		return nil, err
	}
	l, err := s.o.Tenancy.LimitsOf(ctx, s.principal(ctx, nil), id)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.GetRateLimitsResponse{Limits: &adminv1.RateLimits{Requests: l.Requests, ReadBytes: l.ReadBytes, WriteBytes: l.WriteBytes}}), nil
}

// SetRateLimits implements UsageService.
func (s usage) SetRateLimits(ctx context.Context, r *connect.Request[adminv1.SetRateLimitsRequest]) (*connect.Response[adminv1.SetRateLimitsResponse], error) {
	t, err := s.admin(ctx).Tenant(ctx, r.Msg.GetTenant())
	if err != nil {
		return nil, err
	}
	l := r.Msg.GetLimits()
	to := tenancy.Limits{Requests: l.GetRequests(), ReadBytes: l.GetReadBytes(), WriteBytes: l.GetWriteBytes()}
	if err := s.o.Tenancy.SetLimits(ctx, s.principal(ctx, nil), t.ID, to); err != nil {
		return nil, err
	}
	s.note(ctx, "a tenant's rate limits were set", "tenant", t.Name, "requests", to.Requests, "read_bytes", to.ReadBytes, "write_bytes", to.WriteBytes)
	return connect.NewResponse(&adminv1.SetRateLimitsResponse{}), nil
}
