package layer

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"k3fs/metastore"
)

// lower is a Reader of one layer.
type lower struct{ l Layer }

func (r lower) Get(key []byte) ([]byte, error) {
	if e, ok := r.l.Get(key); ok {
		return e.Value(), nil
	}
	return nil, metastore.ErrNotFound
}

func (r lower) Scan(rg metastore.Range, fn func(key, value []byte) (bool, error)) error {
	return r.l.ScanOver(Empty, rg, fn)
}

// TestScanOver lays three random layers over each other, and compares with a map.
func TestScanOver(t *testing.T) {
	keys := rapid.StringMatching(`[ab]{0,3}`)
	rapid.Check(t, func(rt *rapid.T) {
		model := map[string]string{}
		scan := ScanFunc(Empty)
		for depth := range 3 {
			l := New()
			for range rapid.IntRange(0, 8).Draw(rt, "n") {
				key, value := keys.Draw(rt, "key"), []byte{byte('0' + depth)}
				if depth > 0 && rapid.Bool().Draw(rt, "deleted") {
					l.Put(Entry{Key: []byte(key)})
					delete(model, key)
				} else {
					l.Put(Entry{Key: []byte(key), value: &value})
					model[key] = string(value)
				}
			}
			below := scan
			scan = func(r metastore.Range, fn func(key, value []byte) (bool, error)) error {
				return l.ScanOver(below, r, fn)
			}
		}
		from, to, stop := keys.Draw(rt, "from"), keys.Draw(rt, "to"), rapid.IntRange(1, 12).Draw(rt, "stop")
		var want, got []string
		for _, k := range slices.Sorted(maps.Keys(model)) {
			if k >= from && k < to && len(want) < stop {
				want = append(want, k+model[k])
			}
		}
		require.NoError(rt, scan(metastore.Range{From: []byte(from), To: []byte(to)}, func(k, v []byte) (bool, error) {
			got = append(got, string(k)+string(v))
			return len(got) < stop, nil
		}))
		require.Equal(rt, want, got)
	})
}

// tracked records what a transaction says it read.
type tracked struct {
	keys  []string
	spans []string
}

func (r *tracked) ReadKey(key []byte) { r.keys = append(r.keys, string(key)) }

func (r *tracked) ReadRange(from, to []byte, closed bool) {
	end := ")"
	if closed {
		end = "]"
	}
	r.spans = append(r.spans, "["+string(from)+","+string(to)+end)
}

// TestTracking: own writes are no reads, and a scan that stops depends on what it passed only.
func TestTracking(t *testing.T) {
	base := New()
	for _, k := range []string{"b", "d", "f"} {
		base.Put(Entry{Key: []byte(k), value: new([]byte)})
	}
	var reads tracked
	txn := NewTxn(lower{base}, &reads)
	require.NoError(t, txn.Set([]byte("c"), nil))
	for _, k := range []string{"a", "b", "c"} {
		_, _ = txn.Get([]byte(k))
	}
	require.Equal(t, []string{"a", "b"}, reads.keys)
	first := func(_, _ []byte) (bool, error) { return false, nil }
	all := func(_, _ []byte) (bool, error) { return true, nil }
	require.NoError(t, txn.Scan(metastore.Range{From: []byte("a"), To: []byte("z")}, first))
	require.NoError(t, txn.Scan(metastore.Range{From: []byte("c"), To: []byte("z")}, first))
	require.NoError(t, txn.Scan(metastore.Range{From: []byte("a"), To: []byte("z")}, all))
	require.NoError(t, txn.Scan(metastore.Range{From: []byte("x")}, all))
	require.Equal(t, []string{"[a,b]", "[c,d]", "[a,z)", "[x,)"}, reads.spans)
}

func TestSnapshotStays(t *testing.T) {
	l := New()
	for i := range 1000 {
		l.Put(Entry{Key: []byte{byte(i >> 8), byte(i)}})
	}
	snap := l.Snapshot()
	for i := range 1000 {
		l.Remove([]byte{byte(i >> 8), byte(i)})
	}
	require.Zero(t, l.Len())
	n := 0
	snap.Ascend(func(Entry) bool { n++; return true })
	require.Equal(t, 1000, n)
}
