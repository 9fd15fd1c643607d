package adminapi

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/namespace"
)

// holds implements HoldService.
type holds struct{ *Server }

// PlaceHold implements HoldService.
func (s holds) PlaceHold(ctx context.Context, r *connect.Request[adminv1.PlaceHoldRequest]) (*connect.Response[adminv1.PlaceHoldResponse], error) {
	ask := r.Msg
	h := namespace.Hold{Bucket: ask.GetBucket(), Prefix: ask.GetPrefix(), Reason: ask.GetReason(), Tag: ask.GetRegime()}
	if u := ask.GetUntil(); u != nil {
		if h.Until = u.AsTime(); u.CheckValid() != nil || h.Until.Year() > 9999 {
			return nil, invalid("until is no time")
		}
	}
	if p := ask.GetPeriod(); p != nil {
		if h.Period = p.AsDuration(); p.CheckValid() != nil || h.Period <= 0 || h.Period >= 1<<63-1 {
			return nil, invalid("the period is no length of time over 0 and under 292 years")
		}
	}
	placed, err := s.view(ctx, nil).PlaceHold(ctx, h)
	if err != nil {
		return nil, err
	}
	s.o.Logger.Info("hold placed", "request", callOf(ctx).ID, "id", placed.ID, "bucket", placed.Bucket, "prefix", placed.Prefix, "by", placed.By)
	return connect.NewResponse(&adminv1.PlaceHoldResponse{Hold: shownHold(placed)}), nil
}

func shownHold(h namespace.Hold) *adminv1.Hold {
	shown := &adminv1.Hold{Id: h.ID, Bucket: h.Bucket, Prefix: h.Prefix, Reason: h.Reason, CreatedBy: h.By, Regime: h.Tag,
		Created: timestamp(h.Created), Until: timestamp(h.Until)}
	if h.Period > 0 {
		shown.Period = durationpb.New(h.Period)
	}
	return shown
}

// timestamp is a time; the zero one is not set.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// ReleaseHold implements HoldService.
func (s holds) ReleaseHold(ctx context.Context, r *connect.Request[adminv1.ReleaseHoldRequest]) (*connect.Response[adminv1.ReleaseHoldResponse], error) {
	if err := s.view(ctx, nil).ReleaseHold(ctx, r.Msg.GetId(), r.Msg.GetReason()); err != nil {
		return nil, err
	}
	s.o.Logger.Info("hold released", "request", callOf(ctx).ID, "id", r.Msg.GetId())
	return connect.NewResponse(&adminv1.ReleaseHoldResponse{}), nil
}

// ListHolds implements HoldService.
func (s holds) ListHolds(ctx context.Context, _ *connect.Request[adminv1.ListHoldsRequest]) (*connect.Response[adminv1.ListHoldsResponse], error) {
	all, err := s.view(ctx, nil).Holds(ctx)
	if err != nil {
		return nil, err
	}
	answer := &adminv1.ListHoldsResponse{}
	for _, h := range all {
		answer.Holds = append(answer.Holds, shownHold(h))
	}
	return connect.NewResponse(answer), nil
}

// GetHold implements HoldService.
func (s holds) GetHold(ctx context.Context, r *connect.Request[adminv1.GetHoldRequest]) (*connect.Response[adminv1.GetHoldResponse], error) {
	all, err := s.view(ctx, nil).Holds(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range all {
		if h.ID == r.Msg.GetId() {
			return connect.NewResponse(&adminv1.GetHoldResponse{Hold: shownHold(h)}), nil
		}
	}
	return nil, notFound("there is no hold %q", r.Msg.GetId())
}

// ReportHolds implements HoldService.
func (s holds) ReportHolds(ctx context.Context, _ *connect.Request[adminv1.ReportHoldsRequest]) (*connect.Response[adminv1.ReportHoldsResponse], error) {
	uses, err := s.view(ctx, nil).HoldReport(ctx)
	if err != nil {
		return nil, err
	}
	answer := &adminv1.ReportHoldsResponse{}
	for _, u := range uses {
		answer.Holds = append(answer.Holds, &adminv1.HoldUse{Hold: shownHold(u.Hold), Over: u.Over, Versions: u.Objects, Bytes: u.Bytes})
	}
	return connect.NewResponse(answer), nil
}
