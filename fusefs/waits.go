package fusefs

import (
	"slices"
	"sync"
	"time"

	"k3fs/namespace"
)

// An entry notification takes the lock of its directory, which the kernel holds during each request that
// changes the directory. Two mounts that change one directory at the same time would so wait for each other
// for ever: the request of each, before it answers, wants the lock that the other one's holds until it is
// answered. So each wait is noted at the mount whose request waits, and one that would close a circle does not
// wait: its notification follows as soon as the lock is free, which is when the other request is
// answered. Both changed the directory at the same instant, and in this moment only may the one that was answered
// first be still unseen by a name that the other mount has cached.

// waitMost bounds a wait for a lock that somebody else holds: a reader of the directory whose memory is slow.
const waitMost = 10 * time.Second

// waits are the requests of one mount that wait for the kernel's locks of others.
type waits struct {
	mu  sync.Mutex
	all []*wait // guarded by mu
}

// wait is one request, which holds the locks of dirs in its own mount and wants those of dirs in another.
type wait struct {
	of   *Invalidator
	dirs []namespace.Ino
}

// forgetEntries makes the kernel forget the entries that by's mount changed, or another door (by is no
// Invalidator).
func (v *Invalidator) forgetEntries(k notifier, by namespace.Observer, changes []namespace.Change) {
	var dirs []namespace.Ino
	for _, c := range changes {
		if c.Parent != 0 {
			dirs = append(dirs, c.Parent)
		}
	}
	if len(dirs) == 0 {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, c := range changes {
			if c.Parent != 0 {
				k.EntryNotify(v.node(c.Parent), c.Name)
			}
		}
	}()
	if mount, ok := by.(*Invalidator); ok {
		w := mount.waits.add(v, dirs)
		defer mount.waits.remove(w)
		if v.blocks(w, mount, nil) {
			return
		}
	}
	most := time.NewTimer(waitMost)
	defer most.Stop()
	select {
	case <-done:
	case <-most.C:
	}
}

// blocks reports whether a request of this mount that holds what w wants waits, directly or by way of other
// mounts, for first, whose request w is. Mounts that were passed are not passed again.
func (v *Invalidator) blocks(w *wait, first *Invalidator, passed []*Invalidator) bool {
	if slices.Contains(passed, v) {
		return false
	}
	passed = append(passed, v)
	for _, next := range v.waits.holding(w.dirs) {
		if next.of == first || next.of.blocks(next, first, passed) {
			return true
		}
	}
	return false
}

func (s *waits) add(of *Invalidator, dirs []namespace.Ino) *wait {
	w := &wait{of: of, dirs: dirs}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, w)
	return w
}

func (s *waits) remove(w *wait) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(x *wait) bool { return x == w })
}

// holding returns the waits of requests that hold the lock of one of dirs.
func (s *waits) holding(dirs []namespace.Ino) []*wait {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*wait
	for _, w := range s.all {
		if slices.ContainsFunc(w.dirs, func(d namespace.Ino) bool { return slices.Contains(dirs, d) }) {
			found = append(found, w)
		}
	}
	return found
}
