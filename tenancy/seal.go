package tenancy

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
)

// sealer seals small secrets: AES-256-GCM with a random nonce in front, under a key of one purpose.
// Far fewer than 2^32 secrets are ever sealed under one key, so random nonces are safe
// (NIST SP 800-38D, 8.3).
type sealer struct {
	aead cipher.AEAD
}

func newSealer(key [keyBytes]byte) (sealer, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead}, err
}

func (s sealer) seal(plain, about []byte) []byte { return s.aead.Seal(nil, nil, plain, about) }

// open returns what was sealed about the same thing, or ErrCorrupt.
func (s sealer) open(sealed, about []byte, what string) ([]byte, error) {
	plain, err := s.aead.Open(nil, nil, sealed, about)
	if err != nil {
		return nil, fmt.Errorf("%w: %s fails its authentication (is this the master key it was made with?)", ErrCorrupt, what)
	}
	return plain, nil
}

// aboutSecret binds a secret to its access key and to whom that acts for, so that a record copied
// over another one, or a changed owner, does not open.
func aboutSecret(k AccessKey) []byte {
	e := newEncoder()
	e.string(k.ID)
	e.uint(uint64(k.Tenant))
	e.string(k.Account)
	e.bool(k.Root)
	return *e
}

func aboutTenantKey(id TenantID, epoch uint32) []byte {
	about := binary.BigEndian.AppendUint64([]byte("tenant key"), uint64(id))
	return binary.BigEndian.AppendUint32(about, epoch)
}
