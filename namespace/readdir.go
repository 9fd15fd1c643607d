package namespace

import (
	"context"
	"slices"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// ReadDir implements Posix (getdents(2)). The order is that of the stored names, and the cookie of an
// entry is its stored name, so that a walk goes on where it was whatever came or went meanwhile.
func (v *View) ReadDir(ctx context.Context, dir Ino, cookie string, limit int, plus bool) ([]DirEntry, error) {
	var (
		out []DirEntry
		raw []entry
	)
	if limit <= 0 {
		return nil, nil
	}
	err := v.fs.kv.View(ctx, func(r metastore.Reader) error {
		out = nil
		if _, err := v.dir(r, dir, tenancy.ListBucket); err != nil {
			return err
		}
		var err error
		if raw, err = scanDir(r, dir, cookie, limit); err != nil {
			return err
		}
		p := dirPage{r: r, dir: dir, entries: raw, whole: len(raw) < limit}
		for i, e := range raw {
			hidden, err := p.hidden(i)
			if err != nil {
				return err
			}
			d := DirEntry{Name: shown(e.stored, hidden), Cookie: e.stored, Ino: Ino(e.Ino), Type: Type(e.Type)}
			skip, err := v.complete(r, dir, &d, plus)
			if err != nil {
				return err
			}
			if !skip {
				out = append(out, d)
			}
		}
		return nil
	})
	if err == nil && len(out) < limit && len(raw) == limit { // in the root, of other tenants' buckets: that is not its end
		more, err := v.ReadDir(ctx, dir, raw[limit-1].stored, limit-len(out), plus)
		return append(out, more...), err
	}
	return out, fail("readdir", "", err)
}

// complete adds the attributes, and says whether the entry is not for this view.
func (v *View) complete(r metastore.Reader, dir Ino, d *DirEntry, plus bool) (skip bool, err error) {
	if !plus && dir != RootIno {
		return false, nil
	}
	o := v.fs.overlay(d.Ino)
	n, err := v.inode(r, d.Ino, tenancy.ListBucket)
	if isKind(err, NotFound) && dir == RootIno {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if plus {
		a := o.over(n.attr(d.Ino))
		d.Attr = &a
	}
	return false, nil
}

// scanDir reads up to limit entries after the stored name.
func scanDir(r metastore.Reader, dir Ino, after string, limit int) (entries []entry, err error) {
	prefix := dentryKey(dir, "")
	rg := prefixRange(prefix, limit)
	if after != "" {
		rg.From = append(dentryKey(dir, after), 0)
	}
	err = r.Scan(rg, func(k, value []byte) (bool, error) {
		e := entry{stored: string(k[len(prefix):])}
		if _, err := e.UnmarshalMsg(value); err != nil {
			return false, err
		}
		entries = append(entries, e)
		return len(entries) < limit, nil
	})
	return entries, err
}

// dirPage answers from a page of entries, where it can, whether a leaf has a directory beside it.
type dirPage struct {
	r       metastore.Reader
	dir     Ino
	entries []entry
	whole   bool // the page reaches the directory's end
}

// hidden reports whether a directory hides the i-th entry, a leaf.
func (p *dirPage) hidden(i int) (bool, error) {
	e := p.entries[i]
	if isDirName(e.stored) || !plain(e.stored) {
		return false, nil
	}
	twin := e.stored + "/"
	last := p.entries[len(p.entries)-1].stored
	if p.whole || twin <= last {
		_, found := slices.BinarySearchFunc(p.entries[i:], twin, func(e entry, name string) int {
			switch {
			case e.stored < name:
				return -1
			case e.stored > name:
				return 1
			}
			return 0
		})
		return found, nil
	}
	dir, err := storedEntry(p.r, p.dir, twin)
	return dir.found(), err
}
