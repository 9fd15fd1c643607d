package s3api

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"

	"k3fs/namespace"
	"k3fs/s3api/internal/header"
	"k3fs/s3api/internal/payload"
	"k3fs/s3api/internal/s3err"
	"k3fs/tenancy"
)

const maxPart = 10000 // the highest part number

// createUpload is CreateMultipartUpload.
func (q *request) createUpload() error {
	p, err := q.properties(q.r.Header)
	if err != nil {
		return err
	}
	acl, err := q.uploadACL()
	if err != nil {
		return err
	}
	u := namespace.Upload{Key: q.key, Headers: p.Headers, Meta: p.Meta, Tags: p.Tags, ACL: acl, Lock: p.Lock}
	if name := q.r.Header.Get("X-Amz-Checksum-Algorithm"); name != "" {
		alg, ok := payload.ParseAlgorithm(name)
		if !ok {
			return unknownChecksum()
		}
		if u.Checksum, u.Type, err = checksumType(string(alg), q.r.Header.Get("X-Amz-Checksum-Type")); err != nil {
			return err
		}
	}
	u, err = q.view.CreateUpload(q.ctx(), q.bucket, q.key, u)
	if err != nil {
		return err
	}
	h := q.w.Header()
	tellEncryption(h, u.Headers)
	q.tellAbort(&u)
	if u.Checksum != "" {
		h.Set("X-Amz-Checksum-Algorithm", u.Checksum)
		h.Set("X-Amz-Checksum-Type", u.Type)
	}
	return q.writeXML(http.StatusOK, struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		NS       string   `xml:"xmlns,attr"`
		Bucket   string
		Key      string
		UploadID string `xml:"UploadId"`
	}{NS: xmlns, Bucket: q.bucket, Key: q.key, UploadID: u.ID})
}

// checksumType checks a multipart upload's checksum type against its algorithm, and chooses AWS's default.
func checksumType(alg, typ string) (string, string, error) {
	sha := strings.HasPrefix(alg, "SHA")
	switch {
	case typ == "" && alg == "CRC64NVME":
		typ = "FULL_OBJECT"
	case typ == "":
		typ = "COMPOSITE"
	case typ == "COMPOSITE" && alg == "CRC64NVME", typ == "FULL_OBJECT" && sha:
		return "", "", s3err.New(s3err.InvalidRequest, "The %s checksum type cannot be used with the %s checksum algorithm.", typ, strings.ToLower(alg))
	case typ != "COMPOSITE" && typ != "FULL_OBJECT":
		return "", "", s3err.New(s3err.InvalidRequest, "Value for x-amz-checksum-type header is invalid.")
	}
	return alg, typ, nil
}

func (q *request) uploadID() string { return q.query.Get("uploadId") }

// partNumber reads the number of the part that is to be written.
func (q *request) partNumber() (int, error) {
	n, err := strconv.Atoi(q.query.Get("partNumber"))
	if err != nil || n < 1 || n > maxPart {
		return 0, s3err.New(s3err.InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
	}
	return n, nil
}

// putPart is UploadPart.
func (q *request) putPart() error {
	n, err := q.partNumber()
	if err != nil {
		return err
	}
	u, err := q.view.LookupUpload(q.ctx(), q.bucket, q.key, q.uploadID())
	if err != nil {
		return err
	}
	algorithm := payload.CRC64NVME // S3's choice where the client makes none
	if u.Checksum != "" {
		algorithm = payload.Algorithm(u.Checksum)
	}
	b, err := q.openBody(algorithm)
	if err != nil {
		return err
	}
	defer b.r.Close()
	if got := b.r.Algorithm(); u.Checksum != "" && got != algorithm {
		return s3err.New(s3err.InvalidRequest, "Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s",
			strings.ToLower(u.Checksum), strings.ToLower(string(got)))
	}
	p, err := q.view.PutPart(q.ctx(), q.bucket, q.key, u.ID, n, b)
	if err != nil {
		return bodyCause(err)
	}
	h := q.w.Header()
	h.Set("Etag", quoted(p.ETag))
	tellEncryption(h, u.Headers)
	if p.Checksums.Algorithm != "" {
		h.Set("X-Amz-Checksum-"+p.Checksums.Algorithm, p.Checksums.Value)
	}
	return q.writeEmpty(http.StatusOK)
}

// copyPart is UploadPartCopy.
func (q *request) copyPart() error {
	n, err := q.partNumber()
	if err != nil {
		return err
	}
	src, err := q.source()
	if err != nil {
		return err
	}
	opts := namespace.ReadOptions{Conditions: conditions(q.r.Header, "X-Amz-Copy-Source-"), Version: src.VersionID}
	off, length := int64(0), int64(-1)
	if v := q.r.Header.Get("X-Amz-Copy-Source-Range"); v != "" {
		info, err := q.view.HeadObject(q.ctx(), src.Bucket, src.Key, namespace.ReadOptions{Version: src.VersionID})
		if err != nil {
			return err
		}
		r, err := header.ParseCopyRange(v, info.Size)
		if err != nil {
			return err
		}
		off, length = r.Offset, r.Length
	}
	u, err := q.view.LookupUpload(q.ctx(), q.bucket, q.key, q.uploadID())
	if err != nil {
		return err
	}
	p, err := q.view.CopyPart(q.ctx(), src.Bucket, src.Key, opts, off, length, q.bucket, q.key, u.ID, n)
	if err != nil {
		return notModifiedAsFailed(err)
	}
	tellEncryption(q.w.Header(), u.Headers)
	return q.writeXML(http.StatusOK, copyResult{XMLName: xml.Name{Local: "CopyPartResult"}, NS: xmlns,
		LastModified: xmlTime(p.LastModified), ETag: quoted(p.ETag), Sums: sumDocs(namespace.Checksums{Algorithm: p.Checksums.Algorithm, Value: p.Checksums.Value})})
}

type completeDoc struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Parts   []struct {
		PartNumber        int
		ETag              string
		ChecksumCRC32     string
		ChecksumCRC32C    string
		ChecksumCRC64NVME string
		ChecksumSHA1      string
		ChecksumSHA256    string
	} `xml:"Part"`
}

