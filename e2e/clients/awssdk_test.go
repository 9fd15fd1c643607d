//lint:file-ignore SA1019 the upload manager is deprecated, and what most programs in use still call.

package clients

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

// sdk is aws-sdk-go-v2 on one bucket.
type sdk struct {
	*s3.Client
	t      *testing.T
	bucket string
}

func (c sdk) put(key string, body io.Reader, change ...func(*s3.PutObjectInput)) (*s3.PutObjectOutput, error) {
	in := &s3.PutObjectInput{Bucket: &c.bucket, Key: &key, Body: body}
	for _, f := range change {
		f(in)
	}
	return c.PutObject(context.Background(), in)
}

func (c sdk) get(key string, change ...func(*s3.GetObjectInput)) ([]byte, error) {
	in := &s3.GetObjectInput{Bucket: &c.bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled}
	for _, f := range change {
		f(in)
	}
	out, err := c.GetObject(context.Background(), in)
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

func (c sdk) holds(key string, want []byte) {
	c.t.Helper()
	got, err := c.get(key)
	require.NoError(c.t, err, key)
	require.True(c.t, bytes.Equal(want, got), key)
}

func (c sdk) refused(status int, err error) {
	c.t.Helper()
	var re *awshttp.ResponseError
	require.True(c.t, errors.As(err, &re), "%v", err)
	require.Equal(c.t, status, re.HTTPStatusCode(), "%v", err)
}

// onlyReader hides Seek, so that the SDK must send an unsigned chunked stream.
type onlyReader struct{ io.Reader }

func TestAWSSDKGo(t *testing.T) {
	d := harness.Start(t, harness.Options{})
	ctx := context.Background()
	c := sdk{t: t, bucket: "aws-sdk-go", Client: s3.New(s3.Options{
		BaseEndpoint: aws.String("http://" + d.S3), UsePathStyle: true, Region: harness.Region, RetryMaxAttempts: 1,
		// What config.LoadDefaultConfig sets.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported, ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
		Credentials: credentials.NewStaticCredentialsProvider(harness.AccessKey, harness.SecretKey, ""),
	})}
	_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &c.bucket})
	require.NoError(t, err)

	body := randomBytes(400_000)
	t.Run("put and get", func(t *testing.T) {
		c.t = t
		put, err := c.put("plain", bytes.NewReader(body), func(in *s3.PutObjectInput) {
			in.Metadata = map[string]string{"color": "blue"}
			in.ContentType = aws.String("text/x-k3")
		})
		require.NoError(t, err)
		require.NotNil(t, put.ChecksumCRC32, "the SDK's default checksum comes back")
		c.holds("plain", body)
		head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &c.bucket, Key: aws.String("plain")})
		require.NoError(t, err)
		require.Equal(t, map[string]string{"color": "blue"}, head.Metadata)
		require.Equal(t, "text/x-k3", *head.ContentType)
		for _, algorithm := range types.ChecksumAlgorithm("").Values()[:4] {
			_, err := c.put("sum-"+string(algorithm), bytes.NewReader(body), func(in *s3.PutObjectInput) { in.ChecksumAlgorithm = algorithm })
			require.NoError(t, err, algorithm)
			c.holds("sum-"+string(algorithm), body)
		}
		got, err := c.get("plain", func(in *s3.GetObjectInput) { in.Range = aws.String("bytes=65530-65545") })
		require.NoError(t, err)
		require.Equal(t, body[65530:65546], got)
		for _, key := range []string{"über/ключ 日本.txt", "a+b&c=d?e#f%20g'h", "🙂/(x)!*~"} {
			_, err := c.put(key, bytes.NewReader([]byte(key)))
			require.NoError(t, err, key)
			c.holds(key, []byte(key))
		}
	})
	t.Run("conditions", func(t *testing.T) {
		c.t = t
		_, err := c.put("plain", bytes.NewReader(body), func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") })
		c.refused(http.StatusPreconditionFailed, err)
		_, err = c.get("plain", func(in *s3.GetObjectInput) { in.IfMatch = aws.String(`"other"`) })
		c.refused(http.StatusPreconditionFailed, err)
		_, err = c.get("absent")
		var absent *types.NoSuchKey
		require.ErrorAs(t, err, &absent)
	})
	t.Run("multipart", func(t *testing.T) {
		c.t = t
		large := randomBytes(23 << 20)
		_, err := manager.NewUploader(c.Client, func(u *manager.Uploader) { u.PartSize = 5 << 20 }).Upload(ctx, &s3.PutObjectInput{
			Bucket: &c.bucket, Key: aws.String("large"), Body: onlyReader{bytes.NewReader(large)},
		})
		require.NoError(t, err)
		c.holds("large", large)
		buf := manager.NewWriteAtBuffer(nil)
		_, err = manager.NewDownloader(c.Client, func(d *manager.Downloader) { d.PartSize = 3 << 20 }).Download(ctx, buf, &s3.GetObjectInput{Bucket: &c.bucket, Key: aws.String("large")})
		require.NoError(t, err)
		require.True(t, bytes.Equal(large, buf.Bytes()))
	})
	t.Run("transfer manager", func(t *testing.T) {
		c.t = t
		large := randomBytes(23 << 20)
		tm := transfermanager.New(c.Client, func(o *transfermanager.Options) { o.PartSizeBytes, o.MultipartUploadThreshold = 5<<20, 8<<20 })
		up, err := tm.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: &c.bucket, Key: aws.String("transferred"), Body: onlyReader{bytes.NewReader(large)}})
		require.NoError(t, err)
		require.Contains(t, *up.ETag, "-5", "in parts")
		require.NotNil(t, up.ChecksumCRC32)
		buf := manager.NewWriteAtBuffer(nil)
		_, err = tm.DownloadObject(ctx, &transfermanager.DownloadObjectInput{Bucket: &c.bucket, Key: aws.String("transferred"), WriterAt: buf})
		require.NoError(t, err)
		require.True(t, bytes.Equal(large, buf.Bytes()))
		got, err := tm.GetObject(ctx, &transfermanager.GetObjectInput{Bucket: &c.bucket, Key: aws.String("transferred")})
		require.NoError(t, err)
		read, err := io.ReadAll(got.Body)
		require.NoError(t, err)
		require.True(t, bytes.Equal(large, read))
	})
	t.Run("copy, list and delete", func(t *testing.T) {
		c.t = t
		_, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &c.bucket, Key: aws.String("copy"), CopySource: aws.String(c.bucket + "/" + url.PathEscape("über/ключ 日本.txt"))})
		require.NoError(t, err)
		c.holds("copy", []byte("über/ключ 日本.txt"))
		var doomed []types.ObjectIdentifier
		pages := s3.NewListObjectsV2Paginator(c.Client, &s3.ListObjectsV2Input{Bucket: &c.bucket, MaxKeys: aws.Int32(3)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			require.NoError(t, err)
			for _, o := range page.Contents {
				doomed = append(doomed, types.ObjectIdentifier{Key: o.Key})
			}
		}
		require.Len(t, doomed, 1+4+3+2+1)
		out, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &c.bucket, Delete: &types.Delete{Objects: doomed}})
		require.NoError(t, err)
		require.Len(t, out.Deleted, len(doomed))
		_, err = c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &c.bucket})
		require.NoError(t, err)
	})
}
