package fusefs

import (
	"context"

	"k3fs/namespace"
)

func (fs *memFS) Tmpfile(_ context.Context, dir namespace.Ino, n namespace.NewNode, _ namespace.OpenFlags) (namespace.Attr, namespace.FileHandle, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if _, err := fs.dir(dir); err != nil {
		return namespace.Attr{}, nil, err
	}
	m := fs.node(namespace.File, n)
	m.attr.Nlink = 0
	m.open++
	return m.snapshot(), &memHandle{n: m}, nil
}

func (h *memHandle) Allocate(ctx context.Context, mode namespace.AllocMode, keepSize bool, off, length int64) error {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	end := off + length
	if !keepSize {
		h.n.attr.Size = max(h.n.attr.Size, end)
	}
	for i, b := range h.n.blocks {
		if from, to := max(off, i*memBlock), min(end, (i+1)*memBlock); mode != namespace.AllocSpace && from < to {
			clear(b[from%memBlock:][:to-from])
		}
	}
	return nil
}

func (h *memHandle) CopyFrom(ctx context.Context, src namespace.FileHandle, srcOff, off, length int64) (int64, error) {
	p := make([]byte, min(length, memBlock))
	n, err := src.ReadAt(ctx, p, srcOff)
	if err == nil {
		n, err = h.WriteAt(ctx, p[:n], off)
	}
	return int64(n), err
}
