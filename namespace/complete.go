package namespace

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// doneFor is how long a finished upload answers a client's retry.
const doneFor = 24 * time.Hour

// errPartChanged: a part was put anew while the upload was being completed.
var errPartChanged = errors.New("namespace: a part changed meanwhile")

// CompleteUpload makes an object of parts (S3 CompleteMultipartUpload). The parts' extents become the
// object's; no data moves. A second call with the same upload gives the same answer for a day.
func (v *View) CompleteUpload(ctx context.Context, bucket, objectKey, id string, parts []CompletePart, sums Checksums, c Conditions) (ObjectInfo, error) {
	info, err := v.completeUpload(ctx, bucket, objectKey, id, parts, sums, c)
	if isKind(err, NoUpload) {
		if done, found := v.completed(ctx, bucket, objectKey, id); found {
			return done, nil
		}
	}
	return info, fail("complete upload", objectKey, err)
}

func (v *View) completeUpload(ctx context.Context, bucket, objectKey, id string, parts []CompletePart, sums Checksums, c Conditions) (info ObjectInfo, err error) {
	for range 3 {
		info, err = v.tryComplete(ctx, bucket, objectKey, id, parts, sums, c)
		if !errors.Is(err, errPartChanged) {
			return info, err
		}
	}
	return info, of(InvalidPart)
}

// completion is an upload about to become an object.
type completion struct {
	up     uploadID
	rec    *uploadRec
	bucket *bucketDir
	parts  []CompletePart
	recs   []partRec // of parts
	l      layout
	etag   string
	sum    *sumRec
}

func (v *View) tryComplete(ctx context.Context, bucket, objectKey, id string, parts []CompletePart, sums Checksums, cond Conditions) (info ObjectInfo, err error) {
	m := &completion{parts: parts}
	// The parts' extents have to stay until the object has its own references.
	defer func() { m.unpin(v.fs) }()
	err = v.fs.view(ctx, func(r metastore.Reader) (err error) {
		if m.bucket, err = v.openBucket(r, bucket, tenancy.PutObject, objectKey); err != nil {
			return err
		}
		if m.up, m.rec, err = findUpload(r, m.bucket, objectKey, id); err != nil {
			return err
		}
		return m.load(v.fs, r)
	})
	if err != nil {
		return info, err
	}
	if cond.Size != nil && *cond.Size != m.l.Size {
		return info, &Error{Kind: BadBody, Err: fmt.Errorf("the parts are %d bytes, not %d", m.l.Size, *cond.Size)}
	}
	if err := m.describe(sums); err != nil {
		return info, err
	}
	s, err := v.fs.stage(ctx, m.bucket.domain(), &m.l)
	if err != nil {
		return info, err
	}
	p := published{object: objectRec{Headers: m.rec.Headers, Meta: m.rec.Meta, ACL: m.rec.ACL, Tags: m.rec.Tags}, cond: cond, lock: m.rec.Lock, content: func(t *txn) (contentRec, error) {
		if err := m.finish(t, objectKey); err != nil {
			return contentRec{}, err
		}
		c, err := s.store(t)
		if err != nil {
			return c, err
		}
		c.ETag, c.Sum, c.Parts = m.etag, m.sum, uint32(len(parts))
		return c, t.putParts(contentID(c.ID), m.partsAlgorithm(), parts, m.recs)
	}}
	ctx = context.WithoutCancel(ctx)
	err = v.update(ctx, metastore.Durable, func(t *txn) error {
		b, err := v.openBucket(t, bucket, tenancy.PutObject, objectKey)
		if err != nil {
			return err
		}
		if info, err = v.publish(t, b, objectKey, &p); err != nil {
			return err
		}
		return putRec(t, doneKey(m.up), &doneRec{Bucket: uint64(b.ino), Key: objectKey, Ino: uint64(info.Ino), ETag: m.etag, Time: t.now})
	})
	if undone(err) {
		s.abandon(ctx)
	}
	return info, err
}

// load reads the parts and puts their slices together. What it finds is pinned.
func (m *completion) load(fs *FS, r metastore.Reader) error {
	if len(m.parts) == 0 || len(m.parts) > maxParts {
		return of(Invalid)
	}
	for i := 1; i < len(m.parts); i++ {
		if m.parts[i].Number <= m.parts[i-1].Number {
			return of(InvalidPartOrder)
		}
	}
	for i, want := range m.parts {
		var rec partRec
		found, err := getPart(r, m.up, want.Number, &rec)
		if err != nil {
			return err
		}
		if !found || !want.names(&rec) {
			return of(InvalidPart)
		}
		if i < len(m.parts)-1 && rec.Content.Size < minPart {
			return of(PartTooSmall)
		}
		if m.l.Size+rec.Content.Size > maxObject {
			return of(TooBig)
		}
		l, err := fs.loadContent(r, &rec.Content)
		if err != nil {
			return err
		}
		fs.pin(contentID(rec.Content.ID))
		m.recs = append(m.recs, rec)
		for _, s := range l.Slices {
			s.Off += m.l.Size
			m.l.Slices = appendSlice(m.l.Slices, s)
		}
		m.l.Size += rec.Content.Size
	}
	return nil
}

