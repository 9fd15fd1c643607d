package namespace

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/internal/posixacl"
	"k3fs/tenancy"
)

// held is a world with a file "f" and a directory "d" of a file "d/f" and a directory "d/sub", all of whose
// flags are set to f.
func held(t testing.TB, f Flags) (w *world, dir, file, sub Ino) {
	w = newWorld(t)
	w.file(t, w.bucket, "f", "content")
	file = w.lookup(t, w.bucket, "f")
	dir = w.mkdir(t, w.bucket, "d")
	w.file(t, dir, "f", "inside")
	sub = w.mkdir(t, dir, "sub")
	w.setFlags(t, dir, f)
	w.setFlags(t, file, f)
	return w, dir, file, sub
}

func (w *world) lookup(t testing.TB, dir Ino, name string) Ino {
	a, err := w.Lookup(bg, dir, name)
	require.NoError(t, err)
	return a.Ino
}

func (w *world) setFlags(t testing.TB, ino Ino, f Flags) {
	a, err := w.SetAttr(bg, ino, SetAttr{Flags: &f})
	require.NoError(t, err)
	require.Equal(t, f, a.Flags)
	require.Equal(t, f, w.attr(t, ino).Flags)
}

// way is a way to change or destroy what is in the world that held makes.
type way struct {
	what              string
	immutable, append bool // whether it is permitted
	do                func(w *world, dir, file, sub Ino) error
}

