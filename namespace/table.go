package namespace

import "sync"

// fileTable holds the inodes that have handles, and keeps opening and removing apart: an inode that an
// update is about to remove for good is buried, and can't be opened before the update is decided.
type fileTable struct {
	mu     sync.Mutex
	risen  sync.Cond // some inode is no longer buried
	files  map[Ino]*file
	buried map[Ino]int
	closed bool
}

func (ft *fileTable) init() {
	ft.risen.L = &ft.mu
	ft.files = map[Ino]*file{}
	ft.buried = map[Ino]int{}
}

// acquire returns the open inode, made by open if need be, with one user more.
func (ft *fileTable) acquire(ino Ino, open func() *file) (*file, error) {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	for ft.buried[ino] > 0 {
		ft.risen.Wait()
	}
	if ft.closed {
		return nil, of(Unavailable)
	}
	f := ft.files[ino]
	if f == nil {
		f = open()
		ft.files[ino] = f
	}
	f.users++
	return f, nil
}

// peek is acquire for an inode that is open already; nil if it is not.
func (ft *fileTable) peek(ino Ino) *file {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	f := ft.files[ino]
	if f != nil {
		f.users++
	}
	return f
}

// release gives back a user. With the last one the inode leaves the table; if it may have lost its name
// it is buried, and the caller must erase it and then call unbury.
func (ft *fileTable) release(f *file) (last, zombie bool) {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	f.users--
	if f.users > 0 {
		return false, false
	}
	delete(ft.files, f.ino)
	if f.unlinked {
		ft.buried[f.ino]++
	}
	return true, f.unlinked
}

// overlay is what the draft in memory says of an inode's attributes. Ask before reading the record: a
// draft that is published in between is then in one of the two.
func (ft *fileTable) overlay(ino Ino) overlay {
	ft.mu.Lock()
	f := ft.files[ino]
	ft.mu.Unlock()
	if f == nil {
		return overlay{}
	}
	return f.overlay()
}

// close lets nothing be opened any more, and returns what peekAll does.
func (ft *fileTable) close() []*file {
	ft.mu.Lock()
	ft.closed = true
	ft.mu.Unlock()
	return ft.peekAll()
}

// peekAll returns the open inodes, each with one user more.
func (ft *fileTable) peekAll() []*file {
	ft.mu.Lock()
	defer ft.mu.Unlock()
	var all []*file
	for _, f := range ft.files {
		f.users++
		all = append(all, f)
	}
	return all
}

// bury reports whether the inode is open. If it is not, nobody can open it before the update ends.
func (t *txn) bury(ino Ino) (open bool) {
	ft := &t.fs.files
	ft.mu.Lock()
	defer ft.mu.Unlock()
	if f := ft.files[ino]; f != nil {
		f.unlinked = true
		return true
	}
	ft.buried[ino]++
	t.buried = append(t.buried, ino)
	return false
}

func (ft *fileTable) unbury(inos []Ino) {
	if len(inos) == 0 {
		return
	}
	ft.mu.Lock()
	defer ft.mu.Unlock()
	for _, ino := range inos {
		if ft.buried[ino]--; ft.buried[ino] <= 0 {
			delete(ft.buried, ino)
		}
	}
	ft.risen.Broadcast()
}
