package sigv4_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/signer"
	"github.com/stretchr/testify/require"

	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
)

const endpoint = "http://127.0.0.1:9000"

// asServed sends r through the wire format, as the server's http.Request differs from the client's.
func asServed(t testing.TB, r *http.Request) *http.Request {
	t.Helper()
	var wire bytes.Buffer
	require.NoError(t, r.Write(&wire))
	served, err := http.ReadRequest(bufio.NewReader(&wire))
	require.NoError(t, err)
	return served
}

// The paths and queries that clients and servers like to disagree on. Keys are not encoded yet.
var (
	keys = []string{
		"/", "/b", "/b/", "/b/key", "/b/a//b", "/b//", "/b/./c", "/b/../c", "/b/a b", "/b/a+b", "/b/a%2Fb", "/b/~tilde_-.",
		"/b/ü/日本語", "/b/!*'()", "/b/a&b=c;d:e@f,$", "/b/" + strings.Repeat("k", 1000), "/b/\x01\x7f", "/b/[x]{y}|\\^`\"<>#?",
	}
	queries = []url.Values{
		nil,
		{"acl": {""}},
		{"list-type": {"2"}, "prefix": {"a b/ü+&="}, "delimiter": {"/"}, "max-keys": {"10"}},
		{"a": {"", "1", "2"}, "A": {"x"}, "a-b": {"y"}, "a b": {"~"}},
	}
)

func clientRequest(t testing.TB, method, key string, query url.Values) *http.Request {
	t.Helper()
	u, err := url.Parse(endpoint)
	require.NoError(t, err)
	u.Path, u.RawPath, u.RawQuery = key, s3utils.EncodePath(key), s3utils.QueryEncode(query)
	return &http.Request{Method: method, URL: u, Host: u.Host, Header: http.Header{}}
}

func TestSigners(t *testing.T) {
	ctx := context.Background()
	credentials := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}
	sdk := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	for name, sign := range map[string]func(r *http.Request) *http.Request{
		"minio header": func(r *http.Request) *http.Request {
			r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
			return signer.SignV4(*r, accessKey, secretKey, "", "us-east-1")
		},
		"minio presigned": func(r *http.Request) *http.Request {
			return signer.PreSignV4(*r, accessKey, secretKey, "", "us-east-1", 600)
		},
		"aws header": func(r *http.Request) *http.Request {
			r.Header.Set("X-Amz-Content-Sha256", emptySHA)
			require.NoError(t, sdk.SignHTTP(ctx, credentials, r, emptySHA, "s3", "eu-west-3", time.Now()))
			return r
		},
		"aws presigned": func(r *http.Request) *http.Request {
			r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&X-Amz-Expires=60", "&")
			signed, headers, err := sdk.PresignHTTP(ctx, credentials, r, "UNSIGNED-PAYLOAD", "s3", "eu-west-3", time.Now())
			require.NoError(t, err)
			u, err := url.Parse(signed)
			require.NoError(t, err)
			// The signer escapes what is not valid in RawPath anew; the caller's path is what is sent.
			u.Path, u.RawPath = r.URL.Path, r.URL.RawPath
			return &http.Request{Method: r.Method, URL: u, Host: u.Host, Header: headers}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, key := range keys {
				for _, query := range queries {
					r := clientRequest(t, "GET", key, query)
					r.Header.Add("X-Amz-Meta-Spaces", "  a   b  ")
					r.Header.Add("X-Amz-Meta-Twice", "one")
					r.Header.Add("X-Amz-Meta-Twice", "two")
					served := asServed(t, sign(r))
					id, err := sigv4.New(secrets{}, sigv4.Options{}).Verify(served)
					require.NoError(t, err, "%q %v: %s", key, query, served.RequestURI)
					require.Equal(t, accessKey, id.AccessKey)
				}
			}
		})
	}
}

// TestPathAsSent: a client may sign the path that it sends, without encoding it by S3's rule.
func TestPathAsSent(t *testing.T) {
	for _, sent := range []string{"/b/a%2Fb", "/b/a+b", "/b/a(b)!*'", "/b/%c3%bc", "/b/a:b@c$d", "/b/%FF%FE"} {
		u, err := url.Parse(endpoint + sent)
		require.NoError(t, err)
		r := &http.Request{Method: "GET", URL: u, Host: u.Host, Header: http.Header{"X-Amz-Content-Sha256": {emptySHA}}}
		sdk := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		require.NoError(t, sdk.SignHTTP(t.Context(), aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey},
			r, emptySHA, "s3", "us-east-1", time.Now()))
		_, err = sigv4.New(secrets{}, sigv4.Options{}).Verify(asServed(t, r))
		require.NoError(t, err, sent)
	}
}

