package namespace

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore/storetest"
	"k3fs/tenancy"
)

// versioning sets how a bucket keeps versions.
func (w *world) versioning(t testing.TB, bucket, status string) {
	require.NoError(t, w.ChangeBucketSettings(bg, bucket, tenancy.PutBucketVersioning, func(_ BucketInfo, s tenancy.Settings) error {
		s[SettingVersioning] = []byte(status)
		return nil
	}))
}

func newVersioned(t testing.TB) *world {
	w := newStore(t)
	w.versioning(t, "data", VersioningEnabled)
	info, err := w.HeadBucket(bg, "data")
	require.NoError(t, err)
	w.bucket = info.Ino
	return w
}

// history is what a key has been, newest first: contents, or DELETED; '*' marks the latest, null versions are
// in brackets. Each version is read by its id.
func (w *world) history(t testing.TB, objectKey string) string {
	var all []string
	for _, v := range w.versions(t, objectKey, 1000) {
		if v.Key != objectKey {
			continue
		}
		s := "DELETED"
		if v.Marker {
			_, err := w.HeadObject(bg, "data", objectKey, ReadOptions{Version: v.Version})
			requireKind(t, IsMarker, err)
		} else {
			rd, err := w.GetObject(bg, "data", objectKey, ReadOptions{Version: v.Version})
			require.NoError(t, err, "%s %s", objectKey, v.Version)
			var b bytes.Buffer
			_, err = rd.WriteRange(bg, &b, 0, rd.Info().Size)
			require.NoError(t, err)
			require.NoError(t, rd.Close())
			require.Equal(t, v.ETag, rd.Info().ETag)
			s = b.String()
		}
		if v.Version == nullVersion {
			s = "[" + s + "]"
		}
		if v.Latest {
			s += "*"
		}
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

// versions lists by pages of a size.
func (w *world) versions(t testing.TB, prefix string, size int) (all []VersionInfo) {
	o := VersionsOptions{Prefix: prefix, Max: size}
	for {
		page, err := w.ListVersions(bg, "data", o)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Versions), size)
		all = append(all, page.Versions...)
		if !page.Truncated {
			return all
		}
		require.Len(t, page.Versions, size)
		o.KeyMarker, o.VersionMarker = page.NextKey, page.NextVersion
	}
}

func (w *world) putText(t testing.TB, key, text string) string {
	return w.put(t, key, []byte(text)).Version
}

func (w *world) del(t testing.TB, key, version string) Deleted {
	d, err := w.DeleteObject(bg, "data", key, DeleteOptions{Version: version})
	require.NoError(t, err)
	return d
}

func TestVersionsOfObjects(t *testing.T) {
	w := newStore(t)
	w.putText(t, "k", "zero")
	require.Equal(t, "[zero]*", w.history(t, "k"))
	w.versioning(t, "data", VersioningEnabled)
	require.Equal(t, "[zero]*", w.history(t, "k"))

	v1 := w.putText(t, "k", "one")
	v2 := w.putText(t, "k", "two")
	require.Equal(t, "two* one [zero]", w.history(t, "k"))
	require.NotEqual(t, v1, v2)

	d := w.del(t, "k", "")
	require.True(t, d.Marker)
	require.Equal(t, "DELETED* two one [zero]", w.history(t, "k"))
	_, err := w.HeadObject(bg, "data", "k", ReadOptions{})
	requireKind(t, NotFound, err)
	var marker *MarkerError
	require.ErrorAs(t, err, &marker)
	require.Equal(t, d.Version, marker.Version)
	require.Empty(t, w.listKeys(t))
	requireKind(t, NotEmpty, w.DeleteBucket(bg, "data"))
	requireKind(t, NotEmpty, w.Rmdir(bg, RootIno, "data"))

	again := w.del(t, "k", "")
	require.Equal(t, "DELETED* DELETED two one [zero]", w.history(t, "k"))
	require.Equal(t, Deleted{Found: true, Marker: true, Version: again.Version}, w.del(t, "k", again.Version))
	require.Equal(t, Deleted{Found: true, Marker: true, Version: d.Version}, w.del(t, "k", d.Version))
	require.Equal(t, "two* one [zero]", w.history(t, "k"))
	require.Equal(t, "two", string(w.get(t, "k")))
	require.Equal(t, []string{"k"}, w.names(t, "data"))

	require.Equal(t, Deleted{Found: true, Version: v1}, w.del(t, "k", v1))
	require.Equal(t, Deleted{Version: v1}, w.del(t, "k", v1), "what is gone is no error")
	require.Equal(t, "two* [zero]", w.history(t, "k"))
	w.del(t, "k", v2)
	require.Equal(t, "[zero]*", w.history(t, "k"))
	require.Equal(t, "zero", string(w.get(t, "k")))
	w.del(t, "k", nullVersion)
	require.Empty(t, w.versions(t, "", 10))
	require.NoError(t, w.DeleteBucket(bg, "data"))
}

