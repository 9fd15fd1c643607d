package chunkstore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The cache counts what it was asked for and had, and what it had not.
func TestTOCCacheCountsItsUse(t *testing.T) {
	c := newTOCCache(1 << 20)
	for n := range uint64(100) {
		require.Nil(t, c.get(frameKey{segment: n}))
		c.put(frameKey{segment: n}, &toc{id: frameID{segment: n}})
		require.NotNil(t, c.get(frameKey{segment: n}))
		require.NotNil(t, c.get(frameKey{segment: n}))
	}
	hits, misses := c.used()
	require.Equal(t, []uint64{200, 100}, []uint64{hits, misses})
}
