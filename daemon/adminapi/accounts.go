package adminapi

import (
	"context"

	"connectrpc.com/connect"

	"k3fs/daemon/adminapi/adminv1"
)

// accounts implements AccountService.
type accounts struct{ *Server }

// WhoAmI implements AccountService.
func (s accounts) WhoAmI(ctx context.Context, _ *connect.Request[adminv1.WhoAmIRequest]) (*connect.Response[adminv1.WhoAmIResponse], error) {
	who := callOf(ctx).who
	t, err := s.o.Tenancy.Tenant(ctx, who.Tenant)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.WhoAmIResponse{Tenant: t.Name, Account: who.Account, AccessKey: who.AccessKey, Root: who.Root,
		S3Address: s.o.Node.Status().GetS3Address()}), nil
}
