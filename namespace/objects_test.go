package namespace

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
	"k3fs/metastore"
)

var bg = context.Background()

// testBody is a Body of known bytes.
type testBody struct {
	io.Reader
	size int64
	data []byte
	sums Checksums
	bad  error // what Seal answers
}

func bodyOf(data []byte) *testBody {
	return &testBody{Reader: bytes.NewReader(data), size: int64(len(data)), data: data}
}

func (b *testBody) Size() int64 { return b.size }

func (b *testBody) Seal() (Sealed, error) {
	sum := md5.Sum(b.data)
	return Sealed{ETag: hex.EncodeToString(sum[:]), MD5: sum, Checksums: b.sums}, b.bad
}

func etagOf(data []byte) string {
	sum := md5.Sum(data)
	return hex.EncodeToString(sum[:])
}

// newStore is a world with a bucket made by S3.
func newStore(t testing.TB) *world {
	w := newWorld(t)
	require.NoError(t, w.CreateBucket(bg, "data", ""))
	return w
}

func (w *world) put(t testing.TB, key string, data []byte) ObjectInfo {
	info, err := w.PutObject(bg, "data", key, bodyOf(data), PutOptions{})
	require.NoError(t, err)
	return info
}

func (w *world) get(t testing.TB, key string) []byte {
	rd, err := w.GetObject(bg, "data", key, ReadOptions{})
	require.NoError(t, err)
	defer rd.Close()
	var b bytes.Buffer
	n, err := rd.WriteRange(bg, &b, 0, rd.Info().Size)
	require.NoError(t, err)
	require.Equal(t, rd.Info().Size, n)
	return b.Bytes()
}

func (w *world) listKeys(t testing.TB) []string {
	page, err := w.ListObjects(bg, "data", ListOptions{Max: 10000})
	require.NoError(t, err)
	require.False(t, page.Truncated)
	var keys []string
	for _, o := range page.Objects {
		keys = append(keys, o.Key)
	}
	return keys
}

// names lists what POSIX sees under a path of directories.
func (w *world) names(t testing.TB, bucket string, path ...string) []string {
	a, err := w.Lookup(bg, RootIno, bucket)
	require.NoError(t, err)
	for _, p := range path {
		a, err = w.Lookup(bg, a.Ino, p)
		require.NoError(t, err)
	}
	entries, err := w.ReadDir(bg, a.Ino, "", 1000, false)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names
}

func requireKind(t testing.TB, want Kind, err error) {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, want, e.Kind, "%v", err)
	require.NotEmpty(t, e.Op)
}

func TestPutGetSizes(t *testing.T) {
	w := newStore(t)
	const mib = 1 << 20
	for _, size := range []int{0, 1, inlineMax - 1, inlineMax, inlineMax + 1, smallBuffer - 1, smallBuffer, smallBuffer + 1,
		mib - 1, mib, mib + 1, 2 * mib, 5*mib + 17} {
		for _, announced := range []bool{true, false} {
			name := fmt.Sprintf("dir/%d-%v", size, announced)
			data := storetest.Bytes(size, uint64(size))
			body := bodyOf(data)
			if !announced {
				body.size = -1
			}
			info, err := w.PutObject(bg, "data", name, body, PutOptions{})
			require.NoError(t, err, name)
			require.Equal(t, etagOf(data), info.ETag)
			require.True(t, bytes.Equal(data, w.get(t, name)), name)
			head, err := w.HeadObject(bg, "data", name, ReadOptions{})
			require.NoError(t, err)
			require.Equal(t, info, head)

			rd, err := w.GetObject(bg, "data", name, ReadOptions{})
			require.NoError(t, err)
			for _, r := range [][2]int{{0, 1}, {size / 2, size}, {max(size-3, 0), 3}, {mib - 1, 2}, {size, 1}} {
				off, length := min(r[0], size), r[1]
				want := data[off:min(off+length, size)]
				var b bytes.Buffer
				_, err := rd.WriteRange(bg, &b, int64(off), int64(length))
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, b.Bytes()))
				p := make([]byte, length)
				n, err := rd.ReadAt(bg, p, int64(off))
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, p[:n]))
			}
			require.NoError(t, rd.Close())
			require.NoError(t, rd.Close())
		}
	}
	require.Empty(t, w.fs.pins)
}

