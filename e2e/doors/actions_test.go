package doors

import (
	"bytes"
	"context"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// actor makes any S3 request, and looks at the mount.
type actor struct {
	doors
	*s3.Client
}

func (a actor) key(k string) *string { return &k }

func (a actor) upload(key string) *string {
	a.t.Helper()
	out, err := a.CreateMultipartUpload(context.Background(), &s3.CreateMultipartUploadInput{Bucket: &a.bucket, Key: &key})
	require.NoError(a.t, err)
	return out.UploadId
}

func (a actor) complete(key string, id, etag *string) {
	a.t.Helper()
	_, err := a.CompleteMultipartUpload(context.Background(), &s3.CompleteMultipartUploadInput{Bucket: &a.bucket, Key: &key, UploadId: id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: etag}}}})
	require.NoError(a.t, err)
}

// xattr is an extended attribute of a file on the mount, or "".
func (a actor) xattr(key, name string) string {
	buf := make([]byte, 4096)
	n, err := unix.Getxattr(a.path(key), name, buf)
	if err != nil {
		require.ErrorIs(a.t, err, unix.ENODATA)
		return ""
	}
	return string(buf[:n])
}

// actions do each S3 action that changes what is in a bucket, and look at the mount for it.
var actions = map[string]func(ctx context.Context, a actor){
	"CreateBucket": func(ctx context.Context, a actor) {
		_, err := a.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: a.key("fresh")})
		require.NoError(a.t, err)
		info, err := os.Stat(filepath.Join(filepath.Dir(a.dir), "fresh"))
		require.NoError(a.t, err)
		require.True(a.t, info.IsDir())
	},
	"DeleteBucket": func(ctx context.Context, a actor) {
		dir := filepath.Join(filepath.Dir(a.dir), "doomed")
		require.NoError(a.t, os.Mkdir(dir, 0o755))
		_, err := a.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: a.key("doomed")})
		require.NoError(a.t, err)
		_, err = os.Stat(dir)
		require.ErrorIs(a.t, err, os.ErrNotExist)
	},
	"PutObject": func(_ context.Context, a actor) {
		a.put("put/new", []byte("new"))
		a.present("put/new", []byte("new"))
		a.put("put/new", []byte("other"))
		a.present("put/new", []byte("other"))
	},
	"PostObject": func(ctx context.Context, a actor) {
		p := minio.NewPostPolicy()
		require.NoError(a.t, p.SetBucket(a.bucket))
		require.NoError(a.t, p.SetKey("post/k"))
		require.NoError(a.t, p.SetExpires(time.Now().Add(time.Hour)))
		url, fields, err := a.c.PresignedPostPolicy(ctx, p)
		require.NoError(a.t, err)
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for name, v := range fields {
			require.NoError(a.t, w.WriteField(name, v))
		}
		file, err := w.CreateFormFile("file", "f")
		require.NoError(a.t, err)
		_, err = file.Write([]byte("posted"))
		require.NoError(a.t, err)
		require.NoError(a.t, w.Close())
		res, err := http.Post(url.String(), w.FormDataContentType(), &b)
		require.NoError(a.t, err)
		require.NoError(a.t, res.Body.Close())
		require.Equal(a.t, http.StatusNoContent, res.StatusCode)
		a.present("post/k", []byte("posted"))
	},
	"AppendObject": func(ctx context.Context, a actor) {
		a.put("append", []byte("one"))
		_, err := a.PutObject(ctx, &s3.PutObjectInput{Bucket: &a.bucket, Key: a.key("append"), WriteOffsetBytes: aws.Int64(3), Body: strings.NewReader("two")})
		require.NoError(a.t, err)
		a.present("append", []byte("onetwo"))
	},
	"CopyObject": func(ctx context.Context, a actor) {
		a.put("copy/from", []byte("x"))
		_, err := a.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &a.bucket, Key: a.key("copy/to"), CopySource: aws.String(a.bucket + "/copy/from")})
		require.NoError(a.t, err)
		a.present("copy/to", []byte("x"))
		a.present("copy/from", []byte("x"))
	},
	"RenameObject": func(ctx context.Context, a actor) {
		a.put("rename/from", []byte("x"))
		u, err := a.c.PresignHeader(ctx, http.MethodPut, a.bucket, "renamed", time.Minute, map[string][]string{"renameObject": {""}},
			http.Header{"X-Amz-Rename-Source": {"/" + a.bucket + "/rename/from"}})
		require.NoError(a.t, err)
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), nil)
		require.NoError(a.t, err)
		req.Header.Set("X-Amz-Rename-Source", "/"+a.bucket+"/rename/from")
		res, err := http.DefaultClient.Do(req)
		require.NoError(a.t, err)
		require.NoError(a.t, res.Body.Close())
		require.Equal(a.t, http.StatusOK, res.StatusCode)
		a.present("renamed", []byte("x"))
		a.absent("rename/from")
	},
	"DeleteObject": func(_ context.Context, a actor) {
		a.put("delete/k", []byte("x"))
		a.present("delete/k", []byte("x"))
		a.remove("delete/k")
		a.absent("delete/k")
		require.NoDirExists(a.t, a.path("delete"))
	},
	"DeleteObjects": func(ctx context.Context, a actor) {
		a.put("many/a", []byte("x"))
		a.put("many/b", []byte("x"))
		_, err := a.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &a.bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: a.key("many/a")}, {Key: a.key("many/b")}}}})
		require.NoError(a.t, err)
		a.absent("many/a")
		a.absent("many/b")
	},
	"CreateMultipartUpload": func(_ context.Context, a actor) {
		a.upload("parts/begun")
		a.absent("parts/begun")
	},
	"UploadPart": func(ctx context.Context, a actor) {
		id := a.upload("parts/put")
		_, err := a.UploadPart(ctx, &s3.UploadPartInput{Bucket: &a.bucket, Key: a.key("parts/put"), UploadId: id, PartNumber: aws.Int32(1), Body: strings.NewReader("part")})
		require.NoError(a.t, err)
		a.absent("parts/put") // before it is complete
	},
	"UploadPartCopy": func(ctx context.Context, a actor) {
		require.NoError(a.t, os.WriteFile(a.path("part-source"), []byte("by the mount"), 0o644))
		id := a.upload("parts/copied")
		out, err := a.UploadPartCopy(ctx, &s3.UploadPartCopyInput{Bucket: &a.bucket, Key: a.key("parts/copied"), UploadId: id, PartNumber: aws.Int32(1),
			CopySource: aws.String(a.bucket + "/part-source"), CopySourceRange: aws.String("bytes=3-11")})
		require.NoError(a.t, err)
		a.absent("parts/copied")
		a.complete("parts/copied", id, out.CopyPartResult.ETag)
		a.present("parts/copied", []byte("the mount"))
	},
	"CompleteMultipartUpload": func(ctx context.Context, a actor) {
		id := a.upload("parts/whole")
		out, err := a.UploadPart(ctx, &s3.UploadPartInput{Bucket: &a.bucket, Key: a.key("parts/whole"), UploadId: id, PartNumber: aws.Int32(1), Body: strings.NewReader("part")})
		require.NoError(a.t, err)
		a.complete("parts/whole", id, out.ETag)
		a.present("parts/whole", []byte("part"))
	},
	"AbortMultipartUpload": func(ctx context.Context, a actor) {
		id := a.upload("parts/aborted")
		_, err := a.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &a.bucket, Key: a.key("parts/aborted"), UploadId: id})
		require.NoError(a.t, err)
		a.absent("parts/aborted")
	},
	"PutObjectTagging": func(ctx context.Context, a actor) {
		a.put("tagged", []byte("x"))
		_, err := a.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: &a.bucket, Key: a.key("tagged"), Tagging: &types.Tagging{TagSet: []types.Tag{{Key: a.key("color"), Value: a.key("blue")}}}})
		require.NoError(a.t, err)
		require.Equal(a.t, "blue", a.xattr("tagged", "user.s3.tag.color"))
	},
	"DeleteObjectTagging": func(ctx context.Context, a actor) {
		a.put("untagged", []byte("x"))
		require.NoError(a.t, unix.Setxattr(a.path("untagged"), "user.s3.tag.color", []byte("red"), 0))
		_, err := a.DeleteObjectTagging(ctx, &s3.DeleteObjectTaggingInput{Bucket: &a.bucket, Key: a.key("untagged")})
		require.NoError(a.t, err)
		require.Empty(a.t, a.xattr("untagged", "user.s3.tag.color"))
	},
	"PutObjectAcl": func(ctx context.Context, a actor) { // which is about S3's other tenants, not about the file's mode
		a.put("acl", []byte("x"))
		before, err := os.Stat(a.path("acl"))
		require.NoError(a.t, err)
		_, err = a.PutObjectAcl(ctx, &s3.PutObjectAclInput{Bucket: &a.bucket, Key: a.key("acl"), ACL: types.ObjectCannedACLPrivate})
		require.NoError(a.t, err)
		after, err := os.Stat(a.path("acl"))
		require.NoError(a.t, err)
		require.Equal(a.t, before.Mode(), after.Mode())
		a.present("acl", []byte("x"))
	},
	"PutObjectLegalHold": func(ctx context.Context, a actor) {
		held := a.locked(ctx, "legal-hold")
		_, err := a.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{Bucket: &held.bucket, Key: a.key("k"), LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOn}})
		require.NoError(a.t, err)
		held.survives(ctx)
	},
	"PutObjectRetention": func(ctx context.Context, a actor) {
		held := a.locked(ctx, "retention")
		until := time.Now().Add(24 * time.Hour)
		_, err := a.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{Bucket: &held.bucket, Key: a.key("k"), Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &until}})
		require.NoError(a.t, err)
		held.survives(ctx)
	},
}