// completeUpload is CompleteMultipartUpload.
func (q *request) completeUpload() error {
	cond := writeConditions(q.r.Header)
	if v := q.r.Header.Get("X-Amz-Mp-Object-Size"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return s3err.New(s3err.InvalidRequest, "Value for x-amz-mp-object-size header is invalid.")
		}
		cond.Size = &n
	}
	var doc completeDoc
	if err := q.readXMLWith(&doc, payload.Request{ObjectChecksum: true}); err != nil {
		return err
	}
	if len(doc.Parts) == 0 || len(doc.Parts) > maxPart {
		return s3err.New(codeMalformedXML, "The XML you provided was not well-formed or did not validate against our published schema")
	}
	var parts []namespace.CompletePart
	for _, p := range doc.Parts {
		part := namespace.CompletePart{Number: p.PartNumber, ETag: strings.Trim(p.ETag, `"`)}
		for _, c := range []namespace.Checksums{{Algorithm: "CRC32", Value: p.ChecksumCRC32}, {Algorithm: "CRC32C", Value: p.ChecksumCRC32C},
			{Algorithm: "CRC64NVME", Value: p.ChecksumCRC64NVME}, {Algorithm: "SHA1", Value: p.ChecksumSHA1}, {Algorithm: "SHA256", Value: p.ChecksumSHA256}} {
			if c.Value != "" {
				part.Checksums = c
			}
		}
		parts = append(parts, part)
	}
	o, err := q.view.CompleteUpload(q.ctx(), q.bucket, q.key, q.uploadID(), parts, wholeChecksum(q.r.Header), cond)
	if err != nil {
		return err
	}
	tellEncryption(q.w.Header(), o.Headers)
	q.tellExpiration(&o)
	tellMade(q.w.Header(), o.Version)
	return q.writeXML(http.StatusOK, struct {
		XMLName  xml.Name `xml:"CompleteMultipartUploadResult"`
		NS       string   `xml:"xmlns,attr"`
		Location string
		Bucket   string
		Key      string
		ETag     string
		Sums     []sumDoc
	}{NS: xmlns, Location: q.objectURL(q.key), Bucket: q.bucket, Key: q.key, ETag: quoted(o.ETag), Sums: sumDocs(o.Checksums)})
}

func (q *request) scheme() string {
	if q.r.TLS != nil {
		return "https"
	}
	return "http"
}

// wholeChecksum is the checksum of the object that a Complete announces.
func wholeChecksum(h http.Header) namespace.Checksums {
	for _, alg := range []string{"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"} {
		if v := h.Get("X-Amz-Checksum-" + alg); v != "" {
			return namespace.Checksums{Algorithm: alg, Value: v, Type: h.Get("X-Amz-Checksum-Type")}
		}
	}
	return namespace.Checksums{}
}

// abortUpload is AbortMultipartUpload.
func (q *request) abortUpload() error {
	if err := q.view.AbortUpload(q.ctx(), q.bucket, q.key, q.uploadID()); err != nil {
		return err
	}
	return q.writeEmpty(http.StatusNoContent)
}

