package namespace

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"k3fs/metastore"
)

// The past of directories, as a mount shows it (docs/semantics.md, "Older versions"). Every directory of a bucket
// that keeps versions has, though no listing shows it:
//
//	.k3fs/versions/            of the keys in the directory
//	.k3fs/versions/NAME/       of the key NAME, and of the keys in the directory NAME/, be they there or not
//	.k3fs/versions/NAME/ID     one older version: a file that can only be read
//
// These directories are made up when they are looked for. They can't be changed: what is a version is decided by
// what is written to the key, and one is removed for good through S3 or the command line only.
const versionsName = "versions"

// PastName is the name under which a directory's past is looked for. Whether it has one may change with the
// bucket's settings, so its absence is not to be remembered.
const PastName = ".k3fs"

// madeUp marks the inode numbers of directories that no record stands for.
const madeUp Ino = 1 << 63

// MadeUp reports whether the inode is a directory that is made up. What is in it comes and goes unannounced.
func (i Ino) MadeUp() bool { return i&madeUp != 0 }

// past is a directory that is made up.
type past struct {
	of     Ino    // the directory in which it was looked for
	bucket Ino    // its bucket
	base   string // what the keys in that directory begin with
	top    bool   // it is .k3fs, else a directory of versions
	below  string // what the keys begin with that are below it
}

// root reports whether it shows what is in the directory itself.
func (p past) root() bool { return p.below == p.base }

// step is the directory of a component in it.
func (p past) step(c string) past {
	p.below += c + "/"
	return p
}

// up is the directory that it is in, but of .k3fs, which is in one that is there.
func (p past) up() past {
	if p.root() {
		p.top = true
		return p
	}
	p.below = p.below[:strings.LastIndexByte(p.below[:len(p.below)-1], '/')+1]
	return p
}

// own are the keys whose versions are in the directory itself: that of a file, unless no file can have the name, and
// that of a directory.
func (p past) own() []string {
	file := strings.TrimSuffix(p.below, "/")
	switch {
	case p.top, p.root():
		return nil
	case file == "", strings.HasSuffix(file, "/"):
		return []string{p.below}
	}
	return []string{file, p.below}
}

// pastInos numbers the directories that the kernel may know. Of the many that it has seen, the oldest are forgotten:
// who comes with such a number looks its path up again. The zero value is ready.
type pastInos struct {
	mu    sync.Mutex
	next  uint64       // guarded by mu
	inos  map[past]Ino // guarded by mu
	pasts map[Ino]past // guarded by mu
	first uint64       // guarded by mu; the oldest that is remembered
}

const pastMost = 1 << 16

func (i *pastInos) number(p past) Ino {
	i.mu.Lock()
	defer i.mu.Unlock()
	if ino, ok := i.inos[p]; ok {
		return ino
	}
	if i.inos == nil {
		i.inos, i.pasts = map[past]Ino{}, map[Ino]past{}
	}
	if len(i.inos) == pastMost {
		oldest := Ino(i.first) | madeUp
		delete(i.inos, i.pasts[oldest])
		delete(i.pasts, oldest)
		i.first++
	}
	ino := Ino(i.next) | madeUp
	i.next++
	i.inos[p], i.pasts[ino] = ino, p
	return ino
}

func (i *pastInos) find(ino Ino) (past, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	p, ok := i.pasts[ino]
	if !ok {
		return p, of(Stale)
	}
	return p, nil
}

// likeVersionID reports whether a name is one that a version may have.
func likeVersionID(name string) bool {
	_, ok := parseVersionID(name)
	return ok || name == nullVersion
}

// pastAlias is the name of a component: an alias where POSIX can't say it, or it would be taken for a version.
func pastAlias(c string) string {
	if plain(c) && !likeVersionID(c) {
		return c
	}
	alias, _ := aliasOf(c + "/")
	return alias
}

