package namespace

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pastTree is what a mount shows of the past below a path of the bucket: paths of versions with what they hold, read
// by pages of a size; versions of one key in their order.
func (w *world) pastTree(t testing.TB, path string, size int) (all []string) {
	m := w.Mounted()
	ino := w.bucket
	for _, name := range strings.Split(path, "/") {
		a, err := m.Lookup(bg, ino, name)
		require.NoError(t, err, "%s of %s", name, path)
		ino = a.Ino
	}
	var walk func(dir Ino, prefix string)
	walk = func(dir Ino, prefix string) {
		cookie := ""
		seen := map[string]bool{}
		for {
			page, err := m.ReadDir(bg, dir, cookie, size, true)
			require.NoError(t, err)
			for _, d := range page {
				require.False(t, seen[d.Name], "%s%s is listed twice", prefix, d.Name)
				seen[d.Name] = true
				require.Greater(t, d.Cookie, cookie)
				cookie = d.Cookie
				a, err := m.Lookup(bg, dir, d.Name)
				require.NoError(t, err, "%s%s", prefix, d.Name)
				require.Equal(t, d.Ino, a.Ino)
				require.Equal(t, *d.Attr, a)
				if d.Type == Dir {
					require.Equal(t, dir, a.Parent)
					walk(d.Ino, prefix+d.Name+"/")
					continue
				}
				h, err := m.Open(bg, d.Ino, OpenFlags{Read: true})
				require.NoError(t, err)
				p := make([]byte, 100)
				n, err := h.ReadAt(bg, p, 0)
				require.NoError(t, err)
				require.NoError(t, h.Close(bg))
				all = append(all, prefix+string(p[:n]))
			}
			if len(page) < size {
				return
			}
		}
	}
	walk(ino, "")
	return all
}

func TestPast(t *testing.T) {
	w := newVersioned(t)
	for _, k := range []string{"f", "f-x", "f/g", "d/", "d//deep", "d/null", "d", "null", "gone/x"} {
		w.putText(t, k, k+" 1")
		w.putText(t, k, k+" 2")
		w.putText(t, k, k+" 3")
	}
	w.putText(t, "new", "has no past")
	w.del(t, "gone/x", "")
	long := strings.Repeat("l", 300)
	w.putText(t, long, "long 1")
	w.putText(t, long, "long 2")
	alias, _ := aliasOf(long + "/")

	want := []string{
		"d/d 2", "d/d 1", "d/d/ 2", "d/d/ 1", "d/.k3fs~d~/deep/d//deep 2", "d/.k3fs~d~/deep/d//deep 1",
		"d/.k3fs~d~null/d/null 2", "d/.k3fs~d~null/d/null 1", "f/f 2", "f/f 1", "f/g/f/g 2", "f/g/f/g 1",
		"f-x/f-x 2", "f-x/f-x 1", "gone/x/gone/x 3", "gone/x/gone/x 2", "gone/x/gone/x 1", alias + "/long 1",
		".k3fs~d~null/null 2", ".k3fs~d~null/null 1",
	}
	slices.Sort(want)
	for _, size := range []int{1, 2, 3, 1000} {
		t.Run(fmt.Sprint("pages of ", size), func(t *testing.T) {
			got := w.pastTree(t, ".k3fs/versions", size)
			slices.Sort(got)
			require.Equal(t, want, got)
		})
	}
	require.Equal(t, []string{"g/f/g 2", "g/f/g 1"}, w.pastTree(t, "f/.k3fs/versions", 10))
	require.Equal(t, []string{"f/g 2", "f/g 1"}, w.pastTree(t, ".k3fs/versions/f/g", 10))
}

func TestPastIsHidden(t *testing.T) {
	w := newVersioned(t)
	w.putText(t, "f", "1")
	w.putText(t, "f", "2")
	require.Equal(t, []string{"f"}, w.names(t, "data"))
	_, err := w.Lookup(bg, w.bucket, PastName)
	requireKind(t, NotFound, err)
	m := w.Mounted()
	_, err = m.Lookup(bg, RootIno, PastName)
	requireKind(t, NotFound, err)

	other := newStore(t)
	info, err := other.HeadBucket(bg, "data")
	require.NoError(t, err)
	_, err = other.Mounted().Lookup(bg, info.Ino, PastName)
	requireKind(t, NotFound, err)

	// What somebody made under that name is his.
	w.putText(t, "d/.k3fs", "mine")
	d, err := m.Lookup(bg, w.bucket, "d")
	require.NoError(t, err)
	a, err := m.Lookup(bg, d.Ino, PastName)
	require.NoError(t, err)
	require.Equal(t, File, a.Type)
}

