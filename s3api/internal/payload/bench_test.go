package payload_test

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	md5simd "github.com/minio/md5-simd"
	"github.com/stretchr/testify/require"

	"k3fs/s3api/internal/payload"
	"k3fs/s3api/internal/sigv4"
)

// BenchmarkRead reads bodies as a PUT does: into one buffer, until io.EOF, then for the result.
func BenchmarkRead(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20, 16 << 20} {
		data := make([]byte, size)
		for _, mode := range []string{"unsigned", "unsigned+md5", "exact+md5", "trailer+md5", "signed+md5"} {
			b.Run(fmt.Sprintf("%s/%dKiB", mode, size>>10), func(b *testing.B) {
				r, body := benchRequest(b, mode, data)
				var o payload.Opener
				buf := make([]byte, 1<<20)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					p := authenticate(b, r) // a chain is used once
					b.StartTimer()
					r.Body = io.NopCloser(bytes.NewReader(body))
					reader, err := o.Open(r, p, payload.Request{MD5: mode != "unsigned"})
					require.NoError(b, err)
					for err == nil {
						_, err = reader.Read(buf)
					}
					require.Equal(b, io.EOF, err)
					_, err = reader.Result()
					require.NoError(b, err)
					reader.Close()
				}
			})
		}
	}
}

// BenchmarkParallel is one body of 1 MiB after the other, in 16 clients at once.
func BenchmarkParallel(b *testing.B) {
	data := make([]byte, 1<<20)
	var o payload.Opener
	defer o.Close()
	b.SetBytes(int64(len(data)))
	b.SetParallelism(8) // of 2 CPUs
	b.RunParallel(func(pb *testing.PB) {
		buf := make([]byte, 256<<10)
		for pb.Next() {
			reader, err := o.Open(put(string(data)), sigv4.Payload{}, payload.Request{MD5: true})
			for err == nil {
				_, err = reader.Read(buf)
			}
			if _, err := reader.Result(); err != nil {
				b.Error(err)
			}
			reader.Close()
		}
	})
}

func benchRequest(b *testing.B, mode string, data []byte) (*http.Request, []byte) {
	switch mode {
	case "signed+md5":
		r := minioStream(b, data, false)
		body, err := io.ReadAll(r.Body)
		require.NoError(b, err)
		return r, body
	case "trailer+md5":
		sum := payload.CRC32.New()
		sum.Write(data)
		value := payload.Checksum{Sum: sum.Sum(nil)}.String()
		body := fmt.Sprintf("%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n", len(data), data, value)
		return put(body, hashHeader, unsignedTrail, lengthHeader, fmt.Sprint(len(data)), "X-Amz-Trailer", "x-amz-checksum-crc32"), []byte(body)
	case "exact+md5":
		return put(string(data), hashHeader, hexSHA(string(data))), data
	}
	return put(string(data)), data
}

// BenchmarkMD5 compares the two candidates for the ETag, alone and with as many streams as s3load has clients.
func BenchmarkMD5(b *testing.B) {
	data := make([]byte, 1<<20)
	for _, streams := range []int{1, 4, 16} {
		run := func(name string, sum func()) {
			b.Run(fmt.Sprintf("%s/%d", name, streams), func(b *testing.B) {
				b.SetBytes(int64(streams * len(data)))
				for b.Loop() {
					var all sync.WaitGroup
					for range streams {
						all.Go(sum)
					}
					all.Wait()
				}
			})
		}
		run("stdlib", func() { md5.Sum(data) })
		server := md5simd.NewServer()
		run("md5-simd", func() {
			h := server.NewHash()
			defer h.Close()
			h.Write(data)
			h.Sum(nil)
		})
		server.Close()
	}
}
