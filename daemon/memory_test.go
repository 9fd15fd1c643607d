package daemon

import (
	"log/slog"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// The heap's limit grows with the connections that clients hold, and comes back.
func TestMemoryLimitFollowsConnections(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	t.Setenv("GOMEMLIMIT", "")
	m := &memoryLimit{base: 1 << 30, most: 1<<30 + 15<<20, log: slog.New(slog.DiscardHandler)}
	limit := func() int64 { return debug.SetMemoryLimit(-1) - 1<<30 }
	m.set(0)
	require.Zero(t, limit())
	for range 2 * roomStep {
		m.count(1, 10<<10)
	}
	require.EqualValues(t, 2*roomStep*10<<10, limit())
	for range roomStep + 1 {
		m.count(-1, 10<<10)
	}
	require.Zero(t, limit(), "one step is left to come and go in")
	for range 10 * roomStep {
		m.count(1, 10<<10)
	}
	require.EqualValues(t, 15<<20, limit(), "never beyond what the machine gives")
	for range 10*roomStep + roomStep - 1 {
		m.count(-1, 10<<10)
	}
	require.Zero(t, limit())
}
