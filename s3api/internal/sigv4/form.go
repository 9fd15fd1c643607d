package sigv4

import (
	"context"
	"strings"
	"time"

	"k3fs/s3api/internal/s3err"
)

// VerifyForm authenticates a browser's form upload from its fields, whose names are in lower case ("POST
// policy" in the S3 API reference). The signature covers the policy field and nothing else, so the caller
// must check every other field and the file against the policy. A form without policy and signature yields
// an Identity whose Mechanism is Anonymous.
func (v *Verifier[P]) VerifyForm(ctx context.Context, fields map[string]string) (*Identity[P], error) {
	has := func(names ...string) bool {
		for _, name := range names {
			if _, ok := fields[name]; ok {
				return true
			}
		}
		return false
	}
	v4 := has("x-amz-algorithm", "x-amz-credential", "x-amz-signature", "x-amz-date")
	v2 := has("awsaccesskeyid", "signature")
	switch {
	case v4 && v2:
		return nil, s3err.New(s3err.InvalidArgument, "Only one auth mechanism allowed")
	case !v4 && !v2:
		if has("policy") {
			return nil, missingField("AWSAccessKeyId")
		}
		return &Identity[P]{}, nil
	case fields["policy"] == "":
		return nil, missingField("policy")
	case v2:
		return v.verifyFormV2(ctx, fields)
	}
	return v.verifyFormV4(ctx, fields)
}

func (v *Verifier[P]) verifyFormV4(ctx context.Context, fields map[string]string) (*Identity[P], error) {
	for _, name := range []string{"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"} {
		if fields[name] == "" {
			return nil, missingField(name)
		}
	}
	malformed := func(format string, args ...any) *s3err.Error {
		return s3err.New(s3err.InvalidArgument, format, args...)
	}
	if fields["x-amz-algorithm"] != algorithm {
		return nil, malformed("X-Amz-Algorithm only supports %q", algorithm)
	}
	c := &claim{mechanism: Form}
	if token, ok := fields["x-amz-security-token"]; ok {
		if c.token = token; !printable(token, maxToken) {
			return nil, invalidToken()
		}
	}
	if err := c.parse(fields["x-amz-credential"], "host", fields["x-amz-signature"], malformed); err != nil {
		return nil, err
	}
	var err error
	if c.signedAt, err = time.Parse(timeFormat, fields["x-amz-date"]); err != nil {
		return nil, malformed(`X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`)
	}
	if err := v.checkScope(c, malformed); err != nil {
		return nil, err
	}
	switch now := v.now(); {
	case c.signedAt.After(now.Add(v.maxSkew)):
		return nil, s3err.New(s3err.AccessDenied, "Request is not valid yet")
	case now.After(c.signedAt.Add(maxExpiry)): // AWS's signing keys live as long
		return nil, s3err.New(s3err.AccessDenied, "Request has expired")
	}
	secrets, principal, err := v.secrets(ctx, c.accessKey, c.token)
	if err != nil {
		return nil, err
	}
	if _, ok := c.signedBy(secrets, []string{fields["policy"]}); !ok {
		return nil, mismatch()
	}
	return &Identity[P]{Mechanism: Form, AccessKey: c.accessKey, Principal: principal, Scope: c.scope, SignedAt: c.signedAt}, nil
}

func (v *Verifier[P]) verifyFormV2(ctx context.Context, fields map[string]string) (*Identity[P], error) {
	if !v.v2 {
		return nil, useV4()
	}
	access, signature := fields["awsaccesskeyid"], strings.TrimSpace(fields["signature"])
	switch {
	case !printable(access, maxAccessKey):
		return nil, missingField("AWSAccessKeyId")
	case signature == "":
		return nil, missingField("signature")
	}
	secrets, principal, err := v.secrets(ctx, access, "")
	if err != nil {
		return nil, err
	}
	if !equalV2(secrets, fields["policy"], signature) {
		return nil, mismatch()
	}
	return &Identity[P]{Mechanism: FormV2, AccessKey: access, Principal: principal, SignedAt: v.now()}, nil
}

func missingField(name string) error {
	return s3err.New(s3err.InvalidArgument, "Bucket POST must contain a field named '%s'.  If it is specified, please check the order of the fields.", name)
}
