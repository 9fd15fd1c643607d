package s3api

import (
	"encoding/xml"

	"k3fs/s3api/internal/lifecycle"
)

// checkLifecycle is PutBucketLifecycleConfiguration's document.
func checkLifecycle(_ *request, raw []byte) (any, error) {
	var doc lifecycle.Config
	if err := decodeXML(raw, &doc); err != nil {
		return nil, err
	}
	doc.XMLName, doc.NS = xml.Name{Local: "LifecycleConfiguration"}, xmlns
	return &doc, doc.Check()
}
