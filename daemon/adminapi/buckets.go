package adminapi

import (
	"context"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/namespace"
	"k3fs/tenancy"
)

// maxPage is how many entries a page holds at most.
const maxPage = 1000

func pageSize(asked int32) int {
	if asked <= 0 || asked > maxPage {
		return maxPage
	}
	return int(asked)
}

// buckets implements BucketService.
type buckets struct{ *Server }

// CreateBucket implements BucketService.
func (s buckets) CreateBucket(ctx context.Context, r *connect.Request[adminv1.CreateBucketRequest]) (*connect.Response[adminv1.CreateBucketResponse], error) {
	ask, set := r.Msg, tenancy.Settings{}
	if ask.GetLock() || ask.GetVersioning() {
		set[namespace.SettingVersioning] = []byte(namespace.VersioningEnabled)
	}
	if ask.GetLock() {
		set[namespace.SettingObjectLock] = namespace.LockConfig{}.Encode()
	}
	v := s.view(ctx, nil)
	if err := v.CreateBucketWith(ctx, ask.GetName(), ask.GetRegion(), set); err != nil {
		return nil, err
	}
	info, err := v.HeadBucket(ctx, ask.GetName())
	if err != nil { // made, and to be seen by others than its maker
		return connect.NewResponse(&adminv1.CreateBucketResponse{Bucket: &adminv1.Bucket{Name: ask.GetName()}}), nil
	}
	return connect.NewResponse(&adminv1.CreateBucketResponse{Bucket: shownBucket(info)}), nil
}

func shownBucket(b namespace.BucketInfo) *adminv1.Bucket {
	return &adminv1.Bucket{Name: b.Name, Created: timestamppb.New(b.Created), Region: b.Region}
}

// ListBuckets implements BucketService.
func (s buckets) ListBuckets(ctx context.Context, r *connect.Request[adminv1.ListBucketsRequest]) (*connect.Response[adminv1.ListBucketsResponse], error) {
	all, err := s.view(ctx, nil).ListBuckets(ctx)
	if err != nil {
		return nil, err
	}
	answer, limit := &adminv1.ListBucketsResponse{}, pageSize(r.Msg.GetPageSize())
	for _, b := range all {
		if b.Name <= r.Msg.GetPageToken() || !strings.Contains(b.Name, r.Msg.GetSearch()) {
			continue
		}
		if len(answer.Buckets) == limit {
			answer.NextPageToken = answer.Buckets[limit-1].Name
			break
		}
		answer.Buckets = append(answer.Buckets, shownBucket(b))
	}
	return connect.NewResponse(answer), nil
}

// GetBucket implements BucketService. The rules of a bucket are its owner's to see.
func (s buckets) GetBucket(ctx context.Context, r *connect.Request[adminv1.GetBucketRequest]) (*connect.Response[adminv1.GetBucketResponse], error) {
	info, set, err := s.view(ctx, nil).BucketSettings(ctx, r.Msg.GetName(), tenancy.ListBucket)
	if err != nil {
		return nil, err
	}
	b := shownBucket(info)
	if info.Owner == callOf(ctx).who.Tenant {
		b.Versioning = shownVersioning(set)
		b.HasPolicy = len(set[tenancy.SettingPolicy]) > 0
		lock, err := namespace.LockConfigOf(set)
		if err != nil {
			return nil, err
		}
		if lock != nil {
			b.Lock = &adminv1.BucketLock{Mode: shownMode(lock.Mode), Days: int32(lock.Days), Years: int32(lock.Years)}
		}
	}
	return connect.NewResponse(&adminv1.GetBucketResponse{Bucket: b}), nil
}

func shownVersioning(set tenancy.Settings) adminv1.Versioning {
	switch string(set[namespace.SettingVersioning]) {
	case namespace.VersioningEnabled:
		return adminv1.Versioning_VERSIONING_ENABLED
	case namespace.VersioningSuspended:
		return adminv1.Versioning_VERSIONING_SUSPENDED
	}
	return adminv1.Versioning_VERSIONING_NEVER
}

// shownMode is how S3 writes a mode; empty for none.
func shownMode(m namespace.LockMode) string {
	if m == namespace.NoRetention {
		return ""
	}
	return m.String()
}

