package kvtest

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
)

const unbounded = math.MaxInt64

func count(t testing.TB, s metastore.Store, key string) (n int64) {
	t.Helper()
	require.NoError(t, s.View(t.Context(), func(r metastore.Reader) (err error) {
		n, err = metastore.Counter(r, []byte(key))
		return err
	}))
	return n
}

func testCounters(t *testing.T, s metastore.Store) {
	ctx, k := t.Context(), []byte("k")
	require.NoError(t, s.Update(ctx, metastore.Durable, func(txn metastore.Txn) error {
		require.NoError(t, txn.Add(k, 5, unbounded))
		require.NoError(t, txn.Add(k, -2, 0))
		n, err := txn.Count(k)
		require.Equal(t, int64(3), n)
		return err
	}))
	require.Equal(t, int64(3), count(t, s, "k"))
	exceeded := func(txn metastore.Txn) error { return errors.Join(txn.Set([]byte("beside"), nil), txn.Add(k, 8, 10)) }
	require.ErrorIs(t, s.Update(ctx, metastore.Ordered, exceeded), metastore.ErrExceeded)
	_, found := get(t, s, "beside")
	require.False(t, found)
	require.NoError(t, s.Update(ctx, metastore.Ordered, func(txn metastore.Txn) error { return txn.Add(k, 7, 10) }))
	require.NoError(t, s.Update(ctx, metastore.Ordered, func(txn metastore.Txn) error { return txn.Add(k, -1, 2) }), "less is always allowed")
	require.NoError(t, s.Update(ctx, metastore.Ordered, func(txn metastore.Txn) error { return txn.Add(k, -9, 0) }))
	_, found = get(t, s, "k")
	require.False(t, found, "a counter that is 0 is absent")
	for _, mixed := range []func(metastore.Txn) error{
		func(txn metastore.Txn) error { return errors.Join(txn.Set(k, nil), txn.Add(k, 1, unbounded)) },
		func(txn metastore.Txn) error { return errors.Join(txn.Add(k, 1, unbounded), txn.Delete(k)) },
	} {
		require.Error(t, s.Update(ctx, metastore.Ordered, mixed))
	}
}

// testCountersMeet: additions don't conflict, and a reader of the counter conflicts with them.
func testCountersMeet(t *testing.T, s metastore.Store) {
	k := []byte("k")
	var runs atomic.Int32
	add := func(txn metastore.Txn) error { runs.Add(1); return txn.Add(k, 1, unbounded) }
	race(t, s, add, add)
	require.Equal(t, int64(2), count(t, s, "k"))
	require.Equal(t, int32(2), runs.Load())
	race(t, s, func(txn metastore.Txn) error {
		n, err := metastore.Counter(txn, k)
		return errors.Join(err, txn.Set([]byte("copy"), metastore.EncodeCounter(n)))
	}, func(txn metastore.Txn) error {
		n, err := metastore.Counter(txn, []byte("copy"))
		return errors.Join(err, txn.Add(k, n+1, unbounded))
	})
	copied := count(t, s, "copy")
	require.True(t, copied == 2 && count(t, s, "k") == 5 || copied == 3 && count(t, s, "k") == 3, "one after the other")
}

// testBound: many that add at once never exceed a bound, and reach it.
func testBound(t *testing.T, s metastore.Store) {
	const workers, each, bound = 8, 20, 100
	var added atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				err := s.Update(t.Context(), metastore.Ordered, func(txn metastore.Txn) error { return txn.Add([]byte("k"), 1, bound) })
				if err == nil {
					added.Add(1)
				} else if !errors.Is(err, metastore.ErrExceeded) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, int64(bound), added.Load())
	require.Equal(t, int64(bound), count(t, s, "k"))
}
