package fusefs

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k3fs/namespace"
)

// memFS is a namespace.Posix in memory: the double that tests of the mount stand on, and the upper bound
// in benchmarks of it, since it stores nothing. One lock guards the tree, one each file's bytes.
type memFS struct {
	mu    sync.RWMutex
	nodes map[namespace.Ino]*memNode
	next  namespace.Ino
	after atomic.Pointer[func(op string)] // called without locks when a read of the tree has its answer
	scrap bool                            // all blocks are one: for benchmarks, where memory that is new costs most
	block []byte                          // that one
}

type memNode struct {
	fs      *memFS
	attr    namespace.Attr // guarded by fs.mu, but Size and Mtime by mu
	target  string
	xattrs  map[string][]byte
	entries map[string]*memNode
	sorted  []string // names in order, when not nil
	open    int

	mu     sync.RWMutex
	blocks map[int64][]byte // of memBlock bytes
}

const memBlock = 1 << 20

func newMemFS() *memFS {
	fs := &memFS{nodes: map[namespace.Ino]*memNode{}, next: namespace.RootIno}
	fs.node(namespace.Dir, namespace.NewNode{Mode: 0o755})
	return fs
}

func kind(k namespace.Kind) error { return &namespace.Error{Op: "mem", Kind: k} }

// node makes an inode. fs.mu must be held.
func (fs *memFS) node(t namespace.Type, n namespace.NewNode) *memNode {
	now := time.Now()
	m := &memNode{fs: fs, attr: namespace.Attr{Ino: fs.next, Type: t, Mode: n.Mode &^ n.Umask, UID: n.UID, GID: n.GID,
		Rdev: n.Rdev, Nlink: 1, Atime: now, Mtime: now, Ctime: now, Btime: now}}
	if t == namespace.Dir {
		m.attr.Nlink = 2
		m.entries = map[string]*memNode{}
	}
	if t == namespace.File {
		m.blocks = map[int64][]byte{}
	}
	fs.nodes[fs.next] = m
	fs.next++
	return m
}

// get returns an inode. fs.mu must be held.
func (fs *memFS) get(ino namespace.Ino) (*memNode, error) {
	if n := fs.nodes[ino]; n != nil {
		return n, nil
	}
	return nil, kind(namespace.Stale)
}

func (fs *memFS) dir(ino namespace.Ino) (*memNode, error) {
	n, err := fs.get(ino)
	if err == nil && n.entries == nil {
		err = kind(namespace.NotDir)
	}
	return n, err
}

func (n *memNode) snapshot() namespace.Attr {
	n.mu.RLock()
	defer n.mu.RUnlock()
	a := n.attr
	a.Blocks = int64(len(n.blocks)) * (memBlock / 512)
	return a
}

func (n *memNode) put(name string, child *memNode) {
	if n.entries[name] == nil {
		n.sorted = nil
	}
	n.entries[name] = child
	n.touch()
}

func (n *memNode) remove(name string) {
	delete(n.entries, name)
	n.touch()
}

func (n *memNode) touch() {
	n.attr.Mtime = time.Now()
	n.attr.Ctime = n.attr.Mtime
}

// drop takes one name away from the node. fs.mu must be held.
func (fs *memFS) drop(n *memNode) {
	n.attr.Nlink--
	if n.entries != nil {
		n.attr.Nlink = 0
	}
	if n.attr.Nlink == 0 && n.open == 0 {
		delete(fs.nodes, n.attr.Ino)
	}
}

func (fs *memFS) hook(op string) {
	if after := fs.after.Load(); after != nil {
		(*after)(op)
	}
}

func (fs *memFS) Lookup(_ context.Context, parent namespace.Ino, name string) (namespace.Attr, error) {
	defer fs.hook("lookup")
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	d, err := fs.dir(parent)
	if err != nil {
		return namespace.Attr{}, err
	}
	n := d.entries[name]
	if n == nil {
		return namespace.Attr{}, kind(namespace.NotFound)
	}
	return n.snapshot(), nil
}

func (fs *memFS) GetAttr(_ context.Context, ino namespace.Ino) (namespace.Attr, error) {
	defer fs.hook("getattr")
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	n, err := fs.get(ino)
	if err != nil {
		return namespace.Attr{}, err
	}
	return n.snapshot(), nil
}

// Accessed implements namespace.Posix: nobody reads, as with the option noatime.
func (fs *memFS) Accessed(context.Context, namespace.Ino) (bool, error) { return false, nil }

