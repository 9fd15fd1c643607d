package s3api

import (
	"net/http"
	"strconv"

	"k3fs/namespace"
	"k3fs/s3api/internal/header"
	"k3fs/s3api/internal/payload"
	"k3fs/s3api/internal/s3err"
)

// appendObject is PutObject with x-amz-write-offset-bytes, as directory buckets of S3 Express have it: files
// grow here as well.
func (q *request) appendObject() error {
	off, err := strconv.ParseInt(q.r.Header.Get(writeOffset), 10, 64)
	if err != nil || off < 0 {
		return s3err.New(s3err.InvalidArgument, "Value for x-amz-write-offset-bytes header is invalid.")
	}
	p, err := q.properties(q.r.Header)
	if err != nil {
		return err
	}
	b, err := q.openBody(q.appendChecksum())
	if err != nil {
		return err
	}
	defer b.r.Close()
	o, err := q.view.AppendObject(q.ctx(), q.bucket, q.key, b, namespace.AppendOptions{PutOptions: p, Offset: off})
	if err != nil {
		return bodyCause(err)
	}
	q.describeStored(o)
	q.w.Header().Set("X-Amz-Object-Size", strconv.FormatInt(o.Size, 10))
	return q.writeEmpty(http.StatusOK)
}

// appendChecksum is the algorithm that the object's checksum can go on with.
func (q *request) appendChecksum() payload.Algorithm {
	if o, err := q.view.HeadObject(q.ctx(), q.bucket, q.key, namespace.ReadOptions{}); err == nil && o.Checksums.Algorithm != "" {
		return payload.Algorithm(o.Checksums.Algorithm)
	}
	return payload.CRC64NVME
}

// renameObject is RenameObject of S3 Express.
func (q *request) renameObject() error {
	src, err := header.ParseCopySource(q.r.Header.Get(renameSource))
	if err != nil || src.VersionID != "" || src.Bucket != q.bucket {
		return s3err.New(s3err.InvalidArgument, "x-amz-rename-source must name an object of the same bucket: /bucket/key")
	}
	err = q.view.RenameObject(q.ctx(), q.bucket, src.Key, q.key, conditions(q.r.Header, "X-Amz-Rename-Source-"), writeConditions(q.r.Header))
	if err != nil {
		return err
	}
	return q.writeEmpty(http.StatusOK)
}
