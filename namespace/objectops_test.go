package namespace

import (
	"bytes"
	"encoding/base64"
	"slices"
	"testing"
	"time"

	"github.com/minio/crc64nvme"
	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
)

func crc64Of(data []byte) string {
	h := crc64nvme.New()
	h.Write(data)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func (w *world) head(t testing.TB, key string) ObjectInfo {
	info, err := w.HeadObject(bg, "data", key, ReadOptions{})
	require.NoError(t, err)
	return info
}

// dataDir is the inode of the bucket's directory.
func (w *world) dataDir(t testing.TB) Ino {
	a, err := w.Lookup(bg, RootIno, "data")
	require.NoError(t, err)
	return a.Ino
}

func TestTags(t *testing.T) {
	w := newStore(t)
	tags := []Tag{{"b", "2"}, {"a", ""}}
	info, err := w.PutObject(bg, "data", "d/k", bodyOf([]byte("x")), PutOptions{Tags: tags})
	require.NoError(t, err)
	require.Equal(t, tags, info.Tags)
	_, err = w.SetObjectTags(bg, "data", "d/k", "", tags[:1])
	require.NoError(t, err)
	got, _, err := w.ObjectTags(bg, "data", "d/k", "")
	require.NoError(t, err)
	require.Equal(t, tags[:1], got)
	after := w.head(t, "d/k")
	require.Equal(t, info.LastModified, after.LastModified, "tags are no part of the content")

	// A copy has its source's tags, or its own.
	for want, o := range map[int]CopyOptions{1: {}, 2: {ReplaceTags: true, Tags: tags}, 0: {ReplaceTags: true}} {
		c, err := w.CopyObject(bg, "data", "d/k", "data", "copy", o)
		require.NoError(t, err)
		require.Len(t, c.Tags, want)
	}
	// The mount's writer leaves them.
	dir, err := w.Lookup(bg, w.dataDir(t), "d")
	require.NoError(t, err)
	a, err := w.Lookup(bg, dir.Ino, "k")
	require.NoError(t, err)
	rewrite(t, w, a.Ino, "other content")
	require.Equal(t, tags[:1], w.head(t, "d/k").Tags)
	require.NotEqual(t, info.ETag, w.head(t, "d/k").ETag)

	_, err = w.SetObjectTags(bg, "data", "d/k", "", nil)
	require.NoError(t, err)
	got, _, err = w.ObjectTags(bg, "data", "d/k", "")
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = w.SetObjectTags(bg, "data", "none", "", tags)
	requireKind(t, NotFound, err)
	_, _, err = w.ObjectTags(bg, "data", "none", "")
	requireKind(t, NotFound, err)
	_, err = w.fs.As(bob).SetObjectTags(bg, "data", "d/k", "", tags)
	requireKind(t, NoBucket, err)
}

// rewrite replaces a file's content through the mount.
func rewrite(t testing.TB, w *world, ino Ino, content string) {
	h, err := w.Open(bg, ino, OpenFlags{Write: true, Trunc: true})
	require.NoError(t, err)
	_, err = h.WriteAt(bg, []byte(content), 0)
	require.NoError(t, err)
	require.NoError(t, h.Flush(bg))
	require.NoError(t, h.Close(bg))
}

func TestPartsOfAnObject(t *testing.T) {
	w := newStore(t)
	up, err := w.CreateUpload(bg, "data", "k", Upload{Checksum: "CRC32", Type: composite, Tags: []Tag{{"t", "1"}}})
	require.NoError(t, err)
	one, two, three := storetest.Bytes(minPart, 1), storetest.Bytes(minPart+77, 2), []byte("tail")
	parts := []CompletePart{w.part(t, "k", up.ID, 2, one), w.part(t, "k", up.ID, 5, two), w.part(t, "k", up.ID, 9, three)}
	size := int64(len(one) + len(two) + len(three))
	wrong := size + 1
	_, err = w.CompleteUpload(bg, "data", "k", up.ID, parts, Checksums{}, Conditions{Size: &wrong})
	requireKind(t, BadBody, err)
	info, err := w.CompleteUpload(bg, "data", "k", up.ID, parts, Checksums{}, Conditions{Size: &size})
	require.NoError(t, err)
	require.Equal(t, []Tag{{"t", "1"}}, info.Tags)

	for n, want := range map[int][]byte{2: one, 5: two, 9: three} {
		rd, err := w.GetObject(bg, "data", "k", ReadOptions{Part: n})
		require.NoError(t, err)
		i := rd.Info()
		require.Equal(t, int64(len(want)), i.Part.Size)
		require.Equal(t, crc32Of(want), i.Part.Checksums.Value)
		var b bytes.Buffer
		_, err = rd.WriteRange(bg, &b, i.Offset, i.Part.Size)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, b.Bytes()))
		require.NoError(t, rd.Close())
	}
	for _, n := range []int{1, 3, 10} {
		_, err := w.HeadObject(bg, "data", "k", ReadOptions{Part: n})
		requireKind(t, InvalidPart, err)
	}
	_, list, truncated, err := w.ObjectParts(bg, "data", "k", ReadOptions{}, 2, 1)
	require.NoError(t, err)
	require.True(t, truncated)
	require.Equal(t, []int{5}, []int{list[0].Number})
	require.Equal(t, 3, w.head(t, "k").Parts)
	require.Equal(t, 1, w.records(t, kObjPart))

	// An object that was not made of parts is its own first part.
	w.put(t, "plain", []byte("plain"))
	i, err := w.HeadObject(bg, "data", "plain", ReadOptions{Part: 1})
	require.NoError(t, err)
	require.Equal(t, int64(5), i.Part.Size)
	_, err = w.HeadObject(bg, "data", "plain", ReadOptions{Part: 2})
	requireKind(t, InvalidPart, err)

	_, err = w.DeleteObject(bg, "data", "k", DeleteOptions{})
	require.NoError(t, err)
	require.Zero(t, w.records(t, kObjPart), "the parts go with the object")
}

