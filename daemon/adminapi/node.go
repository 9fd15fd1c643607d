package adminapi

import (
	"context"
	"encoding/json"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/namespace"
)

// node implements NodeService.
type node struct{ *Server }

// GetStatus implements NodeService.
func (s node) GetStatus(context.Context, *connect.Request[adminv1.GetStatusRequest]) (*connect.Response[adminv1.GetStatusResponse], error) {
	status := s.o.Node.Status()
	status.Clock = shownClock(s.o.Node.Clock())
	return connect.NewResponse(status), nil
}

func shownClock(c namespace.ClockState) *adminv1.Clock {
	return &adminv1.Clock{Now: timestamppb.New(c.Now), Wall: timestamppb.New(c.Wall), Frozen: c.Frozen}
}

// GetClock implements NodeService.
func (s node) GetClock(context.Context, *connect.Request[adminv1.GetClockRequest]) (*connect.Response[adminv1.GetClockResponse], error) {
	return connect.NewResponse(&adminv1.GetClockResponse{Clock: shownClock(s.o.Node.Clock())}), nil
}

// ConfirmClock implements NodeService.
func (s node) ConfirmClock(ctx context.Context, _ *connect.Request[adminv1.ConfirmClockRequest]) (*connect.Response[adminv1.ConfirmClockResponse], error) {
	c, err := s.view(ctx, nil).ConfirmClock(ctx)
	if err != nil {
		return nil, err
	}
	s.o.Logger.Info("the host's clock was confirmed", "request", callOf(ctx).ID, "by", callOf(ctx).who.Account)
	return connect.NewResponse(&adminv1.ConfirmClockResponse{Clock: shownClock(c)}), nil
}

// ListMounts implements NodeService.
func (s node) ListMounts(ctx context.Context, _ *connect.Request[adminv1.ListMountsRequest]) (*connect.Response[adminv1.ListMountsResponse], error) {
	return connect.NewResponse(&adminv1.ListMountsResponse{Mounts: s.o.Node.Mounts(callOf(ctx).who.Tenant)}), nil
}

// EndMount implements NodeService.
func (s node) EndMount(ctx context.Context, r *connect.Request[adminv1.EndMountRequest]) (*connect.Response[adminv1.EndMountResponse], error) {
	if err := s.o.Node.EndMount(ctx, callOf(ctx).who.Tenant, r.Msg.GetDir(), r.Msg.GetLazy()); err != nil {
		return nil, err
	}
	s.o.Logger.Info("mount ended", "request", callOf(ctx).ID, "dir", r.Msg.GetDir(), "by", callOf(ctx).who.Account)
	return connect.NewResponse(&adminv1.EndMountResponse{}), nil
}

// auditLog implements AuditService.
type auditLog struct{ *Server }

// ListAuditRecords implements AuditService.
func (s auditLog) ListAuditRecords(ctx context.Context, r *connect.Request[adminv1.ListAuditRecordsRequest]) (*connect.Response[adminv1.ListAuditRecordsResponse], error) {
	v := s.view(ctx, nil)
	lines, err := v.AuditRecords(ctx, r.Msg.GetAfter(), pageSize(r.Msg.GetPageSize()))
	if err != nil {
		return nil, err
	}
	head, err := v.AuditHead(ctx, false)
	if err != nil {
		return nil, err
	}
	answer := &adminv1.ListAuditRecordsResponse{}
	for _, line := range lines {
		answer.Records = append(answer.Records, string(line))
	}
	answer.Head, err = shownHead(head)
	return connect.NewResponse(answer), err
}

func shownHead(h namespace.AuditHead) (*adminv1.AuditHead, error) {
	line, err := json.Marshal(h)
	return &adminv1.AuditHead{Seq: h.Seq, Hash: h.Hash, Line: string(line)}, err
}

// GetAuditHead implements AuditService.
func (s auditLog) GetAuditHead(ctx context.Context, r *connect.Request[adminv1.GetAuditHeadRequest]) (*connect.Response[adminv1.GetAuditHeadResponse], error) {
	v := s.view(ctx, nil)
	head, err := v.AuditHead(ctx, r.Msg.GetVerify())
	if err != nil {
		return nil, err
	}
	answer := &adminv1.GetAuditHeadResponse{Has: true}
	if answer.Head, err = shownHead(head); err != nil {
		return nil, err
	}
	if r.Msg.GetHasSeq() != 0 || r.Msg.GetHasHash() != "" {
		answer.Has, err = v.AuditHas(ctx, r.Msg.GetHasSeq(), r.Msg.GetHasHash())
	}
	return connect.NewResponse(answer), err
}
