package s3api

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
	"k3fs/namespace"
	"k3fs/tenancy"
)

// The tests here assert what the S3 API reference says of each action, and for what is written, what the mount
// shows of it.

// h makes headers of pairs.
func h(pairs ...string) http.Header {
	out := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		out.Set(pairs[i], pairs[i+1])
	}
	return out
}

// refuse makes a request that must fail with a status and a code.
func (w *world) refuse(status int, want, method, path, body string, header http.Header) {
	w.t.Helper()
	got, text, _ := w.do(method, path, body, header)
	require.Equal(w.t, status, got, "%s %s: %s", method, path, text)
	if method != http.MethodHead {
		require.Equal(w.t, want, code(strings.NewReader(text)), "%s %s", method, path)
	}
}

// headers makes a request that must succeed, and returns the answer's headers.
func (w *world) headers(status int, method, path, body string, header http.Header) http.Header {
	w.t.Helper()
	got, text, out := w.do(method, path, body, header)
	require.Equal(w.t, status, got, "%s %s: %s", method, path, text)
	return out
}

// mount is the view of the first tenant's mount.
func (w *world) mount() *namespace.View { return w.fs.As(tenancy.Root(tenancy.FirstTenant)) }

// shown is what the mount shows at a path: a file's bytes, or nothing and false.
func (w *world) shown(path ...string) (string, bool) {
	w.t.Helper()
	ino := namespace.RootIno
	for _, name := range path {
		a, err := w.mount().Lookup(w.t.Context(), ino, name)
		if err != nil {
			return "", false
		}
		ino = a.Ino
	}
	f, err := w.mount().Open(w.t.Context(), ino, namespace.OpenFlags{Read: true})
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, f.Close(w.t.Context())) }()
	buf := make([]byte, 16<<20)
	n, err := f.ReadAt(w.t.Context(), buf, 0)
	require.NoError(w.t, err)
	return string(buf[:n]), true
}

// write puts a file into a bucket's directory through the mount.
func (w *world) write(bucket, name, data string) {
	w.t.Helper()
	ctx := w.t.Context()
	dir, err := w.mount().Lookup(ctx, namespace.RootIno, bucket)
	require.NoError(w.t, err)
	_, f, err := w.mount().Create(ctx, dir.Ino, name, namespace.NewNode{Mode: 0o644}, namespace.OpenFlags{Write: true, Trunc: true})
	require.NoError(w.t, err)
	_, err = f.WriteAt(ctx, []byte(data), 0)
	require.NoError(w.t, err)
	require.NoError(w.t, f.Flush(ctx))
	require.NoError(w.t, f.Close(ctx))
}

func newBucket(t *testing.T) *world {
	w := newWorld(t)
	w.want(200, "PUT", "/bucket", "", nil)
	return w
}

func crc(data string) string {
	s := crc32.ChecksumIEEE([]byte(data))
	return base64.StdEncoding.EncodeToString([]byte{byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)})
}

