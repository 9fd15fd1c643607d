package s3api

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// place is where a request carries its credential, and how its body is sent.
type place struct {
	name string
	// covers says that a change of the body is seen.
	covers bool
	sign   func(t testing.TB, r *http.Request, cred *tenancy.Credentials, body string)
}

var places = []place{
	{"v4 header, signed body", true, func(t testing.TB, r *http.Request, cred *tenancy.Credentials, body string) {
		sum := sha256.Sum256([]byte(body))
		signV4(t, r, cred, hex.EncodeToString(sum[:]), body)
	}},
	{"v4 header, unsigned body", false, func(t testing.TB, r *http.Request, cred *tenancy.Credentials, body string) {
		signV4(t, r, cred, "UNSIGNED-PAYLOAD", body)
	}},
	{"v4 header, chunked body with trailer", true, func(t testing.TB, r *http.Request, cred *tenancy.Credentials, body string) {
		r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
		r.Header.Set("X-Amz-Decoded-Content-Length", strconv.Itoa(len(body)))
		chunk := ""
		if body != "" {
			chunk = fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
		}
		signV4(t, r, cred, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", chunk+"0\r\nx-amz-checksum-crc32:"+crc(body)+"\r\n\r\n")
	}},
	{"v4 query", false, func(t testing.TB, r *http.Request, cred *tenancy.Credentials, body string) {
		setBody(r, body)
		q := r.URL.Query()
		q.Set("X-Amz-Expires", "60")
		r.URL.RawQuery = q.Encode()
		signed, _, err := newSigner().PresignHTTP(context.Background(), keys(cred), r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now())
		require.NoError(t, err)
		r.URL, err = url.Parse(signed)
		require.NoError(t, err)
		for name := range r.URL.Query() { // where the SDK has moved the headers
			r.Header.Del(name)
		}
	}},
	{"v2 header", false, func(_ testing.TB, r *http.Request, cred *tenancy.Credentials, body string) {
		setBody(r, body)
		r.Header.Set("X-Amz-Date", time.Now().UTC().Format(http.TimeFormat))
		r.Header.Set("Authorization", "AWS "+cred.AccessKey+":"+signatureV2(r, cred, ""))
	}},
	{"v2 query", false, func(_ testing.TB, r *http.Request, cred *tenancy.Credentials, body string) {
		setBody(r, body)
		expires := strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10)
		signature := signatureV2(r, cred, expires)
		q := r.URL.Query()
		q.Set("AWSAccessKeyId", cred.AccessKey)
		q.Set("Expires", expires)
		q.Set("Signature", signature)
		r.URL.RawQuery = q.Encode()
	}},
}

func newSigner() *v4.Signer {
	return v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
}

func keys(cred *tenancy.Credentials) aws.Credentials {
	return aws.Credentials{AccessKeyID: cred.AccessKey, SecretAccessKey: cred.Secret}
}

func setBody(r *http.Request, body string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
}

func signV4(t testing.TB, r *http.Request, cred *tenancy.Credentials, payload, body string) {
	setBody(r, body)
	r.Header.Set("X-Amz-Content-Sha256", payload)
	require.NoError(t, newSigner().SignHTTP(context.Background(), keys(cred), r, payload, "s3", "us-east-1", time.Now()))
}

// signatureV2 signs by "Signing and Authenticating REST Requests".
func signatureV2(r *http.Request, cred *tenancy.Credentials, date string) string {
	text := r.Method + "\n\n" + r.Header.Get("Content-Type") + "\n" + date + "\n"
	var names []string
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Amz-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		text += strings.ToLower(name) + ":" + strings.Join(r.Header[name], ",") + "\n"
	}
	var sub []string
	for name, values := range r.URL.Query() {
		if name == "list-type" || name == "prefix" {
			continue
		}
		if values[0] != "" {
			name += "=" + values[0]
		}
		sub = append(sub, name)
	}
	slices.Sort(sub)
	text += r.URL.EscapedPath()
	if len(sub) > 0 {
		text += "?" + strings.Join(sub, "&")
	}
	m := hmac.New(sha1.New, []byte(cred.Secret))
	m.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// mutation spoils a signed request; it reports whether it could.
