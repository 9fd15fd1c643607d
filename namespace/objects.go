package namespace

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/tenancy"
)

// emptyETag is the MD5 of nothing: the ETag of a directory that was made by mkdir.
const emptyETag = "d41d8cd98f00b204e9800998ecf8427e"

// checkKey says whether an object may have the key: 1 to 1024 bytes of UTF-8 without NUL.
func checkKey(objectKey string) error {
	switch {
	case len(objectKey) > maxKey:
		return of(NameTooLong)
	case objectKey == "", !utf8.ValidString(objectKey), strings.IndexByte(objectKey, 0) >= 0:
		return of(InvalidName)
	}
	return nil
}

// splitKey is the directory of a key, with its '/', and the stored name in it.
func splitKey(objectKey string) (dir, stored string) {
	i := strings.LastIndexByte(strings.TrimSuffix(objectKey, "/"), '/') + 1
	return objectKey[:i], objectKey[i:]
}

// object is what a key leads to. Its rec is nil if there is no such entry.
type object struct {
	parent Ino // 0 if it does not exist either
	stored string
	ino    Ino
	rec    *inodeRec
}

// visible reports whether S3 sees it.
func (o *object) visible() bool {
	if o.rec == nil {
		return false
	}
	switch Type(o.rec.Type) {
	case File:
		return o.rec.Published != nil
	case Dir:
		return o.rec.Expl
	}
	return false
}

// findObject follows a key from its bucket.
func findObject(r metastore.Reader, b *bucketDir, objectKey string) (object, error) {
	dir, stored := splitKey(objectKey)
	parent := b.ino
	for dir != "" {
		i := strings.IndexByte(dir, '/') + 1
		e, err := storedEntry(r, parent, dir[:i])
		if err != nil || !e.found() {
			return object{stored: stored}, err
		}
		parent, dir = Ino(e.Ino), dir[i:]
	}
	o := object{parent: parent, stored: stored}
	e, err := storedEntry(r, parent, stored)
	if err != nil || !e.found() {
		return o, err
	}
	o.ino = Ino(e.Ino)
	o.rec, err = getInode(r, o.ino)
	return o, err
}

// openObject finds an object that S3 sees; NotFound if there is none.
func openObject(r metastore.Reader, b *bucketDir, objectKey string) (object, error) {
	if err := checkKey(objectKey); err != nil {
		return object{}, err
	}
	o, err := findObject(r, b, objectKey)
	if err == nil && !o.visible() {
		err = of(NotFound)
	}
	return o, err
}

// info describes a visible object, or an older version of one.
func (o *object) info(objectKey string) ObjectInfo { return objectInfo(objectKey, o.ino, o.rec) }

// info is object.info, with the version's id if the bucket has versions.
func (b *bucketDir) info(objectKey string, o *object) ObjectInfo {
	i := o.info(objectKey)
	if versioningOf(b.settings) != unversioned {
		i.Version = o.rec.versionID()
	}
	return i
}

func objectInfo(objectKey string, ino Ino, n *inodeRec) ObjectInfo {
	i := ObjectInfo{Key: objectKey, Ino: ino, ETag: emptyETag, LastModified: stamp(n.Mtime)}
	if c := n.Published; c != nil {
		i.Size, i.ETag, i.LastModified, i.Parts = c.Size, c.ETag, stamp(c.Time), int(c.Parts)
		if c.Sum != nil {
			i.Checksums = Checksums(*c.Sum)
		}
	}
	if n.Object != nil {
		i.Headers, i.Meta, i.Tags = n.Object.Headers, n.Object.Meta, tagsOf(n.Object.Tags)
	}
	return i
}

// read decides the conditions of a read, in the order of RFC 9110 section 13.2.2.
func (c *Conditions) read(i ObjectInfo) error {
	modified := i.LastModified.Truncate(time.Second)
	switch {
	case len(c.IfMatch) > 0:
		if !matches(c.IfMatch, i.ETag) {
			return of(PreconditionFailed)
		}
	case !c.IfUnmodifiedSince.IsZero() && modified.After(c.IfUnmodifiedSince):
		return of(PreconditionFailed)
	}
	switch {
	case len(c.IfNoneMatch) > 0:
		if matches(c.IfNoneMatch, i.ETag) {
			return of(NotModified)
		}
	case !c.IfModifiedSince.IsZero() && !modified.After(c.IfModifiedSince):
		return of(NotModified)
	}
	return nil
}