func (fs *memFS) SetAttr(_ context.Context, ino namespace.Ino, s namespace.SetAttr) (namespace.Attr, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, err := fs.get(ino)
	if err != nil {
		return namespace.Attr{}, err
	}
	n.attr.Ctime = time.Now()
	if s.KillPriv && n.attr.Type != namespace.Dir {
		n.attr.Mode &^= 0o4000
		if n.attr.Mode&0o010 != 0 {
			n.attr.Mode &^= 0o2000
		}
	}
	if s.Mode != nil {
		n.attr.Mode = *s.Mode
	}
	if s.UID != nil {
		n.attr.UID = *s.UID
	}
	if s.GID != nil {
		n.attr.GID = *s.GID
	}
	if s.Flags != nil {
		n.attr.Flags = *s.Flags
	}
	if s.Size != nil {
		n.truncate(*s.Size)
	}
	if s.Atime != nil {
		n.attr.Atime = *s.Atime
	}
	if s.Mtime != nil {
		n.mu.Lock()
		n.attr.Mtime = *s.Mtime
		n.mu.Unlock()
	}
	if s.Ctime != nil {
		n.attr.Ctime = *s.Ctime
	}
	return n.snapshot(), nil
}

func (n *memNode) truncate(size int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, b := range n.blocks {
		switch at := i * memBlock; {
		case at >= size:
			delete(n.blocks, i)
		case at+memBlock > size:
			clear(b[size-at:])
		}
	}
	n.attr.Size, n.attr.Mtime = size, time.Now()
}

// add makes a node under a name.
func (fs *memFS) add(parent namespace.Ino, name string, t namespace.Type, n namespace.NewNode) (*memNode, error) {
	d, err := fs.dir(parent)
	switch {
	case err != nil:
		return nil, err
	case len(name) > 255:
		return nil, kind(namespace.NameTooLong)
	case d.entries[name] != nil:
		return nil, kind(namespace.Exists)
	case d.attr.Nlink == 0:
		return nil, kind(namespace.NotFound)
	}
	if d.attr.Mode&0o2000 != 0 {
		n.GID = d.attr.GID
		if t == namespace.Dir {
			n.Mode |= 0o2000
		}
	}
	m := fs.node(t, n)
	d.put(name, m)
	if t == namespace.Dir {
		d.attr.Nlink++
	}
	return m, nil
}

func (fs *memFS) make(parent namespace.Ino, name string, t namespace.Type, n namespace.NewNode, target string) (namespace.Attr, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	m, err := fs.add(parent, name, t, n)
	if err != nil {
		return namespace.Attr{}, err
	}
	m.target = target
	if t == namespace.Symlink {
		m.attr.Size = int64(len(target))
	}
	return m.snapshot(), nil
}

func (fs *memFS) Mkdir(_ context.Context, parent namespace.Ino, name string, n namespace.NewNode) (namespace.Attr, error) {
	return fs.make(parent, name, namespace.Dir, n, "")
}

func (fs *memFS) Mknod(_ context.Context, parent namespace.Ino, name string, n namespace.NewNode) (namespace.Attr, error) {
	return fs.make(parent, name, n.Type, n, "")
}

func (fs *memFS) Symlink(_ context.Context, parent namespace.Ino, name, target string, n namespace.NewNode) (namespace.Attr, error) {
	return fs.make(parent, name, namespace.Symlink, n, target)
}

func (fs *memFS) Readlink(_ context.Context, ino namespace.Ino) (string, error) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	n, err := fs.get(ino)
	if err != nil {
		return "", err
	}
	return n.target, nil
}

func (fs *memFS) Link(_ context.Context, ino, parent namespace.Ino, name string) (namespace.Attr, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, err := fs.get(ino)
	if err != nil {
		return namespace.Attr{}, err
	}
	d, err := fs.dir(parent)
	if err != nil {
		return namespace.Attr{}, err
	}
	if d.entries[name] != nil {
		return namespace.Attr{}, kind(namespace.Exists)
	}
	n.attr.Nlink++
	n.attr.Ctime = time.Now()
	d.put(name, n)
	return n.snapshot(), nil
}

func (fs *memFS) Unlink(_ context.Context, parent namespace.Ino, name string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	d, err := fs.dir(parent)
	if err != nil {
		return err
	}
	n := d.entries[name]
	switch {
	case n == nil:
		return kind(namespace.NotFound)
	case n.entries != nil:
		return kind(namespace.IsDir)
	}
	d.remove(name)
	fs.drop(n)
	return nil
}

