package namespace

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"k3fs/chunkstore"
	"k3fs/metastore"
	"k3fs/tenancy"
)

// CopyObject makes an object that shares the source's extents: no data moves, however long it is. The
// copy keeps the source's ETag, since its bytes are the same.
func (v *View) CopyObject(ctx context.Context, srcBucket, srcKey, bucket, objectKey string, o CopyOptions) (ObjectInfo, error) {
	info, err := v.copyObject(ctx, srcBucket, srcKey, bucket, objectKey, o)
	return info, fail("copy", objectKey, err)
}

func (v *View) copyObject(ctx context.Context, srcBucket, srcKey, bucket, objectKey string, o CopyOptions) (ObjectInfo, error) {
	if srcBucket == bucket && srcKey == objectKey && !o.SelfCopyOK && !o.Replace {
		return ObjectInfo{}, of(Invalid)
	}
	if _, err := v.writable(ctx, bucket, objectKey); err != nil {
		return ObjectInfo{}, err
	}
	src, err := v.openContent(ctx, srcBucket, srcKey, o.Source.copySource)
	if err != nil {
		return ObjectInfo{}, err
	}
	defer src.Close() // not before the copy has its own references
	s, err := v.fs.stage(ctx, src.d, src.l)
	if err != nil {
		return ObjectInfo{}, err
	}
	p := published{headers: src.info.Headers, meta: src.info.Meta, cond: o.Target}
	if o.Replace {
		p.headers, p.meta = o.Headers, o.Meta
	}
	p.content = func(t *txn) (contentRec, error) {
		c, err := s.store(t)
		c.ETag, c.Sum, c.Parts = src.info.ETag, sumOf(src.info.Checksums), uint32(src.info.Parts)
		return c, err
	}
	return v.commitObject(ctx, bucket, objectKey, &p, s, nil)
}

// copySource decides the conditions on a copy's source: whatever is false fails the copy.
func (c *Conditions) copySource(i ObjectInfo) error {
	err := c.read(i)
	if isKind(err, NotModified) {
		err = of(PreconditionFailed)
	}
	return err
}

// CopyPart makes a part of a range of another object, whose extents it shares (S3 UploadPartCopy). The
// part's ETag is the source's MD5 if it is all of it; else a token, since nothing is read.
func (v *View) CopyPart(ctx context.Context, srcBucket, srcKey string, c Conditions, off, length int64, bucket, objectKey, id string, number int) (Part, error) {
	part, err := v.copyPart(ctx, srcBucket, srcKey, c, off, length, bucket, objectKey, id, number)
	return part, fail("copy part", objectKey, err)
}

func (v *View) copyPart(ctx context.Context, srcBucket, srcKey string, c Conditions, off, length int64, bucket, objectKey, id string, number int) (Part, error) {
	up, d, err := v.openUpload(ctx, bucket, objectKey, id, number)
	if err != nil {
		return Part{}, err
	}
	src, err := v.openContent(ctx, srcBucket, srcKey, c.copySource)
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
	l := &layout{Size: length, Slices: clipSlices(src.l.Slices, off, length, -off)}
	var fresh []chunkstore.Extent
	if len(src.l.Inline) > 0 && length > 0 {
		buf := make([]byte, length)
		if _, err := v.fs.readLayout(ctx, d, src.l, buf, off); err != nil {
			return Part{}, err
		}
		e, err := v.fs.chunks.Append(ctx, d, buf)
		if err != nil {
			return Part{}, err
		}
		fresh, l.Slices = []chunkstore.Extent{e}, []slice{sliceOf(e, 0)}
	}
	s, err := v.fs.stage(ctx, d, l)
	if err != nil {
		v.fs.free(fresh)
		return Part{}, err
	}
	in := &ingested{staged: s, fresh: fresh}
	in.sealed.MD5 = rangeToken(&src.info, off, length)
	in.sealed.ETag = hex.EncodeToString(in.sealed.MD5[:])
	if length == src.info.Size && src.info.Checksums.Type == fullObject {
		in.sealed.Checksums = src.info.Checksums
	}
	return v.commitPart(ctx, bucket, objectKey, up, number, in)
}

// rangeToken stands for the MD5 of a part that was copied.
func rangeToken(src *ObjectInfo, off, length int64) (token [16]byte) {
	if length == src.Size && len(src.ETag) == 2*len(token) {
		if b, err := hex.DecodeString(src.ETag); err == nil {
			return [16]byte(b)
		}
	}
	b := binary.BigEndian.AppendUint64([]byte(src.ETag), uint64(src.Ino))
	b = binary.BigEndian.AppendUint64(b, uint64(off))
	b = binary.BigEndian.AppendUint64(b, uint64(length))
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// openUpload asks whether a part may be put, before its body is read; the update asks again.
func (v *View) openUpload(ctx context.Context, bucket, objectKey, id string, number int) (up uploadID, d chunkstore.Domain, err error) {
	if number < 1 || number > maxParts {
		return up, 0, of(Invalid)
	}
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, err := v.openBucket(r, bucket, tenancy.PutObject, objectKey)
		if err != nil {
			return err
		}
		d = b.domain()
		up, _, err = findUpload(r, b, objectKey, id)
		return err
	})
	return up, d, err
}
