// Package pkcs11 is a hardware security module, or what behaves like one, as a key service: AES-GCM (CKM_AES_GCM) by a key
// that never leaves it. Modules are C libraries, so it is only built with the tag pkcs11, and with cgo.
package pkcs11
