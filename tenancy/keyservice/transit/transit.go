// Package transit is OpenBao's, or Vault's, transit secrets engine as a key service. Its keys must be of a type that
// authenticates (aes256-gcm96, the default, or chacha20-poly1305): what is wrapped is bound to its context as associated data.
package transit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/openbao/openbao/api/v2"

	"k3fs/tenancy/keyservice"
)

// Options say where the engine is and how to be let in.
type Options struct {
	Address   string // https://bao.example.com:8200
	Mount     string // of the engine; default "transit"
	Key       string // "{tenant}" in it is the tenant's number, so that each has a key of its own
	Namespace string // of OpenBao or Vault; may be empty
	TokenFile string // read for every request, so that an agent may renew it
	CAFile    string // who signs the server's certificate; empty: who the host trusts
	Timeout   time.Duration
}

// Service is the engine.
type Service struct {
	o      Options
	client *api.Client
}

var _ keyservice.Service = (*Service)(nil)

// New returns a service. It does not ask the engine anything.
func New(o Options) (*Service, error) {
	if o.Address == "" || o.Key == "" || o.TokenFile == "" {
		return nil, errors.New("transit: an address, a key and a file with a token are needed")
	}
	if o.Mount == "" {
		o.Mount = "transit"
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	c := api.DefaultConfig()
	if c.Error != nil {
		return nil, fmt.Errorf("transit: %w", c.Error)
	}
	c.Address, c.MaxRetries, c.Timeout = o.Address, 0, o.Timeout // who asks retries
	if err := c.ConfigureTLS(&api.TLSConfig{CACert: o.CAFile}); err != nil {
		return nil, fmt.Errorf("transit: %w", err)
	}
	client, err := api.NewClient(c)
	if err != nil {
		return nil, fmt.Errorf("transit: %w", err)
	}
	client.ClearToken() // none of the environment's
	if o.Namespace != "" {
		client.SetNamespace(o.Namespace)
	}
	return &Service{o, client}, nil
}

// Name implements keyservice.Service.
func (s *Service) Name() string {
	return fmt.Sprintf("transit %s %s%s/%s", s.o.Address, s.o.Namespace, s.o.Mount, s.o.Key)
}

const prefix = "vault:v"

// Wrap implements keyservice.Service.
func (s *Service) Wrap(ctx context.Context, plain []byte, about keyservice.Context) ([]byte, error) {
	wrapped, err := s.ask(ctx, "encrypt", about, "plaintext", base64.StdEncoding.EncodeToString(plain), "ciphertext")
	return []byte(wrapped), err
}

// Unwrap implements keyservice.Service.
func (s *Service) Unwrap(ctx context.Context, wrapped []byte, about keyservice.Context) ([]byte, error) {
	if !strings.HasPrefix(string(wrapped), prefix) {
		return nil, fmt.Errorf("%w: transit: what is to be unwrapped is not of this service", keyservice.ErrRefused)
	}
	text, err := s.ask(ctx, "decrypt", about, "ciphertext", string(wrapped), "plaintext")
	if err != nil {
		return nil, err
	}
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: transit: the answer is no base64", keyservice.ErrAway)
	}
	return plain, nil
}

// ask sends one value and returns another.
func (s *Service) ask(ctx context.Context, do string, about keyservice.Context, name, value, want string) (string, error) {
	token, err := os.ReadFile(s.o.TokenFile)
	if err != nil {
		return "", fmt.Errorf("%w: transit: its token: %w", keyservice.ErrAway, err)
	}
	client, err := s.client.Clone()
	if err != nil {
		return "", fmt.Errorf("%w: transit: %w", keyservice.ErrAway, err)
	}
	if s.o.Namespace != "" {
		client.SetNamespace(s.o.Namespace)
	}
	client.SetToken(strings.TrimSpace(string(token)))
	path := fmt.Sprintf("%s/%s/%s", s.o.Mount, do, keyservice.KeyFor(s.o.Key, about))
	answer, err := client.Logical().WriteWithContext(ctx, path, map[string]any{
		name: value, "associated_data": base64.StdEncoding.EncodeToString(about.Encode()),
	})
	if err != nil {
		return "", failure(ctx, do, err)
	}
	text, ok := "", false
	if answer != nil {
		text, ok = answer.Data[want].(string)
	}
	if !ok || text == "" {
		return "", fmt.Errorf("%w: transit: %s answered without a %s", keyservice.ErrAway, do, want)
	}
	return text, nil
}

// failure says what an error means. What the server says about it may quote what it was asked, so it is left out.
func failure(ctx context.Context, do string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: transit: %w", keyservice.ErrAway, ctx.Err())
	}
	var answer *api.ResponseError
	if !errors.As(err, &answer) {
		return fmt.Errorf("%w: transit: %s: %w", keyservice.ErrAway, do, err)
	}
	kind := keyservice.ErrRefused
	if answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests {
		kind = keyservice.ErrAway
	}
	return fmt.Errorf("%w: transit: %s: status %d", kind, do, answer.StatusCode)
}