// write decides the conditions of a write. S3 answers If-Match for a key without an object with 404.
func (c *Conditions) write(o *object) error {
	exists := o.visible()
	etag := ""
	if exists {
		etag = o.info("").ETag
	}
	switch {
	case len(c.IfMatch) > 0 && !exists:
		return of(NotFound)
	case len(c.IfMatch) > 0 && !matches(c.IfMatch, etag), exists && matches(c.IfNoneMatch, etag):
		return of(PreconditionFailed)
	}
	return nil
}

func matches(tags []string, etag string) bool {
	return slices.Contains(tags, "*") || slices.Contains(tags, etag)
}

// HeadObject describes an object.
func (v *View) HeadObject(ctx context.Context, bucket, objectKey string, opts ReadOptions) (ObjectInfo, error) {
	var info ObjectInfo
	err := v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, o, err := v.openForRead(r, bucket, objectKey, &opts)
		if err != nil {
			return err
		}
		info = b.info(objectKey, &o)
		v.showLock(r, b, objectKey, opts.Version, o.rec, &info)
		return opts.accept(r, &o, &info)
	})
	if err == nil && info.Headers[contentType] == "" {
		info.DerivedType = v.fs.derivedType(ctx, objectKey, info.Ino, info.ETag, info.Parts)
	}
	if err == nil && opts.Checksum && opts.Part == 0 && info.Checksums.Algorithm == "" {
		info.Checksums, err = v.checksum(ctx, bucket, objectKey, opts.Version, info.ETag)
	}
	return info, fail("head", objectKey, err)
}

// openForRead finds the version of an object that is to be read, by who may.
func (v *View) openForRead(r metastore.Reader, bucket, objectKey string, opts *ReadOptions) (*bucketDir, object, error) {
	b, err := v.openVersionIn(r, bucket, versionAction(tenancy.GetObject, opts.Version), objectKey, opts.Version)
	if err != nil {
		return nil, object{}, err
	}
	o, err := openVersion(r, b, objectKey, opts.Version)
	return b, o, err
}

// accept decides whether an object is to be read, and finds the part that is asked for.
func (opts *ReadOptions) accept(r metastore.Reader, o *object, i *ObjectInfo) error {
	if err := opts.read(*i); err != nil || opts.Part == 0 {
		return err
	}
	return findPart(r, o.rec.Published, opts.Part, i)
}

// GetObject opens an object's published content, which stays whole until the reader is closed. A checksum
// that is asked for and not known is computed if the object is no longer than checksumAtOnce.
func (v *View) GetObject(ctx context.Context, bucket, objectKey string, o ReadOptions) (ObjectReader, error) {
	rd, err := v.openContent(ctx, bucket, objectKey, o)
	if err == nil && o.Checksum && o.Part == 0 && rd.info.Checksums.Algorithm == "" && rd.l.Size <= checksumAtOnce {
		if rd.info.Checksums, err = v.keepChecksum(ctx, bucket, objectKey, o.Version, rd); err != nil {
			rd.Close()
		}
	}
	if err != nil {
		return nil, fail("get", objectKey, err)
	}
	if i := &rd.info; i.Headers[contentType] == "" {
		i.DerivedType = v.fs.derivedType(ctx, objectKey, i.Ino, i.ETag, i.Parts)
	}
	return rd, nil
}

func (v *View) openContent(ctx context.Context, bucket, objectKey string, opts ReadOptions) (*objectReader, error) {
	rd := &objectReader{fs: v.fs}
	err := v.fs.view(ctx, func(r metastore.Reader) error {
		b, o, err := v.openForRead(r, bucket, objectKey, &opts)
		if err != nil {
			return err
		}
		rd.info, rd.d = b.info(objectKey, &o), b.domain()
		v.showLock(r, b, objectKey, opts.Version, o.rec, &rd.info)
		if err := opts.accept(r, &o, &rd.info); err != nil {
			return err
		}
		if o.rec.Published != nil {
			rd.id = contentID(o.rec.Published.ID)
		}
		if rd.l, err = v.fs.loadContent(r, o.rec.Published); err == nil && len(rd.l.Slices) > 0 {
			rd.content = rd.id
			v.fs.pin(rd.content)
		}
		return err
	})
	return rd, err
}

// published is an object about to be put in place.
type published struct {
	content func(*txn) (contentRec, error) // stores it; the fields that describe it are set by describe
	object  objectRec
	cond    Conditions
	accept  func(*object) error // looks at what has the key now; may be nil
	kept    *objectRec          // of what had the key, set by accept, in place of object
	ask     *ObjectLock         // the lock that the client asks for
	lock    *lockRec            // the one that it gets; nil: the bucket's default
}

