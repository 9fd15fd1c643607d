package fusefs

import (
	"context"

	"k3fs/namespace"
)

// window is a part of a file system: a directory of it is shown as the root, files with other owners and
// modes than they have. What lies outside can't be named: the kernel knows only numbers that a
// lookup below the root gave it, and the number of the root means the directory here. It embeds no
// Posix on purpose, since a method that took the root's number as it is would lead out.
type window struct {
	fs     namespace.Posix
	root   namespace.Ino
	owners Owners
}

var _ namespace.Posix = (*window)(nil)

// through returns what o mounts.
func through(o Options) namespace.Posix {
	if (o.Root == 0 || o.Root == namespace.RootIno) && o.Owners.zero() {
		return o.FS
	}
	w := &window{fs: o.FS, root: o.Root, owners: o.Owners}
	if w.root == 0 {
		w.root = namespace.RootIno
	}
	return w
}

// in is the inode that the kernel means.
func (w *window) in(ino namespace.Ino) namespace.Ino {
	if ino == namespace.RootIno {
		return w.root
	}
	return ino
}

// out shows attributes.
func (w *window) out(a namespace.Attr, err error) (namespace.Attr, error) {
	if err == nil {
		w.owners.show(&a)
	}
	return a, err
}

func (w *window) Lookup(ctx context.Context, parent namespace.Ino, name string) (namespace.Attr, error) {
	return w.out(w.fs.Lookup(ctx, w.in(parent), name))
}

func (w *window) GetAttr(ctx context.Context, ino namespace.Ino) (namespace.Attr, error) {
	return w.out(w.fs.GetAttr(ctx, w.in(ino)))
}

func (w *window) Accessed(ctx context.Context, ino namespace.Ino) (bool, error) {
	return w.fs.Accessed(ctx, w.in(ino))
}

func (w *window) SetAttr(ctx context.Context, ino namespace.Ino, s namespace.SetAttr) (namespace.Attr, error) {
	ino = w.in(ino)
	if s.Mode != nil || s.UID != nil || s.GID != nil {
		now, err := w.fs.GetAttr(ctx, ino)
		if err == nil {
			err = w.owners.take(&s, now)
		}
		if err != nil {
			return namespace.Attr{}, err
		}
	}
	return w.out(w.fs.SetAttr(ctx, ino, s))
}

func (w *window) Mkdir(ctx context.Context, parent namespace.Ino, name string, n namespace.NewNode) (namespace.Attr, error) {
	if err := w.owners.store(&n); err != nil {
		return namespace.Attr{}, err
	}
	return w.out(w.fs.Mkdir(ctx, w.in(parent), name, n))
}

func (w *window) Mknod(ctx context.Context, parent namespace.Ino, name string, n namespace.NewNode) (namespace.Attr, error) {
	if err := w.owners.store(&n); err != nil {
		return namespace.Attr{}, err
	}
	return w.out(w.fs.Mknod(ctx, w.in(parent), name, n))
}

func (w *window) Symlink(ctx context.Context, parent namespace.Ino, name, target string, n namespace.NewNode) (namespace.Attr, error) {
	if err := w.owners.store(&n); err != nil {
		return namespace.Attr{}, err
	}
	return w.out(w.fs.Symlink(ctx, w.in(parent), name, target, n))
}

func (w *window) Readlink(ctx context.Context, ino namespace.Ino) (string, error) {
	return w.fs.Readlink(ctx, w.in(ino))
}

func (w *window) Link(ctx context.Context, ino, parent namespace.Ino, name string) (namespace.Attr, error) {
	return w.out(w.fs.Link(ctx, w.in(ino), w.in(parent), name))
}

func (w *window) Unlink(ctx context.Context, parent namespace.Ino, name string) error {
	return w.fs.Unlink(ctx, w.in(parent), name)
}

func (w *window) Rmdir(ctx context.Context, parent namespace.Ino, name string) error {
	return w.fs.Rmdir(ctx, w.in(parent), name)
}

func (w *window) Rename(ctx context.Context, parent namespace.Ino, name string, newParent namespace.Ino, newName string, f namespace.RenameFlags) error {
	return w.fs.Rename(ctx, w.in(parent), name, w.in(newParent), newName, f)
}

func (w *window) Create(ctx context.Context, parent namespace.Ino, name string, n namespace.NewNode, f namespace.OpenFlags) (namespace.Attr, namespace.FileHandle, error) {
	if err := w.owners.store(&n); err != nil {
		return namespace.Attr{}, nil, err
	}
	a, h, err := w.fs.Create(ctx, w.in(parent), name, n, f)
	a, err = w.out(a, err)
	return a, h, err
}

func (w *window) Tmpfile(ctx context.Context, dir namespace.Ino, n namespace.NewNode, f namespace.OpenFlags) (namespace.Attr, namespace.FileHandle, error) {
	if err := w.owners.store(&n); err != nil {
		return namespace.Attr{}, nil, err
	}
	a, h, err := w.fs.Tmpfile(ctx, w.in(dir), n, f)
	a, err = w.out(a, err)
	return a, h, err
}

func (w *window) Open(ctx context.Context, ino namespace.Ino, f namespace.OpenFlags) (namespace.FileHandle, error) {
	return w.fs.Open(ctx, w.in(ino), f)
}

func (w *window) ReadDir(ctx context.Context, dir namespace.Ino, cookie string, limit int, plus bool) ([]namespace.DirEntry, error) {
	entries, err := w.fs.ReadDir(ctx, w.in(dir), cookie, limit, plus)
	for i := range entries {
		if a := entries[i].Attr; a != nil {
			w.owners.show(a)
		}
	}
	return entries, err
}

func (w *window) GetXattr(ctx context.Context, ino namespace.Ino, name string) ([]byte, error) {
	return w.fs.GetXattr(ctx, w.in(ino), name)
}

func (w *window) SetXattr(ctx context.Context, ino namespace.Ino, name string, value []byte, f namespace.XattrFlags) error {
	return w.fs.SetXattr(ctx, w.in(ino), name, value, f)
}

func (w *window) ListXattr(ctx context.Context, ino namespace.Ino) ([]string, error) {
	return w.fs.ListXattr(ctx, w.in(ino))
}

func (w *window) RemoveXattr(ctx context.Context, ino namespace.Ino, name string) error {
	return w.fs.RemoveXattr(ctx, w.in(ino), name)
}

func (w *window) StatFS(ctx context.Context, ino namespace.Ino) (namespace.StatFS, error) {
	return w.fs.StatFS(ctx, w.in(ino))
}

func (w *window) SyncDir(ctx context.Context, dir namespace.Ino) error {
	return w.fs.SyncDir(ctx, w.in(dir))
}

func (w *window) Sync(ctx context.Context) error { return w.fs.Sync(ctx) }