func TestPastCanNotChange(t *testing.T) {
	w := newVersioned(t)
	id := w.putText(t, "f", "1")
	w.putText(t, "f", "2")
	m := w.Mounted()
	look := func(parent Ino, name string) Ino {
		a, err := m.Lookup(bg, parent, name)
		require.NoError(t, err)
		return a.Ino
	}
	top := look(w.bucket, PastName)
	tree := look(top, versionsName)
	dir := look(tree, "f")
	old := look(dir, id)
	mode := uint32(0o777)
	size := int64(0)
	create := func(parent Ino) error {
		_, _, err := m.Create(bg, parent, "x", NewNode{}, OpenFlags{Write: true})
		return err
	}
	for name, err := range map[string]error{
		"unlink":        m.Unlink(bg, dir, id),
		"rmdir":         m.Rmdir(bg, tree, "f"),
		"rmdir top":     m.Rmdir(bg, top, versionsName),
		"rename":        m.Rename(bg, dir, id, w.bucket, "g", 0),
		"rename into":   m.Rename(bg, w.bucket, "f", dir, "g", 0),
		"create":        create(dir),
		"create at top": create(top),
		"mkdir":         second(m.Mkdir(bg, tree, "x", NewNode{Mode: 0o755})),
		"link":          second(m.Link(bg, look(w.bucket, "f"), dir, "x")),
		"link out":      second(m.Link(bg, old, w.bucket, "x")),
		"chmod dir":     second(m.SetAttr(bg, dir, SetAttr{Mode: &mode})),
		"chmod":         second(m.SetAttr(bg, old, SetAttr{Mode: &mode})),
		"truncate":      second(m.SetAttr(bg, old, SetAttr{Size: &size})),
		"setxattr":      m.SetXattr(bg, old, "user.x", []byte("1"), 0),
		"open":          second(m.Open(bg, old, OpenFlags{Write: true})),
	} {
		t.Run(name, func(t *testing.T) { requireKind(t, ReadOnly, err) })
	}
	require.Equal(t, "2* 1", w.history(t, "f"))
}

// TestPastKeepsPrivate: what a directory would not show is not shown of its past either.
func TestPastKeepsPrivate(t *testing.T) {
	w := newVersioned(t)
	for _, k := range []string{"shut/f", "open/f", "gone/f"} {
		w.putText(t, k, "1")
		w.putText(t, k, "2")
	}
	w.del(t, "gone/f", "")
	m := w.Mounted()
	shut, err := m.Lookup(bg, w.bucket, "shut")
	require.NoError(t, err)
	mode, uid := uint32(0o700), uint32(4711)
	_, err = m.SetAttr(bg, shut.Ino, SetAttr{Mode: &mode, UID: &uid})
	require.NoError(t, err)

	bucket, err := m.GetAttr(bg, w.bucket)
	require.NoError(t, err)
	for path, want := range map[string]struct {
		mode, uid uint32
	}{
		".k3fs":                 {bucket.Mode & 0o555, bucket.UID},
		".k3fs/versions/open":   {bucket.Mode & 0o555, bucket.UID},
		".k3fs/versions/shut":   {0o500, 4711},
		".k3fs/versions/shut/f": {0o500, 4711},
		"shut/.k3fs/versions/f": {0o500, 4711},
		".k3fs/versions/gone":   {0o500, bucket.UID},
		".k3fs/versions/gone/f": {0o500, bucket.UID},
		".k3fs/versions/open/f": {bucket.Mode & 0o555, bucket.UID},
		"open/.k3fs/versions":   {bucket.Mode & 0o555, bucket.UID},
	} {
		t.Run(path, func(t *testing.T) {
			at := w.bucket
			var a Attr
			for _, name := range strings.Split(path, "/") {
				a, err = m.Lookup(bg, at, name)
				require.NoError(t, err)
				at = a.Ino
			}
			require.Equal(t, fmt.Sprintf("%o %d", want.mode, want.uid), fmt.Sprintf("%o %d", a.Mode, a.UID))
		})
	}
}

func TestPastForgets(t *testing.T) {
	var p pastInos
	first := p.number(past{below: "0"})
	for i := range pastMost {
		p.number(past{of: Ino(i)})
	}
	_, err := p.find(first)
	require.True(t, isKind(err, Stale))
	again := p.number(past{below: "0"})
	require.NotEqual(t, first, again)
	found, err := p.find(again)
	require.NoError(t, err)
	require.Equal(t, "0", found.below)
	require.Len(t, p.inos, pastMost)
	require.Len(t, p.pasts, pastMost)
}

func second[T any](_ T, err error) error { return err }