func getPart(r metastore.Reader, up uploadID, number int, rec *partRec) (bool, error) {
	if number < 1 || number > maxParts {
		return false, nil
	}
	return getRec(r, partKey(up, number), rec)
}

func (m *completion) unpin(fs *FS) {
	for i := range m.recs {
		fs.unpin(contentID(m.recs[i].Content.ID))
	}
}

// names reports whether the client means this part.
func (want *CompletePart) names(rec *partRec) bool {
	if strings.Trim(want.ETag, `"`) != rec.Content.ETag {
		return false
	}
	if want.Checksums.Value == "" {
		return true
	}
	have := rec.Content.Sum
	return have != nil && have.Value == want.Checksums.Value &&
		(want.Checksums.Algorithm == "" || have.Algorithm == want.Checksums.Algorithm)
}

// describe computes the ETag, the MD5 of the parts' MD5s, and the checksum, which is compared with the
// client's.
func (m *completion) describe(sums Checksums) error {
	h := md5.New()
	contents := make([]contentRec, len(m.recs))
	for i := range m.recs {
		h.Write(m.recs[i].MD5)
		contents[i] = m.recs[i].Content
	}
	m.etag = fmt.Sprintf("%s-%d", hex.EncodeToString(h.Sum(nil)), len(m.recs))
	typ := m.rec.SumType
	if sums.Type != "" {
		typ = sums.Type
	}
	algorithm := m.rec.Checksum
	if algorithm == "" { // the parts may have one nevertheless
		algorithm, typ = m.partsAlgorithm(), fullObject
	}
	m.sum = sumOfParts(algorithm, typ, contents)
	if m.sum == nil || sums.Value == "" || sums.Algorithm != m.sum.Algorithm {
		return nil
	}
	// Clients announce a composite checksum with or without its "-N".
	ours, _, _ := strings.Cut(m.sum.Value, "-")
	theirs, _, _ := strings.Cut(sums.Value, "-")
	if ours != theirs {
		return &Error{Kind: BadBody, Err: fmt.Errorf("the object's %s is %s, not %s", m.sum.Algorithm, m.sum.Value, sums.Value)}
	}
	return nil
}

// partsAlgorithm is the checksum algorithm that all parts share; empty if there is none.
func (m *completion) partsAlgorithm() string {
	algorithm := ""
	for i := range m.recs {
		sum := m.recs[i].Content.Sum
		if sum == nil || i > 0 && sum.Algorithm != algorithm {
			return ""
		}
		algorithm = sum.Algorithm
	}
	return algorithm
}

// finish ends the upload, whose parts must still be those that were put together.
func (m *completion) finish(t *txn, objectKey string) error {
	if _, _, err := findUpload(t, m.bucket, objectKey, m.up.String()); err != nil {
		return err
	}
	for i, want := range m.parts {
		var now partRec
		found, err := getPart(t, m.up, want.Number, &now)
		if err != nil {
			return err
		}
		if !found || now.Content.ID != m.recs[i].Content.ID {
			return errPartChanged
		}
	}
	return t.endUpload(uploadKey(m.bucket.ino, objectKey, m.up), m.up, m.bucket.domain())
}

// completed is the answer to a retry of CompleteUpload.
func (v *View) completed(ctx context.Context, bucket, objectKey, id string) (info ObjectInfo, found bool) {
	err := v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, err := v.openBucket(r, bucket, tenancy.PutObject, objectKey)
		if err != nil {
			return err
		}
		up, err := parseUploadID(id)
		if err != nil {
			return err
		}
		var rec doneRec
		if found, err = getRec(r, doneKey(up), &rec); err != nil || !found {
			return err
		}
		found = Ino(rec.Bucket) == b.ino && rec.Key == objectKey
		info = ObjectInfo{Key: objectKey, Ino: Ino(rec.Ino), ETag: rec.ETag, LastModified: stamp(rec.Time)}
		if n, err := getInode(r, Ino(rec.Ino)); err == nil && n.Published != nil && n.Published.ETag == rec.ETag {
			info = b.info(objectKey, &object{ino: Ino(rec.Ino), rec: n})
		}
		return nil
	})
	return info, found && err == nil
}
