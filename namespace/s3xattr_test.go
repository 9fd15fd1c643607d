package namespace

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
	"k3fs/internal/posixacl"
)

func (w *world) xattr(t testing.TB, ino Ino, name string) string {
	value, err := w.GetXattr(bg, ino, name)
	if err != nil {
		requireKind(t, NoAttr, err)
		return "-"
	}
	return string(value)
}

func TestS3Xattrs(t *testing.T) {
	w := newStore(t)
	bucket := w.lookup(t, RootIno, "data")
	body := bodyOf([]byte("<html>"))
	body.sums = Checksums{Algorithm: "CRC32C", Value: "AAAAAA==", Type: fullObject}
	info, err := w.PutObject(bg, "data", "page", body, PutOptions{
		Headers: map[string]string{contentType: "text/x", "Cache-Control": "no-store"}, Meta: map[string]string{"who": "me"}})
	require.NoError(t, err)
	ino := w.lookup(t, bucket, "page")
	require.Equal(t, "text/x", w.xattr(t, ino, "user.s3.content-type"))
	require.Equal(t, "no-store", w.xattr(t, ino, "user.s3.cache-control"))
	require.Equal(t, "-", w.xattr(t, ino, "user.s3.expires"))
	require.Equal(t, "me", w.xattr(t, ino, "user.s3.meta.who"))
	require.Equal(t, "-", w.xattr(t, ino, "user.s3.meta.whose"))
	require.Equal(t, info.ETag, w.xattr(t, ino, "user.s3.etag"))
	require.Equal(t, "null", w.xattr(t, ino, "user.s3.version-id"))
	require.Equal(t, "AAAAAA==", w.xattr(t, ino, "user.s3.checksum.crc32c"))
	require.Equal(t, "-", w.xattr(t, ino, "user.s3.checksum.crc32"))
	require.Equal(t, "-", w.xattr(t, ino, "user.s3.checksum."))

	require.NoError(t, w.SetXattr(bg, ino, "user.plain", []byte("x"), 0))
	require.NoError(t, w.SetXattr(bg, ino, "user.s3.meta.job", []byte("17"), XattrCreate))
	require.NoError(t, w.SetXattr(bg, ino, "user.s3.content-type", []byte("text/y"), XattrReplace))
	require.NoError(t, w.RemoveXattr(bg, ino, "user.s3.cache-control"))
	requireKind(t, NoAttr, w.RemoveXattr(bg, ino, "user.s3.cache-control"))
	requireKind(t, NoAttr, w.RemoveXattr(bg, ino, "user.s3.meta.none"))
	names, err := w.ListXattr(bg, ino)
	require.NoError(t, err)
	require.Equal(t, []string{"user.s3.content-type", "user.s3.meta.job", "user.s3.meta.who", "user.plain"}, names)
	after, err := w.HeadObject(bg, "data", "page", ReadOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{contentType: "text/y"}, after.Headers)
	require.Equal(t, map[string]string{"who": "me", "job": "17"}, after.Meta)
	require.Equal(t, info.ETag, after.ETag)
	require.Equal(t, info.LastModified, after.LastModified)
}

// Tags are the same through both doors.
func TestTagXattrs(t *testing.T) {
	w := newStore(t)
	bucket := w.lookup(t, RootIno, "data")
	info := w.put(t, "f", []byte("x"))
	_, err := w.SetObjectTags(bg, "data", "f", "", []Tag{{"class", "a/b"}, {"größe", "groß"}})
	require.NoError(t, err)
	ino := w.lookup(t, bucket, "f")
	require.Equal(t, "a/b", w.xattr(t, ino, "user.s3.tag.class"))
	require.NoError(t, w.SetXattr(bg, ino, "user.s3.tag.class", []byte("c d"), XattrReplace))
	requireKind(t, Exists, w.SetXattr(bg, ino, "user.s3.tag.class", []byte("c d"), XattrCreate))
	require.NoError(t, w.SetXattr(bg, ino, "user.s3.tag.empty", nil, XattrCreate))
	require.NoError(t, w.RemoveXattr(bg, ino, "user.s3.tag.größe"))
	requireKind(t, NoAttr, w.RemoveXattr(bg, ino, "user.s3.tag.größe"))
	names, err := w.ListXattr(bg, ino)
	require.NoError(t, err)
	require.Equal(t, []string{"user.s3.tag.class", "user.s3.tag.empty"}, names)
	tags, _, err := w.ObjectTags(bg, "data", "f", "")
	require.NoError(t, err)
	require.Equal(t, []Tag{{"class", "c d"}, {"empty", ""}}, tags)
	require.Equal(t, info.ETag, w.xattr(t, ino, "user.s3.etag"))

	for name, value := range map[string]string{"": "x", "aws:x": "x", "Aws:": "x", "a\nb": "x", "a": "new\nline", "b": strings.Repeat("v", 257),
		strings.Repeat("k", 129): "x", "bad\xff": "x", "ok": "\xff"} {
		requireKind(t, Invalid, w.SetXattr(bg, ino, "user.s3.tag."+name, []byte(value), 0))
	}
	for i := range MaxTags - 2 {
		require.NoError(t, w.SetXattr(bg, ino, fmt.Sprintf("user.s3.tag.%d", i), []byte("x"), 0))
	}
	requireKind(t, NoSpace, w.SetXattr(bg, ino, "user.s3.tag.more", []byte("x"), 0))
	require.NoError(t, w.SetXattr(bg, ino, "user.s3.tag.0", []byte("y"), 0))

	_, err = w.Symlink(bg, bucket, "l", "f", NewNode{Mode: 0o777})
	require.NoError(t, err)
	requireKind(t, NotPermitted, w.SetXattr(bg, w.lookup(t, bucket, "l"), "user.s3.tag.a", []byte("x"), 0))
	require.Equal(t, "-", w.xattr(t, w.lookup(t, bucket, "l"), "user.s3.tag.a"))
}