// publish puts an object under a key, in place of what was there, within an update.
func (v *View) publish(t *txn, b *bucketDir, objectKey string, p *published) (ObjectInfo, error) {
	old, err := findObject(t, b, objectKey)
	if err != nil {
		return ObjectInfo{}, err
	}
	if err := p.cond.write(&old); err != nil {
		return ObjectInfo{}, err
	}
	if p.accept != nil {
		if err := p.accept(&old); err != nil {
			return ObjectInfo{}, err
		}
	}
	c, err := p.content(t)
	if err != nil {
		return ObjectInfo{}, err
	}
	t.date(&c)
	var meta *objectRec
	if len(p.object.Headers)+len(p.object.Meta)+len(p.object.Tags)+len(p.object.ACL) > 0 {
		meta = &p.object
	}
	if p.kept != nil {
		meta = p.kept
	}
	dir, stored := splitKey(objectKey)
	parent, rec, err := t.makeDirs(b, dir)
	if err != nil {
		return ObjectInfo{}, err
	}
	put := t.putLeaf
	if isDirName(stored) {
		put = t.putDir
	}
	s := b.slot(objectKey)
	s.asked = p.lock
	ino, n, err := put(b, parent, rec, &old, s, &c, meta)
	if err == nil {
		err = t.recordLock(v, b, objectKey, n.versionID(), p.lock)
	}
	if err != nil {
		return ObjectInfo{}, err
	}
	return b.info(objectKey, &object{ino: ino, rec: n}), nil
}

// makeDirs finds the directory of a key, and makes what is missing on the way: such directories vanish
// with what is in them.
func (t *txn) makeDirs(b *bucketDir, dir string) (Ino, *inodeRec, error) {
	ino, rec := b.ino, b.rec
	for dir != "" {
		i := strings.IndexByte(dir, '/') + 1
		e, err := storedEntry(t, ino, dir[:i])
		if err != nil {
			return 0, nil, err
		}
		if e.found() {
			ino, rec, dir = Ino(e.Ino), nil, dir[i:]
			continue
		}
		if rec == nil {
			if rec, err = getInode(t, ino); err != nil {
				return 0, nil, err
			}
		}
		child := Ino(t.fs.number())
		node, err := b.newNode(t, rec, Dir)
		if err != nil {
			return 0, nil, err
		}
		n, err := t.attach(child, ino, rec, dir[:i-1], node)
		if err != nil {
			return 0, nil, err
		}
		n.Expl = false
		if err := t.putInode(child, n); err != nil {
			return 0, nil, err
		}
		ino, rec, dir = child, n, dir[i:]
	}
	if rec == nil {
		var err error
		if rec, err = getInode(t, ino); err != nil {
			return 0, nil, err
		}
	}
	return ino, rec, nil
}

// putLeaf gives the key's name to a new file with the content c. What had the name loses it, as in a rename over
// it: open handles keep it.
func (t *txn) putLeaf(b *bucketDir, parent Ino, dir *inodeRec, old *object, s slot, c *contentRec, meta *objectRec) (Ino, *inodeRec, error) {
	stored := old.stored
	a := actAddEntry
	if old.rec != nil {
		a = actDropEntry
	}
	if err := dir.permit(a); err != nil {
		return 0, nil, err
	}
	ino := Ino(t.fs.number())
	node, err := b.newNode(t, dir, File)
	if err != nil {
		return 0, nil, err
	}
	n, err := t.newInode(parent, dir, stored, node)
	if err != nil {
		return 0, nil, err
	}
	n.takeAfter(old.rec)
	n.Size, n.Published, n.Object = c.Size, c, meta
	if old.rec != nil {
		if err := t.unname(s, old.ino, old.rec, parent, stored); err != nil {
			return 0, nil, err
		}
	}
	if err := t.newVersion(s, n); err != nil {
		return 0, nil, err
	}
	short, err := shortOf(n)
	if err != nil {
		return 0, nil, err
	}
	if err := t.putDentry(parent, stored, dentryRec{Ino: uint64(ino), Type: n.Type, Listed: short}); err != nil {
		return 0, nil, err
	}
	if err := t.putInode(ino, n); err != nil {
		return 0, nil, err
	}
	return ino, n, t.touchDir(parent, dir)
}

// takeAfter gives a new file, in place of an old one, its owner and permissions: who may not read the old may not
// read the new. Bits that give a program rights don't go over to another.
func (n *inodeRec) takeAfter(old *inodeRec) {
	if old != nil && Type(old.Type) == File {
		n.UID, n.GID, n.Mode, n.ACL = old.UID, old.GID, old.Mode&^0o6000, old.ACL
	}
}