func TestKeysThatPosixCantName(t *testing.T) {
	w := newStore(t)
	keys := []string{".", "..", "/", "//", "a", "a/", "a//", "a//b", "a/./b", "a/b", "a/b/c", strings.Repeat("x", 300),
		strings.Repeat("x", 300) + "/y", strings.Repeat("d/", 511) + "e"}
	for _, k := range keys {
		w.put(t, k, []byte("of "+k))
	}
	require.ElementsMatch(t, keys, w.listKeys(t))
	require.IsIncreasing(t, w.listKeys(t))
	for _, k := range keys {
		require.Equal(t, "of "+k, string(w.get(t, k)))
	}
	for _, k := range keys {
		found, err := w.DeleteObject(bg, "data", k, DeleteOptions{})
		require.NoError(t, err)
		require.True(t, found.Found, k)
	}
	require.Empty(t, w.names(t, "data"), "implicit directories vanish")
	require.NoError(t, w.DeleteBucket(bg, "data"))

	for _, k := range []string{"", "nul\x00", "\xff", strings.Repeat("k", 1025)} {
		_, err := w.PutObject(bg, "bucket", k, bodyOf(nil), PutOptions{})
		require.Error(t, err)
		_, err = w.HeadObject(bg, "bucket", k, ReadOptions{})
		require.Error(t, err)
	}
}

func TestDirectoriesExplicitAndImplicit(t *testing.T) {
	w := newStore(t)
	w.put(t, "a/b/c", []byte("1"))
	require.Equal(t, []string{"a/b/c"}, w.listKeys(t))
	w.put(t, "a/b/", []byte("body of a directory"))
	require.Equal(t, []string{"a/b/", "a/b/c"}, w.listKeys(t))
	require.Equal(t, "body of a directory", string(w.get(t, "a/b/")))

	// Its own object goes, the directory stays for what is in it.
	found, err := w.DeleteObject(bg, "data", "a/b/", DeleteOptions{})
	require.NoError(t, err)
	require.True(t, found.Found)
	require.Equal(t, []string{"a/b/c"}, w.listKeys(t))
	found, err = w.DeleteObject(bg, "data", "a/b/", DeleteOptions{})
	require.NoError(t, err)
	require.False(t, found.Found)

	w.put(t, "a/", nil)
	_, err = w.DeleteObject(bg, "data", "a/b/c", DeleteOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"a/"}, w.listKeys(t))
	require.Equal(t, []string{"a"}, w.names(t, "data"))
	require.Empty(t, w.names(t, "data", "a"))
	_, err = w.DeleteObject(bg, "data", "a/", DeleteOptions{})
	require.NoError(t, err)
	require.Empty(t, w.names(t, "data"))
}

func TestPutReplacesUnderOpenReaders(t *testing.T) {
	w := newStore(t)
	old, fresh := storetest.Bytes(200_000, 1), storetest.Bytes(150_000, 2)
	w.put(t, "k", old)
	a, err := w.Lookup(bg, RootIno, "data")
	require.NoError(t, err)
	f, err := w.Lookup(bg, a.Ino, "k")
	require.NoError(t, err)
	h, err := w.Open(bg, f.Ino, OpenFlags{Read: true})
	require.NoError(t, err)
	rd, err := w.GetObject(bg, "data", "k", ReadOptions{})
	require.NoError(t, err)

	w.put(t, "k", fresh)
	require.NoError(t, w.fs.Reap(bg))
	require.True(t, bytes.Equal(fresh, w.get(t, "k")))
	require.True(t, bytes.Equal(old, readAll(t, h)), "the mount's handle keeps the old file")
	var b bytes.Buffer
	_, err = rd.WriteRange(bg, &b, 0, 1<<30)
	require.NoError(t, err)
	require.True(t, bytes.Equal(old, b.Bytes()), "and so does the S3 reader")
	require.NoError(t, h.Close(bg))
	require.NoError(t, rd.Close())
	_, err = w.DeleteObject(bg, "data", "k", DeleteOptions{})
	require.NoError(t, err)
	require.NoError(t, w.fs.Reap(bg))
	require.Zero(t, w.records(t, kExtent))
	require.Zero(t, w.records(t, kOrphan))
}