// ways are all of them, through both doors.
func ways(t *testing.T) []way {
	mode, uid, now, size, grown := uint32(0o600), uint32(7), time.Unix(5, 0), int64(3), int64(100)
	put := func(w *world, key string) error {
		_, err := w.PutObject(bg, "bucket", key, bodyOf([]byte("new")), PutOptions{})
		return err
	}
	setattr := func(s SetAttr) func(*world, Ino, Ino, Ino) error {
		return func(w *world, _, file, _ Ino) error { _, err := w.SetAttr(bg, file, s); return err }
	}
	open := func(o OpenFlags) func(*world, Ino, Ino, Ino) error {
		return func(w *world, _, file, _ Ino) error {
			h, err := w.Open(bg, file, o)
			if err == nil {
				err = h.Close(bg)
			}
			return err
		}
	}
	appending := func(do func(FileHandle) error) func(w *world, dir, file, sub Ino) error {
		return func(w *world, _, file, _ Ino) error {
			h, err := w.Open(bg, file, OpenFlags{Write: true, Append: true})
			if err != nil {
				return err
			}
			err = do(h)
			require.NoError(t, h.Close(bg))
			return err
		}
	}
	return []way{
		{"open to read", true, true, open(OpenFlags{Read: true})},
		{"open to write", false, false, open(OpenFlags{Read: true, Write: true})},
		{"open to append", false, true, open(OpenFlags{Write: true, Append: true})},
		{"open to truncate", false, false, open(OpenFlags{Read: true, Trunc: true})},
		{"open to append, truncating", false, false, open(OpenFlags{Write: true, Append: true, Trunc: true})},
		{"create over", false, false, func(w *world, _, _, _ Ino) error {
			_, _, err := w.Create(bg, w.bucket, "f", NewNode{Mode: 0o644}, OpenFlags{Write: true})
			return err
		}},
		{"chmod", false, false, setattr(SetAttr{Mode: &mode})},
		{"chown", false, false, setattr(SetAttr{UID: &uid})},
		{"utimes", false, false, setattr(SetAttr{Atime: &now, Mtime: &now})},
		{"touch", false, true, setattr(SetAttr{Atime: &now, Mtime: &now, Touch: true})},
		{"truncate", false, false, setattr(SetAttr{Size: &size})},
		{"truncate to more", false, false, setattr(SetAttr{Size: &grown})},
		{"fallocate", false, true, appending(func(h FileHandle) error { return h.Allocate(bg, AllocSpace, false, 0, grown) })},
		{"punch", false, false, appending(func(h FileHandle) error { return h.Allocate(bg, AllocPunch, true, 0, 1) })},
		{"copy a range into it", false, false, appending(func(h FileHandle) error { _, err := h.CopyFrom(bg, h, 0, 100, 1); return err })},
		{"setxattr", false, false, func(w *world, _, file, _ Ino) error { return w.SetXattr(bg, file, "user.x", nil, 0) }},
		{"removexattr", false, false, func(w *world, _, file, _ Ino) error { return w.RemoveXattr(bg, file, "user.x") }},
		{"set an access list", false, false, func(w *world, _, file, _ Ino) error {
			return w.SetXattr(bg, file, accessACL, someACL.Marshal(), 0)
		}},
		{"link", false, false, func(w *world, _, file, _ Ino) error { _, err := w.Link(bg, file, w.bucket, "g"); return err }},
		{"unlink", false, false, func(w *world, _, _, _ Ino) error { return w.Unlink(bg, w.bucket, "f") }},
		{"rename", false, false, func(w *world, _, _, _ Ino) error { return w.Rename(bg, w.bucket, "f", w.bucket, "g", 0) }},
		{"rename over", false, false, func(w *world, _, _, _ Ino) error {
			w.file(t, w.bucket, "other", "x")
			return w.Rename(bg, w.bucket, "other", w.bucket, "f", 0)
		}},
		{"exchange", false, false, func(w *world, _, _, _ Ino) error {
			w.file(t, w.bucket, "other", "x")
			return w.Rename(bg, w.bucket, "other", w.bucket, "f", RenameExchange)
		}},
		{"rename the directory", false, false, func(w *world, _, _, _ Ino) error { return w.Rename(bg, w.bucket, "d", w.bucket, "e", 0) }},
		{"create in it", false, true, func(w *world, dir, _, _ Ino) error {
			_, h, err := w.Create(bg, dir, "new", NewNode{Mode: 0o644}, OpenFlags{Write: true})
			if err == nil {
				err = h.Close(bg)
			}
			return err
		}},
		{"mkdir in it", false, true, func(w *world, dir, _, _ Ino) error { _, err := w.Mkdir(bg, dir, "new", NewNode{}); return err }},
		{"unlink in it", false, false, func(w *world, dir, _, _ Ino) error { return w.Unlink(bg, dir, "f") }},
		{"rmdir in it", false, false, func(w *world, dir, _, _ Ino) error { return w.Rmdir(bg, dir, "sub") }},
		{"rename in it", false, false, func(w *world, dir, _, _ Ino) error { return w.Rename(bg, dir, "f", dir, "g", 0) }},
		{"rename out of it", false, false, func(w *world, dir, _, _ Ino) error { return w.Rename(bg, dir, "f", w.bucket, "g", 0) }},
		{"rename into it", false, true, func(w *world, dir, _, _ Ino) error {
			w.file(t, w.bucket, "other", "x")
			return w.Rename(bg, w.bucket, "other", dir, "new", 0)
		}},
		{"create below it", true, true, func(w *world, _, _, sub Ino) error { _, err := w.Mkdir(bg, sub, "new", NewNode{}); return err }},
		{"write in it", true, true, func(w *world, dir, _, _ Ino) error {
			_, h, err := w.Create(bg, dir, "f", NewNode{Mode: 0o644}, OpenFlags{Write: true})
			if err == nil {
				err = h.Close(bg)
			}
			return err
		}},

		{"GET", true, true, func(w *world, _, _, _ Ino) error {
			_, err := w.HeadObject(bg, "bucket", "f", ReadOptions{})
			return err
		}},
		{"PUT", false, false, func(w *world, _, _, _ Ino) error { return put(w, "f") }},
		{"DELETE", false, false, func(w *world, _, _, _ Ino) error {
			_, err := w.DeleteObject(bg, "bucket", "f", DeleteOptions{})
			return err
		}},
		{"DeleteObjects", false, false, func(w *world, _, _, _ Ino) error {
			errs, err := w.DeleteObjects(bg, "bucket", []Deletion{{Key: "none"}, {Key: "f"}})
			require.NoError(t, err)
			require.NoError(t, errs[0].Err)
			return errs[1].Err
		}},
		{"copy over", false, false, func(w *world, _, _, _ Ino) error {
			_, err := w.CopyObject(bg, "bucket", "d/f", "bucket", "f", CopyOptions{})
			return err
		}},
		{"copy onto itself", false, false, func(w *world, _, _, _ Ino) error {
			_, err := w.CopyObject(bg, "bucket", "f", "bucket", "f", CopyOptions{Replace: true})
			return err
		}},
		{"copy from", true, true, func(w *world, _, _, _ Ino) error {
			_, err := w.CopyObject(bg, "bucket", "f", "bucket", "g", CopyOptions{})
			return err
		}},
		{"complete an upload over", false, false, func(w *world, _, _, _ Ino) error {
			up, err := w.CreateUpload(bg, "bucket", "f", Upload{})
			require.NoError(t, err)
			p, err := w.PutPart(bg, "bucket", "f", up.ID, 1, bodyOf([]byte("part")))
			require.NoError(t, err)
			_, err = w.CompleteUpload(bg, "bucket", "f", up.ID, []CompletePart{{Number: 1, ETag: p.ETag}}, Checksums{}, Conditions{})
			return err
		}},
		{"set the object's ACL", false, false, func(w *world, _, _, _ Ino) error {
			return w.SetObjectACL(bg, "bucket", "f", "", func([]byte, BucketInfo, tenancy.Settings) ([]byte, error) { return nil, nil })
		}},
		{"PUT in it", false, true, func(w *world, _, _, _ Ino) error { return put(w, "d/new") }},
		{"PUT below what is not there in it", false, true, func(w *world, _, _, _ Ino) error { return put(w, "d/new/x") }},
		{"PUT over in it", false, false, func(w *world, _, _, _ Ino) error { return put(w, "d/f") }},
		{"PUT below it", true, true, func(w *world, _, _, _ Ino) error { return put(w, "d/sub/x") }},
		{"DELETE in it", false, false, func(w *world, _, _, _ Ino) error {
			_, err := w.DeleteObject(bg, "bucket", "d/f", DeleteOptions{})
			return err
		}},
		{"PUT the directory", false, false, func(w *world, _, _, _ Ino) error { return put(w, "d/") }},
		{"DELETE the directory", false, false, func(w *world, _, _, _ Ino) error {
			_, err := w.DeleteObject(bg, "bucket", "d/", DeleteOptions{})
			return err
		}},
	}
}

