//go:build pkcs11

package daemon

import (
	"k3fs/tenancy/keyservice"
	"k3fs/tenancy/keyservice/pkcs11"
)

func openPKCS11(c *KeyServiceConfig) (keyservice.Service, error) {
	s, err := pkcs11.New(pkcs11.Options{Module: c.Address, Token: c.Mount, Key: c.Key, PINFile: c.TokenFile})
	if err != nil {
		return nil, err
	}
	return s, nil
}
