package daemon

import (
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// What a connection adds to the limit: less than it takes, since the limit has room for some thousands. A heap
// that is full of idle connections would be collected without end, at the cost of those who work.
const (
	roomPlain = 10 << 10
	roomTLS   = 24 << 10
	roomStep  = 512 // connections by which the limit moves
)

// limitMemory sets the soft limit of the Go heap: the configured one, or nine tenths of the cgroup's if
// that is less. GOMEMLIMIT, if set, is left alone.
func limitMemory(limit Size, log *slog.Logger) { newMemoryLimit(limit, log).set(0) }

// memoryLimit is the soft limit of the Go heap, which grows with the connections that clients hold. mu is a leaf.
type memoryLimit struct {
	base, most int64 // bytes without connections, and at most; 0: the limit is not ours to set
	log        *slog.Logger

	mu    sync.Mutex
	conns int
	steps int // of connections that the limit has room for
}

func newMemoryLimit(limit Size, log *slog.Logger) *memoryLimit {
	m := &memoryLimit{log: log}
	if os.Getenv("GOMEMLIMIT") != "" {
		return m
	}
	m.base, m.most = int64(limit), math.MaxInt64
	if group, err := memlimit.FromCgroup(); err == nil && group < math.MaxInt64 {
		m.most = int64(group) / 10 * 9
	}
	return m
}

// set moves the limit to the base and so many bytes of connections.
func (m *memoryLimit) set(more int64) {
	if m.base == 0 {
		return
	}
	bytes := min(m.base+more, m.most)
	debug.SetMemoryLimit(bytes)
	m.log.Debug("memory limited", "bytes", bytes)
}

// watch counts the connections of a server, each worth room bytes.
func (m *memoryLimit) watch(s *http.Server, room int64) {
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			m.count(1, room)
		case http.StateClosed, http.StateHijacked:
			m.count(-1, room)
		}
	}
}

func (m *memoryLimit) count(n int, room int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns += n
	// Up as soon as there is a step more, down only after two less: each move stops the program for a moment.
	if at := m.conns / roomStep; at > m.steps || at < m.steps-1 {
		m.steps = at
		m.set(int64(at) * roomStep * room)
	}
}
