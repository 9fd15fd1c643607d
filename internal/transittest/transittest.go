// Package transittest is a transit engine in memory, for tests.
package transittest

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Token is the one that it takes.
const Token = "the-token"

// Engine is an http.Handler that speaks transit's protocol (https://openbao.org/api-docs/secret/transit/), for keys whose
// names begin with "k3fs".
type Engine struct {
	aead      cipher.AEAD
	sealed    atomic.Bool
	away      atomic.Bool
	decrypted atomic.Int64
}

// New makes an engine.
func New(t testing.TB) *Engine {
	block, err := aes.NewCipher(make([]byte, 32))
	require.NoError(t, err)
	aead, err := cipher.NewGCMWithRandomNonce(block)
	require.NoError(t, err)
	return &Engine{aead: aead}
}

// SetSealed makes it answer as a Vault that is sealed does.
func (e *Engine) SetSealed(sealed bool) { e.sealed.Store(sealed) }

// SetAway makes it close connections without an answer, as if nobody were there.
func (e *Engine) SetAway(away bool) { e.away.Store(away) }

// Decrypted is when it last began to unwrap a key.
func (e *Engine) Decrypted() time.Time { return time.Unix(0, e.decrypted.Load()) }

// ServeHTTP implements http.Handler.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if e.away.Load() {
		panic(http.ErrAbortHandler)
	}
	refuse := func(status int, why string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{why}})
	}
	if e.sealed.Load() {
		refuse(http.StatusServiceUnavailable, "Vault is sealed")
		return
	}
	if r.Header.Get("X-Vault-Token") != Token {
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
		e.decrypted.Store(time.Now().UnixNano())
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
