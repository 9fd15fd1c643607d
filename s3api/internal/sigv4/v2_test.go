package sigv4

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/s3api/internal/s3err"
)

// The keys of AWS's examples ("Signing and Authenticating REST Requests").
const (
	exampleKey    = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

type oneSecret struct{}

func (oneSecret) Secrets(_ context.Context, accessKey, token string) ([]string, string, error) {
	if token != "" {
		return nil, "", invalidToken()
	}
	if accessKey != exampleKey {
		return nil, "", http.ErrNoCookie
	}
	return []string{exampleSecret}, "someone", nil
}

func v2At(now time.Time, on bool) *Verifier[string] {
	return New[string](oneSecret{}, Options{V2: on, Now: func() time.Time { return now }, Bucket: func(host string) string {
		name, ok := strings.CutSuffix(host, ".s3.amazonaws.com")
		if !ok {
			return ""
		}
		return name
	}})
}

func v2Request(method, target, date, signature string, header ...string) *http.Request {
	r := httptest.NewRequest(method, "http://johnsmith.s3.amazonaws.com"+target, nil)
	r.Header = http.Header{"Date": {date}, "Authorization": {"AWS " + exampleKey + ":" + signature}}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func TestV2Examples(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"get":  v2Request("GET", "/photos/puppy.jpg", "Tue, 27 Mar 2007 19:36:42 +0000", "bWq2s1WEIj+Ydj0vQ697zp+IXMU="),
		"put":  v2Request("PUT", "/photos/puppy.jpg", "Tue, 27 Mar 2007 21:15:45 +0000", "MyyxeRY7whkBe+bq8fHCL/2kKUg=", "Content-Type", "image/jpeg"),
		"list": v2Request("GET", "/?prefix=photos&max-keys=50&marker=puppy", "Tue, 27 Mar 2007 19:42:41 +0000", "htDYFYduRNen8P9ZfE/s9SuKy0U="),
		"acl":  v2Request("GET", "/?acl", "Tue, 27 Mar 2007 19:44:46 +0000", "c2WLPFtWHVgbEmeEG93a4cG37dM="),
	} {
		t.Run(name, func(t *testing.T) {
			at, err := time.Parse(time.RFC1123Z, r.Header.Get("Date"))
			require.NoError(t, err)
			id, err := v2At(at.Add(time.Minute), true).Verify(r)
			require.NoError(t, err)
			require.Equal(t, "someone", id.Principal)
			require.Equal(t, HeaderV2, id.Mechanism)

			_, err = v2At(at, false).Verify(r)
			wantCode(t, s3err.InvalidRequest, err)
			_, err = v2At(at.Add(16*time.Minute), true).Verify(r)
			wantCode(t, s3err.RequestTimeTooSkewed, err)
			r.Header.Set("X-Amz-Meta-Evil", "1")
			_, err = v2At(at, true).Verify(r)
			wantCode(t, s3err.SignatureDoesNotMatch, err)
		})
	}
}

func wantCode(t *testing.T, want s3err.Code, err error) {
	t.Helper()
	var e *s3err.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, want, e.Code, e.Message)
}

