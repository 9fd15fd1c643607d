package s3api

import (
	"crypto/md5"
	"encoding/base64"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

func unescaped(c *caller, s string) string {
	c.t.Helper()
	plain, err := url.PathUnescape(s)
	require.NoError(c.t, err)
	return plain
}

func (c *caller) versioned() {
	c.t.Helper()
	must(c.PutBucketVersioning(c.ctx, &s3.PutBucketVersioningInput{Bucket: c.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}))(c)
}

// two puts two versions of k, and returns their ids.
func (c *caller) two() (first, second *string) {
	c.t.Helper()
	c.versioned()
	put := func(text string) *string {
		return must(c.PutObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: k, Body: strings.NewReader(text)}))(c).VersionId
	}
	return put("first"), put("second")
}

var k = aws.String("k")

// hidden is that somebody else is refused as if the bucket were not there, and nobody as such.
func (c *caller) hidden(call func(*s3.Client) error) {
	c.t.Helper()
	c.refused(404, "NoSuchBucket", call(c.them))
	c.refused(403, "AccessDenied", call(c.nobody))
}

// objectCases are those of objects.
var objectCases = map[string]conform{
	"PutObject": {func(c *caller) {
		sum := md5.Sum([]byte("x"))
		out := must(c.PutObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: aws.String("dir/ü +"), Body: strings.NewReader("x"),
			ContentMD5: aws.String(base64.StdEncoding.EncodeToString(sum[:])), CacheControl: aws.String("no-store"), ContentDisposition: aws.String("attachment"),
			ContentEncoding: aws.String("identity"), ContentLanguage: aws.String("de"), ContentType: aws.String("text/plain"), Expires: aws.Time(time.Unix(2e9, 0)),
			Metadata: map[string]string{"colour": "blue"}, StorageClass: types.StorageClassStandardIa, Tagging: aws.String("a=1&b=2"), WebsiteRedirectLocation: aws.String("/there"),
			ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: aws.String("mine"), IfNoneMatch: aws.String("*"), ExpectedBucketOwner: aws.String(mine.AccountID())}))(c)
		require.Equal(c.t, []string{etag("x"), "mine"}, []string{*out.ETag, *out.SSEKMSKeyId})
		require.NotEmpty(c.t, *out.ChecksumCRC32)
		o := must(c.HeadObject(c.ctx, &s3.HeadObjectInput{Bucket: c.bucket, Key: aws.String("dir/ü +")}))(c)
		require.Equal(c.t, []any{"no-store", "attachment", "identity", "de", "text/plain", map[string]string{"colour": "blue"}, types.StorageClassStandardIa, "/there", int32(2)},
			[]any{*o.CacheControl, *o.ContentDisposition, *o.ContentEncoding, *o.ContentLanguage, *o.ContentType, o.Metadata, o.StorageClass, *o.WebsiteRedirectLocation, *o.TagCount})
		shown, there := c.shown(*c.bucket, "dir", "ü +")
		require.True(c.t, there)
		require.Equal(c.t, "x", shown)
		for _, a := range types.ChecksumAlgorithm("").Values()[:5] {
			must(c.PutObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: aws.String("sum"), Body: strings.NewReader("sum"), ChecksumAlgorithm: a}))(c)
			got := must(c.GetObject(c.ctx, &s3.GetObjectInput{Bucket: c.bucket, Key: aws.String("sum"), ChecksumMode: types.ChecksumModeEnabled}))(c)
			require.Equal(c.t, "sum", c.text(got.Body), a)
		}
	}, func(c *caller) {
		c.object("k", "kept")
		put := func(change func(*s3.PutObjectInput)) error {
			in := &s3.PutObjectInput{Bucket: c.bucket, Key: k, Body: strings.NewReader("new")}
			change(in)
			_, err := c.PutObject(c.ctx, in)
			return err
		}
		for _, bad := range []struct {
			status int
			code   string
			change func(*s3.PutObjectInput)
		}{
			{412, "PreconditionFailed", func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") }},
			{412, "PreconditionFailed", func(in *s3.PutObjectInput) { in.IfMatch = aws.String(`"x"`) }},
			{404, "NoSuchKey", func(in *s3.PutObjectInput) { in.Key, in.IfMatch = aws.String("absent"), aws.String(`"x"`) }},
			{400, "BadDigest", func(in *s3.PutObjectInput) { in.ContentMD5 = aws.String("1B2M2Y8AsgTpgAmY7PhCfg==") }},
			{400, "InvalidDigest", func(in *s3.PutObjectInput) { in.ContentMD5 = aws.String("x") }},
			{400, "BadDigest", func(in *s3.PutObjectInput) { in.ChecksumCRC32 = aws.String("AAAAAA==") }},
			{400, "InvalidStorageClass", func(in *s3.PutObjectInput) { in.StorageClass = "TAPE" }},
			{400, "InvalidTag", func(in *s3.PutObjectInput) { in.Tagging = aws.String("aws:x=1") }},
			{400, "KMS.NotFoundException", func(in *s3.PutObjectInput) {
				in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, aws.String("theirs")
			}},
			{400, "InvalidRequest", func(in *s3.PutObjectInput) {
				in.SSECustomerAlgorithm, in.SSECustomerKey = aws.String("AES256"), aws.String(strings.Repeat("k", 32))
			}},
			{400, "AccessControlListNotSupported", func(in *s3.PutObjectInput) { in.ACL = types.ObjectCannedACLPublicRead }},
			{400, "InvalidRequest", func(in *s3.PutObjectInput) { in.ObjectLockLegalHoldStatus = types.ObjectLockLegalHoldStatusOn }},
			{400, "MetadataTooLarge", func(in *s3.PutObjectInput) { in.Metadata = map[string]string{"m": strings.Repeat("x", 2048)} }},
			{400, "KeyTooLongError", func(in *s3.PutObjectInput) { in.Key = aws.String(strings.Repeat("k", 1025)) }},
			{403, "AccessDenied", func(in *s3.PutObjectInput) { in.ExpectedBucketOwner = aws.String(c.theirs.AccountID()) }},
			{404, "NoSuchBucket", func(in *s3.PutObjectInput) { in.Bucket = aws.String("absent") }},
		} {
			c.refused(bad.status, bad.code, put(bad.change))
		}
		c.hidden(func(client *s3.Client) error {
			_, err := client.PutObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: k})
			return err
		})
		c.holds("k", "kept")
		_, there := c.shown(*c.bucket, "absent")
		require.False(c.t, there)
	}},
	"GetObject": {func(c *caller) {
		first, _ := c.two()
		get := func(change func(*s3.GetObjectInput)) (*s3.GetObjectOutput, string) {
			in := &s3.GetObjectInput{Bucket: c.bucket, Key: k, ChecksumMode: types.ChecksumModeEnabled}
			change(in)
			out := must(c.GetObject(c.ctx, in))(c)
			return out, c.text(out.Body)
		}
		out, text := get(func(*s3.GetObjectInput) {})
		require.Equal(c.t, "second", text)
		_, text = get(func(in *s3.GetObjectInput) { in.VersionId = first })
		require.Equal(c.t, "first", text)
		ranged, text := get(func(in *s3.GetObjectInput) { in.Range = aws.String("bytes=-3") })
		require.Equal(c.t, []string{"ond", "bytes 3-5/6"}, []string{text, *ranged.ContentRange})
		_, text = get(func(in *s3.GetObjectInput) { in.PartNumber = aws.Int32(1) })
		require.Equal(c.t, "second", text)
		over, _ := get(func(in *s3.GetObjectInput) {
			in.IfMatch, in.IfUnmodifiedSince = out.ETag, aws.Time(time.Now().Add(time.Hour))
			in.ResponseCacheControl, in.ResponseContentDisposition, in.ResponseContentEncoding = aws.String("c"), aws.String("d"), aws.String("e")
			in.ResponseContentLanguage, in.ResponseContentType, in.ResponseExpires = aws.String("l"), aws.String("t/t"), aws.Time(time.Unix(2e9, 0))
		})
		require.Equal(c.t, []string{"c", "d", "e", "l", "t/t", "Wed, 18 May 2033 03:33:20 GMT"},
			[]string{*over.CacheControl, *over.ContentDisposition, *over.ContentEncoding, *over.ContentLanguage, *over.ContentType, *over.ExpiresString})
	}, func(c *caller) {
		_, second := c.two()
		get := func(change func(*s3.GetObjectInput)) error {
			in := &s3.GetObjectInput{Bucket: c.bucket, Key: k}
			change(in)
			_, err := c.GetObject(c.ctx, in)
			return err
		}
		c.refused(404, "NoSuchKey", get(func(in *s3.GetObjectInput) { in.Key = aws.String("absent") }))
		c.refused(404, "NoSuchVersion", get(func(in *s3.GetObjectInput) { in.Key, in.VersionId = aws.String("absent"), second }))
		c.refused(400, "InvalidArgument", get(func(in *s3.GetObjectInput) { in.VersionId = aws.String("x") }))
		c.refused(416, "InvalidRange", get(func(in *s3.GetObjectInput) { in.Range = aws.String("bytes=6-") }))
		c.refused(400, "InvalidArgument", get(func(in *s3.GetObjectInput) { in.PartNumber = aws.Int32(0) }))
		c.refused(412, "PreconditionFailed", get(func(in *s3.GetObjectInput) { in.IfMatch = aws.String(`"x"`) }))
		c.refused(304, "NotModified", get(func(in *s3.GetObjectInput) { in.IfNoneMatch = aws.String(etag("second")) }))
		c.refused(304, "NotModified", get(func(in *s3.GetObjectInput) { in.IfModifiedSince = aws.Time(time.Now()) }))
		c.refused(412, "PreconditionFailed", get(func(in *s3.GetObjectInput) { in.IfUnmodifiedSince = aws.Time(time.Unix(1e9, 0)) }))
		c.refused(403, "AccessDenied", get(func(in *s3.GetObjectInput) { in.ExpectedBucketOwner = aws.String(c.theirs.AccountID()) }))
		c.hidden(func(client *s3.Client) error {
			_, err := client.GetObject(c.ctx, &s3.GetObjectInput{Bucket: c.bucket, Key: k})
			return err
		})
	}},
	"HeadObject": {func(c *caller) {
		first, _ := c.two()
		out := must(c.HeadObject(c.ctx, &s3.HeadObjectInput{Bucket: c.bucket, Key: k, VersionId: first, ChecksumMode: types.ChecksumModeEnabled, IfMatch: aws.String(etag("first"))}))(c)
		require.Equal(c.t, []any{int64(5), etag("first"), *first}, []any{*out.ContentLength, *out.ETag, *out.VersionId})
		require.NotEmpty(c.t, *out.ChecksumCRC32)
		out = must(c.HeadObject(c.ctx, &s3.HeadObjectInput{Bucket: c.bucket, Key: k, PartNumber: aws.Int32(1), ResponseCacheControl: aws.String("c"), ResponseContentDisposition: aws.String("d"),
			ResponseContentEncoding: aws.String("e"), ResponseContentLanguage: aws.String("l"), ResponseContentType: aws.String("t/t"), ResponseExpires: aws.Time(time.Unix(2e9, 0))}))(c)
		require.Equal(c.t, []any{int64(6), "c", "t/t"}, []any{*out.ContentLength, *out.CacheControl, *out.ContentType})
	}, func(c *caller) {
		c.object("k", "x")
		head := func(change func(*s3.HeadObjectInput)) error {
			in := &s3.HeadObjectInput{Bucket: c.bucket, Key: k}
			change(in)
			_, err := c.HeadObject(c.ctx, in)
			return err
		}
		c.refused(404, "", head(func(in *s3.HeadObjectInput) { in.Key = aws.String("absent") }))
		c.refused(412, "", head(func(in *s3.HeadObjectInput) { in.IfMatch = aws.String(`"x"`) }))
		c.refused(304, "", head(func(in *s3.HeadObjectInput) { in.IfNoneMatch = aws.String(etag("x")) }))
		c.refused(416, "", head(func(in *s3.HeadObjectInput) { in.Range = aws.String("bytes=1-") }))
		c.refused(400, "", head(func(in *s3.HeadObjectInput) { in.PartNumber = aws.Int32(2) }))
		_, err := c.them.HeadObject(c.ctx, &s3.HeadObjectInput{Bucket: c.bucket, Key: k})
		c.refused(404, "", err)
	}},
	"GetObjectAttributes": {func(c *caller) {
		first, _ := c.two()
		out := must(c.GetObjectAttributes(c.ctx, &s3.GetObjectAttributesInput{Bucket: c.bucket, Key: k, VersionId: first, ObjectAttributes: types.ObjectAttributes("").Values()}))(c)
		require.Equal(c.t, []any{strings.Trim(etag("first"), `"`), int64(5), types.StorageClassStandard, *first}, []any{*out.ETag, *out.ObjectSize, out.StorageClass, *out.VersionId})
		require.NotEmpty(c.t, *out.Checksum.ChecksumCRC32)
		require.Nil(c.t, out.ObjectParts)
	}, func(c *caller) {
		_, err := c.GetObjectAttributes(c.ctx, &s3.GetObjectAttributesInput{Bucket: c.bucket, Key: k, ObjectAttributes: types.ObjectAttributes("").Values()})
		c.refused(404, "NoSuchKey", err)
		c.object("k", "x")
		_, err = c.GetObjectAttributes(c.ctx, &s3.GetObjectAttributesInput{Bucket: c.bucket, Key: k, ObjectAttributes: []types.ObjectAttributes{"Colour"}})
		c.refused(400, "InvalidArgument", err)
		c.hidden(func(client *s3.Client) error {
			_, err := client.GetObjectAttributes(c.ctx, &s3.GetObjectAttributesInput{Bucket: c.bucket, Key: k, ObjectAttributes: types.ObjectAttributes("").Values()})
			return err
		})
	}},
	"DeleteObject": {func(c *caller) {
		first, second := c.two()
		gone := must(c.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: k, VersionId: second}))(c)
		require.Equal(c.t, *second, *gone.VersionId)
		c.holds("k", "first")
		marker := must(c.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: k, IfMatch: aws.String(etag("first"))}))(c)
		require.True(c.t, *marker.DeleteMarker)
		_, there := c.shown(*c.bucket, "k")
		require.False(c.t, there)
		must(c.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: k, VersionId: marker.VersionId}))(c)
		c.holds("k", "first")
		must(c.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: k, VersionId: first}))(c)
		must(c.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: aws.String("absent")}))(c)
	}, func(c *caller) {
		c.object("k", "x")
		_, err := c.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: k, IfMatch: aws.String(`"other"`)})
		c.refused(412, "PreconditionFailed", err)
		_, err = c.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: k, VersionId: aws.String("x")})
		c.refused(400, "InvalidArgument", err)
		c.hidden(func(client *s3.Client) error {
			_, err := client.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: k})
			return err
		})
		c.holds("k", "x")
	}},
	"CopyObject": {func(c *caller) {
		first, _ := c.two()
		out := must(c.CopyObject(c.ctx, &s3.CopyObjectInput{Bucket: c.bucket, Key: aws.String("copy"), CopySource: aws.String(*c.bucket + "/k?versionId=" + *first), CopySourceIfMatch: aws.String(etag("first")),
			MetadataDirective: types.MetadataDirectiveReplace, Metadata: map[string]string{"m": "1"}, TaggingDirective: types.TaggingDirectiveReplace, Tagging: aws.String("a=1"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256}))(c)
		require.Equal(c.t, []string{etag("first"), *first}, []string{*out.CopyObjectResult.ETag, *out.CopySourceVersionId})
		require.NotEmpty(c.t, *out.CopyObjectResult.ChecksumSHA256)
		c.holds("copy", "first")
		shown, _ := c.shown(*c.bucket, "copy")
		require.Equal(c.t, "first", shown)
		must(c.CopyObject(c.ctx, &s3.CopyObjectInput{Bucket: c.bucket, Key: aws.String("copy"), CopySource: aws.String(*c.bucket + "/copy"), StorageClass: types.StorageClassGlacierIr}))(c)
		require.Equal(c.t, map[string]string{"m": "1"}, must(c.HeadObject(c.ctx, &s3.HeadObjectInput{Bucket: c.bucket, Key: aws.String("copy")}))(c).Metadata)
	}, func(c *caller) {
		c.object("k", "x")
		cp := func(client *s3.Client, source string, change func(*s3.CopyObjectInput)) error {
			in := &s3.CopyObjectInput{Bucket: c.bucket, Key: aws.String("copy"), CopySource: &source}
			change(in)
			_, err := client.CopyObject(c.ctx, in)
			return err
		}
		same := func(*s3.CopyObjectInput) {}
		c.refused(404, "NoSuchKey", cp(c.Client, *c.bucket+"/absent", same))
		c.refused(404, "NoSuchBucket", cp(c.Client, "absent/k", same))
		c.refused(400, "InvalidArgument", cp(c.Client, *c.bucket, same))
		c.refused(400, "InvalidRequest", cp(c.Client, *c.bucket+"/k", func(in *s3.CopyObjectInput) { in.Key = k }))
		c.refused(412, "PreconditionFailed", cp(c.Client, *c.bucket+"/k", func(in *s3.CopyObjectInput) { in.CopySourceIfNoneMatch = aws.String(etag("x")) }))
		c.refused(412, "PreconditionFailed", cp(c.Client, *c.bucket+"/k", func(in *s3.CopyObjectInput) { in.Key, in.IfNoneMatch, in.StorageClass = k, aws.String("*"), "STANDARD" }))
		c.refused(403, "AccessDenied", cp(c.Client, *c.bucket+"/k", func(in *s3.CopyObjectInput) { in.ExpectedSourceBucketOwner = aws.String(c.theirs.AccountID()) }))
		theirs := aws.String(*c.bucket + ".theirs")
		must(c.them.CreateBucket(c.ctx, &s3.CreateBucketInput{Bucket: theirs}))(c)
		c.refused(404, "NoSuchBucket", cp(c.them, *c.bucket+"/k", func(in *s3.CopyObjectInput) { in.Bucket = theirs }))
		c.refused(403, "AccessDenied", cp(c.nobody, *c.bucket+"/k", same))
		_, err := c.HeadObject(c.ctx, &s3.HeadObjectInput{Bucket: c.bucket, Key: aws.String("copy")})
		c.refused(404, "", err)
	}},
	"AppendObject": {func(c *caller) {
		must(c.PutObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: k, Body: strings.NewReader("one"), WriteOffsetBytes: aws.Int64(0)}))(c)
		out := must(c.PutObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: k, Body: strings.NewReader("two"), WriteOffsetBytes: aws.Int64(3)}))(c)
		require.Equal(c.t, int64(6), *out.Size)
		c.holds("k", "onetwo")
		shown, _ := c.shown(*c.bucket, "k")
		require.Equal(c.t, "onetwo", shown)
	}, func(c *caller) {
		c.object("k", "one")
		_, err := c.PutObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: k, Body: strings.NewReader("x"), WriteOffsetBytes: aws.Int64(2)})
		c.refused(400, "InvalidWriteOffset", err)
		_, err = c.PutObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: aws.String("absent"), Body: strings.NewReader("x"), WriteOffsetBytes: aws.Int64(1)})
		c.refused(404, "NoSuchKey", err)
		c.hidden(func(client *s3.Client) error {
			_, err := client.PutObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: k, Body: strings.NewReader("x"), WriteOffsetBytes: aws.Int64(3)})
			return err
		})
		c.holds("k", "one")
	}},
	"RenameObject": {func(c *caller) {
		c.object("from", "x")
		must(c.RenameObject(c.ctx, &s3.RenameObjectInput{Bucket: c.bucket, Key: aws.String("dir/to"), RenameSource: aws.String("/" + *c.bucket + "/from"), SourceIfMatch: aws.String(etag("x")), DestinationIfNoneMatch: aws.String("*")}))(c)
		c.holds("dir/to", "x")
		_, there := c.shown(*c.bucket, "from")
		require.False(c.t, there)
	}, func(c *caller) {
		c.object("from", "x")
		c.object("to", "kept")
		rename := func(client *s3.Client, source string, change func(*s3.RenameObjectInput)) error {
			in := &s3.RenameObjectInput{Bucket: c.bucket, Key: aws.String("to"), RenameSource: &source}
			change(in)
			_, err := client.RenameObject(c.ctx, in)
			return err
		}
		same := func(*s3.RenameObjectInput) {}
		c.refused(404, "NoSuchKey", rename(c.Client, "/"+*c.bucket+"/absent", same))
		c.refused(400, "InvalidArgument", rename(c.Client, "/another/from", same))
		c.refused(412, "PreconditionFailed", rename(c.Client, "/"+*c.bucket+"/from", func(in *s3.RenameObjectInput) { in.DestinationIfNoneMatch = aws.String("*") }))
		c.refused(412, "PreconditionFailed", rename(c.Client, "/"+*c.bucket+"/from", func(in *s3.RenameObjectInput) { in.SourceIfMatch = aws.String(`"y"`) }))
		c.hidden(func(client *s3.Client) error { return rename(client, "/"+*c.bucket+"/from", same) })
		c.holds("to", "kept")
		c.holds("from", "x")
	}},
	"GetObjectTagging": {func(c *caller) {
		first, _ := c.two()
		must(c.PutObjectTagging(c.ctx, &s3.PutObjectTaggingInput{Bucket: c.bucket, Key: k, VersionId: first, Tagging: tagging("a", "1")}))(c)
		require.Len(c.t, must(c.GetObjectTagging(c.ctx, &s3.GetObjectTaggingInput{Bucket: c.bucket, Key: k, VersionId: first}))(c).TagSet, 1)
		require.Empty(c.t, must(c.GetObjectTagging(c.ctx, &s3.GetObjectTaggingInput{Bucket: c.bucket, Key: k}))(c).TagSet)
	}, func(c *caller) {
		_, err := c.GetObjectTagging(c.ctx, &s3.GetObjectTaggingInput{Bucket: c.bucket, Key: k})
		c.refused(404, "NoSuchKey", err)
		c.hidden(func(client *s3.Client) error {
			_, err := client.GetObjectTagging(c.ctx, &s3.GetObjectTaggingInput{Bucket: c.bucket, Key: k})
			return err
		})
	}},
	"PutObjectTagging": {func(c *caller) {
		first, _ := c.two()
		out := must(c.PutObjectTagging(c.ctx, &s3.PutObjectTaggingInput{Bucket: c.bucket, Key: k, VersionId: first, Tagging: tagging("ü 1", "v")}))(c)
		require.Equal(c.t, *first, *out.VersionId)
		tags := must(c.GetObjectTagging(c.ctx, &s3.GetObjectTaggingInput{Bucket: c.bucket, Key: k, VersionId: first}))(c).TagSet
		require.Equal(c.t, []string{"ü 1", "v"}, []string{*tags[0].Key, *tags[0].Value})
	}, func(c *caller) {
		c.object("k", "x")
		for _, bad := range [][]string{{"aws:x", "1"}, {"a", "1", "a", "2"}, {strings.Repeat("k", 129), ""}, {"a", strings.Repeat("v", 257)}} {
			_, err := c.PutObjectTagging(c.ctx, &s3.PutObjectTaggingInput{Bucket: c.bucket, Key: k, Tagging: tagging(bad...)})
			c.refused(400, "InvalidTag", err)
		}
		_, err := c.PutObjectTagging(c.ctx, &s3.PutObjectTaggingInput{Bucket: c.bucket, Key: aws.String("absent"), Tagging: tagging("a", "1")})
		c.refused(404, "NoSuchKey", err)
		c.hidden(func(client *s3.Client) error {
			_, err := client.PutObjectTagging(c.ctx, &s3.PutObjectTaggingInput{Bucket: c.bucket, Key: k, Tagging: tagging("a", "1")})
			return err
		})
		require.Empty(c.t, must(c.GetObjectTagging(c.ctx, &s3.GetObjectTaggingInput{Bucket: c.bucket, Key: k}))(c).TagSet)
	}},
	"DeleteObjectTagging": {func(c *caller) {
		first, _ := c.two()
		must(c.PutObjectTagging(c.ctx, &s3.PutObjectTaggingInput{Bucket: c.bucket, Key: k, VersionId: first, Tagging: tagging("a", "1")}))(c)
		must(c.DeleteObjectTagging(c.ctx, &s3.DeleteObjectTaggingInput{Bucket: c.bucket, Key: k, VersionId: first}))(c)
		require.Empty(c.t, must(c.GetObjectTagging(c.ctx, &s3.GetObjectTaggingInput{Bucket: c.bucket, Key: k, VersionId: first}))(c).TagSet)
	}, func(c *caller) {
		_, err := c.DeleteObjectTagging(c.ctx, &s3.DeleteObjectTaggingInput{Bucket: c.bucket, Key: k})
		c.refused(404, "NoSuchKey", err)
		c.hidden(func(client *s3.Client) error {
			_, err := client.DeleteObjectTagging(c.ctx, &s3.DeleteObjectTaggingInput{Bucket: c.bucket, Key: k})
			return err
		})
	}},
	"GetObjectAcl": {func(c *caller) {
		first, _ := c.two()
		for _, version := range []*string{nil, first} {
			out := must(c.GetObjectAcl(c.ctx, &s3.GetObjectAclInput{Bucket: c.bucket, Key: k, VersionId: version}))(c)
			require.Equal(c.t, []any{mine.Canonical(), 1, types.PermissionFullControl}, []any{*out.Owner.ID, len(out.Grants), out.Grants[0].Permission})
		}
	}, func(c *caller) {
		_, err := c.GetObjectAcl(c.ctx, &s3.GetObjectAclInput{Bucket: c.bucket, Key: k})
		c.refused(404, "NoSuchKey", err)
		c.hidden(func(client *s3.Client) error {
			_, err := client.GetObjectAcl(c.ctx, &s3.GetObjectAclInput{Bucket: c.bucket, Key: k})
			return err
		})
	}},
	"PutObjectAcl": {func(c *caller) {
		c.acls()
		first, second := c.two()
		get := func(version *string) error {
			_, err := c.nobody.GetObject(c.ctx, &s3.GetObjectInput{Bucket: c.bucket, Key: k, VersionId: version})
			return err
		}
		must(c.PutObjectAcl(c.ctx, &s3.PutObjectAclInput{Bucket: c.bucket, Key: k, VersionId: first, ACL: types.ObjectCannedACLPublicRead}))(c)
		require.NoError(c.t, get(first), "of one version alone")
		for _, version := range []*string{nil, second} {
			c.refused(403, "AccessDenied", get(version))
		}
		out := must(c.GetObjectAcl(c.ctx, &s3.GetObjectAclInput{Bucket: c.bucket, Key: k, VersionId: first}))(c)
		require.Len(c.t, out.Grants, 2)
		must(c.PutObjectAcl(c.ctx, &s3.PutObjectAclInput{Bucket: c.bucket, Key: k, AccessControlPolicy: &types.AccessControlPolicy{Owner: out.Owner, Grants: out.Grants}}))(c)
		require.NoError(c.t, get(nil))
		must(c.PutObjectAcl(c.ctx, &s3.PutObjectAclInput{Bucket: c.bucket, Key: k, VersionId: first, ACL: types.ObjectCannedACLPrivate}))(c)
		c.refused(403, "AccessDenied", get(first))
		require.NoError(c.t, get(second), "the other version keeps its own")
	}, func(c *caller) {
		c.object("k", "x")
		_, err := c.PutObjectAcl(c.ctx, &s3.PutObjectAclInput{Bucket: c.bucket, Key: k, ACL: types.ObjectCannedACLPublicRead})
		c.refused(400, "AccessControlListNotSupported", err)
		c.acls()
		first, _ := c.two()
		for _, bad := range []struct {
			status int
			code   string
			in     s3.PutObjectAclInput
		}{
			{400, "InvalidArgument", s3.PutObjectAclInput{Key: k, ACL: "publik"}},
			{400, "InvalidArgument", s3.PutObjectAclInput{Key: k, GrantRead: aws.String(`id="nobody"`)}},
			{404, "NoSuchKey", s3.PutObjectAclInput{Key: aws.String("absent"), ACL: types.ObjectCannedACLPrivate}},
			{404, "NoSuchVersion", s3.PutObjectAclInput{Key: aws.String("absent"), VersionId: first, ACL: types.ObjectCannedACLPrivate}},
			{400, "InvalidArgument", s3.PutObjectAclInput{Key: k, VersionId: aws.String("x"), ACL: types.ObjectCannedACLPrivate}},
		} {
			bad.in.Bucket = c.bucket
			_, err := c.PutObjectAcl(c.ctx, &bad.in)
			c.refused(bad.status, bad.code, err)
		}
		marker := must(c.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: k}))(c)
		_, err = c.PutObjectAcl(c.ctx, &s3.PutObjectAclInput{Bucket: c.bucket, Key: k, VersionId: marker.VersionId, ACL: types.ObjectCannedACLPrivate})
		c.refused(405, "MethodNotAllowed", err)
		for _, client := range []*s3.Client{c.them, c.nobody} {
			_, err = client.PutObjectAcl(c.ctx, &s3.PutObjectAclInput{Bucket: c.bucket, Key: k, VersionId: first, ACL: types.ObjectCannedACLPublicRead})
			c.refused(403, "AccessDenied", err)
		}
	}},
}

// acls switches access control lists on.
func (c *caller) acls() {
	c.t.Helper()
	must(c.PutBucketOwnershipControls(c.ctx, &s3.PutBucketOwnershipControlsInput{Bucket: c.bucket, OwnershipControls: &types.OwnershipControls{
		Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipObjectWriter}}}}))(c)
}

// tagging makes a document of keys and values.
func tagging(pairs ...string) *types.Tagging {
	doc := &types.Tagging{}
	for i := 0; i < len(pairs); i += 2 {
		doc.TagSet = append(doc.TagSet, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
	}
	return doc
}
