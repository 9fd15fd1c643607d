package badgerkv

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"k3fs/metastore"
	"k3fs/metastore/kvtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
