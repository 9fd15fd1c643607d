package adminapi

import (
	"sync"
	"time"
)

// Bounds of nonces. Only who holds a secret adds one, and past maxNonces nobody is let in until some expire.
const (
	minNonce, maxNonce = 16, 64
	maxNonces          = 256 << 10
)

// nonces are those of requests whose signatures could still be taken.
type nonces struct {
	mu    sync.Mutex
	seen  map[string]time.Time // guarded by mu: when each may be forgotten
	swept time.Time            // guarded by mu
}

// use notes the one nonce of a request, and reports whether it is new.
func (n *nonces) use(accessKey string, values []string, until, now time.Time) bool {
	if len(values) != 1 || len(values[0]) < minNonce || len(values[0]) > maxNonce {
		return false
	}
	name := accessKey + "\x00" + values[0]
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.swept) > maxSkew/4 || len(n.seen) >= maxNonces && now.Sub(n.swept) > time.Second {
		for one, end := range n.seen {
			if now.After(end) {
				delete(n.seen, one)
			}
		}
		n.swept = now
	}
	if _, used := n.seen[name]; used || len(n.seen) >= maxNonces {
		return false
	}
	n.seen[name] = until
	return true
}
