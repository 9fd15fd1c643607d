package tenancy

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

// sealer seals small secrets of one purpose: AES-256-GCM with a random nonce in front, under the newest generation of
// the node's keys, and opens those of every generation that is left. Far fewer than 2^32 secrets are ever sealed under
// one key, so random nonces are safe (NIST SP 800-38D, 8.3).
type sealer struct {
	label string
	ring  *ring
}

// ring holds what the generations of the node's keys seal with, the newest last. It changes as a whole.
type ring struct {
	all atomic.Pointer[[]generation]
}

// generation is one of the keys from which the sealing of this package's records comes.
type generation struct {
	id  uint32
	key [keyBytes]byte
}

// sealedMagic begins what a generation other than 0 sealed; the generation's number follows. Generation 0 is a master
// key itself, as the first stores had it, and says nothing: its nonce comes first.
var sealedMagic = []byte("k3s\x01")

func sealedHeader(id uint32) []byte {
	if id == 0 {
		return nil
	}
	return binary.BigEndian.AppendUint32(bytes.Clone(sealedMagic), id)
}

func newAEAD(key [keyBytes]byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// aead panics for what no key of this length can be.
func (g generation) aead(label string) cipher.AEAD {
	aead, err := newAEAD(derive(g.key, label))
	if err != nil {
		panic("tenancy: aes: " + err.Error())
	}
	return aead
}

func (s sealer) seal(plain, about []byte) []byte {
	all := *s.ring.all.Load()
	newest := all[len(all)-1]
	header := sealedHeader(newest.id)
	return newest.aead(s.label).Seal(header, nil, plain, append(header, about...))
}

// open returns what was sealed about the same thing, or ErrCorrupt.
func (s sealer) open(sealed, about []byte, what string) ([]byte, error) {
	for _, g := range *s.ring.all.Load() {
		header := sealedHeader(g.id)
		rest, ok := bytes.CutPrefix(sealed, header)
		if !ok {
			continue
		}
		if plain, err := g.aead(s.label).Open(nil, nil, rest, append(header, about...)); err == nil {
			return plain, nil
		}
	}
	return nil, fmt.Errorf("%w: %s fails its authentication (is this the master key it was made with?)", ErrCorrupt, what)
}

// renew seals anew what an older generation sealed; nil where that is not so.
func (s sealer) renew(sealed, about []byte, what string) ([]byte, error) {
	all := *s.ring.all.Load()
	if newest := all[len(all)-1]; newest.id != 0 && bytes.HasPrefix(sealed, sealedHeader(newest.id)) {
		return nil, nil
	}
	plain, err := s.open(sealed, about, what)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return s.seal(plain, about), nil
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
