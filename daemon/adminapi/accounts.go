package adminapi

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/tenancy"
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
	node := s.o.Node.Status()
	return connect.NewResponse(&adminv1.WhoAmIResponse{Tenant: t.Name, Account: who.Account, AccessKey: who.AccessKey, Root: who.Root,
		S3Address: node.GetS3Address(), S3Tls: node.GetS3Tls()}), nil
}

func shownAccount(a tenancy.Account) *adminv1.Account {
	return &adminv1.Account{Name: a.Name, Root: a.Root, Role: string(a.Role), Disabled: a.Disabled, Created: timestamp(a.Created),
		Expires: timestamp(a.Expires), Policies: a.Policies}
}

// moment is a time that was given; the zero one if none was.
func moment(t *timestamppb.Timestamp) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if err := t.CheckValid(); err != nil {
		return time.Time{}, invalid("%v", err)
	}
	return t.AsTime(), nil
}

// moved is a time to change to; nil if none was given.
func moved(t *timestamppb.Timestamp) (*time.Time, error) {
	if t == nil {
		return nil, nil
	}
	to, err := moment(t)
	return &to, err
}

// CreateAccount implements AccountService.
func (s accounts) CreateAccount(ctx context.Context, r *connect.Request[adminv1.CreateAccountRequest]) (*connect.Response[adminv1.CreateAccountResponse], error) {
	expires, err := moment(r.Msg.GetExpires())
	if err != nil {
		return nil, err
	}
	made, err := s.admin(ctx).CreateAccount(ctx, r.Msg.GetName(), tenancy.NewAccount{Role: tenancy.Role(r.Msg.GetRole()), Expires: expires, Policies: r.Msg.GetPolicies()})
	if err != nil {
		return nil, err
	}
	s.note(ctx, "account created", "account", made.Name, "role", made.Role)
	return connect.NewResponse(&adminv1.CreateAccountResponse{Account: shownAccount(made)}), nil
}

// ListAccounts implements AccountService.
func (s accounts) ListAccounts(ctx context.Context, r *connect.Request[adminv1.ListAccountsRequest]) (*connect.Response[adminv1.ListAccountsResponse], error) {
	all, next, err := s.admin(ctx).Accounts(ctx, r.Msg.GetPageToken(), pageSize(r.Msg.GetPageSize()))
	if err != nil {
		return nil, err
	}
	answer := &adminv1.ListAccountsResponse{NextPageToken: next}
	for _, a := range all {
		answer.Accounts = append(answer.Accounts, shownAccount(a))
	}
	return connect.NewResponse(answer), nil
}

// GetAccount implements AccountService.
func (s accounts) GetAccount(ctx context.Context, r *connect.Request[adminv1.GetAccountRequest]) (*connect.Response[adminv1.GetAccountResponse], error) {
	a, err := s.admin(ctx).Account(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.GetAccountResponse{Account: shownAccount(a)}), nil
}

// UpdateAccount implements AccountService.
func (s accounts) UpdateAccount(ctx context.Context, r *connect.Request[adminv1.UpdateAccountRequest]) (*connect.Response[adminv1.UpdateAccountResponse], error) {
	expires, err := moved(r.Msg.GetExpires())
	if err != nil {
		return nil, err
	}
	ch := tenancy.AccountChange{Disabled: r.Msg.Disabled, Expires: expires}
	if r.Msg.Role != nil {
		role := tenancy.Role(r.Msg.GetRole())
		ch.Role = &role
	}
	a, err := s.admin(ctx).UpdateAccount(ctx, r.Msg.GetName(), ch)
	if err != nil {
		return nil, err
	}
	s.note(ctx, "account changed", "account", a.Name, "role", a.Role, "disabled", a.Disabled)
	return connect.NewResponse(&adminv1.UpdateAccountResponse{Account: shownAccount(a)}), nil
}

// DeleteAccount implements AccountService.
func (s accounts) DeleteAccount(ctx context.Context, r *connect.Request[adminv1.DeleteAccountRequest]) (*connect.Response[adminv1.DeleteAccountResponse], error) {
	if err := s.admin(ctx).DeleteAccount(ctx, r.Msg.GetName()); err != nil {
		return nil, err
	}
	s.note(ctx, "account deleted", "account", r.Msg.GetName())
	return connect.NewResponse(&adminv1.DeleteAccountResponse{}), nil
}

