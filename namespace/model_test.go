package namespace

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// modelNode is an inode of the simple tree that the namespace is compared with.
type modelNode struct {
	ino     Ino
	entries map[string]*modelNode // nil for a file
	links   int
	parent  *modelNode
	content string
}

func (n *modelNode) dir() bool { return n.entries != nil }

func (n *modelNode) below(top *modelNode) bool {
	for ; n != nil; n = n.parent {
		if n == top {
			return true
		}
	}
	return false
}

// modelTree answers POSIX operations as POSIX says.
type modelTree struct{ root *modelNode }

func (m *modelTree) dirs() []*modelNode {
	var all []*modelNode
	var walk func(*modelNode)
	walk = func(n *modelNode) {
		all = append(all, n)
		for _, name := range sorted(n.entries) {
			if n.entries[name].dir() {
				walk(n.entries[name])
			}
		}
	}
	walk(m.root)
	return all
}

func sorted(entries map[string]*modelNode) []string {
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

const fine = numKinds

func (m *modelTree) remove(d *modelNode, name string, dir bool) Kind {
	n := d.entries[name]
	switch {
	case n == nil:
		return NotFound
	case dir && !n.dir():
		return NotDir
	case !dir && n.dir():
		return IsDir
	case dir && len(n.entries) > 0:
		return NotEmpty
	}
	n.links--
	delete(d.entries, name)
	return fine
}

func (m *modelTree) rename(d *modelNode, name string, to *modelNode, newName string, flags RenameFlags) Kind {
	n, old := d.entries[name], to.entries[newName]
	switch {
	case n == nil:
		return NotFound
	case flags == RenameExchange:
		return m.exchange(d, name, to, newName)
	case flags == RenameNoReplace && old != nil:
		return Exists
	case n == old:
		return fine
	case old != nil && n.dir() && !old.dir():
		return NotDir
	case old != nil && !n.dir() && old.dir():
		return IsDir
	case n.dir() && to.below(n):
		return Loop
	case old != nil && len(old.entries) > 0:
		return NotEmpty
	}
	if old != nil {
		old.links--
	}
	delete(d.entries, name)
	to.entries[newName] = n
	if n.dir() {
		n.parent = to
	}
	return fine
}

func (m *modelTree) exchange(d *modelNode, name string, to *modelNode, newName string) Kind {
	n, old := d.entries[name], to.entries[newName]
	switch {
	case old == nil:
		return NotFound
	case n == old:
		return fine
	case n.dir() && to.below(n), old.dir() && d.below(old):
		return Loop
	}
	d.entries[name], to.entries[newName] = old, n
	if n.dir() {
		n.parent = to
	}
	if old.dir() {
		old.parent = d
	}
	return fine
}

func TestTreeAgainstModel(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "c", "a-b", "é"})
	rapid.Check(t, func(rt *rapid.T) {
		s := &span{TB: t}
		defer s.end()
		w := newWorld(s)
		ctx := context.Background()
		m := &modelTree{root: &modelNode{ino: w.bucket, entries: map[string]*modelNode{}, links: 1}}
		same := func(rt *rapid.T, want Kind, err error) {
			if want == fine {
				require.NoError(rt, err)
				return
			}
			require.Truef(rt, isKind(err, want), "want %v, have %v", want, err)
		}
		dir := func(rt *rapid.T) *modelNode { return rapid.SampledFrom(m.dirs()).Draw(rt, "dir") }
		rt.Repeat(map[string]func(*rapid.T){
			"mkdir": func(rt *rapid.T) {
				d, name := dir(rt), names.Draw(rt, "name")
				a, err := w.Mkdir(ctx, d.ino, name, NewNode{Mode: 0o755})
				if d.entries[name] != nil {
					same(rt, Exists, err)
					return
				}
				require.NoError(rt, err)
				d.entries[name] = &modelNode{ino: a.Ino, entries: map[string]*modelNode{}, links: 1, parent: d}
			},
			"write": func(rt *rapid.T) {
				d, name := dir(rt), names.Draw(rt, "name")
				content := rapid.StringMatching(`[a-z]{0,5}`).Draw(rt, "content")
				a, h, err := w.Create(ctx, d.ino, name, NewNode{Mode: 0o644}, OpenFlags{Write: true, Trunc: true})
				n := d.entries[name]
				if n != nil && n.dir() {
					same(rt, IsDir, err)
					return
				}
				require.NoError(rt, err)
				if n == nil {
					n = &modelNode{ino: a.Ino, links: 1}
					d.entries[name] = n
				}
				require.Equal(rt, n.ino, a.Ino)
				_, err = h.WriteAt(ctx, []byte(content), 0)
				require.NoError(rt, err)
				require.NoError(rt, h.Flush(ctx))
				require.NoError(rt, h.Close(ctx))
				n.content = content
			},
			"link": func(rt *rapid.T) {
				d, name, to, newName := dir(rt), names.Draw(rt, "name"), dir(rt), names.Draw(rt, "newName")
				n := d.entries[name]
				if n == nil {
					return
				}
				_, err := w.Link(ctx, n.ino, to.ino, newName)
				switch {
				case n.dir():
					same(rt, NotPermitted, err)
				case to.entries[newName] != nil:
					same(rt, Exists, err)
				default:
					require.NoError(rt, err)
					to.entries[newName] = n
					n.links++
				}
			},
			"unlink": func(rt *rapid.T) {
				d, name := dir(rt), names.Draw(rt, "name")
				same(rt, m.remove(d, name, false), w.Unlink(ctx, d.ino, name))
			},
			"rmdir": func(rt *rapid.T) {
				d, name := dir(rt), names.Draw(rt, "name")
				same(rt, m.remove(d, name, true), w.Rmdir(ctx, d.ino, name))
			},
			"rename": func(rt *rapid.T) {
				d, name, to, newName := dir(rt), names.Draw(rt, "name"), dir(rt), names.Draw(rt, "newName")
				flags := rapid.SampledFrom([]RenameFlags{0, 0, 0, RenameNoReplace, RenameExchange}).Draw(rt, "flags")
				err := w.Rename(ctx, d.ino, name, to.ino, newName, flags)
				same(rt, m.rename(d, name, to, newName, flags), err)
			},
			"": func(rt *rapid.T) { compareTree(rt, w, m.root, "") },
		})
	})
}

