package namespace

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// put makes an inode under a stored name as S3 would, implicit if it is a directory.
func (w *world) putStored(t testing.TB, parent Ino, stored string) Ino {
	ino := Ino(w.fs.number())
	require.NoError(t, w.fs.update(context.Background(), metastore.Ordered, nil, func(t *txn) error {
		p, err := getInode(t, parent)
		if err != nil {
			return err
		}
		n := NewNode{Type: File, Mode: 0o644}
		if isDirName(stored) {
			n = NewNode{Type: Dir, Mode: 0o755}
			p.Nlink++
		}
		rec, err := t.newInode(parent, p, stored, n)
		if err != nil {
			return err
		}
		rec.Expl = false
		if err := t.putInode(ino, rec); err != nil {
			return err
		}
		if err := t.putDentry(parent, stored, dentryRec{Ino: uint64(ino), Type: rec.Type}); err != nil {
			return err
		}
		return t.touchDir(parent, p)
	}))
	return ino
}

func (w *world) mkdir(t testing.TB, parent Ino, name string) Ino {
	a, err := w.Mkdir(context.Background(), parent, name, NewNode{Mode: 0o755})
	require.NoError(t, err)
	return a.Ino
}

func (w *world) file(t testing.TB, parent Ino, name, content string) Ino {
	h := create(t, w.View, parent, name)
	_, err := h.WriteAt(context.Background(), []byte(content), 0)
	require.NoError(t, err)
	require.NoError(t, h.Flush(context.Background()))
	require.NoError(t, h.Close(context.Background()))
	return h.Ino()
}

func (w *world) attr(t testing.TB, ino Ino) Attr {
	a, err := w.GetAttr(context.Background(), ino)
	require.NoError(t, err)
	return a
}

func (w *world) shownIn(t testing.TB, dir Ino) (names []string) {
	page, err := w.ReadDir(context.Background(), dir, "", 1000, true)
	require.NoError(t, err)
	for _, d := range page {
		names = append(names, d.Name)
		require.Equal(t, w.attr(t, d.Ino), *d.Attr)
	}
	return names
}

func TestTreeOperations(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d := w.mkdir(t, w.bucket, "d")
	require.EqualValues(t, 3, w.attr(t, w.bucket).Nlink)
	_, err := w.Mkdir(ctx, w.bucket, "d", NewNode{})
	requireKind(t, Exists, err)
	f := w.file(t, d, "f", "hello")
	_, err = w.Mkdir(ctx, f, "x", NewNode{})
	requireKind(t, NotDir, err)
	requireKind(t, NotEmpty, w.Rmdir(ctx, w.bucket, "d"))
	requireKind(t, NotDir, w.Rmdir(ctx, d, "f"))
	requireKind(t, IsDir, w.Unlink(ctx, w.bucket, "d"))
	requireKind(t, NotFound, w.Unlink(ctx, d, "none"))

	_, err = w.Symlink(ctx, d, "s", "target", NewNode{Mode: 0o777})
	require.NoError(t, err)
	s, err := w.Lookup(ctx, d, "s")
	require.NoError(t, err)
	require.Equal(t, Symlink, s.Type)
	require.EqualValues(t, 6, s.Size)
	target, err := w.Readlink(ctx, s.Ino)
	require.NoError(t, err)
	require.Equal(t, "target", target)
	_, err = w.Readlink(ctx, f)
	requireKind(t, Invalid, err)

	fifo, err := w.Mknod(ctx, d, "p", NewNode{Type: FIFO, Mode: 0o600})
	require.NoError(t, err)
	require.Equal(t, FIFO, fifo.Type)
	reg, err := w.Mknod(ctx, d, "r", NewNode{Type: File})
	require.NoError(t, err)
	require.NotNil(t, w.published(t, reg.Ino))
	require.Equal(t, []string{"f", "p", "r", "s"}, w.shownIn(t, d))

	for _, name := range []string{"f", "p", "r", "s"} {
		require.NoError(t, w.Unlink(ctx, d, name))
	}
	require.NoError(t, w.Rmdir(ctx, w.bucket, "d"))
	require.EqualValues(t, 2, w.attr(t, w.bucket).Nlink)
	require.Zero(t, w.attr(t, d).Nlink)
}

