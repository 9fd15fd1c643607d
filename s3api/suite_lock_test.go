package s3api

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
)

// locked enables Object Lock for the case's bucket, puts k, and returns its version.
func (c *caller) locked() *string {
	c.t.Helper()
	c.versioned()
	must(c.PutObjectLockConfiguration(c.ctx, &s3.PutObjectLockConfigurationInput{Bucket: c.bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled}}))(c)
	return must(c.PutObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: k, Body: strings.NewReader("held")}))(c).VersionId
}

func retention(mode types.ObjectLockRetentionMode, d time.Duration) *types.ObjectLockRetention {
	return &types.ObjectLockRetention{Mode: mode, RetainUntilDate: aws.Time(time.Now().Add(d))}
}

const (
	governance = types.ObjectLockRetentionModeGovernance
	compliance = types.ObjectLockRetentionModeCompliance
)

// lockCases are those of Object Lock.
var lockCases = map[string]conform{
	"PutObjectLockConfiguration": {func(c *caller) {
		c.versioned()
		must(c.PutObjectLockConfiguration(c.ctx, &s3.PutObjectLockConfigurationInput{Bucket: c.bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled,
			Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: governance, Days: aws.Int32(2)}}}}))(c)
		c.object("k", "x")
		o := must(c.HeadObject(c.ctx, &s3.HeadObjectInput{Bucket: c.bucket, Key: k}))(c)
		require.Equal(c.t, types.ObjectLockModeGovernance, o.ObjectLockMode)
	}, func(c *caller) {
		path := "/" + *c.bucket + "?object-lock"
		c.refuse(409, "InvalidBucketState", "PUT", path, "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>", nil)
		c.versioned()
		for rule, code := range map[string]string{"<Mode>GOVERNANCE</Mode>": "MalformedXML", "<Mode>X</Mode><Days>1</Days>": "MalformedXML", "<Mode>COMPLIANCE</Mode><Days>0</Days>": "InvalidRetentionPeriod",
			"<Mode>COMPLIANCE</Mode><Years>101</Years>": "InvalidRetentionPeriod", "<Mode>COMPLIANCE</Mode><Days>1</Days><Years>1</Years>": "MalformedXML"} {
			c.refuse(400, code, "PUT", path, "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"+rule+"</DefaultRetention></Rule></ObjectLockConfiguration>", nil)
		}
		c.refuse(400, "MalformedXML", "PUT", path, "", nil)
		c.hidden(func(client *s3.Client) error {
			_, err := client.PutObjectLockConfiguration(c.ctx, &s3.PutObjectLockConfigurationInput{Bucket: c.bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled}})
			return err
		})
	}},
	"GetObjectLockConfiguration": {func(c *caller) {
		c.locked()
		out := must(c.GetObjectLockConfiguration(c.ctx, &s3.GetObjectLockConfigurationInput{Bucket: c.bucket}))(c)
		require.Equal(c.t, types.ObjectLockEnabledEnabled, out.ObjectLockConfiguration.ObjectLockEnabled)
	}, func(c *caller) {
		_, err := c.GetObjectLockConfiguration(c.ctx, &s3.GetObjectLockConfigurationInput{Bucket: c.bucket})
		c.refused(404, "ObjectLockConfigurationNotFoundError", err)
	}},
	"PutObjectRetention": {func(c *caller) {
		id := c.locked()
		must(c.PutObjectRetention(c.ctx, &s3.PutObjectRetentionInput{Bucket: c.bucket, Key: k, VersionId: id, Retention: retention(governance, time.Hour)}))(c)
		_, err := c.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: k, VersionId: id})
		c.refused(403, "AccessDenied", err)
		must(c.PutObjectRetention(c.ctx, &s3.PutObjectRetentionInput{Bucket: c.bucket, Key: k, Retention: retention(governance, time.Minute), BypassGovernanceRetention: aws.Bool(true)}))(c)
		must(c.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: k, VersionId: id, BypassGovernanceRetention: aws.Bool(true)}))(c)
	}, func(c *caller) {
		put := func(client *s3.Client, key *string, r *types.ObjectLockRetention, bypass bool) error {
			_, err := client.PutObjectRetention(c.ctx, &s3.PutObjectRetentionInput{Bucket: c.bucket, Key: key, Retention: r, BypassGovernanceRetention: &bypass})
			return err
		}
		c.object("k", "x")
		c.refused(400, "InvalidRequest", put(c.Client, k, retention(governance, time.Hour), false))
		id := c.locked()
		require.NoError(c.t, put(c.Client, k, retention(compliance, time.Hour), false))
		for _, bypass := range []bool{false, true} {
			c.refused(403, "AccessDenied", put(c.Client, k, retention(compliance, time.Minute), bypass))
			c.refused(403, "AccessDenied", put(c.Client, k, retention(governance, 2*time.Hour), bypass))
			_, err := c.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: k, VersionId: id, BypassGovernanceRetention: &bypass})
			c.refused(403, "AccessDenied", err)
		}
		c.refused(400, "InvalidArgument", put(c.Client, k, retention(compliance, -time.Hour), false))
		c.refused(404, "NoSuchKey", put(c.Client, aws.String("absent"), retention(compliance, time.Hour), false))
		c.hidden(func(client *s3.Client) error { return put(client, k, retention(compliance, 2*time.Hour), false) })
		c.holds("k", "held")
	}},
	"GetObjectRetention": {func(c *caller) {
		id, want := c.locked(), retention(compliance, time.Hour)
		must(c.PutObjectRetention(c.ctx, &s3.PutObjectRetentionInput{Bucket: c.bucket, Key: k, Retention: want}))(c)
		got := must(c.GetObjectRetention(c.ctx, &s3.GetObjectRetentionInput{Bucket: c.bucket, Key: k, VersionId: id}))(c).Retention
		require.Equal(c.t, want.Mode, got.Mode)
		require.WithinDuration(c.t, *want.RetainUntilDate, *got.RetainUntilDate, time.Second)
	}, func(c *caller) {
		c.locked()
		_, err := c.GetObjectRetention(c.ctx, &s3.GetObjectRetentionInput{Bucket: c.bucket, Key: k})
		c.refused(404, "NoSuchObjectLockConfiguration", err)
		c.hidden(func(client *s3.Client) error {
			_, err := client.GetObjectRetention(c.ctx, &s3.GetObjectRetentionInput{Bucket: c.bucket, Key: k})
			return err
		})
	}},
	"PutObjectLegalHold": {func(c *caller) {
		id := c.locked()
		hold := func(status types.ObjectLockLegalHoldStatus) {
			must(c.PutObjectLegalHold(c.ctx, &s3.PutObjectLegalHoldInput{Bucket: c.bucket, Key: k, VersionId: id, LegalHold: &types.ObjectLockLegalHold{Status: status}}))(c)
		}
		hold("ON")
		_, err := c.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: k, VersionId: id, BypassGovernanceRetention: aws.Bool(true)})
		c.refused(403, "AccessDenied", err)
		hold("OFF")
		must(c.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: k, VersionId: id}))(c)
	}, func(c *caller) {
		put := func(client *s3.Client, status types.ObjectLockLegalHoldStatus) error {
			_, err := client.PutObjectLegalHold(c.ctx, &s3.PutObjectLegalHoldInput{Bucket: c.bucket, Key: k, LegalHold: &types.ObjectLockLegalHold{Status: status}})
			return err
		}
		c.object("k", "x")
		c.refused(400, "InvalidRequest", put(c.Client, "ON"))
		c.locked()
		c.refused(400, "MalformedXML", put(c.Client, "MAYBE"))
		c.hidden(func(client *s3.Client) error { return put(client, "ON") })
	}},
	"GetObjectLegalHold": {func(c *caller) {
		id := c.locked()
		must(c.PutObjectLegalHold(c.ctx, &s3.PutObjectLegalHoldInput{Bucket: c.bucket, Key: k, LegalHold: &types.ObjectLockLegalHold{Status: "ON"}}))(c)
		require.Equal(c.t, types.ObjectLockLegalHoldStatusOn, must(c.GetObjectLegalHold(c.ctx, &s3.GetObjectLegalHoldInput{Bucket: c.bucket, Key: k, VersionId: id}))(c).LegalHold.Status)
		must(c.PutObjectLegalHold(c.ctx, &s3.PutObjectLegalHoldInput{Bucket: c.bucket, Key: k, LegalHold: &types.ObjectLockLegalHold{Status: "OFF"}}))(c)
	}, func(c *caller) {
		c.object("k", "x")
		_, err := c.GetObjectLegalHold(c.ctx, &s3.GetObjectLegalHoldInput{Bucket: c.bucket, Key: k})
		c.refused(400, "InvalidRequest", err)
		c.hidden(func(client *s3.Client) error {
			_, err := client.GetObjectLegalHold(c.ctx, &s3.GetObjectLegalHoldInput{Bucket: c.bucket, Key: k})
			return err
		})
	}},
}

