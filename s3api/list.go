package s3api

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"k3fs/namespace"
	"k3fs/s3api/internal/s3err"
)

const maxKeys = 1000 // of one page of any listing

// xmlWriter builds a listing by hand: encoding/xml takes several microseconds for each key, more than
// finding it.
type xmlWriter struct {
	buf       []byte
	urlEncode bool // encoding-type=url
}

// Write implements io.Writer.
func (w *xmlWriter) Write(b []byte) (int, error) {
	w.buf = append(w.buf, b...)
	return len(b), nil
}

// raw writes what is XML already.
func (w *xmlWriter) raw(s string) { w.buf = append(w.buf, s...) }

func (w *xmlWriter) open(name string)  { w.buf = append(append(append(w.buf, '<'), name...), '>') }
func (w *xmlWriter) close(name string) { w.buf = append(append(append(w.buf, "</"...), name...), '>') }

// elem writes an element whose value needs no escaping.
func (w *xmlWriter) elem(name, value string) {
	w.open(name)
	w.raw(value)
	w.close(name)
}

// number writes an element with a number in it.
func (w *xmlWriter) number(name string, n int64) {
	w.open(name)
	w.buf = strconv.AppendInt(w.buf, n, 10)
	w.close(name)
}

// time writes an element with a time in it.
func (w *xmlWriter) time(name string, t time.Time) {
	w.open(name)
	w.buf = t.UTC().AppendFormat(w.buf, timeFormat)
	w.close(name)
}

// etag writes an ETag element, whose value is quoted.
func (w *xmlWriter) etag(value string) {
	w.raw("<ETag>&quot;")
	w.raw(value)
	w.raw("&quot;</ETag>")
}

// text writes an element with a client's value in it.
func (w *xmlWriter) text(name, value string) {
	w.open(name)
	w.escaped(value)
	w.close(name)
}

// key writes an element with a key in it, encoded as the client asked.
func (w *xmlWriter) key(name, value string) {
	if w.urlEncode {
		w.open(name)
		w.buf = appendURLEncoded(w.buf, value)
		w.close(name)
		return
	}
	w.text(name, value)
}

func (w *xmlWriter) escaped(s string) {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '<' || c == '>' || c == '&' || c == '"' || c == '\'' || c >= 0x7f {
			_ = xml.EscapeText(w, []byte(s)) // Write does not fail
			return
		}
	}
	w.raw(s)
}

// appendURLEncoded encodes a key as S3 does for encoding-type=url: all but the unreserved and '/'. A space is %20,
// which those decode right who take '+' for itself.
func appendURLEncoded(b []byte, s string) []byte {
	const hexDigits = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '/', c == '*':
			b = append(b, c)
		default:
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return b
}

// listing are the parameters that all listings share.
type listing struct {
	prefix, delimiter string
	max               int
	w                 xmlWriter
}

func (q *request) listing(maxName string) (*listing, error) {
	l := &listing{prefix: q.query.Get("prefix"), delimiter: q.query.Get("delimiter")}
	var err error
	if l.max, err = q.intParam(maxName, maxKeys, 0, maxKeys); err != nil {
		return nil, err
	}
	switch e := q.query.Get("encoding-type"); e {
	case "":
	case "url":
		l.w.urlEncode = true
	default:
		return nil, s3err.New(s3err.InvalidArgument, "Invalid Encoding Method specified in Request")
	}
	return l, nil
}

// begin writes what every listing begins with.
func (l *listing) begin(q *request, root string) {
	l.w.raw(xml.Header)
	l.w.raw("<" + root + ` xmlns="` + xmlns + `">`)
	bucketName := "Name"
	if root == "ListMultipartUploadsResult" {
		bucketName = "Bucket"
	}
	l.w.text(bucketName, q.bucket)
	if root == "ListBucketResult" && !q.query.Has("list-type") && !strings.ContainsAny(l.prefix, "%+") {
		// botocore does not decode the prefix of ListObjects (V1), others do: this is the same to both.
		l.w.text("Prefix", l.prefix)
	} else {
		l.w.key("Prefix", l.prefix)
	}
	if l.delimiter != "" {
		l.w.key("Delimiter", l.delimiter)
	}
	if l.w.urlEncode {
		l.w.elem("EncodingType", "url")
	}
}

// objectBytes is what an object mostly takes in a listing beside its key.
const objectBytes = 340

// contents writes objects of a page.
func (l *listing) contents(objects []namespace.ObjectInfo, o *owner) {
	w := &l.w
	size := 0
	for i := range objects {
		size += objectBytes + len(objects[i].Key)
	}
	w.buf = slices.Grow(w.buf, size)
	for i := range objects {
		obj := &objects[i]
		w.open("Contents")
		w.object(obj)
		if o != nil {
			w.owner("Owner", o)
		}
		w.close("Contents")
	}
}

// object writes what every listing of objects says of one.
func (w *xmlWriter) object(o *namespace.ObjectInfo) {
	w.key("Key", o.Key)
	w.time("LastModified", o.LastModified)
	w.etag(o.ETag)
	if o.Checksums.Algorithm != "" {
		w.elem("ChecksumAlgorithm", o.Checksums.Algorithm)
		if o.Checksums.Type != "" {
			w.elem("ChecksumType", o.Checksums.Type)
		}
	}
	w.number("Size", o.Size)
	w.elem("StorageClass", storageClass(o.Headers))
}