// What flags hold, no way changes.
func TestFlagsHold(t *testing.T) {
	for _, f := range []Flags{Immutable, AppendOnly, Immutable | AppendOnly, NoDump} {
		for _, way := range ways(t) {
			s := &span{TB: t}
			w, dir, file, sub := held(s, f)
			permitted := way.immutable && f&Immutable != 0 || way.append && f == AppendOnly || f == NoDump
			switch err := way.do(w, dir, file, sub); {
			case !permitted:
				requireKind(t, NotPermitted, err)
				require.Equal(t, "content", string(w.published(t, file)), way.what)
				require.Equal(t, "inside", string(w.published(t, w.lookup(t, dir, "f"))), way.what)
			case way.what != "removexattr":
				require.NoError(t, err, "%s with %x", way.what, f)
			}
			s.end()
		}
	}
}

var someACL = posixacl.ACL{{Tag: posixacl.UserObj, Perm: 6, ID: posixacl.NoID}, {Tag: posixacl.User, Perm: 7, ID: 1001},
	{Tag: posixacl.GroupObj, Perm: 4, ID: posixacl.NoID}, {Tag: posixacl.Mask, Perm: 7, ID: posixacl.NoID}, {Tag: posixacl.Other, Perm: 0, ID: posixacl.NoID}}