func TestChecksumsOnDemand(t *testing.T) {
	w := newStore(t)
	for name, data := range map[string][]byte{"small": []byte("hello"), "large": storetest.Bytes(3<<20, 7), "empty": nil} {
		w.file(t, w.dataDir(t), name, string(data))
		require.Empty(t, w.head(t, name).Checksums)
		i, err := w.HeadObject(bg, "data", name, ReadOptions{Checksum: true})
		require.NoError(t, err)
		want := Checksums{Algorithm: "CRC64NVME", Value: crc64Of(data), Type: fullObject}
		require.Equal(t, want, i.Checksums)
		require.Equal(t, want, w.head(t, name).Checksums, "it is kept")
		page, err := w.ListObjects(bg, "data", ListOptions{Prefix: name, Max: 1})
		require.NoError(t, err)
		require.Equal(t, want, page.Objects[0].Checksums)
	}
	a, err := w.Lookup(bg, w.dataDir(t), "small")
	require.NoError(t, err)
	rewrite(t, w, a.Ino, "changed")
	require.Empty(t, w.head(t, "small").Checksums, "of the content that is gone")
	rd, err := w.GetObject(bg, "data", "small", ReadOptions{Checksum: true})
	require.NoError(t, err)
	require.Equal(t, crc64Of([]byte("changed")), rd.Info().Checksums.Value)
	require.NoError(t, rd.Close())
	i, err := w.CopyObject(bg, "data", "small", "data", "copy", CopyOptions{Checksum: "CRC32"})
	require.NoError(t, err)
	require.Equal(t, Checksums{Algorithm: "CRC32", Value: crc32Of([]byte("changed")), Type: fullObject}, i.Checksums)
}

func TestAppendObject(t *testing.T) {
	w := newStore(t)
	appendTo := func(off int64, data []byte) (ObjectInfo, error) {
		body := bodyOf(data)
		body.sums = Checksums{Algorithm: "CRC64NVME", Value: crc64Of(data), Type: fullObject}
		return w.AppendObject(bg, "data", "log/a", body, AppendOptions{Offset: off, PutOptions: PutOptions{Meta: map[string]string{"m": "1"}}})
	}
	_, err := appendTo(1, []byte("x"))
	requireKind(t, NotFound, err)
	var whole []byte
	etags := map[string]bool{}
	for i, n := range []int{3, inlineMax - 100, 0, 97, 5, 100_000, 2, 3 << 20, 1} {
		data := storetest.Bytes(n, uint64(i))
		info, err := appendTo(int64(len(whole)), data)
		require.NoError(t, err, i)
		whole = append(whole, data...)
		require.Equal(t, int64(len(whole)), info.Size)
		require.False(t, etags[info.ETag])
		etags[info.ETag] = true
		require.True(t, bytes.Equal(whole, w.get(t, "log/a")), i)
		require.Equal(t, map[string]string{"m": "1"}, w.head(t, "log/a").Meta)
		require.Equal(t, crc64Of(whole), info.Checksums.Value)
		_, err = appendTo(int64(len(whole))-1, []byte("x"))
		requireKind(t, WrongOffset, err)
	}
	_, err = w.AppendObject(bg, "data", "log/a", bodyOf([]byte("x")), AppendOptions{Offset: int64(len(whole)),
		PutOptions: PutOptions{Conditions: Conditions{IfMatch: []string{"another"}}}})
	requireKind(t, PreconditionFailed, err)
	requireKind(t, NoBucket, func() error {
		_, err := w.fs.As(bob).AppendObject(bg, "data", "log/a", bodyOf(nil), AppendOptions{Offset: int64(len(whole))})
		return err
	}())
	require.Equal(t, []string{"a"}, w.names(t, "data", "log"))
	_, err = w.DeleteObject(bg, "data", "log/a", DeleteOptions{})
	require.NoError(t, err)
	require.NoError(t, w.fs.Reap(bg))
	require.Zero(t, w.records(t, kExtent))
}