// CreateAccessKey implements AccountService.
func (s accounts) CreateAccessKey(ctx context.Context, r *connect.Request[adminv1.CreateAccessKeyRequest]) (*connect.Response[adminv1.CreateAccessKeyResponse], error) {
	expires, err := moment(r.Msg.GetExpires())
	if err != nil {
		return nil, err
	}
	made, err := s.admin(ctx).CreateAccessKey(ctx, r.Msg.GetAccount(), expires)
	if err != nil {
		return nil, err
	}
	s.note(ctx, "access key created", "account", r.Msg.GetAccount(), "access_key", made.AccessKey)
	return connect.NewResponse(&adminv1.CreateAccessKeyResponse{Credentials: shownCredentials(made)}), nil
}

func shownKey(k tenancy.AccessKey) *adminv1.AccessKey {
	return &adminv1.AccessKey{Id: k.ID, Account: k.Account, Disabled: k.Disabled, Created: timestamp(k.Created), Expires: timestamp(k.Expires),
		PreviousUntil: timestamp(k.PreviousUntil), LastUsed: timestamp(k.Used)}
}

// ListAccessKeys implements AccountService.
func (s accounts) ListAccessKeys(ctx context.Context, r *connect.Request[adminv1.ListAccessKeysRequest]) (*connect.Response[adminv1.ListAccessKeysResponse], error) {
	all, err := s.admin(ctx).AccessKeys(ctx, r.Msg.GetAccount())
	if err != nil {
		return nil, err
	}
	answer := &adminv1.ListAccessKeysResponse{}
	for _, k := range all {
		answer.Keys = append(answer.Keys, shownKey(k))
	}
	return connect.NewResponse(answer), nil
}

// RotateAccessKey implements AccountService.
func (s accounts) RotateAccessKey(ctx context.Context, r *connect.Request[adminv1.RotateAccessKeyRequest]) (*connect.Response[adminv1.RotateAccessKeyResponse], error) {
	made, err := s.admin(ctx).RotateAccessKey(ctx, r.Msg.GetId(), r.Msg.GetOverlap().AsDuration())
	if err != nil {
		return nil, err
	}
	s.note(ctx, "access key rotated", "access_key", made.AccessKey)
	return connect.NewResponse(&adminv1.RotateAccessKeyResponse{Credentials: shownCredentials(made)}), nil
}

// UpdateAccessKey implements AccountService.
func (s accounts) UpdateAccessKey(ctx context.Context, r *connect.Request[adminv1.UpdateAccessKeyRequest]) (*connect.Response[adminv1.UpdateAccessKeyResponse], error) {
	expires, err := moved(r.Msg.GetExpires())
	if err != nil {
		return nil, err
	}
	k, err := s.admin(ctx).UpdateAccessKey(ctx, r.Msg.GetId(), tenancy.KeyChange{Disabled: r.Msg.Disabled, Expires: expires})
	if err != nil {
		return nil, err
	}
	s.note(ctx, "access key changed", "access_key", k.ID, "disabled", k.Disabled)
	return connect.NewResponse(&adminv1.UpdateAccessKeyResponse{Key: shownKey(k)}), nil
}

// DeleteAccessKey implements AccountService.
func (s accounts) DeleteAccessKey(ctx context.Context, r *connect.Request[adminv1.DeleteAccessKeyRequest]) (*connect.Response[adminv1.DeleteAccessKeyResponse], error) {
	if err := s.admin(ctx).DeleteAccessKey(ctx, r.Msg.GetId()); err != nil {
		return nil, err
	}
	s.note(ctx, "access key deleted", "access_key", r.Msg.GetId())
	return connect.NewResponse(&adminv1.DeleteAccessKeyResponse{}), nil
}

// ListSessions implements AccountService.
func (s accounts) ListSessions(ctx context.Context, r *connect.Request[adminv1.ListSessionsRequest]) (*connect.Response[adminv1.ListSessionsResponse], error) {
	all, err := s.admin(ctx).Sessions(ctx, r.Msg.GetAccount())
	if err != nil {
		return nil, err
	}
	answer := &adminv1.ListSessionsResponse{}
	for _, one := range all {
		answer.Sessions = append(answer.Sessions, &adminv1.Session{AccessKey: one.AccessKey, Name: one.Name, Account: one.Account, By: one.By,
			Role: string(one.Role), Issued: timestamp(one.Issued), Expires: timestamp(one.Expires)})
	}
	return connect.NewResponse(answer), nil
}

// EndSessions implements AccountService.
func (s accounts) EndSessions(ctx context.Context, r *connect.Request[adminv1.EndSessionsRequest]) (*connect.Response[adminv1.EndSessionsResponse], error) {
	if err := s.admin(ctx).EndSessions(ctx, r.Msg.GetAccount()); err != nil {
		return nil, err
	}
	s.note(ctx, "all sessions of an account were ended", "account", r.Msg.GetAccount())
	return connect.NewResponse(&adminv1.EndSessionsResponse{}), nil
}