// A file that becomes immutable while it is written keeps what was written, also through a crash, and takes
// no more; what was written is published when it is closed.
func TestImmutableWhileOpen(t *testing.T) {
	w := newWorld(t)
	h := create(t, w.View, w.bucket, "f")
	_, err := h.WriteAt(bg, []byte("before"), 0)
	require.NoError(t, err)
	w.setFlags(t, h.Ino(), Immutable)
	_, err = h.WriteAt(bg, []byte("after"), 0)
	requireKind(t, NotPermitted, err)
	_, err = h.WriteAt(bg, []byte("after"), 100)
	requireKind(t, NotPermitted, err)
	_, err = h.Append(bg, []byte("after"))
	requireKind(t, NotPermitted, err)
	size := int64(0)
	_, err = w.SetAttr(bg, h.Ino(), SetAttr{Size: &size, Handle: h})
	requireKind(t, NotPermitted, err)
	requireKind(t, NotPermitted, h.Allocate(bg, AllocZero, true, 0, 1))
	requireKind(t, NotPermitted, h.Allocate(bg, AllocSpace, false, 0, 100))
	_, err = h.CopyFrom(bg, h, 0, 100, 1)
	requireKind(t, NotPermitted, err)
	require.NoError(t, h.Flush(bg))
	require.NoError(t, h.Close(bg))
	require.Equal(t, "before", string(w.published(t, h.Ino())))
	w.setFlags(t, h.Ino(), 0)
	require.NoError(t, w.Unlink(bg, w.bucket, "f"))
}

// An append-only file takes what the kernel's cache writes, whole pages whose beginning is as it was, but no
// change of a byte that was there.
func TestAppendOnlyBytes(t *testing.T) {
	w := newWorld(t)
	ino := w.file(t, w.bucket, "log", "0123456789")
	w.setFlags(t, ino, AppendOnly)
	h, err := w.Open(bg, ino, OpenFlags{Write: true, Append: true})
	require.NoError(t, err)
	_, err = h.WriteAt(bg, []byte("0123456789ab"), 0)
	require.NoError(t, err)
	_, err = h.WriteAt(bg, []byte("89abcd"), 8)
	require.NoError(t, err)
	_, err = h.WriteAt(bg, []byte("page"), 8192)
	require.NoError(t, err)
	_, err = h.WriteAt(bg, []byte("an earlier page"), 4096)
	require.NoError(t, err, "pages come in any order")
	for off, p := range map[int64]string{0: "x", 9: "x", 5: "567x", 8: "89x"} {
		_, err = h.WriteAt(bg, []byte(p), off)
		if off == 8 {
			require.NoError(t, err, "behind what was there")
			continue
		}
		requireKind(t, NotPermitted, err)
	}
	require.NoError(t, h.Flush(bg))
	require.NoError(t, h.Close(bg))
	require.Equal(t, "0123456789xbcd", string(w.published(t, ino)[:14]))
	h, err = w.Open(bg, ino, OpenFlags{Write: true, Append: true})
	require.NoError(t, err)
	_, err = h.WriteAt(bg, []byte("89X"), 8)
	requireKind(t, NotPermitted, err)
	require.NoError(t, h.Close(bg))
}

// A directory that S3 made, and would take with its last object, stays where flags keep it.
func TestPruneStopsAtFlags(t *testing.T) {
	w := newStore(t)
	w.put(t, "a/b/c", []byte("x"))
	bucket := w.lookup(t, RootIno, "data")
	a := w.lookup(t, bucket, "a")
	w.setFlags(t, a, AppendOnly)
	found, err := w.DeleteObject(bg, "data", "a/b/c", DeleteOptions{})
	require.NoError(t, err)
	require.True(t, found.Found)
	require.Equal(t, []string{"a/b/"}, w.listKeys(t))
	w.setFlags(t, a, 0)
}

func TestFlagsInherited(t *testing.T) {
	w := newWorld(t)
	dir := w.mkdir(t, w.bucket, "d")
	w.setFlags(t, dir, AppendOnly|NoDump|NoAtime)
	require.Equal(t, NoDump|NoAtime, w.attr(t, w.mkdir(t, dir, "sub")).Flags)
	f := Flags(1)
	_, err := w.SetAttr(bg, dir, SetAttr{Flags: &f})
	requireKind(t, Unsupported, err)
	w.setFlags(t, dir, 0)
}