func TestS3XattrsRefused(t *testing.T) {
	w := newStore(t)
	bucket := w.lookup(t, RootIno, "data")
	ino := w.file(t, bucket, "f", "x")
	for name, want := range map[string]Kind{"user.s3.etag": NotPermitted, "user.s3.version-id": NotPermitted, "user.s3.checksum.sha256": NotPermitted,
		"user.s3.bogus": Unsupported, "user.s3.": Unsupported, "user.s3.meta.": Invalid, "user.s3.meta.UPPER": Invalid, "user.s3.meta.a b": Invalid,
		"user.s3.file-mode": Unsupported} {
		requireKind(t, want, w.SetXattr(bg, ino, name, []byte("0600"), 0))
		requireKind(t, want, w.RemoveXattr(bg, ino, name))
	}
	for _, value := range []string{"a\r\nSet-Cookie: x", "a\x00b", " a", "a\t", "ü", "\x7f"} {
		requireKind(t, Invalid, w.SetXattr(bg, ino, "user.s3.meta.x", []byte(value), 0))
		requireKind(t, Invalid, w.SetXattr(bg, ino, "user.s3.content-type", []byte(value), 0))
	}
	requireKind(t, Invalid, w.SetXattr(bg, ino, "user.s3.content-type", nil, 0))
	requireKind(t, TooBig, w.SetXattr(bg, ino, "user.s3.content-type", []byte(strings.Repeat("a", maxHeader+1)), 0))
	require.NoError(t, w.SetXattr(bg, ino, "user.s3.meta.a", []byte(strings.Repeat("a", maxMeta-1)), 0))
	requireKind(t, NoSpace, w.SetXattr(bg, ino, "user.s3.meta.b", nil, 0))
	_, err := w.Symlink(bg, bucket, "l", "f", NewNode{Mode: 0o777})
	require.NoError(t, err)
	requireKind(t, NotPermitted, w.SetXattr(bg, w.lookup(t, bucket, "l"), "user.s3.content-type", []byte("a/b"), 0))
	require.Equal(t, "-", w.xattr(t, w.lookup(t, bucket, "l"), "user.s3.etag"))
}

// What is set on a file that S3 doesn't see yet is there when it does; what S3 computes is not there before.
func TestS3XattrsOfDraft(t *testing.T) {
	w := newStore(t)
	bucket := w.lookup(t, RootIno, "data")
	h := create(t, w.View, bucket, "f")
	require.NoError(t, w.SetXattr(bg, h.Ino(), "user.s3.meta.who", []byte("me"), 0))
	require.Equal(t, "-", w.xattr(t, h.Ino(), "user.s3.etag"))
	require.Equal(t, "-", w.xattr(t, h.Ino(), "user.s3.content-type"))
	require.NoError(t, h.Flush(bg))
	require.NoError(t, h.Close(bg))
	info, err := w.HeadObject(bg, "data", "f", ReadOptions{})
	require.NoError(t, err)
	require.Equal(t, "me", info.Meta["who"])
	require.Equal(t, info.ETag, w.xattr(t, h.Ino(), "user.s3.etag"))
}

