package s3api

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// The tests here are named after published vulnerabilities of this kind of server.

// A body whose trailer is not covered by a signature must not be taken as if it were (MinIO, 2025).
func TestRegressionUnsignedTrailer(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	for _, mode := range []string{"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"} {
		res := w.call(nil, http.MethodPut, "/bucket/k", "4\r\nevil\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", http.Header{
			"X-Amz-Content-Sha256": {mode}, "X-Amz-Decoded-Content-Length": {"4"}, "X-Amz-Trailer": {"x-amz-checksum-crc32"},
			"Authorization": {"AWS4-HMAC-SHA256 Credential=" + w.mine.AccessKey + "/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=" + strings.Repeat("0", 64)}}, nil)
		readAll(t, res)
		require.GreaterOrEqual(t, res.StatusCode, 400)
	}
	w.want(404, http.MethodGet, "/bucket/k", "", nil)
}

// An access key in the query without a signature names nobody.
func TestRegressionCredentialWithoutSignature(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/k", "precious", nil)
	for _, q := range []string{"X-Amz-Credential=" + w.mine.AccessKey + "%2F20260101%2Fus-east-1%2Fs3%2Faws4_request", "X-Amz-Algorithm=AWS4-HMAC-SHA256",
		"AWSAccessKeyId=" + w.mine.AccessKey, "AWSAccessKeyId=" + w.mine.AccessKey + "&Expires=99999999999", "awsaccesskeyid=" + w.mine.AccessKey + "&Signature="} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			res := w.call(nil, method, "/bucket/k?"+q, "evil", nil, nil)
			require.NotContains(t, readAll(t, res), "precious")
			require.GreaterOrEqual(t, res.StatusCode, 400, q)
		}
	}
	require.Equal(t, "precious", w.want(200, http.MethodGet, "/bucket/k", "", nil))
}

// Reading a copy's source needs the permission to read it, in whatever way it is spelt; a source that is empty or
// is no key is refused, and never taken for a plain PutObject.
func TestRegressionCopySource(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/secret", "precious", nil)
	w.as(&w.them, 200, http.MethodPut, "/theirs", "", nil)
	for _, source := range []string{"/bucket/secret", "bucket/secret", "%2Fbucket%2Fsecret", "/theirs/../bucket/secret", "/bucket/x/../secret", "/bucket//secret",
		"", " ", "/", "/bucket", "/bucket/", "//secret", "/bucket/secret?versionId=null", "/bucket/secret%00", "..", "/../bucket/secret"} {
		for _, target := range []string{"/theirs/copy", "/theirs/copy?partNumber=1&uploadId=00"} {
			res := w.call(&w.them, http.MethodPut, target, "", http.Header{"X-Amz-Copy-Source": {source}}, nil)
			text := readAll(t, res)
			require.GreaterOrEqual(t, res.StatusCode, 400, "%q: %s", source, text)
			require.Less(t, res.StatusCode, 500, "%q: %s", source, text)
		}
	}
	w.as(&w.them, 404, http.MethodGet, "/theirs/copy", "", nil)
}

// ".." in a path is part of the key, and never leads out of a bucket or a prefix.
func TestRegressionDotDot(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/secret", "precious", nil)
	w.want(200, http.MethodPut, "/other-bucket", "", nil)
	for _, path := range []string{"/other-bucket/../bucket/secret", "/other-bucket/%2e%2e/bucket/secret", "/other-bucket/x/../../bucket/secret", "/bucket/x/../secret", "/bucket/..%2fbucket%2fsecret"} {
		res := w.call(&w.mine, http.MethodGet, path, "", nil, nil)
		require.NotContains(t, readAll(t, res), "precious", path)
		require.GreaterOrEqual(t, res.StatusCode, 400, path)
	}
	w.want(200, http.MethodPut, "/bucket/"+url.PathEscape("g/../d"), "itself", nil)
	require.Equal(t, "itself", w.want(200, http.MethodGet, "/bucket/"+url.PathEscape("g/../d"), "", nil))
	w.want(404, http.MethodGet, "/bucket/d", "", nil)
}

// Headers by which proxies and servers talk among themselves mean nothing from a client.
func TestRegressionInternalHeaders(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/k", "precious", nil)
	for name, value := range map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-User": "root", "X-Real-Ip": "127.0.0.1", "X-Original-Url": "/",
		"X-Rewrite-Url": "/", "X-Http-Method-Override": "GET", "X-Minio-Source-Etag": "x", "X-Minio-Source-Replication-Request": "true", "X-Amz-Request-Id": "x",
		"X-K3fs-Tenant": "1", "X-K3-Org": "default", "X-Amz-Account-Id": "000000000001", "X-Auth-Token": "x", "Cookie": "a=b"} {
		res := w.call(nil, http.MethodGet, "/bucket/k", "", http.Header{name: {value}}, nil)
		require.NotContains(t, readAll(t, res), "precious", name)
		require.Equal(t, 403, res.StatusCode, name)
		res = w.call(&w.them, http.MethodGet, "/bucket/k", "", http.Header{name: {value}}, nil)
		require.NotContains(t, readAll(t, res), "precious", name)
		require.GreaterOrEqual(t, res.StatusCode, 400, name)
	}
	policy := `{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*","Condition":{"IpAddress":{"aws:SourceIp":"203.0.113.7"}}}}`
	w.want(204, http.MethodPut, "/bucket?policy", policy, nil)
	w.as(nil, 403, http.MethodGet, "/bucket/k", "", http.Header{"X-Forwarded-For": {"203.0.113.7"}, "X-Real-Ip": {"203.0.113.7"}, "Forwarded": {"for=203.0.113.7"}})
}

