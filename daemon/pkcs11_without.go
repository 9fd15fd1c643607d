//go:build !pkcs11

package daemon

import (
	"errors"

	"k3fs/tenancy/keyservice"
)

func openPKCS11(*KeyServiceConfig) (keyservice.Service, error) {
	return nil, errors.New("this k3fs was built without pkcs11: build it with -tags pkcs11 and cgo")
}
