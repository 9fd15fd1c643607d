package payload_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/minio-go/v7"
	miniocredentials "github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"

	"k3fs/s3api/internal/payload"
	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
)

// seen is what the server made of the last request with a body.
type seen struct {
	path     string
	mode     sigv4.Mode
	how      sigv4.Mechanism
	data     []byte
	result   payload.Result
	encoding string
}

// server verifies requests by real clients, keeps the last body, and answers as little as they put up with.
type server struct {
	*httptest.Server
	verifier *sigv4.Verifier[string]
	bodies   payload.Opener
	mu       sync.Mutex
	last     seen
}

func newServer(t *testing.T, tls bool) *server {
	s := &server{verifier: sigv4.New(secrets{}, sigv4.Options{})}
	s.Server = httptest.NewUnstartedServer(s)
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		s.Close()
		s.bodies.Close()
	})
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	got, err := s.accept(r)
	if err != nil {
		var e *s3err.Error
		if !errors.As(err, &e) {
			e = s3err.New("InternalError", "%v", err)
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", e.Code, e.Message)
		return
	}
	switch {
	case r.Method == "PUT":
		s.mu.Lock()
		s.last = *got
		s.mu.Unlock()
		w.Header().Set("ETag", `"`+hex.EncodeToString(got.result.MD5[:])+`"`)
	case r.URL.Query().Has("location"):
		fmt.Fprint(w, `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>`)
	default:
		w.Write([]byte("hello"))
	}
}

func (s *server) accept(r *http.Request) (*seen, error) {
	id, err := s.verifier.Verify(r)
	if err != nil {
		return nil, err
	}
	if id.Mechanism == sigv4.Anonymous {
		return nil, s3err.New(s3err.AccessDenied, "Access Denied")
	}
	b, err := s.bodies.Open(r, id.Payload, payload.Request{MD5: true})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	data, err := io.ReadAll(b)
	if err != nil {
		return nil, err
	}
	result, err := b.Result()
	return &seen{r.URL.Path, id.Payload.Mode, id.Mechanism, data, result, payload.ContentEncoding(r.Header)}, err
}

func (s *server) put() seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *server) sdk(t *testing.T, options ...func(*s3.Options)) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.URL), Region: "us-east-1", UsePathStyle: true, HTTPClient: s.Client(),
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""), RetryMaxAttempts: 1,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
	}, options...)
}

// streamOnly hides Seek, as a pipe does.
type streamOnly struct{ io.Reader }

func TestAWSSDK(t *testing.T) {
	ctx := context.Background()
	data := bytes.Repeat([]byte("checkpoint"), 50_000)
	const key = "dir//a key+ü(1)!~.bin"
	for _, c := range []struct {
		name    string
		tls     bool
		body    io.Reader
		input   s3.PutObjectInput
		options func(*s3.Options)
		mode    sigv4.Mode
		sum     payload.Algorithm
	}{
		{name: "default", body: bytes.NewReader(data), mode: sigv4.Exact, sum: payload.CRC32},
		{name: "default, TLS", tls: true, body: bytes.NewReader(data), mode: sigv4.StreamingUnsignedTrailer, sum: payload.CRC32},
		{name: "stream, TLS", tls: true, body: streamOnly{bytes.NewReader(data)}, mode: sigv4.StreamingUnsignedTrailer, sum: payload.CRC32},
		{name: "CRC64NVME, TLS", tls: true, body: bytes.NewReader(data), input: s3.PutObjectInput{ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme},
			mode: sigv4.StreamingUnsignedTrailer, sum: payload.CRC64NVME},
		{name: "SHA256", body: bytes.NewReader(data), input: s3.PutObjectInput{ChecksumAlgorithm: types.ChecksumAlgorithmSha256},
			mode: sigv4.Exact, sum: payload.SHA256},
		{name: "gzip, TLS", tls: true, body: bytes.NewReader(data), input: s3.PutObjectInput{ContentEncoding: aws.String("gzip")},
			mode: sigv4.StreamingUnsignedTrailer, sum: payload.CRC32},
		{name: "unsigned", body: bytes.NewReader(data), options: func(o *s3.Options) {
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
		}, mode: sigv4.Unsigned},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, c.tls)
			var options []func(*s3.Options)
			if c.options != nil {
				options = append(options, c.options)
			}
			input := c.input
			input.Bucket, input.Key, input.Body = aws.String("bucket"), aws.String(key), c.body
			input.ContentLength = aws.Int64(int64(len(data)))
			input.Metadata = map[string]string{"note": "  two   spaces "}
			_, err := s.sdk(t, options...).PutObject(ctx, &input)
			require.NoError(t, err)
			got := s.put()
			require.Equal(t, "/bucket/"+key, got.path)
			require.Equal(t, c.mode, got.mode)
			require.True(t, bytes.Equal(data, got.data))
			require.Equal(t, c.sum, got.result.Checksum.Algorithm)
			require.Equal(t, md5.Sum(data), got.result.MD5)
			require.Equal(t, aws.ToString(c.input.ContentEncoding), got.encoding)
		})
	}
}

