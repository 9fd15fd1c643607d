package adminapi

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/namespace"
	"k3fs/tenancy"
)

func shownReport(r namespace.ShredReport) *adminv1.ErasureReport {
	return &adminv1.ErasureReport{Erased: r.Erased, Forced: r.Forced, Buckets: r.Buckets, Versions: r.Versions, Bytes: r.Bytes, FreedBytes: r.Freed,
		Held: r.Held, Compliance: r.Compliance, Governance: r.Governance, LegalHold: r.OnLegal, Holds: r.Holds}
}

func shownErasure(e namespace.Erasure, tenant string) *adminv1.Erasure {
	return &adminv1.Erasure{Id: e.ID, Tenant: tenant, By: e.By, Reason: e.Reason, Asked: timestamp(e.Asked), Until: timestamp(e.Until)}
}

// erased ends the mounts of a tenant that was erased.
func (s tenants) erased(ctx context.Context, t tenancy.Tenant, r namespace.ShredReport) {
	if !r.Erased {
		return
	}
	s.note(ctx, "tenant erased", "tenant", t.Name, "forced", r.Forced)
	if err := s.o.Node.EndMounts(ctx, t.ID); err != nil {
		s.o.Logger.Warn("not all mounts of an erased tenant could be ended", "tenant", t.Name, "err", err)
	}
}

// EraseTenant implements TenantService.
func (s tenants) EraseTenant(ctx context.Context, r *connect.Request[adminv1.EraseTenantRequest]) (*connect.Response[adminv1.EraseTenantResponse], error) {
	t, err := s.o.Tenancy.FindTenant(ctx, r.Msg.GetTenant())
	if err != nil {
		return nil, err
	}
	report, err := s.view(ctx, nil).Shred(ctx, t.ID, namespace.ShredOptions{DryRun: r.Msg.GetDryRun(), BypassGovernance: r.Msg.GetBypassGovernance()})
	if err != nil {
		return nil, err
	}
	s.erased(ctx, t, report)
	return connect.NewResponse(&adminv1.EraseTenantResponse{Report: shownReport(report)}), nil
}

// RequestErasure implements TenantService.
func (s tenants) RequestErasure(ctx context.Context, r *connect.Request[adminv1.RequestErasureRequest]) (*connect.Response[adminv1.RequestErasureResponse], error) {
	t, err := s.o.Tenancy.FindTenant(ctx, r.Msg.GetTenant())
	if err != nil {
		return nil, err
	}
	e, err := s.view(ctx, nil).RequestErasure(ctx, t.ID, r.Msg.GetReason())
	if err != nil {
		return nil, err
	}
	s.note(ctx, "erasure of a tenant requested", "tenant", t.Name, "erasure", e.ID)
	return connect.NewResponse(&adminv1.RequestErasureResponse{Erasure: shownErasure(e, t.Name)}), nil
}

// ConfirmErasure implements TenantService.
func (s tenants) ConfirmErasure(ctx context.Context, r *connect.Request[adminv1.ConfirmErasureRequest]) (*connect.Response[adminv1.ConfirmErasureResponse], error) {
	t, err := s.o.Tenancy.FindTenant(ctx, r.Msg.GetTenant())
	if err != nil {
		return nil, err
	}
	report, err := s.view(ctx, nil).ConfirmErasure(ctx, t.ID, r.Msg.GetId())
	if err != nil {
		return nil, err
	}
	s.erased(ctx, t, report)
	return connect.NewResponse(&adminv1.ConfirmErasureResponse{Report: shownReport(report)}), nil
}

// CancelErasure implements TenantService.
func (s tenants) CancelErasure(ctx context.Context, r *connect.Request[adminv1.CancelErasureRequest]) (*connect.Response[adminv1.CancelErasureResponse], error) {
	t, err := s.o.Tenancy.FindTenant(ctx, r.Msg.GetTenant())
	if err != nil {
		return nil, err
	}
	if err := s.view(ctx, nil).CancelErasure(ctx, t.ID); err != nil {
		return nil, err
	}
	s.note(ctx, "request to erase a tenant taken back", "tenant", t.Name)
	return connect.NewResponse(&adminv1.CancelErasureResponse{}), nil
}

// ListErasures implements TenantService.
func (s tenants) ListErasures(ctx context.Context, _ *connect.Request[adminv1.ListErasuresRequest]) (*connect.Response[adminv1.ListErasuresResponse], error) {
	all, err := s.view(ctx, nil).Erasures(ctx)
	if err != nil {
		return nil, err
	}
	known, err := s.o.Tenancy.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	names := map[tenancy.TenantID]string{}
	for _, t := range known {
		names[t.ID] = t.Name
	}
	answer := &adminv1.ListErasuresResponse{}
	for _, e := range all {
		answer.Erasures = append(answer.Erasures, shownErasure(e, names[e.Tenant]))
	}
	return connect.NewResponse(answer), nil
}

// SetRetentionCap implements TenantService.
func (s tenants) SetRetentionCap(ctx context.Context, r *connect.Request[adminv1.SetRetentionCapRequest]) (*connect.Response[adminv1.SetRetentionCapResponse], error) {
	t, err := s.o.Tenancy.FindTenant(ctx, r.Msg.GetTenant())
	if err != nil {
		return nil, err
	}
	most := r.Msg.GetMost()
	if most != nil && (most.CheckValid() != nil || most.AsDuration() <= 0) {
		return nil, invalid("a cap is a length of time over 0, or none for that of the node")
	}
	if err := s.view(ctx, nil).SetRetentionCap(ctx, t.ID, most.AsDuration()); err != nil {
		return nil, err
	}
	s.note(ctx, "retention cap set", "tenant", t.Name, "most", most.AsDuration().String())
	return connect.NewResponse(&adminv1.SetRetentionCapResponse{}), nil
}

// GetRetentionCap implements TenantService.
func (s tenants) GetRetentionCap(ctx context.Context, r *connect.Request[adminv1.GetRetentionCapRequest]) (*connect.Response[adminv1.GetRetentionCapResponse], error) {
	of := callOf(ctx).who.Tenant
	if name := r.Msg.GetTenant(); name != "" {
		t, err := s.admin(ctx).Tenant(ctx, name) // tells of others only to who may see them
		if err != nil {
			return nil, err
		}
		of = t.ID
	}
	c, err := s.view(ctx, nil).RetentionCap(ctx, of)
	if err != nil {
		return nil, err
	}
	answer := &adminv1.GetRetentionCapResponse{}
	if c.Tenant > 0 {
		answer.TenantMost = durationpb.New(c.Tenant)
	}
	if c.Node > 0 {
		answer.NodeMost = durationpb.New(c.Node)
	}
	return connect.NewResponse(answer), nil
}