func TestSuspendedVersioning(t *testing.T) {
	w := newVersioned(t)
	v1 := w.putText(t, "k", "one")
	w.versioning(t, "data", VersioningSuspended)
	require.Equal(t, nullVersion, w.putText(t, "k", "a"))
	require.Equal(t, "[a]* one", w.history(t, "k"))
	w.putText(t, "k", "b")
	require.Equal(t, "[b]* one", w.history(t, "k"), "null takes the place of null")

	d := w.del(t, "k", "")
	require.Equal(t, Deleted{Found: true, Marker: true, Version: nullVersion}, d)
	require.Equal(t, "[DELETED]* one", w.history(t, "k"))
	w.del(t, "k", "")
	require.Equal(t, "[DELETED]* one", w.history(t, "k"))
	w.putText(t, "k", "c")
	require.Equal(t, "[c]* one", w.history(t, "k"))

	w.versioning(t, "data", VersioningEnabled)
	w.putText(t, "k", "two")
	require.Equal(t, "two* [c] one", w.history(t, "k"))
	w.versioning(t, "data", VersioningSuspended)
	w.putText(t, "k", "d")
	require.Equal(t, "[d]* two one", w.history(t, "k"), "a null version below goes too")
	w.del(t, "k", nullVersion)
	require.Equal(t, "two* one", w.history(t, "k"))
	w.del(t, "k", "")
	require.Equal(t, "[DELETED]* two one", w.history(t, "k"))
	w.del(t, "k", v1)
	w.del(t, "k", nullVersion)
	require.Equal(t, "two*", w.history(t, "k"))
}

func TestVersionErrors(t *testing.T) {
	w := newVersioned(t)
	id := w.putText(t, "k", "one")
	other := w.putText(t, "other", "x")
	for version, want := range map[string]Kind{other: NoVersion, nullVersion: NoVersion, "nonsense": BadVersion, strings.ToLower(id) + "A": BadVersion} {
		_, err := w.HeadObject(bg, "data", "k", ReadOptions{Version: version})
		requireKind(t, want, err)
		_, _, err = w.ObjectTags(bg, "data", "k", version)
		requireKind(t, want, err)
		_, err = w.CopyObject(bg, "data", "k", "data", "copy", CopyOptions{Version: version})
		requireKind(t, want, err)
	}
	_, err := w.DeleteObject(bg, "data", "k", DeleteOptions{Version: "nonsense"})
	requireKind(t, BadVersion, err)
	done, err := w.DeleteObjects(bg, "data", []Deletion{{Key: "k", DeleteOptions: DeleteOptions{Version: id}}, {Key: "other"}, {Key: "k", DeleteOptions: DeleteOptions{Version: "bad"}}})
	require.NoError(t, err)
	require.Equal(t, Deleted{Found: true, Version: id}, done[0])
	require.True(t, done[1].Marker)
	requireKind(t, BadVersion, done[2].Err)
}