func TestAWSSDKPresigned(t *testing.T) {
	s := newServer(t, false)
	presign := s3.NewPresignClient(s.sdk(t))
	get, err := presign.PresignGetObject(t.Context(), &s3.GetObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("a//b c+ü"), ResponseContentDisposition: aws.String(`attachment; filename="a b"`),
	})
	require.NoError(t, err)
	answer, err := s.Client().Get(get.URL)
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)

	put, err := presign.PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")})
	require.NoError(t, err)
	r, err := http.NewRequest(put.Method, put.URL, strings.NewReader("data"))
	require.NoError(t, err)
	for name, values := range put.SignedHeader {
		r.Header[name] = values
	}
	answer, err = s.Client().Do(r)
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, "data", string(s.put().data))
	require.Equal(t, sigv4.Presigned, s.put().how)
}

func TestMinioClient(t *testing.T) {
	data := bytes.Repeat([]byte("checkpoint"), 50_000)
	for _, c := range []struct {
		name    string
		tls     bool
		trailer bool
		options minio.PutObjectOptions
		mode    sigv4.Mode
		sum     payload.Algorithm
	}{
		{name: "streaming", mode: sigv4.StreamingSigned},
		{name: "streaming with trailer", trailer: true, options: minio.PutObjectOptions{Checksum: minio.ChecksumCRC32C}, mode: sigv4.StreamingSignedTrailer, sum: payload.CRC32C},
		{name: "TLS with trailer", tls: true, trailer: true, options: minio.PutObjectOptions{Checksum: minio.ChecksumCRC32C}, mode: sigv4.StreamingUnsignedTrailer, sum: payload.CRC32C},
		{name: "Content-MD5", options: minio.PutObjectOptions{SendContentMd5: true}, mode: sigv4.StreamingSigned},
		{name: "no content hash", options: minio.PutObjectOptions{DisableContentSha256: true}, mode: sigv4.Unsigned},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, c.tls)
			client, err := minio.New(s.Listener.Addr().String(), &minio.Options{
				Creds: miniocredentials.NewStaticV4(accessKey, secretKey, ""), Secure: c.tls, Transport: s.Client().Transport,
				TrailingHeaders: c.trailer, MaxRetries: 1, Region: "us-east-1",
			})
			require.NoError(t, err)
			_, err = client.PutObject(t.Context(), "bucket", "dir//a key+ü", bytes.NewReader(data), int64(len(data)), c.options)
			require.NoError(t, err)
			got := s.put()
			require.Equal(t, "/bucket/dir//a key+ü", got.path)
			require.Equal(t, c.mode, got.mode)
			require.True(t, bytes.Equal(data, got.data))
			require.Equal(t, c.sum, got.result.Checksum.Algorithm)

			url, err := client.PresignedGetObject(t.Context(), "bucket", "a//b c+ü", time.Minute, nil)
			require.NoError(t, err)
			answer, err := s.Client().Get(url.String())
			require.NoError(t, err)
			answer.Body.Close()
			require.Equal(t, http.StatusOK, answer.StatusCode)
		})
	}
}

// TestAWSCLI runs the command that most people use.
func TestAWSCLI(t *testing.T) {
	path, err := exec.LookPath("aws")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip("aws is not installed")
	}
	require.NoError(t, err)
	home := t.TempDir()
	file := filepath.Join(home, "data")
	data := bytes.Repeat([]byte("checkpoint"), 100_000)
	require.NoError(t, os.WriteFile(file, data, 0o600))
	for _, tls := range []bool{false, true} {
		s := newServer(t, tls)
		run := func(args ...string) seen {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), path, append([]string{"--endpoint-url", s.URL, "--no-verify-ssl"}, args...)...)
			cmd.Env = append(os.Environ(), "HOME="+home, "AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secretKey,
				"AWS_REGION=us-east-1", "AWS_MAX_ATTEMPTS=1", "AWS_EC2_METADATA_DISABLED=true")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			got := s.put()
			require.True(t, bytes.Equal(data, got.data))
			require.Empty(t, got.encoding)
			return got
		}
		const key = "dir//a key+ü'(1)"
		require.Equal(t, "/bucket/"+key, run("s3", "cp", "--no-progress", file, "s3://bucket/"+key).path)
		got := run("s3api", "put-object", "--bucket", "bucket", "--key", key, "--body", file,
			"--checksum-algorithm", "SHA256", "--metadata", "a=b  c")
		require.Equal(t, payload.SHA256, got.result.Checksum.Algorithm)
		t.Logf("TLS %v: mode %d", tls, got.mode) // Debian's sends no trailers, current ones do over TLS
	}
}
