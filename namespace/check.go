package namespace

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"k3fs/chunkstore"
	"k3fs/metastore"
)

// CheckOptions say how thoroughly Check looks.
type CheckOptions struct {
	Deep  bool // authenticate every byte of data; else the header of every frame and one package of it
	Limit int  // problems told at most; 0 means 1,000

	// Pace is called before data is read, with how many bytes, and may wait; its error ends the check. Nil never waits.
	Pace func(ctx context.Context, bytes int64) error
	// Progress is told now and then how far the check is; nil for nobody.
	Progress func(CheckReport)

	live *FS // of which the stores are, while it is in use; nil: nobody uses them
}

// Problem is one inconsistency.
type Problem struct {
	Code string // of a fixed set: "entry", "link", "tree", "content", "extent", "data", ...
	Text string // a sentence, with numbers in place of names
}

func (p Problem) String() string { return p.Code + ": " + p.Text }

// CheckReport is what Check found.
type CheckReport struct {
	Inodes, Entries, Contents, Extents int64
	Bytes                              int64 // of data that extents hold, as far as it was checked
	OfBytes                            int64 // of data that there is to check; 0: that is not known yet
	Problems                           []Problem
	More                               int // problems beyond CheckOptions.Limit
}

// Check looks for every inconsistency among the records of a namespace, and between them and the data. It
// changes nothing and needs no recovery first: what recovery would clean up (contents being built, files
// removed while open) is no inconsistency. Nothing may use the stores meanwhile; FS.Check is for stores
// that are in use. The error says why the check could not be done.
func Check(ctx context.Context, kv metastore.Store, chunks *chunkstore.Store, auth Authority, o CheckOptions) (CheckReport, error) {
	if o.Limit <= 0 {
		o.Limit = 1000
	}
	c := &checker{
		ctx: ctx, o: o, chunks: chunks, fs: &FS{auth: auth},
		nodes: map[Ino]*node{}, contents: map[contentID]bool{}, refs: map[place]*extentUse{},
		locked: map[Ino]int64{}, holders: map[contentID]uint32{}, uploads: map[uploadID]bool{}, zombies: map[Ino]bool{},
	}
	err := kv.View(ctx, func(r metastore.Reader) error {
		c.r = r
		if err := c.fs.loadErased(r); err != nil {
			return err
		}
		for _, step := range []func() error{
			c.super, c.inodes, c.zombieTable, c.entries, c.linkTable, c.buckets, c.small,
			c.uploadTables, c.orphans, c.versions, c.shared, c.pages, c.objParts, c.tree, c.locks, c.extents, c.usage,
		} {
			if err := step(); err != nil {
				return err
			}
			c.tell()
		}
		return nil
	})
	return c.report, err
}

// Check is Check of the namespace while it is in use: of its records as they are at the call, and of the data that these
// refer to and that are still needed when they are read. It keeps about 200 bytes for each inode meanwhile.
func (fs *FS) Check(ctx context.Context, o CheckOptions) (CheckReport, error) {
	o.live = fs
	return Check(ctx, fs.kv, fs.chunks, fs.auth, o)
}

// tell says how far the check is.
func (c *checker) tell() {
	if c.o.Progress != nil {
		c.o.Progress(c.report)
	}
}

// node is what the checker keeps of an inode.
type node struct {
	typ               Type
	nlink             uint32
	names             uint32 // entries that name it
	links             uint32 // nL records
	subdirs           uint32
	parent            Ino
	bucket, owner     uint64
	xattrs, unsettled bool
	hook              hook // of a version that hangs on a key
	rooted            bool // known to hang on the root, or on a tree being removed
}

// checker is a check under way.
type checker struct {
	ctx    context.Context
	o      CheckOptions
	r      metastore.Reader
	chunks *chunkstore.Store
	fs     *FS // its keys only
	report CheckReport

	next     uint64 // numbers are below this
	nodes    map[Ino]*node
	locked   map[Ino]int64        // what has a name and a lock, and its lockRec.bound
	contents map[contentID]bool   // that something owns
	holders  map[contentID]uint32 // of contents that are marked as shared
	refs     map[place]*extentUse
	uploads  map[uploadID]bool // true: in progress; false: ended, with parts left
	zombies  map[Ino]bool
}

