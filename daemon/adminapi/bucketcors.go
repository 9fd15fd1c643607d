package adminapi

import (
	"context"

	"connectrpc.com/connect"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/namespace"
	"k3fs/s3api"
	"k3fs/tenancy"
)

// GetBucketCORS implements BucketService.
func (s buckets) GetBucketCORS(ctx context.Context, r *connect.Request[adminv1.GetBucketCORSRequest]) (*connect.Response[adminv1.GetBucketCORSResponse], error) {
	_, set, err := s.view(ctx, nil).BucketSettings(ctx, r.Msg.GetName(), tenancy.GetBucketCORS)
	if err != nil {
		return nil, err
	}
	rules, err := s3api.CORSRules(set)
	answer := &adminv1.GetBucketCORSResponse{}
	for _, one := range rules {
		rule := &adminv1.CORSRule{Id: one.ID, AllowedOrigins: one.AllowedOrigins, AllowedMethods: one.AllowedMethods,
			AllowedHeaders: one.AllowedHeaders, ExposeHeaders: one.ExposeHeaders}
		if one.MaxAgeSeconds != nil {
			rule.MaxAgeSeconds = new(int32(*one.MaxAgeSeconds))
		}
		answer.Rules = append(answer.Rules, rule)
	}
	return connect.NewResponse(answer), err
}

// SetBucketCORS implements BucketService.
func (s buckets) SetBucketCORS(ctx context.Context, r *connect.Request[adminv1.SetBucketCORSRequest]) (*connect.Response[adminv1.SetBucketCORSResponse], error) {
	var rules []s3api.CORSRule
	for _, one := range r.Msg.GetRules() {
		rule := s3api.CORSRule{ID: one.GetId(), AllowedOrigins: one.GetAllowedOrigins(), AllowedMethods: one.GetAllowedMethods(),
			AllowedHeaders: one.GetAllowedHeaders(), ExposeHeaders: one.GetExposeHeaders()}
		if one.MaxAgeSeconds != nil {
			rule.MaxAgeSeconds = new(int(one.GetMaxAgeSeconds()))
		}
		rules = append(rules, rule)
	}
	err := s.view(ctx, nil).ChangeBucketSettings(ctx, r.Msg.GetName(), tenancy.PutBucketCORS, func(_ namespace.BucketInfo, set tenancy.Settings) error {
		if err := s3api.SetCORSRules(set, rules); err != nil {
			return invalid("%w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&adminv1.SetBucketCORSResponse{}), nil
}
