package adminapi

import (
	"context"
	"net/url"

	"connectrpc.com/connect"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/namespace"
	"k3fs/tenancy"
)

func shownShare(one tenancy.Share) *adminv1.Share {
	return &adminv1.Share{Id: one.ID, Account: one.Account, Bucket: one.Bucket, Key: one.Key, Version: one.Version,
		Created: timestamp(one.Created), Expires: timestamp(one.Expires)}
}

// ShareObject implements ObjectService.
func (s objects) ShareObject(ctx context.Context, r *connect.Request[adminv1.ShareObjectRequest]) (*connect.Response[adminv1.ShareObjectResponse], error) {
	ask, values := r.Msg, map[string]string{}
	n := tenancy.NewShare{Bucket: ask.GetBucket(), Key: ask.GetKey(), Version: ask.GetVersion()}
	if n.Version != "" {
		values["s3:versionid"] = n.Version
	}
	if ask.Life != nil {
		if n.Life = ask.Life.AsDuration(); n.Life <= 0 {
			return nil, invalid("a link lives between a second and %v", tenancy.MaxShare)
		}
	}
	if _, err := s.view(ctx, values).HeadObject(ctx, n.Bucket, n.Key, namespace.ReadOptions{Version: n.Version}); err != nil {
		return nil, err
	}
	made, err := s.o.Tenancy.Share(ctx, s.principal(ctx, nil), n)
	if err != nil {
		return nil, err
	}
	s.note(ctx, "object shared", "share", made.ID, "bucket", n.Bucket, "key", n.Key, "expires", made.Expires)
	return connect.NewResponse(&adminv1.ShareObjectResponse{Share: shownShare(made.Share), Link: linkOf(made)}), nil
}

// linkOf is the path and the query by which S3 knows a link.
func linkOf(l tenancy.ShareLink) string {
	query := url.Values{tenancy.ShareToken: {l.Token}, tenancy.ShareExpires: {l.Until}, tenancy.ShareOrg: {l.Org}}
	if l.Version != "" {
		query.Set("versionId", l.Version)
	}
	at := url.URL{Path: "/" + l.Bucket + "/" + l.Key}
	return at.EscapedPath() + "?" + query.Encode()
}

// ListShares implements ObjectService.
func (s objects) ListShares(ctx context.Context, r *connect.Request[adminv1.ListSharesRequest]) (*connect.Response[adminv1.ListSharesResponse], error) {
	all, next, err := s.admin(ctx).Shares(ctx, r.Msg.GetPageToken(), pageSize(r.Msg.GetPageSize()))
	if err != nil {
		return nil, err
	}
	answer := &adminv1.ListSharesResponse{NextPageToken: next}
	for _, one := range all {
		answer.Shares = append(answer.Shares, shownShare(one))
	}
	return connect.NewResponse(answer), nil
}

// RevokeShare implements ObjectService.
func (s objects) RevokeShare(ctx context.Context, r *connect.Request[adminv1.RevokeShareRequest]) (*connect.Response[adminv1.RevokeShareResponse], error) {
	id, all := r.Msg.GetId(), r.Msg.GetAll()
	if all == (id != "") {
		return nil, invalid("say which link, or all of them")
	}
	var err error
	if all {
		err = s.admin(ctx).RevokeShares(ctx)
	} else {
		err = s.admin(ctx).RevokeShare(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	s.note(ctx, "share revoked", "share", id, "all", all)
	return connect.NewResponse(&adminv1.RevokeShareResponse{}), nil
}
