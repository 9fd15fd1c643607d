package s3api

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// upload is a form as a browser sends it.
type upload struct {
	fields [][2]string
	file   string
}

func (u *upload) set(name, value string) {
	for i := range u.fields {
		if u.fields[i][0] == name {
			u.fields[i][1] = value
			return
		}
	}
	u.fields = append(u.fields, [2]string{name, value})
}

func (u *upload) drop(name string) {
	for i := range u.fields {
		if u.fields[i][0] == name {
			u.fields = append(u.fields[:i], u.fields[i+1:]...)
			return
		}
	}
}

func (u *upload) encode(t testing.TB) (body, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range u.fields {
		require.NoError(t, w.WriteField(f[0], f[1]))
	}
	part, err := w.CreateFormFile("file", `C:\dir\photo.jpg`)
	require.NoError(t, err)
	_, err = part.Write([]byte(u.file))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String(), w.FormDataContentType()
}

func hmac256(key []byte, s string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(s))
	return m.Sum(nil)
}

// form makes a signed form upload of "content" to the key.
func (w *world) form(conditions []any, fields ...[2]string) *upload {
	now := time.Now().UTC()
	day, date := now.Format("20060102"), now.Format("20060102T150405Z")
	credential := w.mine.AccessKey + "/" + day + "/us-east-1/s3/aws4_request"
	conditions = append([]any{map[string]string{"bucket": "bucket"}, map[string]string{"x-amz-credential": credential},
		map[string]string{"x-amz-algorithm": "AWS4-HMAC-SHA256"}, map[string]string{"x-amz-date": date}}, conditions...)
	doc, err := json.Marshal(map[string]any{"expiration": now.Add(time.Hour).Format(time.RFC3339), "conditions": conditions})
	require.NoError(w.t, err)
	policy := base64.StdEncoding.EncodeToString(doc)
	key := []byte("AWS4" + w.mine.Secret)
	for _, part := range []string{day, "us-east-1", "s3", "aws4_request"} {
		key = hmac256(key, part)
	}
	u := &upload{file: "content", fields: append(fields, [2]string{"policy", policy}, [2]string{"x-amz-algorithm", "AWS4-HMAC-SHA256"},
		[2]string{"x-amz-credential", credential}, [2]string{"x-amz-date", date}, [2]string{"x-amz-signature", hex.EncodeToString(hmac256(key, policy))})}
	return u
}

func (w *world) post(u *upload) (*http.Response, string) {
	w.t.Helper()
	body, kind := u.encode(w.t)
	res := w.call(nil, http.MethodPost, "/bucket", body, http.Header{"Content-Type": {kind}}, nil)
	return res, readAll(w.t, res)
}

func list(items ...any) []any { return items }

func TestPostObject(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	any1 := list(list("starts-with", "$key", "up/"), list("content-length-range", 1, 10), list("starts-with", "$Content-Type", "image/"),
		list("eq", "$success_action_status", "201"), map[string]string{"x-amz-meta-colour": "red"})
	good := func() *upload {
		return w.form(any1, [2]string{"key", "up/${filename}"}, [2]string{"Content-Type", "image/jpeg"}, [2]string{"success_action_status", "201"},
			[2]string{"x-amz-meta-colour", "red"}, [2]string{"x-ignore-me", "1"})
	}
	res, text := w.post(good())
	require.Equal(t, 201, res.StatusCode, text)
	require.Contains(t, text, "<Key>up/photo.jpg</Key>")
	require.Equal(t, w.srv.URL+"/bucket/up/photo.jpg", res.Header.Get("Location"))
	_, got, h := w.do(http.MethodGet, "/bucket/up/photo.jpg", "", nil)
	require.Equal(t, "content", got)
	require.Equal(t, "image/jpeg", h.Get("Content-Type"))
	require.Equal(t, "red", h.Get("X-Amz-Meta-Colour"))
	require.Equal(t, etag("content"), h.Get("Etag"))

	for name, c := range map[string]struct {
		code   string
		change func(*upload)
	}{
		"key outside":     {"AccessDenied", func(u *upload) { u.set("key", "other") }},
		"type outside":    {"AccessDenied", func(u *upload) { u.set("Content-Type", "text/html") }},
		"one more field":  {"AccessDenied", func(u *upload) { u.set("x-amz-meta-evil", "1") }},
		"an ACL more":     {"AccessDenied", func(u *upload) { u.set("acl", "public-read") }},
		"one field less":  {"AccessDenied", func(u *upload) { u.drop("x-amz-meta-colour") }},
		"too long":        {"EntityTooLarge", func(u *upload) { u.file = "content and more" }},
		"too short":       {"EntityTooSmall", func(u *upload) { u.file = "" }},
		"no key":          {"InvalidArgument", func(u *upload) { u.drop("key") }},
		"no signature":    {"InvalidArgument", func(u *upload) { u.drop("x-amz-signature") }},
		"no policy":       {"InvalidArgument", func(u *upload) { u.drop("policy") }},
		"another policy":  {"SignatureDoesNotMatch", func(u *upload) { u.set("policy", "e30=") }},
		"wrong signature": {"SignatureDoesNotMatch", func(u *upload) { u.set("x-amz-signature", strings.Repeat("0", 64)) }},
		"unknown key": {"InvalidAccessKeyId", func(u *upload) {
			u.set("x-amz-credential", "AKIANOBODY/"+time.Now().UTC().Format("20060102")+"/us-east-1/s3/aws4_request")
		}},
		"two mechanisms":    {"InvalidArgument", func(u *upload) { u.set("signature", "x") }},
		"a field twice":     {"InvalidArgument", func(u *upload) { u.fields = append(u.fields, [2]string{"KEY", "up/x"}) }},
		"too many bytes":    {"MaxPostPreDataLengthExceeded", func(u *upload) { u.set("x-ignore-me", strings.Repeat("x", 30<<10)) }},
		"wrong checksum":    {"BadDigest", func(u *upload) { u.set("x-amz-checksum-crc32", "AAAAAA==") }},
		"no checksum":       {"InvalidRequest", func(u *upload) { u.set("x-amz-checksum-rot13", "AAAAAA==") }},
		"anonymous":         {"AccessDenied", func(u *upload) { u.fields = [][2]string{{"key", "up/x"}} }},
		"anonymous, missed": {"InvalidArgument", func(u *upload) { u.fields = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			u := good()
			c.change(u)
			res, text := w.post(u)
			require.Equal(t, c.code, code(strings.NewReader(text)), text)
			require.Less(t, res.StatusCode, 500)
			require.NotEqual(t, 200, res.StatusCode)
		})
	}
	require.Contains(t, w.want(200, http.MethodGet, "/bucket?list-type=2", "", nil), "<KeyCount>1</KeyCount>", "nothing else was stored")

	t.Run("another mechanism beside the form", func(t *testing.T) {
		body, kind := good().encode(t)
		res := w.call(&w.mine, http.MethodPost, "/bucket", body, http.Header{"Content-Type": {kind}}, nil)
		require.Equal(t, "InvalidArgument", code(strings.NewReader(readAll(t, res))))
	})
	t.Run("redirect", func(t *testing.T) {
		u := w.form(list(list("starts-with", "$key", ""), map[string]string{"success_action_redirect": "http://example.com/done?a=b"}),
			[2]string{"key", "r"}, [2]string{"success_action_redirect", "http://example.com/done?a=b"})
		res, _ := w.post(u)
		require.Equal(t, 303, res.StatusCode)
		require.True(t, strings.HasPrefix(res.Header.Get("Location"), "http://example.com/done?a=b&bucket=bucket&key=r&etag=%22"), res.Header.Get("Location"))
	})
}

