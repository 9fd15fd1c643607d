// Package kvtest is the conformance suite of metastore engines.
//
// It owns the meaning of the contract, as tests: an engine is right when Run and RunReopen pass, and
// code written against the contract may rely on all that they check.
package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
)

// Open returns a new, empty store. It leaves closing to the suite.
type Open func(t *testing.T) metastore.Store

// Run checks one engine.
func Run(t *testing.T, open Open) {
	tests := []struct {
		name string
		test func(*testing.T, metastore.Store)
	}{
		{"GetSetDelete", testGetSetDelete},
		{"ValuesAreCopied", testValuesAreCopied},
		{"ScanOrder", testScanOrder},
		{"ScanStops", testScanStops},
		{"OwnWrites", testOwnWrites},
		{"NestedReads", testNestedReads},
		{"FailedUpdateLeavesNothing", testFailedUpdate},
		{"Limits", testLimits},
		{"CancelledContext", testCancelled},
		{"ViewIsASnapshot", testViewSnapshot},
		{"LostUpdate", testLostUpdate},
		{"WriteSkew", testWriteSkew},
		{"Phantom", testPhantom},
		{"PhantomOfEmptyScan", testPhantomCount},
		{"Counters", testCounters},
		{"CountersMeet", testCountersMeet},
		{"CounterBound", testBound},
		{"DurableAndSync", testDurableAndSync},
		{"Closed", testClosed},
		{"Stress", testStress},
		{"Model", testModel},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					require.ErrorIs(t, err, metastore.ErrClosed)
				}
			})
			test.test(t, s)
		})
	}
}

// set, get and the like below are updates and views of one call.

func set(t testing.TB, s metastore.Store, pairs ...string) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), metastore.Ordered, func(txn metastore.Txn) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := txn.Set([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	}))
}

func remove(t testing.TB, s metastore.Store, keys ...string) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), metastore.Ordered, func(txn metastore.Txn) error {
		for _, k := range keys {
			if err := txn.Delete([]byte(k)); err != nil {
				return err
			}
		}
		return nil
	}))
}

func get(t testing.TB, s metastore.Store, key string) (value string, found bool) {
	t.Helper()
	require.NoError(t, s.View(t.Context(), func(r metastore.Reader) error {
		v, err := r.Get([]byte(key))
		if errors.Is(err, metastore.ErrNotFound) {
			return nil
		}
		value, found = string(v), true
		return err
	}))
	return value, found
}

// dump returns the pairs of a range as "k=v" strings.
func dump(r metastore.Reader, rg metastore.Range) ([]string, error) {
	out := []string{}
	err := r.Scan(rg, func(k, v []byte) (bool, error) {
		out = append(out, string(k)+"="+string(v))
		return true, nil
	})
	return out, err
}

func dumpAll(t testing.TB, s metastore.Store) (out []string) {
	t.Helper()
	require.NoError(t, s.View(t.Context(), func(r metastore.Reader) (err error) {
		out, err = dump(r, metastore.Range{})
		return err
	}))
	return out
}

func testGetSetDelete(t *testing.T, s metastore.Store) {
	_, found := get(t, s, "a")
	require.False(t, found)
	set(t, s, "a", "1", "", "empty key", "empty value", "", "\x00\xff", "bin")
	for key, want := range map[string]string{"a": "1", "": "empty key", "empty value": "", "\x00\xff": "bin"} {
		v, found := get(t, s, key)
		require.True(t, found, "%q", key)
		require.Equal(t, want, v)
	}
	set(t, s, "a", "2")
	v, _ := get(t, s, "a")
	require.Equal(t, "2", v)
	remove(t, s, "a", "never there")
	_, found = get(t, s, "a")
	require.False(t, found)
	require.NoError(t, s.Sync(t.Context()))
	_, found = get(t, s, "a")
	require.False(t, found, "after Sync")
	v, found = get(t, s, "empty value")
	require.True(t, found)
	require.Empty(t, v)
}

func testValuesAreCopied(t *testing.T, s metastore.Store) {
	key, value := []byte("key"), []byte("value")
	require.NoError(t, s.Update(t.Context(), metastore.Ordered, func(txn metastore.Txn) error {
		err := txn.Set(key, value)
		copy(key, "xxx")
		copy(value, "xxxxx")
		return err
	}))
	require.Equal(t, []string{"key=value"}, dumpAll(t, s))
	require.NoError(t, s.Sync(t.Context()))
	var kept []byte
	require.NoError(t, s.View(t.Context(), func(r metastore.Reader) (err error) {
		kept, err = r.Get([]byte("key"))
		return err
	}))
	set(t, s, "key", "other")
	require.NoError(t, s.Sync(t.Context()))
	require.Equal(t, "value", string(kept), "a value belongs to the caller")
}

