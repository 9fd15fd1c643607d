package s3api

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
)

// bucketCases are those of buckets themselves, and of what is sent to one.
var bucketCases = map[string]conform{
	"ListBuckets": {func(c *caller) {
		name := *c.bucket
		for _, more := range []string{".1", ".2", ".3"} {
			must(c.CreateBucket(c.ctx, &s3.CreateBucketInput{Bucket: aws.String(name + more)}))(c)
		}
		var names []string
		pages := s3.NewListBucketsPaginator(c.Client, &s3.ListBucketsInput{Prefix: aws.String(name + "."), MaxBuckets: aws.Int32(2), BucketRegion: aws.String("us-east-1")})
		for pages.HasMorePages() {
			page := must(pages.NextPage(c.ctx))(c)
			require.LessOrEqual(c.t, len(page.Buckets), 2)
			for _, b := range page.Buckets {
				require.Equal(c.t, "us-east-1", *b.BucketRegion)
				require.NotZero(c.t, b.CreationDate)
				names = append(names, *b.Name)
			}
		}
		require.Equal(c.t, []string{name + ".1", name + ".2", name + ".3"}, names)
		require.Empty(c.t, must(c.ListBuckets(c.ctx, &s3.ListBucketsInput{Prefix: c.bucket, BucketRegion: aws.String("eu-west-1")}))(c).Buckets)
		require.Empty(c.t, must(c.them.ListBuckets(c.ctx, &s3.ListBucketsInput{}))(c).Buckets, "another tenant's")
	}, func(c *caller) {
		_, err := c.ListBuckets(c.ctx, &s3.ListBucketsInput{MaxBuckets: aws.Int32(-1)})
		c.refused(400, "InvalidArgument", err)
		_, err = c.nobody.ListBuckets(c.ctx, &s3.ListBucketsInput{})
		c.refused(403, "AccessDenied", err)
	}},
	"CreateBucket": {func(c *caller) {
		name := aws.String(*c.bucket + ".new")
		out := must(c.CreateBucket(c.ctx, &s3.CreateBucketInput{Bucket: name, ACL: types.BucketCannedACLPublicRead, ObjectOwnership: types.ObjectOwnershipObjectWriter, ObjectLockEnabledForBucket: aws.Bool(true)}))(c)
		require.Equal(c.t, "/"+*name, *out.Location)
		require.Len(c.t, must(c.GetBucketAcl(c.ctx, &s3.GetBucketAclInput{Bucket: name}))(c).Grants, 2)
		require.Equal(c.t, types.BucketVersioningStatusEnabled, must(c.GetBucketVersioning(c.ctx, &s3.GetBucketVersioningInput{Bucket: name}))(c).Status)
		must(c.CreateBucket(c.ctx, &s3.CreateBucketInput{Bucket: c.bucket}))(c) // again, as in us-east-1
		_, err := c.mount().Lookup(c.ctx, 1, *name)
		require.NoError(c.t, err, "the mount shows it")
	}, func(c *caller) {
		_, err := c.them.CreateBucket(c.ctx, &s3.CreateBucketInput{Bucket: c.bucket})
		c.refused(409, "BucketAlreadyExists", err)
		_, err = c.CreateBucket(c.ctx, &s3.CreateBucketInput{Bucket: c.bucket, ObjectLockEnabledForBucket: aws.Bool(true)})
		c.refused(409, "BucketAlreadyExists", err)
		for _, bad := range []string{"UPPER", "a", "under_score", "192.168.1.1", strings.Repeat("x", 64), "xn--x", "a..b"} {
			_, err = c.CreateBucket(c.ctx, &s3.CreateBucketInput{Bucket: &bad})
			c.refused(400, "InvalidBucketName", err)
		}
		fresh := aws.String(*c.bucket + ".fresh")
		_, err = c.CreateBucket(c.ctx, &s3.CreateBucketInput{Bucket: fresh, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
		c.refused(400, "IllegalLocationConstraintException", err)
		_, err = c.CreateBucket(c.ctx, &s3.CreateBucketInput{Bucket: fresh, ACL: types.BucketCannedACLPublicRead, ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced})
		c.refused(400, "InvalidBucketAclWithObjectOwnership", err)
		_, err = c.nobody.CreateBucket(c.ctx, &s3.CreateBucketInput{Bucket: fresh})
		c.refused(403, "AccessDenied", err)
		c.refuse(400, "MalformedXML", "PUT", "/"+*fresh, "<CreateBucketConfiguration>", nil)
		_, err = c.HeadBucket(c.ctx, &s3.HeadBucketInput{Bucket: fresh})
		c.refused(404, "", err)
	}},
	"HeadBucket": {func(c *caller) {
		require.Equal(c.t, "us-east-1", *must(c.HeadBucket(c.ctx, &s3.HeadBucketInput{Bucket: c.bucket}))(c).BucketRegion)
	}, func(c *caller) {
		_, err := c.HeadBucket(c.ctx, &s3.HeadBucketInput{Bucket: aws.String("absent")})
		c.refused(404, "", err)
		_, err = c.them.HeadBucket(c.ctx, &s3.HeadBucketInput{Bucket: c.bucket})
		c.refused(404, "", err)
		_, err = c.nobody.HeadBucket(c.ctx, &s3.HeadBucketInput{Bucket: c.bucket})
		c.refused(403, "", err)
		_, err = c.HeadBucket(c.ctx, &s3.HeadBucketInput{Bucket: c.bucket, ExpectedBucketOwner: aws.String(c.theirs.AccountID())})
		c.refused(403, "", err)
	}},
	"DeleteBucket": {func(c *caller) {
		must(c.DeleteBucket(c.ctx, &s3.DeleteBucketInput{Bucket: c.bucket}))(c)
		_, err := c.mount().Lookup(c.ctx, 1, *c.bucket)
		require.Error(c.t, err, "it is gone from the mount")
	}, func(c *caller) {
		c.object("k", "x")
		_, err := c.DeleteBucket(c.ctx, &s3.DeleteBucketInput{Bucket: c.bucket})
		c.refused(409, "BucketNotEmpty", err)
		_, err = c.DeleteBucket(c.ctx, &s3.DeleteBucketInput{Bucket: aws.String("absent")})
		c.refused(404, "NoSuchBucket", err)
		_, err = c.them.DeleteBucket(c.ctx, &s3.DeleteBucketInput{Bucket: c.bucket})
		c.refused(404, "NoSuchBucket", err)
		c.holds("k", "x")
	}},
	"GetBucketLocation": {func(c *caller) {
		require.Empty(c.t, must(c.GetBucketLocation(c.ctx, &s3.GetBucketLocationInput{Bucket: c.bucket}))(c).LocationConstraint, "as us-east-1 is written")
	}, func(c *caller) {
		_, err := c.GetBucketLocation(c.ctx, &s3.GetBucketLocationInput{Bucket: aws.String("absent")})
		c.refused(404, "NoSuchBucket", err)
		_, err = c.nobody.GetBucketLocation(c.ctx, &s3.GetBucketLocationInput{Bucket: c.bucket})
		c.refused(403, "AccessDenied", err)
	}},
	"DeleteObjects": {func(c *caller) {
		for _, k := range []string{"a", "b c", "ü/+"} {
			c.object(k, "x")
		}
		ids := []types.ObjectIdentifier{{Key: aws.String("a")}, {Key: aws.String("b c")}, {Key: aws.String("absent")}, {Key: aws.String("ü/+"), ETag: aws.String(`"other"`)}}
		out := must(c.DeleteObjects(c.ctx, &s3.DeleteObjectsInput{Bucket: c.bucket, Delete: &types.Delete{Objects: ids}}))(c)
		require.Len(c.t, out.Deleted, 3)
		require.Len(c.t, out.Errors, 1)
		require.Equal(c.t, []string{"ü/+", "PreconditionFailed"}, []string{*out.Errors[0].Key, *out.Errors[0].Code})
		c.holds("ü/+", "x")
		_, there := c.shown(*c.bucket, "a")
		require.False(c.t, there, "it is gone from the mount")
		out = must(c.DeleteObjects(c.ctx, &s3.DeleteObjectsInput{Bucket: c.bucket, Delete: &types.Delete{Quiet: aws.Bool(true), Objects: []types.ObjectIdentifier{{Key: aws.String("ü/+")}}}}))(c)
		require.Empty(c.t, out.Deleted)
	}, func(c *caller) {
		c.object("a", "x")
		many := make([]types.ObjectIdentifier, 1001)
		for i := range many {
			many[i].Key = aws.String("a")
		}
		_, err := c.DeleteObjects(c.ctx, &s3.DeleteObjectsInput{Bucket: c.bucket, Delete: &types.Delete{Objects: many}})
		c.refused(400, "MalformedXML", err)
		_, err = c.them.DeleteObjects(c.ctx, &s3.DeleteObjectsInput{Bucket: c.bucket, Delete: &types.Delete{Objects: many[:1]}})
		c.refused(404, "NoSuchBucket", err)
		path := "/" + *c.bucket + "?delete"
		c.refuse(400, "MalformedXML", "POST", path, "", nil)
		c.refuse(400, "MalformedXML", "POST", path, "<Delete/>", nil)
		c.refuse(400, "BadDigest", "POST", path, "<Delete><Object><Key>a</Key></Object></Delete>", h("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg=="))
		c.holds("a", "x")
	}},
	"PostObject": {func(c *caller) {
		// The SDK signs a form's policy, and leaves it to a browser to send.
		signed := must(s3.NewPresignClient(c.Client).PresignPostObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: aws.String("up/é")}, func(o *s3.PresignPostOptions) {
			o.Conditions = []any{[]any{"content-length-range", 1, 10}}
		}))(c)
		status, text := c.form(signed, "posted")
		require.Equal(c.t, 204, status, text)
		c.holds("up/é", "posted")
	}, func(c *caller) {
		signed := must(s3.NewPresignClient(c.Client).PresignPostObject(c.ctx, &s3.PutObjectInput{Bucket: c.bucket, Key: aws.String("k")}, func(o *s3.PresignPostOptions) {
			o.Conditions = []any{[]any{"content-length-range", 1, 10}}
		}))(c)
		status, text := c.form(signed, "longer than ten")
		require.Equal(c.t, []any{400, "EntityTooLarge"}, []any{status, code(strings.NewReader(text))})
		signed.Values["acl"] = "public-read"
		status, text = c.form(signed, "posted")
		require.Equal(c.t, []any{403, "AccessDenied"}, []any{status, code(strings.NewReader(text))}, "a field that no condition is about")
		c.refuse(400, "InvalidArgument", "POST", "/"+*c.bucket, "x", nil)
		_, err := c.HeadObject(c.ctx, &s3.HeadObjectInput{Bucket: c.bucket, Key: aws.String("k")})
		c.refused(404, "", err)
	}},
}

// form sends a form that the SDK has signed, as a browser does.
func (c *caller) form(signed *s3.PresignedPostRequest, file string) (int, string) {
	c.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, v := range signed.Values {
		require.NoError(c.t, w.WriteField(name, v))
	}
	part, err := w.CreateFormFile("file", "f.txt")
	require.NoError(c.t, err)
	_, err = part.Write([]byte(file))
	require.NoError(c.t, err)
	require.NoError(c.t, w.Close())
	res := c.call(nil, http.MethodPost, strings.TrimPrefix(signed.URL, c.srv.URL), b.String(), h("Content-Type", w.FormDataContentType()), nil)
	return res.StatusCode, readAll(c.t, res)
}
