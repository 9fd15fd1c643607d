package s3api

import (
	"encoding/xml"
	"net/http"
	"strings"

	"k3fs/namespace"
	"k3fs/s3api/internal/header"
	"k3fs/s3api/internal/payload"
	"k3fs/s3api/internal/s3err"
)

type copyResult struct {
	XMLName      xml.Name
	NS           string `xml:"xmlns,attr"`
	LastModified string
	ETag         string
	Sums         []sumDoc
}

type sumDoc struct {
	XMLName xml.Name
	Value   string `xml:",chardata"`
}

func sumDocs(c namespace.Checksums) []sumDoc {
	if c.Algorithm == "" {
		return nil
	}
	docs := []sumDoc{{xml.Name{Local: "Checksum" + c.Algorithm}, c.Value}}
	if c.Type != "" {
		docs = append(docs, sumDoc{xml.Name{Local: "ChecksumType"}, c.Type})
	}
	return docs
}

// source reads x-amz-copy-source. Two are refused: split at a comma, one could become another that is signed as well.
func (q *request) source() (header.CopySource, error) {
	if len(q.r.Header.Values(copySource)) > 1 {
		return header.CopySource{}, s3err.New(s3err.InvalidArgument, "The header x-amz-copy-source may appear only once.")
	}
	return header.ParseCopySource(q.r.Header.Get(copySource))
}

// copyObject is CopyObject.
func (q *request) copyObject() error {
	src, err := q.source()
	if err != nil {
		return err
	}
	o, err := q.copyOptions()
	if err != nil {
		return err
	}
	o.Version = src.VersionID
	if src.Bucket == q.bucket && src.Key == q.key && src.VersionID == "" && !o.SelfCopyOK {
		return s3err.New(s3err.InvalidRequest, "This copy request is illegal because it is trying to copy an object to itself without changing "+
			"the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	info, err := q.view.CopyObject(q.ctx(), src.Bucket, src.Key, q.bucket, q.key, o)
	if err != nil {
		return notModifiedAsFailed(err)
	}
	h := q.w.Header()
	tellEncryption(h, info.Headers)
	tellMade(h, info.Version)
	if info.CopyOf != "" {
		h.Set(copyOfHeader, info.CopyOf)
	}
	q.tellExpiration(&info)
	return q.writeXML(http.StatusOK, copyResult{XMLName: xml.Name{Local: "CopyObjectResult"}, NS: xmlns,
		LastModified: xmlTime(info.LastModified), ETag: quoted(info.ETag), Sums: sumDocs(info.Checksums)})
}

// copyOptions reads what a copy's headers ask for.
func (q *request) copyOptions() (o namespace.CopyOptions, err error) {
	h := q.r.Header
	if o.Replace, err = directive(h, "X-Amz-Metadata-Directive"); err != nil {
		return o, err
	}
	if o.ReplaceTags, err = directive(h, "X-Amz-Tagging-Directive"); err != nil {
		return o, err
	}
	if o.Headers, o.Meta, err = objectHeaders(h); err != nil {
		return o, err
	}
	if o.Override, err = q.ownHeaders(h); err != nil {
		return o, err
	}
	if o.ACL, err = q.uploadACL(); err != nil {
		return o, err
	}
	if o.Tags, err = headerTags(h.Get(taggingHeader)); err != nil {
		return o, err
	}
	if name := h.Get("X-Amz-Checksum-Algorithm"); name != "" {
		alg, ok := payload.ParseAlgorithm(name)
		if !ok {
			return o, unknownChecksum()
		}
		o.Checksum = string(alg)
	}
	if o.Lock, err = askedLock(h); err != nil {
		return o, err
	}
	o.Source, o.Target = conditions(h, "X-Amz-Copy-Source-"), writeConditions(h)
	o.SelfCopyOK = o.Replace || o.ReplaceTags || h.Get(storageHeader) != "" || h.Get(sseHeader) != "" || h.Get(redirectHeader) != "" || o.Checksum != "" || o.Lock != nil
	return o, nil
}

// directive reads whether something of the source is replaced.
func directive(h http.Header, name string) (replace bool, err error) {
	switch d := h.Get(name); d {
	case "", "COPY":
		return false, nil
	case "REPLACE":
		return true, nil
	}
	return false, s3err.New(s3err.InvalidArgument, "Unknown %s.", strings.ToLower(strings.TrimPrefix(name, "X-Amz-")))
}

func unknownChecksum() error {
	return s3err.New(s3err.InvalidRequest, "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
}

// notModifiedAsFailed: a copy has no 304; S3 answers 412 when a condition on the source is false.
func notModifiedAsFailed(err error) error {
	if a, _ := translate(err); a.status == http.StatusNotModified {
		return s3err.New(codePrecondition, "At least one of the pre-conditions you specified did not hold")
	}
	return err
}