// compareTree requires that both doors see what the model has.
func compareTree(rt *rapid.T, w *world, d *modelNode, path string) {
	ctx := context.Background()
	page, err := w.ReadDir(ctx, d.ino, "", 100, true)
	require.NoError(rt, err)
	var names []string
	subs := 0
	for _, e := range page {
		names = append(names, e.Name)
		n := d.entries[e.Name]
		require.NotNil(rt, n, "%s%s", path, e.Name)
		require.Equal(rt, n.ino, e.Ino)
		if n.dir() {
			subs++
			compareTree(rt, w, n, path+e.Name+"/")
			continue
		}
		require.EqualValues(rt, n.links, e.Attr.Nlink, "%s%s", path, e.Name)
		require.EqualValues(rt, len(n.content), e.Attr.Size)
		r, err := w.GetObject(ctx, "bucket", path+e.Name, ReadOptions{})
		require.NoError(rt, err)
		var b strings.Builder
		_, err = r.WriteRange(ctx, &b, 0, r.Info().Size)
		require.NoError(rt, err)
		require.NoError(rt, r.Close())
		require.Equal(rt, n.content, b.String())
	}
	slices.Sort(names)
	require.Equal(rt, sorted(d.entries), append([]string{}, names...))
	a, err := w.GetAttr(ctx, d.ino)
	require.NoError(rt, err)
	require.EqualValues(rt, 2+subs, a.Nlink, "links of %q", path)
}
