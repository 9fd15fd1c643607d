// Package trusted is the clock by which locks expire. It owns the rule of what a wall clock may be believed, and
// nothing else: who sets the host's clock back, forward, or both, must not free data before its time.
//
// The clock stands on an origin and counts with the kernel's boot-time clock, which nobody can set and which goes on
// in sleep. It follows the wall clock forward by no more than a bound in all while the host runs: clocks are
// corrected, but not by days. Beyond the bound, also after a restart of the host, whose length nobody knows, it stands
// still, and with it every expiry, until an operator confirms the time. It never goes back: its floor is kept.
//
// A wall clock that is behind counts for nothing: locks then last as long as the boot-time clock says.
package trusted

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// Source is where time comes from.
type Source struct {
	Wall func() time.Time
	// Boot names the boot of the host, and says how long ago it was.
	Boot func() (id string, since time.Duration)
}

// Bounds say by how much the wall clock may run ahead of what is known.
type Bounds struct {
	Running time.Duration // while the host runs, in all
	Restart time.Duration // over a restart of the host
}

// State is what has to survive a restart.
type State struct {
	Floor  int64         // the latest time that the clock has shown, unix nanoseconds
	Boot   string        // the boot of the host that Origin belongs to
	Origin int64         // the time when that boot's clock showed Since
	Since  time.Duration // of the boot's clock
	Ahead  time.Duration // how much the wall clock was followed beyond that
	Allow  time.Duration // how much it may be
}

// Clock is a trusted clock. Its methods are safe for concurrent use.
type Clock struct {
	source Source
	bounds Bounds

	mu    sync.Mutex
	state State
}

// New goes on from a state that Encode gave; nil begins anew, at the wall clock's time.
func New(s Source, b Bounds, encoded []byte) (*Clock, error) {
	c := &Clock{source: s, bounds: b}
	boot, since := s.Boot()
	if encoded == nil {
		c.state = c.from(s.Wall().UnixNano(), boot, since, b.Running)
		return c, nil
	}
	if err := json.Unmarshal(encoded, &c.state); err != nil {
		return nil, fmt.Errorf("trusted clock: %w", err)
	}
	return c, nil
}

func (c *Clock) from(now int64, boot string, since, allow time.Duration) State {
	return State{Floor: now, Boot: boot, Origin: now, Since: since, Allow: allow}
}

// Reading is what the clock shows.
type Reading struct {
	Now    int64 // unix nanoseconds
	Wall   time.Time
	Frozen bool // the wall clock is further ahead than it may be: Now stands still
}

// Read reads the clock.
func (c *Clock) Read() Reading {
	wall := c.source.Wall()
	boot, since := c.source.Boot()
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Reading{Wall: wall}
	if c.state.Boot != boot && !c.restarted(wall.UnixNano(), boot, since) {
		r.Frozen = true
	} else {
		r.Frozen = c.follow(wall.UnixNano(), since)
	}
	r.Now = c.state.Floor
	return r
}

// restarted finds the origin of a new boot; false if the wall clock can't be believed.
func (c *Clock) restarted(wall int64, boot string, since time.Duration) bool {
	ahead := time.Duration(wall - c.state.Floor)
	switch {
	case ahead > c.bounds.Restart:
		return false
	case ahead > 0:
		c.state = c.from(wall, boot, since, c.bounds.Running)
	default: // it is not set yet, or was set back
		c.state = c.from(c.state.Floor, boot, since, c.bounds.Restart)
	}
	return true
}

// follow moves the floor; frozen: the wall clock is too far ahead. c.mu must be held.
func (c *Clock) follow(wall int64, since time.Duration) (frozen bool) {
	counted := c.state.Origin + int64(max(since-c.state.Since, 0))
	ahead := time.Duration(wall - counted)
	if ahead > c.state.Allow {
		return true
	}
	c.state.Ahead = max(c.state.Ahead, ahead)
	c.state.Floor = max(c.state.Floor, counted+int64(c.state.Ahead))
	return false
}

// Confirm takes the wall clock's time as the true one: an operator says so. The clock does not go back.
func (c *Clock) Confirm() Reading {
	wall := c.source.Wall()
	boot, since := c.source.Boot()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = c.from(max(wall.UnixNano(), c.state.Floor), boot, since, c.bounds.Running)
	return Reading{Now: c.state.Floor, Wall: wall}
}

// Encode is the state for New.
func (c *Clock) Encode() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, err := json.Marshal(c.state)
	if err != nil { // numbers and a string can be written
		panic(err)
	}
	return b
}

// Floor is the latest time that a clock is known to have shown, of a state that Encode gave.
func Floor(encoded []byte) (int64, error) {
	var s State
	if err := json.Unmarshal(encoded, &s); err != nil {
		return 0, fmt.Errorf("trusted clock: %w", err)
	}
	return s.Floor, nil
}
