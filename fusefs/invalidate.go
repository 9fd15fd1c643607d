package fusefs

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"k3fs/namespace"
)

// repeatAfter is when an inode notification is given again. It must exceed the time in which the kernel
// applies a reply that it was sent.
const repeatAfter = 50 * time.Millisecond

// attrOnly is the offset of an inode notification that leaves the pages alone.
const attrOnly = -1

// notifier is what an Invalidator needs of a *fuse.Server.
type notifier interface {
	EntryNotify(parent uint64, name string) fuse.Status
	InodeNotify(node uint64, off, length int64) fuse.Status
	PruneNotify(nodes []uint64) fuse.Status
}

// Invalidator keeps the kernel's caches of one mount true when other doors change the namespace. Make
// it first, give it to View.Through and FS.Observe, and then to Mount; before the mount is live and
// after it has ended it has nothing to do.
type Invalidator struct {
	kernel atomic.Pointer[notifier]
	seed   maphash.Seed

	seq   atomic.Uint64          // the last mark given
	marks [4096]atomic.Uint64    // by hash of an entry or an inode: its last mark
	mu    sync.Mutex             // held while marks are given; guards again and timer
	again map[namespace.Ino]bool // and whether its pages are to go, too
	timer *time.Timer            // set while a repetition is due
	root  atomic.Uint64          // the inode that the mount's root shows; 0 means its own
	sets  [4096]settings         // by hash of an inode
	names settings               // requests that change entries

	waits waits // of requests of this mount for the kernel's locks of other mounts
}

var _ namespace.Observer = (*Invalidator)(nil)

// NewInvalidator returns an Invalidator of a mount to be.
func NewInvalidator() *Invalidator {
	return &Invalidator{seed: maphash.MakeSeed(), again: map[namespace.Ino]bool{}}
}

// Changing implements namespace.Observer: replies begun before now are not to be cached.
func (v *Invalidator) Changing(changes []namespace.Change) { v.mark(changes) }

// Changed implements namespace.Observer. It returns when the kernel has forgotten what changed. It must
// not be called with a lock held that a request of this mount may need; what the mount of by holds is in waits.go.
func (v *Invalidator) Changed(by namespace.Observer, changes []namespace.Change) {
	v.mark(changes)
	k := v.kernel.Load()
	if k == nil {
		return
	}
	v.forgetEntries(*k, by, changes)
	mount, _ := by.(*Invalidator)
	for _, c := range changes {
		if c.Ino != 0 {
			v.changedInode(*k, mount, c.Ino, attrOnly, c.Data)
		}
		if c.Parent != 0 { // its attributes
			v.changedInode(*k, mount, c.Parent, 0, false)
		}
	}
}

// changedInode notifies of an inode, and once more where the first time may not have been enough.
func (v *Invalidator) changedInode(k notifier, mount *Invalidator, ino namespace.Ino, off int64, pages bool) {
	unknown := k.InodeNotify(v.node(ino), off, 0) == fuse.ENOENT
	if unknown || pages || v.sets[v.inodeSlot(ino)].recent() || mount != nil && v.names.recent() {
		v.repeat(ino, pages)
	}
}

// settings are the SETATTR requests of inodes, or those that change entries.
type settings struct {
	underWay atomic.Int32
	last     atomic.Int64 // when the last one was answered, in unix nanoseconds
}

// setting says that the attributes of an inode are being set through this mount, until done is called.
func (v *Invalidator) setting(ino namespace.Ino) (done func()) {
	return v.sets[v.inodeSlot(ino)].begin()
}

// naming says that entries are being changed through this mount, until done is called. The kernel then counts links
// itself, or takes the attributes that the reply to LINK tells, without asking whether it has been told of others since.
func (v *Invalidator) naming() (done func()) { return v.names.begin() }

func (s *settings) begin() (done func()) {
	s.underWay.Add(1)
	return func() {
		s.last.Store(time.Now().UnixNano())
		s.underWay.Add(-1)
	}
}

// recent reports whether the kernel may still have to apply the reply to one of them.
func (s *settings) recent() bool {
	return s.underWay.Load() > 0 || time.Since(time.Unix(0, s.last.Load())) < repeatAfter
}

// node is how the kernel calls an inode.
func (v *Invalidator) node(ino namespace.Ino) uint64 {
	if uint64(ino) == v.root.Load() {
		return fuse.FUSE_ROOT_ID
	}
	return uint64(ino)
}

// mark gives everything in changes a mark.
func (v *Invalidator) mark(changes []namespace.Change) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := v.seq.Load() + 1
	for _, c := range changes {
		if c.Parent != 0 {
			v.marks[v.entrySlot(c.Parent, c.Name)].Store(n)
			v.marks[v.inodeSlot(c.Parent)].Store(n)
		}
		if c.Ino != 0 {
			v.marks[v.inodeSlot(c.Ino)].Store(n)
		}
	}
	v.seq.Store(n)
}

// now is the number that a request notes when it begins.
func (v *Invalidator) now() uint64 { return v.seq.Load() }

// entryFresh reports whether the entry has no mark later than since. An unlucky hash only says no.
func (v *Invalidator) entryFresh(since uint64, parent namespace.Ino, name string) bool {
	return since == v.seq.Load() || v.marks[v.entrySlot(parent, name)].Load() <= since
}

// inodeFresh reports whether the inode has no mark later than since.
func (v *Invalidator) inodeFresh(since uint64, ino namespace.Ino) bool {
	return since == v.seq.Load() || v.marks[v.inodeSlot(ino)].Load() <= since
}

func (v *Invalidator) entrySlot(parent namespace.Ino, name string) uint64 {
	return (maphash.String(v.seed, name) ^ v.node(parent)*0x9e3779b97f4a7c15) % uint64(len(v.marks))
}

func (v *Invalidator) inodeSlot(ino namespace.Ino) uint64 {
	return (v.node(ino) * 0x9e3779b97f4a7c15 >> 32) % uint64(len(v.marks))
}

// repeat notifies of an inode again, once, a moment later. Pages of files go only then: the kernel
// first writes back dirty ones, for which the caller may hold a lock. Only a second mount of the same
// files needs that, since other doors never change bytes under an inode. It is not done without need: the kernel drops
// the reply of a GETATTR that crosses a notification, and the permission check that asked goes on with what it had.
func (v *Invalidator) repeat(ino namespace.Ino, pages bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.again[ino] = v.again[ino] || pages
	if v.timer == nil {
		v.timer = time.AfterFunc(repeatAfter, v.notifyAgain)
	}
}

func (v *Invalidator) notifyAgain() {
	v.mu.Lock()
	due := v.again
	v.again = make(map[namespace.Ino]bool)
	v.timer = nil
	v.mu.Unlock()
	k := v.kernel.Load()
	if k == nil {
		return
	}
	for ino, pages := range due {
		off := int64(attrOnly)
		if pages {
			off = 0
		}
		(*k).InodeNotify(v.node(ino), off, 0)
	}
}

// attach makes the notifications go to k, whose root is the inode root.
func (v *Invalidator) attach(k notifier, root namespace.Ino) {
	v.root.Store(uint64(root))
	v.kernel.Store(&k)
}

// detach ends the notifications.
func (v *Invalidator) detach() {
	v.kernel.Store(nil)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.timer != nil {
		v.timer.Stop()
		v.timer = nil
	}
}