func TestHardLinks(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d := w.mkdir(t, w.bucket, "d")
	f := w.file(t, d, "one", "x")
	for _, name := range []string{"two", "three"} {
		_, err := w.Link(ctx, f, w.bucket, name)
		require.NoError(t, err)
	}
	require.EqualValues(t, 3, w.attr(t, f).Nlink)
	_, err := w.Link(ctx, f, w.bucket, "two")
	requireKind(t, Exists, err)
	_, err = w.Link(ctx, d, w.bucket, "dir")
	requireKind(t, NotPermitted, err)
	require.NoError(t, w.Rename(ctx, w.bucket, "two", w.bucket, "three", 0)) // one inode: nothing happens
	require.Equal(t, []string{"d", "three", "two"}, w.shownIn(t, w.bucket))
	require.NoError(t, w.Rename(ctx, d, "one", d, "uno", 0))
	require.NoError(t, w.Unlink(ctx, d, "uno"))
	require.NoError(t, w.Rename(ctx, w.bucket, "two", d, "dos", 0))
	require.NoError(t, w.Unlink(ctx, w.bucket, "three"))
	n, err := w.readInode(ctx, f, "s3:GetObject")
	require.NoError(t, err)
	require.EqualValues(t, 1, n.Nlink)
	require.Equal(t, "dos", n.Name)
	require.EqualValues(t, d, n.Parent)
	require.Zero(t, w.count(t, kLink))
	require.NoError(t, w.Unlink(ctx, d, "dos"))
	require.Zero(t, w.attr(t, f).Nlink)
}

// count is how many keys of a kind there are.
func (w *world) count(t testing.TB, kind string) (n int) {
	require.NoError(t, w.kv.View(context.Background(), func(r metastore.Reader) error {
		return r.Scan(prefixRange([]byte(kind), 0), func(_, _ []byte) (bool, error) {
			n++
			return true, nil
		})
	}))
	return n
}

func TestRename(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	a, b := w.mkdir(t, w.bucket, "a"), w.mkdir(t, w.bucket, "b")
	sub := w.mkdir(t, a, "sub")
	f := w.file(t, sub, "f", "F")
	g := w.file(t, b, "g", "G")

	requireKind(t, Loop, w.Rename(ctx, w.bucket, "a", sub, "x", 0))
	requireKind(t, NotFound, w.Rename(ctx, w.bucket, "none", sub, "x", 0))
	requireKind(t, NotDir, w.Rename(ctx, w.bucket, "a", b, "g", 0))
	requireKind(t, IsDir, w.Rename(ctx, b, "g", w.bucket, "a", 0))
	requireKind(t, NotEmpty, w.Rename(ctx, w.bucket, "a", w.bucket, "b", 0))
	requireKind(t, Exists, w.Rename(ctx, sub, "f", b, "g", RenameNoReplace))
	requireKind(t, NotPermitted, w.Rename(ctx, w.bucket, "a", RootIno, "bucket2", 0))
	requireKind(t, InvalidName, w.Rename(ctx, b, "g", b, leafAlias+"x", 0))
	other := w.makeBucket(t, "other", alice)
	requireKind(t, CrossBucket, w.Rename(ctx, b, "g", other, "g", 0))
	_, err := w.Link(ctx, g, other, "g")
	requireKind(t, CrossBucket, err)

	require.NoError(t, w.Rename(ctx, a, "sub", b, "sub2", 0))
	require.EqualValues(t, 2, w.attr(t, a).Nlink)
	require.EqualValues(t, 3, w.attr(t, b).Nlink)
	require.NoError(t, w.kv.View(ctx, func(r metastore.Reader) error {
		n, err := getInode(r, f)
		require.NoError(t, err)
		bucket, key, err := keyOf(r, n)
		require.Equal(t, "bucket", bucket)
		require.Equal(t, "b/sub2/f", key)
		return err
	}))
	require.NoError(t, w.Rename(ctx, sub, "f", b, "g", 0))
	require.Zero(t, w.attr(t, g).Nlink)
	require.NoError(t, w.Rename(ctx, b, "sub2", w.bucket, "a", 0)) // over an empty directory
	require.Zero(t, w.attr(t, a).Nlink)
	require.EqualValues(t, 4, w.attr(t, w.bucket).Nlink)

	require.NoError(t, w.Rename(ctx, b, "g", w.bucket, "a", RenameExchange)) // a file for a directory
	require.Equal(t, []string{"a", "b"}, w.shownIn(t, w.bucket))
	require.Equal(t, File, w.attr(t, f).Type)
	require.EqualValues(t, 3, w.attr(t, w.bucket).Nlink)
	require.EqualValues(t, 3, w.attr(t, b).Nlink)
	requireKind(t, NotFound, w.Rename(ctx, b, "g", w.bucket, "none", RenameExchange))
	require.NoError(t, w.Rmdir(ctx, b, "g"))
	require.NoError(t, w.Unlink(ctx, w.bucket, "a"))
	require.NoError(t, w.Rmdir(ctx, w.bucket, "b"))
}

