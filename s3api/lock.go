package s3api

import (
	"encoding/xml"
	"net/http"
	"strings"
	"time"

	"k3fs/namespace"
	"k3fs/s3api/internal/s3err"
	"k3fs/tenancy"
)

// The headers of Object Lock.
const (
	lockModeHeader    = "X-Amz-Object-Lock-Mode"
	lockUntilHeader   = "X-Amz-Object-Lock-Retain-Until-Date"
	legalHoldHeader   = "X-Amz-Object-Lock-Legal-Hold"
	bucketLockHeader  = "X-Amz-Bucket-Object-Lock-Enabled"
	bypassHeader      = "X-Amz-Bypass-Governance-Retention"
	maxLockDays       = 36500 // of a default retention, as S3 has it
	maxLockYears      = 100
	invalidRetention  = s3err.Code("InvalidRetentionPeriod")
	noLockOnBucket    = "Bucket is missing Object Lock Configuration"
	wormRefusal       = "Access Denied because object protected by object lock."
	noLockConfigError = s3err.Code("ObjectLockConfigurationNotFoundError")
)

type lockRetentionDoc struct {
	Mode  string
	Days  *int `xml:",omitempty"`
	Years *int `xml:",omitempty"`
}

type lockConfigDoc struct {
	XMLName xml.Name `xml:"ObjectLockConfiguration"`
	NS      string   `xml:"xmlns,attr"`
	Enabled string   `xml:"ObjectLockEnabled,omitempty"`
	Rule    *struct {
		Default lockRetentionDoc `xml:"DefaultRetention"`
	} `xml:",omitempty"`
}

// config reads the document.
func (d *lockConfigDoc) config() (c namespace.LockConfig, err error) {
	if d.Enabled != "Enabled" {
		return c, malformedXML()
	}
	if d.Rule == nil {
		return c, nil
	}
	r := d.Rule.Default
	var ok bool
	if c.Mode, ok = lockModes[r.Mode]; !ok || (r.Days == nil) == (r.Years == nil) {
		return c, malformedXML()
	}
	if r.Days != nil {
		c.Days = *r.Days
	} else {
		c.Years = *r.Years
	}
	if c.Days < 0 || c.Years < 0 || c.Days+c.Years == 0 {
		return c, s3err.New(invalidRetention, "Default retention period must be a positive integer value.")
	}
	if c.Days > maxLockDays || c.Years > maxLockYears {
		return c, s3err.New(invalidRetention, "Default retention period too large.")
	}
	return c, nil
}

var lockModes = map[string]namespace.LockMode{"GOVERNANCE": namespace.Governance, "COMPLIANCE": namespace.Compliance}

// lockConfiguration is GetObjectLockConfiguration.
func (q *request) lockConfiguration() error {
	_, s, err := q.view.BucketSettings(q.ctx(), q.bucket, tenancy.GetBucketObjectLock)
	if err != nil {
		return err
	}
	c, err := namespace.LockConfigOf(s)
	if err != nil {
		return err
	}
	if c == nil {
		return s3err.New(noLockConfigError, "Object Lock configuration does not exist for this bucket")
	}
	doc := lockConfigDoc{NS: xmlns, Enabled: "Enabled"}
	if c.Mode != namespace.NoRetention {
		doc.Rule = &struct {
			Default lockRetentionDoc `xml:"DefaultRetention"`
		}{lockRetentionDoc{Mode: c.Mode.String()}}
		if c.Days > 0 {
			doc.Rule.Default.Days = &c.Days
		} else {
			doc.Rule.Default.Years = &c.Years
		}
	}
	return q.writeXML(http.StatusOK, doc)
}

// putLockConfiguration is PutObjectLockConfiguration, also of a bucket that was made without.
func (q *request) putLockConfiguration() error {
	if err := q.mayChange(tenancy.PutBucketObjectLock); err != nil {
		return err
	}
	var doc lockConfigDoc
	if err := q.readXML(&doc); err != nil {
		return err
	}
	c, err := doc.config()
	if err != nil {
		return err
	}
	if err := q.view.ChangeLockConfig(q.ctx(), q.bucket, c); err != nil {
		return err
	}
	return q.writeEmpty(http.StatusOK)
}

type retentionDoc struct {
	XMLName xml.Name `xml:"Retention"`
	NS      string   `xml:"xmlns,attr"`
	Mode    string   `xml:",omitempty"`
	Until   string   `xml:"RetainUntilDate,omitempty"`
}

// retention reads the document; one that is empty takes retention away.
func (d *retentionDoc) retention() (r namespace.Retention, err error) {
	if d.XMLName.Local == "" {
		return r, malformedXML()
	}
	if d.Mode == "" && d.Until == "" {
		return r, nil
	}
	var ok bool
	if r.Mode, ok = lockModes[d.Mode]; !ok {
		return r, malformedXML()
	}
	if r.Until, err = lockTime(d.Until); err != nil {
		return r, malformedXML()
	}
	return r, nil
}

// lockTime reads a moment in ISO 8601.
func lockTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(s))
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05", strings.TrimSpace(s))
	}
	return t, err
}

