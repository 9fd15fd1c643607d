//go:build pkcs11

package pkcs11

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"k3fs/tenancy/keyservice"
	"k3fs/tenancy/keyservice/kstest"
)

const (
	softHSM = "/usr/lib/softhsm/libsofthsm2.so"
	pin     = "a-pin-4711"
)

// TestSoftHSM runs the conformance suite, and what is PKCS#11's own, on the library of softhsm2.
func TestSoftHSM(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	require.NoError(t, os.WriteFile(conf, []byte("directories.tokendir = "+dir+"\nobjectstore.backend = file\n"), 0o600))
	t.Setenv("SOFTHSM2_CONF", conf)
	out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "k3fs", "--so-pin", "so-"+pin, "--pin", pin).CombinedOutput()
	require.NoError(t, err, "%s", out)
	pinFile := filepath.Join(dir, "pin")
	require.NoError(t, os.WriteFile(pinFile, []byte(pin+"\n"), 0o600))
	module := p11.New(softHSM)
	require.NotNil(t, module)
	t.Cleanup(func() { require.NoError(t, module.Finalize()) }) // it has read the configuration, for the whole process
	service := func(t *testing.T, key string) *Service {
		s, err := New(Options{Module: softHSM, Token: "k3fs", Key: key, PINFile: pinFile})
		require.NoError(t, err)
		return s
	}
	for _, label := range []string{"k3fs", "k3fs-1", "k3fs-2", "k3fs-node"} {
		makeKey(t, service(t, label), label)
	}
	for _, key := range []string{"k3fs", "k3fs-{tenant}"} {
		t.Run(key, func(t *testing.T) {
			kstest.Run(t, func(t *testing.T) kstest.Fixture { return kstest.Fixture{Service: service(t, key)} })
		})
	}

	require.ErrorIs(t, keyservice.Health(t.Context(), service(t, "none")), keyservice.ErrRefused)
	s := service(t, "k3fs")
	require.NoError(t, keyservice.Health(t.Context(), s))
	require.NoError(t, s.module.CloseSession(s.session)) // as a module that was pulled and put back
	require.ErrorIs(t, keyservice.Health(t.Context(), s), keyservice.ErrAway)
	require.NoError(t, keyservice.Health(t.Context(), s))
	s.o.Token = "another"
	s.open = false
	require.ErrorIs(t, keyservice.Health(t.Context(), s), keyservice.ErrAway)

	_, err = New(Options{Module: filepath.Join(dir, "none.so"), Token: "k3fs", Key: "k3fs", PINFile: pinFile})
	require.Error(t, err)
	require.NoError(t, os.WriteFile(pinFile, []byte("a-wrong-one"), 0o600))
	require.NoError(t, s.module.Finalize())
	err = keyservice.Health(t.Context(), service(t, "k3fs"))
	require.ErrorIs(t, err, keyservice.ErrRefused)
	require.NotContains(t, err.Error(), "a-wrong-one")
}

// TestModuleHangs: a module that does not return keeps one goroutine, however many ask meanwhile, and they are told.
func TestModuleHangs(t *testing.T) {
	s := &Service{o: Options{Timeout: time.Millisecond}, turn: make(chan struct{}, 1)}
	hung, calls := make(chan struct{}), atomic.Int32{}
	for range 20 {
		_, err := s.inTurn(t.Context(), func() ([]byte, error) {
			calls.Add(1)
			<-hung
			return nil, nil
		})
		require.ErrorIs(t, err, keyservice.ErrAway)
	}
	s.o.Timeout = time.Minute
	close(hung)
	out, err := s.inTurn(t.Context(), func() ([]byte, error) { return []byte("well"), nil })
	require.NoError(t, err)
	require.Equal(t, "well", string(out))
	require.EqualValues(t, 1, calls.Load())
}

// makeKey makes an AES key that stays in the token.
func makeKey(t *testing.T, s *Service, label string) {
	slots, err := s.module.GetSlotList(true)
	require.NoError(t, err)
	for _, slot := range slots {
		if info, err := s.module.GetTokenInfo(slot); err != nil || info.Label != "k3fs" {
			continue
		}
		h, err := s.module.OpenSession(slot, p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
		require.NoError(t, err)
		require.NoError(t, s.module.Login(h, p11.CKU_USER, pin))
		_, err = s.module.GenerateKey(h, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_KEY_GEN, nil)}, []*p11.Attribute{
			p11.NewAttribute(p11.CKA_TOKEN, true), p11.NewAttribute(p11.CKA_LABEL, label), p11.NewAttribute(p11.CKA_VALUE_LEN, 32),
			p11.NewAttribute(p11.CKA_ENCRYPT, true), p11.NewAttribute(p11.CKA_DECRYPT, true),
			p11.NewAttribute(p11.CKA_SENSITIVE, true), p11.NewAttribute(p11.CKA_EXTRACTABLE, false),
		})
		require.NoError(t, err)
		require.NoError(t, s.module.Logout(h))
		require.NoError(t, s.module.CloseSession(h))
	}
}
