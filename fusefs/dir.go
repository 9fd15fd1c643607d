package fusefs

import (
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"k3fs/namespace"
)

// Entries read from the namespace at a time. With attributes an entry is dearer, and one READDIRPLUS
// holds fewer of them.
const (
	pageEntries     = 1024
	pageEntriesPlus = 256
)

// firstEntry is the position of the first real entry: "." and ".." come before.
const firstEntry = 2

// dir is an open directory. The kernel's offset is a position, the number of entries before. Since the
// kernel resumes anywhere in what it was given last, the last two pages are kept; to places further
// back lead the marks, one for each page.
type dir struct {
	ino   namespace.Ino
	mu    sync.Mutex
	pages [2]page     // guarded by mu; ascending, the second is the newer
	marks []placeMark // guarded by mu; ascending by position
	ahead chan page   // guarded by mu; when set, the page after pages[1] is being read and will come here
}

// page is a run of entries.
type page struct {
	at      uint64 // position of the first
	entries []namespace.DirEntry
	plus    bool
	end     bool   // nothing follows
	since   uint64 // the Invalidator's number at the reading
	err     error
}

func (p *page) next() uint64 { return p.at + uint64(len(p.entries)) }

// holds reports whether the page answers a read from position pos.
func (p *page) holds(pos uint64) bool {
	return p.at != 0 && pos >= p.at && (pos < p.next() || p.end && pos == p.next())
}

// placeMark says that position at is reached by reading after cookie.
type placeMark struct {
	at     uint64
	cookie string
}

// OpenDir implements fuse.RawFileSystem. The kernel may not keep the listing (FOPEN_CACHE_DIR): it lets a
// reader go on at its position in a listing that another reader has begun since, and passes over as many
// entries as were removed in between.
func (d *door) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.Fh = d.dirs.add(&dir{ino: namespace.Ino(in.NodeId)})
	return fuse.OK
}

// ReleaseDir implements fuse.RawFileSystem.
func (d *door) ReleaseDir(in *fuse.ReleaseIn) { d.dirs.remove(in.Fh) }

// ReadDir implements fuse.RawFileSystem.
func (d *door) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return d.readDir(in, out, false)
}

// ReadDirPlus implements fuse.RawFileSystem.
func (d *door) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
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
		h.rewind()
		d.accessed(h.ino)
	}
	for ; pos < firstEntry; pos++ {
		if !d.addDot(out, h.ino, pos, plus) {
			return fuse.OK
		}
	}
	for added := false; ; added = true {
		p, err := h.at(d, pos, plus)
		if err != nil && added {
			return fuse.OK // the kernel will ask again
		}
		if err != nil {
			return d.status(err)
		}
		for ; pos < p.next(); pos++ {
			if !d.addEntry(out, h.ino, p, pos, plus) {
				return fuse.OK
			}
		}
		if p.end {
			return fuse.OK
		}
	}
}

// addDot adds "." or, at position 1, ".."; false if it does not fit.
func (d *door) addDot(out *fuse.DirEntryList, ino namespace.Ino, pos uint64, plus bool) bool {
	e := fuse.DirEntry{Name: ".", Ino: uint64(ino), Mode: modeOf(namespace.Dir), Off: pos + 1}
	if pos == 1 {
		e.Name = ".."
		if a, err := d.fs.GetAttr(background, ino); err == nil && ino != namespace.RootIno {
			e.Ino = uint64(a.Parent)
		}
	}
	if plus {
		return out.AddDirLookupEntry(e) != nil // node id 0: nothing to cache
	}
	return out.AddDirEntry(e)
}

// addEntry adds p's entry at position pos; false if it does not fit.
func (d *door) addEntry(out *fuse.DirEntryList, parent namespace.Ino, p *page, pos uint64, plus bool) bool {
	e := &p.entries[pos-p.at]
	de := fuse.DirEntry{Name: e.Name, Mode: modeOf(e.Type), Ino: uint64(e.Ino), Off: pos + 1}
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

// rewind forgets all that was read: a listing begun anew shows the directory as it is now.
// h.mu must be held.
func (h *dir) rewind() {
	h.pages = [2]page{}
	h.marks = append(h.marks[:0], placeMark{at: firstEntry})
	h.ahead = nil
}

// at returns the page that holds position pos. h.mu must be held.
func (h *dir) at(d *door, pos uint64, plus bool) (*page, error) {
	if len(h.marks) == 0 {
		h.rewind()
	}
	for i := range h.pages {
		if p := &h.pages[i]; p.holds(pos) {
			if i == 1 && !p.end {
				h.readAhead(d, p)
			}
			return p, nil
		}
	}
	if last := &h.pages[1]; last.at != 0 && pos == last.next() && !last.end {
		return h.follow(d, plus)
	}
	return h.seek(d, pos, plus)
}

// follow reads the page after the newest. h.mu must be held.
func (h *dir) follow(d *door, plus bool) (*page, error) {
	last := &h.pages[1]
	var p page
	if h.ahead != nil {
		p = <-h.ahead
		h.ahead = nil
	}
	if p.at != last.next() || p.plus != plus || p.err != nil {
		p = d.readPage(h.ino, last.next(), last.entries[len(last.entries)-1].Cookie, plus)
	}
	if p.err != nil {
		return nil, p.err
	}
	h.pages[0], h.pages[1] = h.pages[1], p
	h.mark()
	return &h.pages[1], nil
}

// readAhead begins to read the page after p, the newest, so that it is there when the kernel asks.
// h.mu must be held.
func (h *dir) readAhead(d *door, p *page) {
	if h.ahead != nil {
		return
	}
	ahead := make(chan page, 1)
	h.ahead = ahead
	ino, at, cookie, plus := h.ino, p.next(), p.entries[len(p.entries)-1].Cookie, p.plus
	go func() { ahead <- d.readPage(ino, at, cookie, plus) }()
}

// seek goes to a position that was left behind (or never reached). h.mu must be held.
func (h *dir) seek(d *door, pos uint64, plus bool) (*page, error) {
	i := len(h.marks) - 1
	for i > 0 && h.marks[i].at > pos {
		i--
	}
	from := h.marks[i]
	h.ahead = nil
	for {
		p := d.readPage(h.ino, from.at, from.cookie, plus)
		if p.err != nil {
			return nil, p.err
		}
		h.pages[0], h.pages[1] = page{}, p
		h.mark()
		if p.holds(pos) {
			return &h.pages[1], nil
		}
		if p.end { // beyond the end
			h.pages[1] = page{at: pos, end: true, plus: plus}
			return &h.pages[1], nil
		}
		from = placeMark{at: p.next(), cookie: p.entries[len(p.entries)-1].Cookie}
	}
}

// mark remembers where the newest page ends. h.mu must be held.
func (h *dir) mark() {
	p := &h.pages[1]
	if len(p.entries) > 0 && p.next() > h.marks[len(h.marks)-1].at {
		h.marks = append(h.marks, placeMark{at: p.next(), cookie: p.entries[len(p.entries)-1].Cookie})
	}
}

// readPage reads the entries after cookie, which are at position at.
func (d *door) readPage(ino namespace.Ino, at uint64, cookie string, plus bool) page {
	limit := pageEntries
	if plus {
		limit = pageEntriesPlus
	}
	p := page{at: at, plus: plus, since: d.inv.now()}
	p.entries, p.err = d.fs.ReadDir(background, ino, cookie, limit, plus)
	p.end = len(p.entries) < limit
	return p
}
