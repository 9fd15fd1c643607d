//go:build pkcs11

package pkcs11

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	p11 "github.com/miekg/pkcs11"

	"k3fs/tenancy/keyservice"
)

// Options say which key, and where.
type Options struct {
	Module  string // the library, such as /usr/lib/softhsm/libsofthsm2.so
	Token   string // its label
	Key     string // label of an AES key; "{tenant}" in it is the tenant's number
	PINFile string // the user's PIN, read whenever a session is opened
	Timeout time.Duration
}

// Service is the keys of one token.
type Service struct {
	o      Options
	module *p11.Ctx

	turn    chan struct{} // holds one while somebody uses the session, which does one thing at a time
	session p11.SessionHandle
	open    bool // session is
}

var _ keyservice.Service = (*Service)(nil)

const ivBytes, tagBytes = 12, 16

// New loads the module. It asks the token nothing. The module stays loaded as long as the process lives.
func New(o Options) (*Service, error) {
	if o.Module == "" || o.Token == "" || o.Key == "" || o.PINFile == "" {
		return nil, errors.New("pkcs11: a module, the label of a token, that of a key and a file with the PIN are needed")
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	module := p11.New(o.Module)
	if module == nil {
		return nil, fmt.Errorf("pkcs11: %s can't be loaded", o.Module)
	}
	if err := module.Initialize(); err != nil && !errors.Is(err, p11.Error(p11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return nil, fmt.Errorf("pkcs11: initialize %s: %w", o.Module, err)
	}
	return &Service{o: o, module: module, turn: make(chan struct{}, 1)}, nil
}

// Name implements keyservice.Service.
func (s *Service) Name() string { return fmt.Sprintf("pkcs11 %s/%s", s.o.Token, s.o.Key) }

// Wrap implements keyservice.Service.
func (s *Service) Wrap(ctx context.Context, plain []byte, about keyservice.Context) ([]byte, error) {
	iv := make([]byte, ivBytes)
	rand.Read(iv)
	sealed, err := s.do(ctx, about, iv, func(m []*p11.Mechanism, key p11.ObjectHandle) ([]byte, error) {
		if err := s.module.EncryptInit(s.session, m, key); err != nil {
			return nil, err
		}
		return s.module.Encrypt(s.session, plain)
	})
	if err != nil {
		return nil, err
	}
	return append(iv, sealed...), nil
}

// Unwrap implements keyservice.Service.
func (s *Service) Unwrap(ctx context.Context, wrapped []byte, about keyservice.Context) ([]byte, error) {
	if len(wrapped) <= ivBytes+tagBytes {
		return nil, fmt.Errorf("%w: pkcs11: what is to be unwrapped is too short", keyservice.ErrRefused)
	}
	return s.do(ctx, about, wrapped[:ivBytes], func(m []*p11.Mechanism, key p11.ObjectHandle) ([]byte, error) {
		if err := s.module.DecryptInit(s.session, m, key); err != nil {
			return nil, err
		}
		plain, err := s.module.Decrypt(s.session, wrapped[ivBytes:])
		if errors.Is(err, p11.Error(p11.CKR_GENERAL_ERROR)) || errors.Is(err, p11.Error(p11.CKR_FUNCTION_FAILED)) {
			err = p11.Error(p11.CKR_ENCRYPTED_DATA_INVALID) // which is what modules mean that have begun and then say that
		}
		return plain, err
	})
}

// do runs fn in a session, with the key.
func (s *Service) do(ctx context.Context, about keyservice.Context, iv []byte, fn func([]*p11.Mechanism, p11.ObjectHandle) ([]byte, error)) ([]byte, error) {
	return s.inTurn(ctx, func() ([]byte, error) { return s.inSession(about, iv, fn) })
}

// inTurn runs fn when nobody else uses the session. A module can't be interrupted: who gives up leaves it to itself, and
// while it does not return those who come later only wait for their turn.
func (s *Service) inTurn(ctx context.Context, fn func() ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	away := func() error { return fmt.Errorf("%w: pkcs11: %w", keyservice.ErrAway, ctx.Err()) }
	if ctx.Err() != nil {
		return nil, away()
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, away()
	}
	type answer struct {
		out []byte
		err error
	}
	done := make(chan answer, 1)
	go func() {
		defer func() { <-s.turn }()
		out, err := fn()
		done <- answer{out, err}
	}()
	select {
	case a := <-done:
		return a.out, a.err
	case <-ctx.Done():
		return nil, away()
	}
}

// inSession needs the turn.
func (s *Service) inSession(about keyservice.Context, iv []byte, fn func([]*p11.Mechanism, p11.ObjectHandle) ([]byte, error)) ([]byte, error) {
	if err := s.login(); err != nil {
		return nil, s.failed("log in", err)
	}
	key, err := s.find(keyservice.KeyFor(s.o.Key, about))
	if err != nil {
		return nil, s.failed("find the key", err)
	}
	params := p11.NewGCMParams(iv, about.Encode(), 8*tagBytes)
	defer params.Free()
	out, err := fn([]*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_GCM, params)}, key)
	if err != nil {
		return nil, s.failed("encrypt or decrypt", err)
	}
	return out, nil
}