// Old versions can be copied from, tagged, and given an ACL; the current one stays as it is.
func TestOldVersionsAreObjects(t *testing.T) {
	w := newVersioned(t)
	data := storetest.Bytes(3<<20, 1)
	v1 := w.put(t, "d/k", data).Version
	v2 := w.putText(t, "d/k", "two")
	_, err := w.SetObjectTags(bg, "data", "d/k", v1, []Tag{{"a", "b"}})
	require.NoError(t, err)
	tags, id, err := w.ObjectTags(bg, "data", "d/k", v1)
	require.NoError(t, err)
	require.Equal(t, v1, id)
	require.Equal(t, []Tag{{"a", "b"}}, tags)
	tags, id, err = w.ObjectTags(bg, "data", "d/k", "")
	require.NoError(t, err)
	require.Equal(t, v2, id)
	require.Empty(t, tags)

	info, err := w.CopyObject(bg, "data", "d/k", "data", "d/k", CopyOptions{Version: v1})
	require.NoError(t, err)
	require.Equal(t, v1, info.CopyOf)
	require.NotEqual(t, v1, info.Version)
	require.Equal(t, data, w.get(t, "d/k"))
	require.Len(t, w.versions(t, "", 10), 3)
	sum, err := w.HeadObject(bg, "data", "d/k", ReadOptions{Version: v1, Checksum: true})
	require.NoError(t, err)
	require.NotEmpty(t, sum.Checksums.Value)
}

func TestListVersionsPages(t *testing.T) {
	w := newVersioned(t)
	var want []string
	for _, k := range []string{"a", "a-b", "a/b", "a/c", "b", "c/d/e"} {
		for i := range 4 {
			w.putText(t, k, fmt.Sprint(i))
		}
		if k != "b" {
			w.del(t, k, "")
			want = append(want, k+" DELETED*")
		}
		for i := 3; i >= 0; i-- {
			star := ""
			if k == "b" && i == 3 {
				star = "*"
			}
			want = append(want, fmt.Sprintf("%s %d%s", k, i, star))
		}
	}
	w.putText(t, "z", "z")
	want = append(want, "z z*")
	for size := 1; size < 30; size++ {
		var got []string
		for _, v := range w.versions(t, "", size) {
			s := v.Key + " DELETED"
			if !v.Marker {
				rd, err := w.GetObject(bg, "data", v.Key, ReadOptions{Version: v.Version})
				require.NoError(t, err)
				var b bytes.Buffer
				_, err = rd.WriteRange(bg, &b, 0, 10)
				require.NoError(t, err)
				require.NoError(t, rd.Close())
				s = v.Key + " " + b.String()
			}
			if v.Latest {
				s += "*"
			}
			got = append(got, s)
		}
		require.Equal(t, want, got, "pages of %d", size)
	}
	for size := 1; size < 12; size++ {
		var keys, prefixes []string
		o := VersionsOptions{Delimiter: "/", Max: size}
		for {
			page, err := w.ListVersions(bg, "data", o)
			require.NoError(t, err)
			for _, v := range page.Versions {
				keys = append(keys, v.Key)
			}
			prefixes = append(prefixes, page.Prefixes...)
			if !page.Truncated {
				break
			}
			o.KeyMarker, o.VersionMarker = page.NextKey, page.NextVersion
		}
		require.Equal(t, []string{"a/", "c/"}, prefixes, "pages of %d", size)
		require.Len(t, keys, 15)
	}
	page, err := w.ListVersions(bg, "data", VersionsOptions{Prefix: "a/", Max: 100, KeyMarker: "a/b"})
	require.NoError(t, err)
	require.Len(t, page.Versions, 5)
	_, err = w.ListVersions(bg, "data", VersionsOptions{Max: 1, KeyMarker: "a", VersionMarker: "nonsense"})
	requireKind(t, BadVersion, err)
}