func TestObjectTagging(t *testing.T) {
	w := newBucket(t)
	out := w.headers(200, "PUT", "/bucket/k", "x", h("x-amz-tagging", "b=2&a=%C3%BC+1&c"))
	require.Empty(t, out.Get("X-Amz-Tagging-Count"))
	require.Equal(t, "3", w.headers(200, "HEAD", "/bucket/k", "", nil).Get("X-Amz-Tagging-Count"))
	tagSet := "<TagSet><Tag><Key>a</Key><Value>ü 1</Value></Tag><Tag><Key>b</Key><Value>2</Value></Tag><Tag><Key>c</Key><Value></Value></Tag></TagSet>"
	require.Contains(t, w.want(200, "GET", "/bucket/k?tagging", "", nil), tagSet)

	doc := func(n, key, value int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "<Tag><Key>%s%d</Key><Value>%s</Value></Tag>", strings.Repeat("k", key-1), i, strings.Repeat("v", value))
		}
		return "<Tagging><TagSet>" + b.String() + "</TagSet></Tagging>"
	}
	w.want(200, "PUT", "/bucket/k?tagging", doc(10, 128, 256), nil)
	for name, bad := range map[string]string{
		"many": doc(11, 2, 0), "key": doc(1, 129, 0), "value": doc(1, 2, 257), "system": "<Tagging><TagSet><Tag><Key>aws:x</Key><Value/></Tag></TagSet></Tagging>",
		"twice": "<Tagging><TagSet><Tag><Key>a</Key><Value/></Tag><Tag><Key>a</Key><Value/></Tag></TagSet></Tagging>", "char": "<Tagging><TagSet><Tag><Key>a;</Key><Value/></Tag></TagSet></Tagging>",
	} {
		t.Log(name)
		w.refuse(400, "InvalidTag", "PUT", "/bucket/k?tagging", bad, nil)
	}
	w.refuse(400, "MalformedXML", "PUT", "/bucket/k?tagging", "", nil)
	w.refuse(400, "InvalidTag", "PUT", "/bucket/k", "x", h("x-amz-tagging", "a=1&a=2"))
	w.refuse(400, "InvalidArgument", "PUT", "/bucket/k", "x", h("x-amz-tagging", "a=%zz"))
	require.Equal(t, "10", w.headers(200, "HEAD", "/bucket/k", "", nil).Get("X-Amz-Tagging-Count"))
	w.want(204, "DELETE", "/bucket/k?tagging", "", nil)
	require.Contains(t, w.want(200, "GET", "/bucket/k?tagging", "", nil), "<TagSet></TagSet>")
	w.refuse(404, "NoSuchKey", "PUT", "/bucket/none?tagging", doc(1, 2, 1), nil)
}

func TestCopyDirectives(t *testing.T) {
	w := newBucket(t)
	w.headers(200, "PUT", "/bucket/s", "data", h("x-amz-meta-m", "1", "x-amz-tagging", "t=1", "Cache-Control", "no-store",
		"x-amz-website-redirect-location", "/there", "x-amz-storage-class", "GLACIER"))
	src := "x-amz-copy-source"
	get := func() http.Header { return w.headers(200, "HEAD", "/bucket/d", "", nil) }

	w.want(200, "PUT", "/bucket/d", "", h(src, "/bucket/s", "x-amz-meta-m", "ignored", "x-amz-tagging", "ignored=1"))
	o := get()
	require.Equal(t, []string{"1", "no-store", "1", "", ""}, []string{o.Get("X-Amz-Meta-M"), o.Get("Cache-Control"), o.Get("X-Amz-Tagging-Count"),
		o.Get("X-Amz-Website-Redirect-Location"), o.Get("X-Amz-Storage-Class")}, "redirect and class are not copied")
	data, _ := w.shown("bucket", "d")
	require.Equal(t, "data", data)

	w.want(200, "PUT", "/bucket/d", "", h(src, "/bucket/s", "x-amz-metadata-directive", "REPLACE", "x-amz-tagging-directive", "REPLACE",
		"x-amz-tagging", "a=1&b=2", "x-amz-meta-n", "2", "x-amz-storage-class", "STANDARD_IA", "x-amz-checksum-algorithm", "CRC32"))
	o = get()
	require.Equal(t, []string{"", "2", "", "2", "STANDARD_IA"}, []string{o.Get("X-Amz-Meta-M"), o.Get("X-Amz-Meta-N"), o.Get("Cache-Control"),
		o.Get("X-Amz-Tagging-Count"), o.Get("X-Amz-Storage-Class")})
	require.Equal(t, crc("data"), w.headers(200, "HEAD", "/bucket/d", "", h("x-amz-checksum-mode", "ENABLED")).Get("X-Amz-Checksum-Crc32"))
	require.Contains(t, w.want(200, "GET", "/bucket?list-type=2", "", nil), "<StorageClass>STANDARD_IA</StorageClass>")

	w.refuse(400, "InvalidRequest", "PUT", "/bucket/d", "", h(src, "/bucket/d"))
	w.want(200, "PUT", "/bucket/d", "", h(src, "/bucket/d", "x-amz-storage-class", "STANDARD"))
	require.Empty(t, get().Get("X-Amz-Storage-Class"))
	w.refuse(400, "InvalidArgument", "PUT", "/bucket/d", "", h(src, "/bucket/s", "x-amz-metadata-directive", "KEEP"))
	w.refuse(412, "PreconditionFailed", "PUT", "/bucket/d", "", h(src, "/bucket/s", "x-amz-copy-source-if-match", `"x"`))
	w.refuse(412, "PreconditionFailed", "PUT", "/bucket/d", "", h(src, "/bucket/s", "x-amz-copy-source-if-none-match", etag("data")))
	w.refuse(412, "PreconditionFailed", "PUT", "/bucket/d", "", h(src, "/bucket/s", "If-None-Match", "*"))
	w.refuse(404, "NoSuchKey", "PUT", "/bucket/d", "", h(src, "/bucket/none"))
	w.refuse(400, "InvalidArgument", "PUT", "/bucket/d", "", h(src, "/bucket"))
}

