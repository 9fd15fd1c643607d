package s3api

import (
	"net/http"
	"strings"

	"k3fs/s3api/internal/s3err"
)

// The headers of server-side encryption. Everything is encrypted, whether asked for or not.
const (
	sseHeader    = "X-Amz-Server-Side-Encryption"
	sseKeyHeader = "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	sseContext   = "X-Amz-Server-Side-Encryption-Context"
	sseBucketKey = "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled"
	sseCustomer  = "X-Amz-Server-Side-Encryption-Customer-"
	sseSource    = "X-Amz-Copy-Source-Server-Side-Encryption-Customer-"
)

// refuseCustomerKeys refuses SSE-C: whoever holds the tenant's key could read such data anyway, and whoever
// loses the customer's could not, with no gain. It is asked before the body is read.
func refuseCustomerKeys(h http.Header) error {
	for name := range h {
		if strings.HasPrefix(name, sseCustomer) || strings.HasPrefix(name, sseSource) {
			if h.Get(sseHeader) != "" {
				return s3err.New(s3err.InvalidArgument, "Server Side Encryption with Customer provided key is incompatible with the encryption method specified")
			}
			return s3err.New(s3err.InvalidRequest, "Server-side encryption with keys provided by the customer (SSE-C) is not offered. All data is encrypted with the tenant's key.")
		}
	}
	return nil
}

// encryption reads what a write asks for, as the headers that tell it later: none for AES256, which
// everything has.
func (q *request) encryption(h http.Header) (map[string]string, error) {
	method, key := h.Get(sseHeader), h.Get(sseKeyHeader)
	if method == "" && key == "" && h.Get(sseContext) == "" {
		var err error
		if method, key, err = q.defaultEncryption(); err != nil {
			return nil, err
		}
	}
	switch method {
	case "aws:kms", "aws:kms:dsse":
		if key != "" && !q.ownKey(key) {
			return nil, s3err.New("KMS.NotFoundException", "Key '%s' does not exist", printable(key))
		}
		if key == "" {
			t := q.identity.Principal.Tenant
			key = "arn:aws:kms:" + q.s.o.Region + ":" + t.AccountID() + ":key/" + t.KMSKeyID()
		}
		return map[string]string{sseHeader: method, sseKeyHeader: key}, nil
	case "", "AES256":
		if key != "" || h.Get(sseContext) != "" {
			return nil, s3err.New(s3err.InvalidArgument, "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms")
		}
		return nil, nil
	}
	return nil, s3err.New(s3err.InvalidArgument, "The encryption method specified is not supported")
}

// defaultEncryption is what the bucket's configuration says of writes that don't ask for any.
func (q *request) defaultEncryption() (method, key string, err error) {
	_, s, err := q.view.BucketFront(q.ctx(), q.bucket, settingEncryption)
	if err != nil || len(s[settingEncryption]) == 0 {
		return "", "", err
	}
	doc, err := q.s.encryption.get(s[settingEncryption])
	if err != nil || len(doc.Rules) != 1 {
		return "", "", err
	}
	d := doc.Rules[0].Default
	return d.SSEAlgorithm, d.KMSMasterKeyID, nil
}

// ownKey reports whether a KMS key, by id or ARN, is one of the tenant's.
func (q *request) ownKey(key string) bool {
	if q.s.o.KMSKey == nil {
		return false
	}
	if arn, ok := strings.CutPrefix(key, "arn:"); ok {
		// arn:partition:kms:region:account:key/id
		f := strings.SplitN(arn, ":", 5)
		id, isKey := strings.CutPrefix(f[len(f)-1], "key/")
		if len(f) != 5 || f[1] != "kms" || f[3] != q.identity.Principal.Tenant.AccountID() || !isKey {
			return false
		}
		key = id
	}
	return q.s.o.KMSKey(q.ctx(), q.identity.Principal.Tenant, key)
}

// refuseEncryption: S3 takes no such headers where nothing is written.
func refuseEncryption(h http.Header) error {
	for _, name := range []string{sseHeader, sseKeyHeader, sseContext, sseBucketKey} {
		if h.Get(name) != "" {
			return s3err.New(s3err.InvalidArgument, "%s header is not supported for this operation.", strings.ToLower(name))
		}
	}
	return nil
}

// tellEncryption sets the headers that say how an object is encrypted.
func tellEncryption(h http.Header, stored map[string]string) {
	h.Set(sseHeader, "AES256")
	for _, name := range []string{sseHeader, sseKeyHeader} {
		if v := stored[name]; v != "" {
			h.Set(name, v)
		}
	}
}
