package s3api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
		target := "/bucket/" + strings.ReplaceAll(urlEncoded(key), "+", "%20")
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
		require.Contains(t, res.Body.String(), "<Key>"+urlEncoded(key)+"</Key>")
		res, _ = w.serve(http.MethodDelete, target, "", nil)
		require.Equal(t, 204, res.Code)
	})
}

// FuzzDocuments: a hostile document is refused or obeyed, never a 5xx.
func FuzzDocuments(f *testing.F) {
	w := newWorld(f)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	f.Add(byte(0), `<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object></Delete>`)
	f.Add(byte(1), `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"x"</ETag></Part></CompleteMultipartUpload>`)
	f.Add(byte(2), `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>eu</LocationConstraint></CreateBucketConfiguration>`)
	f.Add(byte(0), `<!DOCTYPE x [<!ENTITY a "b">]><Delete>&a;</Delete>`)
	f.Add(byte(0), strings.Repeat("<a>", 5000))
	targets := []struct{ method, target string }{
		{http.MethodPost, "/bucket?delete"}, {http.MethodPost, "/bucket/k?uploadId=00"}, {http.MethodPut, "/bucket2"},
	}
	f.Fuzz(func(t *testing.T, which byte, doc string) {
		to := targets[int(which)%len(targets)]
		res, ok := w.serve(to.method, to.target, doc, nil)
		if ok {
			require.Less(t, res.Code, 500, res.Body.String())
		}
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
