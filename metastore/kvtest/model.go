package kvtest

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"k3fs/metastore"
)

var (
	modelKeys   = rapid.StringMatching(`[abc/]{0,3}`)
	modelValues = rapid.StringN(0, 5, 40)
)

// modelRange returns the pairs of a map within a range, in order.
func modelRange(model map[string]string, from, to string, bounded bool) []string {
	out := []string{}
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if k >= from && (!bounded || k < to) {
			out = append(out, k+"="+model[k])
		}
	}
	return out
}

// runModel makes steps random updates of a store and of the map that it should equal. reopen may be nil.
func runModel(t *testing.T, rt *rapid.T, s metastore.Store, model map[string]string, steps int,
	reopen func(metastore.Store) metastore.Store) metastore.Store {
	boom := errors.New("boom")
	for range rapid.IntRange(1, steps).Draw(rt, "steps") {
		d := metastore.Durability(rapid.SampledFrom([]int{0, 0, 0, 0, 1, 2, 3}).Draw(rt, "durability"))
		fail := rapid.IntRange(0, 9).Draw(rt, "fail") == 0
		next := maps.Clone(model)
		err := s.Update(t.Context(), d, func(txn metastore.Txn) error {
			next = maps.Clone(model)
			for range rapid.IntRange(0, 6).Draw(rt, "ops") {
				modelStep(rt, txn, next)
			}
			if fail {
				return boom
			}
			return nil
		})
		if fail {
			require.Equal(rt, boom, err)
		} else {
			require.NoError(rt, err)
			model = next
		}
		switch rapid.IntRange(0, 14).Draw(rt, "between") {
		case 0:
			require.NoError(rt, s.Sync(t.Context()))
		case 1:
			if reopen != nil {
				s = reopen(s)
			}
		}
		require.Equal(rt, modelRange(model, "", "", false), dumpAll(t, s))
	}
	return s
}

// modelStep does one thing inside a transaction, and compares.
func modelStep(rt *rapid.T, txn metastore.Txn, model map[string]string) {
	key := modelKeys.Draw(rt, "key")
	switch rapid.IntRange(0, 3).Draw(rt, "op") {
	case 0:
		value := modelValues.Draw(rt, "value")
		require.NoError(rt, txn.Set([]byte(key), []byte(value)))
		model[key] = value
	case 1:
		require.NoError(rt, txn.Delete([]byte(key)))
		delete(model, key)
	case 2:
		got, err := txn.Get([]byte(key))
		if want, ok := model[key]; ok {
			require.NoError(rt, err)
			require.Equal(rt, want, string(got))
		} else {
			require.ErrorIs(rt, err, metastore.ErrNotFound)
		}
	case 3:
		to := modelKeys.Draw(rt, "to")
		rg := metastore.Range{From: []byte(key), To: []byte(to)}
		bounded := rapid.Bool().Draw(rt, "bounded")
		if !bounded {
			rg.To = nil
		}
		got, err := dump(txn, rg)
		require.NoError(rt, err)
		require.Equal(rt, modelRange(model, key, to, bounded), got)
	}
}

// Reopen opens the store of one test, for the first time or again after it was closed.
type Reopen func() metastore.Store

// RunReopen checks that an engine keeps what it promised. begin is called once for each test and names a
// new place for a store.
func RunReopen(t *testing.T, begin func(t *testing.T) Reopen) {
	t.Run("Reopen", func(t *testing.T) {
		open := begin(t)
		want := []string{}
		for round := range 4 {
			s := open()
			require.Equal(t, want, dumpAll(t, s))
			key, value := string(rune('a'+round)), string(rune('0'+round))
			set(t, s, key, value, "overwritten", value)
			want = slices.DeleteFunc(want, func(p string) bool { return p[:2] == "ov" })
			want = append(want, key+"="+value, "overwritten="+value)
			require.NoError(t, s.Close())
		}
	})
	t.Run("ModelWithReopen", func(t *testing.T) {
		open := begin(t)
		s := open()
		reopens := 0
		rapid.Check(t, func(rt *rapid.T) {
			require.NoError(t, clearAll(t, s))
			s = runModel(t, rt, s, map[string]string{}, 10, func(s metastore.Store) metastore.Store {
				if reopens++; reopens > 20 {
					return s
				}
				require.NoError(rt, s.Close())
				return open()
			})
		})
		require.NoError(t, s.Close())
	})
}
