package clients

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/cors"
	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

// seen is what a script saw of an answer: all of it, or that the browser kept it from the page.
type seen struct {
	Status     int
	Text, ETag string
	Refused    string
}

// report is what testdata/browser.html tells of its requests.
type report struct {
	Failed, Origin                      string
	Put, Header, Del, Get, Post, Spoilt seen
}

// page serves testdata/browser.html from an origin of its own.
type page struct {
	*httptest.Server
	reports chan report
	done    chan url.Values // what the form's redirect brought back
}

func newPage(t *testing.T, plan func(self string) any) *page {
	p := &page{reports: make(chan report, 1), done: make(chan url.Values, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join("testdata", "browser.html"))
	})
	mux.HandleFunc("GET /plan", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(plan(p.URL)) })
	mux.HandleFunc("POST /report", func(w http.ResponseWriter, r *http.Request) {
		var got report
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			got.Failed = err.Error()
		}
		p.reports <- got
	})
	mux.HandleFunc("GET /done", func(_ http.ResponseWriter, r *http.Request) { p.done <- r.URL.Query() })
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// browse opens a page in headless Chromium, which runs until the test ends.
func browse(t *testing.T, address string) {
	t.Helper()
	cmd := exec.Command("chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
		"--no-proxy-server", "--remote-debugging-port=0", "--user-data-dir="+harness.TempDir(t), address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its children end with it
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
}

// within waits for what the browser does.
func within[T any](t *testing.T, c <-chan T, what string) (got T) {
	t.Helper()
	select {
	case got = <-c:
	case <-time.After(harness.RunWithin):
		t.Fatalf("the browser did not get to %s", what)
	}
	return got
}

// TestBrowser lets a page of another origin work with a bucket in Chromium: the browser asks before it makes a request
// (CORS), a signed form with a file is posted by a script and by the form itself, and objects are written and read by
// presigned links. A page of an origin that the bucket does not name gets nothing of it.
func TestBrowser(t *testing.T) {
	harness.NeedTools(t, "chromium-headless-shell")
	d := harness.Start(t, harness.Options{})
	ctx, bucket, name := context.Background(), "browser", "my photo é.jpg"
	d.MakeBucket(t, bucket)
	c := d.Client(t)
	const size = 300_000
	photo := make([]byte, size)
	for i := range photo {
		photo[i] = byte(i*7 + i>>8)
	}
	plan := func(self string) any {
		get, err := c.PresignedGetObject(ctx, bucket, "by-script", time.Hour, nil)
		require.NoError(t, err)
		put, err := c.PresignHeader(ctx, http.MethodPut, bucket, "by-script", time.Hour, nil, http.Header{"X-Amz-Meta-From": {"page"}})
		require.NoError(t, err)
		endpoint := "http://" + d.S3 + "/" + bucket
		return map[string]any{"endpoint": endpoint, "put": put.String(), "get": get.String(), "name": name, "size": size, "fields": formFields(t, bucket, self+"/done")}
	}
	friend, stranger := newPage(t, plan), newPage(t, plan)
	require.NoError(t, c.SetBucketCors(ctx, bucket, &cors.Config{CORSRules: []cors.Rule{{
		AllowedOrigin: []string{friend.URL}, AllowedMethod: []string{"GET", "PUT", "POST"}, AllowedHeader: []string{"content-type", "x-amz-*"}, ExposeHeader: []string{"ETag"},
	}}}))
	kept := seen{Refused: "TypeError"} // all that a script is told of an answer that is not for it

	browse(t, friend.URL)
	got := within(t, friend.reports, "the end of its script")
	require.Empty(t, got.Failed)
	require.Equal(t, friend.URL, got.Origin)
	require.Equal(t, 200, got.Put.Status, got.Put)
	require.Equal(t, kept, got.Header, "a header that no rule allows")
	require.Equal(t, kept, got.Del, "a method that no rule allows")
	require.Equal(t, 200, got.Get.Status)
	require.NotEmpty(t, got.Get.ETag, "an exposed header")
	require.Equal(t, got.Put.ETag, got.Get.ETag)
	require.Equal(t, 201, got.Post.Status, got.Post)
	require.Contains(t, got.Post.Text, "<Key>up/fetched</Key>")
	require.Equal(t, 403, got.Spoilt.Status, "the page can tell its user why")
	require.Contains(t, got.Spoilt.Text, "<Code>AccessDenied</Code>")
	back := within(t, friend.done, "where the form leads")
	require.Equal(t, []string{bucket, "up/" + name}, []string{back.Get("bucket"), back.Get("key")})

	for _, key := range []string{"by-script", "up/fetched", "up/" + name} {
		onMount, err := os.ReadFile(filepath.Join(d.Mount, bucket, key))
		require.NoError(t, err)
		require.True(t, bytes.Equal(photo, onMount), "the mount shows what was uploaded as %s", key)
		info, err := c.StatObject(ctx, bucket, key, minio.StatObjectOptions{})
		require.NoError(t, err)
		require.Equal(t, "image/jpeg", info.ContentType)
	}
	info, err := c.StatObject(ctx, bucket, "by-script", minio.StatObjectOptions{})
	require.NoError(t, err)
	require.Equal(t, "page", info.UserMetadata["From"])

	browse(t, stranger.URL)
	got = within(t, stranger.reports, "the end of its script")
	require.Empty(t, got.Failed)
	for what, answer := range map[string]seen{"put": got.Put, "delete": got.Del, "get": got.Get, "post": got.Post, "spoilt": got.Spoilt} {
		require.Equal(t, kept, answer, what)
	}
	after, err := c.StatObject(ctx, bucket, "by-script", minio.StatObjectOptions{})
	require.NoError(t, err)
	require.Equal(t, info.LastModified, after.LastModified, "what the browser asked for was not allowed, so it wrote nothing")
}

// formFields are a form's signed policy and what it is about, in the order in which they are sent.
func formFields(t *testing.T, bucket, redirect string) [][2]string {
	now := time.Now().UTC()
	day, date := now.Format("20060102"), now.Format("20060102T150405Z")
	credential := harness.AccessKey + "/" + day + "/" + harness.Region + "/s3/aws4_request"
	doc, err := json.Marshal(map[string]any{"expiration": now.Add(time.Hour).Format(time.RFC3339), "conditions": []any{
		map[string]string{"bucket": bucket}, []any{"starts-with", "$key", "up/"}, []any{"starts-with", "$Content-Type", "image/"},
		[]any{"content-length-range", 1, 1 << 20}, []any{"starts-with", "$success_action_redirect", ""}, []any{"starts-with", "$success_action_status", ""},
		map[string]string{"x-amz-credential": credential}, map[string]string{"x-amz-algorithm": "AWS4-HMAC-SHA256"}, map[string]string{"x-amz-date": date},
	}})
	require.NoError(t, err)
	policy := base64.StdEncoding.EncodeToString(doc)
	signature := []byte("AWS4" + harness.SecretKey)
	for _, part := range []string{day, harness.Region, "s3", "aws4_request", policy} {
		m := hmac.New(sha256.New, signature)
		m.Write([]byte(part))
		signature = m.Sum(nil)
	}
	return [][2]string{{"key", "up/${filename}"}, {"success_action_redirect", redirect}, {"success_action_status", ""}, {"Content-Type", "image/jpeg"},
		{"x-amz-algorithm", "AWS4-HMAC-SHA256"}, {"x-amz-credential", credential}, {"x-amz-date", date}, {"policy", policy}, {"x-amz-signature", hex.EncodeToString(signature)}}
}