func TestPostPolicyDocuments(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	later := time.Now().UTC().Add(time.Hour).Format(time.RFC3339)
	for doc, want := range map[string]string{
		`{"expiration":"` + later + `","conditions":[{"bucket":"bucket"},["starts-with","$key",""]]}`:                                "",
		`{"expiration":"` + later + `","conditions":[["eq","$bucket","bucket"],["EQ","$Key","k"],["content-length-range","0","9"]]}`: "",
		`{"expiration":"2020-01-01T00:00:00Z","conditions":[["starts-with","$key",""]]}`:                                             "AccessDenied",
		`{"expiration":"` + later + `","conditions":[{"bucket":"other"},["starts-with","$key",""]]}`:                                 "AccessDenied",
		`{"expiration":"` + later + `","conditions":[{"bucket":"bucket"}]}`:                                                          "AccessDenied",
		`{"expiration":"` + later + `","conditions":[]}`:                                                                             "InvalidPolicyDocument",
		`{"expiration":"` + later + `"}`:                                                                                                     "InvalidPolicyDocument",
		`{"Expiration":"` + later + `","conditions":[["starts-with","$key",""]]}`:                                                            "InvalidPolicyDocument",
		`{"expiration":"soon","conditions":[["starts-with","$key",""]]}`:                                                                     "InvalidPolicyDocument",
		`{"conditions":[["starts-with","$key",""]]}`:                                                                                         "InvalidPolicyDocument",
		`{"expiration":"` + later + `","conditions":[["ends-with","$key",""]]}`:                                                              "InvalidPolicyDocument",
		`{"expiration":"` + later + `","conditions":[["starts-with","key",""]]}`:                                                             "InvalidPolicyDocument",
		`{"expiration":"` + later + `","conditions":[["starts-with","$key",""],["content-length-range",0]]}`:                                 "InvalidPolicyDocument",
		`{"expiration":"` + later + `","conditions":[["starts-with","$key",""],["content-length-range",-1,5]]}`:                              "InvalidPolicyDocument",
		`{"expiration":"` + later + `","conditions":[["starts-with","$key",""],["content-length-range",9,5]]}`:                               "InvalidPolicyDocument",
		`{"expiration":"` + later + `","conditions":[["starts-with","$key",""],["content-length-range",0,99],["content-length-range",0,1]]}`: "EntityTooLarge",
		`{"expiration":"` + later + `","conditions":[{"key":"k","bucket":"bucket"}]}`:                                                        "InvalidPolicyDocument",
		`{"expiration":"` + later + `","conditions":[{"key":7}]}`:                                                                            "InvalidPolicyDocument",
		`{"expiration":"` + later + `","expiration":"` + later + `","conditions":[["starts-with","$key",""]]}`:                               "InvalidPolicyDocument",
		`[]`: "InvalidPolicyDocument", `{`: "InvalidPolicyDocument", `{}{}`: "InvalidPolicyDocument",
	} {
		policy := base64.StdEncoding.EncodeToString([]byte(doc))
		m := hmac.New(sha1.New, []byte(w.mine.Secret))
		m.Write([]byte(policy))
		u := &upload{file: "content", fields: [][2]string{{"key", "k"}, {"AWSAccessKeyId", w.mine.AccessKey}, {"policy", policy},
			{"signature", base64.StdEncoding.EncodeToString(m.Sum(nil))}}}
		res, text := w.post(u)
		if want == "" {
			require.Equal(t, 204, res.StatusCode, "%s: %s", doc, text)
			continue
		}
		require.Equal(t, want, code(strings.NewReader(text)), doc)
	}
}
