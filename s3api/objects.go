package s3api

import (
	"encoding/xml"
	"net/http"
	"strconv"

	"k3fs/namespace"
	"k3fs/s3api/internal/header"
	"k3fs/s3api/internal/payload"
	"k3fs/s3api/internal/s3err"
)

// putObject is PutObject.
func (q *request) putObject() error {
	// Without a checksum from the client S3 computes and keeps a CRC64NVME.
	b, err := q.openBody(payload.CRC64NVME)
	if err != nil {
		return err
	}
	defer b.r.Close()
	o, err := q.store(b)
	if err != nil {
		return err
	}
	q.describeStored(o)
	return q.writeEmpty(http.StatusOK)
}

// store puts a body under the request's key, with what the request's headers say of it.
func (q *request) store(b namespace.Body) (namespace.ObjectInfo, error) {
	headers, meta, err := objectHeaders(q.r.Header)
	if err != nil {
		return namespace.ObjectInfo{}, err
	}
	cond := writeConditions(q.r.Header)
	acl, err := q.uploadACL()
	if err != nil {
		return namespace.ObjectInfo{}, err
	}
	o, err := q.view.PutObject(q.ctx(), q.bucket, q.key, b, namespace.PutOptions{Headers: headers, Meta: meta, ACL: acl, Conditions: cond})
	return o, bodyCause(err)
}

// describeStored sets the headers that answer an upload.
func (q *request) describeStored(o namespace.ObjectInfo) {
	h := q.w.Header()
	h.Set("Etag", quoted(o.ETag))
	h.Set(sseHeader, "AES256")
	setChecksum(h, o.Checksums)
}