// locked is an object "k" with "kept" in it, in a bucket with Object Lock.
func (a actor) locked(ctx context.Context, bucket string) actor {
	a.t.Helper()
	_, err := a.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket, ObjectLockEnabledForBucket: aws.Bool(true)})
	require.NoError(a.t, err)
	a.bucket, a.dir = bucket, filepath.Join(filepath.Dir(a.dir), bucket)
	a.put("k", []byte("kept"))
	return a
}

// survives checks that nothing the mount may do takes the locked version away, and that S3 still has it.
func (a actor) survives(ctx context.Context) {
	a.t.Helper()
	head, err := a.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &a.bucket, Key: a.key("k")})
	require.NoError(a.t, err)
	require.NotNil(a.t, head.VersionId)
	_ = os.WriteFile(a.path("k"), []byte("over"), 0o644)
	_ = os.Rename(a.path("k"), a.path("elsewhere"))
	_ = os.Remove(a.path("k"))
	_ = os.Remove(a.path("elsewhere"))
	_ = os.Remove(a.dir)
	out, err := a.GetObject(ctx, &s3.GetObjectInput{Bucket: &a.bucket, Key: a.key("k"), VersionId: head.VersionId})
	require.NoError(a.t, err)
	defer out.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(out.Body)
	require.NoError(a.t, err)
	require.Equal(a.t, "kept", b.String())
}

