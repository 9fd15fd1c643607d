package s3api

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"
)

// serve signs a request and runs it through the door without a network; ok is false if net/http itself would
// not have taken it.
func (w *world) serve(method, target, body string, header http.Header) (res *httptest.ResponseRecorder, ok bool) {
	r, err := http.NewRequest(method, "http://"+w.srv.Listener.Addr().String()+target, strings.NewReader(body))
	if err != nil {
		return nil, false
	}
	r.RequestURI = r.URL.RequestURI()
	for k, v := range header {
		r.Header[k] = v
	}
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(context.Background(), aws.Credentials{AccessKeyID: w.mine.AccessKey, SecretAccessKey: w.mine.Secret}, r, hash, "s3", "us-east-1", time.Now()); err != nil {
		return nil, false
	}
	res = httptest.NewRecorder()
	w.srv.Config.Handler.ServeHTTP(res, r)
	return res, true
}

// FuzzKeys: any key that can be put is got, listed and deleted again; any other is refused with a 4xx.
func FuzzKeys(f *testing.F) {
	w := newWorld(f)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	for _, s := range []string{"a", "a/b", "//", "/", ".", "../x", "\x00", "\xff", strings.Repeat("k", 1025), "%2F", "a?b", "é", ".k3fs~", "a\r\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if key == "" {
			return
		}
		target := "/bucket/" + strings.ReplaceAll(string(appendURLEncoded(nil, key)), "+", "%20")
		res, ok := w.serve(http.MethodPut, target, key, nil)
		if !ok {
			return
		}
		require.Less(t, res.Code, 500, res.Body.String())
		if res.Code != 200 {
			return
		}
		res, _ = w.serve(http.MethodGet, target, "", nil)
		require.Equal(t, 200, res.Code)
		require.Equal(t, key, res.Body.String())
		res, _ = w.serve(http.MethodGet, "/bucket?list-type=2&encoding-type=url", "", nil)
		require.Contains(t, res.Body.String(), "<Key>"+string(appendURLEncoded(nil, key))+"</Key>")
		res, _ = w.serve(http.MethodDelete, target, "", nil)
		require.Equal(t, 204, res.Code)
	})
}

// FuzzDocuments: a hostile document is refused or obeyed, never a 5xx, whatever action it is sent to.
func FuzzDocuments(f *testing.F) {
	w := newWorld(f)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/key", "x", nil)
	type target struct{ method, path string }
	targets := []target{{http.MethodPut, "/bucket2"}}
	for _, r := range routes() {
		if doc, ok := bodies[r.name]; ok && r.method != http.MethodGet {
			f.Add(byte(len(targets)), doc)
			targets = append(targets, target{r.method, pathOf(r)})
		}
	}
	f.Add(byte(0), `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>eu</LocationConstraint></CreateBucketConfiguration>`)
	f.Add(byte(1), `<!DOCTYPE x [<!ENTITY a "b">]><Delete>&a;</Delete>`)
	f.Add(byte(1), strings.Repeat("<a>", 5000))
	f.Fuzz(func(t *testing.T, which byte, doc string) {
		to := targets[int(which)%len(targets)]
		if res, ok := w.serve(to.method, to.path, doc, nil); ok && res.Code != http.StatusNotImplemented {
			require.Less(t, res.Code, 500, res.Body.String())
		}
	})
}

// FuzzLifecycle: a lifecycle configuration that is taken can be read, set again as it was read, told and applied.
func FuzzLifecycle(f *testing.F) {
	w := newWorld(f)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPost, "/bucket/k?uploads", "", nil)
	for _, rule := range []string{
		`<ID>a</ID><Filter><Prefix>x</Prefix></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>`,
		`<Prefix/><Status>Enabled</Status><Expiration><Date>2020-01-01T00:00:00Z</Date></Expiration>`,
		`<Filter><And><Prefix>k</Prefix><Tag><Key>a</Key><Value>b</Value></Tag><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></And></Filter><Status>Enabled</Status><Expiration><Days>2147483647</Days></Expiration>`,
		`<Filter/><Status>Disabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>9223372036854775807</DaysAfterInitiation></AbortIncompleteMultipartUpload>`,
		`<Filter><ObjectSizeLessThan>-1</ObjectSizeLessThan></Filter><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>`,
	} {
		f.Add("<LifecycleConfiguration><Rule>" + rule + "</Rule></LifecycleConfiguration>")
	}
	f.Fuzz(func(t *testing.T, doc string) {
		res, ok := w.serve(http.MethodPut, "/bucket?lifecycle", doc, nil)
		if !ok || res.Code == http.StatusNotImplemented {
			return
		}
		require.Less(t, res.Code, 500, res.Body.String())
		if res.Code != 200 {
			return
		}
		res, _ = w.serve(http.MethodGet, "/bucket?lifecycle", "", nil)
		require.Equal(t, 200, res.Code)
		res, _ = w.serve(http.MethodPut, "/bucket?lifecycle", res.Body.String(), nil)
		require.Equal(t, 200, res.Code, res.Body.String())
		res, _ = w.serve(http.MethodPut, "/bucket/k", "x", nil)
		require.Equal(t, 200, res.Code, res.Body.String())
		_, err := w.door.Expire(t.Context(), time.Hour)
		require.NoError(t, err)
	})
}

