package s3api

import (
	"encoding/xml"
	"errors"
	"net/http"
	"strconv"

	"k3fs/namespace"
	"k3fs/s3api/internal/s3err"
	"k3fs/tenancy"
)

const (
	versionHeader = "X-Amz-Version-Id"
	markerHeader  = "X-Amz-Delete-Marker"
	copyOfHeader  = "X-Amz-Copy-Source-Version-Id"

	nullVersion = "null"
)

// version is the version that the request is about; "" is the current one.
func (q *request) version() (string, error) {
	id := q.query.Get("versionId")
	if id == "" && q.query.Has("versionId") {
		return "", s3err.New(s3err.InvalidArgument, "Version id cannot be the empty string")
	}
	return id, nil
}

// tellVersion says which version an answer is about, in buckets that have some.
func tellVersion(h http.Header, id string) {
	if id != "" {
		h.Set(versionHeader, id)
	}
}

// tellMade is tellVersion for the answer to a write: of the null version S3 says nothing.
func tellMade(h http.Header, id string) {
	if id != nullVersion {
		tellVersion(h, id)
	}
}

// tellMarker says that a delete marker is why there is nothing to answer with.
func tellMarker(h http.Header, err error) {
	var marker *namespace.MarkerError
	if !errors.As(err, &marker) {
		return
	}
	h.Set(markerHeader, "true")
	tellVersion(h, marker.Version)
	var e *namespace.Error
	if errors.As(err, &e) && e.Kind == namespace.IsMarker {
		h.Set("Allow", http.MethodDelete)
		h.Set("Last-Modified", marker.Time.UTC().Format(http.TimeFormat))
	}
}

type versioningDoc struct {
	XMLName   xml.Name `xml:"VersioningConfiguration"`
	NS        string   `xml:"xmlns,attr"`
	Status    string   `xml:",omitempty"`
	MFADelete string   `xml:"MfaDelete,omitempty"`
}

// bucketVersioning is GetBucketVersioning.
func (q *request) bucketVersioning() error {
	_, s, err := q.view.BucketSettings(q.ctx(), q.bucket, tenancy.GetBucketVersioning)
	if err != nil {
		return err
	}
	return q.writeXML(http.StatusOK, versioningDoc{NS: xmlns, Status: string(s[namespace.SettingVersioning])})
}

// putBucketVersioning is PutBucketVersioning.
func (q *request) putBucketVersioning() error {
	if err := q.mayChange(tenancy.PutBucketVersioning); err != nil {
		return err
	}
	var doc versioningDoc
	if err := q.readXML(&doc); err != nil {
		return err
	}
	switch doc.MFADelete {
	case "", "Disabled":
	case "Enabled":
		return notImplemented("MFA delete needs authentication devices, which k3fs does not know. Object Lock keeps versions from being deleted.")
	default:
		return malformedXML()
	}
	switch doc.Status {
	case namespace.VersioningEnabled, namespace.VersioningSuspended:
	case "":
		return s3err.New("IllegalVersioningConfigurationException", "The Versioning element must be specified")
	default:
		return malformedXML()
	}
	err := q.view.ChangeBucketSettings(q.ctx(), q.bucket, tenancy.PutBucketVersioning, func(_ namespace.BucketInfo, s tenancy.Settings) error {
		s[namespace.SettingVersioning] = []byte(doc.Status)
		return nil
	})
	if err != nil {
		return err
	}
	return q.writeEmpty(http.StatusOK)
}

// listVersions is ListObjectVersions.
func (q *request) listVersions() error {
	l, err := q.listing("max-keys")
	if err != nil {
		return err
	}
	o := namespace.VersionsOptions{Prefix: l.prefix, Delimiter: l.delimiter, Max: l.max,
		KeyMarker: q.query.Get("key-marker"), VersionMarker: q.query.Get("version-id-marker")}
	if o.KeyMarker == "" && q.query.Has("version-id-marker") {
		return s3err.New(s3err.InvalidArgument, "A version-id marker cannot be specified without a key marker.")
	}
	page, err := q.view.ListVersions(q.ctx(), q.bucket, o)
	if err != nil {
		return err
	}
	owner, err := q.bucketOwner()
	if err != nil {
		return err
	}
	w := &l.w
	l.begin(q, "ListVersionsResult")
	w.key("KeyMarker", o.KeyMarker)
	w.text("VersionIdMarker", o.VersionMarker)
	if page.Truncated {
		w.key("NextKeyMarker", page.NextKey)
		if page.NextVersion != "" {
			w.text("NextVersionIdMarker", page.NextVersion)
		}
	}
	w.elem("MaxKeys", strconv.Itoa(l.max))
	w.elem("IsTruncated", strconv.FormatBool(page.Truncated))
	for i := range page.Versions {
		w.version(&page.Versions[i], owner)
	}
	l.prefixes(page.Prefixes)
	w.close("ListVersionsResult")
	return q.writeRawXML(http.StatusOK, w.buf)
}

func (w *xmlWriter) version(v *namespace.VersionInfo, o *owner) {
	name := "Version"
	if v.Marker {
		name = "DeleteMarker"
	}
	w.open(name)
	if v.Marker {
		w.key("Key", v.Key)
		w.elem("LastModified", xmlTime(v.LastModified))
	} else {
		w.object(&v.ObjectInfo)
	}
	w.text("VersionId", v.Version)
	w.elem("IsLatest", strconv.FormatBool(v.Latest))
	w.owner("Owner", o)
	w.close(name)
}