func testScanOrder(t *testing.T, s metastore.Store) {
	set(t, s, "a/b", "3", "a", "1", "b", "5", "a-b", "2", "a/c", "4", "\xff\xff", "6")
	check := func(from, to string, open bool, want ...string) {
		t.Helper()
		rg := metastore.Range{From: []byte(from), To: []byte(to)}
		if open {
			rg.To = nil
		}
		for _, page := range []int{0, 1, 1000} {
			rg.Page = page
			require.NoError(t, s.View(t.Context(), func(r metastore.Reader) error {
				got, err := dump(r, rg)
				require.Equal(t, append([]string{}, want...), got)
				return err
			}))
		}
	}
	all := func() {
		t.Helper()
		check("", "", true, "a=1", "a-b=2", "a/b=3", "a/c=4", "b=5", "\xff\xff=6")
		check("a", "b", false, "a=1", "a-b=2", "a/b=3", "a/c=4")
		check("a/", "a0", false, "a/b=3", "a/c=4")
		check("a/b", "a/c", false, "a/b=3")
		check("a/bb", "", true, "a/c=4", "b=5", "\xff\xff=6")
		check("b", "a", false)
		check("b", "b", false)
		check("c", "d", false)
		check("\xff\xff\xff", "", true)
	}
	all()
	require.NoError(t, s.Sync(t.Context()))
	all()
	remove(t, s, "a-b")
	set(t, s, "a/b", "30", "aa", "40")
	check("a", "b", false, "a=1", "a/b=30", "a/c=4", "aa=40")
	require.NoError(t, s.Sync(t.Context()))
	check("a", "b", false, "a=1", "a/b=30", "a/c=4", "aa=40")
	require.NoError(t, s.View(t.Context(), func(r metastore.Reader) error {
		return r.Scan(metastore.Range{KeysOnly: true}, func(_, value []byte) (bool, error) {
			require.Nil(t, value)
			return true, nil
		})
	}))
}

func testScanStops(t *testing.T, s metastore.Store) {
	set(t, s, "a", "1", "c", "3")
	require.NoError(t, s.Sync(t.Context()))
	set(t, s, "b", "2", "d", "4")
	boom := errors.New("boom")
	for stop := 1; stop <= 4; stop++ {
		for _, fail := range []error{nil, boom} {
			n := 0
			err := s.View(t.Context(), func(r metastore.Reader) error {
				return r.Scan(metastore.Range{}, func(_, _ []byte) (bool, error) {
					n++
					if n == stop {
						return false, fail
					}
					return true, nil
				})
			})
			require.Equal(t, fail, err)
			require.Equal(t, stop, n)
		}
	}
}

func testOwnWrites(t *testing.T, s metastore.Store) {
	set(t, s, "a", "1", "b", "2", "c", "3")
	require.NoError(t, s.Sync(t.Context()))
	set(t, s, "d", "4")
	require.NoError(t, s.Update(t.Context(), metastore.Ordered, func(txn metastore.Txn) error {
		require.NoError(t, txn.Set([]byte("b"), []byte("20")))
		require.NoError(t, txn.Delete([]byte("c")))
		require.NoError(t, txn.Delete([]byte("d")))
		require.NoError(t, txn.Set([]byte("aa"), []byte("10")))
		require.NoError(t, txn.Set([]byte("z"), []byte("26")))
		require.NoError(t, txn.Set([]byte("y"), []byte("25")))
		require.NoError(t, txn.Delete([]byte("y")))
		_, err := txn.Get([]byte("c"))
		require.ErrorIs(t, err, metastore.ErrNotFound)
		v, err := txn.Get([]byte("b"))
		require.NoError(t, err)
		require.Equal(t, "20", string(v))
		got, err := dump(txn, metastore.Range{})
		require.NoError(t, err)
		require.Equal(t, []string{"a=1", "aa=10", "b=20", "z=26"}, got)
		got, err = dump(txn, metastore.Range{From: []byte("aa"), To: []byte("z")})
		require.NoError(t, err)
		require.Equal(t, []string{"aa=10", "b=20"}, got)
		return nil
	}))
	require.Equal(t, []string{"a=1", "aa=10", "b=20", "z=26"}, dumpAll(t, s))
}

func testNestedReads(t *testing.T, s metastore.Store) {
	for i := range 20 {
		set(t, s, fmt.Sprintf("k%02d", i), fmt.Sprint(i))
		if i == 10 {
			require.NoError(t, s.Sync(t.Context()))
		}
	}
	require.NoError(t, s.View(t.Context(), func(r metastore.Reader) error {
		n := 0
		err := r.Scan(metastore.Range{}, func(k, v []byte) (bool, error) {
			inner, err := dump(r, metastore.Range{From: k})
			require.NoError(t, err)
			require.Len(t, inner, 20-n)
			got, err := r.Get(k)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(n), string(got))
			require.Equal(t, fmt.Sprint(n), string(v), "unharmed by the inner reads")
			n++
			return true, nil
		})
		require.Equal(t, 20, n)
		return err
	}))
	// An update inside a scan: the scan goes on as it began.
	require.NoError(t, s.Update(t.Context(), metastore.Ordered, func(txn metastore.Txn) error {
		n := 0
		return errors.Join(txn.Set([]byte("k05x"), nil), txn.Scan(metastore.Range{}, func(k, _ []byte) (bool, error) {
			n++
			require.LessOrEqual(t, n, 21)
			return true, errors.Join(txn.Delete(k), txn.Set(append([]byte("z"), k...), nil))
		}))
	}))
	require.Len(t, dumpAll(t, s), 21)
}