// listParts is ListParts.
func (q *request) listParts() error {
	l, err := q.listing("max-parts")
	if err != nil {
		return err
	}
	after, err := q.intParam("part-number-marker", 0, 0, 1<<31-1)
	if err != nil {
		return err
	}
	u, parts, truncated, err := q.view.ListParts(q.ctx(), q.bucket, q.key, q.uploadID(), after, l.max)
	if err != nil {
		return err
	}
	q.tellAbort(&u)
	w := &l.w
	w.raw(xml.Header + `<ListPartsResult xmlns="` + xmlns + `">`)
	w.text("Bucket", q.bucket)
	w.key("Key", q.key)
	w.text("UploadId", u.ID)
	bucketOwner, err := q.bucketOwner()
	if err != nil {
		return err
	}
	o := q.uploadOwner(u, bucketOwner)
	w.owner("Initiator", q.initiator(u, o))
	w.owner("Owner", o)
	w.elem("StorageClass", storageClass(u.Headers))
	w.elem("PartNumberMarker", strconv.Itoa(after))
	if len(parts) > 0 {
		w.elem("NextPartNumberMarker", strconv.Itoa(parts[len(parts)-1].Number))
	}
	w.elem("MaxParts", strconv.Itoa(l.max))
	w.elem("IsTruncated", strconv.FormatBool(truncated))
	if u.Checksum != "" {
		w.elem("ChecksumAlgorithm", u.Checksum)
		w.elem("ChecksumType", u.Type)
	}
	for _, p := range parts {
		w.part(p)
	}
	w.close("ListPartsResult")
	return q.writeRawXML(http.StatusOK, w.buf)
}

// uploadOwner is who owns the object to be: the bucket's owner, unless the upload's ACL says another.
func (q *request) uploadOwner(u namespace.Upload, bucketOwner *owner) *owner {
	if a, err := tenancy.DecodeACL(u.ACL); err == nil && a.Owner != "" {
		return q.ownerByID(a.Owner)
	}
	return bucketOwner
}

// bucketOwner is who owns the request's bucket.
func (q *request) bucketOwner() (*owner, error) {
	t, _, err := q.view.BucketFront(q.ctx(), q.bucket)
	if err != nil {
		return nil, err
	}
	return q.ownerOf(t), nil
}

// initiator is who began an upload; one that nobody authenticated began counts as its owner's.
func (q *request) initiator(u namespace.Upload, o *owner) *owner {
	if u.Initiator == 0 {
		return o
	}
	return q.ownerOf(u.Initiator)
}

func (w *xmlWriter) part(p namespace.Part) {
	w.open("Part")
	w.number("PartNumber", int64(p.Number))
	w.time("LastModified", p.LastModified)
	w.etag(p.ETag)
	w.number("Size", p.Size)
	if p.Checksums.Algorithm != "" {
		w.elem("Checksum"+p.Checksums.Algorithm, p.Checksums.Value)
	}
	w.close("Part")
}

// listUploads is ListMultipartUploads.
func (q *request) listUploads() error {
	l, err := q.listing("max-uploads")
	if err != nil {
		return err
	}
	keyMarker, idMarker := q.query.Get("key-marker"), q.query.Get("upload-id-marker")
	if keyMarker == "" {
		idMarker = ""
	}
	page := namespace.UploadsPage{}
	if l.max > 0 {
		page, err = q.view.ListUploads(q.ctx(), q.bucket, l.prefix, l.delimiter, keyMarker, idMarker, l.max)
	} else {
		_, err = q.view.HeadBucket(q.ctx(), q.bucket)
	}
	if err != nil {
		return err
	}
	bucketOwner, err := q.bucketOwner()
	if err != nil {
		return err
	}
	l.begin(q, "ListMultipartUploadsResult")
	w := &l.w
	w.key("KeyMarker", keyMarker)
	w.text("UploadIdMarker", idMarker)
	if page.Truncated {
		w.key("NextKeyMarker", page.NextKey)
		w.text("NextUploadIdMarker", page.NextUploadID)
	}
	w.elem("MaxUploads", strconv.Itoa(l.max))
	w.elem("IsTruncated", strconv.FormatBool(page.Truncated))
	for _, u := range page.Uploads {
		o := q.uploadOwner(u, bucketOwner)
		w.upload(u, q.initiator(u, o), o)
	}
	l.prefixes(page.Prefixes)
	w.close("ListMultipartUploadsResult")
	return q.writeRawXML(http.StatusOK, w.buf)
}

func (w *xmlWriter) upload(u namespace.Upload, initiator, o *owner) {
	w.open("Upload")
	w.key("Key", u.Key)
	w.text("UploadId", u.ID)
	w.owner("Initiator", initiator)
	w.owner("Owner", o)
	w.elem("StorageClass", storageClass(u.Headers))
	w.elem("Initiated", xmlTime(u.Initiated))
	if u.Checksum != "" {
		w.elem("ChecksumAlgorithm", u.Checksum)
		w.elem("ChecksumType", u.Type)
	}
	w.close("Upload")
}
