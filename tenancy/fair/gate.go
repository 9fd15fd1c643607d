package fair

import (
	"context"
	"runtime"
	"sync"
	"time"

	"k3fs/tenancy"
)

// Gate gives tenants that want the node at the same time equal parts of it. As long as one tenant alone works, it only
// counts. Once others come, the work under way is bounded, and a part that one does not want the others may have.
//
// Nobody is anonymous callers' tenant: number 0, one for all of them.
type Gate struct {
	slots int
	now   func() time.Time

	mu      sync.Mutex
	tenants map[tenancy.TenantID]*share // guarded by mu: those that work, wait, or did lately
	swept   time.Time                   // guarded by mu
}

// share is a tenant's part. Its fields are guarded by Gate.mu.
type share struct {
	working int
	waiting []chan struct{} // first in, first out; closed when it is their turn
	last    time.Time       // when it last wanted something
}

// memory is how long a tenant's part is kept for it after it last wanted something.
const memory = 500 * time.Millisecond

// stall is how long work waits for a client's network before its place goes to another.
const stall = 5 * time.Millisecond

// NewGate makes a gate with as many places as there are processors, for when tenants compete. With more, one tenant's
// requests keep all processors busy, and each step of another's commit (the log's sync, the journal's thread) waits in
// the kernel's queue: its p99 beside 64 clients was twice as long and more with two places a processor as with
// one, at the same throughput of the 64 (docs/benchmarks.md).
func NewGate() *Gate {
	return &Gate{slots: runtime.GOMAXPROCS(0), now: time.Now, tenants: map[tenancy.TenantID]*share{}}
}

// Pass is the permission to work. It is used by one goroutine. A nil Pass works without one.
type Pass struct {
	gate *Gate
	who  tenancy.TenantID

	mu    sync.Mutex
	has   bool // guarded by mu: it has a place
	times int  // guarded by mu: how many it has had
}

// Enter waits until the tenant may work. Leave ends it. A nil gate is open.
func (g *Gate) Enter(ctx context.Context, t tenancy.TenantID) (*Pass, error) {
	if g == nil {
		return nil, nil
	}
	p := &Pass{gate: g, who: t}
	return p, p.enter(ctx)
}

// EnterWithin is Enter for work that others who have a place may wait for: when most has passed, or ctx ended, it goes
// on without one.
func (g *Gate) EnterWithin(ctx context.Context, t tenancy.TenantID, most time.Duration) *Pass {
	if g == nil {
		return nil
	}
	p := &Pass{gate: g, who: t}
	turn := g.ask(p)
	if turn == nil {
		return p
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-turn:
		p.take()
	case <-timer.C:
		g.giveUp(t, turn)
	case <-ctx.Done():
		g.giveUp(t, turn)
	}
	return p
}

func (p *Pass) enter(ctx context.Context) error {
	turn := p.gate.ask(p)
	if turn == nil {
		return nil
	}
	select {
	case <-turn:
		p.take()
		return nil
	case <-ctx.Done():
		p.gate.giveUp(p.who, turn)
		return ctx.Err()
	}
}

func (p *Pass) take() {
	p.mu.Lock()
	p.has = true
	p.times++
	p.mu.Unlock()
}

// ask takes a place for p, or returns what is closed when there is one.
func (g *Gate) ask(p *Pass) (turn chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.sweep(now)
	s := g.tenants[p.who]
	if s == nil {
		s = &share{}
		g.tenants[p.who] = s
	}
	s.last = now
	if len(s.waiting) == 0 && s.working < g.allowed(s) {
		s.working++
		p.take()
		return nil
	}
	turn = make(chan struct{})
	s.waiting = append(s.waiting, turn)
	return turn
}

// sweep forgets, once in a while, who has wanted nothing for a while. g.mu must be held.
func (g *Gate) sweep(now time.Time) {
	if now.Sub(g.swept) < memory/4 {
		return
	}
	g.swept = now
	gone := false
	for t, s := range g.tenants {
		if s.working == 0 && len(s.waiting) == 0 && now.Sub(s.last) > memory {
			delete(g.tenants, t)
			gone = true
		}
	}
	if gone {
		g.admit()
	}
}

// allowed is how many of a tenant may work: its equal part, and what the others leave of theirs but for one place each,
// so that they need not wait. g.mu must be held.
func (g *Gate) allowed(s *share) int {
	if len(g.tenants) == 1 {
		return 1 << 30
	}
	part := max(1, g.slots/len(g.tenants))
	left := g.slots
	for _, other := range g.tenants {
		if other != s {
			left -= min(part, other.working+len(other.waiting)+1)
		}
	}
	return max(part, left)
}

// admit lets in who may now. g.mu must be held.
func (g *Gate) admit() {
	for _, s := range g.tenants {
		for len(s.waiting) > 0 && s.working < g.allowed(s) {
			close(s.waiting[0])
			s.waiting = s.waiting[1:]
			s.working++
		}
	}
}

// giveUp takes back a question, or the place that it was answered with meanwhile.
func (g *Gate) giveUp(t tenancy.TenantID, turn chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.tenants[t]
	for i, w := range s.waiting {
		if w == turn {
			s.waiting = append(s.waiting[:i:i], s.waiting[i+1:]...)
			return
		}
	}
	s.working--
	g.admit()
}

// Leave gives the place back. It may be called more than once.
func (p *Pass) Leave() {
	if p == nil {
		return
	}
	p.leave(0)
}

// leave gives back the place that is the n-th which p has had; 0: any.
func (p *Pass) leave(n int) {
	p.mu.Lock()
	had := p.has && (n == 0 || n == p.times)
	if had {
		p.has = false
	}
	p.mu.Unlock()
	if !had {
		return
	}
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.tenants[p.who]
	s.working--
	s.last = g.now()
	if len(g.tenants) > 1 {
		g.sweep(s.last)
		g.admit()
	}
}

// Outside runs fn, which waits for a client: if that takes long, the place goes to another meanwhile.
func (p *Pass) Outside(ctx context.Context, fn func()) error {
	if p == nil {
		fn()
		return nil
	}
	p.mu.Lock()
	n := p.times
	p.mu.Unlock()
	timer := time.AfterFunc(stall, func() { p.leave(n) })
	fn()
	if timer.Stop() {
		return nil
	}
	p.Leave() // the timer may be about to: then there is nothing left for it
	return p.enter(ctx)
}
