package s3api

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"

	"k3fs/namespace"
	"k3fs/s3api/internal/s3err"
)

type attributesDoc struct {
	XMLName      xml.Name `xml:"GetObjectAttributesResponse"`
	NS           string   `xml:"xmlns,attr"`
	ETag         string   `xml:",omitempty"`
	Checksum     *sumsDoc
	ObjectParts  *objectPartsDoc
	StorageClass string `xml:",omitempty"`
	ObjectSize   *int64
}

type sumsDoc struct{ Sums []sumDoc }

type objectPartsDoc struct {
	TotalPartsCount      int `xml:"PartsCount"`
	PartNumberMarker     int
	NextPartNumberMarker int
	MaxParts             int
	IsTruncated          bool
	Parts                []objectPartDoc `xml:"Part"`
}

type objectPartDoc struct {
	PartNumber int
	Size       int64
	Sums       []sumDoc
}

// objectAttributes is GetObjectAttributes.
func (q *request) objectAttributes() error {
	if err := refuseEncryption(q.r.Header); err != nil {
		return err
	}
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(strings.Join(q.r.Header.Values("X-Amz-Object-Attributes"), ","), ",") {
		switch name = strings.TrimSpace(name); name {
		case "ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize":
			wanted[name] = true
		default:
			return s3err.New(s3err.InvalidArgument, "Invalid attribute name specified.")
		}
	}
	limit, err := q.intHeader("X-Amz-Max-Parts", maxKeys)
	if err != nil {
		return err
	}
	after, err := q.intHeader("X-Amz-Part-Number-Marker", 0)
	if err != nil {
		return err
	}
	limit = min(limit, maxKeys)
	version, err := q.version()
	if err != nil {
		return err
	}
	info, parts, truncated, err := q.view.ObjectParts(q.ctx(), q.bucket, q.key,
		namespace.ReadOptions{Conditions: conditions(q.r.Header, ""), Checksum: wanted["Checksum"], Version: version}, after, limit)
	if err != nil {
		return q.withValidators(err)
	}
	doc := attributesDoc{NS: xmlns}
	if wanted["ETag"] {
		doc.ETag = info.ETag
	}
	if wanted["Checksum"] && info.Checksums.Algorithm != "" {
		doc.Checksum = &sumsDoc{sumDocs(info.Checksums)}
	}
	if wanted["ObjectParts"] && info.Parts > 0 {
		doc.ObjectParts = newObjectParts(info.Parts, parts, after, limit, truncated)
	}
	if wanted["StorageClass"] {
		doc.StorageClass = storageClass(info.Headers)
	}
	if wanted["ObjectSize"] {
		doc.ObjectSize = &info.Size
	}
	tellVersion(q.w.Header(), info.Version)
	q.w.Header().Set("Last-Modified", info.LastModified.UTC().Format(http.TimeFormat))
	return q.writeXML(http.StatusOK, doc)
}

func newObjectParts(total int, parts []namespace.Part, after, limit int, truncated bool) *objectPartsDoc {
	d := &objectPartsDoc{TotalPartsCount: total, PartNumberMarker: after, MaxParts: limit, IsTruncated: truncated}
	for _, p := range parts {
		d.Parts = append(d.Parts, objectPartDoc{p.Number, p.Size, sumDocs(p.Checksums)})
		d.NextPartNumberMarker = p.Number
	}
	return d
}

// intHeader reads a header as a number from 0.
func (q *request) intHeader(name string, def int) (int, error) {
	v := q.r.Header.Get(name)
	if v == "" {
		return def, nil
	}
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return 0, s3err.New(s3err.InvalidArgument, "Value for %s header is invalid.", strings.ToLower(name))
	}
	return int(n), nil
}
