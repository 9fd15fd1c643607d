package namespace

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/tenancy"
)

// S3's limits ("Amazon S3 multipart upload limits").
const (
	maxParts   = 10000
	minPart    = 5 << 20 // bytes of any part but the last
	maxObject  = 5 << 40
	sweepBatch = 500 // parts or uploads dropped in one update
)

// newUploadID makes an id that nobody guesses. Ids of one key sort by the time they were made.
func newUploadID(now time.Time) (id uploadID) {
	binary.BigEndian.PutUint64(id[:8], uint64(now.UnixMilli())<<16)
	rand.Read(id[6:])
	return id
}

func (id uploadID) String() string { return hex.EncodeToString(id[:]) }

func parseUploadID(s string) (id uploadID, err error) {
	if len(s) != 2*len(id) {
		return id, of(NoUpload)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return id, of(NoUpload)
	}
	return id, nil
}

// findUpload finds an upload in progress.
func findUpload(r metastore.Reader, b *bucketDir, objectKey, id string) (uploadID, *uploadRec, error) {
	if err := checkKey(objectKey); err != nil {
		return uploadID{}, nil, err
	}
	up, err := parseUploadID(id)
	if err != nil {
		return up, nil, err
	}
	rec := new(uploadRec)
	found, err := getRec(r, uploadKey(b.ino, objectKey, up), rec)
	if err == nil && !found {
		err = of(NoUpload)
	}
	return up, rec, err
}

func (rec *uploadRec) upload(id uploadID) Upload {
	return Upload{ID: id.String(), Key: rec.Key, Initiated: stamp(rec.Initiated), Headers: rec.Headers, Meta: rec.Meta, Tags: tagsOf(rec.Tags),
		ACL: rec.ACL, Initiator: tenancy.TenantID(rec.Initiator), Checksum: rec.Checksum, Type: rec.SumType}
}

// CreateUpload begins a multipart upload (S3 CreateMultipartUpload).
func (v *View) CreateUpload(ctx context.Context, bucket, objectKey string, u Upload) (Upload, error) {
	id := newUploadID(v.fs.now())
	rec := uploadRec{Key: objectKey, Headers: u.Headers, Meta: u.Meta, ACL: u.ACL, Tags: tagRecs(u.Tags), Checksum: u.Checksum, SumType: u.Type,
		Initiator: uint64(v.who.Tenant)}
	err := v.update(ctx, metastore.Durable, func(t *txn) error {
		b, err := v.openBucket(t, bucket, tenancy.PutObject, objectKey)
		if err != nil {
			return err
		}
		if err := checkKey(objectKey); err != nil {
			return err
		}
		if rec.Lock, err = v.askedLock(t, b, objectKey, u.Lock); err != nil {
			return err
		}
		rec.Initiated = t.now
		t.chargeKey(b.owner(), b.ino, objectKey, Usage{Inodes: 1})
		return putRec(t, uploadKey(b.ino, objectKey, id), &rec)
	})
	return rec.upload(id), fail("create upload", objectKey, err)
}

// LookupUpload describes an upload in progress.
func (v *View) LookupUpload(ctx context.Context, bucket, objectKey, id string) (u Upload, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, err := v.openBucket(r, bucket, tenancy.PutObject, objectKey)
		if err != nil {
			return err
		}
		up, rec, err := findUpload(r, b, objectKey, id)
		if err == nil {
			u = rec.upload(up)
		}
		return err
	})
	return u, fail("lookup upload", objectKey, err)
}

// PutPart stores a part, in place of an earlier one of its number (S3 UploadPart).
func (v *View) PutPart(ctx context.Context, bucket, objectKey, id string, number int, body Body) (Part, error) {
	part, err := v.putPart(ctx, bucket, objectKey, id, number, body)
	return part, fail("put part", objectKey, err)
}

func (v *View) putPart(ctx context.Context, bucket, objectKey, id string, number int, body Body) (Part, error) {
	up, d, _, err := v.openUpload(ctx, bucket, objectKey, id, number, body.Size())
	if err != nil {
		return Part{}, err
	}
	// Never inline, so that Complete only moves references.
	in, err := v.fs.ingest(ctx, d, body, 0)
	if err != nil {
		return Part{}, err
	}
	return v.commitPart(ctx, bucket, objectKey, up, number, in)
}

