package trusted

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	hour = time.Hour
	day  = 24 * hour
)

// host is a machine whose clocks a test sets.
type host struct {
	wall  time.Time
	boot  string
	since time.Duration
	clock *Clock
}

func (h *host) source() Source {
	return Source{Wall: func() time.Time { return h.wall }, Boot: func() (string, time.Duration) { return h.boot, h.since }}
}

// pass lets time pass as it is.
func (h *host) pass(d time.Duration) {
	h.wall = h.wall.Add(d)
	h.since += d
}

func (h *host) restart(t *testing.T) {
	var err error
	h.clock, err = New(h.source(), Bounds{Running: 25 * hour, Restart: 30 * day}, h.clock.Encode())
	require.NoError(t, err)
}

// reboot switches the host off for as long as d, with the wall clock showing that and drift more.
func (h *host) reboot(t *testing.T, d, drift time.Duration) {
	h.wall, h.boot, h.since = h.wall.Add(d+drift), h.boot+"'", time.Second
	h.restart(t)
}

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func newHost(t *testing.T) *host {
	h := &host{wall: noon, boot: "b", since: 5 * hour}
	var err error
	h.clock, err = New(h.source(), Bounds{Running: 25 * hour, Restart: 30 * day}, nil)
	require.NoError(t, err)
	return h
}

// shows requires that the clock shows noon and d.
func (h *host) shows(t *testing.T, d time.Duration, frozen bool) {
	t.Helper()
	r := h.clock.Read()
	require.Equal(t, noon.Add(d).String(), time.Unix(0, r.Now).UTC().String())
	require.Equal(t, frozen, r.Frozen)
}

func TestClock(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, h *host){
		"goes as the host does": func(t *testing.T, h *host) {
			h.pass(1000 * day)
			h.shows(t, 1000*day, false)
		},
		"set back, it goes on": func(t *testing.T, h *host) {
			h.pass(day)
			h.shows(t, day, false)
			h.wall = h.wall.Add(-3650 * day)
			h.shows(t, day, false)
			h.pass(hour)
			h.shows(t, day+hour, false)
		},
		"set back and restarted, it does not go back": func(t *testing.T, h *host) {
			h.pass(day)
			h.shows(t, day, false)
			h.wall = h.wall.Add(-3650 * day)
			h.restart(t)
			h.shows(t, day, false)
			h.reboot(t, hour, 0)
			h.shows(t, day, false)
			h.pass(hour)
			h.shows(t, day+hour, false)
		},
		"a correction is followed": func(t *testing.T, h *host) {
			h.wall = h.wall.Add(hour)
			h.shows(t, hour, false)
			h.pass(hour)
			h.shows(t, 2*hour, false)
		},
		"a jump freezes it": func(t *testing.T, h *host) {
			h.wall = h.wall.Add(10 * 365 * day)
			h.shows(t, 0, true)
			h.pass(30 * day)
			h.shows(t, 0, true)
			h.restart(t)
			h.shows(t, 0, true)
		},
		"a jump that is taken back was none": func(t *testing.T, h *host) {
			h.wall = h.wall.Add(10 * 365 * day)
			h.shows(t, 0, true)
			h.pass(hour)
			h.wall = h.wall.Add(-10 * 365 * day)
			h.shows(t, hour, false)
		},
		"many small jumps are one": func(t *testing.T, h *host) {
			for range 10 {
				h.wall = h.wall.Add(24 * hour)
				h.clock.Read()
				h.restart(t)
			}
			h.shows(t, 24*hour, true)
		},
		"forward, back and forward again gains nothing": func(t *testing.T, h *host) {
			for range 10 {
				h.wall = h.wall.Add(24 * hour)
				h.shows(t, 24*hour, false)
				h.wall = h.wall.Add(-24 * hour)
				h.shows(t, 24*hour, false)
			}
		},
		"confirmed, it is as the wall clock": func(t *testing.T, h *host) {
			h.wall = h.wall.Add(400 * day)
			h.shows(t, 0, true)
			h.clock.Confirm()
			h.shows(t, 400*day, false)
			h.pass(hour)
			h.shows(t, 400*day+hour, false)
		},
		"confirmed behind, it does not go back": func(t *testing.T, h *host) {
			h.pass(day)
			h.shows(t, day, false)
			h.wall = noon
			h.clock.Confirm()
			h.shows(t, day, false)
		},
		"switched off for days": func(t *testing.T, h *host) {
			h.clock.Read()
			h.reboot(t, 10*day, 0)
			h.shows(t, 10*day, false)
		},
		"switched off for longer than is believed": func(t *testing.T, h *host) {
			h.clock.Read()
			h.reboot(t, 31*day, 0)
			h.shows(t, 0, true)
			h.pass(day)
			h.shows(t, 0, true)
			h.clock.Confirm()
			h.shows(t, 32*day, false)
		},
		"a clock without a battery, set later": func(t *testing.T, h *host) {
			h.clock.Read()
			h.reboot(t, 10*day, -20000*day)
			h.shows(t, 0, false)
			h.pass(hour)
			h.shows(t, hour, false)
			h.wall = noon.Add(10*day + hour)
			h.shows(t, 10*day+hour, false)
		},
		"the daemon was down while the host ran": func(t *testing.T, h *host) {
			h.clock.Read()
			h.pass(90 * day)
			h.restart(t)
			h.shows(t, 90*day, false)
		},
		"the boot's clock went back": func(t *testing.T, h *host) {
			h.clock.Read()
			h.since = 0
			h.shows(t, 0, false)
		},
	} {
		t.Run(name, func(t *testing.T) { test(t, newHost(t)) })
	}
}

func TestDamagedState(t *testing.T) {
	_, err := New(newHost(t).source(), Bounds{}, []byte("{"))
	require.Error(t, err)
}
