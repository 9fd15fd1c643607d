package s3api

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
)

func readBody(res *http.Response) string {
	b, _ := io.ReadAll(res.Body)
	return string(b)
}

func etag(s string) string {
	sum := md5.Sum([]byte(s))
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func TestObjectRoundTrip(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	for _, size := range []int{0, 1, 4096, 8192, 8193, 65536, 1 << 20, 3<<20 + 17} {
		data := string(storetest.Bytes(size, uint64(size)))
		key := fmt.Sprintf("/bucket/d/%d", size)
		status, _, h := w.do(http.MethodPut, key, data, http.Header{"Content-Type": {"text/x"}, "X-Amz-Meta-Colour": {"red"}, "Cache-Control": {"no-cache"}})
		require.Equal(t, 200, status)
		require.Equal(t, etag(data), h.Get("Etag"))
		status, got, h := w.do(http.MethodGet, key, "", nil)
		require.Equal(t, 200, status)
		require.True(t, data == got, "content of %s", key)
		require.Equal(t, "text/x", h.Get("Content-Type"))
		require.Equal(t, "no-cache", h.Get("Cache-Control"))
		require.Equal(t, "red", h.Get("X-Amz-Meta-Colour"))
		if size > 100 {
			for _, c := range []struct{ r, want string }{
				{"bytes=0-0", data[:1]}, {"bytes=10-19", data[10:20]}, {"bytes=-7", data[size-7:]},
				{fmt.Sprintf("bytes=%d-", size-3), data[size-3:]}, {"bytes=5-999999999", data[5:]},
			} {
				status, got, h = w.do(http.MethodGet, key, "", http.Header{"Range": {c.r}})
				require.Equal(t, 206, status, c.r)
				require.True(t, c.want == got, c.r)
				require.NotEmpty(t, h.Get("Content-Range"))
			}
			w.want(416, http.MethodGet, key, "", http.Header{"Range": {fmt.Sprintf("bytes=%d-", size)}})
		}
		status, got, h = w.do(http.MethodHead, key, "", nil)
		require.Equal(t, 200, status)
		require.Empty(t, got)
		require.Equal(t, fmt.Sprint(size), h.Get("Content-Length"))
	}
	w.want(409, http.MethodDelete, "/bucket", "", nil)
}

func TestConditions(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	w.want(200, http.MethodPut, "/bucket/k", "one", nil)
	tag := etag("one")
	w.want(304, http.MethodGet, "/bucket/k", "", http.Header{"If-None-Match": {tag}})
	w.want(200, http.MethodGet, "/bucket/k", "", http.Header{"If-Match": {tag}})
	w.want(412, http.MethodGet, "/bucket/k", "", http.Header{"If-Match": {`"x"`}})
	w.want(412, http.MethodPut, "/bucket/k", "two", http.Header{"If-None-Match": {"*"}})
	w.want(412, http.MethodPut, "/bucket/k", "two", http.Header{"If-Match": {`"x"`}})
	w.want(200, http.MethodPut, "/bucket/k", "two", http.Header{"If-Match": {tag}})
	w.want(404, http.MethodPut, "/bucket/none", "two", http.Header{"If-Match": {tag}})
	w.want(304, http.MethodGet, "/bucket/k", "", http.Header{"If-Modified-Since": {"Fri, 01 Jan 2100 00:00:00 GMT"}})
	w.want(412, http.MethodGet, "/bucket/k", "", http.Header{"If-Unmodified-Since": {"Sat, 01 Jan 2000 00:00:00 GMT"}})
	w.want(412, http.MethodDelete, "/bucket/k", "", http.Header{"If-Match": {tag}})
	w.want(204, http.MethodDelete, "/bucket/k", "", http.Header{"If-Match": {etag("two")}})
	w.want(404, http.MethodGet, "/bucket/k", "", nil)
	w.want(204, http.MethodDelete, "/bucket/k", "", nil)
	w.want(204, http.MethodDelete, "/bucket", "", nil)
	w.want(404, http.MethodHead, "/bucket", "", nil)
}

// Whatever S3 can name exists beside everything else, is listed in S3's order, and is read back by its name.
func TestEveryName(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	keys := []string{"a", "a/b", "a//b", "a/./c", "a/../d", ".", "..", "a-b", "/lead", "trail/", strings.Repeat("n", 300) + "/x", "ü/日本",
		"sp ace+plus&amp;<>\"'", "per%cent", "a\tb\nc", "x~y*z(1)", ".k3fs~x"}
	for _, k := range keys {
		w.want(200, http.MethodPut, "/bucket/"+url.PathEscape(k), "content of "+k, nil)
	}
	for _, k := range keys {
		require.Equal(t, "content of "+k, w.want(200, http.MethodGet, "/bucket/"+url.PathEscape(k), "", nil), "%q", k)
	}
	type page struct {
		Contents              []struct{ Key string }
		NextContinuationToken string
		IsTruncated           bool
	}
	var listed []string
	token := ""
	for {
		q := "/bucket?list-type=2&max-keys=4&encoding-type=url"
		if token != "" {
			q += "&continuation-token=" + url.QueryEscape(token)
		}
		var p page
		require.NoError(t, xml.Unmarshal([]byte(w.want(200, http.MethodGet, q, "", nil)), &p))
		for _, c := range p.Contents {
			k, err := url.QueryUnescape(c.Key)
			require.NoError(t, err)
			listed = append(listed, k)
		}
		if token = p.NextContinuationToken; !p.IsTruncated {
			break
		}
	}
	require.ElementsMatch(t, keys, listed)
	require.IsIncreasing(t, listed)
	for _, k := range keys {
		w.want(204, http.MethodDelete, "/bucket/"+url.PathEscape(k), "", nil)
	}
	w.want(204, http.MethodDelete, "/bucket", "", nil)
}

func TestMultipartCopyAndDeleteObjects(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	created := w.want(200, http.MethodPost, "/bucket/big?uploads", "", http.Header{"X-Amz-Meta-A": {"b"}})
	_, rest, _ := strings.Cut(created, "<UploadId>")
	id, _, _ := strings.Cut(rest, "</UploadId>")
	parts := []string{string(storetest.Bytes(5<<20, 1)), string(storetest.Bytes(5<<20+3, 2)), "tail"}
	doc := "<CompleteMultipartUpload>"
	for i, p := range parts {
		status, _, h := w.do(http.MethodPut, fmt.Sprintf("/bucket/big?partNumber=%d&uploadId=%s", i+1, id), p, nil)
		require.Equal(t, 200, status)
		doc += fmt.Sprintf("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, h.Get("Etag"))
	}
	doc += "</CompleteMultipartUpload>"
	require.Contains(t, w.want(200, http.MethodGet, "/bucket/big?uploadId="+id, "", nil), "<PartNumber>3</PartNumber>")
	require.Contains(t, w.want(200, http.MethodGet, "/bucket?uploads", "", nil), id)
	w.want(404, http.MethodGet, "/bucket/big", "", nil)
	w.want(400, http.MethodPost, "/bucket/big?uploadId="+id, strings.Replace(doc, "<PartNumber>2<", "<PartNumber>7<", 1), nil)
	w.want(400, http.MethodPost, "/bucket/big?uploadId="+id, "<Complete", nil)
	done := w.want(200, http.MethodPost, "/bucket/big?uploadId="+id, doc, nil)
	require.Contains(t, done, "-3")
	whole := strings.Join(parts, "")
	require.True(t, whole == w.want(200, http.MethodGet, "/bucket/big", "", nil))
	w.want(404, http.MethodDelete, "/bucket/big?uploadId="+id, "", nil)

	w.want(200, http.MethodPut, "/bucket/copy%20of", "", http.Header{"X-Amz-Copy-Source": {"/bucket/big"}})
	require.True(t, whole == w.want(200, http.MethodGet, "/bucket/copy%20of", "", nil))
	w.want(400, http.MethodPut, "/bucket/big", "", http.Header{"X-Amz-Copy-Source": {"/bucket/big"}})
	w.want(404, http.MethodPut, "/bucket/c", "", http.Header{"X-Amz-Copy-Source": {"/bucket/absent"}})

	out := w.want(200, http.MethodPost, "/bucket?delete", "<Delete><Object><Key>big</Key></Object><Object><Key>copy of</Key></Object><Object><Key>absent</Key></Object></Delete>", nil)
	require.Equal(t, 3, strings.Count(out, "<Deleted>"))
	w.want(204, http.MethodDelete, "/bucket", "", nil)
}

// A header that asks for what is not offered is refused, never dropped.
func TestRefusedHeaders(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	for _, name := range refused {
		w.want(501, http.MethodPut, "/bucket/k", "x", http.Header{name: {"something"}})
	}
	w.want(400, http.MethodPut, "/bucket/k", "x", http.Header{"X-Amz-Acl": {"public-read"}})
	w.want(400, http.MethodPut, "/bucket/k", "x", http.Header{"X-Amz-Acl": {"publik"}})
	for name := range takenBy {
		w.want(501, http.MethodGet, "/bucket/k", "", http.Header{name: {"something"}})
	}
	w.want(400, http.MethodPut, "/bucket/k", "x", http.Header{sseHeader: {"aws:kms"}, sseKeyHeader: {"another's"}})
	w.want(400, http.MethodPut, "/bucket/k", "x", http.Header{sseCustomer + "Algorithm": {"AES256"}})
	w.want(400, http.MethodPut, "/bucket/k", "x", http.Header{storageHeader: {"TAPE"}})
	w.want(403, http.MethodPut, "/bucket/k", "x", http.Header{"X-Amz-Expected-Bucket-Owner": {"123456789012"}})
	w.want(404, http.MethodGet, "/bucket/k", "", nil)
}

func TestListing(t *testing.T) {
	w := newWorld(t)
	w.want(200, http.MethodPut, "/bucket", "", nil)
	for _, k := range []string{"a/1", "a/2", "b", "c/d/e", "c/f"} {
		w.want(200, http.MethodPut, "/bucket/"+k, k, nil)
	}
	type page struct {
		Contents       []struct{ Key, ETag string }
		CommonPrefixes []struct{ Prefix string }
		IsTruncated    bool
		NextMarker     string
		KeyCount       int
	}
	get := func(q string) (p page, keys, prefixes []string) {
		require.NoError(t, xml.Unmarshal([]byte(w.want(200, http.MethodGet, "/bucket?"+q, "", nil)), &p))
		for _, c := range p.Contents {
			keys = append(keys, c.Key)
		}
		for _, c := range p.CommonPrefixes {
			prefixes = append(prefixes, c.Prefix)
		}
		return p, keys, prefixes
	}
	_, keys, prefixes := get("delimiter=/")
	require.Equal(t, []string{"b"}, keys)
	require.Equal(t, []string{"a/", "c/"}, prefixes)
	p, keys, prefixes := get("delimiter=/&max-keys=1")
	require.True(t, p.IsTruncated)
	require.Empty(t, keys)
	require.Equal(t, []string{"a/"}, prefixes)
	_, keys, prefixes = get("delimiter=/&max-keys=1&marker=" + p.NextMarker)
	require.Equal(t, []string{"b"}, keys)
	require.Empty(t, prefixes)
	_, keys, _ = get("prefix=c/&list-type=2&start-after=c/d/e")
	require.Equal(t, []string{"c/f"}, keys)
	p, _, _ = get("list-type=2&max-keys=0")
	require.False(t, p.IsTruncated)
	require.Zero(t, p.KeyCount)
	w.want(400, http.MethodGet, "/bucket?max-keys=-1", "", nil)
	w.want(400, http.MethodGet, "/bucket?list-type=2&continuation-token=%25", "", nil)
	w.want(404, http.MethodGet, "/nobucket", "", nil)
	require.Contains(t, w.want(200, http.MethodGet, "/", "", nil), "<Name>bucket</Name>")
	require.Contains(t, w.want(200, http.MethodGet, "/bucket?location", "", nil), "LocationConstraint")
}
