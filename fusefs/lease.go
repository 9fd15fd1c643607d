package fusefs

import (
	"sync"
	"sync/atomic"
	"time"

	"k3fs/namespace"
)

// How names that are being replaced are used. The kernel looks a name up, and opens, follows or changes the
// inode in a second request. If the inode was replaced in between, it is answered ESTALE, and tries again,
// once. So that the second try can't lose too, lookups hold the files and remember the symlinks that they
// find, from the first such answer on and for a moment.
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

// lease keeps one inode usable after its last name is gone: a file by a handle, a symlink by what it said.
type lease struct {
	ino    namespace.Ino
	handle namespace.FileHandle // of a file, else nil
	attr   namespace.Attr       // of a symlink
	target string
	end    *time.Timer
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
func (d *door) lookup(fs namespace.Posix, parent namespace.Ino, name string) (namespace.Attr, error) {
	for try := 0; ; try++ {
		a, err := fs.Lookup(background, parent, name)
		if err != nil || !d.leases.wanted() || try == leaseTries {
			return a, err
		}
		if d.leases.hold(fs, a) {
			return a, nil
		}
	}
}

// hold keeps an inode usable; false if it is gone.
func (l *leases) hold(fs namespace.Posix, a namespace.Attr) bool {
	if l.prolong(a.Ino) {
		return true
	}
	one := &lease{ino: a.Ino, attr: a}
	var err error
	switch a.Type {
	case namespace.File:
		one.handle, err = fs.Open(background, a.Ino, namespace.OpenFlags{Read: true})
	case namespace.Symlink:
		one.target, err = fs.Readlink(background, a.Ino)
	default:
		return true
	}
	if err != nil {
		return !gone(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.held) >= leaseMost {
		go one.close()
		return true
	}
	if l.held == nil {
		l.held = map[namespace.Ino]*lease{}
	}
	one.end = time.AfterFunc(leaseTime, func() { l.release(one) })
	l.held[a.Ino] = one
	return true
}

// symlink returns what is remembered of a symlink; nil if nothing is.
func (l *leases) symlink(ino namespace.Ino) *lease {
	if l.until.Load() == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.held[ino]; one != nil && one.handle == nil {
		return one
	}
	return nil
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
	if l.held[one.ino] == one {
		delete(l.held, one.ino)
	}
	l.mu.Unlock()
	one.close()
}

func (one *lease) close() {
	if one.handle != nil {
		_ = one.handle.Close(background) // nothing was written through it
	}
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
