package chunkstore_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
)

func TestOS(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func(t *testing.T) *chunkstore.Store {
		dir, keys := t.TempDir(), &storetest.Keys{}
		return func(t *testing.T) *chunkstore.Store {
			s, err := chunkstore.Open(context.Background(), chunkstore.Options{
				Dir: dir, Keys: keys, SegmentSize: 16 << 20, Logger: storetest.Discard,
			})
			require.NoError(t, err)
			t.Cleanup(func() { s.Close() })
			return s
		}
	})
}

func TestMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func(t *testing.T) *chunkstore.Store {
		fs, keys := storetest.NewCrashFS(), &storetest.Keys{}
		return func(t *testing.T) *chunkstore.Store { return storetest.Open(t, fs, keys) }
	})
}
