package storetest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync/atomic"

	"k3fs/chunkstore"
)

// ErrNoKey is what Keys answers for an epoch that is not there.
var ErrNoKey = errors.New("storetest: no such key")

// Keys is a Keyring whose keys follow from domain and epoch. It is ready to use.
type Keys struct{ epoch atomic.Uint32 }

var _ chunkstore.Keyring = (*Keys)(nil)

// Rotate goes to the next epoch.
func (k *Keys) Rotate() { k.epoch.Add(1) }

// Current returns the epoch that seals.
func (k *Keys) Current(chunkstore.Domain) (uint32, error) { return k.epoch.Load(), nil }

// DataKey returns a key, or ErrNoKey for an epoch to come.
func (k *Keys) DataKey(d chunkstore.Domain, epoch uint32) ([32]byte, error) {
	if epoch > k.epoch.Load() {
		return [32]byte{}, ErrNoKey
	}
	seed := binary.LittleEndian.AppendUint64([]byte("storetest key"), uint64(d))
	return sha256.Sum256(binary.LittleEndian.AppendUint32(seed, epoch)), nil
}
