package nstest

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/chunkstore/storetest"
	"k3fs/metastore/memkv"
)

var (
	crashStates = flag.Int("crash-states", 4000, "power cuts to explore")
	crashSeed   = flag.Uint64("crash-seed", 1, "the first seed")
)

// TestPowerCuts explores crash states; CI asks for many more (scripts/crash).
func TestPowerCuts(t *testing.T) {
	want := *crashStates
	if testing.Short() {
		want = min(want, 500)
	}
	var done, seed atomic.Int64
	t.Cleanup(func() { t.Logf("%d crash states explored", done.Load()) })
	for worker := range 2 {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			for done.Load() < int64(want) {
				s := *crashSeed + uint64(seed.Add(1))
				n := Explore(t, Options{Seed: s, Ops: 100, PerOp: 3, Versioned: s%2 == 0, Locked: s%4 == 0})
				require.Positive(t, n)
				done.Add(int64(n))
			}
		})
	}
}

// failures is a testing.TB that notes that the test failed, and ends it.
type failures struct {
	testing.TB
	failed bool
}

func (f *failures) Errorf(string, ...any) { f.failed = true }
func (f *failures) FailNow()              { f.failed = true; runtime.Goexit() }
func (f *failures) Helper()               {}

// TestExploringSeesLosses is the control: a barrier that does not wait for the data must be found out.
func TestExploringSeesLosses(t *testing.T) {
	none := func(*chunkstore.Store) func(context.Context) error {
		return func(context.Context) error { return nil }
	}
	f := &failures{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for seed := range uint64(20) {
			w, err := openWith(storetest.NewCrashFS(), memkv.New(memkv.Options{}), &Authority{}, none)
			require.NoError(f, err)
			explore(f, w.begin(f), Options{Seed: seed, Ops: 39, PerOp: 3})
		}
	}()
	<-done
	require.True(t, f.failed, "data that was never synced went unnoticed")
}