// TestEveryActionAtTheMount: each action of docs/s3.md that changes what is in a bucket, or its object's properties, is
// done at S3 and looked at through the mount. An action that comes to the table fails here until it has its line.
func TestEveryActionAtTheMount(t *testing.T) {
	table, err := os.ReadFile(filepath.Join(harness.ModuleRoot(), "docs", "s3.md"))
	require.NoError(t, err)
	var names []string
	for _, m := range regexp.MustCompile("(?m)^\\| (\\w+) \\| yes \\| `(PUT|POST|DELETE) (/bucket(?:\\?delete)?|/bucket/key[^`]*)`").FindAllSubmatch(table, -1) {
		names = append(names, string(m[1]))
	}
	require.Greater(t, len(names), 15, "the table was found")
	d := harness.Start(t, harness.Options{})
	all := open(t, d, "actions")
	client := s3.New(s3.Options{BaseEndpoint: aws.String("http://" + d.S3), UsePathStyle: true, Region: harness.Region, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(harness.AccessKey, harness.SecretKey, "")})
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			do, ok := actions[name]
			require.True(t, ok, "%s changes data, and nothing looks at the mount for it", name)
			all.t = t
			do(t.Context(), actor{all, client})
		})
	}
	for name := range actions {
		require.True(t, slices.Contains(names, name), "%s is not in docs/s3.md", name)
	}
}
