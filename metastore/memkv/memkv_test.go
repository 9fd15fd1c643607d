package memkv_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/metastore"
	"k3fs/metastore/kvtest"
	"k3fs/metastore/memkv"
)

func TestConformance(t *testing.T) {
	kvtest.Run(t, func(*testing.T) metastore.Store { return memkv.New(memkv.Options{}) })
}

func put(t *testing.T, s *memkv.Store, d metastore.Durability, key string) error {
	return s.Update(t.Context(), d, func(txn metastore.Txn) error { return txn.Set([]byte(key), nil) })
}

func keys(t *testing.T, s *memkv.Store) (out string) {
	require.NoError(t, s.View(t.Context(), func(r metastore.Reader) error {
		return r.Scan(metastore.Range{}, func(k, _ []byte) (bool, error) {
			out += string(k)
			return true, nil
		})
	}))
	return out
}

func TestCrashLeavesAPrefix(t *testing.T) {
	s := memkv.New(memkv.Options{})
	for _, k := range []string{"a", "b"} {
		require.NoError(t, put(t, s, metastore.Ordered, k))
	}
	require.NoError(t, put(t, s, metastore.Durable, "c"))
	require.Zero(t, s.Pending())
	for _, k := range []string{"d", "e"} {
		require.NoError(t, put(t, s, metastore.Ordered, k))
	}
	require.Equal(t, 2, s.Pending())
	for keep, want := range []string{"abc", "abcd", "abcde"} {
		crashed := s.Crash(keep, memkv.Options{})
		require.Equal(t, want, keys(t, crashed))
		require.NoError(t, put(t, crashed, metastore.Ordered, "z"))
		require.Equal(t, want+"z", keys(t, crashed))
	}
	require.Equal(t, "abcde", keys(t, s))
}

func TestPendingIsBounded(t *testing.T) {
	s := memkv.New(memkv.Options{})
	for i := range 5000 {
		require.NoError(t, put(t, s, metastore.Ordered, fmt.Sprint(i)))
		require.LessOrEqual(t, s.Pending(), 1024)
	}
}

func TestBarrierFailureStops(t *testing.T) {
	boom := errors.New("boom")
	var fail error
	s := memkv.New(memkv.Options{Barrier: func(context.Context) error { return fail }})
	require.NoError(t, put(t, s, metastore.Durable, "a"))
	fail = boom
	require.ErrorIs(t, put(t, s, metastore.Durable, "b"), metastore.ErrStopped)
	fail = nil
	require.ErrorIs(t, put(t, s, metastore.Ordered, "c"), metastore.ErrStopped)
	require.ErrorIs(t, s.Sync(t.Context()), metastore.ErrStopped)
	require.Equal(t, "a", keys(t, s.Crash(0, memkv.Options{})))
}
