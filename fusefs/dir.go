package fusefs

import (
	"github.com/hanwen/go-fuse/v2/fuse"

	"k3fs/namespace"
)

// OpenDir implements fuse.RawFileSystem. The kernel may not keep the listing (FOPEN_CACHE_DIR): it lets a
// reader go on at its position in a listing that another reader has begun since, and passes over as many
// entries as were removed in between.
func (d *door) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.Fh = d.dirs.add(&dir{ino: namespace.Ino(in.NodeId), fs: d.actor(&in.InHeader).Posix})
	return fuse.OK
}

// ReleaseDir implements fuse.RawFileSystem.
func (d *door) ReleaseDir(in *fuse.ReleaseIn) {
	if h := d.dirs.remove(in.Fh); h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.rewind(d)
	}
}

// ReadDir implements fuse.RawFileSystem.
func (d *door) ReadDir(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return d.readDir(in, out, false)
}

// ReadDirPlus implements fuse.RawFileSystem.
func (d *door) ReadDirPlus(c <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return d.readDir(in, out, true)
}

func (d *door) readDir(in *fuse.ReadIn, out *fuse.DirEntryList, plus bool) fuse.Status {
	h := d.dirs.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	pos := in.Offset
	if pos == 0 {
		h.rewind(d)
		d.accessed(h.fs, h.ino)
	}
	for ; pos < firstEntry; pos++ {
		if !d.addDot(out, h, pos, plus) {
			return fuse.OK
		}
	}
	for added := false; ; {
		p, i, err := h.at(d, pos, plus)
		if err != nil && added {
			return fuse.OK // the kernel will ask again
		}
		if err != nil {
			return d.status(err)
		}
		for ; i < len(p.entries); i++ {
			if !d.addEntry(out, h.ino, p, i, plus) {
				return fuse.OK
			}
			added = true
		}
		if p.end {
			return fuse.OK
		}
		pos = p.behind()
	}
}

// addDot adds "." or, at position 1, ".."; false if it does not fit.
func (d *door) addDot(out *fuse.DirEntryList, h *dir, pos uint64, plus bool) bool {
	e := fuse.DirEntry{Name: ".", Ino: uint64(h.ino), Mode: modeOf(namespace.Dir), Off: pos + 1}
	if pos == 1 {
		e.Name = ".."
		if a, err := h.fs.GetAttr(background, h.ino); err == nil && h.ino != namespace.RootIno {
			e.Ino = uint64(a.Parent)
		}
	}
	if plus {
		return out.AddDirLookupEntry(e) != nil // node id 0: nothing to cache
	}
	return out.AddDirEntry(e)
}

// addEntry adds p's i-th entry; false if it does not fit.
func (d *door) addEntry(out *fuse.DirEntryList, parent namespace.Ino, p *page, i int, plus bool) bool {
	e := &p.entries[i]
	de := fuse.DirEntry{Name: e.Name, Mode: modeOf(e.Type), Ino: uint64(e.Ino), Off: p.at + uint64(i) + 1}
	if !plus {
		return out.AddDirEntry(de)
	}
	entry := out.AddDirLookupEntry(de)
	if entry == nil {
		return false
	}
	if e.Attr != nil && d.inv.entryFresh(p.since, parent, e.Name) && d.inv.inodeFresh(p.since, e.Ino) {
		d.entry(entry, p.since, parent, e.Name, e.Attr)
	}
	return true
}