func TestConditions(t *testing.T) {
	w := newStore(t)
	info := w.put(t, "k", []byte("v1"))
	past, future := info.LastModified.Add(-time.Hour), info.LastModified.Add(time.Hour)
	for _, c := range []struct {
		name string
		cond Conditions
		want Kind // Internal means success
	}{
		{"none", Conditions{}, Internal},
		{"match", Conditions{IfMatch: []string{"x", info.ETag}}, Internal},
		{"match any", Conditions{IfMatch: []string{"*"}}, Internal},
		{"match other", Conditions{IfMatch: []string{"x"}}, PreconditionFailed},
		{"match wins over unmodified", Conditions{IfMatch: []string{info.ETag}, IfUnmodifiedSince: past}, Internal},
		{"unmodified", Conditions{IfUnmodifiedSince: future}, Internal},
		{"modified after", Conditions{IfUnmodifiedSince: past}, PreconditionFailed},
		{"none match", Conditions{IfNoneMatch: []string{info.ETag}}, NotModified},
		{"none match other", Conditions{IfNoneMatch: []string{"x"}, IfModifiedSince: future}, Internal},
		{"modified since", Conditions{IfModifiedSince: past}, Internal},
		{"not modified since", Conditions{IfModifiedSince: future}, NotModified},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.HeadObject(bg, "data", "k", ReadOptions{Conditions: c.cond})
			rd, err2 := w.GetObject(bg, "data", "k", ReadOptions{Conditions: c.cond})
			if c.want == Internal {
				require.NoError(t, err)
				require.NoError(t, err2)
				rd.Close()
				return
			}
			requireKind(t, c.want, err)
			requireKind(t, c.want, err2)
		})
	}
	put := func(key string, c Conditions) error {
		_, err := w.PutObject(bg, "data", key, bodyOf(storetest.Bytes(20_000, 3)), PutOptions{Conditions: c})
		return err
	}
	requireKind(t, PreconditionFailed, put("k", Conditions{IfNoneMatch: []string{"*"}}))
	requireKind(t, PreconditionFailed, put("k", Conditions{IfMatch: []string{"x"}}))
	requireKind(t, NotFound, put("absent", Conditions{IfMatch: []string{"x"}}))
	require.Equal(t, "v1", string(w.get(t, "k")))
	require.Zero(t, w.chunks.Usage().Appended-w.chunks.Usage().Freed, "data of refused puts is freed")
	require.NoError(t, put("absent", Conditions{IfNoneMatch: []string{"*"}}))
	require.NoError(t, put("k", Conditions{IfMatch: []string{info.ETag}}))
	_, err := w.DeleteObject(bg, "data", "k", DeleteOptions{Conditions: Conditions{IfMatch: []string{info.ETag}}})
	requireKind(t, PreconditionFailed, err)
}

