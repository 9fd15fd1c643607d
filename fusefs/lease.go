package fusefs

import (
	"sync"
	"sync/atomic"
	"time"

	"k3fs/namespace"
)

// How names that are being replaced are opened. The kernel looks a name up, and opens the inode in a second
// request. If the inode was replaced in between, it is answered ESTALE, and tries again, once. So that the
// second try can't lose too, lookups hold the files that they find, from the first such answer on and for
// a moment.
const (
	leaseTime  = 100 * time.Millisecond
	leaseTries = 100 // that a file is gone between its lookup and our own open
	leaseMost  = 4096

	// leaseSettle is how long a first ESTALE is held back: lookups of others that are already answered, which
	// the second try could join, reach the kernel meanwhile.
	leaseSettle = 5 * time.Millisecond
)

// leases are the files held so. The zero value is ready.
type leases struct {
	until atomic.Int64 // when lookups need no leases any more, in unix nanoseconds

	mu     sync.Mutex
	held   map[namespace.Ino]*lease // guarded by mu
	closed bool                     // guarded by mu
}

type lease struct {
	namespace.FileHandle
	end *time.Timer
}

// want makes lookups take leases for a moment, and returns when all that are on their way have one.
func (l *leases) want() {
	l.until.Store(time.Now().Add(leaseTime).UnixNano())
	time.Sleep(leaseSettle)
}

func (l *leases) wanted() bool {
	until := l.until.Load()
	return until != 0 && time.Now().UnixNano() < until
}

// lookup finds a name, and holds the file that it finds if that is wanted.
func (d *door) lookup(parent namespace.Ino, name string) (namespace.Attr, error) {
	for try := 0; ; try++ {
		a, err := d.fs.Lookup(background, parent, name)
		if err != nil || a.Type != namespace.File || !d.leases.wanted() || try == leaseTries {
			return a, err
		}
		if d.leases.hold(d.fs, a.Ino) {
			return a, nil
		}
	}
}

// hold keeps an inode openable; false if it is gone.
func (l *leases) hold(fs namespace.Posix, ino namespace.Ino) bool {
	if l.prolong(ino) {
		return true
	}
	h, err := fs.Open(background, ino, namespace.OpenFlags{Read: true})
	if err != nil {
		return !gone(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.held) >= leaseMost {
		go h.Close(background) // nothing was written through it
		return true
	}
	if l.held == nil {
		l.held = map[namespace.Ino]*lease{}
	}
	one := &lease{FileHandle: h}
	one.end = time.AfterFunc(leaseTime, func() { l.release(one) })
	l.held[ino] = one
	return true
}

// prolong reports whether the inode is held, and stays so.
func (l *leases) prolong(ino namespace.Ino) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.held[ino]
	if l.closed || one == nil || !one.end.Stop() {
		return false
	}
	one.end.Reset(leaseTime)
	return true
}

func (l *leases) release(one *lease) {
	l.mu.Lock()
	if l.held[one.Ino()] == one {
		delete(l.held, one.Ino())
	}
	l.mu.Unlock()
	_ = one.Close(background) // nothing was written through it
}

// close ends all leases, and takes no more.
func (l *leases) close() {
	l.mu.Lock()
	l.closed = true
	var rest []*lease
	for _, one := range l.held {
		if one.end.Stop() {
			rest = append(rest, one)
		}
	}
	l.mu.Unlock()
	for _, one := range rest {
		l.release(one)
	}
}