func (v *View) commitPart(ctx context.Context, bucket, objectKey string, up uploadID, number int, in *ingested) (Part, error) {
	ctx = context.WithoutCancel(ctx)
	var rec partRec
	err := v.update(ctx, metastore.Durable, func(t *txn) error {
		b, err := v.openBucket(t, bucket, tenancy.PutObject, objectKey)
		if err != nil {
			return err
		}
		if _, _, err := findUpload(t, b, objectKey, up.String()); err != nil {
			return err
		}
		rec = partRec{}
		found, err := getRec(t, partKey(up, number), &rec)
		if err != nil {
			return err
		}
		more := in.l.Size - rec.Content.Size
		t.chargeKey(b.owner(), b.ino, objectKey, Usage{Bytes: more})
		if err := t.Add(uploadedKey(up), more, unbounded); err != nil {
			return err
		}
		if found {
			if err := t.fs.dropContent(t, b.domain(), &rec.Content); err != nil {
				return err
			}
		}
		c, err := in.store(t)
		if err != nil {
			return err
		}
		c.ETag, c.Sum, c.Time = in.sealed.ETag, sumOf(in.sealed.Checksums), t.now
		rec = partRec{Content: c, MD5: in.sealed.MD5[:]}
		return putRec(t, partKey(up, number), &rec)
	})
	if undone(err) {
		in.abandon(ctx, in.fresh...)
	}
	if err != nil {
		return Part{}, err
	}
	return rec.part(number), nil
}

func (rec *partRec) part(number int) Part {
	p := Part{Number: number, Size: rec.Content.Size, ETag: rec.Content.ETag, LastModified: stamp(rec.Content.Time)}
	if rec.Content.Sum != nil {
		p.Checksums = Checksums(*rec.Content.Sum)
	}
	return p
}

// scanParts calls fn for the parts after a number, in order.
func scanParts(r metastore.Reader, up uploadID, after, page int, fn func(number int, rec *partRec) (bool, error)) error {
	rg := prefixRange(append([]byte(kPart), up[:]...), page)
	rg.From = partKey(up, min(max(after, 0), maxParts)+1)
	return r.Scan(rg, func(k, value []byte) (bool, error) {
		rec := new(partRec)
		if _, err := rec.UnmarshalMsg(value); err != nil {
			return false, fmt.Errorf("%w: part record: %w", metastore.ErrCorrupt, err)
		}
		return fn(int(binary.BigEndian.Uint16(k[len(k)-2:])), rec)
	})
}

// ListParts describes an upload, and lists its parts by number.
func (v *View) ListParts(ctx context.Context, bucket, objectKey, id string, after, limit int) (u Upload, parts []Part, truncated bool, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		parts, truncated = nil, false
		b, err := v.openBucket(r, bucket, tenancy.ListUploadParts, objectKey)
		if err != nil {
			return err
		}
		up, rec, err := findUpload(r, b, objectKey, id)
		if err != nil {
			return err
		}
		if u = rec.upload(up); limit <= 0 {
			return nil
		}
		return scanParts(r, up, after, limit+1, func(number int, rec *partRec) (bool, error) {
			if truncated = len(parts) == limit; !truncated {
				parts = append(parts, rec.part(number))
			}
			return !truncated, nil
		})
	})
	return u, parts, truncated, fail("list parts", objectKey, err)
}

// ListUploads lists uploads in progress by key, then by time.
func (v *View) ListUploads(ctx context.Context, bucket, prefix, delimiter, afterKey, afterID string, limit int) (page UploadsPage, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		page = UploadsPage{}
		b, err := v.openBucket(r, bucket, tenancy.ListBucketUploads, prefix)
		if err != nil || limit <= 0 {
			return err
		}
		l := uploadLister{prefix: prefix, delimiter: delimiter, limit: limit, afterKey: afterKey}
		from := key(kUpload, uint64(b.ino))
		table := prefixRange(append(bytes.Clone(from), prefix...), limit+1)
		from = l.start(from, afterID)
		for from != nil {
			rg := table
			if bytes.Compare(from, rg.From) > 0 {
				rg.From = from
			}
			if from, err = l.scan(r, b.ino, rg); err != nil {
				return err
			}
		}
		page = l.page
		return nil
	})
	return page, fail("list uploads", bucket, err)
}

