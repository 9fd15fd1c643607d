// Package kstest is the conformance suite of key services.
package kstest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/tenancy/keyservice"
)

// Fixture is a service under test.
type Fixture struct {
	Service keyservice.Service
	// SetAway takes the service away and brings it back; nil if the test can't.
	SetAway func(away bool)
}

// Run tests a service.
func Run(t *testing.T, fresh func(t *testing.T) Fixture) {
	t.Run("round trip", func(t *testing.T) { roundTrip(t, fresh(t).Service) })
	t.Run("context", func(t *testing.T) { bound(t, fresh(t).Service) })
	t.Run("damage", func(t *testing.T) { damage(t, fresh(t).Service) })
	t.Run("side by side", func(t *testing.T) { sideBySide(t, fresh(t).Service) })
	t.Run("away", func(t *testing.T) { away(t, fresh(t)) })
	t.Run("cancelled", func(t *testing.T) { cancelled(t, fresh(t).Service) })
}

func about(tenant, epoch string) keyservice.Context {
	return keyservice.Context{keyservice.ContextTenant: tenant, "k3fs-epoch": epoch}
}

func roundTrip(t *testing.T, s keyservice.Service) {
	require.NotEmpty(t, s.Name())
	require.NoError(t, keyservice.Health(t.Context(), s))
	for _, n := range []int{1, 32, keyservice.MaxPlain} {
		plain := bytes.Repeat([]byte{7, 0, 255}, n)[:n]
		wrapped, err := s.Wrap(t.Context(), plain, about("1", "1"))
		require.NoError(t, err)
		if n > 8 {
			require.NotContains(t, string(wrapped), string(plain))
		}
		again, err := s.Wrap(t.Context(), plain, about("1", "1"))
		require.NoError(t, err)
		require.NotEqual(t, wrapped, again, "the same key wrapped twice must not show that it is the same")
		for _, w := range [][]byte{wrapped, again} {
			got, err := s.Unwrap(t.Context(), w, about("1", "1"))
			require.NoError(t, err)
			require.Equal(t, plain, got)
		}
	}
}

func bound(t *testing.T, s keyservice.Service) {
	wrapped, err := s.Wrap(t.Context(), []byte("a key"), about("1", "1"))
	require.NoError(t, err)
	for _, other := range []keyservice.Context{about("2", "1"), about("1", "2"), {keyservice.ContextTenant: "1"}, {}} {
		_, err := s.Unwrap(t.Context(), wrapped, other)
		require.ErrorIs(t, err, keyservice.ErrRefused, "%v", other)
	}
}

func damage(t *testing.T, s keyservice.Service) {
	wrapped, err := s.Wrap(t.Context(), []byte("a key"), about("1", "1"))
	require.NoError(t, err)
	bent := bytes.Clone(wrapped)
	bent[len(bent)-3] ^= 4
	for _, bad := range [][]byte{bent, wrapped[:len(wrapped)/2], []byte("nothing of ours"), {}} {
		_, err := s.Unwrap(t.Context(), bad, about("1", "1"))
		require.ErrorIs(t, err, keyservice.ErrRefused, "%q", bad)
		require.NotContains(t, err.Error(), "a key")
	}
}

func sideBySide(t *testing.T, s keyservice.Service) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			plain := []byte{byte(i), 1, 2, 3}
			wrapped, err := s.Wrap(t.Context(), plain, about("1", "1"))
			if err == nil {
				var got []byte
				if got, err = s.Unwrap(t.Context(), wrapped, about("1", "1")); err == nil && !bytes.Equal(got, plain) {
					err = errors.New("another key came back")
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func away(t *testing.T, f Fixture) {
	if f.SetAway == nil {
		return // a service inside of the process does not go away
	}
	wrapped, err := f.Service.Wrap(t.Context(), []byte("a key"), about("1", "1"))
	require.NoError(t, err)
	f.SetAway(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = f.Service.Unwrap(ctx, wrapped, about("1", "1"))
	require.ErrorIs(t, err, keyservice.ErrAway)
	_, err = f.Service.Wrap(ctx, []byte("a key"), about("1", "1"))
	require.ErrorIs(t, err, keyservice.ErrAway)
	require.ErrorIs(t, keyservice.Health(ctx, f.Service), keyservice.ErrAway)
	f.SetAway(false)
	got, err := f.Service.Unwrap(ctx, wrapped, about("1", "1"))
	require.NoError(t, err)
	require.Equal(t, []byte("a key"), got)
}

func cancelled(t *testing.T, s keyservice.Service) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Wrap(ctx, []byte("a key"), about("1", "1"))
	require.Error(t, err)
}
