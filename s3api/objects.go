package s3api

import (
	"maps"
	"net/http"
	"strconv"
	"strings"

	"k3fs/namespace"
	"k3fs/s3api/internal/header"
	"k3fs/s3api/internal/payload"
	"k3fs/s3api/internal/s3err"
	"k3fs/s3api/internal/sigv4"
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
	p, err := q.properties(q.r.Header)
	if err != nil {
		return namespace.ObjectInfo{}, err
	}
	if p.ACL, err = q.uploadACL(); err != nil {
		return namespace.ObjectInfo{}, err
	}
	o, err := q.view.PutObject(q.ctx(), q.bucket, q.key, b, p)
	return o, bodyCause(err)
}

// describeStored sets the headers that answer an upload.
func (q *request) describeStored(o namespace.ObjectInfo) {
	h := q.w.Header()
	h.Set("Etag", quoted(o.ETag))
	tellMade(h, o.Version)
	tellEncryption(h, o.Headers)
	q.tellExpiration(&o)
	setChecksum(h, o.Checksums)
}

// readOptions reads what all reads of an object understand.
func (q *request) readOptions() (o namespace.ReadOptions, err error) {
	if err := refuseEncryption(q.r.Header); err != nil {
		return o, err
	}
	for name := range q.query {
		if q.identity.Mechanism == sigv4.Anonymous && strings.HasPrefix(name, "response-") {
			return o, s3err.New(s3err.InvalidRequest, "Request specific response headers cannot be used for anonymous GET requests.")
		}
	}
	o = namespace.ReadOptions{Conditions: conditions(q.r.Header, ""), Checksum: q.checksumMode() && q.r.Header.Get("Range") == ""}
	if q.query.Has("partNumber") {
		if q.r.Header.Get("Range") != "" {
			return o, s3err.New(s3err.InvalidRequest, "Cannot specify both Range header and partNumber query parameter")
		}
		if o.Part, err = q.partNumber(); err != nil {
			return o, err
		}
	}
	o.Version, err = q.version()
	return o, err
}

// getObject is GetObject, of one range at most.
func (q *request) getObject() error {
	opts, err := q.readOptions()
	if err != nil {
		return err
	}
	o, err := q.view.GetObject(q.ctx(), q.bucket, q.key, opts)
	if err != nil {
		return q.withValidators(err)
	}
	defer o.Close()
	info := o.Info()
	off, length, partial, err := q.byteRange(&info)
	if err != nil {
		return err
	}
	before := maps.Clone(q.w.Header())
	q.describe(info, !partial)
	q.w.WriteHeader(q.rangeHeaders(info.Size, off, length, partial)) // goes with the first bytes
	if err := q.sendBytes(o, off, length, before); err != nil {
		return err
	}
	q.w.WriteHeaderNow()
	return nil
}

// sendBytes answers with bytes of an object. With an error nothing is sent yet, and the header is again as before;
// what breaks off later ends the connection.
func (q *request) sendBytes(o namespace.ObjectReader, off, length int64, before http.Header) error {
	_, err := o.WriteRange(q.ctx(), q.bodyWriter(), off, length)
	if err == nil {
		return nil
	}
	if !q.w.Written() && q.ctx().Err() == nil {
		h := q.w.Header()
		clear(h)
		maps.Copy(h, before)
		return err
	}
	if q.ctx().Err() == nil {
		q.s.o.Logger.Error("s3: an answer broke off", "request", q.id, "error", err)
	}
	// The status is sent: cutting the connection is the only way to tell.
	panic(http.ErrAbortHandler)
}

// headObject is HeadObject.
func (q *request) headObject() error {
	opts, err := q.readOptions()
	if err != nil {
		return err
	}
	info, err := q.view.HeadObject(q.ctx(), q.bucket, q.key, opts)
	if err != nil {
		return q.withValidators(err)
	}
	off, length, partial, err := q.byteRange(&info)
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
	if info, err := q.view.HeadObject(q.ctx(), q.bucket, q.key, namespace.ReadOptions{Version: q.query.Get("versionId")}); err == nil {
		h := q.w.Header()
		tellVersion(h, info.Version)
		h.Set("Etag", quoted(info.ETag))
		h.Set("Last-Modified", info.LastModified.UTC().Format(http.TimeFormat))
	}
	return err
}

// byteRange finds which bytes of the object are asked for.
func (q *request) byteRange(o *namespace.ObjectInfo) (off, length int64, partial bool, err error) {
	size := o.Size
	if o.Part != nil {
		return o.Offset, o.Part.Size, o.Part.Size > 0, nil
	}
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