type mutation struct {
	name  string
	spoil func(r *http.Request) bool
}

// credentials changes what names and proves the sender, in the header and in the query.
func credentials(change func(string) string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		before := r.Header.Get("Authorization") + "?" + r.URL.RawQuery
		if a := r.Header.Get("Authorization"); a != "" {
			r.Header.Set("Authorization", change(a))
		}
		r.URL.RawQuery = change(r.URL.RawQuery)
		return before != r.Header.Get("Authorization")+"?"+r.URL.RawQuery
	}
}

func replaced(pattern, with string) func(string) string {
	re := regexp.MustCompile(pattern)
	return func(s string) string { return re.ReplaceAllString(s, with) }
}

func mutations(w *world) []mutation {
	always := func(f func(r *http.Request)) func(*http.Request) bool {
		return func(r *http.Request) bool { f(r); return true }
	}
	query := func(add string) func(*http.Request) bool {
		return always(func(r *http.Request) { r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&"+add, "&") })
	}
	const hexSignature = `(Signature=)[0-9a-f]{64}`
	const v2Signature = `(AWS [^:]+:|&Signature=)[^&]+`
	return []mutation{
		{"no credential", credentials(func(s string) string {
			return replaced(`(X-Amz-[A-Za-z0-9-]+|AWSAccessKeyId|Expires|Signature)=[^&]*&?|AWS.*`, "")(s)
		})},
		{"zero signature", credentials(func(s string) string {
			return replaced(v2Signature, "${1}AAAAAAAAAAAAAAAAAAAAAAAAAAA=")(replaced(hexSignature, "${1}"+strings.Repeat("0", 64))(s))
		})},
		{"empty signature", credentials(func(s string) string { return replaced(v2Signature, "${1}")(replaced(hexSignature, "${1}")(s)) })},
		{"short signature", credentials(func(s string) string { return replaced(`([0-9a-f]{63})[0-9a-f]`, "${1}")(s) })},
		{"another tenant's key", credentials(func(s string) string { return strings.ReplaceAll(s, w.mine.AccessKey, w.them.AccessKey) })},
		{"unknown key", credentials(func(s string) string { return strings.ReplaceAll(s, w.mine.AccessKey, "AKIANOBODY000000") })},
		{"another region", credentials(func(s string) string { return strings.ReplaceAll(s, "us-east-1", "eu-west-1") })},
		{"another service", credentials(func(s string) string { return replaced(`(/|%2F)s3(/|%2F)aws4_request`, "${1}sts${2}aws4_request")(s) })},
		{"another day", credentials(func(s string) string { return replaced(`(/|%2F)20[0-9]{6}(/|%2F)`, "${1}20200101${2}")(s) })},
		{"fewer headers signed", credentials(func(s string) string { return replaced(`(SignedHeaders=)[^,&]+`, "${1}x-amz-date")(s) })},
		{"longer expiry", credentials(func(s string) string { return replaced(`(Expires=)([0-9]+)`, "${1}1${2}")(s) })},
		{"two mechanisms", func(r *http.Request) bool {
			if r.Header.Get("Authorization") == "" {
				r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x")
				return true
			}
			r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&X-Amz-Signature=0", "&")
			return true
		}},
		{"a token", always(func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") })},
		{"an old date", func(r *http.Request) bool {
			if r.Header.Get("X-Amz-Date") == "" {
				return false
			}
			r.Header.Set("X-Amz-Date", "20200101T000000Z")
			return true
		}},
		{"another path", always(func(r *http.Request) { r.URL.Path += "x" })},
		{"another method", always(func(r *http.Request) {
			r.Method = map[bool]string{true: http.MethodGet, false: http.MethodDelete}[r.Method == http.MethodDelete]
		})},
		{"a header more", always(func(r *http.Request) { r.Header.Set("X-Amz-Meta-Evil", "1") })},
		{"a copy source", always(func(r *http.Request) { r.Header.Add("X-Amz-Copy-Source", "/bucket/key") })},
		{"an ACL", always(func(r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read") })},
		{"bypass governance", always(func(r *http.Request) { r.Header.Set("X-Amz-Bypass-Governance-Retention", "true") })},
		{"a sub-resource", query("acl")},
		{"a version", query("versionId=null")},
		{"an unknown parameter", query("evil=1")},
		{"another content hash", func(r *http.Request) bool {
			had := r.Header.Get("X-Amz-Content-Sha256")
			if had == "" {
				return false
			}
			r.Header.Set("X-Amz-Content-Sha256", map[bool]string{true: "STREAMING-UNSIGNED-PAYLOAD-TRAILER", false: "UNSIGNED-PAYLOAD"}[had == "UNSIGNED-PAYLOAD"])
			return true
		}},
	}
}

// state is what exists: every answer of every reading route.
func (w *world) state() (all []string) {
	for _, r := range routes() {
		if r.method != http.MethodGet || strings.Contains(r.sub, "uploadId") {
			continue
		}
		status, text, _ := w.do(r.method, pathOf(r), "", http.Header{"X-Amz-Object-Attributes": {"ETag"}})
		text = regexp.MustCompile(`<(RequestId|HostId)>[^<]*`).ReplaceAllString(text, "")
		all = append(all, fmt.Sprint(r.name, " ", status, " ", text))
	}
	return all
}

// requestFor is a request of a route, unsigned and without its body, which it returns.
func (w *world) requestFor(r route, path, source string) (req *http.Request, body string) {
	body = bodies[r.name]
	if r.name == "PutObject" || r.name == "UploadPart" || r.name == "AppendObject" {
		body = "evil"
	}
	req = httptest.NewRequest(r.method, "http://"+w.srv.Listener.Addr().String()+path, nil)
	req.Header.Set("X-Amz-Object-Attributes", "ETag")
	switch r.header {
	case "":
	case writeOffset:
		req.Header.Set(r.header, "8")
	default:
		req.Header.Set(r.header, source)
	}
	return req, body
}

// TestMutations: no route does anything, or tells anything, for a request that was changed after it was signed, in
// whatever place it carries its credential. Routes come from the table, so a new one is covered by being there.
func TestMutations(t *testing.T) {
	w := newWorld(t)
	w.want(200, "PUT", "/bucket", "", nil)
	w.want(200, "PUT", "/bucket/key", "precious", nil)
	w.want(200, "PUT", "/bucket/source", "precious", nil)
	before := w.state()
	tried := 0
	for _, p := range places {
		send := func(r route, spoil func(*http.Request) bool, bodyToo bool) (*httptest.ResponseRecorder, bool) {
			req, body := w.requestFor(r, pathOf(r), "/bucket/source")
			p.sign(t, req, &w.mine, body)
			if bodyToo {
				raw, err := io.ReadAll(req.Body)
				require.NoError(t, err)
				if len(raw) == 0 || !strings.Contains(string(raw), body) || body == "" {
					return nil, false
				}
				setBody(req, strings.Replace(string(raw), body, strings.ToUpper(body[:len(body)-1])+"~", 1))
			} else if !spoil(req) {
				return nil, false
			}
			res := httptest.NewRecorder()
			w.srv.Config.Handler.ServeHTTP(res, req)
			return res, true
		}
		read := route{name: "GetObject", method: http.MethodGet, level: object}
		res, _ := send(read, func(*http.Request) bool { return true }, false)
		require.Equal(t, "precious", res.Body.String(), "%s: as it was signed it is served", p.name)
		for _, r := range routes() {
			refused := func(name string, res *httptest.ResponseRecorder) {
				tried++
				where := fmt.Sprintf("%s, %s, %s: %d %s", r.name, p.name, name, res.Code, res.Body)
				require.GreaterOrEqual(t, res.Code, 400, where)
				require.True(t, res.Code < 500 || res.Code == http.StatusNotImplemented, where)
				require.NotContains(t, res.Body.String(), "precious", where)
			}
			for _, m := range mutations(w) {
				if res, ok := send(r, m.spoil, false); ok {
					refused(m.name, res)
				}
			}
			if p.covers {
				if res, ok := send(r, nil, true); ok {
					refused("another body", res)
				}
			}
		}
	}
	require.Equal(t, before, w.state(), "nothing has changed")
	t.Logf("%d requests", tried)
}