func TestConditionalDeletes(t *testing.T) {
	w := newBucket(t)
	past := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	for _, c := range []struct {
		header, bad, good string
	}{
		{"If-Match", `"other"`, etag("x")}, {"If-Match", `"other"`, "*"}, {"x-amz-if-match-size", "2", "1"}, {"x-amz-if-match-last-modified-time", past, ""},
	} {
		w.want(200, "PUT", "/bucket/k", "x", nil)
		if c.good == "" {
			c.good = w.headers(200, "HEAD", "/bucket/k", "", nil).Get("Last-Modified")
		}
		w.refuse(412, "PreconditionFailed", "DELETE", "/bucket/k", "", h(c.header, c.bad))
		_, there := w.shown("bucket", "k")
		require.True(t, there)
		w.want(204, "DELETE", "/bucket/k", "", h(c.header, c.good))
		_, there = w.shown("bucket", "k")
		require.False(t, there)
		if c.header == "If-Match" { // which asks for an object
			w.refuse(412, "PreconditionFailed", "DELETE", "/bucket/k", "", h(c.header, c.bad))
			w.refuse(412, "PreconditionFailed", "DELETE", "/bucket/k", "", h(c.header, "*"))
			continue
		}
		w.want(204, "DELETE", "/bucket/k", "", h(c.header, c.bad)) // true of what is gone
	}
	w.refuse(400, "InvalidArgument", "DELETE", "/bucket/k", "", h("x-amz-if-match-size", "-1"))

	for _, k := range []string{"a", "b", "c", "d"} {
		w.want(200, "PUT", "/bucket/"+k, "x", nil)
	}
	out := w.want(200, "POST", "/bucket?delete", `<Delete><Object><Key>a</Key><ETag>`+etag("x")+`</ETag></Object><Object><Key>b</Key><ETag>y</ETag></Object>`+
		`<Object><Key>c</Key><Size>7</Size></Object><Object><Key>d</Key><LastModifiedTime>2015-01-01T00:00:00Z</LastModifiedTime></Object></Delete>`, nil)
	require.Equal(t, 3, strings.Count(out, "<Code>PreconditionFailed</Code>"), out)
	require.Contains(t, out, "<Deleted><Key>a</Key></Deleted>")
}

