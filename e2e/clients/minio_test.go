package clients

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return b
}

// TestMinioGo signs its bodies as chunked streams, with trailers for the checksums.
func TestMinioGo(t *testing.T) {
	d := harness.Start(t, harness.Options{})
	ctx, bucket := context.Background(), "minio-go"
	c, err := minio.New(d.S3, &minio.Options{
		Creds: credentials.NewStaticV4(harness.AccessKey, harness.SecretKey, ""), Region: harness.Region, MaxRetries: 1, TrailingHeaders: true,
	})
	require.NoError(t, err)
	d.MakeBucket(t, bucket)
	get := func(key string, o minio.GetObjectOptions) ([]byte, error) {
		r, err := c.GetObject(ctx, bucket, key, o)
		require.NoError(t, err)
		defer r.Close()
		return io.ReadAll(r)
	}
	code := func(err error) string { return minio.ToErrorResponse(err).Code }

	body := randomBytes(300_000)
	for key, o := range map[string]minio.PutObjectOptions{
		"plain":           {UserMetadata: map[string]string{"color": "blue"}, ContentType: "text/x-k3"},
		"ünï/日本 +&=?#%20": {SendContentMd5: true},
		"crc32c":          {Checksum: minio.ChecksumCRC32C},
		"sha256":          {Checksum: minio.ChecksumSHA256},
		"crc64":           {Checksum: minio.ChecksumCRC64NVME},
		"unsigned":        {DisableContentSha256: true},
	} {
		_, err := c.PutObject(ctx, bucket, key, bytes.NewReader(body), int64(len(body)), o)
		require.NoError(t, err, key)
		got, err := get(key, minio.GetObjectOptions{})
		require.NoError(t, err, key)
		require.True(t, bytes.Equal(body, got), key)
	}
	info, err := c.StatObject(ctx, bucket, "plain", minio.StatObjectOptions{})
	require.NoError(t, err)
	require.Equal(t, "blue", info.UserMetadata["Color"])
	require.Equal(t, "text/x-k3", info.ContentType)

	ranged := minio.GetObjectOptions{}
	require.NoError(t, ranged.SetRange(70_000, 70_099))
	got, err := get("plain", ranged)
	require.NoError(t, err)
	require.Equal(t, body[70_000:70_100], got)
	other := minio.GetObjectOptions{}
	require.NoError(t, other.SetMatchETag("other"))
	_, err = get("plain", other)
	require.Equal(t, "PreconditionFailed", code(err))
	_, err = get("absent", minio.GetObjectOptions{})
	require.Equal(t, "NoSuchKey", code(err))

	large := randomBytes(23 << 20) // of unknown length: minio-go makes parts
	_, err = c.PutObject(ctx, bucket, "large", io.MultiReader(bytes.NewReader(large)), -1, minio.PutObjectOptions{PartSize: 5 << 20})
	require.NoError(t, err)
	got, err = get("large", minio.GetObjectOptions{})
	require.NoError(t, err)
	require.True(t, bytes.Equal(large, got))

	_, err = c.CopyObject(ctx, minio.CopyDestOptions{Bucket: bucket, Object: "copy"}, minio.CopySrcOptions{Bucket: bucket, Object: "ünï/日本 +&=?#%20"})
	require.NoError(t, err)
	_, err = c.ComposeObject(ctx, minio.CopyDestOptions{Bucket: bucket, Object: "composed"},
		minio.CopySrcOptions{Bucket: bucket, Object: "large"}, minio.CopySrcOptions{Bucket: bucket, Object: "plain"})
	require.NoError(t, err)
	got, err = get("composed", minio.GetObjectOptions{})
	require.NoError(t, err)
	require.True(t, bytes.Equal(slices.Concat(large, body), got))

	var keys []string
	doomed := make(chan minio.ObjectInfo, 100)
	for o := range c.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true, MaxKeys: 2}) {
		require.NoError(t, o.Err)
		keys = append(keys, o.Key)
		doomed <- o
	}
	close(doomed)
	require.Equal(t, []string{"composed", "copy", "crc32c", "crc64", "large", "plain", "sha256", "unsigned", "ünï/日本 +&=?#%20"}, keys)
	for e := range c.RemoveObjects(ctx, bucket, doomed, minio.RemoveObjectsOptions{}) {
		require.NoError(t, e.Err, e.ObjectName)
	}
	require.NoError(t, c.RemoveBucket(ctx, bucket))
}

