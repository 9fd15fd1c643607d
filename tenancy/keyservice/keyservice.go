// Package keyservice says what k3fs asks of a key service: to wrap small keys under a key that never leaves the
// service, and to unwrap them again. The sub-packages are such services: transit (OpenBao, Vault), awskms (AWS KMS and
// what speaks its protocol), and memory, for tests.
//
// What is wrapped is bound to a Context, which the service authenticates and doesn't store: a wrapped key that was put
// in place of another doesn't open.
//
// kstest is the conformance suite of implementations.
package keyservice

import (
	"context"
	"errors"
	"slices"
	"strings"
)

var (
	// ErrAway: the service can't be reached or can't answer now (sealed, throttled, failing); later it may.
	ErrAway = errors.New("keyservice: the key service is away")
	// ErrRefused: the service answers, and refuses: the credentials, the key or what is to be unwrapped are not
	// right. Trying again does not help.
	ErrRefused = errors.New("keyservice: the key service refuses")
)

// Service wraps keys. Implementations are safe for concurrent use, give up soon after a context ends, and never put
// a key or a credential into an error. Every error is ErrAway or ErrRefused, or the context's.
type Service interface {
	// Name names the service and its key, for people and for telling it from another.
	Name() string
	// Wrap seals plain, of at most MaxPlain bytes.
	Wrap(ctx context.Context, plain []byte, about Context) ([]byte, error)
	// Unwrap returns what was wrapped about the same, by this or an earlier version of the service's key.
	Unwrap(ctx context.Context, wrapped []byte, about Context) ([]byte, error)
}

// Health asks whether Wrap and Unwrap work.
func Health(ctx context.Context, s Service) error {
	about := Context{ContextTenant: "node"}
	wrapped, err := s.Wrap(ctx, []byte{0}, about)
	if err == nil {
		_, err = s.Unwrap(ctx, wrapped, about)
	}
	return err
}

// MaxPlain is what every service wraps, in bytes (AWS KMS Encrypt takes 4096).
const MaxPlain = 1024

// Context is what a wrapped key is bound to: names and values, which are no secrets.
type Context map[string]string

// Encode is the context as bytes, the same for equal ones and for no others.
func (c Context) Encode() []byte {
	names := make([]string, 0, len(c))
	for name := range c {
		names = append(names, name)
	}
	slices.Sort(names)
	var b []byte
	for _, name := range names {
		for _, s := range []string{name, c[name]} {
			b = append(b, byte(len(s)>>8), byte(len(s)))
			b = append(b, s...)
		}
	}
	return b
}

// ContextTenant is the name in a Context under which the tenant's number stands ("node" for the node's own keys).
const ContextTenant = "k3fs-tenant"

// KeyFor puts the tenant of a context in place of "{tenant}" in a key's name, so that each tenant can have a key of
// its own in the service.
func KeyFor(name string, about Context) string {
	return strings.ReplaceAll(name, "{tenant}", about[ContextTenant])
}