func testFailedUpdate(t *testing.T, s metastore.Store) {
	boom := errors.New("boom")
	err := s.Update(t.Context(), metastore.Durable, func(txn metastore.Txn) error {
		require.NoError(t, txn.Set([]byte("a"), []byte("1")))
		return boom
	})
	require.Equal(t, boom, err)
	require.Empty(t, dumpAll(t, s))
	require.Equal(t, boom, s.View(t.Context(), func(metastore.Reader) error { return boom }))
}

func testLimits(t *testing.T, s metastore.Store) {
	update := func(fn func(metastore.Txn) error) error {
		return s.Update(t.Context(), metastore.Durable, fn)
	}
	fill := func(keys, size int) func(metastore.Txn) error {
		return func(txn metastore.Txn) error {
			for i := range keys {
				key := fmt.Appendf(nil, "%08d", i)
				if err := txn.Set(key, bytes.Repeat([]byte{1}, size)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	big, long := make([]byte, metastore.MaxValueBytes), make([]byte, metastore.MaxKeyBytes)
	require.NoError(t, update(func(txn metastore.Txn) error { return txn.Set(long, big) }))
	remove(t, s, string(long))
	ignore := func(txn metastore.Txn) error {
		_ = txn.Set([]byte("k"), nil)
		return nil
	}
	for name, fn := range map[string]func(metastore.Txn) error{
		"value":          func(txn metastore.Txn) error { return txn.Set([]byte("k"), append(big, 0)) },
		"key":            func(txn metastore.Txn) error { return txn.Set(append(long, 0), nil) },
		"deleted key":    func(txn metastore.Txn) error { return txn.Delete(append(long, 0)) },
		"keys":           fill(metastore.MaxUpdateKeys+1, 0),
		"bytes":          fill(17, 64<<10-8),
		"ignored errors": func(txn metastore.Txn) error { _ = txn.Set([]byte("k"), append(big, 0)); return ignore(txn) },
	} {
		require.ErrorIs(t, update(fn), metastore.ErrTooBig, name)
		require.Empty(t, dumpAll(t, s), name)
	}
	// All that the limits allow, at once: as many keys as there may be, as many bytes as there may be.
	per := metastore.MaxUpdateBytes/metastore.MaxUpdateKeys - 8
	require.NoError(t, update(fill(metastore.MaxUpdateKeys, per)))
	require.Len(t, dumpAll(t, s), metastore.MaxUpdateKeys)
	require.NoError(t, update(fill(16, 64<<10-8)))
	require.NoError(t, update(func(txn metastore.Txn) error { // a key that is set again counts once
		for range 100 {
			if err := txn.Set([]byte("k"), big); err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(t, update(func(txn metastore.Txn) error {
		for i := range metastore.MaxUpdateKeys {
			if err := txn.Delete(fmt.Appendf(nil, "%08d", i)); err != nil {
				return err
			}
		}
		return nil
	}))
	require.Len(t, dumpAll(t, s), 1)
}

func testCancelled(t *testing.T, s metastore.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	require.ErrorIs(t, s.View(ctx, func(metastore.Reader) error { ran = true; return nil }), context.Canceled)
	require.ErrorIs(t, s.Update(ctx, metastore.Ordered, func(txn metastore.Txn) error {
		ran = true
		return txn.Set([]byte("a"), nil)
	}), context.Canceled)
	require.ErrorIs(t, s.Sync(ctx), context.Canceled)
	require.False(t, ran)
	require.Empty(t, dumpAll(t, s))
}

func testDurableAndSync(t *testing.T, s metastore.Store) {
	require.NoError(t, s.Sync(t.Context()), "of nothing")
	for i, d := range []metastore.Durability{metastore.Ordered, metastore.Durable, metastore.Reclaim, metastore.DurableReclaim} {
		require.NoError(t, s.Update(t.Context(), d, func(txn metastore.Txn) error {
			return txn.Set([]byte{byte(i)}, []byte("v"))
		}))
		require.Len(t, dumpAll(t, s), i+1)
	}
	require.NoError(t, s.Sync(t.Context()))
	start := time.Now()
	require.NoError(t, s.Update(t.Context(), metastore.Durable, func(txn metastore.Txn) error {
		_, err := txn.Get([]byte{0})
		return err
	}), "a durable update that writes nothing")
	require.Less(t, time.Since(start), 5*time.Second)
}

func testClosed(t *testing.T, s metastore.Store) {
	set(t, s, "a", "1")
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Close(), metastore.ErrClosed)
	require.ErrorIs(t, s.Sync(t.Context()), metastore.ErrClosed)
	require.ErrorIs(t, s.View(t.Context(), func(metastore.Reader) error { return nil }), metastore.ErrClosed)
	require.ErrorIs(t, s.Update(t.Context(), metastore.Ordered, func(metastore.Txn) error { return nil }), metastore.ErrClosed)
}
