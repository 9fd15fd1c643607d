package storetest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"syscall"

	"k3fs/chunkstore"
)

const (
	blockSize  = chunkstore.BlockSize
	sectorSize = 512
)

// CrashFS is a file system in memory that knows what a power cut may leave of it: a block that was
// written since its file's last Sync may be there, or not, or be torn between sectors; a name that was
// made or removed since the last SyncDir may be there or not. Blocks are immutable and shared between a
// CrashFS and its clones, so that a state of a few hundred blocks costs microseconds.
//
// After a failed Sync the blocks it should have saved are as the kernel leaves them: readable, clean, and
// never saved by a later Sync.
type CrashFS struct {
	mu    sync.Mutex
	files map[string]*inode // by name, now
	saved map[string]*inode // by name, certain after a crash
	total int64             // size of the disk; 0 for no bound
	used  int64
	ops   int64
	hook  Hook
}

// Op is an operation on a CrashFS.
type Op string

const (
	OpCreate      Op = "create"
	OpOpen        Op = "open"
	OpRemove      Op = "remove"
	OpList        Op = "list"
	OpSyncDir     Op = "syncdir"
	OpRead        Op = "read"
	OpWrite       Op = "write"
	OpSync        Op = "sync"
	OpPreallocate Op = "preallocate"
	OpPunch       Op = "punch"
)

// Hook is called before operation number k (from 1) takes effect; crash is CrashClone at that moment, and
// all that a Hook may use of the CrashFS. An error fails the operation; a failed write may still have
// written a part.
type Hook func(k int64, op Op, crash func(*rand.Rand) *CrashFS) error

// ErrInjected is the error that FailAt injects.
var ErrInjected = errors.New("storetest: injected input/output error")

// NewCrashFS returns an empty file system without a bound.
func NewCrashFS() *CrashFS {
	return &CrashFS{files: map[string]*inode{}, saved: map[string]*inode{}}
}

// SetHook sets the hook; nil takes it away.
func (c *CrashFS) SetHook(h Hook) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hook = h
}

// FailAt makes operation number k fail with ErrInjected, counted from now, and none after it. Only
// operations for which match is true count; nil matches all.
func (c *CrashFS) FailAt(k int64, match func(Op) bool) {
	var seen int64
	c.SetHook(func(_ int64, op Op, _ func(*rand.Rand) *CrashFS) error {
		if match != nil && !match(op) {
			return nil
		}
		if seen++; seen == k {
			return ErrInjected
		}
		return nil
	})
}

// SetSize bounds the disk to total bytes; writes past it fail with ENOSPC. Zero takes the bound away.
func (c *CrashFS) SetSize(total int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total = total
}

// Ops is the number of operations so far.
func (c *CrashFS) Ops() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ops
}

// inode is a file.
type inode struct {
	size, savedSize int64
	allocated       int64
	blocks          map[int64]*block // now; a block that is not there reads as zeros
	// unsaved holds, for each block changed since the last Sync, what is certain followed by every
	// content that it had since, nil for zeros.
	unsaved map[int64][]*block
	// lost is unsaved that a failed Sync dropped: it never becomes certain.
	lost map[int64][]*block
}

type block [blockSize]byte

func newInode() *inode {
	return &inode{blocks: map[int64]*block{}, unsaved: map[int64][]*block{}, lost: map[int64][]*block{}}
}

// CrashClone returns a file system as a power cut at this moment may leave this one. Equal states of rng
// give equal clones.
func (c *CrashFS) CrashClone(rng *rand.Rand) *CrashFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.crash(rng)
}

