package locks

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Why a lock was not given.
var (
	ErrDeadlock    = errors.New("locks: waiting would close a circle of waiting owners") // EDEADLK
	ErrInterrupted = errors.New("locks: the wait was interrupted")                       // EINTR
)

// Kind tells the two kinds of locks, which don't see each other, apart.
type Kind uint8

// The kinds.
const (
	Record Kind = iota // fcntl(2): F_SETLK, F_OFD_SETLK and the like
	Whole              // flock(2)
)

// File is what locks of one kind lie on.
type File struct {
	Ino  uint64
	Kind Kind
}

// Table holds the locks of all files. The zero value is ready to use; it must not be copied.
type Table struct {
	mounts atomic.Uint64 // the last number of a mount
	used   atomic.Int64  // len(files): most files are closed without a lock anywhere

	mu      sync.Mutex
	files   map[File]*file      // guarded by mu; those with locks or waiters
	waiting map[Owner][]*waiter // guarded by mu; of those who count for deadlocks
	leaving map[Owner]bool      // guarded by mu; what Leaving and Stays said last
}

type file struct {
	held  []Lock
	queue []*waiter // in order of arrival
}

// waiter is a request that waits.
type waiter struct {
	want    Lock
	process bool       // the owner is a process, which does nothing else while it waits
	blocker Owner      // who holds what it waits for
	done    chan error // of one; sent to when the waiter has left the queue
}

// NewMount returns a number for the owners of one more mount.
func (t *Table) NewMount() uint64 { return t.mounts.Add(1) }

// Test returns the first lock that is in the way of l (F_GETLK), or false.
func (t *Table) Test(f File, l Lock) (Lock, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at := t.files[f]; at != nil {
		return conflict(at.held, l)
	}
	return Lock{}, false
}

// Try sets l, or gives up its range if the mode is Unlock, without waiting. If a lock is in the way, it returns
// that, and true.
func (t *Table) Try(f File, l Lock) (Lock, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.leaving, l.Owner)
	at := t.at(f)
	defer t.settle(f, at)
	return at.try(f.Kind, l)
}

// Wait sets l as soon as nothing is in the way. It returns ErrInterrupted when cancel is closed before. If
// the owner is a process, it returns ErrDeadlock if waiting would be for ever.
func (t *Table) Wait(cancel <-chan struct{}, f File, l Lock, process bool) error {
	w, err := t.begin(f, l, process)
	if w == nil {
		return err
	}
	select {
	case err := <-w.done:
		return err
	case <-cancel:
		return t.abandon(f, w)
	}
}

// begin sets l, or returns the waiter that will.
func (t *Table) begin(f File, l Lock, process bool) (*waiter, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.at(f)
	defer t.settle(f, at)
	h, held := at.try(f.Kind, l)
	if !held {
		return nil, nil
	}
	w := &waiter{want: l, process: process && f.Kind == Record, blocker: h.Owner, done: make(chan error, 1)}
	if t.deadlock(w) {
		return nil, ErrDeadlock
	}
	at.queue = append(at.queue, w)
	if w.process {
		if t.waiting == nil {
			t.waiting = map[Owner][]*waiter{}
		}
		t.waiting[l.Owner] = append(t.waiting[l.Owner], w)
	}
	return w, nil
}

// abandon takes the waiter out of its queue, unless it has just been served.
func (t *Table) abandon(f File, w *waiter) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case err := <-w.done:
		return err
	default:
	}
	at := t.files[f]
	t.leave(at, w, ErrInterrupted)
	t.settle(f, at)
	return ErrInterrupted
}

// Release gives up all that an owner holds on a file.
func (t *Table) Release(f File, o Owner) {
	if t.used.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.leaving, o)
	if at := t.files[f]; at != nil {
		at.held = set(at.held, Lock{Owner: o, Last: End})
		t.settle(f, at)
	}
}

// ReleaseMount gives up all that owners of a mount hold, when it has ended.
func (t *Table) ReleaseMount(mount uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.leaving, func(o Owner, _ bool) bool { return o.Mount == mount })
	for f, at := range t.files {
		at.held = slices.DeleteFunc(at.held, func(h Lock) bool { return h.Mount == mount })
		t.settle(f, at)
	}
}

