package posix

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

var bg = context.Background()

type s3 struct {
	t      *testing.T
	client *minio.Client
}

func (s s3) put(key, content string, o minio.PutObjectOptions) {
	s.t.Helper()
	_, err := s.client.PutObject(bg, "posix", key, strings.NewReader(content), int64(len(content)), o)
	require.NoError(s.t, err, key)
}

func (s s3) get(key string) string {
	s.t.Helper()
	o, err := s.client.GetObject(bg, "posix", key, minio.GetObjectOptions{})
	require.NoError(s.t, err)
	defer o.Close()
	b, err := io.ReadAll(o)
	require.NoError(s.t, err, key)
	return string(b)
}

func (s s3) stat(key string) minio.ObjectInfo {
	s.t.Helper()
	i, err := s.client.StatObject(bg, "posix", key, minio.StatObjectOptions{})
	require.NoError(s.t, err, key)
	return i
}

// What S3 knows of an object, through getfattr(1) and setfattr(1), and what these give it.
func TestS3Xattrs(t *testing.T) {
	harness.NeedTools(t, "setfattr", "getfattr", "cp", "rsync")
	d, dir := bucket(t)
	s := s3{t, d.Client(t)}
	run := func(line string) string { t.Helper(); return shell(dir, line) }
	s.put("o", "content", minio.PutObjectOptions{ContentType: "text/x", CacheControl: "no-store", UserMetadata: map[string]string{"Who": "me"}})
	require.Equal(t, "# file: o\nuser.s3.cache-control=\"no-store\"\nuser.s3.content-type=\"text/x\"\nuser.s3.meta.who=\"me\"\n\n", run(`getfattr -d -m - o`))
	etag := s.stat("o").ETag
	require.Equal(t, etag+"\n", run(`getfattr --only-values -n user.s3.etag o; echo`))
	require.Equal(t, "null\n", run(`getfattr --only-values -n user.s3.version-id o; echo`))
	require.Equal(t, "0644\n", run(`getfattr --only-values -n user.s3.file-mode .; echo`))
	for _, name := range []string{"etag", "version-id", "checksum.crc32"} {
		require.Contains(t, run(`setfattr -n user.s3.`+name+` -v forged o`), "Operation not permitted")
		require.Contains(t, run(`setfattr -x user.s3.`+name+` o`), "Operation not permitted")
	}
	require.Contains(t, run(`setfattr -n user.s3.bogus -v x o`), "Operation not supported")
	require.Contains(t, run(`setfattr -n user.s3.meta.x -v "$(printf 'a\nX-Evil: b')" o`), "Invalid argument")

	require.Empty(t, run(`setfattr -n user.s3.content-type -v text/y o; setfattr -n user.s3.meta.job -v 17 o; setfattr -x user.s3.cache-control o`))
	i := s.stat("o")
	require.Equal(t, etag, i.ETag)
	require.Equal(t, "text/y", i.ContentType)
	require.Empty(t, i.Metadata.Get("Cache-Control"))
	require.Equal(t, "17", i.Metadata.Get("X-Amz-Meta-Job"))

	// Copies carry what was given along, and bring what they carry from elsewhere.
	require.Empty(t, run(`cp -a o copy && mkdir sub && rsync -aHAX --checksum o sub/ && rsync -aHAX --checksum o sub/`))
	for _, key := range []string{"copy", "sub/o"} {
		require.Equal(t, "text/y", s.stat(key).ContentType, key)
		require.Equal(t, "me", s.stat(key).Metadata.Get("X-Amz-Meta-Who"), key)
	}
	require.Empty(t, run(`out=$(mktemp -d /tmp/k3fs-e2e-XXXXXX); rsync -aX o $out/ && rsync -aX $out/o sub/back; rm -r $out`))
	require.Equal(t, "text/y", s.stat("sub/back").ContentType)

	// Types by name, by content, and after a rename.
	require.Empty(t, run(`echo hello >a.txt; echo '<html></html>' >page; echo x >data.parquet`))
	require.Equal(t, "text/plain", s.stat("a.txt").ContentType)
	require.Equal(t, "text/html; charset=utf-8", s.stat("page").ContentType)
	require.Equal(t, "application/vnd.apache.parquet", s.stat("data.parquet").ContentType)
	require.Empty(t, run(`mv a.txt a.json`))
	require.Equal(t, "application/json", s.stat("a.json").ContentType)
	require.Equal(t, "application/json\n", run(`getfattr --only-values -n user.s3.content-type a.json; echo`))
}

