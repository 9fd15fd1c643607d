package adminapi

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/namespace"
)

// usage implements UsageService.
type usage struct{ *Server }

func shownUsage(u namespace.Usage) *adminv1.Usage {
	return &adminv1.Usage{Bytes: u.Bytes, Inodes: u.Inodes}
}

func shownQuota(q namespace.Quota) *adminv1.Quota {
	l := &adminv1.Limits{Bytes: q.Bytes, Inodes: q.Inodes, SoftBytes: q.SoftBytes, SoftInodes: q.SoftInodes}
	if q.Grace > 0 {
		l.Grace = durationpb.New(q.Grace)
	}
	return &adminv1.Quota{Bucket: q.Bucket, Prefix: q.Prefix, Limits: l, Used: shownUsage(q.Used),
		BytesUntil: timestamp(q.BytesUntil), InodesUntil: timestamp(q.InodesUntil)}
}

func limitsOf(l *adminv1.Limits) (namespace.QuotaLimits, error) {
	to := namespace.QuotaLimits{Bytes: l.GetBytes(), Inodes: l.GetInodes(), SoftBytes: l.GetSoftBytes(), SoftInodes: l.GetSoftInodes()}
	if g := l.GetGrace(); g != nil {
		if to.Grace = g.AsDuration(); g.CheckValid() != nil || to.Grace <= 0 {
			return to, invalid("grace is no length of time over 0")
		}
	}
	return to, nil
}

// GetUsage implements UsageService.
func (s usage) GetUsage(ctx context.Context, r *connect.Request[adminv1.GetUsageRequest]) (*connect.Response[adminv1.GetUsageResponse], error) {
	u, err := s.view(ctx, nil).Usage(ctx, namespace.QuotaScope{Bucket: r.Msg.GetBucket(), Prefix: r.Msg.GetPrefix()})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.GetUsageResponse{Usage: shownUsage(u)}), nil
}

// GetQuota implements UsageService.
func (s usage) GetQuota(ctx context.Context, r *connect.Request[adminv1.GetQuotaRequest]) (*connect.Response[adminv1.GetQuotaResponse], error) {
	q, err := s.view(ctx, nil).Quota(ctx, namespace.QuotaScope{Bucket: r.Msg.GetBucket(), Prefix: r.Msg.GetPrefix()})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.GetQuotaResponse{Quota: shownQuota(q)}), nil
}

// ListQuotas implements UsageService.
func (s usage) ListQuotas(ctx context.Context, _ *connect.Request[adminv1.ListQuotasRequest]) (*connect.Response[adminv1.ListQuotasResponse], error) {
	all, err := s.view(ctx, nil).Quotas(ctx, 0)
	if err != nil {
		return nil, err
	}
	answer := &adminv1.ListQuotasResponse{}
	for _, q := range all {
		answer.Quotas = append(answer.Quotas, shownQuota(q))
	}
	return connect.NewResponse(answer), nil
}

// SetQuota implements UsageService.
func (s usage) SetQuota(ctx context.Context, r *connect.Request[adminv1.SetQuotaRequest]) (*connect.Response[adminv1.SetQuotaResponse], error) {
	if r.Msg.GetBucket() == "" {
		return nil, invalid("give a bucket: the limits of a tenant are its operator's to set, with SetTenantQuota")
	}
	to, err := limitsOf(r.Msg.GetLimits())
	if err == nil {
		err = s.view(ctx, nil).SetQuota(ctx, namespace.QuotaScope{Bucket: r.Msg.GetBucket(), Prefix: r.Msg.GetPrefix()}, to)
	}
	if err != nil {
		return nil, err
	}
	s.note(ctx, "quota set", "bucket", r.Msg.GetBucket(), "prefix", r.Msg.GetPrefix(), "bytes", to.Bytes, "inodes", to.Inodes)
	return connect.NewResponse(&adminv1.SetQuotaResponse{}), nil
}

// SetTenantQuota implements UsageService.
func (s usage) SetTenantQuota(ctx context.Context, r *connect.Request[adminv1.SetTenantQuotaRequest]) (*connect.Response[adminv1.SetTenantQuotaResponse], error) {
	t, err := s.o.Tenancy.FindTenant(ctx, r.Msg.GetTenant())
	if err != nil {
		return nil, err
	}
	to, err := limitsOf(r.Msg.GetLimits())
	if err == nil {
		err = s.view(ctx, nil).SetQuota(ctx, namespace.QuotaScope{Tenant: t.ID}, to)
	}
	if err != nil {
		return nil, err
	}
	s.note(ctx, "quota set", "tenant", t.Name, "bytes", to.Bytes, "inodes", to.Inodes)
	return connect.NewResponse(&adminv1.SetTenantQuotaResponse{}), nil
}
