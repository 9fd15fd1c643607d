package clients

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/cors"
	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

const page = "https://photos.example.com"

// TestBrowser does what a page of another origin does, with the bytes that Chromium sends for it: it asks before
// it makes a request (CORS), posts a signed form with a file, and reads the file back by script. The answers must
// let the page read what it may, and tell another page nothing.
func TestBrowser(t *testing.T) {
	d := harness.Start(t, harness.Options{})
	ctx, bucket := context.Background(), "browser"
	d.MakeBucket(t, bucket)
	c := d.Client(t)
	require.NoError(t, c.SetBucketCors(ctx, bucket, &cors.Config{CORSRules: []cors.Rule{{
		AllowedOrigin: []string{page}, AllowedMethod: []string{"GET", "PUT", "POST"}, AllowedHeader: []string{"content-type", "x-amz-*"}, ExposeHeader: []string{"ETag"}, MaxAgeSeconds: 600,
	}}}))
	photo := randomBytes(300_000)
	headers := map[string]string{"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "Accept-Language": "en-US,en;q=0.9", "Cache-Control": "no-cache", "Connection": "keep-alive",
		"Origin": page, "Referer": page + "/", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "cross-site",
		"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/130.0.0.0 Safari/537.36"}
	send := func(method, url string, body []byte, more ...string) (*http.Response, string) {
		req, err := http.NewRequest(method, url, bytes.NewReader(body))
		require.NoError(t, err)
		for name, v := range headers {
			req.Header.Set(name, v)
		}
		for i := 0; i < len(more); i += 2 {
			req.Header.Set(more[i], more[i+1])
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res, string(text)
	}
	allowed := func(res *http.Response, origin string) {
		t.Helper()
		require.Equal(t, origin, res.Header.Get("Access-Control-Allow-Origin"))
		require.Contains(t, res.Header.Get("Vary"), "Origin")
	}
	endpoint := "http://" + d.S3 + "/" + bucket

	form, kind := browserForm(t, bucket, photo)
	res, text := send(http.MethodPost, endpoint, form, "Content-Type", kind)
	require.Equal(t, 201, res.StatusCode, text)
	allowed(res, page)
	require.Contains(t, text, "<Key>up/my photo é.jpg</Key>")
	const key = "up/my photo é.jpg"
	onMount, err := os.ReadFile(filepath.Join(d.Mount, bucket, key))
	require.NoError(t, err)
	require.True(t, bytes.Equal(photo, onMount), "the mount shows what was uploaded")

	spoilt := bytes.Replace(form, []byte("image/jpeg\r\n--"), []byte("text/html\r\n--"), 1)
	require.NotEqual(t, form, spoilt)
	res, text = send(http.MethodPost, endpoint, spoilt, "Content-Type", kind)
	require.Equal(t, 403, res.StatusCode, text)
	allowed(res, page) // so that the page can tell its user why

	get, err := c.PresignedGetObject(ctx, bucket, key, time.Minute, nil)
	require.NoError(t, err)
	res, text = send(http.MethodGet, get.String(), nil)
	require.Equal(t, 200, res.StatusCode)
	allowed(res, page)
	require.Equal(t, "ETag", res.Header.Get("Access-Control-Expose-Headers"))
	require.True(t, text == string(photo))

	put, err := c.PresignedPutObject(ctx, bucket, "by-script", time.Minute)
	require.NoError(t, err)
	ask := []string{"Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "content-type"}
	res, _ = send(http.MethodOptions, put.String(), nil, ask...)
	require.Equal(t, 200, res.StatusCode)
	allowed(res, page)
	require.Contains(t, res.Header.Get("Access-Control-Allow-Methods"), "PUT")
	require.Equal(t, "content-type", res.Header.Get("Access-Control-Allow-Headers"))
	require.Equal(t, "600", res.Header.Get("Access-Control-Max-Age"))
	res, text = send(http.MethodPut, put.String(), photo, "Content-Type", "image/jpeg")
	require.Equal(t, 200, res.StatusCode, text)
	info, err := c.StatObject(ctx, bucket, "by-script", minio.StatObjectOptions{})
	require.NoError(t, err)
	require.Equal(t, "image/jpeg", info.ContentType)

	headers["Origin"] = "https://evil.example.com"
	res, _ = send(http.MethodOptions, put.String(), nil, ask...)
	require.Equal(t, 403, res.StatusCode)
	allowed(res, "")
	res, _ = send(http.MethodGet, get.String(), nil)
	require.Equal(t, "", res.Header.Get("Access-Control-Allow-Origin"), "the other page's script is not shown it")
}

// browserForm is a form as Chromium encodes it: fields in their order, names as UTF-8, and a boundary of its own kind.
func browserForm(t *testing.T, bucket string, file []byte) (body []byte, kind string) {
	now := time.Now().UTC()
	day, credential := now.Format("20060102"), harness.AccessKey+"/"+now.Format("20060102")+"/"+harness.Region+"/s3/aws4_request"
	doc, err := json.Marshal(map[string]any{"expiration": now.Add(time.Hour).Format(time.RFC3339), "conditions": []any{
		map[string]string{"bucket": bucket}, []any{"starts-with", "$key", "up/"}, []any{"starts-with", "$Content-Type", "image/"},
		[]any{"content-length-range", 1, 1 << 20}, map[string]string{"success_action_status": "201"},
		map[string]string{"x-amz-credential": credential}, map[string]string{"x-amz-algorithm": "AWS4-HMAC-SHA256"}, map[string]string{"x-amz-date": now.Format("20060102T150405Z")},
	}})
	require.NoError(t, err)
	policy := base64.StdEncoding.EncodeToString(doc)
	signature := []byte("AWS4" + harness.SecretKey)
	for _, part := range []string{day, harness.Region, "s3", "aws4_request", policy} {
		m := hmac.New(sha256.New, signature)
		m.Write([]byte(part))
		signature = m.Sum(nil)
	}
	const boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW9"
	var b bytes.Buffer
	for _, f := range [][2]string{{"key", "up/${filename}"}, {"success_action_status", "201"}, {"Content-Type", "image/jpeg"}, {"x-amz-algorithm", "AWS4-HMAC-SHA256"},
		{"x-amz-credential", credential}, {"x-amz-date", now.Format("20060102T150405Z")}, {"policy", policy}, {"x-amz-signature", hex.EncodeToString(signature)}} {
		fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n", boundary, f[0], f[1])
	}
	fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"my photo é.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n", boundary)
	b.Write(file)
	fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	return b.Bytes(), "multipart/form-data; boundary=" + boundary
}
