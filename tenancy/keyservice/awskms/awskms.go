// Package awskms is AWS KMS, and what speaks its protocol, as a key service: Encrypt and Decrypt with an encryption
// context. Credentials and region come from where AWS's SDKs look for them (environment, shared files, the instance).
package awskms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"k3fs/tenancy/keyservice"
)

// Options say which key, and where.
type Options struct {
	Key      string // id, ARN or alias; "{tenant}" in it is the tenant's number ("alias/k3fs-{tenant}")
	Region   string // empty: the SDK's default
	Endpoint string // URL; empty: AWS's
	Timeout  time.Duration

	// Credentials are for tests; nil: the SDK's default.
	Credentials aws.CredentialsProvider
}

// Service is one key, or one for each tenant.
type Service struct {
	o      Options
	client *kms.Client
}

var _ keyservice.Service = (*Service)(nil)

// New returns a service. It does not ask it anything.
func New(ctx context.Context, o Options) (*Service, error) {
	if o.Key == "" {
		return nil, errors.New("awskms: a key is needed")
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(o.Timeout)),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }), // who asks retries
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Credentials != nil {
		load = append(load, config.WithCredentialsProvider(o.Credentials))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("awskms: %w", err)
	}
	return &Service{o, kms.NewFromConfig(cfg, func(k *kms.Options) {
		if o.Endpoint != "" {
			k.BaseEndpoint = &o.Endpoint
		}
	})}, nil
}

// Name implements keyservice.Service.
func (s *Service) Name() string {
	return fmt.Sprintf("awskms %s%s %s", s.o.Endpoint, s.o.Region, s.o.Key)
}

// Wrap implements keyservice.Service.
func (s *Service) Wrap(ctx context.Context, plain []byte, about keyservice.Context) ([]byte, error) {
	out, err := s.client.Encrypt(ctx, &kms.EncryptInput{
		KeyId: aws.String(keyservice.KeyFor(s.o.Key, about)), Plaintext: plain, EncryptionContext: about,
	})
	if err != nil {
		return nil, failure(ctx, "Encrypt", err)
	}
	return out.CiphertextBlob, nil
}

// Unwrap implements keyservice.Service.
func (s *Service) Unwrap(ctx context.Context, wrapped []byte, about keyservice.Context) ([]byte, error) {
	if len(wrapped) == 0 {
		return nil, fmt.Errorf("%w: awskms: nothing to unwrap", keyservice.ErrRefused)
	}
	out, err := s.client.Decrypt(ctx, &kms.DecryptInput{
		KeyId: aws.String(keyservice.KeyFor(s.o.Key, about)), CiphertextBlob: wrapped, EncryptionContext: about,
	})
	if err != nil {
		return nil, failure(ctx, "Decrypt", err)
	}
	return out.Plaintext, nil
}

// throttled are the client's faults that pass.
var throttled = map[string]bool{"ThrottlingException": true, "LimitExceededException": true, "KeyUnavailableException": true, "DependencyTimeoutException": true}

// failure says what an error means. The service's own words are left out, but for its code.
func failure(ctx context.Context, do string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: awskms: %w", keyservice.ErrAway, ctx.Err())
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return fmt.Errorf("%w: awskms: %s: %w", keyservice.ErrAway, do, err)
	}
	kind := keyservice.ErrRefused
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.HTTPStatusCode() >= http.StatusInternalServerError || throttled[api.ErrorCode()] {
		kind = keyservice.ErrAway
	}
	return fmt.Errorf("%w: awskms: %s: %s", kind, do, api.ErrorCode())
}
