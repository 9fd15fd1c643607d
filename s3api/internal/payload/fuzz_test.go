package payload_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/s3api/internal/payload"
)

// FuzzChunked feeds arbitrary framing to each of the three readers of aws-chunked bodies. read checks that there
// is never more data than declared, and always an end.
func FuzzChunked(f *testing.F) {
	unsigned := put("9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n",
		hashHeader, unsignedTrail, "X-Amz-Trailer", "x-amz-checksum-crc32")
	// Small seeds: the fuzzer spends minutes on making large ones smaller.
	bases := []*http.Request{unsigned, minioStream(f, []byte("123456789"), false), minioStream(f, []byte("123456789"), true)}
	for mode, r := range bases {
		body, err := io.ReadAll(r.Body)
		require.NoError(f, err)
		f.Add(body, int64(9), uint8(mode))
	}
	f.Fuzz(func(t *testing.T, body []byte, length int64, mode uint8) {
		length &= 1<<20 - 1
		r := bases[int(mode)%len(bases)].Clone(t.Context())
		p := authenticate(t, r)
		r.Header.Set(lengthHeader, strconv.FormatInt(length, 10))
		r.Body = io.NopCloser(bytes.NewReader(body))
		var o payload.Opener
		b, err := o.Open(r, p, payload.Request{MD5: true})
		require.NoError(t, err)
		defer b.Close()
		read(t, b)
	})
}

// FuzzHeaders feeds arbitrary values to all headers that speak of the body.
func FuzzHeaders(f *testing.F) {
	f.Add("4", "y/Q5Jg==", "x-amz-checksum-crc32", "CRC32", "1B2M2Y8AsgTpgAmY7PhCfg==", "aws-chunked,gzip")
	f.Fuzz(func(t *testing.T, length, checksum, trailer, algorithm, md5, encoding string) {
		for _, mode := range []string{unsignedTrail, "UNSIGNED-PAYLOAD"} {
			r := httptest.NewRequest("PUT", "/b/k", bytes.NewReader([]byte("data")))
			for name, value := range map[string]string{
				hashHeader: mode, lengthHeader: length, "X-Amz-Checksum-Crc32": checksum, "X-Amz-Trailer": trailer,
				"X-Amz-Sdk-Checksum-Algorithm": algorithm, "Content-Md5": md5, "Content-Encoding": encoding,
			} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			payload.ContentEncoding(r.Header)
			var o payload.Opener
			b, err := o.Open(r, authenticate(t, r), payload.Request{})
			if err != nil {
				continue
			}
			read(t, b)
			b.Close()
		}
	})
}
