package namespace

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"

	"github.com/minio/crc64nvme"

	"k3fs/chunkstore"
	"k3fs/metastore"
)

// checksumAtOnce is up to which size the checksum that a GET asks for is computed before its first byte.
const checksumAtOnce = 16 << 20

// newHash starts a checksum of one of S3's algorithms; nil for another.
func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "CRC32":
		return crc32.NewIEEE()
	case "CRC32C":
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case "CRC64NVME":
		return crc64nvme.New()
	case "SHA1":
		return sha1.New()
	case "SHA256":
		return sha256.New()
	}
	return nil
}

// checksum computes the CRC64NVME of an object that has no checksum (the mount wrote it, or a client without
// any), and keeps it. What the key names must still have the ETag.
func (v *View) checksum(ctx context.Context, bucket, objectKey, version, etag string) (Checksums, error) {
	rd, err := v.openContent(ctx, bucket, objectKey, ReadOptions{Conditions: Conditions{IfMatch: []string{etag}}, Version: version})
	if err != nil {
		return Checksums{}, err
	}
	defer rd.Close()
	return v.keepChecksum(ctx, bucket, objectKey, version, rd)
}

// keepChecksum is checksum for an open object.
func (v *View) keepChecksum(ctx context.Context, bucket, objectKey, version string, rd *objectReader) (Checksums, error) {
	sum := Checksums{Algorithm: "CRC64NVME", Type: fullObject}
	h := newHash(sum.Algorithm)
	if err := v.fs.digest(ctx, rd.d, rd.l, 0, rd.l.Size, h); err != nil {
		return Checksums{}, err
	}
	sum.Value = base64.StdEncoding.EncodeToString(h.Sum(nil))
	if rd.id == 0 { // a directory without bytes: there is nothing to keep it in
		return sum, nil
	}
	err := v.update(ctx, metastore.Ordered, func(t *txn) error {
		_, o, err := v.openForRead(t, bucket, objectKey, &ReadOptions{Version: version})
		if isKind(err, NotFound) || isKind(err, NoVersion) { // removed meanwhile
			return nil
		}
		if err != nil || o.rec.Published == nil || contentID(o.rec.Published.ID) != rd.id || o.rec.Published.Sum != nil {
			return err
		}
		o.rec.Published.Sum = sumOf(sum)
		if err := t.shorten(o.ino, o.rec); err != nil {
			return err
		}
		return t.putInode(o.ino, o.rec)
	})
	if err != nil {
		v.fs.log.Warn("namespace: a computed checksum is not kept", "err", err)
	}
	return sum, nil
}

// digest runs length bytes of a content from off on through the hashes.
func (fs *FS) digest(ctx context.Context, d chunkstore.Domain, l *layout, off, length int64, to ...hash.Hash) error {
	buf, err := fs.reads.get(ctx)
	if err != nil {
		return err
	}
	defer fs.reads.put(buf)
	for length > 0 {
		n, err := fs.readLayout(ctx, d, l, buf[:min(int64(len(buf)), length)], off)
		if err != nil {
			return err
		}
		if n == 0 {
			return of(Range)
		}
		for _, h := range to {
			h.Write(buf[:n])
		}
		off, length = off+int64(n), length-int64(n)
	}
	return nil
}

// sealRange describes a range of a content as if it had been sent: its MD5 and its checksum.
func (fs *FS) sealRange(ctx context.Context, d chunkstore.Domain, l *layout, off, length int64, algorithm string) (s Sealed, err error) {
	sum := md5.New()
	all := []hash.Hash{sum}
	extra := newHash(algorithm)
	if extra != nil {
		all = append(all, extra)
	}
	if err := fs.digest(ctx, d, l, off, length, all...); err != nil {
		return s, err
	}
	sum.Sum(s.MD5[:0])
	if extra != nil {
		s.Checksums = Checksums{Algorithm: algorithm, Value: base64.StdEncoding.EncodeToString(extra.Sum(nil)), Type: fullObject}
	}
	return s, nil
}