// A page of a strange origin is never let in with credentials by reflecting its origin.
func TestRegressionReflectedOrigin(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket?cors", `<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>`, nil)
	for _, origin := range []string{"http://evil", "null", "http://evil\" x=\"", "https://*"} {
		res := w.call(nil, http.MethodOptions, "/bucket/k", "", http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"GET"}}, nil)
		readAll(t, res)
		require.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
		require.Empty(t, res.Header.Get("Access-Control-Allow-Credentials"))
	}
}

// An empty copy source is none to copy from, and is not taken for an upload of nothing.
func TestRegressionEmptyCopySource(t *testing.T) {
	w := newBucket(t)
	w.want(200, http.MethodPut, "/bucket/k", "precious", nil)
	for _, target := range []string{"/bucket/k", "/bucket/new", "/bucket/new?partNumber=1&uploadId=00"} {
		for _, source := range []string{"", " ", "/", "?versionId=x"} {
			status, text, _ := w.do(http.MethodPut, target, "evil", http.Header{"X-Amz-Copy-Source": {source}})
			require.True(t, status >= 400 && status < 500, "%s %q: %d %s", target, source, status, text)
		}
	}
	require.Equal(t, "precious", w.want(200, http.MethodGet, "/bucket/k", "", nil))
	w.want(404, http.MethodGet, "/bucket/new", "", nil)
}

// Each condition of a signed form policy binds, on fields and on the file, and each field needs one.
func TestRegressionPostPolicyConditions(t *testing.T) {
	w := newBucket(t)
	conditions := list(list("starts-with", "$key", "up/"), list("eq", "$acl", "private"), list("content-length-range", 1, 10))
	good := func() *upload {
		return w.form(conditions, [2]string{"key", "up/k"}, [2]string{"acl", "private"})
	}
	for name, change := range map[string]func(*upload){
		"key":     func(u *upload) { u.set("key", "outside") },
		"acl":     func(u *upload) { u.set("acl", "public-read") },
		"length":  func(u *upload) { u.file = strings.Repeat("x", 11) },
		"more":    func(u *upload) { u.fields = append(u.fields, [2]string{"x-amz-meta-evil", "1"}) },
		"storage": func(u *upload) { u.fields = append(u.fields, [2]string{"x-amz-storage-class", "GLACIER"}) },
		"missing": func(u *upload) { u.drop("acl") },
	} {
		u := good()
		change(u)
		res, text := w.post(u)
		require.True(t, res.StatusCode >= 400 && res.StatusCode < 500, "%s: %s", name, text)
	}
	require.Contains(t, w.want(200, http.MethodGet, "/bucket?list-type=2", "", nil), "<KeyCount>0</KeyCount>")
	res, text := w.post(good())
	require.Equal(t, 204, res.StatusCode, text)
}

// A policy that denies passing governance retention binds whoever asks to pass it, in every action that can.
func TestRegressionDeniedBypass(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", h("x-amz-bucket-object-lock-enabled", "true"))
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	version := w.headers(200, "PUT", "/bucket/k", "precious", h("x-amz-object-lock-mode", "GOVERNANCE", "x-amz-object-lock-retain-until-date", until)).Get("X-Amz-Version-Id")
	require.NotEmpty(t, version)
	w.want(204, http.MethodPut, "/bucket?policy", `{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:BypassGovernanceRetention","Resource":"arn:aws:s3:::bucket/*"}}`, nil)
	pass := h("x-amz-bypass-governance-retention", "true")
	w.refuse(403, "AccessDenied", "DELETE", "/bucket/k?versionId="+version, "", pass)
	out := w.want(200, "POST", "/bucket?delete", "<Delete><Object><Key>k</Key><VersionId>"+version+"</VersionId></Object></Delete>", pass)
	require.Contains(t, out, "<Code>AccessDenied</Code>")
	sooner := `<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>` + time.Now().Add(time.Minute).UTC().Format(time.RFC3339) + `</RetainUntilDate></Retention>`
	w.refuse(403, "AccessDenied", "PUT", "/bucket/k?retention", sooner, pass)
	require.Equal(t, "precious", w.want(200, "GET", "/bucket/k?versionId="+version, "", nil))
	w.want(204, http.MethodDelete, "/bucket?policy", "", nil)
	w.refuse(403, "AccessDenied", "DELETE", "/bucket/k?versionId="+version, "", nil)
	w.want(204, "DELETE", "/bucket/k?versionId="+version, "", pass)
}

