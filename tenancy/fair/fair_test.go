package fair

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/tenancy"
)

func newGate(slots int) *Gate {
	g := NewGate()
	g.slots = slots
	return g
}

// enter reports whether a tenant may work at once; the bubble's other goroutines are all waiting.
func enter(t *testing.T, g *Gate, who tenancy.TenantID) (p *Pass, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
	defer cancel()
	p, err := g.Enter(ctx, who)
	return p, err == nil
}

// One tenant alone is not bounded; beside another it has what that leaves, and the other waits for nobody.
func TestGateShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(8)
		var a []*Pass
		for range 50 {
			p, ok := enter(t, g, 1)
			require.True(t, ok)
			a = append(a, p)
		}
		for range 4 {
			_, ok := enter(t, g, 2)
			require.True(t, ok, "its part is its own at once")
		}
		_, ok := enter(t, g, 2)
		require.False(t, ok)
		_, ok = enter(t, g, 1)
		require.False(t, ok)
		for _, p := range a[:46] {
			p.Leave()
			p.Leave()
		}
		_, ok = enter(t, g, 1)
		require.False(t, ok, "4 of 8 are its part while the other wants 4")
		a[46].Leave()
		_, ok = enter(t, g, 1)
		require.True(t, ok)
	})
}

// A part that is not wanted goes to others, but for one place; and all of it when its owner has been away for a while.
func TestGateConservesWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(8)
		b, ok := enter(t, g, 2)
		require.True(t, ok)
		n := 0
		for ; ; n++ {
			if _, ok := enter(t, g, 1); !ok {
				break
			}
		}
		require.Equal(t, 6, n)
		b.Leave()
		time.Sleep(2 * memory)
		for range 50 {
			_, ok := enter(t, g, 1)
			require.True(t, ok)
		}
	})
}

// Who waits is let in in turn, and none is lost, whoever gives up.
func TestGateManyWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(4)
		var wg sync.WaitGroup
		done := map[tenancy.TenantID]int{}
		var mu sync.Mutex
		for i := range 300 {
			wg.Go(func() {
				who := tenancy.TenantID(i % 3)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
				defer cancel()
				p, err := g.Enter(ctx, who)
				if err != nil {
					return
				}
				time.Sleep(3 * time.Millisecond)
				require.NoError(t, p.Outside(t.Context(), func() { time.Sleep(time.Duration(i%12) * time.Millisecond) }))
				p.Leave()
				mu.Lock()
				done[who]++
				mu.Unlock()
			})
		}
		wg.Wait()
		for who := range tenancy.TenantID(3) {
			require.Greater(t, done[who], 20)
			require.Zero(t, g.tenants[who].working)
			require.Empty(t, g.tenants[who].waiting)
		}
	})
}

// While a client is slow its place is another's.
func TestGateOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2)
		_, ok := enter(t, g, 2)
		require.True(t, ok)
		slow, ok := enter(t, g, 1)
		require.True(t, ok)
		waited := make(chan struct{})
		go func() {
			defer close(waited)
			require.NoError(t, slow.Outside(t.Context(), func() { time.Sleep(time.Hour) }))
		}()
		synctest.Wait()
		_, ok = enter(t, g, 1)
		require.False(t, ok)
		time.Sleep(2 * stall)
		other, ok := enter(t, g, 1)
		require.True(t, ok)
		other.Leave()
		<-waited
	})
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := tenancy.Limits{}
		l := NewLimiter(func(id tenancy.TenantID) tenancy.Limits {
			if id == 1 {
				return limits
			}
			return tenancy.Limits{}
		})
		for range 1000 {
			require.Zero(t, l.Admit(1))
		}
		limits = tenancy.Limits{Requests: 10, WriteBytes: 1000}
		for range 10 {
			require.Zero(t, l.Admit(1))
		}
		require.Equal(t, 100*time.Millisecond, l.Admit(1))
		require.Zero(t, l.Admit(2))
		time.Sleep(100 * time.Millisecond)
		require.Zero(t, l.Admit(1))
		begun := time.Now()
		require.NoError(t, l.Request(t.Context(), 1))
		require.Equal(t, 100*time.Millisecond, time.Since(begun))
		begun = time.Now()
		require.NoError(t, l.Write(t.Context(), 1, 5000))
		require.Equal(t, 4*time.Second, time.Since(begun))
		require.NoError(t, l.Read(t.Context(), 1, 1<<30), "without a limit")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, l.Write(ctx, 1, 1), context.Canceled)
		for range 4 {
			go func() { _ = l.Write(t.Context(), 1, 1000) }()
		}
		synctest.Wait()
		require.Greater(t, l.Admit(1), 3*time.Second, "what waits already is more than a second's worth")
		time.Sleep(time.Hour)
	})
}

// Work that others may wait for goes on without a place after a while, or when it is interrupted.
func TestGateEnterWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(4)
		_, ok := enter(t, g, 2)
		require.True(t, ok)
		a := g.EnterWithin(t.Context(), 1, time.Second)
		b := g.EnterWithin(t.Context(), 1, time.Second)
		began := time.Now()
		late := g.EnterWithin(t.Context(), 1, time.Second)
		require.Equal(t, time.Second, time.Since(began))
		late.Leave() // of no place
		_, ok = enter(t, g, 1)
		require.False(t, ok, "its places are taken")
		interrupted, cancel := context.WithCancel(t.Context())
		cancel()
		began = time.Now()
		g.EnterWithin(interrupted, 1, time.Second).Leave()
		require.Zero(t, time.Since(began))
		time.AfterFunc(time.Millisecond, a.Leave)
		c := g.EnterWithin(t.Context(), 1, time.Second)
		require.Equal(t, time.Millisecond, time.Since(began))
		b.Leave()
		c.Leave()
		require.Zero(t, g.tenants[1].working)
		require.Empty(t, g.tenants[1].waiting)
	})
	(*Gate)(nil).EnterWithin(t.Context(), 1, time.Second).Leave()
}
