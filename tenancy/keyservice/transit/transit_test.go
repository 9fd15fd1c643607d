package transit

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/tenancy/keyservice"
	"k3fs/tenancy/keyservice/kstest"
)

// engine speaks transit's protocol: https://openbao.org/api-docs/secret/transit/
type engine struct {
	t      *testing.T
	aead   cipher.AEAD
	sealed atomic.Bool
}

func newEngine(t *testing.T) *engine {
	block, err := aes.NewCipher(make([]byte, 32))
	require.NoError(t, err)
	aead, err := cipher.NewGCMWithRandomNonce(block)
	require.NoError(t, err)
	return &engine{t: t, aead: aead}
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, why string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{why}})
	}
	if e.sealed.Load() {
		refuse(http.StatusServiceUnavailable, "Vault is sealed")
		return
	}
	if r.Header.Get("X-Vault-Token") != "the-token" {
		refuse(http.StatusForbidden, "permission denied")
		return
	}
	var ask struct {
		Plaintext, Ciphertext string
		AssociatedData        string `json:"associated_data"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		refuse(http.StatusBadRequest, err.Error())
		return
	}
	about, err := base64.StdEncoding.DecodeString(ask.AssociatedData)
	data := map[string]any{}
	do, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/transit/"), "/")
	about = append(about, key...)
	switch {
	case err != nil || !strings.HasPrefix(key, "k3fs"):
		refuse(http.StatusBadRequest, "encryption key not found")
		return
	case do == "encrypt":
		plain, err := base64.StdEncoding.DecodeString(ask.Plaintext)
		if err != nil {
			refuse(http.StatusBadRequest, err.Error())
			return
		}
		data["ciphertext"] = "vault:v1:" + base64.StdEncoding.EncodeToString(e.aead.Seal(nil, nil, plain, about))
	case do == "decrypt":
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(ask.Ciphertext, "vault:v1:"))
		if err == nil {
			raw, err = e.aead.Open(nil, nil, raw, about)
		}
		if err != nil {
			refuse(http.StatusBadRequest, "cipher: message authentication failed")
			return
		}
		data["plaintext"] = base64.StdEncoding.EncodeToString(raw)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}

func newService(t *testing.T, e *engine, key string) (*Service, string) {
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("the-token\n"), 0o600))
	s, err := New(Options{Address: server.URL, Key: key, TokenFile: token})
	require.NoError(t, err)
	return s, token
}

func TestService(t *testing.T) {
	for _, key := range []string{"k3fs", "k3fs-{tenant}"} {
		t.Run(key, func(t *testing.T) {
			kstest.Run(t, func(t *testing.T) kstest.Fixture {
				e := newEngine(t)
				s, _ := newService(t, e, key)
				return kstest.Fixture{Service: s, SetAway: e.sealed.Store}
			})
		})
	}
}

func TestToken(t *testing.T) {
	s, token := newService(t, newEngine(t), "k3fs")
	require.NoError(t, s.Health(t.Context()))
	require.NoError(t, os.WriteFile(token, []byte("another"), 0o600))
	err := s.Health(t.Context())
	require.ErrorIs(t, err, keyservice.ErrRefused)
	require.NotContains(t, err.Error(), "another")
	require.NoError(t, os.WriteFile(token, []byte("the-token"), 0o600))
	require.NoError(t, s.Health(t.Context()), "a token that was renewed counts at once")
}

func TestNobodyThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("the-token"), 0o600))
	s, err := New(Options{Address: server.URL, Key: "k3fs", TokenFile: token})
	require.NoError(t, err)
	require.ErrorIs(t, s.Health(t.Context()), keyservice.ErrAway)
	_, err = New(Options{Address: server.URL})
	require.Error(t, err)
}