func TestReadsOfParts(t *testing.T) {
	w := newBucket(t)
	parts := []string{string(storetest.Bytes(5<<20, 1)), string(storetest.Bytes(5<<20+3, 2)), "tail"}
	id := w.createUpload("/bucket/m", h("x-amz-checksum-algorithm", "CRC32", "x-amz-tagging", "t=1", "x-amz-storage-class", "STANDARD_IA"))
	var doc strings.Builder
	sums := md5.New()
	for i, data := range parts {
		n := i*2 + 1
		out := w.headers(200, "PUT", fmt.Sprintf("/bucket/m?partNumber=%d&uploadId=%s", n, id), data, h("x-amz-checksum-crc32", crc(data)))
		require.Equal(t, etag(data), out.Get("Etag"))
		sum := md5.Sum([]byte(data))
		sums.Write(sum[:])
		fmt.Fprintf(&doc, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag><ChecksumCRC32>%s</ChecksumCRC32></Part>", n, out.Get("Etag"), crc(data))
	}
	w.refuse(400, "InvalidRequest", "PUT", "/bucket/m?partNumber=9&uploadId="+id, "x", h("x-amz-checksum-sha1", "EfauVfl20l4PTxLXSkGxLHJOUdo="))
	whole := "<CompleteMultipartUpload>" + doc.String() + "</CompleteMultipartUpload>"
	w.refuse(400, "BadDigest", "POST", "/bucket/m?uploadId="+id, whole, h("x-amz-mp-object-size", "1"))
	_, there := w.shown("bucket", "m")
	require.False(t, there, "nothing is there before it is complete")
	answer := w.want(200, "POST", "/bucket/m?uploadId="+id, whole, nil)
	require.Contains(t, answer, "<ChecksumType>COMPOSITE</ChecksumType>")
	require.Equal(t, answer, w.want(200, "POST", "/bucket/m?uploadId="+id, whole, nil), "a retry gets the same answer")
	data, _ := w.shown("bucket", "m")
	require.True(t, data == strings.Join(parts, ""), "the mount shows it all")

	for i, data := range parts {
		status, got, out := w.do("GET", fmt.Sprintf("/bucket/m?partNumber=%d", i*2+1), "", h("x-amz-checksum-mode", "ENABLED"))
		require.Equal(t, 206, status)
		require.True(t, data == got)
		require.Equal(t, "COMPOSITE", out.Get("X-Amz-Checksum-Type"))
		require.Equal(t, []string{"3", `"` + hex.EncodeToString(sums.Sum(nil)) + `-3"`, crc(data), "1", "STANDARD_IA"}, []string{out.Get("X-Amz-Mp-Parts-Count"),
			out.Get("Etag"), out.Get("X-Amz-Checksum-Crc32"), out.Get("X-Amz-Tagging-Count"), out.Get("X-Amz-Storage-Class")})
		require.NotEmpty(t, out.Get("Content-Range"))
	}
	w.refuse(400, "InvalidPart", "GET", "/bucket/m?partNumber=2", "", nil)
	w.refuse(400, "InvalidArgument", "GET", "/bucket/m?partNumber=0", "", nil)
	w.refuse(400, "InvalidRequest", "GET", "/bucket/m?partNumber=1", "", h("Range", "bytes=0-1"))

	attributes := h("x-amz-object-attributes", "ETag,Checksum,ObjectParts,StorageClass,ObjectSize", "x-amz-max-parts", "1", "x-amz-part-number-marker", "1")
	got := w.want(200, "GET", "/bucket/m?attributes", "", attributes)
	for _, want := range []string{"<PartsCount>3</PartsCount>", "<PartNumberMarker>1</PartNumberMarker>", "<NextPartNumberMarker>3</NextPartNumberMarker>",
		"<IsTruncated>true</IsTruncated>", "<Part><PartNumber>3</PartNumber><Size>5242883</Size><ChecksumCRC32>" + crc(parts[1]) + "</ChecksumCRC32></Part>",
		"<StorageClass>STANDARD_IA</StorageClass>", "<ObjectSize>10485767</ObjectSize>", "<ETag>" + hex.EncodeToString(sums.Sum(nil)) + "-3</ETag>"} {
		require.Contains(t, got, want)
	}
	w.refuse(400, "InvalidArgument", "GET", "/bucket/m?attributes", "", h("x-amz-object-attributes", "Colour"))
	w.refuse(404, "NoSuchKey", "GET", "/bucket/none?attributes", "", attributes)

	w.want(200, "PUT", "/bucket/plain", "plain", nil)
	require.Equal(t, "plain", w.want(206, "GET", "/bucket/plain?partNumber=1", "", nil))
	w.refuse(400, "InvalidPart", "HEAD", "/bucket/plain?partNumber=2", "", nil)
	require.NotContains(t, w.want(200, "GET", "/bucket/plain?attributes", "", attributes), "ObjectParts")
}

func (w *world) createUpload(path string, header http.Header) string {
	w.t.Helper()
	var doc struct {
		ID string `xml:"UploadId"`
	}
	require.NoError(w.t, xml.Unmarshal([]byte(w.want(200, "POST", path+"?uploads", "", header)), &doc))
	return doc.ID
}

// A part that was copied has the MD5 of its bytes, and so the object has the ETag that S3 gives.
func TestCopiedPartsHaveRealETags(t *testing.T) {
	w := newBucket(t)
	data := string(storetest.Bytes(6<<20, 5))
	w.want(200, "PUT", "/bucket/s", data, nil)
	w.write("bucket", "mounted", data)
	for _, src := range []string{"s", "mounted"} {
		id := w.createUpload("/bucket/d", h("x-amz-checksum-algorithm", "CRC32", "x-amz-checksum-type", "FULL_OBJECT"))
		var doc strings.Builder
		for n, r := range []string{"bytes=0-5242879", "bytes=5242880-6291455"} {
			from, to := [2]int{0, 5 << 20}[n], [2]int{5 << 20, 6 << 20}[n]
			got := w.want(200, "PUT", fmt.Sprintf("/bucket/d?partNumber=%d&uploadId=%s", n+1, id), "", h("x-amz-copy-source", "bucket/"+src, "x-amz-copy-source-range", r))
			require.Contains(t, got, strings.ReplaceAll(etag(data[from:to]), `"`, "&#34;"))
			require.Contains(t, got, crc(data[from:to]))
			fmt.Fprintf(&doc, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", n+1, etag(data[from:to]))
		}
		for r, c := range map[string]string{"bytes=0-6291456": "InvalidRange", "0-1": "InvalidArgument", "bytes=5-": "InvalidArgument", "bytes=2-1": "InvalidArgument"} {
			got, text, _ := w.do("PUT", "/bucket/d?partNumber=3&uploadId="+id, "", h("x-amz-copy-source", "bucket/"+src, "x-amz-copy-source-range", r))
			require.GreaterOrEqual(t, got, 400)
			require.Equal(t, c, code(strings.NewReader(text)), r)
		}
		got := w.want(200, "POST", "/bucket/d?uploadId="+id, "<CompleteMultipartUpload>"+doc.String()+"</CompleteMultipartUpload>", nil)
		require.Contains(t, got, "<ChecksumCRC32>"+crc(data)+"</ChecksumCRC32>")
		require.True(t, data == w.want(200, "GET", "/bucket/d", "", nil))
	}
}

func TestAppendAndRename(t *testing.T) {
	w := newBucket(t)
	off := "x-amz-write-offset-bytes"
	require.Equal(t, "3", w.headers(200, "PUT", "/bucket/log/a", "one", h(off, "0", "x-amz-meta-m", "1")).Get("X-Amz-Object-Size"))
	first := w.headers(200, "HEAD", "/bucket/log/a", "", nil)
	out := w.headers(200, "PUT", "/bucket/log/a", "two", h(off, "3"))
	require.Equal(t, "6", out.Get("X-Amz-Object-Size"))
	require.NotEqual(t, first.Get("Etag"), out.Get("Etag"))
	w.refuse(400, "InvalidWriteOffset", "PUT", "/bucket/log/a", "x", h(off, "3"))
	w.refuse(404, "NoSuchKey", "PUT", "/bucket/log/b", "x", h(off, "1"))
	w.refuse(400, "InvalidArgument", "PUT", "/bucket/log/a", "x", h(off, "-1"))
	w.refuse(412, "PreconditionFailed", "PUT", "/bucket/log/a", "x", h(off, "6", "If-Match", first.Get("Etag")))
	require.Equal(t, "onetwo", w.want(200, "GET", "/bucket/log/a", "", nil))
	require.Equal(t, "1", w.headers(200, "HEAD", "/bucket/log/a", "", nil).Get("X-Amz-Meta-M"))
	data, _ := w.shown("bucket", "log", "a")
	require.Equal(t, "onetwo", data)

	from := "x-amz-rename-source"
	w.want(200, "PUT", "/bucket/taken", "old", nil)
	w.refuse(412, "PreconditionFailed", "PUT", "/bucket/taken?renameObject", "", h(from, "/bucket/log/a", "If-None-Match", "*"))
	w.refuse(412, "PreconditionFailed", "PUT", "/bucket/taken?renameObject", "", h(from, "/bucket/log/a", "x-amz-rename-source-if-match", `"x"`))
	w.refuse(400, "InvalidArgument", "PUT", "/bucket/x?renameObject", "", h(from, "/other/log/a"))
	w.refuse(404, "NoSuchKey", "PUT", "/bucket/x?renameObject", "", h(from, "/bucket/none"))
	w.want(200, "PUT", "/bucket/taken?renameObject", "", h(from, "/bucket/log/a"))
	require.Equal(t, "onetwo", w.want(200, "GET", "/bucket/taken", "", nil))
	w.refuse(404, "NoSuchKey", "GET", "/bucket/log/a", "", nil)
	data, _ = w.shown("bucket", "taken")
	require.Equal(t, "onetwo", data)
	_, there := w.shown("bucket", "log")
	require.False(t, there, "the directory that S3 made is gone")
}

func TestEncryptionHeaders(t *testing.T) {
	w := newBucket(t)
	sse, key := "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"
	told := func() []string {
		out := w.headers(200, "HEAD", "/bucket/k", "", nil)
		return []string{out.Get(sse), out.Get(key)}
	}
	w.want(200, "PUT", "/bucket/k", "x", nil)
	require.Equal(t, []string{"AES256", ""}, told(), "everything is encrypted")
	w.want(200, "PUT", "/bucket/k", "x", h(sse, "aws:kms", key, "mine"))
	require.Equal(t, []string{"aws:kms", "mine"}, told())
	arn := "arn:aws:kms:eu-west-1:" + tenancy.FirstTenant.AccountID() + ":key/mine"
	w.want(200, "PUT", "/bucket/k", "x", h(sse, "aws:kms", key, arn))
	require.Equal(t, []string{"aws:kms", arn}, told())
	w.want(200, "PUT", "/bucket/k", "x", h(sse, "aws:kms"))
	require.Contains(t, told()[1], tenancy.FirstTenant.KMSKeyID())
	w.want(200, "PUT", "/bucket/c", "", h("x-amz-copy-source", "/bucket/k"))
	require.Equal(t, "AES256", w.headers(200, "HEAD", "/bucket/c", "", nil).Get(sse), "a copy does not take its source's")
	id := w.createUpload("/bucket/k", h(sse, "aws:kms", key, "mine"))
	w.want(204, "DELETE", "/bucket/k?uploadId="+id, "", nil)

	for _, bad := range []http.Header{h(sse, "aws:kms", key, "theirs"), h(sse, "aws:kms", key, "arn:aws:kms:eu-west-1:000000000002:key/mine"),
		h(sse, "aws:kms", key, "arn:aws:s3:::bucket"), h(sse, "rot13"), h(sse, "AES256", key, "mine"), h(key, "mine"), h(sse+"-customer-algorithm", "AES256"),
		h(sse, "AES256", sse+"-customer-algorithm", "AES256"), h(sse+"-customer-key", "x"), h("x-amz-copy-source-server-side-encryption-customer-key", "x")} {
		w.want(400, "PUT", "/bucket/new", "x", bad)
		_, there := w.shown("bucket", "new")
		require.False(t, there)
	}
	w.refuse(400, "InvalidArgument", "GET", "/bucket/k", "", h(sse, "AES256"))

	// What the bucket is configured for is what a write gets that asks for nothing.
	w.want(200, "PUT", "/bucket?encryption", `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>`+
		`<KMSMasterKeyID>mine</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`, nil)
	w.want(200, "PUT", "/bucket/k", "x", nil)
	require.Equal(t, []string{"aws:kms", "mine"}, told())
	w.want(200, "PUT", "/bucket/k", "x", h(sse, "AES256"))
	require.Equal(t, []string{"AES256", ""}, told())
}

func TestMetadata(t *testing.T) {
	w := newBucket(t)
	for sent, back := range map[string]string{"plain": "plain", "grün": "=?UTF-8?b?Z3LDvG4=?=", "=?UTF-8?Q?gr=C3=BCn?=": "=?UTF-8?b?Z3LDvG4=?=",
		"=?UTF-8?B?Z3LDvG4=?=": "=?UTF-8?b?Z3LDvG4=?=", "=?x?": "=?x?", "=?UTF-8?Q?a=0D=0Ab=C3=BC?=": "=?UTF-8?Q?a=0D=0Ab=C3=BC?="} {
		w.want(200, "PUT", "/bucket/k", "x", h("x-amz-meta-m", sent))
		require.Equal(t, back, w.headers(200, "HEAD", "/bucket/k", "", nil).Get("X-Amz-Meta-M"), sent)
	}
	for _, e := range [][2]string{{"deflate, gzip", "deflate, gzip"}, {"aws-chunked, gzip", "gzip"}, {"gzip,aws-chunked", "gzip"}, {"aws-chunked", ""}} {
		w.want(200, "PUT", "/bucket/k", "x", h("Content-Encoding", e[0]))
		require.Equal(t, e[1], w.headers(200, "HEAD", "/bucket/k", "", nil).Get("Content-Encoding"))
	}
	w.want(200, "PUT", "/bucket/k", "x", h("x-amz-meta-"+strings.Repeat("n", 48), strings.Repeat("v", 2000)))
	w.refuse(400, "MetadataTooLarge", "PUT", "/bucket/k", "x", h("x-amz-meta-"+strings.Repeat("n", 49), strings.Repeat("v", 2000)))
	for _, to := range []string{"/here", "http://x/", "https://x/"} {
		w.want(200, "PUT", "/bucket/k", "x", h("x-amz-website-redirect-location", to))
		require.Equal(t, to, w.headers(200, "HEAD", "/bucket/k", "", nil).Get("X-Amz-Website-Redirect-Location"))
	}
	w.refuse(400, "InvalidRedirectLocation", "PUT", "/bucket/k", "x", h("x-amz-website-redirect-location", "there"))

	out := w.headers(200, "GET", "/bucket/k?response-content-type=a%2Fb&response-expires=never&response-cache-control=c&response-content-disposition=d&response-content-encoding=e&response-content-language=l", "", nil)
	require.Equal(t, []string{"a/b", "never", "c", "d", "e", "l"}, []string{out.Get("Content-Type"), out.Get("Expires"), out.Get("Cache-Control"),
		out.Get("Content-Disposition"), out.Get("Content-Encoding"), out.Get("Content-Language")})
}

// Every key that S3 permits is there after a PUT, in its place in the listing, and none stands for another.
func TestKeysRoundTrip(t *testing.T) {
	w := newBucket(t)
	keys := []string{"a", "a-b", "a/b", "a0", "f", "f/", "g//b", "g/../d", "g/./d", "g/", "/", "//", "..", ".", "+ %", "q?x=1&y", "\u00fc", "u\u0308", "\U0001F600",
		"\x01\t\n", "\x7f", "z" + strings.Repeat("y", 1023), ".k3fs~a", "a\\b", "<&>'\"", "#", "tail "}
	for i, k := range keys {
		w.want(200, "PUT", "/bucket/"+escape(k), fmt.Sprint(i), nil)
	}
	for i, k := range keys {
		require.Equal(t, fmt.Sprint(i), w.want(200, "GET", "/bucket/"+escape(k), "", nil), "%q", k)
	}
	slices.Sort(keys)
	for _, page := range []int{1, 4, 1000} {
		var got []string
		token := ""
		for {
			var doc struct {
				Contents []struct{ Key string }
				Next     string `xml:"NextContinuationToken"`
			}
			text := w.want(200, "GET", fmt.Sprintf("/bucket?list-type=2&encoding-type=url&max-keys=%d%s", page, token), "", nil)
			require.NoError(t, xml.Unmarshal([]byte(text), &doc))
			for _, c := range doc.Contents {
				k, err := url.PathUnescape(c.Key)
				require.NoError(t, err)
				got = append(got, k)
			}
			if doc.Next == "" {
				break
			}
			token = "&continuation-token=" + url.QueryEscape(doc.Next)
		}
		require.Equal(t, keys, got, "pages of %d", page)
	}
	for i, k := range keys {
		w.want(204, "DELETE", "/bucket/"+escape(k), "", nil)
		if i%5 == 0 {
			require.Equal(t, len(keys)-i-1, strings.Count(w.want(200, "GET", "/bucket?encoding-type=url", "", nil), "<Contents>"))
		}
	}
	w.refuse(400, "KeyTooLongError", "PUT", "/bucket/"+strings.Repeat("k", 1025), "", nil)
	w.want(204, "DELETE", "/bucket", "", nil)
}

// escape encodes a key for a path, every byte that could mean something.
func escape(key string) string {
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; c >= 'a' && c <= 'z' || c == '/' || c >= '0' && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func TestListingEdges(t *testing.T) {
	w := newBucket(t)
	for _, k := range []string{"a b", "p+q/x", "photos/2006/a", "photos/2006/b", "photos/2007/a", "sample"} {
		w.want(200, "PUT", "/bucket/"+escape(k), "x", nil)
	}
	for query, want := range map[string][]string{
		"delimiter=/":                          {"<Key>a b</Key>", "<Key>sample</Key>", "<CommonPrefixes><Prefix>p+q/</Prefix></CommonPrefixes>", "<Prefix>photos/</Prefix>"},
		"delimiter=/&encoding-type=url":        {"<Key>a%20b</Key>", "<Prefix>p%2Bq/</Prefix>", "<EncodingType>url</EncodingType>", "<Delimiter>/</Delimiter>"},
		"delimiter=2006&prefix=photos/":        {"<CommonPrefixes><Prefix>photos/2006</Prefix></CommonPrefixes><", "<Key>photos/2007/a</Key>"},
		"max-keys=0":                           {"<IsTruncated>false</IsTruncated>", "<MaxKeys>0</MaxKeys>"},
		"max-keys=1&delimiter=/&marker=a%20b":  {"<IsTruncated>true</IsTruncated>", "<NextMarker>p+q/</NextMarker>"},
		"prefix=%0A&encoding-type=url":         {"<Prefix>&#xA;</Prefix>"},
		"list-type=2&continuation-token=":      {"<ContinuationToken></ContinuationToken>", "<KeyCount>6</KeyCount>"},
		"list-type=2&start-after=photos/2007":  {"<KeyCount>2</KeyCount>", "<StartAfter>photos/2007</StartAfter>"},
		"list-type=2&fetch-owner=true":         {"<Owner><ID>" + tenancy.FirstTenant.Canonical() + "</ID>"},
		"list-type=2&max-keys=4000":            {"<MaxKeys>1000</MaxKeys>"},
		"list-type=2&delimiter=/&prefix=photo": {"<KeyCount>1</KeyCount>", "<CommonPrefixes><Prefix>photos/</Prefix></CommonPrefixes>"},
	} {
		got := w.want(200, "GET", "/bucket?"+query, "", nil)
		for _, s := range want {
			require.Contains(t, got, s, query)
		}
	}
	require.NotContains(t, w.want(200, "GET", "/bucket?list-type=2", "", nil), "<Owner>")
	for _, bad := range []string{"max-keys=x", "max-keys=-1", "encoding-type=base64", "list-type=3", "list-type=2&continuation-token=%2B%2B"} {
		w.refuse(400, "InvalidArgument", "GET", "/bucket?"+bad, "", nil)
	}
}

// What the mount wrote is an object like any other: listed, described, read in part, summed, copied.
func TestMountedContentIsAnObject(t *testing.T) {
	w := newBucket(t)
	w.write("bucket", "f", "hello")
	first := w.headers(200, "HEAD", "/bucket/f", "", nil).Get("Etag")
	require.Equal(t, "ell", w.want(206, "GET", "/bucket/f", "", h("Range", "bytes=1-3")))
	sum := w.headers(200, "GET", "/bucket/f", "", h("x-amz-checksum-mode", "ENABLED")).Get("X-Amz-Checksum-Crc64nvme")
	require.NotEmpty(t, sum)
	require.Contains(t, w.want(200, "GET", "/bucket/f?attributes", "", h("x-amz-object-attributes", "Checksum")), sum)
	w.want(200, "PUT", "/bucket/g", "", h("x-amz-copy-source", "bucket/f"))
	require.Equal(t, "hello", w.want(200, "GET", "/bucket/g", "", h("If-Match", first)))

	w.write("bucket", "f", "HELLO!")
	now := w.headers(200, "GET", "/bucket/f", "", h("x-amz-checksum-mode", "ENABLED"))
	require.NotEqual(t, first, now.Get("Etag"), "no ETag is ever stale")
	require.NotEqual(t, sum, now.Get("X-Amz-Checksum-Crc64nvme"))
	w.want(304, "GET", "/bucket/f", "", h("If-None-Match", now.Get("Etag")))
	w.want(412, "GET", "/bucket/f", "", h("If-Match", first))
}

// An anonymous reader can't choose the answer's headers.
func TestAnonymousOverrides(t *testing.T) {
	w := newBucket(t)
	w.want(200, "PUT", "/bucket/k", "x", nil)
	w.want(204, "DELETE", "/bucket?publicAccessBlock", "", nil)
	w.want(204, "PUT", "/bucket?policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]}`, nil)
	for path, want := range map[string]string{"/bucket/k": "", "/bucket/k?response-content-type=text/html": "InvalidRequest"} {
		res := w.call(nil, "GET", path, "", nil, nil)
		require.Equal(t, want, code(res.Body), path)
		require.NoError(t, res.Body.Close())
	}
}