// signedRequest is the wire form of a request that verifies at signedAt.
func signedRequest(t testing.TB, presigned bool) string {
	t.Helper()
	r := clientRequest(t, "PUT", "/bucket/a key", url.Values{"partNumber": {"1"}, "uploadId": {"abc"}})
	r.Header.Set("X-Amz-Meta-Colour", "blue")
	r.Header.Set("Content-Type", "text/plain")
	credentials := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}
	sdk := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true; o.DisableHeaderHoisting = true })
	if presigned {
		r.URL.RawQuery += "&X-Amz-Expires=60"
		signed, _, err := sdk.PresignHTTP(t.Context(), credentials, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", signedAt)
		require.NoError(t, err)
		r.URL, err = url.Parse(signed)
		require.NoError(t, err)
	} else {
		r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		require.NoError(t, sdk.SignHTTP(t.Context(), credentials, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", signedAt))
	}
	r.Header.Set("User-Agent", "test")
	var wire bytes.Buffer
	require.NoError(t, r.Write(&wire))
	return wire.String()
}

// TestEveryByteCounts changes each byte of a signed request in several ways. Whatever still parses as HTTP
// must be refused, unless the change means the same request.
func TestEveryByteCounts(t *testing.T) {
	for _, presigned := range []bool{false, true} {
		t.Run(fmt.Sprintf("presigned=%v", presigned), func(t *testing.T) {
			wire := signedRequest(t, presigned)
			original, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire)))
			require.NoError(t, err)
			_, err = verifierAt(signedAt).Verify(original)
			require.NoError(t, err)
			refused := 0
			for i := range wire {
				for _, to := range []byte{wire[i] ^ 1, wire[i] ^ 0x20, ' ', ',', ';', '/', '&', '%', 'a'} {
					changed := wire[:i] + string(to) + wire[i+1:]
					r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(changed)))
					if err != nil || sameRequest(original, r) {
						continue
					}
					id, err := verifierAt(signedAt).Verify(r)
					if err == nil {
						require.Equal(t, sigv4.Anonymous, id.Mechanism, "byte %d to %q:\n%s", i, to, changed)
					}
					refused++
				}
			}
			require.Greater(t, refused, 2000)
		})
	}
}

// sameRequest reports whether two requests ask for the same by the rules of HTTP and Signature V4.
func sameRequest(a, b *http.Request) bool {
	if a.Method != b.Method || a.Host != b.Host || a.URL.Path != b.URL.Path {
		return false
	}
	// A query that differs only in encoding, or in how parameters are ordered, says the same.
	if fmt.Sprint(a.URL.Query()) != fmt.Sprint(b.URL.Query()) {
		return false
	}
	names := []string{"Authorization"}
	for _, h := range []http.Header{a.Header, b.Header} {
		for name := range h {
			if strings.HasPrefix(name, "X-Amz-") || name == "Content-Type" {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		va, vb := a.Header[name], b.Header[name]
		if name == "Authorization" { // blanks after its commas are free
			va, vb = strings.Split(strings.Join(va, ""), ", "), strings.Split(strings.Join(vb, ""), ",")
			for i := range vb {
				vb[i] = strings.Trim(vb[i], " ")
			}
		}
		if !slices.Equal(va, vb) {
			return false
		}
	}
	return true
}

// TestHoisting: what an SDK moved from headers into a presigned query comes back as headers.
func TestHoisting(t *testing.T) {
	presign := func(query url.Values, headers ...string) *http.Request {
		r := clientRequest(t, "PUT", "/b/k", query)
		r.URL.RawQuery += "&X-Amz-Expires=60"
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		sdk := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableHeaderHoisting = true })
		signed, _, err := sdk.PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey},
			r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", signedAt)
		require.NoError(t, err)
		r.URL, err = url.Parse(signed)
		require.NoError(t, err)
		return asServed(t, r)
	}
	r := presign(url.Values{"x-amz-object-lock-mode": {"COMPLIANCE"}, "X-Amz-Meta-A": {"b c"},
		"x-amz-checksum-crc32": {"AAAAAA=="}, "x-amz-sdk-checksum-algorithm": {"CRC32"}, "partNumber": {"1"}})
	_, err := verifierAt(signedAt).Verify(r)
	require.NoError(t, err)
	r.Header.Del("User-Agent")
	r.Header.Del("Content-Length")
	require.Equal(t, http.Header{"X-Amz-Object-Lock-Mode": {"COMPLIANCE"}, "X-Amz-Meta-A": {"b c"}}, r.Header)

	for _, r := range []*http.Request{
		presign(url.Values{"x-amz-acl": {"private"}}, "X-Amz-Acl", "public-read"),
		presign(url.Values{"x-amz-acl": {"private", "public-read"}}),
		presign(url.Values{"x-amz-acl": {"private"}, "X-Amz-Acl": {"public-read"}}),
		presign(url.Values{"x-amz-meta-a b": {"c"}}),
		presign(url.Values{"x-amz-meta-a": {"c\r\nSet-Cookie: d"}}),
	} {
		_, err = verifierAt(signedAt).Verify(r)
		requireCode(t, s3err.InvalidArgument, err)
	}
}

