package adminapi

import (
	"context"

	"connectrpc.com/connect"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/tenancy"
)

// policies implements PolicyService.
type policies struct{ *Server }

func shownPolicy(p tenancy.Policy) *adminv1.Policy {
	return &adminv1.Policy{Name: p.Name, Document: string(p.Document), Updated: timestamp(p.Updated)}
}

// PutPolicy implements PolicyService.
func (s policies) PutPolicy(ctx context.Context, r *connect.Request[adminv1.PutPolicyRequest]) (*connect.Response[adminv1.PutPolicyResponse], error) {
	p, err := s.admin(ctx).PutPolicy(ctx, r.Msg.GetName(), []byte(r.Msg.GetDocument()))
	if err != nil {
		return nil, err
	}
	s.note(ctx, "policy stored", "policy", p.Name)
	return connect.NewResponse(&adminv1.PutPolicyResponse{Policy: shownPolicy(p)}), nil
}

// GetPolicy implements PolicyService.
func (s policies) GetPolicy(ctx context.Context, r *connect.Request[adminv1.GetPolicyRequest]) (*connect.Response[adminv1.GetPolicyResponse], error) {
	p, err := s.admin(ctx).Policy(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.GetPolicyResponse{Policy: shownPolicy(p)}), nil
}

// ListPolicies implements PolicyService.
func (s policies) ListPolicies(ctx context.Context, r *connect.Request[adminv1.ListPoliciesRequest]) (*connect.Response[adminv1.ListPoliciesResponse], error) {
	all, next, err := s.admin(ctx).Policies(ctx, r.Msg.GetPageToken(), pageSize(r.Msg.GetPageSize()))
	if err != nil {
		return nil, err
	}
	answer := &adminv1.ListPoliciesResponse{NextPageToken: next}
	for _, p := range all {
		p.Document = nil
		answer.Policies = append(answer.Policies, shownPolicy(p))
	}
	return connect.NewResponse(answer), nil
}

// DeletePolicy implements PolicyService.
func (s policies) DeletePolicy(ctx context.Context, r *connect.Request[adminv1.DeletePolicyRequest]) (*connect.Response[adminv1.DeletePolicyResponse], error) {
	if err := s.admin(ctx).DeletePolicy(ctx, r.Msg.GetName()); err != nil {
		return nil, err
	}
	s.note(ctx, "policy deleted", "policy", r.Msg.GetName())
	return connect.NewResponse(&adminv1.DeletePolicyResponse{}), nil
}

// AttachPolicy implements PolicyService.
func (s policies) AttachPolicy(ctx context.Context, r *connect.Request[adminv1.AttachPolicyRequest]) (*connect.Response[adminv1.AttachPolicyResponse], error) {
	if err := s.admin(ctx).AttachPolicy(ctx, r.Msg.GetAccount(), r.Msg.GetPolicy()); err != nil {
		return nil, err
	}
	s.note(ctx, "policy attached", "policy", r.Msg.GetPolicy(), "account", r.Msg.GetAccount())
	return connect.NewResponse(&adminv1.AttachPolicyResponse{}), nil
}

// DetachPolicy implements PolicyService.
func (s policies) DetachPolicy(ctx context.Context, r *connect.Request[adminv1.DetachPolicyRequest]) (*connect.Response[adminv1.DetachPolicyResponse], error) {
	if err := s.admin(ctx).DetachPolicy(ctx, r.Msg.GetAccount(), r.Msg.GetPolicy()); err != nil {
		return nil, err
	}
	s.note(ctx, "policy detached", "policy", r.Msg.GetPolicy(), "account", r.Msg.GetAccount())
	return connect.NewResponse(&adminv1.DetachPolicyResponse{}), nil
}
