package payload_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"k3fs/s3api/internal/payload"
	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
)

const (
	accessKey = "AKIAIOSFODNN7EXAMPLE"
	secretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type secrets struct{}

func (secrets) Secrets(context.Context, string, string) ([]string, string, error) {
	return []string{secretKey}, "principal", nil
}

var signedAt = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)

func authenticate(t testing.TB, r *http.Request) sigv4.Payload {
	t.Helper()
	id, err := sigv4.New(secrets{}, sigv4.Options{Now: func() time.Time { return signedAt }}).Verify(r)
	require.NoError(t, err)
	return id.Payload
}

// put builds a request with a body, as an anonymous client would send it.
func put(body string, headers ...string) *http.Request {
	r := httptest.NewRequest("PUT", "/bucket/key", strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// read reads a body in steps of varied size, and checks what every Reader promises.
func read(t testing.TB, b *payload.Reader) ([]byte, error) {
	t.Helper()
	var data []byte
	for step := 1; ; step = step*7%65521 + 1 {
		if int64(len(data)) < b.Len() {
			_, early := b.Result()
			require.Error(t, early)
		}
		p := make([]byte, step)
		n, err := b.Read(p)
		data = append(data, p[:n]...)
		require.LessOrEqual(t, int64(len(data)), b.Len(), "more than was declared")
		if err == nil {
			continue
		}
		require.Zero(t, n)
		_, again := b.Read(p)
		require.Equal(t, err, again, "errors are sticky")
		if err == io.EOF {
			require.Equal(t, b.Len(), int64(len(data)), "EOF before the end")
			return data, nil
		}
		var typed *s3err.Error
		require.ErrorAs(t, err, &typed)
		require.True(t, b.Len() == 0 || int64(len(data)) < b.Len(), "the whole of a bad body was handed on")
		_, result := b.Result()
		require.Equal(t, err, result)
		return data, err
	}
}

func readRequest(t testing.TB, r *http.Request, want payload.Request) ([]byte, payload.Result, error) {
	t.Helper()
	var o payload.Opener
	b, err := o.Open(r, authenticate(t, r), want)
	if err != nil {
		return nil, payload.Result{}, err
	}
	defer b.Close()
	data, err := read(t, b)
	if err != nil {
		return data, payload.Result{}, err
	}
	result, err := b.Result()
	require.NoError(t, err)
	return data, result, nil
}

func requireCode(t testing.TB, code s3err.Code, err error) {
	t.Helper()
	var e *s3err.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code, "%v", err)
}

// awsExample is the request of "Transferring Payload in Multiple Chunks", or of "Including Trailing Headers",
// in the S3 API reference: 65 KiB of 'a' in chunks of 64 KiB.
func awsExample(trailer bool) (*http.Request, string) {
	data := strings.Repeat("a", 66560)
	chunk := func(data, signature string) string {
		return fmt.Sprintf("%x;chunk-signature=%s\r\n%s\r\n", len(data), signature, data)
	}
	headers, seed, mode := "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
		"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	body := chunk(data[:65536], "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648") +
		chunk(data[65536:], "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497") +
		chunk("", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9")
	if trailer {
		headers, seed, mode = "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
			"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
		last := chunk("", "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992")
		body = chunk(data[:65536], "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2") +
			chunk(data[65536:], "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7") +
			strings.TrimSuffix(last, "\r\n") + "x-amz-checksum-crc32c:sOO8/Q==\r\n" +
			"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
	}
	r := put(body, "Content-Encoding", "aws-chunked", "X-Amz-Content-Sha256", mode, "X-Amz-Date", "20130524T000000Z",
		"X-Amz-Decoded-Content-Length", "66560", "X-Amz-Storage-Class", "REDUCED_REDUNDANCY", "Authorization",
		"AWS4-HMAC-SHA256 Credential="+accessKey+"/20130524/us-east-1/s3/aws4_request,SignedHeaders="+headers+",Signature="+seed)
	if trailer {
		r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32c")
	}
	r.URL.Path, r.Host = "/examplebucket/chunkObject.txt", "s3.amazonaws.com"
	return r, data
}

func TestPublishedExamples(t *testing.T) {
	for _, trailer := range []bool{false, true} {
		t.Run(fmt.Sprintf("trailer=%v", trailer), func(t *testing.T) {
			r, want := awsExample(trailer)
			data, result, err := readRequest(t, r, payload.Request{MD5: true})
			require.NoError(t, err)
			require.Equal(t, want, string(data))
			require.Equal(t, md5.Sum(data), result.MD5)
			if trailer {
				require.Equal(t, payload.CRC32C, result.Checksum.Algorithm)
				require.Equal(t, "sOO8/Q==", result.Checksum.String())
			} else {
				require.Empty(t, result.Checksum.Algorithm)
			}
		})
	}
}

func hexSHA(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func base64MD5(s string) string {
	sum := md5.Sum([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

const (
	hashHeader    = "X-Amz-Content-Sha256"
	unsignedTrail = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	lengthHeader  = "X-Amz-Decoded-Content-Length"
)

// The checksums of "123456789": the check values of the CRC catalogues.
var checkValues = map[payload.Algorithm]string{
	payload.CRC32:     "y/Q5Jg==",
	payload.CRC32C:    "4waSgw==",
	payload.CRC64NVME: "rosUhgp5mIg=",
	payload.SHA1:      "98O8HYCOBHMq32eZZczDTKeuNEE=",
	payload.SHA256:    "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
}

func TestChecksums(t *testing.T) {
	const data = "123456789"
	for algorithm, value := range checkValues {
		name := algorithm.Header()
		for how, r := range map[string]*http.Request{
			"header":        put(data, name, value),
			"with sdk":      put(data, name, value, "X-Amz-Sdk-Checksum-Algorithm", strings.ToLower(string(algorithm))),
			"with exact":    put(data, name, value, hashHeader, hexSHA(data)),
			"with md5":      put(data, name, value, "Content-Md5", base64MD5(data)),
			"trailer":       put("9\r\n"+data+"\r\n0\r\n"+name+":"+value+"\r\n\r\n", hashHeader, unsignedTrail, lengthHeader, "9", "X-Amz-Trailer", name),
			"trailer, LF":   put("9\r\n"+data+"\r\n0\r\n"+name+": "+value+"\n\n", hashHeader, unsignedTrail, lengthHeader, "9", "X-Amz-Trailer", name),
			"small chunks":  put("4\r\n1234\r\n005\r\n56789\r\n0\r\n"+name+":"+value+"\r\n\r\n", hashHeader, unsignedTrail, lengthHeader, "9", "X-Amz-Trailer", name),
			"upper trailer": put("9\r\n"+data+"\r\n0\r\n"+strings.ToUpper(name)+":"+value+"\r\n\r\n", hashHeader, unsignedTrail, lengthHeader, "9", "X-Amz-Trailer", name),
		} {
			got, result, err := readRequest(t, r, payload.Request{})
			require.NoError(t, err, "%s %s", algorithm, how)
			require.Equal(t, data, string(got))
			require.Equal(t, algorithm, result.Checksum.Algorithm)
			require.Equal(t, value, result.Checksum.String())
		}
		// Computed on our own account, when the client sent none.
		_, result, err := readRequest(t, put(data), payload.Request{Checksum: algorithm})
		require.NoError(t, err)
		require.Equal(t, value, result.Checksum.String())
		// Not about this body.
		_, result, err = readRequest(t, put("<xml/>", name, value), payload.Request{ObjectChecksum: true})
		require.NoError(t, err)
		require.Empty(t, result.Checksum.Algorithm)
		// Wrong.
		for _, r := range []*http.Request{
			put("12345678x", name, value),
			put("9\r\n12345678x\r\n0\r\n"+name+":"+value+"\r\n\r\n", hashHeader, unsignedTrail, lengthHeader, "9", "X-Amz-Trailer", name),
		} {
			_, _, err = readRequest(t, r, payload.Request{})
			requireCode(t, s3err.BadDigest, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	crc := checkValues[payload.CRC32]
	trailed := func(body string, headers ...string) *http.Request {
		return put(body, append([]string{hashHeader, unsignedTrail, lengthHeader, "9", "X-Amz-Trailer", "x-amz-checksum-crc32"}, headers...)...)
	}
	without := func(name string, r *http.Request) *http.Request {
		r.Header.Del(name)
		return r
	}
	const good = "9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n"
	noLength := put("x")
	noLength.ContentLength = -1
	short := put("x")
	short.ContentLength = 2
	for name, c := range map[string]struct {
		code s3err.Code
		r    *http.Request
	}{
		"no length":                   {s3err.MissingContentLength, noLength},
		"short body":                  {s3err.IncompleteBody, short},
		"too large":                   {s3err.EntityTooLarge, put(strings.Repeat("x", 101))},
		"too large, decoded":          {s3err.EntityTooLarge, without(lengthHeader, trailed(good, "x", "y"))},
		"sha256":                      {s3err.SHA256Mismatch, put("x", hashHeader, hexSHA("y"))},
		"sha256 of an empty body":     {s3err.SHA256Mismatch, put("", hashHeader, hexSHA("y"))},
		"md5":                         {s3err.BadDigest, put("x", "Content-Md5", base64MD5("y"))},
		"md5 no base64":               {s3err.InvalidDigest, put("x", "Content-Md5", "!")},
		"md5 short":                   {s3err.InvalidDigest, put("x", "Content-Md5", "YWJj")},
		"md5 empty":                   {s3err.InvalidDigest, put("x", "Content-Md5", "")},
		"md5 twice":                   {s3err.InvalidDigest, put("x", "Content-Md5", base64MD5("x"), "Content-Md5", base64MD5("x"))},
		"two checksums":               {s3err.InvalidRequest, put("x", "x-amz-checksum-crc32", crc, "x-amz-checksum-sha1", checkValues[payload.SHA1])},
		"a checksum twice":            {s3err.InvalidRequest, put("x", "x-amz-checksum-crc32", crc, "x-amz-checksum-crc32", crc)},
		"unknown checksum":            {s3err.InvalidRequest, put("x", "x-amz-checksum-md4", crc)},
		"checksum no base64":          {s3err.InvalidRequest, put("x", "x-amz-checksum-crc32", "!")},
		"checksum empty":              {s3err.InvalidRequest, put("x", "x-amz-checksum-crc32", "")},
		"checksum cut off":            {s3err.BadDigest, put("x", "x-amz-checksum-crc32", "bad")},
		"checksum too long":           {s3err.InvalidRequest, put("x", "x-amz-checksum-crc32", checkValues[payload.SHA1])},
		"sdk algorithm alone":         {s3err.InvalidRequest, put("x", "x-amz-sdk-checksum-algorithm", "CRC32")},
		"sdk algorithm differs":       {s3err.InvalidRequest, put("x", "x-amz-sdk-checksum-algorithm", "SHA1", "x-amz-checksum-crc32", crc)},
		"sdk algorithm unknown":       {s3err.InvalidRequest, put("x", "x-amz-sdk-checksum-algorithm", "MD4", "x-amz-checksum-crc32", crc)},
		"trailer without mode":        {s3err.InvalidRequest, put("x", "x-amz-trailer", "x-amz-checksum-crc32")},
		"mode without trailer":        {s3err.InvalidRequest, without("X-Amz-Trailer", trailed(good))},
		"trailer not supported":       {s3err.InvalidRequest, put(good, hashHeader, unsignedTrail, lengthHeader, "9", "x-amz-trailer", "x-amz-meta-a")},
		"two trailers":                {s3err.InvalidRequest, trailed(good, "x-amz-trailer", "x-amz-checksum-sha1")},
		"header and trailer":          {s3err.InvalidRequest, trailed(good, "x-amz-checksum-sha1", checkValues[payload.SHA1])},
		"no decoded length":           {s3err.MissingContentLength, without(lengthHeader, trailed(good))},
		"decoded length twice":        {s3err.MissingContentLength, trailed(good, lengthHeader, "9")},
		"decoded length negative":     {s3err.InvalidArgument, put(good, hashHeader, unsignedTrail, lengthHeader, "-9", "x-amz-trailer", "x-amz-checksum-crc32")},
		"decoded length too long":     {s3err.IncompleteBody, put(good, hashHeader, unsignedTrail, lengthHeader, "10", "x-amz-trailer", "x-amz-checksum-crc32")},
		"decoded length too short":    {s3err.IncompleteBody, put(good, hashHeader, unsignedTrail, lengthHeader, "8", "x-amz-trailer", "x-amz-checksum-crc32")},
		"decoded length 0":            {s3err.IncompleteBody, put(good, hashHeader, unsignedTrail, lengthHeader, "0", "x-amz-trailer", "x-amz-checksum-crc32")},
		"chunk beyond it":             {s3err.IncompleteBody, trailed("a\r\n1234567890\r\n0\r\n\r\n")},
		"chunk after it":              {s3err.IncompleteBody, trailed("9\r\n123456789\r\n1\r\nx\r\n0\r\n\r\n")},
		"empty":                       {s3err.IncompleteBody, trailed("")},
		"cut in a header":             {s3err.IncompleteBody, trailed("9")},
		"cut in data":                 {s3err.IncompleteBody, trailed("9\r\n12345")},
		"cut after data":              {s3err.IncompleteBody, trailed("9\r\n123456789")},
		"cut before the last chunk":   {s3err.IncompleteBody, trailed("9\r\n123456789\r\n")},
		"cut in the trailer":          {s3err.IncompleteBody, trailed("9\r\n123456789\r\n0\r\nx-amz-check")},
		"cut before the end":          {s3err.IncompleteBody, trailed(good[:len(good)-2])},
		"data after the end":          {s3err.InvalidRequest, trailed(good + "x")},
		"line after the end":          {s3err.InvalidRequest, trailed(good + "\r\n\r\n")},
		"size no number":              {s3err.InvalidRequest, trailed("x\r\n")},
		"size signed":                 {s3err.InvalidRequest, trailed("+9\r\n123456789\r\n")},
		"size empty":                  {s3err.InvalidRequest, trailed("\r\n123456789\r\n")},
		"size overflows":              {s3err.InvalidRequest, trailed("10000000000000009\r\n123456789\r\n")},
		"LF after the size":           {s3err.InvalidRequest, trailed("9\n123456789\r\n")},
		"no CRLF after data":          {s3err.InvalidRequest, trailed("9\r\n123456789x\n")},
		"header too long":             {s3err.InvalidRequest, trailed(strings.Repeat("0", 10000))},
		"extension":                   {s3err.InvalidRequest, trailed("9;a=b\r\n123456789\r\n")},
		"trailer missing":             {s3err.MalformedTrailer, trailed("9\r\n123456789\r\n0\r\n\r\n")},
		"trailer of another name":     {s3err.MalformedTrailer, trailed("9\r\n123456789\r\n0\r\nx-amz-checksum-sha1:y/Q5Jg==\r\n\r\n")},
		"trailer twice":               {s3err.MalformedTrailer, trailed(strings.TrimSuffix(good, "\r\n") + "x-amz-checksum-crc32:y/Q5Jg==\r\n\r\n")},
		"trailer without colon":       {s3err.MalformedTrailer, trailed("9\r\n123456789\r\n0\r\nx-amz-checksum-crc32\r\n\r\n")},
		"trailer too long":            {s3err.MalformedTrailer, trailed("9\r\n123456789\r\n0\r\n" + strings.Repeat("a", 10000))},
		"trailer signed but unsigned": {s3err.MalformedTrailer, trailed(strings.TrimSuffix(good, "\r\n") + "x-amz-trailer-signature:00\r\n\r\n")},
		"trailer value":               {s3err.InvalidRequest, trailed("9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:!\r\n\r\n")},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "too large, decoded" {
				c.r.Header.Set(lengthHeader, "101")
			}
			_, _, err := readRequest(t, c.r, payload.Request{MD5: true, MaxLength: 100})
			requireCode(t, c.code, err)
		})
	}
}

// TestSizes reads bodies around the sizes at which something changes, in every mode that minio-go signs.
func TestSizes(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{0, 1, 4095, 4096, 65535, 65536, 65537, 262144, 262145, 3<<20 + 17} {
		data := make([]byte, size)
		random.Read(data)
		for _, trailer := range []bool{false, true} {
			r := minioStream(t, data, trailer)
			got, result, err := readRequest(t, r, payload.Request{MD5: true, Checksum: payload.CRC64NVME})
			require.NoError(t, err, "%d %v", size, trailer)
			require.True(t, bytes.Equal(data, got))
			require.Equal(t, md5.Sum(data), result.MD5)
			want, h := payload.CRC64NVME, payload.CRC64NVME.New()
			if trailer {
				want, h = payload.CRC32C, payload.CRC32C.New()
			}
			h.Write(data)
			require.Equal(t, payload.Checksum{Algorithm: want, Sum: h.Sum(nil)}, result.Checksum)
		}
	}
}

// minioStream is a body that minio-go's streaming signer signed, as a server gets it.
func minioStream(t testing.TB, data []byte, trailer bool) *http.Request {
	t.Helper()
	r, err := http.NewRequest("PUT", "http://127.0.0.1:9000/bucket/key", io.NopCloser(bytes.NewReader(data)))
	require.NoError(t, err)
	if trailer {
		h := payload.CRC32C.New()
		h.Write(data)
		r.Trailer = http.Header{"X-Amz-Checksum-Crc32c": {base64.StdEncoding.EncodeToString(h.Sum(nil))}}
	}
	signed := signer.StreamingSignV4(r, accessKey, secretKey, "", "us-east-1", int64(len(data)), signedAt, newSHA256())
	body, err := io.ReadAll(signed.Body)
	require.NoError(t, err)
	served := httptest.NewRequest("PUT", "/bucket/key", bytes.NewReader(body))
	served.Host, served.Header = signed.URL.Host, signed.Header
	return served
}

// hasher is what minio-go's signer wants of a hash.
type hasher struct{ hash.Hash }

func (hasher) Close() {}

func newSHA256() hasher { return hasher{sha256.New()} }

// TestEveryByteCounts changes each byte of the framing of signed streams, and some of the data.
func TestEveryByteCounts(t *testing.T) {
	for _, trailer := range []bool{false, true} {
		t.Run(fmt.Sprintf("trailer=%v", trailer), func(t *testing.T) {
			r := minioStream(t, bytes.Repeat([]byte("d"), 65536+100), trailer)
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			attempt := func(changed []byte) error {
				c := r.Clone(t.Context())
				c.Body = io.NopCloser(bytes.NewReader(changed))
				_, _, err := readRequest(t, c, payload.Request{})
				return err
			}
			require.NoError(t, attempt(body))
			for i := range body {
				if i > 200 && i < 65536 && i%6007 != 0 {
					continue // the middle of the first chunk's data
				}
				for _, bit := range []byte{1, 0x20} {
					changed := bytes.Clone(body)
					changed[i] ^= bit
					if err := attempt(changed); err == nil {
						require.True(t, caseOnly(body, changed, i), "byte %d, bit %#x: %q", i, bit, changed[max(0, i-40):i+1])
					}
				}
			}
			for cut := range 400 {
				require.Error(t, attempt(body[:len(body)-1-cut]))
			}
		})
	}
}

// caseOnly reports whether the change at byte i is of a letter's case where that means nothing: in a chunk's
// size or a trailer's name.
func caseOnly(body, changed []byte, i int) bool {
	line := body[bytes.LastIndexByte(body[:i], '\n')+1 : i+1]
	return bytes.EqualFold(body[i:i+1], changed[i:i+1]) && !bytes.ContainsAny(line, ":;")
}

// TestChunkOrder: chunks cannot be dropped, repeated or swapped, though each is signed.
func TestChunkOrder(t *testing.T) {
	data := append(bytes.Repeat([]byte("1"), 65536), bytes.Repeat([]byte("2"), 65536)...)
	r := minioStream(t, data, false)
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	const chunk = 5 + 1 + 16 + 64 + 2 + 65536 + 2
	one, two, end := body[:chunk], body[chunk:2*chunk], body[2*chunk:]
	for name, c := range map[string]struct {
		length int
		parts  [][]byte
		err    bool
	}{
		"as sent":  {131072, [][]byte{one, two, end}, false},
		"swapped":  {131072, [][]byte{two, one, end}, true},
		"repeated": {131072, [][]byte{one, one, end}, true},
		"dropped":  {131072, [][]byte{one, end}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := r.Clone(t.Context())
			s.Body = io.NopCloser(bytes.NewReader(bytes.Join(c.parts, nil)))
			_, _, err := readRequest(t, s, payload.Request{})
			require.Equal(t, c.err, err != nil, "%v", err)
		})
	}
}

func TestBodyErrors(t *testing.T) {
	for code, cause := range map[s3err.Code]error{
		s3err.IncompleteBody: io.ErrUnexpectedEOF,
		s3err.EntityTooLarge: &http.MaxBytesError{Limit: 1},
		s3err.RequestTimeout: context.DeadlineExceeded,
	} {
		r := put("12345")
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader("123"), iotest.ErrReader(cause)))
		data, _, err := readRequest(t, r, payload.Request{MD5: true})
		requireCode(t, code, err)
		require.ErrorIs(t, err, cause)
		require.Equal(t, "123", string(data))
	}
}

// TestClose: a body that is given up halfway leaves no goroutine (goleak looks) and no result.
func TestClose(t *testing.T) {
	var o payload.Opener
	r := put(strings.Repeat("x", 8<<20))
	b, err := o.Open(r, authenticate(t, r), payload.Request{MD5: true})
	require.NoError(t, err)
	_, err = io.ReadFull(b, make([]byte, 5<<20))
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	_, err = b.Read(make([]byte, 1))
	requireCode(t, s3err.IncompleteBody, err)
	_, err = b.Result()
	requireCode(t, s3err.IncompleteBody, err)
}

// TestManyBodies: the MD5s of bodies that are read at once do not mix, whichever way they are computed.
func TestManyBodies(t *testing.T) {
	var o payload.Opener
	defer o.Close()
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			data := bytes.Repeat([]byte{byte(i)}, 100_000*(1+i%7)+i)
			r := put(string(data))
			b, err := o.Open(r, sigv4.Payload{}, payload.Request{MD5: true})
			if !assert.NoError(t, err) {
				return
			}
			defer b.Close()
			if i%5 == 4 { // given up
				_, err = io.ReadFull(b, make([]byte, 70_000))
				assert.NoError(t, err)
				return
			}
			got, err := io.ReadAll(b)
			assert.NoError(t, err)
			result, err := b.Result()
			assert.NoError(t, err)
			assert.True(t, bytes.Equal(data, got))
			assert.Equal(t, md5.Sum(data), result.MD5)
		})
	}
	all.Wait()
}

func TestReadAll(t *testing.T) {
	var o payload.Opener
	all := func(r *http.Request) ([]byte, error) {
		return o.ReadAll(r, authenticate(t, r), 10, payload.Request{})
	}
	data, err := all(put("<x/>", hashHeader, hexSHA("<x/>"), "Content-Md5", base64MD5("<x/>")))
	require.NoError(t, err)
	require.Equal(t, "<x/>", string(data))
	data, err = all(put(""))
	require.NoError(t, err)
	require.Empty(t, data)
	_, err = all(put("<x/>", hashHeader, hexSHA("<y/>")))
	requireCode(t, s3err.SHA256Mismatch, err)
	_, err = all(put("12345678901"))
	requireCode(t, s3err.EntityTooLarge, err)
}

func TestContentEncoding(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   string
	}{
		{nil, ""},
		{[]string{"aws-chunked"}, ""},
		{[]string{"gzip"}, "gzip"},
		{[]string{"aws-chunked,gzip"}, "gzip"},
		{[]string{"gzip, AWS-Chunked , br"}, "gzip,br"},
		{[]string{"aws-chunked", "gzip"}, "gzip"},
		{[]string{","}, ""},
	} {
		require.Equal(t, c.want, payload.ContentEncoding(http.Header{"Content-Encoding": c.values}))
	}
}
