package doors

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// TestEveryChangeInS3 makes each kind of change through the mount that TestVisibleAtOnce doesn't, and looks at it
// through S3 at once.
func TestEveryChangeInS3(t *testing.T) {
	d := open(t, harness.Start(t, harness.Options{}), "changes")
	old := bytes.Repeat([]byte("0123456789abcdef"), 4<<10) // 64 KiB
	stat := func(key string) minio.ObjectInfo {
		i, err := d.c.StatObject(context.Background(), d.bucket, key, minio.StatObjectOptions{})
		require.NoError(t, err, key)
		return i
	}
	edit := func(key string, change func(fd int) error) {
		f, err := os.OpenFile(d.path(key), os.O_RDWR, 0)
		require.NoError(t, err)
		require.NoError(t, change(int(f.Fd())))
		require.NoError(t, f.Close())
	}
	for name, c := range map[string]struct {
		change func()
		want   func() []byte // of f; the rest is looked at by it
	}{
		"link": {func() { require.NoError(t, os.Link(d.path("f"), d.path("g"))) }, func() []byte {
			d.present("g", old)
			require.Equal(t, stat("f").ETag, stat("g").ETag)
			require.NoError(t, os.Remove(d.path("f")))
			d.absent("f")
			d.present("g", old)
			require.NoError(t, os.Rename(d.path("g"), d.path("f")))
			return old
		}},
		"write by a link": {func() {
			require.NoError(t, os.Link(d.path("f"), d.path("g")))
			require.NoError(t, os.WriteFile(d.path("g"), []byte("new"), 0o644))
		}, func() []byte { d.present("g", []byte("new")); return []byte("new") }},
		"symlink": {func() { require.NoError(t, os.Symlink("f", d.path("g"))) }, func() []byte {
			_, err := d.get("g")
			require.Equal(t, "NoSuchKey", minio.ToErrorResponse(err).Code, "a symlink is no object")
			require.Equal(t, []string{"f"}, d.keys(""))
			return old
		}},
		"fifo": {func() { require.NoError(t, unix.Mkfifo(d.path("g"), 0o600)) }, func() []byte {
			require.Equal(t, []string{"f"}, d.keys(""))
			return old
		}},
		"chmod, chown, utimes": {func() {
			was := stat("f")
			require.NoError(t, os.Chmod(d.path("f"), 0o600))
			require.NoError(t, os.Chown(d.path("f"), 4711, 4711))
			require.NoError(t, os.Chtimes(d.path("f"), was.LastModified.AddDate(-1, 0, 0), was.LastModified.AddDate(-1, 0, 0)))
			require.Equal(t, was.ETag, stat("f").ETag)
			require.Equal(t, was.LastModified, stat("f").LastModified, "the object was not written")
		}, func() []byte { return old }},
		"punch a hole": {func() {
			edit("f", func(fd int) error {
				return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4096, 8192)
			})
		}, func() []byte {
			b := bytes.Clone(old)
			clear(b[4096 : 4096+8192])
			return b
		}},
		"allocate": {func() {
			edit("f", func(fd int) error { return unix.Fallocate(fd, 0, 0, int64(len(old))+1000) })
		}, func() []byte { return append(bytes.Clone(old), make([]byte, 1000)...) }},
		"copy_file_range": {func() {
			edit("f", func(fd int) error {
				from, to := int64(1), int64(len(old))
				n, err := unix.CopyFileRange(fd, &from, fd, &to, 1000, 0)
				require.Equal(t, 1000, n)
				return err
			})
		}, func() []byte { return append(bytes.Clone(old), old[1:1001]...) }},
		"store in a shared mapping": {func() {
			edit("f", func(fd int) error {
				p, err := unix.Mmap(fd, 0, len(old), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				if err != nil {
					return err
				}
				copy(p[100:], "mapped")
				if err := unix.Msync(p, unix.MS_SYNC); err != nil {
					return err
				}
				return unix.Munmap(p)
			})
		}, func() []byte { b := bytes.Clone(old); copy(b[100:], "mapped"); return b }},
		"exchange": {func() {
			require.NoError(t, os.WriteFile(d.path("g"), []byte("g"), 0o644))
			require.NoError(t, unix.Renameat2(unix.AT_FDCWD, d.path("f"), unix.AT_FDCWD, d.path("g"), unix.RENAME_EXCHANGE))
		}, func() []byte { d.present("g", old); return []byte("g") }},
		"a nameless file": {func() {
			fd, err := unix.Open(d.dir, unix.O_TMPFILE|unix.O_RDWR, 0o644)
			require.NoError(t, err)
			_, err = unix.Write(fd, []byte("tmp"))
			require.NoError(t, err)
			require.Equal(t, []string{"f"}, d.keys(""))
			require.NoError(t, unix.Linkat(fd, "", unix.AT_FDCWD, d.path("g"), unix.AT_EMPTY_PATH))
			require.NoError(t, unix.Close(fd))
		}, func() []byte { d.present("g", []byte("tmp")); return old }},
		"an extended attribute of S3": {func() {
			require.NoError(t, unix.Setxattr(d.path("f"), "user.s3.meta.color", []byte("blue"), 0))
			require.NoError(t, unix.Setxattr(d.path("f"), "user.s3.content-type", []byte("text/x-k3"), 0))
			require.Equal(t, "blue", stat("f").UserMetadata["Color"])
			require.Equal(t, "text/x-k3", stat("f").ContentType)
		}, func() []byte { return old }},
		"mkdir and rmdir": {func() {
			require.NoError(t, os.Mkdir(d.path("dir"), 0o755))
			require.Equal(t, []string{"dir/", "f"}, d.keys(""))
			require.NoError(t, os.Remove(d.path("dir")))
			require.Equal(t, []string{"f"}, d.keys(""))
		}, func() []byte { return old }},
	} {
		t.Run(name, func(t *testing.T) {
			d.put("f", old)
			d.present("f", old) // every cache is warm
			c.change()
			d.present("f", c.want())
			for _, name := range d.names("") {
				require.NoError(t, os.Remove(d.path(name)))
			}
			require.Empty(t, d.keys(""))
		})
	}
}