func TestRenameObject(t *testing.T) {
	w := newStore(t)
	data := storetest.Bytes(100_000, 1)
	src, err := w.PutObject(bg, "data", "a/b/c", bodyOf(data), PutOptions{Tags: []Tag{{"t", "1"}}})
	require.NoError(t, err)
	w.put(t, "taken", []byte("old"))
	requireKind(t, PreconditionFailed, w.RenameObject(bg, "data", "a/b/c", "taken", Conditions{}, Conditions{IfNoneMatch: []string{"*"}}))
	requireKind(t, PreconditionFailed, w.RenameObject(bg, "data", "a/b/c", "taken", Conditions{IfMatch: []string{"other"}}, Conditions{}))
	requireKind(t, NotFound, w.RenameObject(bg, "data", "absent", "x", Conditions{}, Conditions{}))
	for _, bad := range []string{"a/b/c", "x/", ""} {
		require.Error(t, w.RenameObject(bg, "data", "a/b/c", bad, Conditions{}, Conditions{}))
	}
	requireKind(t, NoBucket, w.fs.As(bob).RenameObject(bg, "data", "a/b/c", "x", Conditions{}, Conditions{}))

	appended := w.chunks.Usage().Appended
	require.NoError(t, w.RenameObject(bg, "data", "a/b/c", "taken", Conditions{IfMatch: []string{src.ETag}}, Conditions{}))
	require.Equal(t, []string{"taken"}, w.names(t, "data"), "the directories that S3 made are gone")
	require.NoError(t, w.RenameObject(bg, "data", "taken", "d/e//f", Conditions{}, Conditions{IfNoneMatch: []string{"*"}}))
	require.Equal(t, []string{"d/e//f"}, w.listKeys(t))
	require.True(t, bytes.Equal(data, w.get(t, "d/e//f")))
	require.Equal(t, appended, w.chunks.Usage().Appended, "no data moves")
	now := w.head(t, "d/e//f")
	require.Equal(t, []any{src.ETag, src.Ino, src.Tags}, []any{now.ETag, now.Ino, now.Tags})

	// Two names of one file: the old name goes.
	one := w.file(t, w.dataDir(t), "one", "1")
	_, err = w.Link(bg, one, w.dataDir(t), "two")
	require.NoError(t, err)
	require.NoError(t, w.RenameObject(bg, "data", "one", "two", Conditions{}, Conditions{}))
	require.Equal(t, []string{"d/e//f", "two"}, w.listKeys(t))
	require.Equal(t, uint32(1), w.attr(t, one).Nlink)
}

func TestStorageClassIsListed(t *testing.T) {
	w := newStore(t)
	w.put(t, "a", []byte("a"))
	class := map[string]string{StorageClass: "GLACIER"}
	_, err := w.PutObject(bg, "data", "b", bodyOf([]byte("b")), PutOptions{Headers: class})
	require.NoError(t, err)
	_, err = w.CopyObject(bg, "data", "b", "data", "c", CopyOptions{})
	require.NoError(t, err)
	_, err = w.CopyObject(bg, "data", "a", "data", "d", CopyOptions{Override: class})
	require.NoError(t, err)
	page, err := w.ListObjects(bg, "data", ListOptions{Max: 10})
	require.NoError(t, err)
	var got []string
	for _, o := range page.Objects {
		got = append(got, o.Headers[StorageClass])
	}
	require.Equal(t, []string{"", "GLACIER", "", "GLACIER"}, got, "a copy does not take its source's")
}

func TestConditionalDeletes(t *testing.T) {
	w := newStore(t)
	size, other := int64(1), int64(2)
	for name, c := range map[string]struct {
		ok   bool
		cond func(ObjectInfo) Conditions
	}{
		"etag":       {true, func(i ObjectInfo) Conditions { return Conditions{IfMatch: []string{i.ETag}} }},
		"any":        {true, func(ObjectInfo) Conditions { return Conditions{IfMatch: []string{"*"}} }},
		"other etag": {false, func(ObjectInfo) Conditions { return Conditions{IfMatch: []string{"x"}} }},
		"size":       {true, func(ObjectInfo) Conditions { return Conditions{Size: &size} }},
		"other size": {false, func(ObjectInfo) Conditions { return Conditions{Size: &other} }},
		"time":       {true, func(i ObjectInfo) Conditions { return Conditions{LastModified: i.LastModified.Truncate(time.Second)} }},
		"other time": {false, func(i ObjectInfo) Conditions { return Conditions{LastModified: i.LastModified.Add(-time.Hour)} }},
	} {
		i := w.put(t, "k", []byte("x"))
		_, err := w.DeleteObject(bg, "data", "k", DeleteOptions{Conditions: c.cond(i)})
		if !c.ok {
			requireKind(t, PreconditionFailed, err)
			require.True(t, slices.Contains(w.listKeys(t), "k"), name)
			continue
		}
		require.NoError(t, err, name)
		_, err = w.DeleteObject(bg, "data", "k", DeleteOptions{Conditions: c.cond(i)})
		if len(c.cond(i).IfMatch) > 0 {
			requireKind(t, PreconditionFailed, err)
			continue
		}
		require.NoError(t, err, "what is gone already is no failure")
	}
}
