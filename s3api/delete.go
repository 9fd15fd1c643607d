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
	version, err := q.version()
	if err != nil {
		return err
	}
	if cond.LastModified, cond.Size, err = deleteConditions(q.r.Header.Get("X-Amz-If-Match-Last-Modified-Time"), q.r.Header.Get("X-Amz-If-Match-Size")); err != nil {
		return err
	}
	done, err := q.view.DeleteObject(q.ctx(), q.bucket, q.key, namespace.DeleteOptions{Conditions: cond, Version: version, Bypass: q.bypass()})
	if err != nil {
		return err
	}
	tellVersion(q.w.Header(), done.Version)
	if done.Marker {
		q.w.Header().Set(markerHeader, "true")
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

type deletedDoc struct {
	Key                   string
	VersionID             string `xml:"VersionId,omitempty"`
	DeleteMarker          bool   `xml:",omitempty"`
	DeleteMarkerVersionID string `xml:"DeleteMarkerVersionId,omitempty"`
}

type deleteFailed struct {
	Key       string
	VersionID string `xml:"VersionId,omitempty"`
	Code      s3err.Code
	Message   string
}

// deleted says what became of one key.
func deleted(d *namespace.Deletion, done *namespace.Deleted) deletedDoc {
	doc := deletedDoc{Key: d.Key, VersionID: d.Version, DeleteMarker: done.Marker}
	if done.Marker {
		doc.DeleteMarkerVersionID = done.Version
	}
	return doc
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
		keys[i].Key, keys[i].Version, keys[i].Bypass = o.Key, o.VersionID, q.bypass()
		c := &keys[i].Conditions
		if o.ETag != "" {
			c.IfMatch = header.ParseETags([]string{o.ETag}).List()
		}
		var err error
		if c.LastModified, c.Size, err = deleteConditions(o.LastModifiedTime, o.Size); err != nil {
			return err
		}
	}
	done, err := q.view.DeleteObjects(q.ctx(), q.bucket, keys)
	if err != nil {
		return err
	}
	res := deleteResult{NS: xmlns}
	for i, d := range keys {
		if done[i].Err != nil {
			a, _ := translate(done[i].Err)
			res.Errors = append(res.Errors, deleteFailed{Key: d.Key, VersionID: d.Version, Code: a.code, Message: a.message})
		} else if !doc.Quiet {
			res.Deleted = append(res.Deleted, deleted(&d, &done[i]))
		}
	}
	return q.writeXML(http.StatusOK, res)
}