func TestRefusals(t *testing.T) {
	header := func(change func(*http.Request)) *http.Request {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(signedRequest(t, false))))
		require.NoError(t, err)
		change(r)
		return r
	}
	presigned := func(change func(url.Values)) *http.Request {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(signedRequest(t, true))))
		require.NoError(t, err)
		q := r.URL.Query()
		change(q)
		r.URL.RawQuery = q.Encode()
		return r
	}
	replace := func(from, to string) *http.Request {
		return header(func(r *http.Request) {
			before := r.Header.Get("Authorization")
			r.Header.Set("Authorization", strings.Replace(before, from, to, 1))
			require.NotEqual(t, before, r.Header.Get("Authorization"))
		})
	}
	set := func(name, value string) *http.Request {
		return header(func(r *http.Request) { r.Header.Set(name, value) })
	}
	add := func(name, value string) *http.Request {
		return header(func(r *http.Request) { r.Header.Add(name, value) })
	}
	del := func(name string) *http.Request {
		return header(func(r *http.Request) { r.Header.Del(name) })
	}
	query := func(q string) *http.Request {
		return header(func(r *http.Request) { r.URL.RawQuery += q })
	}
	param := func(name string, values ...string) *http.Request {
		return presigned(func(q url.Values) { q[name] = values })
	}
	for name, c := range map[string]struct {
		code s3err.Code
		r    *http.Request
	}{
		"unknown access key":           {s3err.InvalidAccessKeyID, replace(accessKey, "AKIDUNKNOWN")},
		"signature v2":                 {s3err.InvalidRequest, set("Authorization", "AWS AK:c2lnbmF0dXJl")},
		"signature v4a":                {s3err.InvalidRequest, replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")},
		"signature v2 in the query":    {s3err.InvalidRequest, request(t, "GET", "/b/k?AWSAccessKeyId=AK&Expires=1&Signature=x", "h")},
		"basic":                        {s3err.InvalidArgument, set("Authorization", "Basic dTpw")},
		"empty authorization":          {s3err.AccessDenied, set("Authorization", "")},
		"two authorizations":           {s3err.InvalidArgument, add("Authorization", "AWS4-HMAC-SHA256 x")},
		"header and query":             {s3err.InvalidArgument, query("&X-Amz-Signature=x")},
		"header and v2 query":          {s3err.InvalidArgument, query("&Signature=x")},
		"v2 and v4 query":              {s3err.InvalidArgument, param("AWSAccessKeyId", "AK")},
		"no fields":                    {s3err.AuthorizationHeaderMalformed, set("Authorization", "AWS4-HMAC-SHA256")},
		"no signature":                 {s3err.AuthorizationHeaderMalformed, replace("Signature=", "Sig=")},
		"a field twice":                {s3err.AuthorizationHeaderMalformed, replace("Signature=", "Credential=x, Signature=")},
		"a field more":                 {s3err.AuthorizationHeaderMalformed, replace("Signature=", "More=x, Signature=")},
		"short signature":              {s3err.AuthorizationHeaderMalformed, replace("Signature=", "Signature=a")},
		"service":                      {s3err.AuthorizationHeaderMalformed, replace("/s3/", "/ec2/")},
		"terminator":                   {s3err.AuthorizationHeaderMalformed, replace("aws4_request", "aws5_request")},
		"scope date":                   {s3err.AuthorizationHeaderMalformed, replace("20130524", "20130525")},
		"scope date format":            {s3err.AuthorizationHeaderMalformed, replace("20130524", "2013-5-4")},
		"empty region":                 {s3err.AuthorizationHeaderMalformed, replace("us-east-1", "")},
		"scope too long":               {s3err.AuthorizationHeaderMalformed, replace("us-east-1", "us/east")},
		"upper-case signed header":     {s3err.AuthorizationHeaderMalformed, replace(";host", ";Host")},
		"signed header twice":          {s3err.AuthorizationHeaderMalformed, replace(";host", ";host;host")},
		"host not signed":              {s3err.AccessDenied, replace(";host", "")},
		"x-amz header not signed":      {s3err.AccessDenied, set("X-Amz-Acl", "public-read")},
		"signed header not there":      {s3err.SignatureDoesNotMatch, del("X-Amz-Meta-Colour")},
		"a value more":                 {s3err.SignatureDoesNotMatch, add("X-Amz-Meta-Colour", "red")},
		"a value moved":                {s3err.SignatureDoesNotMatch, set("X-Amz-Meta-Colour", "blue,")},
		"another region":               {s3err.SignatureDoesNotMatch, replace("us-east-1", "us-east-2")},
		"no date":                      {s3err.AccessDenied, del("X-Amz-Date")},
		"bad date":                     {s3err.AccessDenied, set("X-Amz-Date", "2013-05-24")},
		"two dates":                    {s3err.InvalidArgument, add("X-Amz-Date", "20130524T000000Z")},
		"no content hash":              {s3err.InvalidRequest, del("X-Amz-Content-Sha256")},
		"bad content hash":             {s3err.InvalidArgument, set("X-Amz-Content-Sha256", "00")},
		"two content hashes":           {s3err.InvalidArgument, add("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")},
		"another content hash":         {s3err.SignatureDoesNotMatch, set("X-Amz-Content-Sha256", emptySHA)},
		"session token":                {s3err.AccessDenied, set("X-Amz-Security-Token", "t")},
		"empty session token":          {s3err.InvalidToken, set("X-Amz-Security-Token", "")},
		"malformed query":              {s3err.InvalidURI, query("&a=%zz")},
		"semicolon in query":           {s3err.InvalidURI, query("&a;b=c")},
		"parameter more":               {s3err.SignatureDoesNotMatch, query("&versionId=1")},
		"presigned without expiry":     {s3err.AuthorizationQueryError, presigned(func(q url.Values) { q.Del("X-Amz-Expires") })},
		"presigned without credential": {s3err.AuthorizationQueryError, presigned(func(q url.Values) { q.Del("X-Amz-Credential") })},
		"presigned without signature":  {s3err.AuthorizationQueryError, presigned(func(q url.Values) { q.Del("X-Amz-Signature") })},
		"presigned expiry 0":           {s3err.AuthorizationQueryError, param("X-Amz-Expires", "0")},
		"presigned expiry negative":    {s3err.AuthorizationQueryError, param("X-Amz-Expires", "-1")},
		"presigned expiry over a week": {s3err.AuthorizationQueryError, param("X-Amz-Expires", "604801")},
		"presigned expiry no number":   {s3err.AuthorizationQueryError, param("X-Amz-Expires", "1h")},
		"presigned expiry extended":    {s3err.SignatureDoesNotMatch, param("X-Amz-Expires", "604800")},
		"presigned parameter twice":    {s3err.AuthorizationQueryError, param("X-Amz-Date", "20130524T000000Z", "20130524T000000Z")},
		"presigned parameter in lower case": {s3err.AuthorizationQueryError,
			presigned(func(q url.Values) { q["x-amz-date"] = []string{"20130524T000000Z"} })},
		"presigned other algorithm":      {s3err.AuthorizationQueryError, param("X-Amz-Algorithm", "AWS4-HMAC-SHA1")},
		"presigned session token":        {s3err.InvalidToken, param("X-Amz-Security-Token", "t")},
		"presigned other hash":           {s3err.SignatureDoesNotMatch, param("X-Amz-Content-Sha256", emptySHA)},
		"presigned signed chunks":        {s3err.InvalidRequest, param("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")},
		"presigned scope date":           {s3err.AuthorizationQueryError, param("X-Amz-Date", "20130523T000000Z")},
		"anonymous signed chunks":        {s3err.InvalidRequest, request(t, "PUT", "/b/k", "h", "X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")},
		"anonymous with malformed query": {s3err.InvalidURI, request(t, "GET", "/b/k?%zz", "h")},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := verifierAt(signedAt).Verify(c.r)
			require.Nil(t, id)
			requireCode(t, c.code, err)
		})
	}
}

