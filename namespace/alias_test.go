package namespace

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"k3fs/metastore"
)

func TestAliases(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		stored string
		hidden bool
		want   string // "" for a hash
	}{
		{"a", false, "a"},
		{"a/", false, "a"},
		{"a", true, ".k3fs~f~a"},
		{"/", false, ".k3fs~d~"},
		{".", false, ".k3fs~f~."},
		{"./", false, ".k3fs~d~."},
		{"../", false, ".k3fs~d~.."},
		{".k3fs~", false, ".k3fs~f~.k3fs~"},
		{".k3fs~f~a", false, ".k3fs~f~.k3fs~f~a"},
		{".k3fs~d~a/", false, ".k3fs~d~.k3fs~d~a"},
		{".k3fs", false, ".k3fs"},
		{strings.Repeat("y", 255), false, strings.Repeat("y", 255)},
		{strings.Repeat("y", 255), true, ""},
		{strings.Repeat("y", 247), true, ".k3fs~f~" + strings.Repeat("y", 247)},
		{strings.Repeat("y", 248), true, ""},
		{strings.Repeat("y", 256), false, ""},
		{long, false, ""},
		{long + "/", false, ""},
	} {
		got := shown(c.stored, c.hidden)
		if c.want == "" {
			require.True(t, strings.HasPrefix(got, hashAlias), c.stored)
			require.Len(t, got, len(hashAlias)+64)
			_, needed := recordedAlias(c.stored)
			require.True(t, needed, c.stored)
			continue
		}
		require.Equal(t, c.want, got)
	}
}

// storedNames draws names as S3 may store them, odd ones often.
func storedNames() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		c := rapid.OneOf(
			rapid.SampledFrom([]string{"", ".", "..", "a", "b", "ab", aliasPrefix, leafAlias, dirAlias, hashAlias,
				leafAlias + "a", dirAlias + "a", leafAlias + ".", dirAlias, ".k3fs", "a~"}),
			rapid.StringMatching(`[ab.~]{1,4}`),
			rapid.Map(rapid.IntRange(240, 300), func(n int) string { return strings.Repeat("l", n) }),
			rapid.Map(rapid.IntRange(230, 260), func(n int) string { return leafAlias + strings.Repeat("l", n) }),
			rapid.Map(rapid.SampledFrom([]string{strings.Repeat("l", 250), strings.Repeat("l", 300)}), func(s string) string {
				alias, _ := aliasOf(s)
				return alias
			}),
		).Draw(t, "component")
		if c == "" || rapid.Bool().Draw(t, "dir") {
			return c + "/"
		}
		return c
	})
}

// Every stored name has one POSIX name in its directory, which leads back to it and to nothing else, and
// which POSIX could not have made unless it is the plain component.
func TestAliasesBothWays(t *testing.T) {
	w := newWorld(t)
	w.damaged = true // entries are put bare
	ctx := context.Background()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := w.Mkdir(ctx, w.bucket, rapid.StringMatching(`[a-z]{24}`).Draw(rt, "dir"), NewNode{Mode: 0o755})
		require.NoError(rt, err)
		there := map[string]Ino{}
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				stored := storedNames().Draw(rt, "stored")
				ino := Ino(w.fs.number())
				require.NoError(rt, w.fs.update(ctx, metastore.Ordered, nil, func(t *txn) error {
					typ := File
					if isDirName(stored) {
						typ = Dir
					}
					p, err := getInode(t, dir.Ino)
					if err != nil {
						return err
					}
					n, err := t.newInode(dir.Ino, p, stored, NewNode{Type: typ})
					if err != nil {
						return err
					}
					if err := t.putInode(ino, n); err != nil {
						return err
					}
					return t.putDentry(dir.Ino, stored, dentryRec{Ino: uint64(ino), Type: uint8(typ)})
				}))
				there[stored] = ino
			},
			"remove": func(rt *rapid.T) {
				stored := storedNames().Draw(rt, "stored")
				if there[stored] == 0 {
					return
				}
				require.NoError(rt, w.fs.update(ctx, metastore.Ordered, nil, func(t *txn) error {
					return t.delDentry(dir.Ino, stored)
				}))
				delete(there, stored)
			},
			"": func(rt *rapid.T) { checkAliases(rt, w, dir.Ino, there) },
		})
	})
}

func checkAliases(rt *rapid.T, w *world, dir Ino, there map[string]Ino) {
	ctx := context.Background()
	seen := map[string]bool{}
	cookie := ""
	for {
		page, err := w.ReadDir(ctx, dir, cookie, 3, false)
		require.NoError(rt, err)
		for _, d := range page {
			cookie = d.Cookie
			require.False(rt, seen[d.Name], "%q is shown twice", d.Name)
			seen[d.Name] = true
			require.NotZero(rt, there[d.Cookie])
			require.Equal(rt, there[d.Cookie], d.Ino)
			require.LessOrEqual(rt, len(d.Name), maxName)
			a, err := w.Lookup(ctx, dir, d.Name)
			require.NoError(rt, err, "%q", d.Name)
			require.Equal(rt, d.Ino, a.Ino, "%q", d.Name)
			if d.Name != component(d.Cookie) {
				require.True(rt, reserved(d.Name))
			}
			_, err = w.Mkdir(ctx, dir, d.Name, NewNode{})
			require.True(rt, isKind(err, Exists), "%v", err)
		}
		if len(page) == 0 {
			break
		}
	}
	require.Len(rt, seen, len(there))
	// What is not shown can't be looked up, and an alias can't be made.
	for _, name := range []string{leafAlias + "a", dirAlias + "a", leafAlias + ".", dirAlias, leafAlias + leafAlias + "a", hashAlias + "00"} {
		if seen[name] {
			continue
		}
		_, err := w.Lookup(ctx, dir, name)
		require.True(rt, isKind(err, NotFound), "%q: %v", name, err)
		_, err = w.Mkdir(ctx, dir, name, NewNode{})
		require.True(rt, isKind(err, InvalidName), "%q: %v", name, err)
		_, _, err = w.Create(ctx, dir, name, NewNode{}, OpenFlags{Write: true})
		require.True(rt, isKind(err, InvalidName), "%q: %v", name, err)
	}
}
