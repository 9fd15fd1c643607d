package s3api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fuzzHeaders are what the seeds of FuzzDoor send beside what chooses their route, some to each.
var fuzzHeaders = [][2]string{
	{"Range", "bytes=1-2"}, {"If-Match", `"x"`}, {"If-None-Match", "*"}, {"If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"}, {"If-Unmodified-Since", "Sun, 06 Nov 2094 08:49:37 GMT"},
	{"Content-Type", "text/plain"}, {"Content-Encoding", "aws-chunked, gzip"}, {"Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg=="}, {"Expires", "0"}, {"Origin", "http://page"}, {"Expect", "100-continue"},
	{"X-Amz-Meta-A", "=?UTF-8?Q?=C3=BC?="}, {"X-Amz-Tagging", "a=1&b"}, {"X-Amz-Acl", "public-read"}, {"X-Amz-Grant-Read", `id="x", uri="http://acs.amazonaws.com/groups/global/AllUsers"`},
	{"X-Amz-Server-Side-Encryption", "aws:kms"}, {"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "mine"}, {"X-Amz-Storage-Class", "GLACIER"}, {"X-Amz-Website-Redirect-Location", "/x"},
	{"X-Amz-Object-Lock-Mode", "GOVERNANCE"}, {"X-Amz-Object-Lock-Retain-Until-Date", "2100-01-01T00:00:00Z"}, {"X-Amz-Object-Lock-Legal-Hold", "ON"}, {"X-Amz-Bypass-Governance-Retention", "true"},
	{"X-Amz-Checksum-Algorithm", "CRC32"}, {"X-Amz-Checksum-Crc32", "AAAAAA=="}, {"X-Amz-Checksum-Type", "FULL_OBJECT"}, {"X-Amz-Checksum-Mode", "ENABLED"}, {"X-Amz-Mp-Object-Size", "1"},
	{"X-Amz-Object-Attributes", "ETag,Checksum,ObjectParts"}, {"X-Amz-Max-Parts", "1"}, {"X-Amz-Part-Number-Marker", "0"}, {"X-Amz-Copy-Source-Range", "bytes=0-0"}, {"X-Amz-Copy-Source-If-Match", "*"},
	{"X-Amz-Metadata-Directive", "REPLACE"}, {"X-Amz-Tagging-Directive", "COPY"}, {"X-Amz-Expected-Bucket-Owner", "000000000001"}, {"X-Amz-Source-Expected-Bucket-Owner", "000000000001"},
	{"X-Amz-If-Match-Size", "8"}, {"X-Amz-If-Match-Last-Modified-Time", "2015-01-01T00:00:00Z"}, {"X-Amz-Object-Ownership", "ObjectWriter"}, {"X-Amz-Bucket-Object-Lock-Enabled", "true"},
}

// fuzzSeeds are requests in bytes: of each route, bare, and with all its parameters and some of the headers.
func fuzzSeeds() (all [][]byte) {
	for i, r := range routes() {
		method, target, _ := strings.Cut(r.method+" "+pathOf(r), " ")
		target = strings.Replace(target, "uploadId=x", "uploadId=LIVEUPLOAD", 1)
		full := target
		for _, name := range strings.Fields(r.params) {
			full += map[bool]string{true: "&", false: "?"}[strings.Contains(full, "?")] + name + "=" + map[string]string{"versionId": "LIVEVERSION", "partNumber": "1"}[name]
		}
		for j, to := range []string{target, full} {
			var b bytes.Buffer
			fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: s3.example.com\r\n", method, to)
			if r.header != "" {
				fmt.Fprintf(&b, "%s: %s\r\n", r.header, map[bool]string{true: "8", false: "/bucket/source"}[r.header == writeOffset])
			}
			for n := range j * 6 {
				h := fuzzHeaders[(i*5+n*7)%len(fuzzHeaders)]
				fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
			}
			fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(bodies[r.name]), bodies[r.name])
			all = append(all, b.Bytes())
		}
	}
	return append(all, []byte("OPTIONS /bucket/key HTTP/1.1\r\nHost: x\r\nOrigin: http://page\r\nAccess-Control-Request-Method: PUT\r\n\r\n"),
		[]byte("GET /dir/ HTTP/1.1\r\nHost: bucket.web.example.com\r\n\r\n"), []byte("GET /key HTTP/1.1\r\nHost: bucket.s3.example.com\r\n\r\n"))
}