// uploadLister fills a page of uploads.
type uploadLister struct {
	prefix, delimiter, afterKey string
	limit                       int
	page                        UploadsPage
	lastKey, lastID             string
}

// start is the first key after the markers.
func (l *uploadLister) start(table []byte, afterID string) []byte {
	if l.afterKey == "" {
		return table
	}
	from := append(table, l.afterKey...)
	id, err := parseUploadID(afterID)
	if err != nil {
		return append(from, 1) // after all of this key
	}
	return append(append(append(from, 0), id[:]...), 0)
}

// scan lists from rg.From on, and returns where to go on: nil at the end.
func (l *uploadLister) scan(r metastore.Reader, bucket Ino, rg metastore.Range) (next []byte, err error) {
	err = r.Scan(rg, func(k, value []byte) (bool, error) {
		var rec uploadRec
		if _, err := rec.UnmarshalMsg(value); err != nil {
			return false, fmt.Errorf("%w: upload record: %w", metastore.ErrCorrupt, err)
		}
		group := ""
		if i := strings.Index(rec.Key[len(l.prefix):], l.delimiter); l.delimiter != "" && i >= 0 {
			group = rec.Key[:len(l.prefix)+i+len(l.delimiter)]
			next = prefixEnd(append(key(kUpload, uint64(bucket)), group...))
			if group <= l.afterKey {
				return false, nil
			}
		}
		if len(l.page.Uploads)+len(l.page.Prefixes) == l.limit {
			l.page.Truncated, l.page.NextKey, l.page.NextUploadID = true, l.lastKey, l.lastID
			next = nil
			return false, nil
		}
		if group != "" {
			l.page.Prefixes = append(l.page.Prefixes, group)
			l.lastKey, l.lastID = group, ""
			return false, nil
		}
		id := uploadID(k[len(k)-len(uploadID{}):])
		l.page.Uploads = append(l.page.Uploads, rec.upload(id))
		l.lastKey, l.lastID = rec.Key, id.String()
		return true, nil
	})
	return next, err
}

// AbortUpload gives up an upload and its parts.
func (v *View) AbortUpload(ctx context.Context, bucket, objectKey, id string) error {
	err := v.update(ctx, metastore.DurableReclaim, func(t *txn) error {
		b, err := v.openBucket(t, bucket, tenancy.AbortUpload, objectKey)
		if err != nil {
			return err
		}
		up, _, err := findUpload(t, b, objectKey, id)
		if err != nil {
			return err
		}
		return t.endUpload(uploadKey(b.ino, objectKey, up), up, b.domain())
	})
	return fail("abort upload", objectKey, err)
}

// endUpload removes an upload's record; the reaper drops its parts.
func (t *txn) endUpload(k []byte, up uploadID, d chunkstore.Domain) error {
	t.dropped = true
	size, err := metastore.Counter(t, uploadedKey(up))
	if err != nil {
		return err
	}
	at := k[len(kUpload):]
	t.chargeKey(tenancy.TenantID(d), ino(at), string(at[8:len(at)-1-len(up)]), Usage{-size, -1})
	if err := t.Delete(uploadedKey(up)); err != nil {
		return err
	}
	if err := t.Set(endedKey(up), binary.BigEndian.AppendUint64(nil, uint64(d))); err != nil {
		return err
	}
	return t.Delete(k)
}

// abortUploads ends up to limit uploads of a bucket, and returns their number.
func (t *txn) abortUploads(bucket Ino, limit int) (n int, err error) {
	rec, err := getInode(t, bucket)
	if err != nil {
		return 0, err
	}
	var keys [][]byte
	err = t.Scan(prefixRange(key(kUpload, uint64(bucket)), limit), func(k, _ []byte) (bool, error) {
		keys = append(keys, bytes.Clone(k))
		return len(keys) < limit, nil
	})
	for _, k := range keys {
		if err == nil {
			err = t.endUpload(k, uploadID(k[len(k)-len(uploadID{}):]), domain(tenancy.TenantID(rec.Owner)))
		}
	}
	return len(keys), err
}
