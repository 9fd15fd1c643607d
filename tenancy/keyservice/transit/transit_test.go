package transit

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/internal/transittest"
	"k3fs/tenancy/keyservice"
	"k3fs/tenancy/keyservice/kstest"
)

func newService(t *testing.T, e *transittest.Engine, key string) (*Service, string) {
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
				e := transittest.New(t)
				s, _ := newService(t, e, key)
				return kstest.Fixture{Service: s, SetAway: e.SetSealed}
			})
		})
	}
}

func TestToken(t *testing.T) {
	s, token := newService(t, transittest.New(t), "k3fs")
	require.NoError(t, keyservice.Health(t.Context(), s))
	require.NoError(t, os.WriteFile(token, []byte("another"), 0o600))
	err := keyservice.Health(t.Context(), s)
	require.ErrorIs(t, err, keyservice.ErrRefused)
	require.NotContains(t, err.Error(), "another")
	require.NoError(t, os.WriteFile(token, []byte("the-token"), 0o600))
	require.NoError(t, keyservice.Health(t.Context(), s), "a token that was renewed counts at once")
}

func TestNobodyThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("the-token"), 0o600))
	s, err := New(Options{Address: server.URL, Key: "k3fs", TokenFile: token})
	require.NoError(t, err)
	require.ErrorIs(t, keyservice.Health(t.Context(), s), keyservice.ErrAway)
	_, err = New(Options{Address: server.URL})
	require.Error(t, err)
}
