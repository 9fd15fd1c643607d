package metastore

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Counter returns the counter under key (Txn.Add), 0 if it is absent.
func Counter(r Reader, key []byte) (int64, error) {
	value, err := r.Get(key)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return DecodeCounter(value)
}

// DecodeCounter is the number that a counter's stored value says.
func DecodeCounter(value []byte) (int64, error) {
	if len(value) != 8 {
		return 0, fmt.Errorf("%w: a counter of %d bytes", ErrCorrupt, len(value))
	}
	return int64(binary.BigEndian.Uint64(value)), nil
}

// EncodeCounter is a counter's stored value. Engines need it; a counter is changed with Txn.Add.
func EncodeCounter(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