func (w *xmlWriter) owner(name string, o *owner) {
	w.open(name)
	w.elem("ID", o.ID)
	w.elem("DisplayName", o.DisplayName)
	w.close(name)
}

func (l *listing) prefixes(all []string) {
	for _, p := range all {
		l.w.open("CommonPrefixes")
		l.w.key("Prefix", p)
		l.w.close("CommonPrefixes")
	}
}

// answer writes the page after what l.w holds, and what end adds to it. A page of more than one part is sent while
// the rest is looked for, so that the client reads the one meanwhile; the state that is listed is one all the same, and
// nobody who reads slowly holds it.
func (l *listing) answer(q *request, after string, o *owner, end func(page namespace.ListPage, entries int)) error {
	sender := partSender{l: l, q: q, owner: o}
	page, err := sender.page(after)
	if err != nil {
		return err // which cuts the connection, if a part was sent
	}
	l.contents(page.Objects, o)
	l.prefixes(page.Prefixes)
	end(page, sender.objects+len(page.Objects)+len(page.Prefixes))
	l.w.close("ListBucketResult")
	if sender.objects == 0 {
		return q.writeRawXML(http.StatusOK, l.w.buf)
	}
	_, _ = q.w.Write(l.w.buf) // a client that went away is nobody's error
	return nil
}

// partSender sends the first parts of a page, beside the handler.
type partSender struct {
	l       *listing
	q       *request
	owner   *owner
	objects int // that were handed to it
	parts   chan []namespace.ObjectInfo
	done    chan struct{}
}

// page asks the namespace for one page, and returns what is not sent yet. None of no entries needs to be asked for.
func (s *partSender) page(after string) (namespace.ListPage, error) {
	l, q := s.l, s.q
	if l.max == 0 {
		_, err := q.view.HeadBucket(q.ctx(), q.bucket)
		return namespace.ListPage{}, err
	}
	defer s.wait()
	return q.view.ListObjects(q.ctx(), q.bucket, namespace.ListOptions{Prefix: l.prefix, Delimiter: l.delimiter, After: after, Max: l.max, Found: s.found})
}

func (s *partSender) found(part []namespace.ObjectInfo) {
	if s.parts == nil {
		s.parts = make(chan []namespace.ObjectInfo, maxKeys/namespace.ListPart) // never full
		s.done = make(chan struct{})
		go s.send()
	}
	s.objects += len(part)
	s.parts <- part
}

func (s *partSender) send() {
	defer close(s.done)
	w := s.q.w
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusOK)
	for part := range s.parts {
		s.l.contents(part, s.owner)
		_, _ = w.Write(s.l.w.buf) // a client that went away is nobody's error
		s.l.w.buf = s.l.w.buf[:0]
	}
}

// wait returns when all parts are sent.
func (s *partSender) wait() {
	if s.parts != nil {
		close(s.parts)
		<-s.done
	}
}

// listObjectsV1 is ListObjects.
func (q *request) listObjectsV1() error {
	l, err := q.listing("max-keys")
	if err != nil {
		return err
	}
	marker := q.query.Get("marker")
	o, err := q.bucketOwner()
	if err != nil {
		return err
	}
	l.begin(q, "ListBucketResult")
	l.w.key("Marker", marker)
	l.w.elem("MaxKeys", strconv.Itoa(l.max))
	return l.answer(q, marker, o, func(page namespace.ListPage, _ int) {
		l.w.elem("IsTruncated", strconv.FormatBool(page.Truncated))
		if page.Truncated && l.delimiter != "" {
			l.w.key("NextMarker", page.Next)
		}
	})
}

// listObjectsV2 is ListObjectsV2.
func (q *request) listObjectsV2() error {
	if q.query.Get("list-type") != "2" {
		return s3err.New(s3err.InvalidArgument, "Invalid List Type specified in Request")
	}
	l, err := q.listing("max-keys")
	if err != nil {
		return err
	}
	after, token := q.query.Get("start-after"), q.query.Get("continuation-token")
	from := after
	if q.query.Has("continuation-token") {
		b, err := base64.URLEncoding.DecodeString(token)
		if err != nil {
			return s3err.New(s3err.InvalidArgument, "The continuation token provided is incorrect")
		}
		if token != "" {
			from = string(b)
		}
	}
	var o *owner
	if q.query.Get("fetch-owner") == "true" {
		if o, err = q.bucketOwner(); err != nil {
			return err
		}
	}
	l.begin(q, "ListBucketResult")
	l.w.elem("MaxKeys", strconv.Itoa(l.max))
	if q.query.Has("continuation-token") {
		l.w.text("ContinuationToken", token)
	}
	if after != "" {
		l.w.key("StartAfter", after)
	}
	return l.answer(q, from, o, func(page namespace.ListPage, entries int) {
		l.w.elem("KeyCount", strconv.Itoa(entries))
		l.w.elem("IsTruncated", strconv.FormatBool(page.Truncated))
		if page.Truncated {
			l.w.elem("NextContinuationToken", base64.URLEncoding.EncodeToString([]byte(page.Next)))
		}
	})
}