// putDir makes a directory explicit, with the content that its key has as an object.
func (t *txn) putDir(b *bucketDir, parent Ino, dir *inodeRec, old *object, s slot, c *contentRec, meta *objectRec) (Ino, *inodeRec, error) {
	ino, n := old.ino, old.rec
	if n == nil {
		ino = Ino(t.fs.number())
		node, err := b.newNode(t, dir, Dir)
		if err != nil {
			return 0, nil, err
		}
		if n, err = t.attach(ino, parent, dir, component(old.stored), node); err != nil {
			return 0, nil, err
		}
	}
	if err := t.permit(ino, n, actWrite); err != nil {
		return 0, nil, err
	}
	if err := t.hangDir(s, n, false); err != nil {
		return 0, nil, err
	}
	n.Expl, n.Published, n.Object = true, c, meta
	if err := t.newVersion(s, n); err != nil {
		return 0, nil, err
	}
	n.Ctime = t.now
	t.attrChanged(ino, false)
	return ino, n, t.putInode(ino, n)
}

// PutObject puts an object in place of what the key names (S3 PutObject). It is durable on return.
func (v *View) PutObject(ctx context.Context, bucket, objectKey string, body Body, o PutOptions) (ObjectInfo, error) {
	info, err := v.putObject(ctx, bucket, objectKey, body, o)
	return info, fail("put", objectKey, err)
}

func (v *View) putObject(ctx context.Context, bucket, objectKey string, body Body, o PutOptions) (info ObjectInfo, err error) {
	d, err := v.writable(ctx, bucket, objectKey, body.Size())
	if err == nil {
		err = v.checkAsked(ctx, bucket, objectKey, o.Lock)
	}
	if err != nil {
		return info, err
	}
	in, err := v.fs.ingest(ctx, d, body, inlineMax)
	if err != nil {
		return info, err
	}
	p := published{object: objectRec{Headers: o.Headers, Meta: o.Meta, ACL: o.ACL, Tags: tagRecs(o.Tags)}, cond: o.Conditions, ask: o.Lock, content: func(t *txn) (contentRec, error) {
		c, err := in.store(t)
		c.ETag, c.Sum = in.sealed.ETag, sumOf(in.sealed.Checksums)
		return c, err
	}}
	return v.commitObject(ctx, bucket, objectKey, &p, in.staged, in.fresh)
}

// MayPut asks whether the key may be written.
func (v *View) MayPut(ctx context.Context, bucket, objectKey string) error {
	_, err := v.writable(ctx, bucket, objectKey, 0)
	return fail("put", objectKey, err)
}

// writable asks before a body of size bytes (-1: not known) is read whether the key may be written; the update asks
// again.
func (v *View) writable(ctx context.Context, bucket, objectKey string, size int64) (d chunkstore.Domain, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, err := v.openBucket(r, bucket, tenancy.PutObject, objectKey)
		if err != nil {
			return err
		}
		d = b.domain()
		if err := checkKey(objectKey); err != nil {
			return err
		}
		if err := v.fs.mayGrow(r, b, objectKey, size, true); err != nil || !v.fs.holding.may(b.owner()) {
			return err
		}
		o, err := findObject(r, b, objectKey)
		if err != nil || o.rec == nil {
			return err
		}
		return v.fs.unlocked(r, o.ino, o.rec, actWrite, false)
	})
	return d, err
}

// commitObject is the update that publishes an object; if it fails, what was staged is given up.
func (v *View) commitObject(ctx context.Context, bucket, objectKey string, p *published, s *staged, fresh []chunkstore.Extent) (info ObjectInfo, err error) {
	// The client's going away must not leave us in doubt whether the update was made.
	ctx = context.WithoutCancel(ctx)
	err = v.update(ctx, metastore.Durable, func(t *txn) error {
		b, err := v.findBucket(t, bucket)
		if err != nil {
			return err
		}
		res := b.resource(t, objectKey)
		res.NewACL = p.object.ACL
		if err := v.fs.auth.Allow(v.who, tenancy.PutObject, res); err != nil {
			return err
		}
		if p.ask != nil {
			if p.lock, err = v.askedLock(t, b, objectKey, p.ask); err != nil {
				return err
			}
		}
		info, err = v.publish(t, b, objectKey, p)
		return err
	})
	if undone(err) {
		s.abandon(ctx, fresh...)
	}
	return info, err
}

func sumOf(c Checksums) *sumRec {
	if c.Algorithm == "" {
		return nil
	}
	s := sumRec(c)
	return &s
}
