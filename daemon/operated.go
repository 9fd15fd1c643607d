package daemon

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/daemon/control"
	"k3fs/namespace"
	"k3fs/tenancy"
)

// operated is the daemon as its operator looks after it: adminapi.Node.
type operated struct{ d *Daemon }

// Status implements adminapi.Node.
func (o operated) Status() *adminv1.GetStatusResponse {
	d := o.d
	s := &adminv1.GetStatusResponse{Version: d.version, Started: timestamppb.New(d.started), Ready: true,
		S3Address: address(d.s3At), S3Tls: d.certificate != nil, MountPoint: d.cfg.Mount.Point}
	if err := d.health.Ready(); err != nil {
		s.Ready, s.Reason = false, err.Error()
	}
	now := d.stores.chunks.Usage()
	s.DiskBytes, s.DiskFreeBytes, s.DiskLowWaterBytes = int64(now.Total), int64(now.Free), int64(now.LowWater)
	s.Mounts = int32(len(d.mounts.list(func(*demanded) bool { return true })))
	return s
}

// Clock implements adminapi.Node.
func (o operated) Clock() namespace.ClockState { return o.d.ns.Clock() }

// Mounts implements adminapi.Node.
func (o operated) Mounts(t tenancy.TenantID) []*adminv1.Mount {
	return o.d.mounts.list(func(one *demanded) bool { return one.tenant == t })
}

// EndMount implements adminapi.Node.
func (o operated) EndMount(ctx context.Context, t tenancy.TenantID, dir string, lazy bool) error {
	absent := &namespace.Error{Op: "end mount", Name: dir, Kind: namespace.NotFound}
	mine := o.d.mounts.list(func(one *demanded) bool { return one.tenant == t && one.want.Dir == dir })
	if len(mine) == 0 {
		return absent
	}
	_, err := o.d.mounts.umount(ctx, control.Caller{}, control.Request{Op: control.OpUmount, Dir: dir, Lazy: lazy})
	var e *control.Error
	switch {
	case errors.As(err, &e) && e.Code == control.Busy:
		return &namespace.Error{Op: "end mount", Name: dir, Kind: namespace.Busy}
	case errors.As(err, &e) && e.Code == control.Absent:
		return absent
	}
	return err
}

// EndMounts implements adminapi.Node.
func (o operated) EndMounts(ctx context.Context, t tenancy.TenantID) error {
	var failed error
	for _, one := range o.Mounts(t) {
		failed = errors.Join(failed, o.EndMount(ctx, t, one.Dir, true))
	}
	return failed
}

// NodeKeys implements adminapi.Node.
func (o operated) NodeKeys(ctx context.Context, who tenancy.Principal) (*adminv1.NodeKeys, error) {
	s, err := o.d.NodeKeyState(ctx, who)
	if err != nil {
		return nil, err
	}
	return &adminv1.NodeKeys{Lock: s.Lock, Rotating: s.Rotating, Service: s.Service, Trouble: s.Trouble}, nil
}

// RotateNodeKeys implements adminapi.Node.
func (o operated) RotateNodeKeys(ctx context.Context, who tenancy.Principal) error {
	return o.d.RotateNodeKeys(ctx, who)
}

// list describes the mounts that are wanted, by directory.
func (s *mounts) list(want func(*demanded) bool) []*adminv1.Mount {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*adminv1.Mount
	for _, one := range s.all {
		if one.mount != nil && want(one) {
			all = append(all, &adminv1.Mount{Source: one.want.Source, Dir: one.want.Dir, AccessKey: one.want.AccessKey,
				Uid: uint32(one.want.UID), ReadOnly: one.want.Options.ReadOnly})
		}
	}
	slices.SortFunc(all, func(a, b *adminv1.Mount) int { return cmp.Compare(a.Dir, b.Dir) })
	return all
}
