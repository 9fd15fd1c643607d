// Package model is the simple model of one bucket that random operations are compared with: what
// exists, and what each name holds, after POSIX and S3 operations.
//
// It knows files (several names may lead to one), and directories that were made explicitly. A
// directory also exists, implicitly, while something is in it; emptying it through the mount makes it
// explicit (docs/decisions/0005). Operations whose outcome needs the alias rule, a file and a
// directory of the same name, are not in the model: Clashes says which.
package model

import (
	"bytes"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"
)

// File is a content, shared by its hard links.
type File struct{ Content []byte }

// Bucket is the state. Paths have no leading or trailing slash; the bucket itself is "".
type Bucket struct {
	Files map[string]*File
	Dirs  map[string]bool // explicit ones
}

// New returns an empty bucket.
func New() *Bucket { return &Bucket{Files: map[string]*File{}, Dirs: map[string]bool{"": true}} }

// IsDir reports whether p is a directory, explicit or not.
func (b *Bucket) IsDir(p string) bool {
	if b.Dirs[p] {
		return true
	}
	return !b.empty(p)
}

// empty reports whether nothing is below p.
func (b *Bucket) empty(p string) bool {
	inside := func(q string) bool { return q != p && q != "" && (p == "" || strings.HasPrefix(q, p+"/")) }
	for q := range b.Files {
		if inside(q) {
			return false
		}
	}
	for q := range b.Dirs {
		if inside(q) {
			return false
		}
	}
	return true
}

func parent(p string) string {
	if d := path.Dir(p); d != "." {
		return d
	}
	return ""
}

// Clashes reports whether making p (a directory, or else a file) would put a file and a directory of
// the same name beside each other, p's parents included.
func (b *Bucket) Clashes(p string, dir bool) bool {
	if _, file := b.Files[p]; file && dir || !dir && b.IsDir(p) {
		return true
	}
	for q := parent(p); q != ""; q = parent(q) {
		if b.Files[q] != nil {
			return true
		}
	}
	return false
}

// Put is S3's PUT of an object: a new file in place of the old one.
func (b *Bucket) Put(p string, content []byte) { b.Files[p] = &File{bytes.Clone(content)} }

// PutDir is S3's PUT of "p/".
func (b *Bucket) PutDir(p string) { b.Dirs[p] = true }

// Delete is S3's DELETE of an object.
func (b *Bucket) Delete(p string) { delete(b.Files, p) }

// DeleteDir is S3's DELETE of "p/": the directory stays, implicit, while something is in it.
func (b *Bucket) DeleteDir(p string) { delete(b.Dirs, p) }

// MkdirAll is mkdir -p.
func (b *Bucket) MkdirAll(p string) {
	if p == "" || b.IsDir(p) {
		return
	}
	b.MkdirAll(parent(p))
	b.Dirs[p] = true
}

// keep makes a directory explicit that the mount has emptied.
func (b *Bucket) keep(p string) {
	if !b.IsDir(p) {
		b.Dirs[p] = true
	}
}

// Unlink removes a file through the mount.
func (b *Bucket) Unlink(p string) error {
	if b.Files[p] == nil {
		if b.IsDir(p) {
			return syscall.EISDIR
		}
		return fs.ErrNotExist
	}
	delete(b.Files, p)
	b.keep(parent(p))
	return nil
}

// Rmdir removes an empty directory through the mount.
func (b *Bucket) Rmdir(p string) error {
	switch {
	case b.Files[p] != nil:
		return syscall.ENOTDIR
	case !b.IsDir(p):
		return fs.ErrNotExist
	case !b.empty(p):
		return syscall.ENOTEMPTY
	}
	delete(b.Dirs, p)
	b.keep(parent(p))
	return nil
}

// Link gives a file a second name.
func (b *Bucket) Link(from, to string) error {
	switch {
	case b.Files[from] == nil:
		return fs.ErrNotExist
	case b.Files[to] != nil || b.IsDir(to):
		return fs.ErrExist
	case !b.IsDir(parent(to)):
		return fs.ErrNotExist
	}
	b.Files[to] = b.Files[from]
	return nil
}

// Rename is rename(2).
func (b *Bucket) Rename(from, to string) error {
	file := b.Files[from]
	switch {
	case file == nil && !b.IsDir(from):
		return fs.ErrNotExist
	case !b.IsDir(parent(to)):
		return fs.ErrNotExist
	case file == nil && strings.HasPrefix(to, from+"/"):
		return syscall.EINVAL
	case file == nil && strings.HasPrefix(from, to+"/"):
		return syscall.ENOTEMPTY
	case file != nil && strings.HasPrefix(from, to+"/"):
		return syscall.EISDIR // or ENOTEMPTY, as the kernel looks first
	case from == to:
		return nil
	case file != nil && b.IsDir(to):
		return syscall.EISDIR
	case file == nil && b.Files[to] != nil:
		return syscall.ENOTDIR
	case file == nil && b.IsDir(to) && !b.empty(to):
		return syscall.ENOTEMPTY
	}
	if file != nil {
		if b.Files[to] == file {
			return nil
		}
		delete(b.Files, from)
		b.Files[to] = file
	} else {
		delete(b.Dirs, to)
		b.moveTree(from, to)
	}
	b.keep(parent(from))
	return nil
}

func (b *Bucket) moveTree(from, to string) {
	for p, f := range maps.Clone(b.Files) {
		if rest, ok := strings.CutPrefix(p, from+"/"); ok {
			delete(b.Files, p)
			b.Files[to+"/"+rest] = f
		}
	}
	for p := range maps.Clone(b.Dirs) {
		if rest, ok := strings.CutPrefix(p+"/", from+"/"); ok {
			delete(b.Dirs, p)
			b.Dirs[strings.TrimSuffix(to+"/"+rest, "/")] = true
		}
	}
}

// Keys is what a full S3 listing shows: files, and explicit directories with a trailing slash.
func (b *Bucket) Keys() []string {
	keys := slices.Collect(maps.Keys(b.Files))
	for p := range b.Dirs {
		if p != "" {
			keys = append(keys, p+"/")
		}
	}
	slices.Sort(keys)
	return keys
}

// Tree is what a walk of the mount shows: files, and directories with a trailing slash.
func (b *Bucket) Tree() []string {
	tree := map[string]bool{}
	for _, key := range b.Keys() {
		tree[key] = true
		for p := parent(strings.TrimSuffix(key, "/")); p != ""; p = parent(p) {
			tree[p+"/"] = true
		}
	}
	return slices.Sorted(maps.Keys(tree))
}