func (c *checker) problem(code, format string, args ...any) {
	if len(c.report.Problems) == c.o.Limit {
		c.report.More++
		return
	}
	c.report.Problems = append(c.report.Problems, Problem{code, fmt.Sprintf(format, args...)})
}

// table runs fn for each record of a kind. rest is the key behind the kind, of at least width bytes. A
// record that can't be read is a problem, and so is what fn returns.
func (c *checker) table(kind string, width int, fn func(rest, value []byte) error) error {
	err := c.r.Scan(prefixRange([]byte(kind), 4096), func(k, value []byte) (bool, error) {
		if err := c.ctx.Err(); err != nil {
			return false, err
		}
		rest := k[len(kind):]
		if len(rest) < width {
			c.problem("key", "a key of table %s has %d bytes", kind, len(k))
		} else if err := fn(rest, value); err != nil {
			if c.ctx.Err() != nil {
				return false, err
			}
			c.problem("record", "a record of table %s (%x): %v", kind, rest[:min(width, 16)], err)
		}
		return true, nil
	})
	if errors.Is(err, metastore.ErrCorrupt) {
		c.problem("record", "table %s can't be read to its end: %v", kind, err)
		return nil
	}
	return err
}

func decode(value []byte, r record) error {
	_, err := r.UnmarshalMsg(value)
	return err
}

func ino(rest []byte) Ino { return Ino(binary.BigEndian.Uint64(rest)) }

func (c *checker) super() error {
	var s superRec
	found, err := getRec(c.r, key(kSuper), &s)
	if err != nil || !found {
		c.problem("super", "the record of the store itself is missing or unreadable: %v", err)
	}
	if s.Format != 1 {
		c.problem("super", "format %d is unknown", s.Format)
	}
	c.next = s.Next
	return nil
}

// number checks that a number was given out.
func (c *checker) number(what string, n uint64) {
	if n == 0 || n >= c.next {
		c.problem("number", "%s %d is not below %d, the next to be given", what, n, c.next)
	}
}

func (c *checker) inodes() error {
	return c.table(kInode, 8, func(rest, value []byte) error {
		i := ino(rest)
		var n inodeRec
		if err := decode(value, &n); err != nil {
			return err
		}
		c.report.Inodes++
		c.number("inode", uint64(i))
		c.nodes[i] = &node{typ: Type(n.Type), nlink: n.Nlink, parent: Ino(n.Parent), bucket: n.Bucket, owner: n.Owner,
			xattrs: n.Xattrs, unsettled: n.unsettled()}
		if n.hung() {
			c.nodes[i].hook = hook{n.Key, n.Seq, n.Version}
		} else if n.Lock != nil && n.Nlink > 0 {
			c.locked[i] = n.Lock.bound()
		}
		if Type(n.Type) != File && n.Draft != nil || Type(n.Type) != File && Type(n.Type) != Dir && n.Published != nil {
			c.problem("content", "inode %d of type %d has a content", i, n.Type)
		}
		for _, content := range []*contentRec{n.Published, n.Draft} {
			if content != nil {
				c.content(n.domain(), content, false, "inode", uint64(i))
			}
		}
		if content := n.content(); Type(n.Type) == File && (content == nil && n.Size != 0 || content != nil && content.Size != n.Size) {
			c.problem("size", "inode %d says %d bytes, and its content does not", i, n.Size)
		}
		_, err := c.r.Get(draftKey(i))
		if noted := err == nil; noted != n.unsettled() {
			c.problem("draft", "inode %d: unsettled %v, noted for recovery %v", i, n.unsettled(), noted)
		}
		return nil
	})
}

func (c *checker) zombieTable() error {
	return c.table(kZombie, 8, func(rest, _ []byte) error {
		i := ino(rest)
		c.zombies[i] = true
		if n := c.nodes[i]; n == nil || n.nlink != 0 {
			c.problem("zombie", "inode %d is noted as removed while open, and is not", i)
		}
		return nil
	})
}

