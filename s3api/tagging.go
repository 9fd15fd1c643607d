package s3api

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"k3fs/namespace"
	"k3fs/s3api/internal/s3err"
)

const codeInvalidTag s3err.Code = "InvalidTag"

type taggingDoc struct {
	XMLName xml.Name `xml:"Tagging"`
	NS      string   `xml:"xmlns,attr"`
	Tags    []tagDoc `xml:"TagSet>Tag"`
}

type tagDoc struct{ Key, Value string }

// tags of a document, checked. At most limit are allowed.
func (d *taggingDoc) tags(limit int) ([]namespace.Tag, error) {
	var tags []namespace.Tag
	for _, t := range d.Tags {
		tags = append(tags, namespace.Tag(t))
	}
	return tags, checkTags(tags, limit)
}

func newTaggingDoc(tags []namespace.Tag) *taggingDoc {
	d := &taggingDoc{NS: xmlns}
	for _, t := range tags {
		d.Tags = append(d.Tags, tagDoc(t))
	}
	return d
}

// headerTags reads x-amz-tagging: tags as the query of a URL, kept by their keys.
func headerTags(value string) ([]namespace.Tag, error) {
	if value == "" {
		return nil, nil
	}
	var tags []namespace.Tag
	for pair := range strings.SplitSeq(value, "&") {
		k, v, _ := strings.Cut(pair, "=")
		key, err1 := url.QueryUnescape(k)
		val, err2 := url.QueryUnescape(v)
		if err1 != nil || err2 != nil {
			return nil, s3err.New(s3err.InvalidArgument, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
		}
		tags = append(tags, namespace.Tag{Key: key, Value: val})
	}
	slices.SortStableFunc(tags, func(a, b namespace.Tag) int { return strings.Compare(a.Key, b.Key) })
	return tags, checkTags(tags, namespace.MaxTags)
}

func checkTags(tags []namespace.Tag, limit int) error {
	if len(tags) > limit {
		return s3err.New(codeInvalidTag, "Object tags cannot be greater than %d", limit)
	}
	seen := map[string]bool{}
	for _, t := range tags {
		switch {
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return s3err.New(codeInvalidTag, "System tags cannot be added/updated by requester")
		case !namespace.ValidTagKey(t.Key):
			return s3err.New(codeInvalidTag, "The TagKey you have provided is invalid")
		case !namespace.ValidTagValue(t.Value):
			return s3err.New(codeInvalidTag, "The TagValue you have provided is invalid")
		case seen[t.Key]:
			return s3err.New(codeInvalidTag, "Cannot provide multiple Tags with the same key")
		}
		seen[t.Key] = true
	}
	return nil
}

// getObjectTagging is GetObjectTagging.
func (q *request) getObjectTagging() error {
	version, err := q.version()
	if err != nil {
		return err
	}
	tags, id, err := q.view.ObjectTags(q.ctx(), q.bucket, q.key, version)
	if err != nil {
		return err
	}
	tellVersion(q.w.Header(), id)
	return q.writeXML(http.StatusOK, newTaggingDoc(tags))
}

// putObjectTagging is PutObjectTagging.
func (q *request) putObjectTagging() error {
	var doc taggingDoc
	if err := q.readXML(&doc); err != nil {
		return err
	}
	if doc.XMLName.Local == "" {
		return s3err.New(codeMalformedXML, "The XML you provided was not well-formed or did not validate against our published schema")
	}
	tags, err := doc.tags(namespace.MaxTags)
	if err != nil {
		return err
	}
	q.tags = url.Values{}
	for _, t := range tags {
		q.tags.Set(t.Key, t.Value)
	}
	return q.setTags(tags, http.StatusOK)
}

// deleteObjectTagging is DeleteObjectTagging.
func (q *request) deleteObjectTagging() error {
	return q.setTags(nil, http.StatusNoContent)
}

// setTags replaces the tags of the version that the request names.
func (q *request) setTags(tags []namespace.Tag, status int) error {
	version, err := q.version()
	if err != nil {
		return err
	}
	id, err := q.view.SetObjectTags(q.ctx(), q.bucket, q.key, version, tags)
	if err != nil {
		return err
	}
	tellVersion(q.w.Header(), id)
	return q.writeEmpty(status)
}
