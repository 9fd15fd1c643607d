package fusefs

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/namespace"
)

func mode(m uint32) *uint32 { return &m }

func TestOwnersShowAndStore(t *testing.T) {
	all := Owners{UID: mode(1000), GID: mode(100), FileMask: mode(0o133), DirMask: mode(0o022)}
	a := namespace.Attr{Type: namespace.File, UID: 0, GID: 5, Mode: 0o4600}
	all.show(&a)
	require.Equal(t, namespace.Attr{Type: namespace.File, UID: 1000, GID: 100, Mode: 0o644}, a)
	d := namespace.Attr{Type: namespace.Dir, Mode: 0o700}
	all.show(&d)
	require.EqualValues(t, 0o755, d.Mode)
	l := namespace.Attr{Type: namespace.Symlink, Mode: 0o777}
	all.show(&l)
	require.EqualValues(t, 0o777, l.Mode)
	n := namespace.NewNode{UID: 7, GID: 8, Mode: 0o600}
	require.NoError(t, all.store(&n))
	require.Equal(t, namespace.NewNode{UID: 7, GID: 8, Mode: 0o600}, n, "who makes a file owns it in the store")

	mapped := Owners{UIDs: []IDRange{{Shown: 1000, Stored: 0, Count: 10}}, GIDs: []IDRange{{Shown: 0, Stored: 0, Count: 1}}}
	a = namespace.Attr{Type: namespace.File, UID: 3, GID: 5, Mode: 0o4755}
	mapped.show(&a)
	require.Equal(t, namespace.Attr{Type: namespace.File, UID: 1003, GID: nobody, Mode: 0o4755}, a)
	n = namespace.NewNode{UID: 1009}
	require.NoError(t, mapped.store(&n))
	require.EqualValues(t, 9, n.UID)
	require.ErrorIs(t, mapped.store(&namespace.NewNode{UID: 1010}), errUnmapped)
}

func TestOwnersTakeChanges(t *testing.T) {
	now := namespace.Attr{Type: namespace.File, UID: 3, GID: 3, Mode: 0o600}
	fixed := Owners{UID: mode(1000), FileMask: mode(0o022)}
	s := namespace.SetAttr{UID: mode(1000), GID: mode(9), Mode: mode(0o755)}
	require.NoError(t, fixed.take(&s, now), "what is shown already")
	require.Nil(t, s.UID)
	require.Nil(t, s.Mode)
	require.EqualValues(t, 9, *s.GID)
	for _, s := range []namespace.SetAttr{{UID: mode(0)}, {Mode: mode(0o700)}} {
		require.Equal(t, namespace.NotPermitted, kindOf(fixed.take(&s, now)))
	}
	mapped := Owners{UIDs: []IDRange{{Shown: 1000, Stored: 0, Count: 10}}}
	s = namespace.SetAttr{UID: mode(1004)}
	require.NoError(t, mapped.take(&s, now))
	require.EqualValues(t, 4, *s.UID)
	s = namespace.SetAttr{UID: mode(4)}
	require.ErrorIs(t, mapped.take(&s, now), errUnmapped)
}

func TestOwnersValidate(t *testing.T) {
	for name, o := range map[string]Owners{
		"both":            {UID: mode(1), UIDs: []IDRange{{Count: 1}}},
		"mask":            {FileMask: mode(0o1777)},
		"empty range":     {UIDs: []IDRange{{}}},
		"too far":         {GIDs: []IDRange{{Shown: 1 << 31, Count: 1<<31 + 1}}},
		"stored twice":    {UIDs: []IDRange{{Shown: 0, Stored: 5, Count: 2}, {Shown: 10, Stored: 6, Count: 1}}},
		"shown twice":     {UIDs: []IDRange{{Shown: 0, Stored: 5, Count: 2}, {Shown: 1, Stored: 9, Count: 1}}},
		"reserved number": {UIDs: []IDRange{{Shown: 1<<32 - 1, Count: 1}}},
	} {
		require.Error(t, o.Validate(), name)
	}
	require.NoError(t, Owners{UIDs: []IDRange{{Count: 1000}, {Shown: 1000, Stored: 1000, Count: 1}}}.Validate())
}

// A directory below is the mount's root, and nothing above or beside it has a name.
func TestRootBelow(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	top, err := fs.Mkdir(ctx, namespace.RootIno, "top", namespace.NewNode{Mode: 0o755, UID: 7})
	require.NoError(t, err)
	beside, err := fs.Mkdir(ctx, namespace.RootIno, "beside", namespace.NewNode{Mode: 0o755})
	require.NoError(t, err)
	inv := NewInvalidator()
	m := mounted(t, Options{FS: fs, Root: top.Ino, Invalidator: inv, AllowOther: true})
	dir := m.opts.Dir
	var st unix.Stat_t
	require.NoError(t, unix.Stat(dir, &st))
	require.EqualValues(t, 7, st.Uid, "the root is the directory")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644))
	a, err := fs.Lookup(ctx, top.Ino, "f")
	require.NoError(t, err)
	require.NoError(t, os.Rename(filepath.Join(dir, "f"), filepath.Join(dir, "g")))
	_, err = fs.Lookup(ctx, top.Ino, "g")
	require.NoError(t, err)
	require.NoError(t, os.Link(filepath.Join(dir, "g"), filepath.Join(dir, "h")))
	for _, name := range []string{"beside", "top", "../beside", "f"} {
		_, err := os.Lstat(dir + "/" + name)
		require.ErrorIs(t, err, os.ErrNotExist, name)
	}
	// A change through another door is told about the directory's own number.
	_, err = os.Lstat(filepath.Join(dir, "new"))
	require.ErrorIs(t, err, os.ErrNotExist)
	changes := []namespace.Change{{Parent: top.Ino, Name: "new"}}
	inv.Changing(changes)
	_, err = fs.Mkdir(ctx, top.Ino, "new", namespace.NewNode{Mode: 0o755})
	require.NoError(t, err)
	inv.Changed(nil, changes)
	_, err = os.Lstat(filepath.Join(dir, "new"))
	require.NoError(t, err, "the kernel has forgotten that it was absent")
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 3)
	require.NotZero(t, a.Ino)
	require.NotZero(t, beside.Ino)
}

// What a mount with owners of its own makes belongs, in the store, to who made it.
func TestMountWithOwners(t *testing.T) {
	fs := newMemFS()
	m := mounted(t, Options{FS: fs, AllowOther: true, Owners: Owners{UID: mode(1234), GID: mode(0), FileMask: mode(0o027)}})
	path := filepath.Join(m.opts.Dir, "f")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(path, &st))
	require.EqualValues(t, 1234, st.Uid)
	require.EqualValues(t, 0o750, st.Mode&0o7777)
	require.ErrorIs(t, os.Chown(path, 5, -1), unix.EPERM)
	require.NoError(t, os.Chown(path, 1234, 0))
	require.ErrorIs(t, os.Chmod(path, 0o600), unix.EPERM)
	a, err := fs.Lookup(context.Background(), namespace.RootIno, "f")
	require.NoError(t, err)
	require.EqualValues(t, os.Getuid(), a.UID)
	require.EqualValues(t, 0o600, a.Mode)

	mapped := mounted(t, Options{FS: newMemFS(), AllowOther: true, Owners: Owners{UIDs: []IDRange{{Shown: 5, Stored: 0, Count: 1}}}})
	_, err = os.Create(filepath.Join(mapped.opts.Dir, "f"))
	require.ErrorIs(t, err, unix.EOVERFLOW)
}
