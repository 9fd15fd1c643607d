package namespace

import (
	"cmp"
	"context"
	"encoding/hex"
	"io"
	"maps"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/tenancy"
)

// maxCopy is up to which size S3 copies at once. A longer object of parts, which S3 refuses, is copied here without
// being read, and so with its ETag.
const maxCopy = 5 << 30

// CopyObject makes an object that shares the source's extents: no data moves, however long it is. The copy keeps
// the source's ETag, since its bytes are the same; one of many parts is read for the ETag of the whole.
func (v *View) CopyObject(ctx context.Context, srcBucket, srcKey, bucket, objectKey string, o CopyOptions) (ObjectInfo, error) {
	info, err := v.copyObject(ctx, srcBucket, srcKey, bucket, objectKey, o)
	return info, fail("copy", objectKey, err)
}

func (v *View) copyObject(ctx context.Context, srcBucket, srcKey, bucket, objectKey string, o CopyOptions) (ObjectInfo, error) {
	if srcBucket == bucket && srcKey == objectKey && o.Version == "" && !o.SelfCopyOK && !o.Replace {
		return ObjectInfo{}, of(Invalid)
	}
	d, err := v.writable(ctx, bucket, objectKey, 0)
	if err != nil {
		return ObjectInfo{}, err
	}
	if err := v.checkAsked(ctx, bucket, objectKey, o.Lock); err != nil {
		return ObjectInfo{}, err
	}
	src, err := v.openSource(ctx, srcBucket, srcKey, ReadOptions{Conditions: o.Source, Version: o.Version})
	if err != nil {
		return ObjectInfo{}, err
	}
	defer src.Close() // not before the copy has its own references
	sum, etag := src.info.Checksums, src.info.ETag
	algorithm := cmp.Or(o.Checksum, sum.Algorithm, "CRC64NVME")
	// What was put together of parts is one piece as a copy, with the ETag and the checksum of that.
	whole := src.info.Parts > 0 && src.l.Size <= maxCopy
	if whole || o.Checksum != "" && (sum.Algorithm != o.Checksum || sum.Type != fullObject) {
		sealed, err := v.fs.sealRange(ctx, src.d, src.l, 0, src.l.Size, algorithm)
		if err != nil {
			return ObjectInfo{}, err
		}
		if sum = sealed.Checksums; whole {
			etag = hex.EncodeToString(sealed.MD5[:])
		}
	}
	in, err := v.shareOrCopy(ctx, src, d)
	if err != nil {
		return ObjectInfo{}, err
	}
	p := published{object: o.object(&src.info), cond: o.Target, ask: o.Lock}
	p.content = func(t *txn) (contentRec, error) {
		c, err := in.store(t)
		c.ETag, c.Sum = etag, sumOf(sum)
		return c, err
	}
	info, err := v.commitObject(ctx, bucket, objectKey, &p, in.staged, in.fresh)
	info.CopyOf = src.info.Version
	return info, err
}

// shareOrCopy prepares another content of the source's bytes: its extents are shared, unless the copy is
// another tenant's, whose data is sealed under another key.
func (v *View) shareOrCopy(ctx context.Context, src *objectReader, d chunkstore.Domain) (*ingested, error) {
	if d != src.d {
		return v.fs.ingest(ctx, d, &copyBody{ctx: ctx, src: src, length: src.l.Size}, inlineMax)
	}
	s, err := v.fs.stage(ctx, d, src.l)
	return &ingested{staged: s}, err
}

// copyBody is a range of an object as a body.
type copyBody struct {
	ctx         context.Context
	src         *objectReader
	off, length int64
	read        int64
}

func (b *copyBody) Read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), b.length-b.read)]
	if len(p) == 0 {
		return 0, io.EOF
	}
	n, err := b.src.ReadAt(b.ctx, p, b.off+b.read)
	b.read += int64(n)
	return n, err
}

func (b *copyBody) Size() int64 { return b.length }

// Seal knows nothing: the copy keeps what the source's record says.
func (b *copyBody) Seal() (Sealed, error) { return Sealed{}, nil }

// object is what the copy says of itself.
func (o *CopyOptions) object(src *ObjectInfo) objectRec {
	rec := objectRec{Headers: maps.Clone(src.Headers), Meta: src.Meta, Tags: tagRecs(src.Tags), ACL: o.ACL}
	if o.Replace {
		rec.Headers, rec.Meta = maps.Clone(o.Headers), o.Meta
	}
	if o.ReplaceTags {
		rec.Tags = tagRecs(o.Tags)
	}
	for _, name := range ofCopy {
		delete(rec.Headers, name)
	}
	if len(o.Override) > 0 && rec.Headers == nil {
		rec.Headers = map[string]string{}
	}
	maps.Copy(rec.Headers, o.Override)
	return rec
}

