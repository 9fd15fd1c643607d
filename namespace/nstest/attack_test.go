package nstest

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

// number reads a number from the environment.
func number(t *testing.T, name string, without uint64) uint64 {
	s := os.Getenv(name)
	if s == "" {
		return without
	}
	n, err := strconv.ParseUint(s, 10, 64)
	require.NoError(t, err, name)
	return n
}

// TestAttack attacks locks and holds, K3FS_ATTACK_OPS times (50,000), from K3FS_ATTACK_SEED (1) on. A seed that failed
// is the first of its own replay.
func TestAttack(t *testing.T) {
	const batch = 2500
	first, want := number(t, "K3FS_ATTACK_SEED", 1), int64(number(t, "K3FS_ATTACK_OPS", 50_000))
	if testing.Short() {
		want = min(want, 2*batch)
	}
	t.Logf("K3FS_ATTACK_SEED=%d", first)
	var next, done, refused, versions atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d operations, %d refusals, %d versions in the end", done.Load(), refused.Load(), versions.Load())
	})
	for worker := range 2 {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			for {
				i := next.Add(1) - 1
				if i*batch >= want {
					return
				}
				r := Attack(t, AttackOptions{Seed: first + uint64(i), Ops: batch})
				done.Add(int64(r.Done))
				refused.Add(int64(r.Refused))
				versions.Add(int64(r.Versions))
			}
		})
	}
}

// TestAttackFindsBrokenRules is the control: an authority that lets an account bypass governance, or release holds,
// that it must not, and a clock that believes the host, must be found out.
func TestAttackFindsBrokenRules(t *testing.T) {
	for what, o := range map[string]AttackOptions{
		"bypass":  {authority: permitted{&Authority{}, tenancy.BypassGovernance}},
		"release": {authority: permitted{&Authority{}, tenancy.ReleaseHold}},
		"clock":   {believe: 100 * 365 * 24 * time.Hour},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := &failures{TB: t}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for seed := range uint64(20) {
					o.Seed, o.Ops = seed, 1000
					Attack(f, o)
				}
			}()
			<-ended
			require.True(t, f.failed, "it went unnoticed")
		})
	}
}