func (c *checker) entries() error {
	return c.table(kDentry, 9, func(rest, value []byte) error {
		var d dentryRec
		if err := decode(value, &d); err != nil {
			return err
		}
		c.report.Entries++
		parent, stored := ino(rest), string(rest[8:])
		dir, child := c.nodes[parent], c.nodes[Ino(d.Ino)]
		switch {
		case dir == nil || dir.typ != Dir:
			c.problem("entry", "an entry for inode %d is in inode %d, which is no directory", d.Ino, parent)
			return nil
		case child == nil:
			c.problem("entry", "directory %d has an entry for inode %d, which does not exist", parent, d.Ino)
			return nil
		case Type(d.Type) != child.typ || isDirName(stored) != (child.typ == Dir):
			c.problem("entry", "directory %d has an entry for inode %d as type %d, which is of type %d", parent, d.Ino, d.Type, child.typ)
		}
		child.names++
		if child.typ == Dir {
			dir.subdirs++
		}
		bucket, owner := dir.bucket, dir.owner
		if parent == RootIno {
			bucket, owner = d.Ino, child.owner
		}
		if child.bucket != bucket || child.owner != owner {
			c.problem("entry", "inode %d is of bucket %d and tenant %d, its directory %d of %d and %d", d.Ino, child.bucket, child.owner, parent, bucket, owner)
		}
		if err := c.short(Ino(d.Ino), d.Listed); err != nil {
			return err
		}
		return c.entryLink(parent, stored, Ino(d.Ino), child)
	})
}

// short checks that what an entry tells listings is what its file's record says.
func (c *checker) short(i Ino, listed []byte) error {
	if len(listed) == 0 {
		return nil
	}
	n, err := getInode(c.r, i)
	if err != nil {
		return err
	}
	var want []byte
	if n.Published != nil && n.Nlink == 1 {
		if want, err = shortOf(n); err != nil {
			return err
		}
	}
	if !bytes.Equal(listed, want) {
		c.problem("listed", "the entry of inode %d tells listings what its record does not say", i)
	}
	return nil
}

// entryLink checks that the inode and the alias table know of an entry.
func (c *checker) entryLink(parent Ino, stored string, i Ino, child *node) error {
	if child.nlink > 1 && child.typ != Dir {
		if _, err := c.r.Get(linkKey(i, parent, stored)); err != nil {
			c.problem("link", "inode %d does not know its name in directory %d: %v", i, parent, err)
		}
	} else if n, err := getInode(c.r, i); err != nil || Ino(n.Parent) != parent || n.Name != stored {
		c.problem("link", "inode %d does not know its name in directory %d", i, parent)
	}
	if alias, needed := recordedAlias(stored); needed {
		if b, err := c.r.Get(aliasKey(parent, alias)); err != nil || string(b) != stored {
			c.problem("alias", "a name of inode %d in directory %d has no alias: %v", i, parent, err)
		}
	}
	return nil
}

func (c *checker) linkTable() error {
	return c.table(kLink, 17, func(rest, _ []byte) error {
		i := ino(rest)
		parent, stored := decodeLink(rest[8:])
		n := c.nodes[i]
		if n == nil {
			c.problem("link", "a link names inode %d, which does not exist", i)
			return nil
		}
		n.links++
		if e, err := storedEntry(c.r, Ino(parent), stored); err != nil || Ino(e.Ino) != i {
			c.problem("link", "inode %d has a link in directory %d that has no entry", i, parent)
		}
		return nil
	})
}

func (c *checker) buckets() error {
	known := map[Ino]bool{}
	err := c.table(kBucket, 8, func(rest, value []byte) error {
		i := ino(rest)
		known[i] = true
		var b bucketRec
		if err := decode(value, &b); err != nil {
			return err
		}
		e, err := storedEntry(c.r, RootIno, b.Name+"/")
		n := c.nodes[i]
		if err != nil || Ino(e.Ino) != i || n == nil || n.owner != b.Owner {
			c.problem("bucket", "bucket %d is not the directory of its name", i)
		}
		return nil
	})
	for i, n := range c.nodes {
		if n.typ == Dir && n.parent == RootIno && !known[i] {
			c.problem("bucket", "directory %d in the root is no bucket", i)
		}
	}
	return err
}