// crash is CrashClone. c.mu must be held.
func (c *CrashFS) crash(rng *rand.Rand) *CrashFS {
	clone := NewCrashFS()
	clone.total = c.total
	names := slices.Collect(maps.Keys(c.files))
	for name := range c.saved {
		if _, ok := c.files[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		n := c.saved[name]
		if n != c.files[name] && rng.IntN(2) == 0 {
			n = c.files[name]
		}
		if n != nil {
			survivor := n.crash(rng)
			clone.files[name], clone.saved[name] = survivor, survivor
			clone.used += int64(len(survivor.blocks)) * blockSize
		}
	}
	return clone
}

// crash returns the file as a power cut may leave it.
func (n *inode) crash(rng *rand.Rand) *inode {
	out := newInode()
	out.size = n.size
	if n.savedSize != n.size && rng.IntN(2) == 0 {
		out.size = n.savedSize
	}
	out.savedSize = out.size
	out.blocks = maps.Clone(n.blocks)
	keep := rng.IntN(5) // from nothing to all of what was not saved
	for _, set := range []map[int64][]*block{n.lost, n.unsaved} {
		for _, i := range slices.Sorted(maps.Keys(set)) {
			out.set(i, pick(rng, set[i], keep))
		}
	}
	for i := range out.blocks {
		if i*blockSize >= out.size {
			delete(out.blocks, i)
		}
	}
	out.allocated = int64(len(out.blocks)) * blockSize
	return out
}

// pick chooses among a block's versions; keep of 4 favours the newest.
func pick(rng *rand.Rand, versions []*block, keep int) *block {
	switch r := rng.IntN(16); {
	case r == 0: // torn: each sector from any version
		var b block
		for at := 0; at < blockSize; at += sectorSize {
			if v := versions[rng.IntN(len(versions))]; v != nil {
				copy(b[at:at+sectorSize], v[at:])
			}
		}
		return &b
	case r < 4:
		return versions[rng.IntN(len(versions))]
	case rng.IntN(4) < keep:
		return versions[len(versions)-1]
	}
	return versions[0]
}

func (n *inode) set(i int64, b *block) {
	if b == nil {
		delete(n.blocks, i)
	} else {
		n.blocks[i] = b
	}
}

// change gives block i a new content.
func (n *inode) change(i int64, b *block) {
	if n.unsaved[i] == nil {
		n.unsaved[i] = []*block{n.blocks[i]}
	}
	n.unsaved[i] = append(n.unsaved[i], b)
	n.set(i, b)
}

// begin counts an operation and asks the hook. c.mu must be held.
func (c *CrashFS) begin(op Op) error {
	c.ops++
	if c.hook == nil {
		return nil
	}
	return c.hook(c.ops, op, c.crash)
}

var _ chunkstore.FS = (*CrashFS)(nil)

// MkdirAll does nothing: directories are parts of names.
func (c *CrashFS) MkdirAll(string) error { return nil }

// Create makes a file that must not exist.
func (c *CrashFS) Create(name string) (chunkstore.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.begin(OpCreate); err != nil {
		return nil, err
	}
	if c.files[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	n := newInode()
	c.files[name] = n
	return &crashFile{fs: c, n: n}, nil
}

// Open opens a file.
func (c *CrashFS) Open(name string) (chunkstore.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.begin(OpOpen); err != nil {
		return nil, err
	}
	n := c.files[name]
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &crashFile{fs: c, n: n}, nil
}

// Remove unlinks a file.
func (c *CrashFS) Remove(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.begin(OpRemove); err != nil {
		return err
	}
	n := c.files[name]
	if n == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	delete(c.files, name)
	c.used -= n.allocated
	return nil
}

// List returns the names in a directory.
func (c *CrashFS) List(dir string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.begin(OpList); err != nil {
		return nil, err
	}
	var names []string
	for name := range c.files {
		if path.Dir(name) == path.Clean(dir) {
			names = append(names, path.Base(name))
		}
	}
	return names, nil
}

// SyncDir makes the names in a directory certain.
func (c *CrashFS) SyncDir(dir string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.begin(OpSyncDir); err != nil {
		return err
	}
	in := func(name string, _ *inode) bool { return path.Dir(name) == path.Clean(dir) }
	maps.DeleteFunc(c.saved, in)
	for name, n := range c.files {
		if in(name, n) {
			c.saved[name] = n
		}
	}
	return nil
}

// Space tells the bound of SetSize and what is left of it.
func (c *CrashFS) Space(string) (total, free int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total == 0 {
		return 1 << 50, 1 << 50, nil
	}
	return c.total, max(c.total-c.used, 0), nil
}

// Corrupt changes the byte at off of a file in place by xoring it with mask.
func (c *CrashFS) Corrupt(name string, off int64, mask byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.files[name]
	if n == nil || off < 0 || off >= n.size {
		return fmt.Errorf("storetest: %s has no byte %d", name, off)
	}
	var b block
	if old := n.blocks[off/blockSize]; old != nil {
		b = *old
	}
	b[off%blockSize] ^= mask
	n.blocks[off/blockSize] = &b
	return nil
}

// Files returns the names of all files, sorted.
func (c *CrashFS) Files() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.files))
}