func TestTimes(t *testing.T) {
	parse := func(presigned bool) *http.Request {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(signedRequest(t, presigned))))
		require.NoError(t, err)
		return r
	}
	for _, c := range []struct {
		presigned bool
		offset    time.Duration
		code      s3err.Code
	}{
		{false, 15 * time.Minute, ""},
		{false, -15 * time.Minute, ""},
		{false, 15*time.Minute + time.Second, s3err.RequestTimeTooSkewed},
		{false, -15*time.Minute - time.Second, s3err.RequestTimeTooSkewed},
		{true, 60 * time.Second, ""},
		{true, -15 * time.Minute, ""},
		{true, 61 * time.Second, s3err.AccessDenied},
		{true, -16 * time.Minute, s3err.AccessDenied},
	} {
		_, err := verifierAt(signedAt.Add(c.offset)).Verify(parse(c.presigned))
		if c.code == "" {
			require.NoError(t, err, c.offset)
		} else {
			requireCode(t, c.code, err)
		}
	}
}

func TestRegionRule(t *testing.T) {
	now := func() time.Time { return signedAt }
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(signedRequest(t, false))))
	require.NoError(t, err)
	_, err = sigv4.New(secrets{}, sigv4.Options{Region: "us-east-1", Now: now}).Verify(r)
	require.NoError(t, err)
	_, err = sigv4.New(secrets{}, sigv4.Options{Region: "eu-north-1", Now: now}).Verify(r)
	var e *s3err.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, s3err.AuthorizationHeaderMalformed, e.Code)
	require.Equal(t, "eu-north-1", e.Region)
}

