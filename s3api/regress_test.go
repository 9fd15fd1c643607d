package s3api

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