func (fs *memFS) Rmdir(_ context.Context, parent namespace.Ino, name string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	d, err := fs.dir(parent)
	if err != nil {
		return err
	}
	n := d.entries[name]
	switch {
	case n == nil:
		return kind(namespace.NotFound)
	case n.entries == nil:
		return kind(namespace.NotDir)
	case len(n.entries) > 0:
		return kind(namespace.NotEmpty)
	}
	d.remove(name)
	d.attr.Nlink--
	fs.drop(n)
	return nil
}

func (fs *memFS) Rename(_ context.Context, parent namespace.Ino, name string, newParent namespace.Ino, newName string, f namespace.RenameFlags) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	from, err := fs.dir(parent)
	if err != nil {
		return err
	}
	to, err := fs.dir(newParent)
	if err != nil {
		return err
	}
	n, old := from.entries[name], to.entries[newName]
	switch {
	case n == nil || f&namespace.RenameExchange != 0 && old == nil:
		return kind(namespace.NotFound)
	case f&namespace.RenameExchange != 0:
		from.put(name, old)
		to.put(newName, n)
		return nil
	case old == n:
		return nil
	case old != nil && f&namespace.RenameNoReplace != 0:
		return kind(namespace.Exists)
	case old != nil && old.entries != nil && n.entries == nil:
		return kind(namespace.IsDir)
	case old != nil && old.entries == nil && n.entries != nil:
		return kind(namespace.NotDir)
	case old != nil && len(old.entries) > 0:
		return kind(namespace.NotEmpty)
	}
	if old != nil {
		fs.drop(old)
	}
	from.remove(name)
	to.put(newName, n)
	n.attr.Ctime = time.Now()
	return nil
}

func (fs *memFS) Create(_ context.Context, parent namespace.Ino, name string, n namespace.NewNode, f namespace.OpenFlags) (namespace.Attr, namespace.FileHandle, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	d, err := fs.dir(parent)
	if err != nil {
		return namespace.Attr{}, nil, err
	}
	m := d.entries[name]
	switch {
	case m != nil && f.Excl:
		return namespace.Attr{}, nil, kind(namespace.Exists)
	case m == nil:
		if m, err = fs.add(parent, name, namespace.File, n); err != nil {
			return namespace.Attr{}, nil, err
		}
	case f.Trunc:
		m.truncate(0)
	}
	m.open++
	return m.snapshot(), &memHandle{n: m}, nil
}

func (fs *memFS) Open(_ context.Context, ino namespace.Ino, f namespace.OpenFlags) (namespace.FileHandle, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, err := fs.get(ino)
	if err != nil {
		return nil, err
	}
	if f.Trunc {
		n.truncate(0)
	}
	n.open++
	return &memHandle{n: n}, nil
}

func (fs *memFS) ReadDir(_ context.Context, ino namespace.Ino, cookie string, limit int, plus bool) ([]namespace.DirEntry, error) {
	defer fs.hook("readdir")
	fs.mu.Lock()
	defer fs.mu.Unlock()
	d, err := fs.dir(ino)
	if err != nil {
		return nil, err
	}
	if d.sorted == nil {
		d.sorted = slices.Sorted(maps.Keys(d.entries))
	}
	i, found := slices.BinarySearch(d.sorted, cookie)
	if found {
		i++
	}
	var out []namespace.DirEntry
	for ; i < len(d.sorted) && len(out) < limit; i++ {
		n := d.entries[d.sorted[i]]
		if n == nil {
			continue
		}
		e := namespace.DirEntry{Name: d.sorted[i], Cookie: d.sorted[i], Ino: n.attr.Ino, Type: n.attr.Type}
		if plus {
			a := n.snapshot()
			e.Attr = &a
		}
		out = append(out, e)
	}
	return out, nil
}

func (fs *memFS) GetXattr(_ context.Context, ino namespace.Ino, name string) ([]byte, error) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	n, err := fs.get(ino)
	if err != nil {
		return nil, err
	}
	v, ok := n.xattrs[name]
	if !ok {
		return nil, kind(namespace.NoAttr) // of access lists too: it keeps none that a mode does not say
	}
	return v, nil
}

