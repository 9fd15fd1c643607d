package badgerkv

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"k3fs/metastore"
	"k3fs/metastore/kvtest"
)

func testOptions(dir string) Options {
	return Options{Dir: dir, Key: [32]byte{1, 2, 3}, Ballast: -1, LowWater: 1}
}

func mustOpen(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	require.NoError(t, err)
	return s
}

func TestConformance(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) metastore.Store { return mustOpen(t, testOptions(t.TempDir())) })
}

func TestReopen(t *testing.T) {
	kvtest.RunReopen(t, func(t *testing.T) kvtest.Reopen {
		dir := t.TempDir()
		return func() metastore.Store { return mustOpen(t, testOptions(dir)) }
	})
}

// TestCloseEndsAll looks at one store, since Badger leaves goroutines behind when it fails to open.
func TestCloseEndsAll(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s := mustOpen(t, testOptions(t.TempDir()))
	write(t, s, "a", "1")
	require.NoError(t, s.Close())
	goleak.VerifyNone(t, before)
}
