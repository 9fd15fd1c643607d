package doors

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

// doors is one bucket seen from both sides.
type doors struct {
	t      *testing.T
	c      *minio.Client
	bucket string
	dir    string
}

func open(t *testing.T, d *harness.Daemon, bucket string) doors {
	d.MakeBucket(t, bucket)
	return doors{t, d.Client(t), bucket, filepath.Join(d.Mount, bucket)}
}

func (d doors) path(key string) string { return filepath.Join(d.dir, key) }

func (d doors) put(key string, b []byte) {
	d.t.Helper()
	_, err := d.c.PutObject(context.Background(), d.bucket, key, bytes.NewReader(b), int64(len(b)), minio.PutObjectOptions{})
	require.NoError(d.t, err, "PUT %s", key)
}

func (d doors) get(key string) ([]byte, error) {
	o, err := d.c.GetObject(context.Background(), d.bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return io.ReadAll(o)
}

func (d doors) remove(key string) {
	d.t.Helper()
	require.NoError(d.t, d.c.RemoveObject(context.Background(), d.bucket, key, minio.RemoveObjectOptions{}))
}

func (d doors) keys(prefix string) []string {
	d.t.Helper()
	keys := []string{}
	for o := range d.c.ListObjects(context.Background(), d.bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		require.NoError(d.t, o.Err)
		keys = append(keys, o.Key)
	}
	return keys
}

func (d doors) names(sub string) []string {
	d.t.Helper()
	entries, err := os.ReadDir(d.path(sub))
	require.NoError(d.t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (d doors) absent(key string) {
	d.t.Helper()
	_, err := d.get(key)
	require.Equal(d.t, "NoSuchKey", minio.ToErrorResponse(err).Code, "GET %s", key)
	_, err = os.Stat(d.path(key))
	require.ErrorIs(d.t, err, os.ErrNotExist, "stat %s", key)
	_, err = os.ReadFile(d.path(key))
	require.ErrorIs(d.t, err, os.ErrNotExist, "open %s", key)
}

// present checks content, size and listing at both doors.
func (d doors) present(key string, want []byte) {
	d.t.Helper()
	info, err := os.Stat(d.path(key))
	require.NoError(d.t, err)
	require.EqualValues(d.t, len(want), info.Size(), "stat size of %s", key)
	got, err := os.ReadFile(d.path(key))
	require.NoError(d.t, err)
	require.True(d.t, bytes.Equal(want, got), "%s through the mount: %d bytes, want %d", key, len(got), len(want))
	got, err = d.get(key)
	require.NoError(d.t, err, "GET %s", key)
	require.True(d.t, bytes.Equal(want, got), "GET %s: %d bytes, want %d", key, len(got), len(want))
	head, err := d.c.StatObject(context.Background(), d.bucket, key, minio.StatObjectOptions{})
	require.NoError(d.t, err)
	require.EqualValues(d.t, len(want), head.Size)
	require.Contains(d.t, d.keys(key), key)
	require.Contains(d.t, d.names(filepath.Dir(key)), filepath.Base(key))
}

// TestVisibleAtOnce changes at one door and looks at the other, with every cache warmed by the look
// before it: names that were absent, sizes and contents that were different.
func TestVisibleAtOnce(t *testing.T) {
	d := open(t, harness.Start(t, harness.Options{}), "visible")
	ctx := context.Background()
	s := harness.Series{Name: "v", Min: 4, Max: 300 << 10}
	seq := uint32(0)
	next := func() []byte { seq++; return s.Body(seq) }
	for i := range harness.Rounds(100, 500) {
		key := fmt.Sprintf("dir-%d/sub/file-%d", i%7, i)
		d.absent(key)

		body := next()
		d.put(key, body) // new by S3
		d.present(key, body)
		body = next()
		d.put(key, body) // overwrite by S3
		d.present(key, body)
		body = next()
		require.NoError(t, os.WriteFile(d.path(key), body, 0o644)) // overwrite by the mount
		d.present(key, body)
		f, err := os.OpenFile(d.path(key), os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteString("tail")
		require.NoError(t, err)
		require.NoError(t, f.Close())
		body = append(body, "tail"...)
		d.present(key, body)
		body = body[:len(body)/2]
		require.NoError(t, os.Truncate(d.path(key), int64(len(body))))
		d.present(key, body)

		moved := key + ".moved"
		d.absent(moved)
		require.NoError(t, os.Rename(d.path(key), d.path(moved))) // rename by the mount
		d.absent(key)
		d.present(moved, body)
		copied := fmt.Sprintf("copies/%d", i)
		_, err = d.c.CopyObject(ctx, minio.CopyDestOptions{Bucket: d.bucket, Object: copied}, minio.CopySrcOptions{Bucket: d.bucket, Object: moved})
		require.NoError(t, err) // copy by S3
		d.present(copied, body)

		d.remove(moved) // delete by S3
		d.absent(moved)
		require.NoError(t, os.Remove(d.path(copied))) // unlink by the mount
		d.absent(copied)
		require.NoError(t, os.MkdirAll(d.path("fresh"), 0o755))
		d.put("fresh/object", body)
		require.NoError(t, os.Rename(d.path("fresh"), d.path("stale"))) // a directory's rename moves keys
		d.absent("fresh/object")
		d.present("stale/object", body)
		d.remove("stale/object")
		require.NoError(t, os.Remove(d.path("stale")))
	}
}

// TestOpenReaderKeepsOldFile holds a file open while S3 replaces and deletes it.
func TestOpenReaderKeepsOldFile(t *testing.T) {
	d := open(t, harness.Start(t, harness.Options{}), "readers")
	old, young := bytes.Repeat([]byte("old "), 1<<19), bytes.Repeat([]byte("young "), 1<<10)
	for name, change := range map[string]func(key string){
		"overwrite": func(key string) { d.put(key, young) },
		"delete":    d.remove,
		"rename over": func(key string) {
			require.NoError(t, os.WriteFile(d.path("other"), young, 0o644))
			require.NoError(t, os.Rename(d.path("other"), d.path(key)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d.t = t
			key := strings.ReplaceAll(name, " ", "-")
			d.put(key, old)
			f, err := os.Open(d.path(key))
			require.NoError(t, err)
			defer f.Close()
			head := make([]byte, 4096)
			_, err = io.ReadFull(f, head)
			require.NoError(t, err)
			change(key)
			rest, err := io.ReadAll(f)
			require.NoError(t, err)
			require.True(t, bytes.Equal(old, append(head, rest...)), "an open file must keep its content")
		})
	}
}

// TestUnpublishedStaysPrivate: what is written and not closed is seen by the mount and not by S3.
func TestUnpublishedStaysPrivate(t *testing.T) {
	d := open(t, harness.Start(t, harness.Options{}), "drafts")
	old := []byte("published content")
	d.put("file", old)
	f, err := os.OpenFile(d.path("file"), os.O_RDWR|os.O_TRUNC, 0)
	require.NoError(t, err)
	_, err = f.WriteString("draft")
	require.NoError(t, err)
	require.NoError(t, f.Sync())

	got, err := d.get("file")
	require.NoError(t, err)
	require.Equal(t, string(old), string(got), "S3 sees the published version")
	got, err = os.ReadFile(d.path("file"))
	require.NoError(t, err)
	require.Equal(t, "draft", string(got), "another process on the mount sees the draft")
	require.NoError(t, f.Close())
	d.present("file", []byte("draft"))
}
