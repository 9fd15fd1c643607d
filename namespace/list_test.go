package namespace

import (
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// bucketModel is what a bucket holds, by key.
type bucketModel map[string]string

// list is ListObjects as its contract says, told simply.
func (m bucketModel) list(o ListOptions) (page ListPage) {
	var keys []string
	for k := range m {
		if strings.HasPrefix(k, o.Prefix) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	last := ""
	for _, k := range keys {
		entry, group := k, false
		if i := strings.Index(k[len(o.Prefix):], o.Delimiter); o.Delimiter != "" && i >= 0 {
			entry, group = k[:len(o.Prefix)+i+len(o.Delimiter)], true
		}
		if entry <= o.After || group && slices.Contains(page.Prefixes, entry) {
			continue
		}
		if len(page.Objects)+len(page.Prefixes) == o.Max {
			page.Truncated, page.Next = o.Max > 0, last
			return page
		}
		if last = entry; group {
			page.Prefixes = append(page.Prefixes, entry)
		} else {
			page.Objects = append(page.Objects, ObjectInfo{Key: k})
		}
	}
	return page
}

// bare leaves only what the model knows.
func bare(p ListPage) ListPage {
	for i := range p.Objects {
		p.Objects[i] = ObjectInfo{Key: p.Objects[i].Key}
	}
	return p
}

var (
	keyGen    = rapid.StringMatching(`[ab.\-/]{1,7}`)
	prefixGen = rapid.StringMatching(`[ab.\-/]{0,4}`)
)

func TestListFollowsModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newStore(t)
		m := bucketModel{}
		for range rapid.IntRange(0, 40).Draw(rt, "keys") {
			k := keyGen.Draw(rt, "key")
			w.put(t, k, []byte(k))
			m[k] = k
		}
		for k := range m {
			if rapid.IntRange(0, 3).Draw(rt, "delete") == 0 {
				_, err := w.DeleteObject(bg, "data", k, DeleteOptions{})
				require.NoError(rt, err)
				delete(m, k)
			}
		}
		for range 20 {
			o := ListOptions{
				Prefix: prefixGen.Draw(rt, "prefix"), Max: rapid.IntRange(0, 8).Draw(rt, "max"),
				Delimiter: rapid.SampledFrom([]string{"", "/", "a", "-", "//", "b/"}).Draw(rt, "delimiter"),
			}
			if rapid.Bool().Draw(rt, "marker") {
				o.After = keyGen.Draw(rt, "after")
			}
			got, err := w.ListObjects(bg, "data", o)
			require.NoError(rt, err)
			require.Equal(rt, m.list(o), bare(got), "%+v", o)
		}
		require.NoError(rt, w.fs.Close(bg))
	})
}

func TestListPagesJoin(t *testing.T) {
	w := newStore(t)
	m := bucketModel{}
	for _, k := range []string{"a", "a/", "a/1", "a/2", "a-1", "a0", "b/c/d/e", "b/c/d/f", "b/g", "c", "d//e", "d//f", "z/"} {
		w.put(t, k, nil)
		m[k] = ""
	}
	for _, delimiter := range []string{"", "/", "-"} {
		whole := m.list(ListOptions{Delimiter: delimiter, Max: 100})
		for size := 1; size < 6; size++ {
			var joined ListPage
			for o := (ListOptions{Delimiter: delimiter, Max: size}); ; {
				page, err := w.ListObjects(bg, "data", o)
				require.NoError(t, err)
				joined.Objects = append(joined.Objects, page.Objects...)
				joined.Prefixes = append(joined.Prefixes, page.Prefixes...)
				if !page.Truncated {
					break
				}
				o.After = page.Next
			}
			require.Equal(t, whole, bare(joined))
		}
	}
}

// What only POSIX knows is hidden, and so is a directory with nothing else in it.
func TestListHidesWhatIsNotPublished(t *testing.T) {
	w := newStore(t)
	a, err := w.Lookup(bg, RootIno, "data")
	require.NoError(t, err)
	w.put(t, "dir/gone", nil)
	w.put(t, "kept/file", nil)
	d, err := w.Lookup(bg, a.Ino, "dir")
	require.NoError(t, err)
	_, err = w.Symlink(bg, d.Ino, "link", "target", NewNode{Mode: 0o777})
	require.NoError(t, err)
	h := create(t, w.View, d.Ino, "draft")
	_, err = w.DeleteObject(bg, "data", "dir/gone", DeleteOptions{})
	require.NoError(t, err)
	_, err = w.Mkdir(bg, a.Ino, "made", NewNode{Mode: 0o755})
	require.NoError(t, err)

	page, err := w.ListObjects(bg, "data", ListOptions{Delimiter: "/", Max: 10})
	require.NoError(t, err)
	require.Equal(t, []string{"kept/", "made/"}, page.Prefixes)
	require.Equal(t, []string{"kept/file", "made/"}, w.listKeys(t))
	for _, k := range []string{"dir/link", "dir/draft", "dir/"} {
		_, err = w.GetObject(bg, "data", k, ReadOptions{})
		requireKind(t, NotFound, err)
		found, err := w.DeleteObject(bg, "data", k, DeleteOptions{})
		require.NoError(t, err)
		require.False(t, found.Found)
	}
	require.NoError(t, h.Flush(bg))
	require.NoError(t, h.Close(bg))
	require.Equal(t, []string{"dir/draft", "kept/file", "made/"}, w.listKeys(t))
}

// The page costs what it holds: the records read don't grow with the bucket.
func TestListCostsThePage(t *testing.T) {
	var reads [2]int
	for i, n := range []int{3000, 30000} {
		w := newStore(t)
		w.fill(t, n)
		r := &countingReader{}
		page, err := w.listThrough(r, ListOptions{Max: 1000, After: "dir-1/key-00001010"})
		require.NoError(t, err)
		require.Len(t, page.Objects, 1000)
		reads[i] = r.reads
	}
	require.InDelta(t, reads[0], reads[1], 50)
}
