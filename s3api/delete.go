package s3api

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"time"

	"k3fs/namespace"
	"k3fs/s3api/internal/header"
	"k3fs/s3api/internal/s3err"
)

// deleteObject is DeleteObject.
func (q *request) deleteObject() error {
	cond := writeConditions(q.r.Header)
	var err error
	if cond.LastModified, cond.Size, err = deleteConditions(q.r.Header.Get("X-Amz-If-Match-Last-Modified-Time"), q.r.Header.Get("X-Amz-If-Match-Size")); err != nil {
		return err
	}
	if _, err := q.view.DeleteObject(q.ctx(), q.bucket, q.key, cond); err != nil {
		return err
	}
	return q.writeEmpty(http.StatusNoContent)
}

// deleteConditions reads the conditions that only a delete has.
func deleteConditions(modified, size string) (t time.Time, n *int64, err error) {
	if modified != "" {
		var ok bool
		if t, ok = header.ParseTime(modified); !ok {
			return t, nil, s3err.New(s3err.InvalidArgument, "The modification time of a conditional delete must be a date.")
		}
	}
	if size != "" {
		v, err := strconv.ParseInt(size, 10, 64)
		if err != nil || v < 0 {
			return t, nil, s3err.New(s3err.InvalidArgument, "The size of a conditional delete must be a number of bytes.")
		}
		n = &v
	}
	return t, n, nil
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
	keys := make([]namespace.Deletion, len(doc.Objects))
	for i, o := range doc.Objects {
		if o.VersionID != "" && o.VersionID != "null" {
			return notImplemented("Versions in DeleteObjects are not implemented.")
		}
		keys[i].Key = o.Key
		c := &keys[i].Conditions
		if o.ETag != "" {
			c.IfMatch = header.ParseETags([]string{o.ETag}).List()
		}
		var err error
		if c.LastModified, c.Size, err = deleteConditions(o.LastModifiedTime, o.Size); err != nil {
			return err
		}
	}
	errs, err := q.view.DeleteObjects(q.ctx(), q.bucket, keys)
	if err != nil {
		return err
	}
	res := deleteResult{NS: xmlns}
	for i, d := range keys {
		if errs[i] != nil {
			a, _ := translate(errs[i])
			res.Errors = append(res.Errors, deleteFailed{Key: d.Key, Code: a.code, Message: a.message})
		} else if !doc.Quiet {
			res.Deleted = append(res.Deleted, deletedDoc{Key: d.Key})
		}
	}
	return q.writeXML(http.StatusOK, res)
}
