package s3api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// pathOf is a request path for a route.
func pathOf(r route) string {
	p := []string{"/", "/bucket", "/bucket/key"}[r.level]
	var q []string
	for _, name := range strings.Fields(r.sub) {
		q = append(q, name+"="+map[string]string{"list-type": "2", "partNumber": "1", "uploadId": "x"}[name])
	}
	if len(q) > 0 {
		p += "?" + strings.Join(q, "&")
	}
	return p
}

// Every route refuses everyone but the bucket's own tenant, however the request is spoilt, and changes nothing.
func TestEveryRouteFailsClosed(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/key", "precious", nil)
	stranger := &tenancy.Credentials{AccessKey: "AKIANOBODY000000", Secret: "whatever-whatever-whatever-whatever-1234"}
	liar := &tenancy.Credentials{AccessKey: w.mine.AccessKey, Secret: w.mine.Secret + "x"}
	bodies := map[string]string{
		"DeleteObjects":           "<Delete><Object><Key>key</Key></Object></Delete>",
		"CompleteMultipartUpload": "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
	}
	for _, r := range routes() {
		body := bodies[r.name]
		header := http.Header{}
		if r.header != "" {
			header.Set(r.header, "/bucket/source")
		}
		for _, spoilt := range []struct {
			name   string
			cred   *tenancy.Credentials
			code   string
			change func(*http.Request)
		}{
			{"anonymous", nil, "AccessDenied", nil},
			{"unknown key", stranger, "InvalidAccessKeyId", nil},
			{"wrong secret", liar, "SignatureDoesNotMatch", nil},
			{"signature bit", &w.mine, "SignatureDoesNotMatch", func(r *http.Request) {
				a := []byte(r.Header.Get("Authorization"))
				if a[len(a)-1]++; a[len(a)-1] == 'g' || a[len(a)-1] == ':' {
					a[len(a)-1] = '0'
				}
				r.Header.Set("Authorization", string(a))
			}},
			{"other path", &w.mine, "SignatureDoesNotMatch", func(r *http.Request) { r.URL.Path += "x" }},
			{"other query", &w.mine, "SignatureDoesNotMatch", func(r *http.Request) { r.URL.RawQuery += "&prefix=a" }},
			{"other method", &w.mine, "SignatureDoesNotMatch", func(r *http.Request) {
				r.Method = map[bool]string{true: http.MethodGet, false: http.MethodDelete}[r.Method == http.MethodDelete]
			}},
			{"header added", &w.mine, "AccessDenied", func(r *http.Request) { r.Header.Set("X-Amz-Meta-Evil", "1") }},
			{"two mechanisms", &w.mine, "InvalidArgument", func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Signature=0" }},
			{"old date", &w.mine, "", func(r *http.Request) { r.Header.Set("X-Amz-Date", "20200101T000000Z") }},
			{"garbage", nil, "", func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 nonsense") }},
		} {
			t.Run(r.name+"/"+spoilt.name, func(t *testing.T) {
				res := w.call(spoilt.cred, r.method, pathOf(r), body, header, spoilt.change)
				defer res.Body.Close()
				require.GreaterOrEqual(t, res.StatusCode, 400)
				require.Less(t, res.StatusCode, 500)
				if spoilt.code != "" && res.Request.Method != http.MethodHead && r.method != http.MethodHead {
					require.Equal(t, spoilt.code, code(res.Body))
				}
			})
		}
		if r.level == service {
			continue
		}
		t.Run(r.name+"/other tenant", func(t *testing.T) {
			there := w.call(&w.them, r.method, pathOf(r), body, header, nil)
			defer there.Body.Close()
			require.GreaterOrEqual(t, there.StatusCode, 400, "another tenant's bucket")
			if r.name == "CreateBucket" {
				require.Equal(t, http.StatusConflict, there.StatusCode)
				return
			}
			// A foreign bucket answers exactly as one that does not exist.
			header = header.Clone()
			if r.header != "" {
				header.Set(r.header, "/nobucket/source")
			}
			missing := w.call(&w.them, r.method, strings.Replace(pathOf(r), "bucket", "nobucket", 1), body, header, nil)
			defer missing.Body.Close()
			require.Equal(t, missing.StatusCode, there.StatusCode)
			require.Equal(t, code(missing.Body), code(there.Body))
		})
	}
	require.Equal(t, "precious", w.want(200, http.MethodGet, "/bucket/key", "", nil))
	require.NotContains(t, readAll(t, w.call(&w.them, http.MethodGet, "/", "", nil, nil)), "bucket</Name>")
}

func readAll(t testing.TB, res *http.Response) string {
	t.Helper()
	defer res.Body.Close()
	var b strings.Builder
	_, err := fmt.Fprint(&b, readBody(res))
	require.NoError(t, err)
	return b.String()
}
