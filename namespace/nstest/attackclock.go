package nstest

import (
	"fmt"
	"sync"
	"time"
)

// host is a machine whose clock the attacker sets. Its methods are safe for concurrent use.
type host struct {
	mu    sync.Mutex
	truth time.Time     // what nobody can set
	skew  time.Duration // by how much the host's clock is off
	boots int
	boot  time.Time // when it was booted, in truth

	believed
}

// believed is the attack's own account of what locks may believe to be the time. Guarded by the host's mu.
type believed struct {
	now    time.Time     // the latest time that they may have seen
	origin time.Time     // where this boot's count begins,
	at     time.Time     // and when, in truth
	ahead  time.Duration // how far the host's clock was followed beyond the count
	allow  time.Duration // how far it may be
	lost   bool          // the host was booted with a clock that can't be believed
}

// What the documentation says that the host's clock is believed.
const (
	maxJump = 25 * time.Hour
	maxOff  = 30 * 24 * time.Hour
)

func newHost() *host {
	begin := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	h := &host{truth: begin, boot: begin}
	h.begin(begin, maxJump)
	return h
}

// begin begins a count at a time. mu must be held, or nobody else know h.
func (h *host) begin(now time.Time, allow time.Duration) {
	h.believed = believed{now: now, origin: now, at: h.truth, allow: allow}
}

// Wall is the host's clock.
func (h *host) Wall() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.truth.Add(h.skew)
}

// Boot is the clock that counts since the boot.
func (h *host) Boot() (string, time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprintf("boot %d", h.boots), h.truth.Sub(h.boot)
}

// Now is the latest time that locks may believe it is.
func (h *host) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.believed.now
}

// change changes the clocks, and follows them.
func (h *host) change(what func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	what()
	wall := h.truth.Add(h.skew)
	if h.lost {
		if wall.Sub(h.now) > maxOff {
			return
		}
		h.restarted(wall)
	}
	counted := h.origin.Add(h.truth.Sub(h.at))
	if ahead := wall.Sub(counted); ahead > h.allow {
		return
	} else if ahead > h.ahead {
		h.ahead = ahead
	}
	if now := counted.Add(h.ahead); now.After(h.now) {
		h.believed.now = now
	}
}

// restarted is what a new boot makes of the host's clock. mu must be held.
func (h *host) restarted(wall time.Time) {
	switch ahead := wall.Sub(h.now); {
	case ahead > maxOff:
		h.lost = true
	case ahead > 0:
		// A kill before this is stored lets it be found again, from the clock that it then shows.
		h.begin(wall, maxOff-ahead+maxJump)
	default:
		h.begin(h.now, maxOff)
	}
}

// reboot boots the host.
func (h *host) reboot() {
	h.change(func() {
		h.boots++
		h.boot = h.truth
		h.restarted(h.truth.Add(h.skew))
	})
}

// confirmed is that an operator said that the host's clock is right.
func (h *host) confirmed() {
	h.change(func() {
		now := h.truth.Add(h.skew)
		if h.now.After(now) {
			now = h.now
		}
		h.begin(now, maxJump)
	})
}