// upload begins one.
func (c *caller) upload(key string) *string {
	c.t.Helper()
	return must(c.CreateMultipartUpload(c.ctx, &s3.CreateMultipartUploadInput{Bucket: c.bucket, Key: &key}))(c).UploadId
}

// part sends one, and returns what Complete is told of it.
func (c *caller) part(id *string, n int32, data string) types.CompletedPart {
	c.t.Helper()
	out := must(c.UploadPart(c.ctx, &s3.UploadPartInput{Bucket: c.bucket, Key: k, UploadId: id, PartNumber: &n, Body: strings.NewReader(data)}))(c)
	return types.CompletedPart{PartNumber: &n, ETag: out.ETag}
}

// uploadCases are those of multipart uploads.
var uploadCases = map[string]conform{
	"CreateMultipartUpload": {func(c *caller) {
		out := must(c.CreateMultipartUpload(c.ctx, &s3.CreateMultipartUploadInput{Bucket: c.bucket, Key: k, ContentType: aws.String("text/plain"), Metadata: map[string]string{"m": "1"}, Tagging: aws.String("a=1"),
			ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: aws.String("mine"), StorageClass: types.StorageClassStandardIa}))(c)
		require.Equal(c.t, []any{types.ChecksumAlgorithmSha256, types.ChecksumTypeComposite, "mine"}, []any{out.ChecksumAlgorithm, out.ChecksumType, *out.SSEKMSKeyId})
	}, func(c *caller) {
		for code, in := range map[string]s3.CreateMultipartUploadInput{
			"InvalidRequest":        {ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumType: types.ChecksumTypeFullObject},
			"InvalidTag":            {Tagging: aws.String("aws:x=1")},
			"InvalidStorageClass":   {StorageClass: "TAPE"},
			"KMS.NotFoundException": {ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: aws.String("theirs")},
		} {
			in.Bucket, in.Key = c.bucket, k
			_, err := c.CreateMultipartUpload(c.ctx, &in)
			c.refused(400, code, err)
		}
		c.hidden(func(client *s3.Client) error {
			_, err := client.CreateMultipartUpload(c.ctx, &s3.CreateMultipartUploadInput{Bucket: c.bucket, Key: k})
			return err
		})
	}},
	"UploadPart": {func(c *caller) {
		id := c.upload("k")
		for _, text := range []string{"one", "again"} {
			require.Equal(c.t, etag(text), *c.part(id, 10000, text).ETag)
		}
	}, func(c *caller) {
		id := c.upload("k")
		part := func(client *s3.Client, id *string, n int32, change func(*s3.UploadPartInput)) error {
			in := &s3.UploadPartInput{Bucket: c.bucket, Key: k, UploadId: id, PartNumber: &n, Body: strings.NewReader("x")}
			change(in)
			_, err := client.UploadPart(c.ctx, in)
			return err
		}
		same := func(*s3.UploadPartInput) {}
		c.refused(404, "NoSuchUpload", part(c.Client, aws.String("absent"), 1, same))
		c.refused(400, "InvalidArgument", part(c.Client, id, 0, same))
		c.refused(400, "InvalidArgument", part(c.Client, id, 10001, same))
		c.refused(400, "BadDigest", part(c.Client, id, 1, func(in *s3.UploadPartInput) { in.ContentMD5 = aws.String("1B2M2Y8AsgTpgAmY7PhCfg==") }))
		c.refused(400, "BadDigest", part(c.Client, id, 1, func(in *s3.UploadPartInput) { in.ChecksumCRC32 = aws.String("AAAAAA==") }))
		c.hidden(func(client *s3.Client) error { return part(client, id, 1, same) })
		require.Empty(c.t, must(c.ListParts(c.ctx, &s3.ListPartsInput{Bucket: c.bucket, Key: k, UploadId: id}))(c).Parts)
	}},
	"UploadPartCopy": {func(c *caller) {
		c.object("source", "0123456789")
		id := c.upload("k")
		out := must(c.UploadPartCopy(c.ctx, &s3.UploadPartCopyInput{Bucket: c.bucket, Key: k, UploadId: id, PartNumber: aws.Int32(1), CopySource: aws.String(*c.bucket + "/source"), CopySourceRange: aws.String("bytes=2-4")}))(c)
		require.Equal(c.t, etag("234"), *out.CopyPartResult.ETag)
	}, func(c *caller) {
		c.object("source", "0123456789")
		id := c.upload("k")
		part := func(client *s3.Client, source, ranged string) error {
			in := &s3.UploadPartCopyInput{Bucket: c.bucket, Key: k, UploadId: id, PartNumber: aws.Int32(1), CopySource: &source}
			if ranged != "" {
				in.CopySourceRange = &ranged
			}
			_, err := client.UploadPartCopy(c.ctx, in)
			return err
		}
		c.refused(404, "NoSuchKey", part(c.Client, *c.bucket+"/absent", ""))
		c.refused(416, "InvalidRange", part(c.Client, *c.bucket+"/source", "bytes=0-10"))
		c.refused(400, "InvalidArgument", part(c.Client, *c.bucket+"/source", "bytes=5-"))
		c.refused(400, "InvalidArgument", part(c.Client, *c.bucket, ""))
		c.hidden(func(client *s3.Client) error { return part(client, *c.bucket+"/source", "") })
	}},
	"CompleteMultipartUpload": {func(c *caller) {
		id, big := c.upload("k"), string(storetest.Bytes(5<<20, 1))
		parts := []types.CompletedPart{c.part(id, 2, big), c.part(id, 7, "tail")}
		in := &s3.CompleteMultipartUploadInput{Bucket: c.bucket, Key: k, UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}, MpuObjectSize: aws.Int64(5<<20 + 4), IfNoneMatch: aws.String("*")}
		out := must(c.CompleteMultipartUpload(c.ctx, in))(c)
		require.Contains(c.t, *out.ETag, `-2"`)
		require.Equal(c.t, *out.ETag, *must(c.CompleteMultipartUpload(c.ctx, in))(c).ETag, "again, as after a lost answer")
		shown, _ := c.shown(*c.bucket, "k")
		require.True(c.t, shown == big+"tail")
		tail := must(c.GetObject(c.ctx, &s3.GetObjectInput{Bucket: c.bucket, Key: k, PartNumber: aws.Int32(7)}))(c)
		require.Equal(c.t, "tail", c.text(tail.Body))
		bare := s3.New(c.Options(), func(o *s3.Options) { o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired })
		id = c.upload("k")
		part := must(bare.UploadPart(c.ctx, &s3.UploadPartInput{Bucket: c.bucket, Key: k, UploadId: id, PartNumber: aws.Int32(1), Body: strings.NewReader("tail")}))(c)
		out = must(bare.CompleteMultipartUpload(c.ctx, &s3.CompleteMultipartUploadInput{Bucket: c.bucket, Key: k, UploadId: id,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag}}}}))(c)
		require.Equal(c.t, types.ChecksumTypeFullObject, out.ChecksumType)
		require.NotEmpty(c.t, *out.ChecksumCRC64NVME, "where the client chooses none")
	}, func(c *caller) {
		c.object("k", "kept")
		id := c.upload("k")
		one, two := c.part(id, 1, "small"), c.part(id, 2, "small")
		complete := func(client *s3.Client, change func(*s3.CompleteMultipartUploadInput), parts ...types.CompletedPart) error {
			in := &s3.CompleteMultipartUploadInput{Bucket: c.bucket, Key: k, UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}
			change(in)
			_, err := client.CompleteMultipartUpload(c.ctx, in)
			return err
		}
		same := func(*s3.CompleteMultipartUploadInput) {}
		c.refused(400, "EntityTooSmall", complete(c.Client, same, one, two))
		c.refused(400, "InvalidPartOrder", complete(c.Client, same, two, one))
		c.refused(400, "InvalidPart", complete(c.Client, same, types.CompletedPart{PartNumber: aws.Int32(1), ETag: aws.String(`"x"`)}))
		c.refused(400, "MalformedXML", complete(c.Client, same))
		c.refused(404, "NoSuchUpload", complete(c.Client, func(in *s3.CompleteMultipartUploadInput) { in.UploadId = aws.String("absent") }, one))
		c.refused(412, "PreconditionFailed", complete(c.Client, func(in *s3.CompleteMultipartUploadInput) { in.IfNoneMatch = aws.String("*") }, one))
		c.hidden(func(client *s3.Client) error { return complete(client, same, one) })
		c.refuse(400, "MalformedXML", "POST", fmt.Sprintf("/%s/k?uploadId=%s", *c.bucket, *id), "<CompleteMultipartUpload>", nil)
		c.holds("k", "kept")
	}},
	"AbortMultipartUpload": {func(c *caller) {
		id := c.upload("k")
		c.part(id, 1, "x")
		must(c.AbortMultipartUpload(c.ctx, &s3.AbortMultipartUploadInput{Bucket: c.bucket, Key: k, UploadId: id}))(c)
		require.Empty(c.t, must(c.ListMultipartUploads(c.ctx, &s3.ListMultipartUploadsInput{Bucket: c.bucket}))(c).Uploads)
	}, func(c *caller) {
		_, err := c.AbortMultipartUpload(c.ctx, &s3.AbortMultipartUploadInput{Bucket: c.bucket, Key: k, UploadId: aws.String("absent")})
		c.refused(404, "NoSuchUpload", err)
		id := c.upload("k")
		c.hidden(func(client *s3.Client) error {
			_, err := client.AbortMultipartUpload(c.ctx, &s3.AbortMultipartUploadInput{Bucket: c.bucket, Key: k, UploadId: id})
			return err
		})
		require.Len(c.t, must(c.ListMultipartUploads(c.ctx, &s3.ListMultipartUploadsInput{Bucket: c.bucket}))(c).Uploads, 1)
	}},
}
