package adminapi

import (
	"context"

	"connectrpc.com/connect"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/namespace"
)

// keys implements KeyService.
type keys struct{ *Server }

func shownTenantKey(k namespace.KeyState) *adminv1.TenantKey {
	return &adminv1.TenantKey{Epoch: k.Epoch, Older: k.Older, Frames: k.Frames, Bytes: k.Bytes, Segments: int32(k.Segments), OfSegments: int32(k.Of), Trouble: k.Trouble}
}

// RotateTenantKey implements KeyService.
func (s keys) RotateTenantKey(ctx context.Context, _ *connect.Request[adminv1.RotateTenantKeyRequest]) (*connect.Response[adminv1.RotateTenantKeyResponse], error) {
	k, err := s.view(ctx, nil).RotateKey(ctx)
	if err != nil {
		return nil, err
	}
	s.note(ctx, "tenant's key is being rotated", "epoch", k.Epoch)
	return connect.NewResponse(&adminv1.RotateTenantKeyResponse{Key: shownTenantKey(k)}), nil
}

// GetTenantKey implements KeyService.
func (s keys) GetTenantKey(ctx context.Context, _ *connect.Request[adminv1.GetTenantKeyRequest]) (*connect.Response[adminv1.GetTenantKeyResponse], error) {
	k, err := s.view(ctx, nil).KeyState(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.GetTenantKeyResponse{Key: shownTenantKey(k)}), nil
}

// RotateNodeKeys implements KeyService.
func (s keys) RotateNodeKeys(ctx context.Context, _ *connect.Request[adminv1.RotateNodeKeysRequest]) (*connect.Response[adminv1.RotateNodeKeysResponse], error) {
	who := s.principal(ctx, nil)
	if err := s.o.Node.RotateNodeKeys(ctx, who); err != nil {
		return nil, err
	}
	s.note(ctx, "the node's keys were rotated")
	state, err := s.o.Node.NodeKeys(ctx, who)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.RotateNodeKeysResponse{Keys: state}), nil
}

// GetNodeKeys implements KeyService.
func (s keys) GetNodeKeys(ctx context.Context, _ *connect.Request[adminv1.GetNodeKeysRequest]) (*connect.Response[adminv1.GetNodeKeysResponse], error) {
	state, err := s.o.Node.NodeKeys(ctx, s.principal(ctx, nil))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.GetNodeKeysResponse{Keys: state}), nil
}