func TestHiddenLeaf(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	leaf := w.file(t, w.bucket, "a", "leaf")
	dir := w.putStored(t, w.bucket, "a/")
	w.putStored(t, dir, "b")
	require.Equal(t, []string{leafAlias + "a", "a"}, w.shownIn(t, w.bucket))
	at, err := w.Lookup(ctx, w.bucket, "a")
	require.NoError(t, err)
	require.Equal(t, dir, at.Ino)
	at, err = w.Lookup(ctx, w.bucket, leafAlias+"a")
	require.NoError(t, err)
	require.Equal(t, leaf, at.Ino)

	// Overwriting by the alias replaces the hidden object.
	x := w.file(t, w.bucket, "x", "X")
	require.NoError(t, w.Rename(ctx, w.bucket, "x", w.bucket, leafAlias+"a", 0))
	at, err = w.Lookup(ctx, w.bucket, leafAlias+"a")
	require.NoError(t, err)
	require.Equal(t, x, at.Ino)

	// rm -r leaves the implicit directory to the rmdir that follows; then the leaf has its own name.
	require.NoError(t, w.Unlink(ctx, dir, "b"))
	require.NoError(t, w.Rmdir(ctx, w.bucket, "a"))
	require.Equal(t, []string{"a"}, w.shownIn(t, w.bucket))
}

func TestTenantsAreApart(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	f := w.file(t, w.bucket, "f", "secret")
	theirs := w.makeBucket(t, "bobs", bob)
	require.Equal(t, []string{"bucket"}, w.shownIn(t, RootIno))
	page, err := w.ReadDir(ctx, RootIno, "", 1, false)
	require.NoError(t, err)
	require.Len(t, page, 1)
	require.Equal(t, "bucket", page[0].Name)
	w.makeBucket(t, "cats", alice)
	page, err = w.ReadDir(ctx, RootIno, "", 2, false)
	require.NoError(t, err)
	require.Len(t, page, 2, "fewer than asked for would be the end of the directory")

	v := w.fs.As(bob)
	page, err = v.ReadDir(ctx, RootIno, "", 1, false)
	require.NoError(t, err)
	require.Len(t, page, 1)
	require.Equal(t, "bobs", page[0].Name)
	for name, do := range map[string]func() error{
		"lookup":  func() error { _, err := v.Lookup(ctx, RootIno, "bucket"); return err },
		"child":   func() error { _, err := v.Lookup(ctx, w.bucket, "f"); return err },
		"getattr": func() error { _, err := v.GetAttr(ctx, f); return err },
		"setattr": func() error { m := uint32(0); _, err := v.SetAttr(ctx, f, SetAttr{Mode: &m}); return err },
		"size":    func() error { m := int64(0); _, err := v.SetAttr(ctx, f, SetAttr{Size: &m}); return err },
		"open":    func() error { _, err := v.Open(ctx, f, OpenFlags{Read: true}); return err },
		"create":  func() error { _, _, err := v.Create(ctx, w.bucket, "g", NewNode{}, OpenFlags{}); return err },
		"mkdir":   func() error { _, err := v.Mkdir(ctx, w.bucket, "g", NewNode{}); return err },
		"unlink":  func() error { return v.Unlink(ctx, w.bucket, "f") },
		"rename":  func() error { return v.Rename(ctx, w.bucket, "f", theirs, "f", 0) },
		"into":    func() error { return v.Rename(ctx, theirs, "f", w.bucket, "f", 0) },
		"link":    func() error { _, err := v.Link(ctx, f, theirs, "f"); return err },
		"readdir": func() error { _, err := v.ReadDir(ctx, w.bucket, "", 10, false); return err },
		"xattr":   func() error { return v.SetXattr(ctx, f, "user.a", nil, 0) },
		"list":    func() error { _, err := v.ListXattr(ctx, f); return err },
		"statfs":  func() error { _, err := v.StatFS(ctx, f); return err },
		"syncdir": func() error { return v.SyncDir(ctx, w.bucket) },
	} {
		require.Truef(t, isKind(do(), NotFound), "%s: %v", name, do())
	}
	nobody := w.fs.As(tenancy.Principal{})
	_, err = nobody.GetAttr(ctx, RootIno)
	requireKind(t, Access, err)
}

