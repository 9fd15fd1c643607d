package s3api

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

// tree puts the objects of the listings' cases.
func (c *caller) tree() {
	for _, k := range []string{"a b/1", "a b/2", "b", "ü+/x", "z"} {
		c.object(k, k)
	}
}

// listCases are those of listings.
var listCases = map[string]conform{
	"ListObjects": {func(c *caller) {
		c.tree()
		var keys, prefixes []string
		in := &s3.ListObjectsInput{Bucket: c.bucket, Delimiter: aws.String("/"), MaxKeys: aws.Int32(1), EncodingType: types.EncodingTypeUrl}
		for {
			page := must(c.ListObjects(c.ctx, in))(c)
			require.LessOrEqual(c.t, len(page.Contents)+len(page.CommonPrefixes), 1)
			for _, o := range page.Contents {
				keys = append(keys, *o.Key)
				require.Equal(c.t, mine.Canonical(), *o.Owner.ID)
			}
			for _, p := range page.CommonPrefixes {
				prefixes = append(prefixes, *p.Prefix)
			}
			if !*page.IsTruncated {
				break
			}
			in.Marker = aws.String(unescaped(c, *page.NextMarker))
		}
		require.Equal(c.t, []string{"b", "z"}, keys)
		require.Equal(c.t, []string{"a%20b/", "%C3%BC%2B/"}, prefixes[:2], "in the order of bytes, and encoded")
		page := must(c.ListObjects(c.ctx, &s3.ListObjectsInput{Bucket: c.bucket, Prefix: aws.String("a b/")}))(c)
		require.Len(c.t, page.Contents, 2)
		require.Equal(c.t, etag("a b/1"), *page.Contents[0].ETag)
	}, func(c *caller) {
		_, err := c.ListObjects(c.ctx, &s3.ListObjectsInput{Bucket: c.bucket, MaxKeys: aws.Int32(-1)})
		c.refused(400, "InvalidArgument", err)
		_, err = c.ListObjects(c.ctx, &s3.ListObjectsInput{Bucket: c.bucket, EncodingType: "base64"})
		c.refused(400, "InvalidArgument", err)
		_, err = c.them.ListObjects(c.ctx, &s3.ListObjectsInput{Bucket: c.bucket})
		c.refused(404, "NoSuchBucket", err)
	}},
	"ListObjectsV2": {func(c *caller) {
		c.tree()
		var keys []string
		pages := s3.NewListObjectsV2Paginator(c.Client, &s3.ListObjectsV2Input{Bucket: c.bucket, MaxKeys: aws.Int32(2), FetchOwner: aws.Bool(true), EncodingType: types.EncodingTypeUrl})
		for pages.HasMorePages() {
			page := must(pages.NextPage(c.ctx))(c)
			require.Equal(c.t, int(*page.KeyCount), len(page.Contents))
			for _, o := range page.Contents {
				keys = append(keys, unescaped(c, *o.Key))
				require.Equal(c.t, mine.Canonical(), *o.Owner.ID)
			}
		}
		require.Equal(c.t, []string{"a b/1", "a b/2", "b", "z", "ü+/x"}, keys)
		page := must(c.ListObjectsV2(c.ctx, &s3.ListObjectsV2Input{Bucket: c.bucket, Prefix: aws.String("a b/"), Delimiter: aws.String("/"), StartAfter: aws.String("a b/1")}))(c)
		require.Len(c.t, page.Contents, 1)
		require.Nil(c.t, page.Contents[0].Owner)
		c.write(*c.bucket, "mounted", "x")
		page = must(c.ListObjectsV2(c.ctx, &s3.ListObjectsV2Input{Bucket: c.bucket, Prefix: aws.String("m")}))(c)
		require.Equal(c.t, "mounted", *page.Contents[0].Key)
	}, func(c *caller) {
		_, err := c.ListObjectsV2(c.ctx, &s3.ListObjectsV2Input{Bucket: c.bucket, ContinuationToken: aws.String("%%")})
		c.refused(400, "InvalidArgument", err)
		_, err = c.ListObjectsV2(c.ctx, &s3.ListObjectsV2Input{Bucket: c.bucket, MaxKeys: aws.Int32(-1)})
		c.refused(400, "InvalidArgument", err)
		_, err = c.nobody.ListObjectsV2(c.ctx, &s3.ListObjectsV2Input{Bucket: c.bucket})
		c.refused(403, "AccessDenied", err)
		c.refuse(400, "InvalidArgument", "GET", "/"+*c.bucket+"?list-type=3", "", nil)
	}},
	"ListObjectVersions": {func(c *caller) {
		c.versioned()
		c.tree()
		c.object("b", "second")
		must(c.DeleteObject(c.ctx, &s3.DeleteObjectInput{Bucket: c.bucket, Key: aws.String("z")}))(c)
		in := &s3.ListObjectVersionsInput{Bucket: c.bucket, MaxKeys: aws.Int32(2), EncodingType: types.EncodingTypeUrl}
		var versions, markers []string
		for {
			page := must(c.ListObjectVersions(c.ctx, in))(c)
			for _, v := range page.Versions {
				versions = append(versions, unescaped(c, *v.Key))
			}
			for _, m := range page.DeleteMarkers {
				markers = append(markers, *m.Key)
				require.True(c.t, *m.IsLatest)
			}
			if !*page.IsTruncated {
				break
			}
			in.KeyMarker, in.VersionIdMarker = aws.String(unescaped(c, *page.NextKeyMarker)), page.NextVersionIdMarker
		}
		require.Equal(c.t, []string{"a b/1", "a b/2", "b", "b", "z", "ü+/x"}, versions)
		require.Equal(c.t, []string{"z"}, markers)
		page := must(c.ListObjectVersions(c.ctx, &s3.ListObjectVersionsInput{Bucket: c.bucket, Prefix: aws.String("a b/"), Delimiter: aws.String("/")}))(c)
		require.Len(c.t, page.Versions, 2)
	}, func(c *caller) {
		_, err := c.ListObjectVersions(c.ctx, &s3.ListObjectVersionsInput{Bucket: c.bucket, VersionIdMarker: aws.String("null")})
		c.refused(400, "InvalidArgument", err)
		_, err = c.them.ListObjectVersions(c.ctx, &s3.ListObjectVersionsInput{Bucket: c.bucket})
		c.refused(404, "NoSuchBucket", err)
	}},
	"ListMultipartUploads": {func(c *caller) {
		for _, k := range []string{"a b", "dir/1", "dir/2", "z"} {
			c.upload(k)
		}
		in := &s3.ListMultipartUploadsInput{Bucket: c.bucket, MaxUploads: aws.Int32(1), Delimiter: aws.String("/"), EncodingType: types.EncodingTypeUrl}
		var keys, prefixes []string
		for {
			page := must(c.ListMultipartUploads(c.ctx, in))(c)
			for _, u := range page.Uploads {
				keys = append(keys, unescaped(c, *u.Key))
				require.Equal(c.t, mine.Canonical(), *u.Initiator.ID)
				require.NotZero(c.t, u.Initiated)
			}
			for _, p := range page.CommonPrefixes {
				prefixes = append(prefixes, *p.Prefix)
			}
			if !*page.IsTruncated {
				break
			}
			in.KeyMarker, in.UploadIdMarker = aws.String(unescaped(c, *page.NextKeyMarker)), page.NextUploadIdMarker
		}
		require.Equal(c.t, []string{"a b", "z"}, keys)
		require.Equal(c.t, []string{"dir/"}, prefixes)
		require.Len(c.t, must(c.ListMultipartUploads(c.ctx, &s3.ListMultipartUploadsInput{Bucket: c.bucket, Prefix: aws.String("dir/")}))(c).Uploads, 2)
	}, func(c *caller) {
		_, err := c.ListMultipartUploads(c.ctx, &s3.ListMultipartUploadsInput{Bucket: c.bucket, MaxUploads: aws.Int32(-1)})
		c.refused(400, "InvalidArgument", err)
		_, err = c.them.ListMultipartUploads(c.ctx, &s3.ListMultipartUploadsInput{Bucket: c.bucket})
		c.refused(404, "NoSuchBucket", err)
	}},
	"ListParts": {func(c *caller) {
		id := c.upload("k")
		for n := range int32(3) {
			must(c.UploadPart(c.ctx, &s3.UploadPartInput{Bucket: c.bucket, Key: aws.String("k"), UploadId: id, PartNumber: aws.Int32(2*n + 1), Body: strings.NewReader("part")}))(c)
		}
		var numbers []int32
		pages := s3.NewListPartsPaginator(c.Client, &s3.ListPartsInput{Bucket: c.bucket, Key: aws.String("k"), UploadId: id, MaxParts: aws.Int32(2)})
		for pages.HasMorePages() {
			page := must(pages.NextPage(c.ctx))(c)
			require.LessOrEqual(c.t, len(page.Parts), 2)
			for _, p := range page.Parts {
				numbers = append(numbers, *p.PartNumber)
				require.Equal(c.t, []any{etag("part"), int64(4)}, []any{*p.ETag, *p.Size})
			}
		}
		require.Equal(c.t, []int32{1, 3, 5}, numbers)
		require.Contains(c.t, c.path("GET", "/k?encoding-type=url&uploadId="+*id), "<Key>k</Key>") // which the SDK can't send
	}, func(c *caller) {
		_, err := c.ListParts(c.ctx, &s3.ListPartsInput{Bucket: c.bucket, Key: aws.String("k"), UploadId: aws.String("absent")})
		c.refused(404, "NoSuchUpload", err)
		id := c.upload("k")
		_, err = c.ListParts(c.ctx, &s3.ListPartsInput{Bucket: c.bucket, Key: aws.String("another"), UploadId: id})
		c.refused(404, "NoSuchUpload", err)
		_, err = c.ListParts(c.ctx, &s3.ListPartsInput{Bucket: c.bucket, Key: aws.String("k"), UploadId: id, MaxParts: aws.Int32(-1)})
		c.refused(400, "InvalidArgument", err)
		_, err = c.them.ListParts(c.ctx, &s3.ListPartsInput{Bucket: c.bucket, Key: aws.String("k"), UploadId: id})
		c.refused(404, "NoSuchBucket", err)
	}},
}