// TestWrongCredentials: a wrong secret, an unknown key and no signature at all get nothing.
func TestWrongCredentials(t *testing.T) {
	d := harness.Start(t, harness.Options{})
	d.MakeBucket(t, "secret")
	_, err := d.Client(t).PutObject(context.Background(), "secret", "key", bytes.NewReader([]byte("x")), 1, minio.PutObjectOptions{})
	require.NoError(t, err)
	for want, creds := range map[string]*credentials.Credentials{
		"SignatureDoesNotMatch": credentials.NewStaticV4(harness.AccessKey, "wrong-secret-0123456789", ""),
		"InvalidAccessKeyId":    credentials.NewStaticV4("nobody", harness.SecretKey, ""),
		"AccessDenied":          credentials.NewStaticV4("", "", ""),
	} {
		c, err := minio.New(d.S3, &minio.Options{Creds: creds, Region: harness.Region, MaxRetries: 1})
		require.NoError(t, err)
		ctx := context.Background()
		_, err = c.StatObject(ctx, "secret", "key", minio.StatObjectOptions{})
		require.Contains(t, []int{403, 404}, minio.ToErrorResponse(err).StatusCode, want) // forbidden, or hidden
		_, err = c.ListBuckets(ctx)
		require.Equal(t, want, minio.ToErrorResponse(err).Code)
		_, err = c.PutObject(ctx, "secret", "key", bytes.NewReader([]byte("y")), 1, minio.PutObjectOptions{})
		require.Contains(t, []int{403, 404}, minio.ToErrorResponse(err).StatusCode, want)
		err = c.RemoveObject(ctx, "secret", "key", minio.RemoveObjectOptions{})
		require.Contains(t, []int{403, 404}, minio.ToErrorResponse(err).StatusCode, want)
	}
}

func minioClient(t *testing.T, d *harness.Daemon) *minio.Client {
	t.Helper()
	c, err := minio.New(d.S3, &minio.Options{
		Creds: credentials.NewStaticV4(harness.AccessKey, harness.SecretKey, ""), Region: harness.Region, MaxRetries: 1,
	})
	require.NoError(t, err)
	return c
}

// TestMinioGoLocks walks minio-go through versions, retention and legal hold.
func TestMinioGoLocks(t *testing.T) {
	d := harness.Start(t, harness.Options{})
	ctx, bucket, c := context.Background(), "minio-locks", minioClient(t, d)
	require.NoError(t, c.MakeBucket(ctx, bucket, minio.MakeBucketOptions{ObjectLocking: true}))
	mode, days, unit := minio.Governance, uint(2), minio.Days
	require.NoError(t, c.SetObjectLockConfig(ctx, bucket, &mode, &days, &unit))
	_, gotMode, gotDays, gotUnit, err := c.GetObjectLockConfig(ctx, bucket)
	require.NoError(t, err)
	require.Equal(t, []any{mode, days, unit}, []any{*gotMode, *gotDays, *gotUnit})

	put := func(text string, o minio.PutObjectOptions) string {
		o.SendContentMd5 = true
		info, err := c.PutObject(ctx, bucket, "k", bytes.NewReader([]byte(text)), int64(len(text)), o)
		require.NoError(t, err)
		return info.VersionID
	}
	until := time.Now().UTC().Add(48 * time.Hour).Truncate(time.Second)
	first := put("one", minio.PutObjectOptions{LegalHold: minio.LegalHoldEnabled})
	second := put("two", minio.PutObjectOptions{Mode: minio.Compliance, RetainUntilDate: until})

	info, err := c.StatObject(ctx, bucket, "k", minio.StatObjectOptions{VersionID: first})
	require.NoError(t, err)
	require.Equal(t, "GOVERNANCE", info.Metadata.Get("X-Amz-Object-Lock-Mode"))
	hold, err := c.GetObjectLegalHold(ctx, bucket, "k", minio.GetObjectLegalHoldOptions{VersionID: first})
	require.NoError(t, err)
	require.Equal(t, minio.LegalHoldEnabled, *hold)
	gotRetention, gotUntil, err := c.GetObjectRetention(ctx, bucket, "k", second)
	require.NoError(t, err)
	require.Equal(t, minio.Compliance, *gotRetention)
	require.True(t, until.Equal(*gotUntil))

	refused := func(err error) {
		require.Equal(t, "AccessDenied", minio.ToErrorResponse(err).Code, "%v", err)
	}
	remove := func(id string, bypass bool) error {
		return c.RemoveObject(ctx, bucket, "k", minio.RemoveObjectOptions{VersionID: id, GovernanceBypass: bypass})
	}
	refused(remove(first, true))
	refused(remove(second, true))
	sooner, governance := until.Add(-time.Hour), minio.Governance
	for _, bypass := range []bool{false, true} {
		refused(c.PutObjectRetention(ctx, bucket, "k", minio.PutObjectRetentionOptions{
			VersionID: second, Mode: &governance, RetainUntilDate: &sooner, GovernanceBypass: bypass}))
	}
	off := minio.LegalHoldDisabled
	require.NoError(t, c.PutObjectLegalHold(ctx, bucket, "k", minio.PutObjectLegalHoldOptions{VersionID: first, Status: &off}))
	refused(remove(first, false))
	require.NoError(t, remove(first, true))
	require.NoError(t, remove("", false)) // a delete marker

	var seen []string
	for o := range c.ListObjects(ctx, bucket, minio.ListObjectsOptions{WithVersions: true, Recursive: true}) {
		require.NoError(t, o.Err)
		if !o.IsDeleteMarker {
			seen = append(seen, o.VersionID)
		}
	}
	require.Equal(t, []string{second}, seen)
}
