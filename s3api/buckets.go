package s3api

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"

	"k3fs/namespace"
	"k3fs/s3api/internal/payload"
	"k3fs/s3api/internal/s3err"
	"k3fs/tenancy"
)

// maxXML bounds the document of a request: DeleteObjects with 1,000 keys of 1,024 bytes, escaped, and
// CompleteMultipartUpload with 10,000 parts and checksums fit.
const maxXML = 8 << 20

// readXML reads and verifies the request's document into doc. An empty body leaves doc alone.
func (q *request) readXML(doc any) error {
	return q.readXMLWith(doc, payload.Request{})
}

func (q *request) readXMLWith(doc any, want payload.Request) error {
	var o payload.Opener
	b, err := o.ReadAll(q.r, q.identity.Payload, maxXML, want)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	return decodeXML(b, doc)
}

// maxDepth bounds how deep the elements of a document are nested.
const maxDepth = 16

// decodeXML reads one document, strictly: no DOCTYPE, nothing behind it, and no deeper than maxDepth.
func decodeXML(b []byte, doc any) error {
	depth, roots := 0, 0
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return malformedXML()
		}
		switch t := t.(type) {
		case xml.StartElement:
			if depth++; depth == 1 {
				roots++
			}
		case xml.EndElement:
			depth--
		case xml.Directive:
			return malformedXML()
		case xml.CharData:
			if depth == 0 && len(bytes.TrimSpace(t)) > 0 && string(t) != "\ufeff" {
				return malformedXML()
			}
		}
		if depth > maxDepth || roots > 1 {
			return malformedXML()
		}
	}
	if roots != 1 || xml.Unmarshal(b, doc) != nil {
		return malformedXML()
	}
	return nil
}

func malformedXML() error {
	return s3err.New(codeMalformedXML, "The XML you provided was not well-formed or did not validate against our published schema")
}

type listBucketsDoc struct {
	XMLName xml.Name `xml:"ListAllMyBucketsResult"`
	NS      string   `xml:"xmlns,attr"`
	Owner   *owner
	Buckets []bucketDoc `xml:"Buckets>Bucket"`
	Token   string      `xml:"ContinuationToken,omitempty"`
	Prefix  string      `xml:",omitempty"`
}

type bucketDoc struct {
	Name         string
	CreationDate string
	BucketRegion string `xml:",omitempty"`
}

// listBuckets is ListBuckets, paged when asked to be.
func (q *request) listBuckets() error {
	if q.query.Get("x-id") == "ListDirectoryBuckets" { // which differs in nothing else
		return notImplemented("Directory buckets are not implemented.")
	}
	limit, err := q.intParam("max-buckets", 10000, 1, 10000)
	if err != nil {
		return err
	}
	all, err := q.view.ListBuckets(q.ctx())
	if err != nil {
		return err
	}
	prefix, after, region := q.query.Get("prefix"), q.query.Get("continuation-token"), q.query.Get("bucket-region")
	doc := listBucketsDoc{NS: xmlns, Owner: q.ownerOf(q.identity.Principal.Tenant), Prefix: prefix}
	for _, b := range all {
		if !strings.HasPrefix(b.Name, prefix) || b.Name <= after || region != "" && b.Region != region {
			continue
		}
		if len(doc.Buckets) == limit {
			doc.Token = doc.Buckets[limit-1].Name
			break
		}
		doc.Buckets = append(doc.Buckets, bucketDoc{Name: b.Name, CreationDate: xmlTime(b.Created), BucketRegion: b.Region})
	}
	return q.writeXML(http.StatusOK, doc)
}

// createBucket is CreateBucket.
func (q *request) createBucket() error {
	var doc struct {
		XMLName            xml.Name `xml:"CreateBucketConfiguration"`
		LocationConstraint string
		Location           *struct{ Type, Name string }
		Bucket             *struct{ Type, DataRedundancy string }
	}
	if err := q.readXML(&doc); err != nil {
		return err
	}
	if doc.Location != nil || doc.Bucket != nil {
		return notImplemented("Directory buckets are not implemented.")
	}
	region := doc.LocationConstraint
	if region != "" && region != q.s.o.Region {
		return s3err.New(codeIllegalLocation, "The %s location constraint is incompatible for the region specific endpoint this request was sent to.", printable(region))
	}
	q.location = []string{region}
	settings, err := q.newBucketSettings()
	if err != nil {
		return err
	}
	if err := q.view.CreateBucketWith(q.ctx(), q.bucket, q.s.o.Region, settings); err != nil {
		if err = q.madeAgain(err, settings); err != nil {
			return err
		}
	}
	q.w.Header().Set("Location", "/"+q.bucket)
	return q.writeEmpty(http.StatusOK)
}