// A directory that was put is an object with versions too.
func TestVersionsOfDirectories(t *testing.T) {
	w := newVersioned(t)
	v1 := w.putText(t, "d/", "one")
	w.putText(t, "d/", "two")
	require.Equal(t, "two* one", w.history(t, "d/"))
	w.putText(t, "d/f", "x")
	m := w.del(t, "d/", "")
	require.Equal(t, "DELETED* two one", w.history(t, "d/"))
	require.Equal(t, "x", string(w.get(t, "d/f")))
	w.del(t, "d/", m.Version)
	require.Equal(t, "two* one", w.history(t, "d/"))
	w.del(t, "d/f", "")
	require.Equal(t, []string{"d"}, w.names(t, "data"))
	require.NoError(t, w.Rmdir(bg, w.bucket, "d"))
	require.Equal(t, "DELETED* two one", w.history(t, "d/"))
	w.del(t, "d/", v1)
	for _, v := range w.versions(t, "d/", 10) {
		if v.Marker && v.Key == "d/" {
			w.del(t, "d/", v.Version)
		}
	}
	require.Equal(t, "two*", w.history(t, "d/"))
	require.Equal(t, []string{"d"}, w.names(t, "data"))
}

// write is a session that opens, writes and closes a file of the bucket.
func (w *world) write(t testing.TB, path, text string) Ino {
	return w.writeFlags(t, path, text, OpenFlags{Write: true, Trunc: true})
}

func (w *world) writeFlags(t testing.TB, path, text string, f OpenFlags) Ino {
	dir, name := w.at(t, path)
	a, h, err := w.Create(bg, dir, name, NewNode{Mode: 0o644}, f)
	require.NoError(t, err)
	_, err = h.WriteAt(bg, []byte(text), 0)
	require.NoError(t, err)
	require.NoError(t, h.Flush(bg))
	require.NoError(t, h.Close(bg))
	return a.Ino
}

// at is the directory of a path in the bucket, and its last name.
func (w *world) at(t testing.TB, path string) (Ino, string) {
	dir := w.bucket
	for {
		first, rest, more := strings.Cut(path, "/")
		if !more {
			return dir, path
		}
		a, err := w.Lookup(bg, dir, first)
		if isKind(err, NotFound) {
			a, err = w.Mkdir(bg, dir, first, NewNode{Mode: 0o755})
		}
		require.NoError(t, err)
		dir, path = a.Ino, rest
	}
}

func (w *world) rename(t testing.TB, from, to string, f RenameFlags) {
	a, name := w.at(t, from)
	b, newName := w.at(t, to)
	require.NoError(t, w.Rename(bg, a, name, b, newName, f))
}

func (w *world) unlink(t testing.TB, path string) {
	dir, name := w.at(t, path)
	require.NoError(t, w.Unlink(bg, dir, name))
}

func TestMountMakesVersions(t *testing.T) {
	w := newVersioned(t)
	ino := w.write(t, "d/f", "one")
	require.Equal(t, "one*", w.history(t, "d/f"))
	require.Equal(t, ino, w.write(t, "d/f", "two"), "the inode stays")
	require.Equal(t, "two* one", w.history(t, "d/f"))
	id, err := w.GetXattr(bg, ino, s3VersionID)
	require.NoError(t, err)
	require.Equal(t, w.versions(t, "d/f", 1)[0].Version, string(id))

	w.unlink(t, "d/f")
	require.Equal(t, "DELETED* two one", w.history(t, "d/f"))
	w.write(t, "d/f", "three")
	require.Equal(t, "three* DELETED two one", w.history(t, "d/f"))

	w.write(t, "d/g", "g")
	w.rename(t, "d/f", "d/g", 0)
	require.Equal(t, "DELETED* three DELETED two one", w.history(t, "d/f"))
	require.Equal(t, "three* g", w.history(t, "d/g"))
	w.rename(t, "d/g", "h", 0)
	require.Equal(t, "DELETED* three g", w.history(t, "d/g"))
	require.Equal(t, "three*", w.history(t, "h"))

	w.write(t, "i", "i")
	w.rename(t, "h", "i", RenameExchange)
	require.Equal(t, "i* three", w.history(t, "h"))
	require.Equal(t, "three* i", w.history(t, "i"))
	require.Equal(t, "i", string(w.get(t, "h")))

	// A directory's rename takes current versions along, and leaves the others.
	w.write(t, "d/x", "1")
	w.write(t, "d/x", "2")
	w.rename(t, "d", "e", 0)
	require.Equal(t, "1", w.history(t, "d/x"))
	require.Equal(t, "2*", w.history(t, "e/x"))
}

