package namespace

import (
	"context"
	"errors"
	"sync"
	"time"

	"k3fs/metastore"
)

const (
	atimeAge   = 24 * time.Hour  // an access time older than this is renewed whatever mtime says
	atimeDelay = 5 * time.Second // from noting an access to storing it
	atimeBatch = 128             // inodes that one update stores
	atimeMost  = 1 << 16         // accesses noted; beyond, none is until these are stored
)

// atimes holds the access times that are newer than the inodes' records. They are stored in batches, a
// moment later, so that reading costs no update; a crash loses those of the last moment (as mount(8)'s
// lazytime does).
type atimes struct {
	mu     sync.Mutex
	at     map[Ino]int64 // guarded by mu; unix nanoseconds
	timer  *time.Timer   // guarded by mu; set while storing them is due
	closed bool          // guarded by mu

	storing sync.Mutex // held while they are being stored; before mu
}

// get is the access time noted for an inode; 0 if none is.
func (a *atimes) get(ino Ino) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at[ino]
}

// drop forgets what is noted for an inode, and returns it.
func (a *atimes) drop(ino Ino) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.at[ino]
	delete(a.at, ino)
	return at
}

// note notes an access; false if there is no room for it.
func (a *atimes) note(ino Ino, at int64, store func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || len(a.at) >= atimeMost {
		return false
	}
	if a.at == nil {
		a.at = map[Ino]int64{}
	}
	a.at[ino] = at
	if a.timer == nil {
		a.timer = time.AfterFunc(atimeDelay, store)
	}
	return true
}

// take returns the inodes with noted accesses. Until they are stored they stay noted.
func (a *atimes) take() []Ino {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
	all := make([]Ino, 0, len(a.at))
	for ino := range a.at {
		all = append(all, ino)
	}
	return all
}

// stored forgets an access unless there was a later one.
func (a *atimes) stored(ino Ino, at int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at[ino] == at {
		delete(a.at, ino)
	}
}

// close lets no more accesses be noted.
func (a *atimes) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
}

// Accessed implements Posix.
func (v *View) Accessed(ctx context.Context, ino Ino) (bool, error) {
	a, err := v.getAttr(ctx, ino)
	if err != nil {
		return false, fail("access", "", err)
	}
	now := v.fs.now()
	if !stale(a, now) || !v.fs.atimes.note(ino, nanos(now), v.fs.storeAtimesLater) {
		return false, nil
	}
	changes := []Change{{Ino: ino, Attr: true}}
	v.fs.tell(v.door, func(o Observer) { o.Changing(changes) })
	v.fs.tell(v.door, func(o Observer) { o.Changed(v.door, changes) })
	return true, nil
}

// stale is the rule of mount(8)'s relatime: an access is noted if it is the first since the last change, or
// since a day.
func stale(a Attr, now time.Time) bool {
	return !a.Atime.After(a.Mtime) || !a.Atime.After(a.Ctime) || now.Sub(a.Atime) >= atimeAge
}

func (fs *FS) storeAtimesLater() {
	if err := fs.storeAtimes(context.Background()); err != nil {
		fs.log.Warn("namespace: access times are not stored", "err", err)
	}
}

// storeAtimes stores the noted access times.
func (fs *FS) storeAtimes(ctx context.Context) error {
	fs.atimes.storing.Lock()
	defer fs.atimes.storing.Unlock()
	all := fs.atimes.take()
	var errs []error
	for len(all) > 0 {
		batch := all[:min(len(all), atimeBatch)]
		all = all[len(batch):]
		errs = append(errs, fs.storeAtimesOf(ctx, batch))
	}
	return errors.Join(errs...)
}

func (fs *FS) storeAtimesOf(ctx context.Context, batch []Ino) error {
	times := make(map[Ino]int64, len(batch))
	err := fs.kv.Update(ctx, metastore.Ordered, func(t metastore.Txn) error {
		for _, ino := range batch {
			n, err := getInode(t, ino)
			if err != nil && !isKind(err, NotFound) {
				return err
			}
			// Asked again, after the record: who sets a time himself (utimensat) drops this one before he commits.
			at := fs.atimes.get(ino)
			times[ino] = at
			if err != nil || at == 0 || at <= n.Atime {
				continue
			}
			n.Atime = at
			if err := putRec(t, inodeKey(ino), n); err != nil {
				return err
			}
		}
		return nil
	})
	// Noted ones that could not be stored are dropped too: they would be tried without end.
	for ino, at := range times {
		fs.atimes.stored(ino, at)
	}
	return err
}

// overlay is what is known better than the inode's record says. Ask before reading the record: what is
// stored in between is then in one of the two.
func (fs *FS) overlay(ino Ino) overlay {
	at := fs.atimes.get(ino)
	o := fs.files.overlay(ino)
	o.atime = at
	return o
}
