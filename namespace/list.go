package namespace

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/tinylib/msgp/msgp"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// maxKey is the longest object key, in bytes (S3 "Object key names").
const maxKey = 1024

// ListPart is how many objects ListOptions.Found gets at a time.
const ListPart = 100

// maxStep is how many entries a walk passes over before it seeks instead.
const maxStep = 32

// ListObjects lists published files and explicit directories in the order of their keys (S3
// ListObjectsV2). What POSIX alone knows (symlinks, devices, files never published, paths longer than a
// key may be) is not shown. The cost depends on the page, not on the bucket.
func (v *View) ListObjects(ctx context.Context, bucket string, o ListOptions) (ListPage, error) {
	var page ListPage
	err := v.fs.kv.View(ctx, func(r metastore.Reader) (err error) {
		page, err = v.listPage(ctx, r, bucket, o)
		return err
	})
	return page, fail("list", bucket, err)
}

func (v *View) listPage(ctx context.Context, r metastore.Reader, bucket string, o ListOptions) (ListPage, error) {
	b, err := v.openBucket(r, bucket, tenancy.ListBucket, o.Prefix)
	if err != nil || o.Max <= 0 {
		return ListPage{}, err
	}
	l := lister{o: o}
	w := walker{ctx: ctx, r: r, prefix: o.Prefix, visit: l.visit}
	if o.After != "" {
		w.from = o.After + "\x00"
	}
	err = w.walk(b.ino)
	return l.page, err
}

// lister fills a page.
type lister struct {
	o     ListOptions
	page  ListPage
	found int    // objects that o.Found got
	last  string // the entry given last
}

// visit takes a key. It returns where the walk goes on: at the first key not less than next.
func (l *lister) visit(key string, ino Ino, rec *listed) (next string, more bool) {
	group := ""
	if l.o.Delimiter != "" {
		if i := strings.Index(key[len(l.o.Prefix):], l.o.Delimiter); i >= 0 {
			group = key[:len(l.o.Prefix)+i+len(l.o.Delimiter)]
		}
	}
	if group != "" {
		next = string(prefixEnd([]byte(group)))
		if group <= l.o.After {
			return next, true
		}
	}
	if l.found+len(l.page.Objects)+len(l.page.Prefixes) == l.o.Max {
		l.page.Truncated, l.page.Next = true, l.last
		return "", false
	}
	if group != "" {
		l.page.Prefixes = append(l.page.Prefixes, group)
		l.last = group
		return next, next != ""
	}
	if l.page.Objects == nil && l.o.After != "" { // the page before was full, and so may this one be
		l.page.Objects = make([]ObjectInfo, 0, min(l.o.Max, l.part()))
	}
	l.page.Objects = append(l.page.Objects, rec.info(key, ino))
	l.last = key
	if l.o.Found != nil && len(l.page.Objects) == ListPart {
		l.o.Found(l.page.Objects)
		l.found += ListPart
		l.page.Objects = make([]ObjectInfo, 0, ListPart)
	}
	return "", true
}

// part is how many objects come together.
func (l *lister) part() int {
	if l.o.Found != nil {
		return ListPart
	}
	return 1000
}

// walker visits the visible keys of a tree in order.
type walker struct {
	ctx    context.Context
	r      metastore.Reader
	prefix string // keys without it are not visited
	from   string // nor are keys less than this
	ids    bool   // version ids are wanted, which entries do not keep
	visit  func(key string, ino Ino, rec *listed) (next string, more bool)
	rec    listed    // of the key being visited
	dentry dentryRec // the entry being visited
	done   bool
}

// walk visits the keys of the bucket whose directory is ino.
func (w *walker) walk(ino Ino) error {
	if len(w.prefix) > maxKey {
		return nil
	}
	base := w.prefix[:strings.LastIndexByte(w.prefix, '/')+1]
	for rest := base; rest != ""; {
		i := strings.IndexByte(rest, '/') + 1
		var d dentryRec
		found, err := getRec(w.r, dentryKey(ino, rest[:i]), &d)
		if err != nil || !found {
			return err
		}
		ino, rest = Ino(d.Ino), rest[i:]
	}
	if base != "" && base == w.prefix {
		if err := w.entry(base, ino, Dir, nil); err != nil || w.done {
			return err
		}
	}
	return w.dir(ino, base)
}