func TestXattrs(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	f := w.file(t, w.bucket, "f", "")
	_, err := w.GetXattr(ctx, f, "user.a")
	requireKind(t, NoAttr, err)
	requireKind(t, NoAttr, w.SetXattr(ctx, f, "user.a", nil, XattrReplace))
	require.NoError(t, w.SetXattr(ctx, f, "user.a", []byte("1"), XattrCreate))
	requireKind(t, Exists, w.SetXattr(ctx, f, "user.a", []byte("2"), XattrCreate))
	require.NoError(t, w.SetXattr(ctx, f, "user.b", []byte("2"), 0))
	value, err := w.GetXattr(ctx, f, "user.a")
	require.NoError(t, err)
	require.Equal(t, "1", string(value))
	names, err := w.ListXattr(ctx, f)
	require.NoError(t, err)
	require.Equal(t, []string{"user.a", "user.b"}, names)
	require.NoError(t, w.RemoveXattr(ctx, f, "user.a"))
	requireKind(t, NoAttr, w.RemoveXattr(ctx, f, "user.a"))
	require.NoError(t, w.Unlink(ctx, w.bucket, "f"))
	require.Zero(t, w.count(t, kXattr))
}

func TestSetAttr(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	f := w.file(t, w.bucket, "f", "hello")
	mode, uid, size := uint32(0o6755), uint32(7), int64(2)
	at := time.Unix(1000, 5)
	a, err := w.SetAttr(ctx, f, SetAttr{Mode: &mode, UID: &uid, Mtime: &at, Atime: &at})
	require.NoError(t, err)
	require.Equal(t, w.attr(t, f), a)
	require.EqualValues(t, 0o6755, a.Mode)
	require.True(t, a.Mtime.Equal(at) && a.Atime.Equal(at))
	a, err = w.SetAttr(ctx, f, SetAttr{KillPriv: true})
	require.NoError(t, err)
	require.EqualValues(t, 0o755, a.Mode)
	// Without a handle a truncation is a write session of its own.
	a, err = w.SetAttr(ctx, f, SetAttr{Size: &size})
	require.NoError(t, err)
	require.EqualValues(t, 2, a.Size)
	require.Equal(t, "he", string(w.published(t, f)))
	_, err = w.SetAttr(ctx, w.bucket, SetAttr{Size: &size})
	requireKind(t, IsDir, err)

	// A draft keeps times that are set while it has changes, and publication stores them.
	h, err := w.Open(ctx, f, OpenFlags{Write: true})
	require.NoError(t, err)
	_, err = h.WriteAt(ctx, []byte("HELLO"), 0)
	require.NoError(t, err)
	commits := w.kv.Pending()
	a, err = w.SetAttr(ctx, f, SetAttr{Mtime: &at, Ctime: &at})
	require.NoError(t, err)
	require.Equal(t, commits, w.kv.Pending(), "times of a draft cost no commit")
	require.True(t, a.Mtime.Equal(at))
	require.NoError(t, h.Close(ctx))
	require.True(t, w.attr(t, f).Mtime.Equal(at))
	require.EqualValues(t, 5, w.attr(t, f).Size)
}

// What was removed can still be looked at and changed by who holds it, and is nowhere else.
func TestDeparted(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d, err := w.Mkdir(ctx, w.bucket, "d", NewNode{Mode: 0o755})
	require.NoError(t, err)
	require.NoError(t, w.Rmdir(ctx, w.bucket, "d"))
	mode := uint32(0o700)
	_, err = w.SetAttr(ctx, d.Ino, SetAttr{Mode: &mode})
	require.NoError(t, err)
	a := w.attr(t, d.Ino)
	require.Zero(t, a.Nlink)
	require.Equal(t, mode, a.Mode)
	require.NoError(t, w.SyncDir(ctx, d.Ino))
	_, err = w.Mkdir(ctx, d.Ino, "inside", NewNode{Mode: 0o755})
	requireKind(t, NotFound, err)
	_, err = w.ReadDir(ctx, d.Ino, "", 10, false)
	requireKind(t, NotFound, err)

	h := create(t, w.View, w.bucket, "f") // open when it is removed
	_, err = h.WriteAt(ctx, []byte("written"), 0)
	require.NoError(t, err)
	require.NoError(t, w.Unlink(ctx, w.bucket, "f"))
	before := w.attr(t, h.Ino())
	require.NoError(t, h.Close(ctx))
	after := w.attr(t, h.Ino())
	require.EqualValues(t, 7, after.Size)
	after.Blocks = before.Blocks
	require.Equal(t, before, after)

	for range departedMost {
		_, err := w.Mkdir(ctx, w.bucket, "d", NewNode{Mode: 0o755})
		require.NoError(t, err)
		require.NoError(t, w.Rmdir(ctx, w.bucket, "d"))
	}
	_, err = w.GetAttr(ctx, d.Ino)
	requireKind(t, NotFound, err)
}
