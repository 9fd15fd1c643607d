package fusefs

import (
	"slices"
	"sync"
	"time"

	"k3fs/namespace"
)

// An entry notification takes the lock of its directory, which the kernel holds during each request that
// changes the directory; one of bytes takes the locks of pages, which it holds during each request that reads or
// writes them. Two mounts that change one directory, or write one page, at the same time would so wait for each
// other for ever: the request of each, before it answers, wants the lock that the other one's holds until it is
// answered. So each wait is noted at the mount whose request waits, and one that would close a circle does not
// wait: its notification follows as soon as the lock is free, which is when the other request is
// answered. That no answer from a cache may be older than this one is then seen to in another way: what the entries led
// to is pruned, for which Linux (from 6.18 on) takes no such lock, and the absence of names is not cached while there are
// several mounts.

// waitMost bounds a wait for a lock that somebody else holds: a reader of the directory whose memory is slow.
const waitMost = 10 * time.Second

// waits are the requests of one mount that wait for the kernel's locks of others.
type waits struct {
	mu  sync.Mutex
	all []*wait // guarded by mu
}

// wait is one request, which holds the locks of inos in its own mount and wants those of inos in another.
type wait struct {
	of   *Invalidator
	inos []namespace.Ino
}

// forgetEntries makes the kernel forget the entries that by's mount changed, or another door (by is no
// Invalidator).
func (v *Invalidator) forgetEntries(k notifier, by namespace.Observer, changes []namespace.Change) {
	var dirs []namespace.Ino
	var nodes []uint64
	for _, c := range changes {
		if c.Parent != 0 {
			dirs = append(dirs, c.Parent)
		}
		if c.Ino != 0 {
			nodes = append(nodes, v.node(c.Ino))
		}
	}
	if len(dirs) == 0 {
		return
	}
	mount, _ := by.(*Invalidator)
	given := v.await(mount, dirs, func() {
		for _, c := range changes {
			if c.Parent != 0 {
				k.EntryNotify(v.node(c.Parent), c.Name)
			}
		}
	})
	if !given {
		v.await(nil, nil, func() { k.PruneNotify(nodes) })
	}
}

// await lets notify give notifications to this mount's kernel, which take locks of inos, on behalf of a request of
// mount (nil: of no mount) which holds the locks of the same inodes there. It returns when they are given, or, then
// reporting false, when waiting for that would be for ever.
func (v *Invalidator) await(mount *Invalidator, inos []namespace.Ino, notify func()) (given bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		notify()
	}()
	if mount != nil {
		w := mount.waits.add(v, inos)
		defer mount.waits.remove(w)
		if v.blocks(w, mount, nil) {
			return false
		}
	}
	most := time.NewTimer(waitMost)
	defer most.Stop()
	select {
	case <-done:
		return true
	case <-most.C:
		return false
	}
}

// blocks reports whether a request of this mount that holds what w wants waits, directly or by way of other
// mounts, for first, whose request w is. Mounts that were passed are not passed again.
func (v *Invalidator) blocks(w *wait, first *Invalidator, passed []*Invalidator) bool {
	if slices.Contains(passed, v) {
		return false
	}
	passed = append(passed, v)
	for _, next := range v.waits.holding(w.inos) {
		if next.of == first || next.of.blocks(next, first, passed) {
			return true
		}
	}
	return false
}

func (s *waits) add(of *Invalidator, inos []namespace.Ino) *wait {
	w := &wait{of: of, inos: inos}
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

// holding returns the waits of requests that hold a lock of one of inos.
func (s *waits) holding(inos []namespace.Ino) []*wait {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*wait
	for _, w := range s.all {
		if slices.ContainsFunc(w.inos, func(i namespace.Ino) bool { return slices.Contains(inos, i) }) {
			found = append(found, w)
		}
	}
	return found
}