func TestBadBodies(t *testing.T) {
	w := newStore(t)
	w.put(t, "k", []byte("before"))
	cause := errors.New("wrong checksum")
	for _, size := range []int{10, 100_000, 3 << 20} {
		data := storetest.Bytes(size, 1)
		for name, body := range map[string]*testBody{
			"read":  {Reader: io.MultiReader(bytes.NewReader(data), failing{cause}), size: int64(size) + 1},
			"early": {Reader: io.MultiReader(bytes.NewReader(data[:5]), failing{cause}), size: int64(size)},
			"seal":  {Reader: bytes.NewReader(data), size: int64(size), bad: cause},
		} {
			_, err := w.PutObject(bg, "data", "k", body, PutOptions{})
			requireKind(t, BadBody, err)
			require.ErrorIs(t, err, cause, name)
		}
		_, err := w.PutObject(bg, "data", "k", &testBody{Reader: bytes.NewReader(data), size: int64(size) - 1}, PutOptions{})
		requireKind(t, BadBody, err)
	}
	require.Equal(t, "before", string(w.get(t, "k")))
	require.Equal(t, w.chunks.Usage().Appended, w.chunks.Usage().Freed)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestTenantsDontSeeEachOther(t *testing.T) {
	w := newStore(t)
	w.put(t, "k", []byte("secret"))
	other := w.fs.As(bob)
	buckets, err := other.ListBuckets(bg)
	require.NoError(t, err)
	require.Empty(t, buckets)
	requireKind(t, BucketTaken, other.CreateBucket(bg, "data", ""))
	requireKind(t, BucketOwned, w.CreateBucket(bg, "data", ""))
	for _, bucket := range []string{"data", "missing", "", "a/b"} {
		_, err = other.HeadBucket(bg, bucket)
		requireKind(t, NoBucket, err)
		_, err = other.GetObject(bg, bucket, "k", ReadOptions{})
		requireKind(t, NoBucket, err)
		_, err = other.HeadObject(bg, bucket, "k", ReadOptions{})
		requireKind(t, NoBucket, err)
		_, err = other.PutObject(bg, bucket, "k", bodyOf(nil), PutOptions{})
		requireKind(t, NoBucket, err)
		_, err = other.DeleteObject(bg, bucket, "k", DeleteOptions{})
		requireKind(t, NoBucket, err)
		_, err = other.DeleteObjects(bg, bucket, []Deletion{{Key: "k"}})
		requireKind(t, NoBucket, err)
		_, err = other.ListObjects(bg, bucket, ListOptions{Max: 10})
		requireKind(t, NoBucket, err)
		_, err = other.CreateUpload(bg, bucket, "k", Upload{})
		requireKind(t, NoBucket, err)
		_, err = other.ListUploads(bg, bucket, "", "", "", "", 10)
		requireKind(t, NoBucket, err)
		requireKind(t, NoBucket, other.DeleteBucket(bg, bucket))
	}
	require.NoError(t, other.CreateBucket(bg, "mine", ""))
	_, err = other.CopyObject(bg, "data", "k", "mine", "k", CopyOptions{})
	requireKind(t, NoBucket, err)
	_, err = w.CopyObject(bg, "data", "k", "mine", "k", CopyOptions{})
	requireKind(t, NoBucket, err)
	require.Equal(t, "secret", string(w.get(t, "k")))
}

func TestBucketNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"abc": true, "a.b-c": true, strings.Repeat("a", 63): true, "123": true,
		"ab": false, strings.Repeat("a", 64): false, "-ab": false, "ab-": false, ".ab": false, "Abc": false, "a_b": false,
		"a..b": false, "192.168.0.1": false, "xn--a": false, "x-s3alias": false, "a/b": false, "a\x00b": false,
	} {
		require.Equal(t, ok, checkBucketName(name) == nil, name)
	}
}

func TestDeleteObjects(t *testing.T) {
	w := newStore(t)
	var keys []Deletion
	for i := range 300 {
		keys = append(keys, Deletion{Key: fmt.Sprintf("p%d/q/r%d", i%7, i)})
		w.put(t, keys[i].Key, nil)
	}
	keys[5].Key = ""
	keys[6].Conditions.IfMatch = []string{"another"}
	keys = append(keys, Deletion{Key: "absent"}, keys[0])
	errs, err := w.DeleteObjects(bg, "data", keys)
	require.NoError(t, err)
	for i := range errs {
		err := errs[i].Err
		if i == 5 {
			requireKind(t, InvalidName, err)
			continue
		}
		if i == 6 {
			requireKind(t, PreconditionFailed, err)
			continue
		}
		require.NoError(t, err)
	}
	require.Equal(t, []string{"p5/q/r5", "p6/q/r6"}, w.listKeys(t))
}

// deleteBelow deletes what S3 lists below a prefix.
func (w *world) deleteBelow(bucket, prefix string) error {
	page, err := w.ListObjects(bg, bucket, ListOptions{Prefix: prefix, Max: 1 << 20})
	if err != nil {
		return err
	}
	var keys []Deletion
	for _, o := range page.Objects {
		keys = append(keys, Deletion{Key: o.Key})
	}
	done, err := w.DeleteObjects(bg, bucket, keys)
	for _, d := range done {
		err = errors.Join(err, d.Err)
	}
	return err
}

// records counts the records of a table.
func (w *world) records(t testing.TB, table string) (n int) {
	require.NoError(t, w.kv.View(bg, func(r metastore.Reader) error {
		return r.Scan(prefixRange([]byte(table), 0), func(_, _ []byte) (bool, error) {
			n++
			return true, nil
		})
	}))
	return n
}