// dir visits what is in a directory whose keys begin with base.
func (w *walker) dir(ino Ino, base string) error {
	if len(base) >= maxKey {
		return nil
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	within := "" // names have this prefix
	if len(w.prefix) > len(base) {
		within = w.prefix[len(base):]
	}
	to := prefixEnd(dentryKey(ino, within))
	for again := true; again && !w.done; {
		start, any := w.start(base)
		if !any {
			return nil
		}
		again = false
		from := dentryKey(ino, max(start, within))
		passed := 0
		err := w.r.Scan(metastore.Range{From: from, To: to, Page: 1001}, func(k, value []byte) (bool, error) {
			name := k[len(kDentry)+8:]
			if w.before(base, name) {
				passed++
				again = passed > maxStep
				return !again, nil
			}
			passed = 0
			return w.name(base, name, value)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// start is the least name under base that may hold keys not less than w.from; any is false if none may.
func (w *walker) start(base string) (name string, any bool) {
	if w.from <= base {
		return "", true
	}
	rest, inside := strings.CutPrefix(w.from, base)
	if i := strings.IndexByte(rest, '/'); inside && i >= 0 {
		return rest[:i+1], true
	}
	return rest, inside
}

// before reports whether all keys of a name under base are less than w.from.
func (w *walker) before(base string, name []byte) bool {
	if w.from <= base {
		return false
	}
	rest, inside := strings.CutPrefix(w.from, base)
	if !inside {
		return true
	}
	n := unsafe.String(unsafe.SliceData(name), len(name)) // for the comparison only
	return n < rest && (n[len(n)-1] != '/' || !strings.HasPrefix(rest, n))
}

// name visits an entry of a directory, with all that is in it.
func (w *walker) name(base string, name, value []byte) (more bool, err error) {
	d := &w.dentry
	if _, err := d.UnmarshalMsg(value); err != nil {
		return false, fmt.Errorf("%w: directory entry: %w", metastore.ErrCorrupt, err)
	}
	ino, typ := Ino(d.Ino), Type(d.Type)
	if typ != File && typ != Dir {
		return true, nil
	}
	buf := make([]byte, 0, len(base)+len(name))
	key := string(append(append(buf, base...), name...))
	if err := w.entry(key, ino, typ, d.Listed); err != nil || w.done {
		return false, err
	}
	// The key of the directory itself may have moved the walk past what is in it.
	if typ == Dir && !w.past(key) {
		err = w.dir(ino, key)
	}
	return !w.done, err
}

// past reports whether all keys under base are less than w.from.
func (w *walker) past(base string) bool { return w.from > base && !strings.HasPrefix(w.from, base) }

// entry visits one key, if it is visible. short is what the entry says of its file, if it does.
func (w *walker) entry(key string, ino Ino, typ Type, short []byte) error {
	if key < w.from || len(key) > maxKey {
		return nil
	}
	if err := w.read(ino, short); err != nil {
		return err
	}
	if !w.rec.visible(typ) {
		return nil
	}
	next, more := w.visit(key, ino, &w.rec)
	w.done = !more
	if next > w.from {
		w.from = next
	}
	return nil
}

// read makes w.rec that of an inode.
func (w *walker) read(ino Ino, short []byte) error {
	if len(short) > 0 && !w.ids {
		return w.rec.short(short)
	}
	b, err := w.r.Get(inodeKey(ino))
	if errors.Is(err, metastore.ErrNotFound) {
		return fmt.Errorf("%w: entry without its inode %d", metastore.ErrCorrupt, ino)
	}
	if err != nil {
		return err
	}
	return w.rec.decode(b)
}

// shortOf is the short form of a published content that its entry keeps; none of an object that a listing
// tells more of (a storage class).
func shortOf(n *inodeRec) ([]byte, error) {
	c := n.Published
	if n.Object != nil && n.Object.Headers[StorageClass] != "" {
		return nil, nil
	}
	rec := listedRec{Size: c.Size, Time: c.Time, ETag: c.ETag, Parts: c.Parts}
	if c.Sum != nil {
		rec.Algorithm, rec.Sum, rec.SumType = c.Sum.Algorithm, c.Sum.Value, c.Sum.Type
	}
	return rec.MarshalMsg(nil)
}

// shorten writes what a listing shows of a file into its entry, or takes it out there (of a file with
// several names, whose other entries could not be kept true at little cost).
func (t *txn) shorten(ino Ino, n *inodeRec) error {
	if n.hung() {
		return t.shortenHung(ino, n)
	}
	if Type(n.Type) != File || n.Parent == 0 {
		return nil
	}
	d := dentryRec{Ino: uint64(ino), Type: n.Type}
	if n.Nlink == 1 && n.Published != nil {
		var err error
		if d.Listed, err = shortOf(n); err != nil {
			return err
		}
	}
	return putRec(t, dentryKey(Ino(n.Parent), n.Name), &d)
}

// listed is what a listing needs of an inode.
type listed struct {
	explicit, published bool
	size, time, mtime   int64
	etag                string
	parts               uint32
	sum                 sumRec
	class               string
	version             string // only where walker.ids asked for it
}

func (l *listed) visible(typ Type) bool {
	return typ == File && l.published || typ == Dir && l.explicit
}

func (l *listed) info(key string, ino Ino) ObjectInfo {
	if !l.published {
		return ObjectInfo{Key: key, Ino: ino, ETag: emptyETag, LastModified: time.Unix(0, l.mtime)}
	}
	o := ObjectInfo{Key: key, Ino: ino, Size: l.size, ETag: l.etag, LastModified: time.Unix(0, l.time),
		Parts: int(l.parts), Checksums: Checksums(l.sum)}
	if l.class != "" {
		o.Headers = map[string]string{StorageClass: l.class}
	}
	return o
}

// short reads what an entry keeps of its file.
func (l *listed) short(b []byte) error {
	var rec listedRec
	if _, err := rec.UnmarshalMsg(b); err != nil {
		return fmt.Errorf("%w: directory entry: %w", metastore.ErrCorrupt, err)
	}
	*l = listed{published: true, size: rec.Size, time: rec.Time, etag: rec.ETag, parts: rec.Parts,
		sum: sumRec{Algorithm: rec.Algorithm, Value: rec.Sum, Type: rec.SumType}}
	return nil
}

// decode reads the fields of an inodeRec that it needs, and passes over the others, maps of strings
// among them.
func (l *listed) decode(b []byte) error {
	*l = listed{}
	_, err := readFields(b, func(field string, b []byte) ([]byte, error) {
		var err error
		switch field {
		case "e":
			l.explicit, b, err = msgp.ReadBoolBytes(b)
		case "vi":
			l.version, b, err = msgp.ReadStringBytes(b)
		case "mt":
			l.mtime, b, err = msgp.ReadInt64Bytes(b)
		case "pc":
			if msgp.IsNil(b) {
				return msgp.ReadNilBytes(b)
			}
			l.published = true
			b, err = readFields(b, l.content)
		case "ob":
			if msgp.IsNil(b) {
				return msgp.ReadNilBytes(b)
			}
			var o objectRec
			b, err = o.UnmarshalMsg(b)
			l.class = o.Headers[StorageClass]
		default:
			b, err = msgp.Skip(b)
		}
		return b, err
	})
	if err != nil {
		return fmt.Errorf("%w: inode record: %w", metastore.ErrCorrupt, err)
	}
	return nil
}

// content reads a field of a contentRec.
func (l *listed) content(field string, b []byte) ([]byte, error) {
	var err error
	switch field {
	case "s":
		l.size, b, err = msgp.ReadInt64Bytes(b)
	case "e":
		l.etag, b, err = msgp.ReadStringBytes(b)
	case "t":
		l.time, b, err = msgp.ReadInt64Bytes(b)
	case "c":
		l.parts, b, err = msgp.ReadUint32Bytes(b)
	case "k":
		if msgp.IsNil(b) {
			return msgp.ReadNilBytes(b)
		}
		b, err = l.sum.UnmarshalMsg(b)
	default:
		b, err = msgp.Skip(b)
	}
	return b, err
}

// readFields calls read for each field of a map, which returns what follows the field's value.
func readFields(b []byte, read func(field string, b []byte) ([]byte, error)) ([]byte, error) {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	for ; err == nil && n > 0; n-- {
		var field []byte
		if field, b, err = msgp.ReadMapKeyZC(b); err == nil {
			b, err = read(unsafe.String(unsafe.SliceData(field), len(field)), b)
		}
	}
	return b, err
}
