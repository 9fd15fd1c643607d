package s3api

import (
	"encoding/xml"
	"net/http"
	"strings"

	"k3fs/namespace"
	"k3fs/s3api/internal/payload"
	"k3fs/s3api/internal/s3err"
	"k3fs/tenancy"
)

// The settings of a bucket that this room alone understands, beside those of tenancy. Each is stored as the XML
// document that a GET answers.
const (
	settingTagging    = "tagging"
	settingCORS       = "cors"
	settingEncryption = "encryption"
	settingWebsite    = "website"
	settingLifecycle  = "lifecycle"
)

// document is a setting that is an XML document: what it is stored under, what a GET answers where there is
// none, and how a new one is checked.
type document struct {
	name    string
	missing s3err.Code
	message string
	// check reads the client's document and returns the one to store.
	check func(q *request, raw []byte) (any, error)
}

var (
	taggingDocument    = document{settingTagging, "NoSuchTagSet", "The TagSet does not exist", checkTagging}
	corsDocument       = document{settingCORS, "NoSuchCORSConfiguration", "The CORS configuration does not exist", checkCORS}
	encryptionDocument = document{settingEncryption, "ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found", checkEncryption}
	websiteDocument    = document{settingWebsite, "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration", checkWebsite}
	lifecycleDocument  = document{settingLifecycle, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist", checkLifecycle}
)

func getDocument(d *document, a tenancy.Action) func(*request) error {
	return func(q *request) error {
		_, s, err := q.view.BucketSettings(q.ctx(), q.bucket, a)
		if err != nil {
			return err
		}
		raw, ok := s[d.name]
		if !ok {
			return s3err.New(d.missing, "%s", d.message)
		}
		return q.writeRawXML(http.StatusOK, raw)
	}
}

func putDocument(d *document, a tenancy.Action, status int) func(*request) error {
	return func(q *request) error {
		if err := q.mayChange(a); err != nil {
			return err
		}
		raw, err := q.readDocument(maxXML)
		if err != nil {
			return err
		}
		doc, err := d.check(q, raw)
		if err != nil {
			return err
		}
		stored, err := xml.Marshal(doc)
		if err != nil {
			return err
		}
		err = q.view.ChangeBucketSettings(q.ctx(), q.bucket, a, func(_ namespace.BucketInfo, s tenancy.Settings) error {
			s[d.name] = append([]byte(xml.Header), stored...)
			return nil
		})
		if err != nil {
			return err
		}
		return q.writeEmpty(status)
	}
}

// mayChange asks before a body is read whether the bucket's settings may be changed; the update asks again.
func (q *request) mayChange(a tenancy.Action) error {
	_, _, err := q.view.BucketSettings(q.ctx(), q.bucket, a)
	return err
}

// deleteSetting takes a setting away. It is no error if there is none.
func deleteSetting(name string, a tenancy.Action) func(*request) error {
	return func(q *request) error {
		err := q.view.ChangeBucketSettings(q.ctx(), q.bucket, a, func(_ namespace.BucketInfo, s tenancy.Settings) error {
			delete(s, name)
			return nil
		})
		if err != nil {
			return err
		}
		return q.writeEmpty(http.StatusNoContent)
	}
}

// answerDefault answers with the document of a feature that is never configured, to who may ask.
func answerDefault(doc string, a tenancy.Action) func(*request) error {
	return func(q *request) error {
		if _, _, err := q.view.BucketSettings(q.ctx(), q.bucket, a); err != nil {
			return err
		}
		return q.writeRawXML(http.StatusOK, []byte(xml.Header+doc))
	}
}

// readDocument reads and verifies the request's body of at most limit bytes, which can't be empty.
func (q *request) readDocument(limit int64) ([]byte, error) {
	var o payload.Opener
	raw, err := o.ReadAll(q.r, q.identity.Payload, limit, payload.Request{})
	if err != nil {
		return nil, err
	}
	if len(strings.TrimSpace(string(raw))) == 0 {
		return nil, s3err.New("MissingRequestBodyError", "Request body is empty")
	}
	return raw, nil
}

const maxBucketTags = 50

// checkTagging is PutBucketTagging's document.
func checkTagging(_ *request, raw []byte) (any, error) {
	var doc taggingDoc
	if err := decodeXML(raw, &doc); err != nil {
		return nil, err
	}
	if len(doc.Tags) > maxBucketTags {
		return nil, s3err.New("BadRequest", "Bucket tag count cannot be greater than %d", maxBucketTags)
	}
	if _, err := doc.tags(maxBucketTags); err != nil {
		return nil, err
	}
	doc.XMLName, doc.NS = xml.Name{Local: "Tagging"}, xmlns
	return doc, nil
}

type encryptionDoc struct {
	XMLName xml.Name `xml:"ServerSideEncryptionConfiguration"`
	NS      string   `xml:"xmlns,attr"`
	Rules   []struct {
		Default struct {
			SSEAlgorithm   string
			KMSMasterKeyID string `xml:",omitempty"`
		} `xml:"ApplyServerSideEncryptionByDefault"`
		BucketKeyEnabled bool
	} `xml:"Rule"`
}

// checkEncryption is PutBucketEncryption's document: everything is encrypted in any case, so it can only say so.
func checkEncryption(q *request, raw []byte) (any, error) {
	var doc encryptionDoc
	if err := decodeXML(raw, &doc); err != nil {
		return nil, err
	}
	if len(doc.Rules) != 1 {
		return nil, malformedXML()
	}
	switch d := doc.Rules[0].Default; {
	case d.SSEAlgorithm == "AES256" && d.KMSMasterKeyID == "":
	case d.SSEAlgorithm == "AES256":
		return nil, s3err.New(s3err.InvalidArgument, "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse")
	case d.SSEAlgorithm == "aws:kms":
		h := http.Header{sseHeader: {d.SSEAlgorithm}}
		if d.KMSMasterKeyID != "" {
			h.Set(sseKeyHeader, d.KMSMasterKeyID)
		}
		if _, err := q.encryption(h); err != nil {
			return nil, err
		}
	default:
		return nil, malformedXML()
	}
	doc.XMLName, doc.NS = xml.Name{Local: "ServerSideEncryptionConfiguration"}, xmlns
	return doc, nil
}

// bucketEncryption is GetBucketEncryption; what nobody set is SSE-S3.
func (q *request) bucketEncryption() error {
	_, s, err := q.view.BucketSettings(q.ctx(), q.bucket, tenancy.GetEncryption)
	if err != nil {
		return err
	}
	raw, ok := s[settingEncryption]
	if !ok {
		raw = []byte(xml.Header + `<ServerSideEncryptionConfiguration xmlns="` + xmlns + `"><Rule><ApplyServerSideEncryptionByDefault>` +
			`<SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>`)
	}
	return q.writeRawXML(http.StatusOK, raw)
}

// putRequestPayment is PutBucketRequestPayment: the owner pays.
func (q *request) putRequestPayment() error {
	var doc struct {
		XMLName xml.Name `xml:"RequestPaymentConfiguration"`
		Payer   string
	}
	if err := q.mayChange(tenancy.PutBucketRequestPay); err != nil {
		return err
	}
	if err := q.readXML(&doc); err != nil {
		return err
	}
	switch doc.Payer {
	case "BucketOwner":
		return q.writeEmpty(http.StatusOK)
	case "Requester":
		return notImplemented("Nobody pays for requests here, so the requester can't.")
	}
	return malformedXML()
}

type ownershipDoc struct {
	XMLName xml.Name                                      `xml:"OwnershipControls"`
	NS      string                                        `xml:"xmlns,attr"`
	Rules   []struct{ ObjectOwnership tenancy.Ownership } `xml:"Rule"`
}

// ownership is GetBucketOwnershipControls.
func (q *request) ownership() error {
	_, s, err := q.view.BucketSettings(q.ctx(), q.bucket, tenancy.GetBucketOwnership)
	if err != nil {
		return err
	}
	o := s.Ownership()
	if o == tenancy.NoOwnership {
		return s3err.New("OwnershipControlsNotFoundError", "The bucket ownership controls were not found")
	}
	return q.writeXML(http.StatusOK, ownershipDoc{NS: xmlns, Rules: []struct{ ObjectOwnership tenancy.Ownership }{{o}}})
}

// putOwnership is PutBucketOwnershipControls.
func (q *request) putOwnership() error {
	if err := q.mayChange(tenancy.PutBucketOwnership); err != nil {
		return err
	}
	var doc ownershipDoc
	if err := q.readXML(&doc); err != nil {
		return err
	}
	if len(doc.Rules) != 1 {
		return malformedXML()
	}
	o, err := parseOwnership(string(doc.Rules[0].ObjectOwnership))
	if err != nil {
		return malformedXML()
	}
	err = q.view.ChangeBucketSettings(q.ctx(), q.bucket, tenancy.PutBucketOwnership, func(info namespace.BucketInfo, s tenancy.Settings) error {
		if o == tenancy.OwnerEnforced && len(s[tenancy.SettingACL]) > 0 {
			acl, err := tenancy.DecodeACL(s[tenancy.SettingACL])
			if err != nil || !ownersOnly(acl, info.Owner) {
				return s3err.New("InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
			}
		}
		s[tenancy.SettingOwnership] = []byte(o)
		return nil
	})
	if err != nil {
		return err
	}
	return q.writeEmpty(http.StatusOK)
}

// deleteOwnership is DeleteBucketOwnershipControls.
func (q *request) deleteOwnership() error {
	err := q.view.ChangeBucketSettings(q.ctx(), q.bucket, tenancy.PutBucketOwnership, func(_ namespace.BucketInfo, s tenancy.Settings) error {
		s[tenancy.SettingOwnership] = []byte(tenancy.NoOwnership)
		return nil
	})
	if err != nil {
		return err
	}
	return q.writeEmpty(http.StatusNoContent)
}

func parseOwnership(s string) (tenancy.Ownership, error) {
	switch o := tenancy.Ownership(s); o {
	case tenancy.OwnerEnforced, tenancy.OwnerPreferred, tenancy.ObjectWriter:
		return o, nil
	}
	return "", s3err.New(s3err.InvalidArgument, "Invalid x-amz-object-ownership header: %s", printable(s))
}

type publicAccessDoc struct {
	XMLName xml.Name `xml:"PublicAccessBlockConfiguration"`
	NS      string   `xml:"xmlns,attr"`
	tenancy.PublicAccess
}

// publicAccess is GetPublicAccessBlock.
func (q *request) publicAccess() error {
	_, s, err := q.view.BucketSettings(q.ctx(), q.bucket, tenancy.GetBucketPublicAccess)
	if err != nil {
		return err
	}
	if len(s[tenancy.SettingPublicAccess]) == 0 {
		return s3err.New("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found")
	}
	return q.writeXML(http.StatusOK, publicAccessDoc{NS: xmlns, PublicAccess: s.PublicAccess()})
}

// putPublicAccess is PutPublicAccessBlock.
func (q *request) putPublicAccess() error {
	if err := q.mayChange(tenancy.PutBucketPublicAccess); err != nil {
		return err
	}
	var doc publicAccessDoc
	if err := q.readXML(&doc); err != nil {
		return err
	}
	if doc.XMLName.Local == "" {
		return malformedXML()
	}
	err := q.view.ChangeBucketSettings(q.ctx(), q.bucket, tenancy.PutBucketPublicAccess, func(_ namespace.BucketInfo, s tenancy.Settings) error {
		s[tenancy.SettingPublicAccess] = doc.PublicAccess.Encode()
		return nil
	})
	if err != nil {
		return err
	}
	return q.writeEmpty(http.StatusOK)
}