// SetBucketVersioning implements BucketService.
func (s buckets) SetBucketVersioning(ctx context.Context, r *connect.Request[adminv1.SetBucketVersioningRequest]) (*connect.Response[adminv1.SetBucketVersioningResponse], error) {
	to := map[adminv1.Versioning]string{adminv1.Versioning_VERSIONING_ENABLED: namespace.VersioningEnabled,
		adminv1.Versioning_VERSIONING_SUSPENDED: namespace.VersioningSuspended}[r.Msg.GetVersioning()]
	if to == "" {
		return nil, invalid("versioning can be enabled or suspended")
	}
	err := s.view(ctx, nil).ChangeBucketSettings(ctx, r.Msg.GetName(), tenancy.PutBucketVersioning, func(_ namespace.BucketInfo, set tenancy.Settings) error {
		set[namespace.SettingVersioning] = []byte(to)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.SetBucketVersioningResponse{}), nil
}

// SetBucketLock implements BucketService.
func (s buckets) SetBucketLock(ctx context.Context, r *connect.Request[adminv1.SetBucketLockRequest]) (*connect.Response[adminv1.SetBucketLockResponse], error) {
	ask, c := r.Msg.GetLock(), namespace.LockConfig{}
	switch ask.GetMode() {
	case "":
	case namespace.Governance.String():
		c.Mode = namespace.Governance
	case namespace.Compliance.String():
		c.Mode = namespace.Compliance
	default:
		return nil, invalid("%q is not GOVERNANCE or COMPLIANCE", ask.GetMode())
	}
	c.Days, c.Years = int(ask.GetDays()), int(ask.GetYears())
	if c.Days < 0 || c.Years < 0 || c.Days > 36500 || c.Years > 100 || (c.Days > 0) == (c.Years > 0) && c.Mode != namespace.NoRetention ||
		c.Mode == namespace.NoRetention && c.Days+c.Years > 0 {
		return nil, invalid("a retention of new versions has a mode, and either days (1 to 36500) or years (1 to 100)")
	}
	if err := s.view(ctx, nil).ChangeLockConfig(ctx, r.Msg.GetName(), c); err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.SetBucketLockResponse{}), nil
}

// GetBucketPolicy implements BucketService.
func (s buckets) GetBucketPolicy(ctx context.Context, r *connect.Request[adminv1.GetBucketPolicyRequest]) (*connect.Response[adminv1.GetBucketPolicyResponse], error) {
	_, set, err := s.view(ctx, nil).BucketSettings(ctx, r.Msg.GetName(), tenancy.GetBucketPolicy)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.GetBucketPolicyResponse{Policy: string(set[tenancy.SettingPolicy])}), nil
}

// PutBucketPolicy implements BucketService.
func (s buckets) PutBucketPolicy(ctx context.Context, r *connect.Request[adminv1.PutBucketPolicyRequest]) (*connect.Response[adminv1.PutBucketPolicyResponse], error) {
	raw := []byte(r.Msg.GetPolicy())
	err := s.view(ctx, nil).ChangeBucketSettings(ctx, r.Msg.GetName(), tenancy.PutBucketPolicy, func(info namespace.BucketInfo, set tenancy.Settings) error {
		if err := set.CheckPolicy(raw, info.Name); err != nil {
			return err
		}
		set[tenancy.SettingPolicy] = raw
		return nil
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.PutBucketPolicyResponse{}), nil
}

// DeleteBucketPolicy implements BucketService.
func (s buckets) DeleteBucketPolicy(ctx context.Context, r *connect.Request[adminv1.DeleteBucketPolicyRequest]) (*connect.Response[adminv1.DeleteBucketPolicyResponse], error) {
	err := s.view(ctx, nil).ChangeBucketSettings(ctx, r.Msg.GetName(), tenancy.DeleteBucketPolicy, func(_ namespace.BucketInfo, set tenancy.Settings) error {
		delete(set, tenancy.SettingPolicy)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.DeleteBucketPolicyResponse{}), nil
}

// DeleteBucket implements BucketService.
func (s buckets) DeleteBucket(ctx context.Context, r *connect.Request[adminv1.DeleteBucketRequest]) (*connect.Response[adminv1.DeleteBucketResponse], error) {
	if err := s.view(ctx, nil).DeleteBucket(ctx, r.Msg.GetName()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.DeleteBucketResponse{}), nil
}