// version finds an older version of the directory's own keys by its id; 0 if there is none.
func (p past) version(r metastore.Reader, id string) (Ino, error) {
	if !likeVersionID(id) {
		return 0, nil
	}
	b := bucketDir{ino: p.bucket}
	for _, k := range p.own() {
		seq, found := parseVersionID(id)
		if id == nullVersion {
			var err error
			if seq, found, err = nullSeq(r, b.slot(k)); err != nil {
				return 0, err
			}
		}
		var rec versionRec
		if found {
			var err error
			if found, err = getRec(r, versionKey(p.bucket, k, seq), &rec); err != nil {
				return 0, err
			}
		}
		if found && shownID(rec.ID) == id && rec.Ino != 0 {
			return Ino(rec.Ino), nil
		}
	}
	return 0, nil
}

// child finds the component that a name in the directory stands for; NotFound if that has no past.
func (p past) child(r metastore.Reader, name string) (c string, err error) {
	found := false
	if strings.HasPrefix(name, hashAlias) {
		err = p.components(r, "", func(stored string) (bool, error) {
			c = component(stored)
			found = pastAlias(c) == name
			return !found, nil
		})
	} else if c = strings.TrimPrefix(name, dirAlias); pastAlias(c) == name {
		found, err = p.hasChild(r, c)
	}
	if err == nil && !found {
		err = of(NotFound)
	}
	return c, err
}

// hasChild reports whether a component has a past: as a key, or as a directory of keys.
func (p past) hasChild(r metastore.Reader, c string) (bool, error) {
	child := p.step(c)
	for _, k := range child.own() {
		if found, err := anyKey(r, historyKey(p.bucket, k)); err != nil || found {
			return found, err
		}
	}
	return child.deep(r)
}

// deep reports whether keys below the directory have a past, or its own as a directory.
func (p past) deep(r metastore.Reader) (bool, error) { return anyKey(r, p.hung("")) }

// hung is what begins the records of all that hangs on keys which begin with a name in the directory.
func (p past) hung(stored string) []byte {
	return append(key(kVersion, uint64(p.bucket)), p.below+stored...)
}

func anyKey(r metastore.Reader, prefix []byte) (found bool, err error) {
	rg := prefixRange(prefix, 1)
	rg.KeysOnly = true
	err = r.Scan(rg, func(_, _ []byte) (bool, error) {
		found = true
		return false, nil
	})
	return found, err
}

var errPastEnd = errors.New("no more components")

// components calls fn once for each component with a past that follows one: with its name, and a '/' behind if it is
// no key itself.
func (p past) components(r metastore.Reader, after string, fn func(stored string) (more bool, err error)) error {
	from := p.hung("")
	if after != "" {
		from = p.behind(after)
	}
	for {
		stored, err := p.first(r, from)
		if errors.Is(err, errPastEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		from = p.behind(stored)
		if stored == "" { // the directory's own key
			continue
		}
		if isDirName(stored) && stored != "/" { // a component that is a key as well came as that
			twin, err := anyKey(r, historyKey(p.bucket, p.below+component(stored)))
			if err != nil {
				return err
			}
			if twin {
				continue
			}
		}
		if more, err := fn(stored); err != nil || !more {
			return err
		}
	}
}

// first is the first name at or behind a place.
func (p past) first(r metastore.Reader, from []byte) (stored string, err error) {
	err = errPastEnd
	scan := r.Scan(metastore.Range{From: from, To: prefixEnd(p.hung("")), Page: 1, KeysOnly: true}, func(k, _ []byte) (bool, error) {
		objectKey, _, ok := parseVersionKey(k[len(kVersion)+8:])
		if !ok {
			return false, fmt.Errorf("%w: key of a version", metastore.ErrCorrupt)
		}
		c, _, deep := strings.Cut(objectKey[len(p.below):], "/")
		if stored, err = c, nil; deep {
			stored += "/"
		}
		return false, nil
	})
	if scan != nil {
		return "", scan
	}
	return stored, err
}

// behind is the place behind all that a name stands for.
func (p past) behind(stored string) []byte {
	if isDirName(stored) {
		return prefixEnd(p.hung(stored))
	}
	return prefixEnd(historyKey(p.bucket, p.below+stored))
}
