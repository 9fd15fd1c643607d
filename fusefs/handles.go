package fusefs

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"k3fs/namespace"
)

// table numbers open handles for the kernel. The zero value is ready to use.
type table[T any] struct {
	mu    sync.RWMutex
	slots []*T     // guarded by mu; nil where free
	free  []uint64 // guarded by mu
}

// add returns the number of h.
func (t *table[T]) add(h *T) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.free); n > 0 {
		fh := t.free[n-1]
		t.free = t.free[:n-1]
		t.slots[fh] = h
		return fh
	}
	t.slots = append(t.slots, h)
	return uint64(len(t.slots) - 1)
}

// get returns the handle of a number, or nil.
func (t *table[T]) get(fh uint64) *T {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if fh >= uint64(len(t.slots)) {
		return nil
	}
	return t.slots[fh]
}

// remove returns the handle of a number and frees the number; nil if there is none.
func (t *table[T]) remove(fh uint64) *T {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fh >= uint64(len(t.slots)) || t.slots[fh] == nil {
		return nil
	}
	h := t.slots[fh]
	t.slots[fh] = nil
	t.free = append(t.free, fh)
	return h
}

// len returns how many handles there are.
func (t *table[T]) len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.slots) - len(t.free)
}

// all returns all handles.
func (t *table[T]) all() (all []*T) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, h := range t.slots {
		if h != nil {
			all = append(all, h)
		}
	}
	return all
}

// drain removes and returns all handles.
func (t *table[T]) drain() []*T {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := slices.DeleteFunc(t.slots, func(h *T) bool { return h == nil })
	t.slots, t.free = nil, nil
	return all
}

// file is an open file.
type file struct {
	namespace.FileHandle
	fs       namespace.Posix // as who opened it
	write    bool
	direct   bool // the kernel doesn't use its page cache for it
	lockers  lockers
	underWay sync.WaitGroup // requests that nobody may be waiting for any more
	quiet    bool           // reading it is not to set its access time (O_WRONLY: the kernel completes pages; O_NOATIME)

	told  atomic.Uint64 // the last refusal of what was written to its inode that it was told of
	asked atomic.Int64  // when reading it last asked for a new access time, in unix nanoseconds
}

// atimeEvery is how often a handle that is read from asks for a new access time.
const atimeEvery = time.Second

// due reports whether a read now is to ask.
func (f *file) due() bool {
	if f.quiet {
		return false
	}
	last, now := f.asked.Load(), time.Now().UnixNano()
	return now-last >= int64(atimeEvery) && f.asked.CompareAndSwap(last, now)
}

// writers counts the handles open for writing per inode: the kernel may hold dirty pages of these.
type writers struct {
	mu sync.Mutex
	n  map[namespace.Ino]int // guarded by mu
}

func (w *writers) add(ino namespace.Ino, delta int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n == nil {
		w.n = map[namespace.Ino]int{}
	}
	if w.n[ino] += delta; w.n[ino] == 0 {
		delete(w.n, ino)
	}
}

// all returns the inodes that are open for writing.
func (w *writers) all() []namespace.Ino {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.n))
}

// unwritten are the inodes that the kernel knows better than they are: a write failed, and it keeps what it could not
// write back, and the size. It is asked to forget them (since Linux 6.18 it can) whenever one who has them open closes
// it, until it has.
type unwritten struct {
	some atomic.Int64 // how many there are
	all  sync.Map     // uint64 node to nothing
	over sync.Map     // uint64 node to *refusal
	n    atomic.Uint64
}

// refusal is why the cache of an inode could not be written back. Every file that was open then says it once, by fsync(2) or close(2), as
// Linux does of errors of a disk (errseq_t); if none has yet, also one that is opened later.
type refusal struct {
	why  fuse.Status
	n    uint64
	seen atomic.Bool
}

// refuse notes that a quota, or that a permission was taken away, refused what the kernel wrote back. As the answer to
// that close(2) would make EIO of it.
func (u *unwritten) refuse(node uint64, why fuse.Status) {
	u.over.Store(node, &refusal{why: why, n: u.n.Add(1)})
	u.add(node)
}

// why is EDQUOT or EACCES if that is why what was written to a node was refused, and f was not told yet.
func (u *unwritten) why(node uint64, f *file) fuse.Status {
	r := u.last(node)
	if r == nil || f.told.Swap(r.n) >= r.n {
		return fuse.OK
	}
	r.seen.Store(true)
	return r.why
}

// opened makes a file that is being opened hear of what nobody was told, and of what comes.
func (u *unwritten) opened(f *file) {
	if r := u.last(uint64(f.Ino())); r != nil && r.seen.Load() {
		f.told.Store(r.n)
	}
}

func (u *unwritten) last(node uint64) *refusal {
	if u.some.Load() == 0 {
		return nil
	}
	if r, ok := u.over.Load(node); ok {
		return r.(*refusal)
	}
	return nil
}

func (u *unwritten) add(node uint64) {
	if _, there := u.all.LoadOrStore(node, nil); !there {
		u.some.Add(1)
	}
}

func (u *unwritten) has(node uint64) bool {
	if u.some.Load() == 0 {
		return false
	}
	_, there := u.all.Load(node)
	return there
}

func (u *unwritten) forgotten(node uint64) {
	if u.some.Load() == 0 {
		return
	}
	u.over.Delete(node)
	if _, there := u.all.LoadAndDelete(node); there {
		u.some.Add(-1)
	}
}

func (w *writers) any(ino namespace.Ino) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n[ino] > 0
}