func TestDerivedType(t *testing.T) {
	w := newStore(t)
	bucket := w.lookup(t, RootIno, "data")
	types := func(key string) (head, get, xattr string) {
		info, err := w.HeadObject(bg, "data", key, ReadOptions{})
		require.NoError(t, err)
		require.Empty(t, info.Headers)
		rd, err := w.GetObject(bg, "data", key, ReadOptions{})
		require.NoError(t, err)
		defer rd.Close()
		return cmp.Or(info.DerivedType, DefaultType), cmp.Or(rd.Info().DerivedType, DefaultType), w.xattr(t, w.lookup(t, bucket, key), s3Type)
	}
	require3 := func(want, key string) {
		t.Helper()
		head, get, xattr := types(key)
		require.Equal(t, []string{want, want, want}, []string{head, get, xattr}, key)
	}
	w.file(t, bucket, "a.txt", "<html><body>")
	require3("text/plain", "a.txt")
	require.NoError(t, w.Rename(bg, bucket, "a.txt", bucket, "a.HTML", 0))
	require3("text/html", "a.HTML")
	require.NoError(t, w.Rename(bg, bucket, "a.HTML", bucket, "page", 0))
	require3("text/html; charset=utf-8", "page")
	w.file(t, bucket, "big", "%PDF-1.7\n"+string(storetest.Bytes(300_000, 1)))
	require3("application/pdf", "big")
	w.file(t, bucket, "empty", "")
	require3(DefaultType, "empty")
	w.put(t, "by-s3.txt", []byte("<html>"))
	require3(DefaultType, "by-s3.txt")

	// A copy derives its own; one that was set stays.
	_, err := w.CopyObject(bg, "data", "page", "data", "copy.json", CopyOptions{})
	require.NoError(t, err)
	require3("application/json", "copy.json")
	require.NoError(t, w.SetXattr(bg, w.lookup(t, bucket, "page"), s3Type, []byte("x/y"), XattrCreate))
	_, err = w.CopyObject(bg, "data", "page", "data", "copy.csv", CopyOptions{})
	require.NoError(t, err)
	require.Equal(t, "x/y", w.xattr(t, w.lookup(t, bucket, "copy.csv"), s3Type))
}

// What S3 makes takes after the directory, with the bucket's modes, or with its default access list.
func TestModesOfS3(t *testing.T) {
	w := newStore(t)
	bucket := w.lookup(t, RootIno, "data")
	uid, gid, mode := uint32(1001), uint32(50), uint32(0o2770)
	_, err := w.SetAttr(bg, bucket, SetAttr{UID: &uid, GID: &gid, Mode: &mode})
	require.NoError(t, err)
	owned := func(ino Ino, typ Type, mode uint32) {
		t.Helper()
		a := w.attr(t, ino)
		require.Equal(t, []any{typ, uid, gid, mode}, []any{a.Type, a.UID, a.GID, a.Mode})
	}
	w.put(t, "d/f", nil)
	d := w.lookup(t, bucket, "d")
	owned(d, Dir, 0o2755)
	owned(w.lookup(t, d, "f"), File, 0o644)
	require.Equal(t, "0644", w.xattr(t, bucket, s3FileMode))
	require.Equal(t, "0755", w.xattr(t, bucket, s3DirMode))
	require.Equal(t, "-", w.xattr(t, d, s3DirMode))
	require.NoError(t, w.SetXattr(bg, bucket, s3FileMode, []byte("0640"), 0))
	require.NoError(t, w.SetXattr(bg, bucket, s3DirMode, []byte("750"), 0))
	for _, bad := range []string{"", "0", "9", "01777", "-1", "640 "} {
		requireKind(t, Invalid, w.SetXattr(bg, bucket, s3FileMode, []byte(bad), 0))
	}
	w.put(t, "e/f", nil)
	w.put(t, "g/", nil)
	owned(w.lookup(t, bucket, "e"), Dir, 0o2750)
	owned(w.lookup(t, bucket, "g"), Dir, 0o2750)
	owned(w.lookup(t, w.lookup(t, bucket, "e"), "f"), File, 0o640)

	// An overwrite keeps what protects the old file.
	secret := w.lookup(t, d, "f")
	uid, gid, mode = 7, 8, 0o4600
	_, err = w.SetAttr(bg, secret, SetAttr{UID: &uid, GID: &gid, Mode: &mode})
	require.NoError(t, err)
	require.NoError(t, w.SetXattr(bg, secret, accessACL, someACL.Marshal(), 0))
	w.put(t, "d/f", []byte("new"))
	owned(w.lookup(t, d, "f"), File, 0o670)
	require.Equal(t, string(someACL.Marshal()), w.xattr(t, w.lookup(t, d, "f"), accessACL))

	require.NoError(t, w.SetXattr(bg, d, defaultACL, someACL.Marshal(), 0))
	uid, gid = 1001, 50
	w.put(t, "d/new", nil)
	owned(w.lookup(t, d, "new"), File, 0o660)
	acl, err := posixacl.Parse([]byte(w.xattr(t, w.lookup(t, d, "new"), accessACL)))
	require.NoError(t, err)
	require.Equal(t, someACL.Inherit(0o666), acl)
	require.NoError(t, w.RemoveXattr(bg, bucket, s3FileMode))
	require.Equal(t, "0644", w.xattr(t, bucket, s3FileMode))
}