// getObject is GetObject, of one range at most.
func (q *request) getObject() error {
	cond := conditions(q.r.Header, "")
	o, err := q.view.GetObject(q.ctx(), q.bucket, q.key, cond)
	if err != nil {
		return q.withValidators(err)
	}
	defer o.Close()
	info := o.Info()
	off, length, partial, err := q.byteRange(info.Size)
	if err != nil {
		return err
	}
	q.describe(info, !partial)
	status := q.rangeHeaders(info.Size, off, length, partial)
	q.w.WriteHeader(status)
	q.w.WriteHeaderNow()
	if _, err := o.WriteRange(q.ctx(), q.bodyWriter(), off, length); err != nil {
		if q.ctx().Err() == nil {
			q.s.o.Logger.Error("s3: an answer broke off", "request", q.id, "error", err)
		}
		// The status is sent: cutting the connection is the only way to tell.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// headObject is HeadObject.
func (q *request) headObject() error {
	cond := conditions(q.r.Header, "")
	info, err := q.view.HeadObject(q.ctx(), q.bucket, q.key, cond)
	if err != nil {
		return q.withValidators(err)
	}
	off, length, partial, err := q.byteRange(info.Size)
	if err != nil {
		return err
	}
	q.describe(info, !partial)
	q.w.WriteHeader(q.rangeHeaders(info.Size, off, length, partial))
	q.w.WriteHeaderNow()
	return nil
}

// withValidators adds ETag and Last-Modified to a 304, as RFC 9110 section 15.4.5 wants.
func (q *request) withValidators(err error) error {
	a, _ := translate(err)
	if a.status != http.StatusNotModified {
		return err
	}
	if info, err := q.view.HeadObject(q.ctx(), q.bucket, q.key, namespace.Conditions{}); err == nil {
		h := q.w.Header()
		h.Set("Etag", quoted(info.ETag))
		h.Set("Last-Modified", info.LastModified.UTC().Format(http.TimeFormat))
	}
	return err
}

// byteRange finds what part of size bytes is asked for.
func (q *request) byteRange(size int64) (off, length int64, partial bool, err error) {
	v := q.r.Header.Get("Range")
	if v == "" {
		return 0, size, false, nil
	}
	switch r, kind := header.ParseRange(v, size); kind {
	case header.Partial:
		return r.Offset, r.Length, true, nil
	case header.Unsatisfiable:
		return 0, 0, false, s3err.New(codeInvalidRange, "The requested range is not satisfiable")
	}
	return 0, size, false, nil // RFC 9110 section 14.2: what can't be read is ignored
}

func (q *request) rangeHeaders(size, off, length int64, partial bool) (status int) {
	h := q.w.Header()
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	if !partial {
		return http.StatusOK
	}
	h.Set("Content-Range", "bytes "+strconv.FormatInt(off, 10)+"-"+strconv.FormatInt(off+length-1, 10)+"/"+strconv.FormatInt(size, 10))
	return http.StatusPartialContent
}

// objectTagging is GetObjectTagging. No object has tags yet, and the aws command asks before it copies.
func (q *request) objectTagging() error {
	if _, err := q.view.HeadObject(q.ctx(), q.bucket, q.key, namespace.Conditions{}); err != nil {
		return err
	}
	return q.writeXML(http.StatusOK, struct {
		XMLName xml.Name `xml:"Tagging"`
		NS      string   `xml:"xmlns,attr"`
		TagSet  struct{}
	}{NS: xmlns})
}

// deleteObject is DeleteObject.
func (q *request) deleteObject() error {
	cond := writeConditions(q.r.Header)
	if _, err := q.view.DeleteObject(q.ctx(), q.bucket, q.key, cond); err != nil {
		return err
	}
	return q.writeEmpty(http.StatusNoContent)
}

const maxDeletes = 1000 // keys of one DeleteObjects

type deleteDoc struct {
	XMLName xml.Name `xml:"Delete"`
	Quiet   bool
	Objects []struct {
		Key              string
		VersionID        string `xml:"VersionId"`
		ETag             string
		LastModifiedTime string
		Size             string
	} `xml:"Object"`
}

type deleteResult struct {
	XMLName xml.Name       `xml:"DeleteResult"`
	NS      string         `xml:"xmlns,attr"`
	Deleted []deletedDoc   `xml:"Deleted"`
	Errors  []deleteFailed `xml:"Error"`
}

type deletedDoc struct{ Key string }

type deleteFailed struct {
	Key     string
	Code    s3err.Code
	Message string
}

// deleteObjects is DeleteObjects.
func (q *request) deleteObjects() error {
	var doc deleteDoc
	if err := q.readXML(&doc); err != nil {
		return err
	}
	if len(doc.Objects) == 0 || len(doc.Objects) > maxDeletes {
		return s3err.New(codeMalformedXML, "The XML you provided was not well-formed or did not validate against our published schema")
	}
	keys := make([]string, len(doc.Objects))
	for i, o := range doc.Objects {
		if o.VersionID != "" && o.VersionID != "null" || o.ETag != "" || o.LastModifiedTime != "" || o.Size != "" {
			return notImplemented("Versions and conditions in DeleteObjects are not implemented.")
		}
		keys[i] = o.Key
	}
	errs, err := q.view.DeleteObjects(q.ctx(), q.bucket, keys)
	if err != nil {
		return err
	}
	res := deleteResult{NS: xmlns}
	for i, key := range keys {
		if errs[i] != nil {
			a, _ := translate(errs[i])
			res.Errors = append(res.Errors, deleteFailed{Key: key, Code: a.code, Message: a.message})
		} else if !doc.Quiet {
			res.Deleted = append(res.Deleted, deletedDoc{Key: key})
		}
	}
	return q.writeXML(http.StatusOK, res)
}

type copyResult struct {
	XMLName      xml.Name
	NS           string `xml:"xmlns,attr"`
	LastModified string
	ETag         string
	Sums         []sumDoc
}

type sumDoc struct {
	XMLName xml.Name
	Value   string `xml:",chardata"`
}

func sumDocs(c namespace.Checksums) []sumDoc {
	if c.Algorithm == "" {
		return nil
	}
	docs := []sumDoc{{xml.Name{Local: "Checksum" + c.Algorithm}, c.Value}}
	if c.Type != "" {
		docs = append(docs, sumDoc{xml.Name{Local: "ChecksumType"}, c.Type})
	}
	return docs
}

// source reads x-amz-copy-source.
func (q *request) source() (bucket, key string, err error) {
	src, err := header.ParseCopySource(q.r.Header.Get(copySource))
	if err != nil {
		return "", "", err
	}
	if src.VersionID != "" && src.VersionID != "null" {
		return "", "", notImplemented("Copying a version is not implemented.")
	}
	return src.Bucket, src.Key, nil
}

// copyObject is CopyObject.
func (q *request) copyObject() error {
	srcBucket, srcKey, err := q.source()
	if err != nil {
		return err
	}
	h := q.r.Header
	var o namespace.CopyOptions
	switch d := h.Get("X-Amz-Metadata-Directive"); d {
	case "", "COPY":
	case "REPLACE":
		o.Replace, o.SelfCopyOK = true, true
	default:
		return s3err.New(s3err.InvalidArgument, "Unknown metadata directive.")
	}
	switch d := h.Get("X-Amz-Tagging-Directive"); d {
	case "", "COPY": // there are no tags yet
	default:
		return notImplemented("Tagging is not implemented.")
	}
	if o.Headers, o.Meta, err = objectHeaders(h); err != nil {
		return err
	}
	if o.ACL, err = q.uploadACL(); err != nil {
		return err
	}
	o.Source, o.Target = conditions(h, "X-Amz-Copy-Source-"), writeConditions(h)
	o.SelfCopyOK = o.SelfCopyOK || h.Get(storageHeader) != "" || h.Get(sseHeader) != ""
	if srcBucket == q.bucket && srcKey == q.key && !o.SelfCopyOK {
		return s3err.New(s3err.InvalidRequest, "This copy request is illegal because it is trying to copy an object to itself without changing "+
			"the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	info, err := q.view.CopyObject(q.ctx(), srcBucket, srcKey, q.bucket, q.key, o)
	if err != nil {
		return notModifiedAsFailed(err)
	}
	q.w.Header().Set(sseHeader, "AES256")
	return q.writeXML(http.StatusOK, copyResult{XMLName: xml.Name{Local: "CopyObjectResult"}, NS: xmlns,
		LastModified: xmlTime(info.LastModified), ETag: quoted(info.ETag), Sums: sumDocs(info.Checksums)})
}

// notModifiedAsFailed: a copy has no 304; S3 answers 412 when a condition on the source is false.
func notModifiedAsFailed(err error) error {
	if a, _ := translate(err); a.status == http.StatusNotModified {
		return s3err.New(codePrecondition, "At least one of the pre-conditions you specified did not hold")
	}
	return err
}