// What was written before versioning was enabled is the null version.
func TestMountKeepsTheNullVersion(t *testing.T) {
	w := newStore(t)
	info, err := w.HeadBucket(bg, "data")
	require.NoError(t, err)
	w.bucket = info.Ino
	w.write(t, "f", "zero")
	w.write(t, "g", "zero")
	w.versioning(t, "data", VersioningEnabled)
	w.write(t, "f", "one")
	require.Equal(t, "one* [zero]", w.history(t, "f"))
	w.rename(t, "g", "h", 0)
	require.Equal(t, "DELETED* [zero]", w.history(t, "g"))
	require.Equal(t, "zero*", w.history(t, "h"))
	w.versioning(t, "data", VersioningSuspended)
	w.write(t, "f", "two")
	require.Equal(t, "[two]* one", w.history(t, "f"))
	w.write(t, "f", "three")
	require.Equal(t, "[three]* one", w.history(t, "f"))
	w.unlink(t, "f")
	require.Equal(t, "[DELETED]* one", w.history(t, "f"))
	w.rename(t, "h", "g", 0)
	require.Equal(t, "[zero]* DELETED", w.history(t, "g"))
	require.Equal(t, "[DELETED]* zero", w.history(t, "h"))
}

func TestVersionsOfLinks(t *testing.T) {
	w := newVersioned(t)
	ino := w.write(t, "a", "one")
	_, err := w.Link(bg, ino, w.bucket, "b")
	require.NoError(t, err)
	require.Equal(t, "one*", w.history(t, "b"))
	w.write(t, "a", "two")
	require.Equal(t, "two* one", w.history(t, "a"))
	require.Equal(t, "two* one", w.history(t, "b"))
	require.Equal(t, 1, w.records(t, kShared))
	w.unlink(t, "a")
	require.Equal(t, "DELETED* two one", w.history(t, "a"))
	require.Equal(t, "two* one", w.history(t, "b"))
	w.write(t, "b", "three")
	require.Equal(t, "three* two one", w.history(t, "b"))
	for _, v := range w.versions(t, "", 100) {
		w.del(t, v.Key, v.Version)
	}
	require.Empty(t, w.versions(t, "", 10))
	require.Zero(t, w.records(t, kShared))
	require.Zero(t, w.records(t, kNull))
}

func TestTemporaryNames(t *testing.T) {
	w := newVersioned(t)
	w.write(t, "f", "one")
	w.write(t, "f.tmp", "junk")
	w.write(t, "f.tmp", "two")
	require.Equal(t, "[two]*", w.history(t, "f.tmp"))
	w.rename(t, "f.tmp", "f", 0)
	require.Equal(t, "two* one", w.history(t, "f"))
	require.Empty(t, w.history(t, "f.tmp"))

	w.rename(t, "f", "f~", 0) // an editor's backup
	require.Equal(t, "[two]*", w.history(t, "f~"))
	w.write(t, "f", "three")
	require.Equal(t, "three* DELETED two one", w.history(t, "f"))
	w.unlink(t, "f~")
	require.Empty(t, w.history(t, "f~"))

	ino := w.write(t, "l.tmp", "linked") // as git does
	_, err := w.Link(bg, ino, w.bucket, "linked")
	require.NoError(t, err)
	w.unlink(t, "l.tmp")
	require.Equal(t, "linked*", w.history(t, "linked"))
	require.Empty(t, w.history(t, "l.tmp"))

	w.putText(t, "s.tmp", "by S3")
	require.Equal(t, "by S3*", w.history(t, "s.tmp"))
	w.write(t, "s.tmp", "x")
	require.Equal(t, "[x]* by S3", w.history(t, "s.tmp"), "what S3 was told is a version stays")

	requireKind(t, Invalid, w.SetXattr(bg, w.bucket, s3Exclude, []byte("["), 0))
	require.NoError(t, w.SetXattr(bg, w.bucket, s3Exclude, []byte("*.bak"), 0))
	value, err := w.GetXattr(bg, w.bucket, s3Exclude)
	require.NoError(t, err)
	require.Equal(t, "*.bak", string(value))
	w.write(t, "g.tmp", "1")
	w.write(t, "g.tmp", "2")
	require.Equal(t, "2* 1", w.history(t, "g.tmp"))
	w.write(t, "g.bak", "1")
	w.write(t, "g.bak", "2")
	require.Equal(t, "[2]*", w.history(t, "g.bak"))
	require.NoError(t, w.RemoveXattr(bg, w.bucket, s3Exclude))
	value, err = w.GetXattr(bg, w.bucket, s3Exclude)
	require.NoError(t, err)
	require.Contains(t, string(value), "*.tmp")
}