func TestSecretsError(t *testing.T) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(signedRequest(t, false))))
	require.NoError(t, err)
	down := s3err.New("InternalError", "later")
	_, err = sigv4.New(secrets{err: down}, sigv4.Options{Now: func() time.Time { return signedAt }}).Verify(r)
	require.Equal(t, error(down), err)
}

func TestAnonymous(t *testing.T) {
	id, err := verifierAt(signedAt).Verify(request(t, "GET", "/b/k?acl", "h"))
	require.NoError(t, err)
	require.Equal(t, sigv4.Anonymous, id.Mechanism)
	require.Empty(t, id.AccessKey)
	require.Empty(t, id.Principal)

	id, err = verifierAt(signedAt).Verify(request(t, "PUT", "/b/k", "h", "X-Amz-Content-Sha256", emptySHA))
	require.NoError(t, err)
	require.Equal(t, sigv4.Exact, id.Payload.Mode)
}

// TestDateHeader: without X-Amz-Date, Date tells the time of signing.
func TestDateHeader(t *testing.T) {
	r := request(t, "GET", "/b/k", "h", "Date", signedAt.Format(http.TimeFormat), "X-Amz-Content-Sha256", emptySHA,
		"Authorization", "AWS4-HMAC-SHA256 Credential="+accessKey+"/20130524/us-east-1/s3/aws4_request, "+
			"SignedHeaders=date;host;x-amz-content-sha256, Signature="+strings.Repeat("0", 64))
	_, err := verifierAt(signedAt).Verify(r)
	requireCode(t, s3err.SignatureDoesNotMatch, err)
	_, err = verifierAt(signedAt.Add(time.Hour)).Verify(r)
	requireCode(t, s3err.RequestTimeTooSkewed, err)
}

func FuzzAuthorization(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=a/20130524/r/s3/aws4_request,SignedHeaders=host;x-amz-date,Signature=" + strings.Repeat("0", 64))
	f.Add("AWS a:b")
	f.Add("AWS4-HMAC-SHA256 ,,==,")
	f.Fuzz(func(t *testing.T, authorization string) {
		r := httptest.NewRequest("GET", "/b/k", nil)
		r.Header.Set("Authorization", authorization)
		r.Header.Set("X-Amz-Date", "20130524T000000Z")
		r.Header.Set("X-Amz-Content-Sha256", emptySHA)
		_, err := verifierAt(signedAt).Verify(r)
		var e *s3err.Error
		require.ErrorAs(t, err, &e)
	})
}

func FuzzPresigned(f *testing.F) {
	f.Add("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + accessKey + "%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" +
		"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=" + strings.Repeat("0", 64))
	f.Add("AWSAccessKeyId=a&Signature=b&Expires=1")
	f.Add("a=%zz&;&x-amz-signature=")
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "/b/k", nil)
		r.URL.RawQuery = query
		id, err := verifierAt(signedAt).Verify(r)
		if err == nil {
			require.Equal(t, sigv4.Anonymous, id.Mechanism)
			_, err := url.ParseQuery(query)
			require.NoError(t, err, "what is accepted must parse for the handlers, too")
			return
		}
		var e *s3err.Error
		require.ErrorAs(t, err, &e)
	})
}

func BenchmarkVerifyHeader(b *testing.B) { benchmarkVerify(b, false) }

func BenchmarkVerifyPresigned(b *testing.B) { benchmarkVerify(b, true) }

func benchmarkVerify(b *testing.B, presigned bool) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(signedRequest(b, presigned))))
	require.NoError(b, err)
	v := verifierAt(signedAt)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r); err != nil {
			b.Fatal(err)
		}
	}
}