// ofCopy are headers that a copy never takes from its source.
var ofCopy = []string{StorageClass, "X-Amz-Website-Redirect-Location", "X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"}

// openSource opens a copy's source: whatever condition is false fails the copy.
func (v *View) openSource(ctx context.Context, bucket, objectKey string, o ReadOptions) (*objectReader, error) {
	src, err := v.openContent(ctx, bucket, objectKey, o)
	if isKind(err, NotModified) {
		err = of(PreconditionFailed)
	}
	return src, err
}

// CopyPart makes a part of a range of another object, whose extents it shares (S3 UploadPartCopy). Nothing is
// written, but the range is read for its MD5 and its checksum, unless they are known of the whole source.
func (v *View) CopyPart(ctx context.Context, srcBucket, srcKey string, o ReadOptions, off, length int64, bucket, objectKey, id string, number int) (Part, error) {
	part, err := v.copyPart(ctx, srcBucket, srcKey, o, off, length, bucket, objectKey, id, number)
	return part, fail("copy part", objectKey, err)
}

func (v *View) copyPart(ctx context.Context, srcBucket, srcKey string, o ReadOptions, off, length int64, bucket, objectKey, id string, number int) (Part, error) {
	up, d, rec, err := v.openUpload(ctx, bucket, objectKey, id, number, -1)
	if err != nil {
		return Part{}, err
	}
	src, err := v.openSource(ctx, srcBucket, srcKey, o)
	if err != nil {
		return Part{}, err
	}
	defer src.Close()
	if length < 0 {
		length = src.l.Size - off
	}
	if off < 0 || length < 0 || off > src.l.Size || length > src.l.Size-off {
		return Part{}, of(Range)
	}
	// Where the upload announces none, a part has S3's own, of which the object's is made.
	sealed, err := v.sealPart(ctx, src, off, length, cmp.Or(rec.Checksum, "CRC64NVME"))
	if err != nil {
		return Part{}, err
	}
	var in *ingested
	if src.d != d {
		in, err = v.fs.ingest(ctx, d, &copyBody{ctx: ctx, src: src, off: off, length: length}, 0)
	} else {
		in, err = v.shareRange(ctx, src, off, length)
	}
	if err != nil {
		return Part{}, err
	}
	in.sealed = sealed
	return v.commitPart(ctx, bucket, objectKey, up, number, in)
}

// shareRange prepares a part of a range of the source, whose extents it shares.
func (v *View) shareRange(ctx context.Context, src *objectReader, off, length int64) (*ingested, error) {
	l := &layout{Size: length, Slices: clipSlices(src.l.Slices, off, length, -off)}
	var fresh []chunkstore.Extent
	if len(src.l.Inline) > 0 && length > 0 {
		buf := make([]byte, length)
		if _, err := v.fs.readLayout(ctx, src.d, src.l, buf, off); err != nil {
			return nil, err
		}
		e, err := v.fs.chunks.Append(ctx, src.d, buf)
		if err != nil {
			return nil, err
		}
		fresh, l.Slices = []chunkstore.Extent{e}, []slice{sliceOf(e, 0)}
	}
	s, err := v.fs.stage(ctx, src.d, l)
	if err != nil {
		v.fs.free(fresh)
		return nil, err
	}
	return &ingested{staged: s, fresh: fresh}, nil
}

// sealPart finds the MD5 of a range and its checksum: the source's own where it is all of that, else by
// reading it.
func (v *View) sealPart(ctx context.Context, src *objectReader, off, length int64, algorithm string) (s Sealed, err error) {
	known := &src.info.Checksums
	md5, err := hex.DecodeString(src.info.ETag)
	if err == nil && len(md5) == len(s.MD5) && length == src.info.Size &&
		(algorithm == "" || known.Algorithm == algorithm && known.Type == fullObject) {
		copy(s.MD5[:], md5)
		if algorithm != "" {
			s.Checksums = *known
		}
	} else if s, err = v.fs.sealRange(ctx, src.d, src.l, off, length, algorithm); err != nil {
		return s, err
	}
	s.ETag = hex.EncodeToString(s.MD5[:])
	return s, nil
}

// openUpload asks whether a part of size bytes (-1: not known) may be put, before its body is read; the update asks
// again.
func (v *View) openUpload(ctx context.Context, bucket, objectKey, id string, number int, size int64) (up uploadID, d chunkstore.Domain, rec *uploadRec, err error) {
	if number < 1 || number > maxParts {
		return up, 0, nil, of(Invalid)
	}
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, err := v.openBucket(r, bucket, tenancy.PutObject, objectKey)
		if err != nil {
			return err
		}
		d = b.domain()
		if up, rec, err = findUpload(r, b, objectKey, id); err == nil {
			err = v.fs.mayGrow(r, b, objectKey, size, false)
		}
		return err
	})
	return up, d, rec, err
}