// A condition of a policy holds for the value that the request is served by, and not for another one beside it.
func TestRegressionRepeatedConditionValues(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket?ownershipControls", aclsOn, nil)
	w.want(200, http.MethodPut, "/bucket/a/secret", "x", nil)
	w.want(204, http.MethodPut, "/bucket?policy", `{"Statement":[
		{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket","Condition":{"StringLike":{"s3:prefix":"pub/*"}}},
		{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*","Condition":{"StringEquals":{"s3:x-amz-acl":"private"}}},
		{"Effect":"Deny","Principal":"*","Action":["s3:PutObject","s3:PutObjectAcl"],"Resource":"arn:aws:s3:::bucket/*","Condition":{"StringLike":{"s3:x-amz-grant-read":"*AllUsers*"}}}]}`, nil)
	for _, cred := range []*tenancy.Credentials{&w.them, nil} {
		w.as(cred, 200, http.MethodGet, "/bucket?prefix=pub/", "", nil)
		w.as(cred, 403, http.MethodGet, "/bucket?prefix=a/&prefix=pub/", "", nil)
		w.as(cred, 200, http.MethodGet, "/bucket?prefix=pub/&prefix=z/", "", nil)
		w.as(cred, 200, http.MethodPut, "/bucket/"+map[bool]string{true: "a", false: "b"}[cred == nil], "x", http.Header{"X-Amz-Acl": {"private"}})
		w.as(cred, 403, http.MethodPut, "/bucket/new", "x", http.Header{"X-Amz-Acl": {"public-read", "private"}})
	}
	w.want(403, http.MethodPut, "/bucket/new", "x", http.Header{"X-Amz-Grant-Read": {`id="` + w.theirs.Canonical() + `"`, `uri="http://acs.amazonaws.com/groups/global/AllUsers"`}})
	w.want(404, http.MethodGet, "/bucket/new", "", nil)
	w.refuse(400, "InvalidArgument", http.MethodPut, "/bucket/new", "", http.Header{"X-Amz-Copy-Source": {"bucket/a/secret", "bucket/other"}})
}

// A policy bounds what a lock may be, by header as by document (AWS's user guide: "Managing Object Lock").
func TestRegressionLockConditions(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", h("x-amz-bucket-object-lock-enabled", "true"))
	w.want(200, http.MethodPut, "/bucket/k", "x", nil)
	w.want(204, http.MethodPut, "/bucket?policy", `{"Statement":[
		{"Effect":"Deny","Principal":"*","Action":["s3:PutObjectRetention"],"Resource":"arn:aws:s3:::bucket/*","Condition":{"NumericGreaterThan":{"s3:object-lock-remaining-retention-days":"10"}}},
		{"Effect":"Deny","Principal":"*","Action":["s3:PutObjectRetention"],"Resource":"arn:aws:s3:::bucket/*","Condition":{"StringEquals":{"s3:object-lock-mode":"COMPLIANCE"}}},
		{"Effect":"Deny","Principal":"*","Action":["s3:PutObjectLegalHold"],"Resource":"arn:aws:s3:::bucket/*","Condition":{"StringEquals":{"s3:object-lock-legal-hold":"ON"}}}]}`, nil)
	for mode, days := range map[string]int{"GOVERNANCE": 12, "COMPLIANCE": 1} {
		until := time.Now().AddDate(0, 0, days).UTC().Format(time.RFC3339)
		w.refuse(403, "AccessDenied", http.MethodPut, "/bucket/k?retention", "<Retention><Mode>"+mode+"</Mode><RetainUntilDate>"+until+"</RetainUntilDate></Retention>", nil)
		w.refuse(403, "AccessDenied", http.MethodPut, "/bucket/new", "x", h("x-amz-object-lock-mode", mode, "x-amz-object-lock-retain-until-date", until))
	}
	w.refuse(403, "AccessDenied", http.MethodPut, "/bucket/k?legal-hold", "<LegalHold><Status>ON</Status></LegalHold>", nil)
	w.refuse(403, "AccessDenied", http.MethodPut, "/bucket/new", "x", h("x-amz-object-lock-legal-hold", "ON"))
	w.want(200, http.MethodPut, "/bucket/k?legal-hold", "<LegalHold><Status>OFF</Status></LegalHold>", nil)
	until := time.Now().AddDate(0, 0, 9).UTC().Format(time.RFC3339)
	w.want(200, http.MethodPut, "/bucket/k?retention", "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>"+until+"</RetainUntilDate></Retention>", nil)
	w.refuse(400, "MalformedPolicy", http.MethodPut, "/bucket?policy", `{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::bucket","Condition":{"Bool":{"s3:secure":"false"}}}}`, nil)
}
