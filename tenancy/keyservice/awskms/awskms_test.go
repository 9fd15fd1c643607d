package awskms

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"k3fs/tenancy/keyservice"
	"k3fs/tenancy/keyservice/kstest"
)

// server speaks KMS's protocol (awsJson1_1): https://docs.aws.amazon.com/kms/latest/APIReference/
type server struct {
	aead cipher.AEAD
	away atomic.Bool
}

func newServer(t *testing.T) *server {
	block, err := aes.NewCipher(make([]byte, 32))
	require.NoError(t, err)
	aead, err := cipher.NewGCMWithRandomNonce(block)
	require.NoError(t, err)
	return &server{aead: aead}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code string) {
		w.Header().Set("X-Amzn-Errortype", code)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": code})
	}
	var ask struct {
		KeyId                     string //nolint:revive,stylecheck // its name
		Plaintext, CiphertextBlob []byte
		EncryptionContext         map[string]string
	}
	switch err := json.NewDecoder(r.Body).Decode(&ask); {
	case s.away.Load():
		refuse(http.StatusInternalServerError, "KMSInternalException")
		return
	case !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKID/"):
		refuse(http.StatusBadRequest, "UnrecognizedClientException")
		return
	case err != nil:
		refuse(http.StatusBadRequest, "SerializationException")
		return
	case !strings.HasPrefix(ask.KeyId, "alias/k3fs"):
		refuse(http.StatusBadRequest, "NotFoundException")
		return
	}
	about := append(keyservice.Context(ask.EncryptionContext).Encode(), ask.KeyId...)
	answer := map[string]any{"KeyId": ask.KeyId}
	if r.Header.Get("X-Amz-Target") == "TrentService.Encrypt" {
		answer["CiphertextBlob"] = s.aead.Seal(nil, nil, ask.Plaintext, about)
	} else {
		plain, err := s.aead.Open(nil, nil, ask.CiphertextBlob, about)
		if err != nil {
			refuse(http.StatusBadRequest, "InvalidCiphertextException")
			return
		}
		answer["Plaintext"] = plain
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(answer)
}

func newService(t *testing.T, h http.Handler, key, access string) *Service {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	s, err := New(t.Context(), Options{Key: key, Region: "eu-central-1", Endpoint: srv.URL,
		Credentials: credentials.NewStaticCredentialsProvider(access, "secret", "")})
	require.NoError(t, err)
	return s
}

func TestService(t *testing.T) {
	for _, key := range []string{"alias/k3fs", "alias/k3fs-{tenant}"} {
		t.Run(key, func(t *testing.T) {
			kstest.Run(t, func(t *testing.T) kstest.Fixture {
				h := newServer(t)
				return kstest.Fixture{Service: newService(t, h, key, "AKID"), SetAway: h.away.Store}
			})
		})
	}
}

func TestRefused(t *testing.T) {
	h := newServer(t)
	require.ErrorIs(t, keyservice.Health(t.Context(), newService(t, h, "alias/other", "AKID")), keyservice.ErrRefused)
	require.ErrorIs(t, keyservice.Health(t.Context(), newService(t, h, "alias/k3fs", "WRONG")), keyservice.ErrRefused)
	_, err := New(t.Context(), Options{})
	require.Error(t, err)
}