// bypass reports whether the request asks to pass governance retention.
func (q *request) bypass() bool { return strings.EqualFold(q.r.Header.Get(bypassHeader), "true") }

// getRetention is GetObjectRetention.
func (q *request) getRetention() error {
	version, err := q.version()
	if err != nil {
		return err
	}
	lock, id, err := q.view.LockOf(q.ctx(), q.bucket, q.key, version, tenancy.GetObjectRetention)
	if err != nil {
		return err
	}
	tellVersion(q.w.Header(), id)
	if lock.Mode == namespace.NoRetention {
		return noLockOfObject()
	}
	return q.writeXML(http.StatusOK, retentionDoc{NS: xmlns, Mode: lock.Mode.String(), Until: xmlTime(lock.Until)})
}

func noLockOfObject() error {
	return s3err.New("NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")
}

// putRetention is PutObjectRetention.
func (q *request) putRetention() error {
	version, err := q.version()
	if err != nil {
		return err
	}
	var doc retentionDoc
	if err := q.readXML(&doc); err != nil {
		return err
	}
	r, err := doc.retention()
	if err != nil {
		return err
	}
	q.lock = map[string]string{"object-lock-mode": doc.Mode, "object-lock-retain-until-date": doc.Until}
	id, err := q.view.SetRetention(q.ctx(), q.bucket, q.key, version, r, q.bypass())
	if err != nil {
		return err
	}
	tellVersion(q.w.Header(), id)
	return q.writeEmpty(http.StatusOK)
}

type legalHoldDoc struct {
	XMLName xml.Name `xml:"LegalHold"`
	NS      string   `xml:"xmlns,attr"`
	Status  string
}

// getLegalHold is GetObjectLegalHold.
func (q *request) getLegalHold() error {
	version, err := q.version()
	if err != nil {
		return err
	}
	lock, id, err := q.view.LockOf(q.ctx(), q.bucket, q.key, version, tenancy.GetObjectLegalHold)
	if err != nil {
		return err
	}
	tellVersion(q.w.Header(), id)
	return q.writeXML(http.StatusOK, legalHoldDoc{NS: xmlns, Status: onOff(lock.LegalHold)})
}

func onOff(on bool) string {
	if on {
		return "ON"
	}
	return "OFF"
}

// putLegalHold is PutObjectLegalHold.
func (q *request) putLegalHold() error {
	version, err := q.version()
	if err != nil {
		return err
	}
	var doc legalHoldDoc
	if err := q.readXML(&doc); err != nil {
		return err
	}
	if doc.Status != "ON" && doc.Status != "OFF" {
		return malformedXML()
	}
	q.lock = map[string]string{"object-lock-legal-hold": doc.Status}
	id, err := q.view.SetLegalHold(q.ctx(), q.bucket, q.key, version, doc.Status == "ON")
	if err != nil {
		return err
	}
	tellVersion(q.w.Header(), id)
	return q.writeEmpty(http.StatusOK)
}

// askedLock reads the lock that a new object is to have from headers, or fields of a form; nil if none is asked for.
func askedLock(h http.Header) (*namespace.ObjectLock, error) {
	mode, until, hold := h.Get(lockModeHeader), h.Get(lockUntilHeader), h.Get(legalHoldHeader)
	if mode == "" && until == "" && hold == "" {
		return nil, nil
	}
	var l namespace.ObjectLock
	if (mode == "") != (until == "") {
		return nil, s3err.New(s3err.InvalidArgument, "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
	}
	if mode != "" {
		var ok bool
		if l.Mode, ok = lockModes[mode]; !ok {
			return nil, s3err.New(s3err.InvalidArgument, "Unknown wormMode directive.")
		}
		var err error
		if l.Until, err = lockTime(until); err != nil {
			return nil, s3err.New(s3err.InvalidArgument, "The retain until date must be provided in ISO 8601 format")
		}
	}
	switch hold {
	case "ON":
		l.LegalHold = true
	case "", "OFF":
	default:
		return nil, s3err.New(s3err.InvalidArgument, "Legal Hold must be either of 'ON' or 'OFF'")
	}
	return &l, nil
}

// tellLock tells of an object's lock, as far as the caller may know it.
func tellLock(h http.Header, o *namespace.ObjectInfo) {
	if o.Lock == nil {
		return
	}
	if o.Lock.Mode != namespace.NoRetention {
		h.Set(lockModeHeader, o.Lock.Mode.String())
		h.Set(lockUntilHeader, xmlTime(o.Lock.Until))
	}
	if o.Lock.LegalHold {
		h.Set(legalHoldHeader, "ON")
	}
}

// lockedBucket reports whether CreateBucket asks for Object Lock.
func lockedBucket(h http.Header) (bool, error) {
	switch v := h.Get(bucketLockHeader); {
	case v == "", strings.EqualFold(v, "false"):
		return false, nil
	case strings.EqualFold(v, "true"):
		return true, nil
	default:
		return false, s3err.New(s3err.InvalidArgument, "The value of x-amz-bucket-object-lock-enabled is not true or false")
	}
}