func TestExclude(t *testing.T) {
	x := defaultExclude
	require.True(t, x.valid())
	for _, k := range []string{"a.tmp", "d/a.tmp", "f~", ".f.swp", "d/.f.swx", ".git/index.lock", "r/.git/refs/heads/x.lock", "4913", ".~lock.x.odt#", "db-wal", ".git/tmp_x", "r/x.git/objects/12/tmp_obj_ab"} {
		require.True(t, x.match(k), k)
	}
	for _, k := range []string{"a", "d.tmp/", "d.tmp/a", "Cargo.lock", "x.git/a.lock", "x.git/a", "git/tmp_x", ".gitignore", "a/4913/b", "~f"} {
		require.False(t, x.match(k), k)
	}
	require.False(t, exclude{"["}.valid())
	require.False(t, exclude{"a/b/c"}.valid())
	require.False(t, exclude{"a/"}.valid())
}

// The descriptors of one write session may be closed several times, as a shell does: it makes one version.
func TestOneSessionIsOneVersion(t *testing.T) {
	w := newVersioned(t)
	w.write(t, "f", "old")
	_, h, err := w.Create(bg, w.bucket, "f", NewNode{}, OpenFlags{Write: true, Trunc: true})
	require.NoError(t, err)
	require.NoError(t, h.Flush(bg), "the copy that the shell closes")
	require.Equal(t, "* old", w.history(t, "f"))
	for _, text := range []string{"a", "b"} {
		_, err = h.Append(bg, []byte(text))
		require.NoError(t, err)
		require.NoError(t, h.Fsync(bg))
		require.NoError(t, h.Flush(bg))
	}
	require.Equal(t, "ab* old", w.history(t, "f"))
	require.NoError(t, h.Close(bg))
	w.write(t, "f", "new")
	require.Equal(t, "new* ab old", w.history(t, "f"))
}

// Who has a file open goes on seeing it, and changes no version.
func TestOpenFilesAndVersions(t *testing.T) {
	w := newVersioned(t)
	ino := w.write(t, "f", "one")
	h, err := w.Open(bg, ino, OpenFlags{Read: true, Write: true})
	require.NoError(t, err)
	w.putText(t, "f", "two")
	_, err = h.WriteAt(bg, []byte("ONE"), 0)
	require.NoError(t, err)
	require.NoError(t, h.Fsync(bg))
	var p [3]byte
	_, err = h.ReadAt(bg, p[:], 0)
	require.NoError(t, err)
	require.Equal(t, "ONE", string(p[:]))
	a, err := w.GetAttr(bg, ino)
	require.NoError(t, err)
	require.Zero(t, a.Nlink)
	require.Equal(t, "two* one", w.history(t, "f"))
	old := w.versions(t, "f", 10)[1]
	w.del(t, "f", old.Version) // while it is open
	require.NoError(t, h.Flush(bg))
	_, err = h.ReadAt(bg, p[:], 0)
	require.NoError(t, err)
	require.NoError(t, h.Close(bg))
	require.Equal(t, "two*", w.history(t, "f"))
	require.Equal(t, 1, w.filesIn(t))

	// An older version can be opened to be read only.
	w.putText(t, "f", "three")
	v := w.versions(t, "f", 10)[1]
	_, err = w.Open(bg, v.Ino, OpenFlags{Write: true})
	requireKind(t, ReadOnly, err)
	size := int64(0)
	_, err = w.SetAttr(bg, v.Ino, SetAttr{Size: &size})
	requireKind(t, ReadOnly, err)
	h, err = w.Open(bg, v.Ino, OpenFlags{Read: true})
	require.NoError(t, err)
	_, err = h.ReadAt(bg, p[:], 0)
	require.NoError(t, err)
	require.Equal(t, "two", string(p[:]))
	require.NoError(t, h.Close(bg))
	_, err = w.Link(bg, v.Ino, w.bucket, "l")
	requireKind(t, ReadOnly, err)
}