func signV2(message string) string {
	mac := hmac.New(sha1.New, []byte(exampleSecret))
	mac.Write([]byte(message))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func TestV2Query(t *testing.T) {
	now := time.Unix(1175139000, 0)
	make := func(expires, extra string) *http.Request {
		q := url.Values{"AWSAccessKeyId": {exampleKey}, "Expires": {expires}, "Signature": {signV2("GET\n\n\n" + expires + "\n/b/k?versionId=x")}}
		return httptest.NewRequest("GET", "/b/k?versionId=x&"+q.Encode()+extra, nil)
	}
	id, err := v2At(now, true).Verify(make("1175139620", ""))
	require.NoError(t, err)
	require.Equal(t, PresignedV2, id.Mechanism)
	_, err = v2At(now, true).Verify(make("1175139620", "&prefix=a"))
	require.NoError(t, err, "what only chooses from a listing is not signed")
	for extra, code := range map[string]s3err.Code{
		"&acl": s3err.SignatureDoesNotMatch, "&attributes": s3err.AccessDenied, "&x-amz-acl=public-read": s3err.AccessDenied,
		"&append": s3err.AccessDenied, "&Expires=9": s3err.AccessDenied, "&signature=x": s3err.AccessDenied,
		"&X-Amz-Signature=x": s3err.InvalidArgument, "&X-Amz-Security-Token=x": s3err.AccessDenied,
	} {
		_, err = v2At(now, true).Verify(make("1175139620", extra))
		wantCode(t, code, err)
	}
	for _, expires := range []string{"1175138999", "1190000000", "soon", ""} {
		_, err = v2At(now, true).Verify(make(expires, ""))
		wantCode(t, s3err.AccessDenied, err)
	}
	r := make("1175139620", "")
	r.Method = "DELETE"
	_, err = v2At(now, true).Verify(r)
	wantCode(t, s3err.SignatureDoesNotMatch, err)
	_, err = v2At(now, false).Verify(make("1175139620", ""))
	wantCode(t, s3err.InvalidRequest, err)
}

func TestVerifyForm(t *testing.T) {
	now := time.Date(2015, 12, 29, 1, 0, 0, 0, time.UTC)
	scope := Scope{Date: "20151229", Region: "us-east-1", Service: "s3"}
	key := signingKey(exampleSecret, scope)
	sum := sign(key[:], "cG9saWN5")
	good := func() map[string]string {
		return map[string]string{"policy": "cG9saWN5", "x-amz-algorithm": algorithm, "x-amz-date": "20151229T000000Z",
			"x-amz-credential": exampleKey + "/" + scope.String(), "x-amz-signature": hexOf(sum)}
	}
	id, err := v2At(now, false).VerifyForm(t.Context(), good())
	require.NoError(t, err)
	require.Equal(t, Form, id.Mechanism)
	id, err = v2At(now, false).VerifyForm(t.Context(), map[string]string{"key": "x"})
	require.NoError(t, err)
	require.Equal(t, Anonymous, id.Mechanism)
	require.Empty(t, id.Principal)
	for name, c := range map[string]struct {
		code   s3err.Code
		change func(map[string]string)
	}{
		"policy":    {s3err.SignatureDoesNotMatch, func(f map[string]string) { f["policy"] += "x" }},
		"no policy": {s3err.InvalidArgument, func(f map[string]string) { delete(f, "policy") }},
		"signature": {s3err.InvalidArgument, func(f map[string]string) { f["x-amz-signature"] = "" }},
		"alone":     {s3err.InvalidArgument, func(f map[string]string) { clear(f); f["policy"] = "cG9saWN5" }},
		"algorithm": {s3err.InvalidArgument, func(f map[string]string) { f["x-amz-algorithm"] = "none" }},
		"both":      {s3err.InvalidArgument, func(f map[string]string) { f["signature"] = "x" }},
		"key":       {s3err.InvalidAccessKeyID, func(f map[string]string) { f["x-amz-credential"] = "AKIANOBODY/" + scope.String() }},
		"date":      {s3err.InvalidArgument, func(f map[string]string) { f["x-amz-date"] = "20151228T000000Z" }},
		"token":     {s3err.InvalidToken, func(f map[string]string) { f["x-amz-security-token"] = "x" }},
		"v2 is off": {s3err.InvalidRequest, func(f map[string]string) {
			clear(f)
			f["policy"], f["awsaccesskeyid"], f["signature"] = "p", exampleKey, signV2("p")
		}},
		"wrong bits": {s3err.SignatureDoesNotMatch, func(f map[string]string) { f["x-amz-signature"] = strings.Repeat("0", 64) }},
	} {
		f := good()
		c.change(f)
		_, err := v2At(now, false).VerifyForm(t.Context(), f)
		require.Error(t, err, name)
		wantCode(t, c.code, err)
	}
	_, err = v2At(now.Add(8*24*time.Hour), false).VerifyForm(t.Context(), good())
	wantCode(t, s3err.AccessDenied, err)
	v2 := map[string]string{"policy": "p", "awsaccesskeyid": exampleKey, "signature": signV2("p")}
	id, err = v2At(now, true).VerifyForm(t.Context(), v2)
	require.NoError(t, err)
	require.Equal(t, FormV2, id.Mechanism)
	v2["policy"] = "q"
	_, err = v2At(now, true).VerifyForm(t.Context(), v2)
	wantCode(t, s3err.SignatureDoesNotMatch, err)
}

func hexOf(sum [32]byte) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range sum {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}
