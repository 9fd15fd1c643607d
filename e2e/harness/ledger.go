package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"time"
)

// Settled is how old an acknowledged but unsynced operation must be at a crash to count as durable. The
// promise is a second; the rest is room for a busy machine.
const Settled = 4 * time.Second

// absent is the state of a name that doesn't exist. Contents count from 1.
const absent = 0

// Ledger is what was acknowledged, kept outside of what crashes. Each name has one writer, so its
// history is a sequence of states: the newest one known to be durable, and those after it, of which a
// crash may leave any.
type Ledger struct {
	sizes Series // Min and Max of every name's series

	mu       sync.Mutex
	names    map[string]*history
	acks     int
	cutting  bool
	cutSince time.Time // zero until the power is gone
}

type history struct {
	seq     uint32 // the last content made up
	durable uint32
	later   []possible
}

type possible struct {
	state uint32
	began time.Time
	acked time.Time // zero: not acknowledged
}

// NewLedger returns an empty ledger for contents of these sizes.
func NewLedger(minSize, maxSize int) *Ledger {
	return &Ledger{sizes: Series{Min: minSize, Max: maxSize}, names: map[string]*history{}}
}

func (l *Ledger) series(name string) Series {
	s := l.sizes
	s.Name = name
	return s
}

func (l *Ledger) history(name string) *history {
	h := l.names[name]
	if h == nil {
		h = &history{}
		l.names[name] = h
	}
	return h
}

// Write notes, before the write is tried, that name may get a new content from now on.
func (l *Ledger) Write(name string) (seq uint32, body []byte) {
	l.mu.Lock()
	h := l.history(name)
	h.seq++
	seq = h.seq
	h.later = append(h.later, possible{state: seq, began: time.Now()})
	l.mu.Unlock()
	return seq, l.series(name).Body(seq)
}

// Remove notes, before the removal is tried, that name may vanish from now on.
func (l *Ledger) Remove(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.history(name)
	h.later = append(h.later, possible{state: absent, began: time.Now()})
}

// Durable notes that the newest state of name was acknowledged as durable.
func (l *Ledger) Durable(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.history(name)
	n := len(h.later)
	if n == 0 || l.cutting && (l.cutSince.IsZero() || h.later[n-1].began.Before(l.cutSince)) {
		return
	}
	h.durable, h.later = h.later[n-1].state, nil
	l.acks++
}

// Done notes that the newest state of name was acknowledged, without a promise that it is durable now.
func (l *Ledger) Done(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.history(name); len(h.later) > 0 && !l.cutting {
		h.later[len(h.later)-1].acked = time.Now()
	}
}

// PowerGoing is called right before a simulated power cut. No acknowledgement arrives while the real
// power goes, and a file system that is being shut down may answer fsync wrongly: operations under
// way from here on count as tried only.
func (l *Ledger) PowerGoing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cutting, l.cutSince = true, time.Time{}
}

// PowerGone is called once the disk is dead: an operation that begins from now on, and is acknowledged
// as durable all the same, was not made durable by anybody, and counts.
func (l *Ledger) PowerGone() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cutSince = time.Now()
}

// Acks is how many operations were acknowledged as durable.
func (l *Ledger) Acks() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks
}

// Names returns the names that were ever written.
func (l *Ledger) Names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := make([]string, 0, len(l.names))
	for name := range l.names {
		names = append(names, name)
	}
	return names
}

// Pick draws one of n names of a worker.
func Pick(rng *rand.Rand, worker string, n int) string {
	return fmt.Sprintf("%s/f%d", worker, rng.IntN(n))
}

// Crashed ends a round: what was acknowledged longer than Settled before the crash is durable by age.
// The zero time says that nothing became durable by age.
func (l *Ledger) Crashed(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cutting = false
	for _, h := range l.names {
		for i := len(h.later) - 1; i >= 0; i-- {
			if p := h.later[i]; !p.acked.IsZero() && at.Sub(p.acked) > Settled {
				h.durable, h.later = p.state, h.later[i+1:]
				break
			}
		}
	}
}

// Findings of Verify.
var (
	ErrLost  = errors.New("acknowledged write lost")
	ErrAlien = errors.New("a state that was never written")
)

// Verify compares what read returns for every name with what the ledger allows. read's error must
// wrap fs.ErrNotExist for a name that is absent. What was found counts as durable from then on.
func (l *Ledger) Verify(read func(name string) ([]byte, error)) []error {
	var problems []error
	for _, name := range l.Names() {
		if err := l.verify(name, read); err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

func (l *Ledger) verify(name string, read func(string) ([]byte, error)) error {
	state := uint32(absent)
	b, err := read(name)
	switch {
	case err == nil:
		if state, err = l.series(name).Check(b); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read %s: %w", name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.history(name)
	err = h.judge(name, state)
	h.durable, h.later = state, nil
	return err
}

func (h *history) judge(name string, state uint32) error {
	if state == h.durable {
		return nil
	}
	for _, p := range h.later {
		if p.state == state {
			return nil
		}
	}
	switch {
	case state == absent:
		return fmt.Errorf("%w: %s is absent, and content %d was durable", ErrLost, name, h.durable)
	case h.durable == absent:
		return fmt.Errorf("%w: %s holds content %d, and its removal was durable", ErrLost, name, state)
	case state < h.durable:
		return fmt.Errorf("%w: %s holds content %d, and content %d was durable", ErrLost, name, state, h.durable)
	}
	return fmt.Errorf("%w: %s holds content %d of %d made up", ErrAlien, name, state, h.seq)
}
