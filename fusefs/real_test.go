package fusefs

import (
	"errors"

	"k3fs/namespace"
)

// openNamespace opens a real namespace in data.
func openNamespace(data string, inv *Invalidator) (namespace.Posix, func() error, error) {
	return nil, nil, errors.New("namespace has not landed")
}
