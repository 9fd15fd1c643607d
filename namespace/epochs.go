package namespace

import "sync"

// epochs puts off the release of what a draft replaced until the reads that may still use it have ended.
type epochs struct {
	mu   sync.Mutex
	live []*epoch // oldest first; the last is the current one
}

type epoch struct {
	readers int
	retired []func() // run once this and all older epochs have no readers
}

// enter begins a read of what the map says now. file.mu must be held, so that nothing is retired between
// the look at the map and the entry.
func (es *epochs) enter() *epoch {
	es.mu.Lock()
	defer es.mu.Unlock()
	if len(es.live) == 0 {
		es.live = append(es.live, &epoch{})
	}
	e := es.live[len(es.live)-1]
	e.readers++
	return e
}

func (es *epochs) leave(e *epoch) {
	es.mu.Lock()
	e.readers--
	run := es.drain()
	es.mu.Unlock()
	for _, release := range run {
		release()
	}
}

// retire runs release once no read that began before can still use what it gives back.
func (es *epochs) retire(release func()) {
	es.mu.Lock()
	idle := len(es.live) == 0 || len(es.live) == 1 && es.live[0].readers == 0
	if !idle {
		current := es.live[len(es.live)-1]
		current.retired = append(current.retired, release)
		if current.readers > 0 {
			es.live = append(es.live, &epoch{})
		}
	}
	es.mu.Unlock()
	if idle {
		release()
	}
}

// drain takes out what may be released. es.mu must be held.
func (es *epochs) drain() []func() {
	var run []func()
	for len(es.live) > 0 && es.live[0].readers == 0 {
		run = append(run, es.live[0].retired...)
		es.live[0].retired = nil
		if len(es.live) == 1 {
			break
		}
		es.live = es.live[1:]
	}
	return run
}
