//go:build !pkcs11

package daemon

import (
	"errors"

	"k3fs/tenancy/keyservice"
)

// openPKCS11 can't: modules are C libraries, and this program is built without C.
func openPKCS11(*KeyServiceConfig) (keyservice.Service, error) {
	return nil, errors.New("this k3fs is built without PKCS#11: build it with 'make build TAGS=pkcs11'")
}
