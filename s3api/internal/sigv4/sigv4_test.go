package sigv4_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
)

const (
	accessKey = "AKIAIOSFODNN7EXAMPLE"
	secretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	emptySHA  = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

var signedAt = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)

// secrets holds one key, and counts nothing: the principal is the access key in lower case.
type secrets struct{ err error }

func (s secrets) Secrets(_ context.Context, key, token string) ([]string, string, error) {
	switch {
	case s.err != nil:
		return nil, "", s.err
	case token != "":
		return nil, "", s3err.New(s3err.InvalidToken, "no such session")
	case key != accessKey:
		return nil, "", errors.New("unknown")
	}
	return []string{secretKey}, strings.ToLower(key), nil
}

func verifierAt(now time.Time) *sigv4.Verifier[string] {
	return sigv4.New(secrets{}, sigv4.Options{Now: func() time.Time { return now }})
}

func requireCode(t *testing.T, code s3err.Code, err error) {
	t.Helper()
	var e *s3err.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code, "%v", err)
}

// request builds a request as net/http's server would have read it.
func request(t testing.TB, method, target, host string, headers ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// The examples of "Signature Calculations for the Authorization Header" and "Authenticating Requests:
// Using Query Parameters" in the S3 API reference.
func TestPublishedExamples(t *testing.T) {
	const host = "examplebucket.s3.amazonaws.com"
	auth := func(headers, signature string) string {
		return "AWS4-HMAC-SHA256 Credential=" + accessKey + "/20130524/us-east-1/s3/aws4_request,SignedHeaders=" +
			headers + ",Signature=" + signature
	}
	for name, r := range map[string]*http.Request{
		"get object": request(t, "GET", "/test.txt", host, "Range", "bytes=0-9",
			"x-amz-content-sha256", emptySHA, "x-amz-date", "20130524T000000Z", "Authorization",
			auth("host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")),
		"put object": request(t, "PUT", "/test$file.text", host, "Date", "Fri, 24 May 2013 00:00:00 GMT",
			"x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
			"x-amz-date", "20130524T000000Z", "x-amz-storage-class", "REDUCED_REDUNDANCY", "Authorization",
			auth("date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")),
		"get lifecycle": request(t, "GET", "/?lifecycle", host,
			"x-amz-content-sha256", emptySHA, "x-amz-date", "20130524T000000Z", "Authorization",
			auth("host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")),
		"list": request(t, "GET", "/?max-keys=2&prefix=J", host,
			"x-amz-content-sha256", emptySHA, "x-amz-date", "20130524T000000Z", "Authorization",
			auth("host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")),
		"presigned": request(t, "GET", "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="+accessKey+
			"%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"+
			"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", host),
	} {
		t.Run(name, func(t *testing.T) {
			id, err := verifierAt(signedAt.Add(time.Minute)).Verify(r)
			require.NoError(t, err)
			require.Equal(t, accessKey, id.AccessKey)
			require.Equal(t, strings.ToLower(accessKey), id.Principal)
			require.Equal(t, "20130524/us-east-1/s3/aws4_request", id.Scope.String())
			require.True(t, signedAt.Equal(id.SignedAt))
			require.Contains(t, id.SignedHeaders, "host")
			if name == "presigned" {
				require.Equal(t, sigv4.Presigned, id.Mechanism)
				require.Equal(t, sigv4.Unsigned, id.Payload.Mode)
			} else {
				require.Equal(t, sigv4.Header, id.Mechanism)
				require.Equal(t, sigv4.Exact, id.Payload.Mode)
			}

			// Each is bound to its path, host and method.
			for _, change := range []func(*http.Request){
				func(r *http.Request) { r.URL.Path = r.URL.Path + "x" },
				func(r *http.Request) { r.URL.Path = "/" + r.URL.Path },
				func(r *http.Request) { r.Host += ":80" },
				func(r *http.Request) { r.Method = "DELETE" },
				func(r *http.Request) { r.URL.RawQuery += "&acl" },
			} {
				c := r.Clone(t.Context())
				c.URL, _ = url.Parse(r.URL.String())
				change(c)
				_, err := verifierAt(signedAt).Verify(c)
				requireCode(t, s3err.SignatureDoesNotMatch, err)
			}
		})
	}
}