// crashFile is an open file of a CrashFS.
type crashFile struct {
	fs *CrashFS
	n  *inode
}

func (f *crashFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.begin(OpRead); err != nil {
		return 0, err
	}
	want := len(p)
	p = p[:max(min(int64(want), f.n.size-off), 0)]
	for done := 0; done < len(p); {
		at := off + int64(done)
		part := p[done:min(len(p), done+blockSize-int(at%blockSize))]
		if b := f.n.blocks[at/blockSize]; b != nil {
			copy(part, b[at%blockSize:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return want, nil
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.begin(OpWrite); err != nil {
		f.store(p[:len(p)/2], off)
		return 0, err
	}
	end := off + int64(len(p))
	if grow := max(end-f.n.size, 0); f.fs.total > 0 && f.fs.used+grow > f.fs.total {
		return 0, syscall.ENOSPC
	}
	f.store(p, off)
	f.allocate(end)
	return len(p), nil
}

// store puts p into new blocks. c.mu must be held.
func (f *crashFile) store(p []byte, off int64) {
	for len(p) > 0 {
		var b block
		if old := f.n.blocks[off/blockSize]; old != nil {
			b = *old
		}
		done := copy(b[off%blockSize:], p)
		f.n.change(off/blockSize, &b)
		p, off = p[done:], off+int64(done)
	}
}

// allocate makes the file size bytes long or more. c.mu must be held.
func (f *crashFile) allocate(size int64) {
	if grow := size - f.n.size; grow > 0 {
		f.n.size = size
		f.n.allocated += grow
		f.fs.used += grow
	}
}

func (f *crashFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.fs.begin(OpSync)
	for i, versions := range f.n.unsaved {
		if err != nil || f.n.lost[i] != nil {
			f.n.lost[i] = append(f.n.lost[i], versions...)
		}
	}
	clear(f.n.unsaved)
	if err == nil {
		f.n.savedSize = f.n.size
	}
	return err
}

func (f *crashFile) Preallocate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.begin(OpPreallocate); err != nil {
		return err
	}
	if f.fs.total > 0 && f.fs.used+size-f.n.size > f.fs.total {
		return syscall.ENOSPC
	}
	f.allocate(size)
	return nil
}

func (f *crashFile) Punch(off, n int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.begin(OpPunch); err != nil {
		return err
	}
	if off%blockSize != 0 || n%blockSize != 0 {
		return fmt.Errorf("storetest: punch of %d bytes at %d is not aligned", n, off)
	}
	for i := range f.n.blocks {
		if at := i * blockSize; at >= off && at < off+n {
			f.n.change(i, nil)
		}
	}
	f.shrink(min(n, f.n.size-off))
	return nil
}

// shrink gives room back. It is coarse where a hole is punched twice: a file never takes less than its
// blocks. c.mu must be held.
func (f *crashFile) shrink(n int64) {
	n = min(n, f.n.allocated-int64(len(f.n.blocks))*blockSize)
	f.n.allocated -= n
	f.fs.used -= n
}

func (f *crashFile) NextData(off int64) (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	next := int64(-1)
	for i := range f.n.blocks {
		if end := (i + 1) * blockSize; end > off && (next < 0 || i*blockSize < next) {
			next = i * blockSize
		}
	}
	if next < 0 {
		return 0, io.EOF
	}
	return max(next, off), nil
}

func (f *crashFile) Size() (length, allocated int64, err error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.n.size, f.n.allocated, nil
}

func (f *crashFile) Close() error { return nil }
