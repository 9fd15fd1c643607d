// Package memory is a key service inside of the process, for tests: it can be taken away and brought back.
package memory

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"

	"k3fs/tenancy/keyservice"
)

// Service keeps its keys in memory, one for each tenant.
type Service struct {
	away  atomic.Bool
	calls atomic.Int64

	mu   sync.Mutex
	keys map[string]cipher.AEAD // by tenant
}

var _ keyservice.Service = (*Service)(nil)

// New returns a service with random keys.
func New() *Service { return &Service{keys: map[string]cipher.AEAD{}} }

// SetAway takes the service away, or brings it back.
func (s *Service) SetAway(away bool) { s.away.Store(away) }

// Calls is how often the service was asked for something.
func (s *Service) Calls() int64 { return s.calls.Load() }

// Destroy destroys the key of a tenant.
func (s *Service) Destroy(tenant string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[tenant] = nil
}

// Name implements keyservice.Service.
func (s *Service) Name() string { return "memory" }

func (s *Service) ask(ctx context.Context, about keyservice.Context) (cipher.AEAD, error) {
	s.calls.Add(1)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.away.Load() {
		return nil, fmt.Errorf("%w: memory", keyservice.ErrAway)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tenant := about[keyservice.ContextTenant]
	aead, made := s.keys[tenant]
	if made && aead == nil {
		return nil, fmt.Errorf("%w: the key of tenant %s was destroyed", keyservice.ErrRefused, tenant)
	}
	if made {
		return aead, nil
	}
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	s.keys[tenant] = aead
	return aead, nil
}

// Wrap implements keyservice.Service.
func (s *Service) Wrap(ctx context.Context, plain []byte, about keyservice.Context) ([]byte, error) {
	aead, err := s.ask(ctx, about)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plain, about.Encode()), nil
}

// Unwrap implements keyservice.Service.
func (s *Service) Unwrap(ctx context.Context, wrapped []byte, about keyservice.Context) ([]byte, error) {
	aead, err := s.ask(ctx, about)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, wrapped, about.Encode())
	if err != nil {
		return nil, fmt.Errorf("%w: what is to be unwrapped fails its authentication", keyservice.ErrRefused)
	}
	return plain, nil
}