// FuzzRange: whatever range is asked for, the bytes are those that Content-Range says.
func FuzzRange(f *testing.F) {
	w := newWorld(f)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	const size = 1000
	data := strings.Repeat("0123456789", size/10)
	w.want(200, http.MethodPut, "/bucket/k", data, nil)
	for _, s := range []string{"bytes=0-0", "bytes=-1", "bytes=999-", "bytes=1000-", "bytes=0-1,3-4", "bytes=5-2", "bytes=-0", "bytes=99999999999999999999-", "BYTES = 1-2", "bytes=1-+2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		res, ok := w.serve(http.MethodGet, "/bucket/k", "", http.Header{"Range": {value}})
		if !ok {
			return
		}
		switch body := res.Body.String(); res.Code {
		case 200:
			require.Equal(t, data, body)
		case 206:
			var from, to, of int
			_, err := fmt.Sscanf(res.Header().Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &of)
			require.NoError(t, err)
			require.Equal(t, size, of)
			require.Equal(t, data[from:to+1], body)
		case 416:
		default:
			require.Less(t, res.Code, 500, body)
			require.GreaterOrEqual(t, res.Code, 400, body)
		}
		res, _ = w.serve(http.MethodPut, "/bucket/c?partNumber=1&uploadId=00", "", http.Header{"X-Amz-Copy-Source": {"bucket/k"}, "X-Amz-Copy-Source-Range": {value}})
		require.True(t, res.Code >= 400 && res.Code < 500, res.Body.String())
	})
}

// FuzzConditions: conditional reads and writes are obeyed or refused, and a write that was refused wrote nothing.
func FuzzConditions(f *testing.F) {
	w := newWorld(f)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/k", "x", nil)
	f.Add(etag("x"), "*", "Sun, 06 Nov 1994 08:49:37 GMT", "1")
	f.Add("*", etag("x"), "Sunday, 06-Nov-94 08:49:37 GMT", "-1")
	f.Add(`W/"a", "b`, `""`, "Sun Nov  6 08:49:37 1994", "99999999999999999999")
	f.Fuzz(func(t *testing.T, match, noneMatch, date, size string) {
		header := http.Header{}
		for name, v := range map[string]string{"If-Match": match, "If-None-Match": noneMatch, "If-Modified-Since": date, "If-Unmodified-Since": date} {
			if v != "" {
				header.Set(name, v)
			}
		}
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			res, ok := w.serve(method, "/bucket/k", "", header)
			if !ok {
				return
			}
			require.Less(t, res.Code, 500, res.Body.String())
		}
		res, _ := w.serve(http.MethodPut, "/bucket/c", "", http.Header{"X-Amz-Copy-Source": {"bucket/k"}, "X-Amz-Copy-Source-If-Match": {match},
			"X-Amz-Copy-Source-If-None-Match": {noneMatch}, "X-Amz-Copy-Source-If-Modified-Since": {date}})
		require.Less(t, res.Code, 500, res.Body.String())
		res, _ = w.serve(http.MethodPut, "/bucket/n", "new", header)
		require.Less(t, res.Code, 500, res.Body.String())
		wrote := res.Code == 200
		header.Set("X-Amz-If-Match-Size", size)
		header.Set("X-Amz-If-Match-Last-Modified-Time", date)
		gone, _ := w.serve(http.MethodDelete, "/bucket/n", "", header)
		require.Less(t, gone.Code, 500, gone.Body.String())
		res, _ = w.serve(http.MethodDelete, "/bucket/n", "", nil)
		require.Equal(t, 204, res.Code)
		if !wrote && gone.Code == 204 {
			require.Empty(t, match, "If-Match let a delete pass, and there was nothing")
		}
	})
}

// FuzzPostPolicy: a form whose policy is signed and hostile is obeyed or refused.
func FuzzPostPolicy(f *testing.F) {
	w := newWorld(f)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	f.Add(`{"expiration":"2100-01-01T00:00:00Z","conditions":[{"bucket":"bucket"},["starts-with","$key",""],["content-length-range",0,9]]}`, "k", "content", "acl", "private")
	f.Add(`{"expiration":"2100-01-01T00:00:00Z","conditions":[["eq","$key","a"],["starts-with","$x-amz-meta-m",""],{"success_action_redirect":"x"}]}`, "${filename}", "", "success_action_redirect", "http://a/\r\nb")
	f.Add(`{"expiration":"","conditions":[[1,2,3],{"a":{}},null]}`, "\x00", "x", "tagging", "<Tagging/>")
	f.Fuzz(func(t *testing.T, doc, key, file, field, value string) {
		policy := base64.StdEncoding.EncodeToString([]byte(doc))
		m := hmac.New(sha1.New, []byte(w.mine.Secret))
		m.Write([]byte(policy))
		u := &upload{file: file, fields: [][2]string{{"key", key}, {field, value}, {"AWSAccessKeyId", w.mine.AccessKey}, {"policy", policy},
			{"signature", base64.StdEncoding.EncodeToString(m.Sum(nil))}}}
		body, kind := u.encode(t)
		r := httptest.NewRequest(http.MethodPost, "/bucket", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		res := httptest.NewRecorder()
		w.srv.Config.Handler.ServeHTTP(res, r)
		require.Less(t, res.Code, 500, res.Body.String())
	})
}

// FuzzQuery: no query string makes the door fail.
func FuzzQuery(f *testing.F) {
	w := newWorld(f)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	for _, s := range []string{"list-type=2&max-keys=1", "uploads&key-marker=a", "max-keys=-1", "continuation-token=!!", "prefix=%00&delimiter=%ff", "uploadId=", "partNumber=0&uploadId=x", "location"} {
		f.Add(byte(0), s)
	}
	methods := []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete}
	f.Fuzz(func(t *testing.T, which byte, query string) {
		for _, path := range []string{"/", "/bucket", "/bucket/key"} {
			method := methods[int(which)%len(methods)]
			if method == http.MethodDelete && path == "/bucket" {
				continue
			}
			if res, ok := w.serve(method, path+"?"+query, "", nil); ok && res.Code != http.StatusNotImplemented {
				require.Less(t, res.Code, 500, res.Body.String())
			}
		}
	})
}