// filesIn counts the inodes that are files.
func (w *world) filesIn(t testing.TB) (n int) {
	inodes := w.records(t, kInode)
	return inodes - 1 - 2 // the root and two buckets
}

// A changed piece of a large file costs that piece, and the versions share the rest.
func TestVersionsShareData(t *testing.T) {
	w := newVersioned(t)
	data := storetest.Bytes(24<<20, 1)
	ino := w.put(t, "big", data).Ino
	require.NoError(t, w.fs.Reap(bg))
	before := w.used(t)
	h, err := w.Open(bg, ino, OpenFlags{Write: true})
	require.NoError(t, err)
	piece := storetest.Bytes(4096, 2)
	_, err = h.WriteAt(bg, piece, 5<<20)
	require.NoError(t, err)
	require.NoError(t, h.Flush(bg))
	require.NoError(t, h.Close(bg))
	require.NoError(t, w.fs.Reap(bg))
	require.Less(t, w.used(t)-before, int64(16<<10))
	changed := slices.Clone(data)
	copy(changed[5<<20:], piece)
	require.Equal(t, changed, w.get(t, "big"))
	w.rename(t, "big", "moved", 0)
	w.unlink(t, "moved")
	require.Less(t, w.used(t)-before, int64(16<<10))

	// Data goes when no version refers to it, and not before.
	all := w.versions(t, "", 100)
	require.Len(t, all, 5)
	for i, v := range all {
		if v.Marker {
			continue
		}
		rd, err := w.GetObject(bg, "data", v.Key, ReadOptions{Version: v.Version})
		require.NoError(t, err)
		var b bytes.Buffer
		_, err = rd.WriteRange(bg, &b, 0, v.Size)
		require.NoError(t, err)
		require.NoError(t, rd.Close())
		require.Contains(t, []string{string(data), string(changed)}, b.String(), i)
		w.del(t, v.Key, v.Version)
		require.NoError(t, w.fs.Reap(bg))
	}
	require.Less(t, w.used(t), before-(20<<20))
}

// used is how many bytes extents hold.
func (w *world) used(t testing.TB) int64 {
	report, err := Check(context.Background(), w.kv, w.chunks, w.keys, CheckOptions{})
	require.NoError(t, err)
	require.Empty(t, report.Problems)
	return report.Bytes
}

// A crash publishes what was synced, as a version.
func TestVersionsAfterACrash(t *testing.T) {
	w := newVersioned(t)
	ino := w.write(t, "f", "one")
	h, err := w.Open(bg, ino, OpenFlags{Write: true})
	require.NoError(t, err)
	_, err = h.WriteAt(bg, []byte("two"), 0)
	require.NoError(t, err)
	require.NoError(t, h.Fsync(bg))
	require.Equal(t, "one*", w.history(t, "f"))
	w.cut(t, 0, nil)
	require.Equal(t, "two* one", w.history(t, "f"))
}

func TestUndeleteWhereTheMountHasSomething(t *testing.T) {
	w := newVersioned(t)
	w.putText(t, "f", "one")
	m := w.del(t, "f", "")
	_, err := w.Symlink(bg, w.bucket, "f", "x", NewNode{})
	require.NoError(t, err)
	_, err = w.DeleteObject(bg, "data", "f", DeleteOptions{Version: m.Version})
	requireKind(t, Exists, err)
	require.Equal(t, "DELETED* one", w.history(t, "f"))
	w.unlink(t, "f")
	w.del(t, "f", m.Version)
	require.Equal(t, "one*", w.history(t, "f"))
}