func (fs *memFS) SetXattr(_ context.Context, ino namespace.Ino, name string, value []byte, f namespace.XattrFlags) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, err := fs.get(ino)
	if err != nil {
		return err
	}
	_, ok := n.xattrs[name]
	switch {
	case ok && f == namespace.XattrCreate:
		return kind(namespace.Exists)
	case !ok && f == namespace.XattrReplace:
		return kind(namespace.NoAttr)
	case n.xattrs == nil:
		n.xattrs = map[string][]byte{}
	}
	n.xattrs[name] = slices.Clone(value)
	return nil
}

func (fs *memFS) ListXattr(_ context.Context, ino namespace.Ino) ([]string, error) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	n, err := fs.get(ino)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(n.xattrs)), nil
}

func (fs *memFS) RemoveXattr(_ context.Context, ino namespace.Ino, name string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, err := fs.get(ino)
	if err != nil {
		return err
	}
	if _, ok := n.xattrs[name]; !ok {
		return kind(namespace.NoAttr)
	}
	delete(n.xattrs, name)
	return nil
}

func (fs *memFS) StatFS(context.Context, namespace.Ino) (namespace.StatFS, error) {
	fs.hook("statfs")
	return namespace.StatFS{Total: 1 << 40, Free: 1 << 39, Avail: 1 << 39, Files: 1 << 20, FilesFree: 1 << 19, NameMax: 255}, nil
}

func (fs *memFS) SyncDir(ctx context.Context, _ namespace.Ino) error {
	fs.hook("fsyncdir")
	return ctx.Err()
}

func (fs *memFS) Sync(context.Context) error { return nil }

type memHandle struct{ n *memNode }

func (h *memHandle) Ino() namespace.Ino { return h.n.attr.Ino }

func (h *memHandle) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	h.n.fs.hook("read")
	h.n.mu.RLock()
	defer h.n.mu.RUnlock()
	size := h.n.attr.Size
	if off >= size {
		return 0, nil
	}
	p = p[:min(int64(len(p)), size-off)]
	for done := 0; done < len(p); {
		at := off + int64(done)
		part := p[done:min(len(p), done+int(memBlock-at%memBlock))]
		if b := h.n.blocks[at/memBlock]; b != nil {
			copy(part, b[at%memBlock:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return len(p), nil
}

func (h *memHandle) WriteAt(_ context.Context, p []byte, off int64) (int, error) {
	h.n.fs.hook("write")
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	for done := 0; done < len(p); {
		at := off + int64(done)
		b := h.n.blocks[at/memBlock]
		if b == nil {
			b = h.n.fs.newBlock()
			h.n.blocks[at/memBlock] = b
		}
		done += copy(b[at%memBlock:], p[done:])
	}
	h.n.attr.Size = max(h.n.attr.Size, off+int64(len(p)))
	h.n.attr.Mtime = time.Now()
	return len(p), nil
}

func (fs *memFS) newBlock() []byte {
	if !fs.scrap {
		return make([]byte, memBlock)
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.block == nil {
		fs.block = make([]byte, memBlock)
	}
	return fs.block
}

func (h *memHandle) Append(ctx context.Context, p []byte) (int64, error) {
	return 0, kind(namespace.Unsupported)
}

func (h *memHandle) Fsync(ctx context.Context) error {
	h.n.fs.hook("fsync")
	return ctx.Err()
}

func (h *memHandle) Flush(ctx context.Context) error {
	h.n.fs.hook("flush")
	return ctx.Err()
}

// FlushNow leaves everything to Flush, which tests hold back.
func (h *memHandle) FlushNow(context.Context) (bool, error) { return false, nil }

func (h *memHandle) Close(context.Context) error {
	fs := h.n.fs
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if h.n.open--; h.n.open == 0 && h.n.attr.Nlink == 0 {
		delete(fs.nodes, h.n.attr.Ino)
	}
	return nil
}

// Seek knows holes by the block.
func (h *memHandle) Seek(_ context.Context, off int64, hole bool) (int64, error) {
	h.n.mu.RLock()
	defer h.n.mu.RUnlock()
	if off >= h.n.attr.Size {
		return 0, kind(namespace.Range)
	}
	for ; off < h.n.attr.Size; off = (off/memBlock + 1) * memBlock {
		if (h.n.blocks[off/memBlock] == nil) == hole {
			return off, nil
		}
	}
	if hole {
		return h.n.attr.Size, nil
	}
	return 0, kind(namespace.Range)
}
