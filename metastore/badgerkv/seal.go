package badgerkv

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"k3fs/metastore"
)

// keys are what derives from Options.Key: one key per use.
type keys struct {
	value  []byte // AES-256-GCM over each value
	badger []byte // Badger's own encryption, for the names of keys
	anchor []byte // HMAC-SHA-256 over the anchor
}

func deriveKeys(master [32]byte) (keys, error) {
	var k keys
	for info, dst := range map[string]*[]byte{
		"k3fs metastore value v1":  &k.value,
		"k3fs metastore badger v1": &k.badger,
		"k3fs metastore anchor v1": &k.anchor,
	} {
		key, err := hkdf.Key(sha256.New, master[:], nil, info, 32)
		if err != nil {
			return keys{}, fmt.Errorf("badgerkv: deriving keys: %w", err)
		}
		*dst = key
	}
	return k, nil
}

func anchorMAC(key, data []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	return mac.Sum(nil)
}

const (
	nonceSize = 12
	tagSize   = 16
	sealSize  = nonceSize + tagSize // what sealing adds to a value
)

// sealer seals values as nonce | ciphertext | tag. A nonce is the epoch, which is another one each time
// the store is opened, and a counter: the pair never comes twice.
type sealer struct {
	aead    cipher.AEAD
	epoch   uint32
	counter atomic.Uint64
}

func newSealer(key []byte, epoch uint32) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead: aead, epoch: epoch}, nil
}

// seal appends sealed value to dst. ad binds it to its place: the stored key and the version.
func (s *sealer) seal(dst, value, ad []byte) []byte {
	var nonce [nonceSize]byte
	binary.BigEndian.PutUint32(nonce[:], s.epoch)
	binary.BigEndian.PutUint64(nonce[4:], s.counter.Add(1))
	dst = append(dst, nonce[:]...)
	return s.aead.Seal(dst, nonce[:], value, ad)
}

// open appends the value that was sealed to dst.
func (s *sealer) open(dst, sealed, ad []byte) ([]byte, error) {
	if len(sealed) < sealSize {
		return nil, fmt.Errorf("%w: a sealed value is cut short", metastore.ErrCorrupt)
	}
	value, err := s.aead.Open(dst, sealed[:nonceSize], sealed[nonceSize:], ad)
	if err != nil {
		return nil, fmt.Errorf("%w: a value fails its authentication", metastore.ErrCorrupt)
	}
	return value, nil
}