// small checks the tables of aliases, attributes and drafts.
func (c *checker) small() error {
	return errors.Join(
		c.table(kAlias, 9, func(rest, value []byte) error {
			if e, err := storedEntry(c.r, ino(rest), string(value)); err != nil || !e.found() {
				c.problem("alias", "an alias in directory %d stands for nothing", ino(rest))
			}
			return nil
		}),
		c.table(kXattr, 9, func(rest, _ []byte) error {
			if n := c.nodes[ino(rest)]; n == nil || !n.xattrs {
				c.problem("xattr", "an extended attribute belongs to inode %d, which has none", ino(rest))
			}
			return nil
		}),
		c.table(kDraft, 8, func(rest, _ []byte) error {
			if n := c.nodes[ino(rest)]; n == nil || !n.unsettled {
				c.problem("draft", "inode %d is noted as unsettled, and is not", ino(rest))
			}
			return nil
		}),
	)
}

func (c *checker) uploadTables() error {
	return errors.Join(
		c.table(kUpload, 8+1+16, func(rest, value []byte) error {
			var u uploadRec
			if err := decode(value, &u); err != nil {
				return err
			}
			id := uploadID(rest[len(rest)-16:])
			c.uploads[id] = true
			if u.Key != string(rest[8:len(rest)-17]) {
				c.problem("upload", "upload %s is not under its key", id)
			}
			if n := c.nodes[ino(rest)]; n == nil || n.typ != Dir || n.parent != RootIno {
				c.problem("upload", "upload %s is in bucket %d, which does not exist", id, ino(rest))
			}
			return nil
		}),
		c.table(kEnded, 16, func(rest, value []byte) error {
			c.uploads[uploadID(rest)] = false
			return nil
		}),
		c.table(kPart, 18, func(rest, value []byte) error {
			var p partRec
			if err := decode(value, &p); err != nil {
				return err
			}
			id, number := uploadID(rest[:16]), binary.BigEndian.Uint16(rest[16:])
			going, known := c.uploads[id]
			if !known {
				c.problem("upload", "part %d is of upload %s, which does not exist", number, id)
			}
			c.content(0, &p.Content, known && !going, "part", uint64(number))
			return nil
		}),
	)
}

func (c *checker) orphans() error {
	return c.table(kOrphan, 8, func(rest, value []byte) error {
		var o orphanRec
		if err := decode(value, &o); err != nil {
			return err
		}
		if o.Content.ID != binary.BigEndian.Uint64(rest) {
			c.problem("orphan", "orphan %d is noted as content %d", binary.BigEndian.Uint64(rest), o.Content.ID)
		}
		c.content(chunkstore.Domain(o.Domain), &o.Content, true, "orphan", o.Content.ID)
		return nil
	})
}

// tree checks how inodes hang together: names, link counts, and that all hang on the root.
func (c *checker) tree() error {
	if root := c.nodes[RootIno]; root == nil || root.typ != Dir {
		c.problem("tree", "there is no root")
	}
	for i, n := range c.nodes {
		c.linkCount(i, n)
	}
	for i, n := range c.nodes {
		if n.typ == Dir && !c.rooted(i) {
			c.problem("tree", "directory %d does not hang on the root", i)
		}
	}
	return nil
}

func (c *checker) linkCount(i Ino, n *node) {
	if n.typ == Dir {
		names, links := uint32(1), 2+n.subdirs
		if i == RootIno {
			names = 0
		}
		if n.names != names {
			c.problem("tree", "directory %d has %d names", i, n.names)
		}
		if n.nlink != links {
			c.problem("link", "directory %d counts %d links and has %d", i, n.nlink, links)
		}
		return
	}
	if n.names != n.nlink {
		c.problem("link", "inode %d counts %d links and has %d names", i, n.nlink, n.names)
	}
	if want := n.nlink; n.links != want && !(want == 1 && n.links == 0) {
		c.problem("link", "inode %d counts %d links and notes %d", i, n.nlink, n.links)
	}
	if n.nlink == 0 && !c.zombies[i] && n.hook.key == "" {
		c.problem("zombie", "inode %d has no name and is not noted as removed", i)
	}
}

// rooted reports whether a directory hangs on the root, and remembers it for all on
// the way.
func (c *checker) rooted(i Ino) bool {
	var way []*node
	for at := i; ; {
		n := c.nodes[at]
		if n == nil || len(way) > len(c.nodes) {
			return false
		}
		if n.rooted || at == RootIno {
			break
		}
		way = append(way, n)
		at = n.parent
	}
	for _, n := range way {
		n.rooted = true
	}
	return true
}