// madeAgain answers who makes a bucket that it has: in us-east-1 that is no error on S3, as long as nothing about
// the bucket would change.
func (q *request) madeAgain(err error, settings tenancy.Settings) error {
	var e *namespace.Error
	if q.s.o.Region != "us-east-1" || !errors.As(err, &e) || e.Kind != namespace.BucketOwned {
		return err
	}
	_, has, err := q.view.BucketSettings(q.ctx(), q.bucket, tenancy.ListBucket)
	if err != nil {
		return err
	}
	if !bytes.Equal(has[tenancy.SettingACL], settings[tenancy.SettingACL]) || has.Ownership() != settings.Ownership() ||
		(has[namespace.SettingObjectLock] == nil) != (settings[namespace.SettingObjectLock] == nil) {
		return s3err.New("BucketAlreadyExists", "The bucket exists, and is yours, with another ACL, ownership or Object Lock. Change those instead.")
	}
	return nil
}

// newBucketSettings are what CreateBucket sets: who owns objects, and the ACL that its headers ask for.
func (q *request) newBucketSettings() (tenancy.Settings, error) {
	h := q.r.Header
	o := q.s.o.Ownership
	if v := h.Get("X-Amz-Object-Ownership"); v != "" {
		var err error
		if o, err = parseOwnership(v); err != nil {
			return nil, err
		}
	}
	me := q.identity.Principal.Tenant.Canonical()
	a, err := q.headerACL(me, me)
	if err != nil {
		return nil, err
	}
	settings := tenancy.Settings{}
	if o != tenancy.OwnerEnforced || h.Get("X-Amz-Object-Ownership") != "" {
		settings[tenancy.SettingOwnership] = []byte(o)
	}
	if a != nil && !ownersOnly(a, q.identity.Principal.Tenant) {
		if o == tenancy.OwnerEnforced {
			return nil, s3err.New("InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
		}
		settings[tenancy.SettingACL] = a.Encode()
	}
	locked, err := lockedBucket(h)
	if err != nil {
		return nil, err
	}
	if locked {
		settings[namespace.SettingVersioning] = []byte(namespace.VersioningEnabled)
		settings[namespace.SettingObjectLock] = namespace.LockConfig{}.Encode()
	}
	if len(settings) == 0 {
		return nil, nil
	}
	return settings, nil
}

// deleteBucket is DeleteBucket.
func (q *request) deleteBucket() error {
	if err := q.view.DeleteBucket(q.ctx(), q.bucket); err != nil {
		return err
	}
	return q.writeEmpty(http.StatusNoContent)
}

// headBucket is HeadBucket.
func (q *request) headBucket() error {
	b, err := q.view.HeadBucket(q.ctx(), q.bucket)
	if err != nil {
		return err
	}
	q.w.Header().Set("X-Amz-Bucket-Region", b.Region)
	q.w.Header().Set("X-Amz-Access-Point-Alias", "false")
	q.w.Header().Set("Content-Type", "application/xml")
	q.w.WriteHeader(http.StatusOK)
	q.w.WriteHeaderNow()
	return nil
}

// bucketLocation is GetBucketLocation; us-east-1 is written as nothing.
func (q *request) bucketLocation() error {
	b, err := q.view.HeadBucket(q.ctx(), q.bucket)
	if err != nil {
		return err
	}
	region := b.Region
	if region == "us-east-1" {
		region = ""
	}
	return q.writeXML(http.StatusOK, struct {
		XMLName xml.Name `xml:"LocationConstraint"`
		NS      string   `xml:"xmlns,attr"`
		Region  string   `xml:",chardata"`
	}{NS: xmlns, Region: region})
}
