package s3api

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"

	"k3fs/namespace"
	"k3fs/s3api/internal/s3err"
)

const maxKeys = 1000 // of one page of any listing

// xmlWriter builds a listing by hand: encoding/xml takes several microseconds for each key, more than
// finding it.
type xmlWriter struct {
	bytes.Buffer
	urlEncode bool // encoding-type=url
}

func (w *xmlWriter) open(name string)  { w.WriteByte('<'); w.WriteString(name); w.WriteByte('>') }
func (w *xmlWriter) close(name string) { w.WriteString("</"); w.WriteString(name); w.WriteByte('>') }

// elem writes an element whose value needs no escaping.
func (w *xmlWriter) elem(name, value string) {
	w.open(name)
	w.WriteString(value)
	w.close(name)
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
		w.elem(name, urlEncoded(value))
		return
	}
	w.text(name, value)
}

func (w *xmlWriter) escaped(s string) {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '<' || c == '>' || c == '&' || c == '"' || c == '\'' || c >= 0x7f {
			_ = xml.EscapeText(&w.Buffer, []byte(s)) // a Buffer does not fail
			return
		}
	}
	w.WriteString(s)
}

// urlEncoded encodes a key as S3 does for encoding-type=url: all but the unreserved and '/'. A space is %20,
// which those decode right who take '+' for itself.
func urlEncoded(s string) string {
	const hexDigits = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '/', c == '*':
			b = append(b, c)
		default:
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
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
	l.w.Grow(64 << 10)
	l.w.WriteString(xml.Header)
	l.w.WriteString("<" + root + ` xmlns="` + xmlns + `">`)
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

// contents writes the keys and common prefixes of a page.
func (l *listing) contents(page namespace.ListPage, o *owner) {
	w := &l.w
	for i := range page.Objects {
		obj := &page.Objects[i]
		w.open("Contents")
		w.object(obj)
		if o != nil {
			w.owner("Owner", o)
		}
		w.close("Contents")
	}
	l.prefixes(page.Prefixes)
}

// object writes what every listing of objects says of one.
func (w *xmlWriter) object(o *namespace.ObjectInfo) {
	w.key("Key", o.Key)
	w.elem("LastModified", xmlTime(o.LastModified))
	w.elem("ETag", "&quot;"+o.ETag+"&quot;")
	if o.Checksums.Algorithm != "" {
		w.elem("ChecksumAlgorithm", o.Checksums.Algorithm)
		if o.Checksums.Type != "" {
			w.elem("ChecksumType", o.Checksums.Type)
		}
	}
	w.elem("Size", strconv.FormatInt(o.Size, 10))
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

// page asks the namespace for one page; none of no entries needs to be asked for.
func (l *listing) page(q *request, after string) (namespace.ListPage, error) {
	if l.max == 0 {
		_, err := q.view.HeadBucket(q.ctx(), q.bucket)
		return namespace.ListPage{}, err
	}
	return q.view.ListObjects(q.ctx(), q.bucket, namespace.ListOptions{Prefix: l.prefix, Delimiter: l.delimiter, After: after, Max: l.max})
}

// listObjectsV1 is ListObjects.
func (q *request) listObjectsV1() error {
	l, err := q.listing("max-keys")
	if err != nil {
		return err
	}
	marker := q.query.Get("marker")
	page, err := l.page(q, marker)
	if err != nil {
		return err
	}
	l.begin(q, "ListBucketResult")
	l.w.key("Marker", marker)
	l.w.elem("MaxKeys", strconv.Itoa(l.max))
	l.w.elem("IsTruncated", strconv.FormatBool(page.Truncated))
	if page.Truncated && l.delimiter != "" {
		l.w.key("NextMarker", page.Next)
	}
	l.contents(page, q.ownerOf(q.identity.Principal.Tenant))
	l.w.close("ListBucketResult")
	return q.writeRawXML(http.StatusOK, l.w.Bytes())
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
	page, err := l.page(q, from)
	if err != nil {
		return err
	}
	l.begin(q, "ListBucketResult")
	l.w.elem("KeyCount", strconv.Itoa(len(page.Objects)+len(page.Prefixes)))
	l.w.elem("MaxKeys", strconv.Itoa(l.max))
	l.w.elem("IsTruncated", strconv.FormatBool(page.Truncated))
	if q.query.Has("continuation-token") {
		l.w.text("ContinuationToken", token)
	}
	if page.Truncated {
		l.w.elem("NextContinuationToken", base64.URLEncoding.EncodeToString([]byte(page.Next)))
	}
	if after != "" {
		l.w.key("StartAfter", after)
	}
	var o *owner
	if q.query.Get("fetch-owner") == "true" {
		o = q.ownerOf(q.identity.Principal.Tenant)
	}
	l.contents(page, o)
	l.w.close("ListBucketResult")
	return q.writeRawXML(http.StatusOK, l.w.Bytes())
}