// What S3 makes belongs to the directory's owner and group, with the bucket's modes; flags hold against S3.
func TestS3Makes(t *testing.T) {
	harness.NeedTools(t, "setfattr", "setfacl", "getfacl", "chattr")
	d, dir := bucket(t)
	s := s3{t, d.Client(t)}
	run := func(line string) string { t.Helper(); return shell(dir, line) }
	require.Empty(t, run(`chown 1001:50 . && chmod 2775 . && setfattr -n user.s3.file-mode -v 0640 .`))
	s.put("d/f", "x", minio.PutObjectOptions{})
	require.Equal(t, "d 2755 1001 50\nd/f 640 1001 50\n", run(`mode d d/f`))
	require.Empty(t, run(`chmod 600 d/f; chown 7 d/f; setfacl -d -m u:1002:rw d`))
	s.put("d/f", "over", minio.PutObjectOptions{})
	s.put("d/g", "new", minio.PutObjectOptions{})
	require.Equal(t, "d/f 600 7 50\nd/g 664 1001 50\n", run(`mode d/f d/g`))
	require.Contains(t, run(`getfacl -n d/g`), "user:1002:rw-")

	require.Empty(t, run(`chattr +i d/g`))
	_, err := s.client.PutObject(bg, "posix", "d/g", strings.NewReader("x"), 1, minio.PutObjectOptions{})
	require.Equal(t, "AccessDenied", minio.ToErrorResponse(err).Code)
	err = s.client.RemoveObject(bg, "posix", "d/g", minio.RemoveObjectOptions{})
	require.Equal(t, "AccessDenied", minio.ToErrorResponse(err).Code)
	require.Equal(t, "new", s.get("d/g"))
	require.Empty(t, run(`chattr -i d/g`))
	require.NoError(t, s.client.RemoveObject(bg, "posix", "d/g", minio.RemoveObjectOptions{}))
}

// Objects that POSIX can't name are read, written, renamed and removed by their alias.
func TestAliases(t *testing.T) {
	d, dir := bucket(t)
	s := s3{t, d.Client(t)}
	long := strings.Repeat("n", 300)
	s.put("both/inside", "x", minio.PutObjectOptions{})
	for i, key := range []string{"a//b", "d/.", "d/..", "d/./x", "d/../x", "both", long, "d/" + long + "/x", ".k3fs~mine", "//", "d/.k3fs~d~/x"} {
		s.put(key, "old", minio.PutObjectOptions{})
		path := findAlias(t, dir, key)
		info, err := os.Stat(path)
		require.NoError(t, err, key)
		if info.IsDir() {
			continue
		}
		b, err := os.ReadFile(path)
		require.NoError(t, err, key)
		require.Equal(t, "old", string(b))

		content := bytes.Repeat([]byte{'a' + byte(i)}, 10_000*(i+1))
		require.NoError(t, os.WriteFile(path, content, 0o644), key)
		require.Equal(t, string(content), s.get(key), key)
		require.NoError(t, unix.Setxattr(path, "user.s3.meta.a", []byte("b"), 0), key)
		require.Equal(t, "b", s.stat(key).Metadata.Get("X-Amz-Meta-A"), key)
		require.NoError(t, os.Link(path, filepath.Join(dir, "linked")), key)
		require.Equal(t, string(content), s.get("linked"))
		require.NoError(t, os.Remove(filepath.Join(dir, "linked")))

		require.NoError(t, os.Rename(path, filepath.Join(dir, "plain")), key)
		require.Equal(t, string(content), s.get("plain"))
		s.put(key, "again", minio.PutObjectOptions{})
		again := findAlias(t, dir, key)
		require.Equal(t, path, again, "an alias is always the same")
		require.NoError(t, os.Rename(filepath.Join(dir, "plain"), again), key)
		require.Equal(t, string(content), s.get(key), "renamed over the alias")
		require.NoError(t, os.Remove(again), key)
		_, err = s.client.StatObject(bg, "posix", key, minio.StatObjectOptions{})
		require.Equal(t, "NoSuchKey", minio.ToErrorResponse(err).Code, key)
	}
	require.ErrorIs(t, os.WriteFile(filepath.Join(dir, ".k3fs~f~new"), nil, 0o644), unix.EINVAL, "nobody forges one")
	require.NoError(t, os.RemoveAll(dir))
}

// findAlias is the path by which the mount shows the object last put: the one among all that is a file of
// three or five bytes.
func findAlias(t *testing.T, dir, key string) string {
	t.Helper()
	found := ""
	require.NoError(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && (info.Size() == 3 || info.Size() == 5) {
			found = path
		}
		return err
	}))
	if strings.HasSuffix(key, "/") {
		return dir
	}
	require.NotEmpty(t, found, key)
	return found
}