// Leaving says that an owner may be about to give up all it holds. That ends with its next request.
func (t *Table) Leaving(o Owner) { t.note(o, true) }

// Stays says that the owner does not give up what it holds, by all that is known.
func (t *Table) Stays(o Owner) { t.note(o, false) }

func (t *Table) note(o Owner, leaving bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leaving == nil {
		t.leaving = map[Owner]bool{}
	}
	t.leaving[o] = leaving
}

// IsLeaving returns what was said of the owner last, and whether anything was.
func (t *Table) IsLeaving(o Owner) (leaving, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	leaving, known = t.leaving[o]
	return leaving, known
}

// Len counts the locks that are held, and those that are waited for.
func (t *Table) Len() (held, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, at := range t.files {
		held += len(at.held)
		waiting += len(at.queue)
	}
	return held, waiting
}

// at returns the file's locks, made if need be. t.mu must be held, and settle called before it is let go.
func (t *Table) at(f File) *file {
	at := t.files[f]
	if at == nil {
		at = &file{}
		if t.files == nil {
			t.files = map[File]*file{}
		}
		t.files[f] = at
		t.used.Add(1)
	}
	return at
}

// settle serves those who wait for nothing any more, and forgets a file without locks. t.mu must be held.
func (t *Table) settle(f File, at *file) {
	for t.serveOne(at) { // a lock that is given may replace a stronger one of its owner: from the start again
	}
	if len(at.held) == 0 && len(at.queue) == 0 {
		delete(t.files, f)
		t.used.Add(-1)
	}
}

// serveOne gives the first waiter that can have it its lock; false if there is none. Those who now wait for
// somebody else may not be able to. t.mu must be held.
func (t *Table) serveOne(at *file) bool {
	for _, w := range at.queue {
		h, held := conflict(at.held, w.want)
		switch {
		case !held:
			at.held = set(at.held, w.want)
			t.leave(at, w, nil)
			return true
		case h.Owner == w.blocker:
			continue
		}
		if w.blocker = h.Owner; t.deadlock(w) {
			t.leave(at, w, ErrDeadlock)
			return true
		}
	}
	return false
}

// leave takes a waiter out of its queue, with an answer. t.mu must be held.
func (t *Table) leave(at *file, w *waiter, err error) {
	w.done <- err
	is := func(x *waiter) bool { return x == w }
	at.queue = slices.DeleteFunc(at.queue, is)
	if !w.process {
		return
	}
	if rest := slices.DeleteFunc(t.waiting[w.want.Owner], is); len(rest) > 0 {
		t.waiting[w.want.Owner] = rest
	} else {
		delete(t.waiting, w.want.Owner)
	}
}

// deadlock reports whether the one who is in w's way waits, maybe by others, for w's owner. t.mu must be held.
func (t *Table) deadlock(w *waiter) bool {
	if !w.process {
		return false
	}
	seen := map[Owner]bool{}
	var reaches func(o Owner) bool
	reaches = func(o Owner) bool {
		if o == w.want.Owner {
			return true
		}
		if seen[o] {
			return false
		}
		seen[o] = true
		return slices.ContainsFunc(t.waiting[o], func(x *waiter) bool { return reaches(x.blocker) })
	}
	return reaches(w.blocker)
}

// try sets l, or returns what is in the way.
func (at *file) try(k Kind, l Lock) (Lock, bool) {
	if k == Whole {
		if at.has(l) {
			return Lock{}, false
		}
		at.held = set(at.held, Lock{Owner: l.Owner, Last: End})
	}
	if h, held := conflict(at.held, l); held {
		return h, true
	}
	at.held = set(at.held, l)
	return Lock{}, false
}

// has reports whether the owner's lock has the mode of l already.
func (at *file) has(l Lock) bool {
	return slices.ContainsFunc(at.held, func(h Lock) bool { return h.Owner == l.Owner && h.Mode == l.Mode })
}
