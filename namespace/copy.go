package namespace

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"

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
	d, err := v.writable(ctx, bucket, objectKey)
	if err != nil {
		return ObjectInfo{}, err
	}
	src, err := v.openContent(ctx, srcBucket, srcKey, o.Source.copySource)
	if err != nil {
		return ObjectInfo{}, err
	}
	defer src.Close() // not before the copy has its own references
	in, err := v.shareOrCopy(ctx, src, d)
	if err != nil {
		return ObjectInfo{}, err
	}
	p := published{headers: src.info.Headers, meta: src.info.Meta, acl: o.ACL, cond: o.Target}
	if o.Replace {
		p.headers, p.meta = o.Headers, o.Meta
	}
	p.content = func(t *txn) (contentRec, error) {
		c, err := in.store(t)
		c.ETag, c.Sum, c.Parts = src.info.ETag, sumOf(src.info.Checksums), uint32(src.info.Parts)
		return c, err
	}
	return v.commitObject(ctx, bucket, objectKey, &p, in.staged, in.fresh)
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
	var in *ingested
	if src.d != d {
		in, err = v.fs.ingest(ctx, d, &copyBody{ctx: ctx, src: src, off: off, length: length}, 0)
	} else {
		in, err = v.shareRange(ctx, src, off, length)
	}
	if err != nil {
		return Part{}, err
	}
	in.sealed.MD5 = rangeToken(&src.info, off, length)
	in.sealed.ETag = hex.EncodeToString(in.sealed.MD5[:])
	if length == src.info.Size && src.info.Checksums.Type == fullObject {
		in.sealed.Checksums = src.info.Checksums
	}
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