// login opens a session where there is none.
func (s *Service) login() error {
	if s.open {
		return nil
	}
	slots, err := s.module.GetSlotList(true)
	if err != nil {
		return err
	}
	for _, slot := range slots {
		info, err := s.module.GetTokenInfo(slot)
		if err != nil || info.Label != s.o.Token {
			continue
		}
		pin, err := os.ReadFile(s.o.PINFile)
		if err != nil {
			return err
		}
		defer clear(pin)
		if s.session, err = s.module.OpenSession(slot, p11.CKF_SERIAL_SESSION); err != nil {
			return err
		}
		err = s.module.Login(s.session, p11.CKU_USER, strings.TrimSpace(string(pin)))
		if err != nil && !errors.Is(err, p11.Error(p11.CKR_USER_ALREADY_LOGGED_IN)) {
			return errors.Join(err, s.module.CloseSession(s.session))
		}
		s.open = true
		return nil
	}
	return p11.Error(p11.CKR_TOKEN_NOT_PRESENT)
}

func (s *Service) find(label string) (key p11.ObjectHandle, err error) {
	err = s.module.FindObjectsInit(s.session, []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY), p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_AES), p11.NewAttribute(p11.CKA_LABEL, label),
	})
	if err != nil {
		return 0, err
	}
	found, _, err := s.module.FindObjects(s.session, 2)
	if err = errors.Join(err, s.module.FindObjectsFinal(s.session)); err != nil {
		return 0, err
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("%w: %d AES keys have the label %q", errNoKey, len(found), label)
	}
	return found[0], nil
}

var errNoKey = errors.New("there must be one key")

// refused are the module's errors that do not pass by themselves.
var refused = map[p11.Error]bool{
	p11.CKR_PIN_INCORRECT: true, p11.CKR_PIN_LOCKED: true, p11.CKR_PIN_EXPIRED: true, p11.CKR_PIN_LEN_RANGE: true, p11.CKR_ENCRYPTED_DATA_INVALID: true,
	p11.CKR_ENCRYPTED_DATA_LEN_RANGE: true, p11.CKR_KEY_FUNCTION_NOT_PERMITTED: true, p11.CKR_MECHANISM_INVALID: true, p11.CKR_KEY_TYPE_INCONSISTENT: true,
	p11.CKR_MECHANISM_PARAM_INVALID: true,
}

// failed says what an error means, and gives the session up, which it may have ended.
func (s *Service) failed(do string, err error) error {
	if s.open {
		s.open = false
		_ = s.module.CloseSession(s.session)
	}
	kind := keyservice.ErrAway
	var code p11.Error
	if errors.As(err, &code) && refused[code] || errors.Is(err, errNoKey) {
		kind = keyservice.ErrRefused
	}
	return fmt.Errorf("%w: pkcs11: %s: %w", kind, do, err)
}