// signed signs a request that is as strange as its bytes; ok is false if it can't be.
func (w *world) signed(r *http.Request, how byte) bool {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return false
	}
	setBody(r, string(body))
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token"} {
		r.Header.Del(name)
	}
	hash := "UNSIGNED-PAYLOAD"
	if how == 1 {
		sum := sha256.Sum256(body)
		hash = hex.EncodeToString(sum[:])
	}
	if how == 3 {
		signed, _, err := newSigner().PresignHTTP(context.Background(), keys(&w.mine), r, hash, "s3", "us-east-1", time.Now())
		if err != nil {
			return false
		}
		r.URL, err = url.Parse(signed)
		return err == nil
	}
	r.Header.Set("X-Amz-Content-Sha256", hash)
	return newSigner().SignHTTP(context.Background(), keys(&w.mine), r, hash, "s3", "us-east-1", time.Now()) == nil
}

// FuzzDoor: no bytes that net/http takes for a request make the door fail, neither as they are nor when they are well
// signed (how 1: header; 2: header, unsigned body; 3: presigned).
func FuzzDoor(f *testing.F) {
	w := newWorld(f)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket?versioning", versioningOn, nil)
	w.want(200, http.MethodPut, "/bucket?ownershipControls", aclsOn, nil)
	w.want(200, http.MethodPut, "/bucket?website", bodies["PutBucketWebsite"], nil)
	version := w.headers(200, http.MethodPut, "/bucket/key", "precious", nil).Get(versionHeader)
	upload := w.createUpload("/bucket/key", nil)
	live := strings.NewReplacer("LIVEUPLOAD", upload, "LIVEVERSION", version)
	for i, raw := range fuzzSeeds() {
		for how := range byte(4) {
			if how == 1 || i%4 == int(how) {
				f.Add(raw, how)
			}
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, how byte) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(live.Replace(string(raw)))))
		if err != nil || r.Method == http.MethodConnect || how%4 != 0 && !w.signed(r, how%4) {
			return
		}
		w.fillBucket()
		r.RemoteAddr = "127.0.0.1:1"
		res := httptest.NewRecorder()
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler { // which is how an answer breaks off
				panic(p)
			}
		}()
		w.door.ServeHTTP(res, r)
		if res.Code >= 500 && res.Code != http.StatusNotImplemented {
			t.Fatalf("%d %s\n%s %s %v", res.Code, res.Body, r.Method, r.URL, r.Header)
		}
	})
}

// fillBucket puts back what requests may have taken away.
func (w *world) fillBucket() {
	ctx := context.Background()
	if _, err := w.mount().HeadObject(ctx, "bucket", "key", noOptions); err != nil {
		w.serve(http.MethodDelete, "/bucket?policy", "", nil)
		for _, at := range []string{"/bucket", "/bucket/key", "/bucket/source"} {
			w.serve(http.MethodPut, at, "precious", nil)
		}
	}
}

// TestSeedsReachEveryRoute: what FuzzDoor begins with is at least one request of each route that gets past its signature.
func TestSeedsReachEveryRoute(t *testing.T) {
	w := newBucket(t)
	seen := newWatch()
	w.seen.Store(seen)
	for _, raw := range fuzzSeeds() {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		require.NoError(t, err)
		require.True(t, w.signed(r, 1))
		w.door.ServeHTTP(httptest.NewRecorder(), r)
	}
	all := seen.take()
	for _, r := range routes() {
		require.True(t, slices.ContainsFunc(all, func(q Request) bool { return q.Operation == r.name && q.Code != "SignatureDoesNotMatch" }), r.name)
	}
}
