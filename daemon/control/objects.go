package control

import "time"

// The operations about versions of objects, for the same who may ask about holds.
const (
	OpObjectVersions = "object.versions" // Object; answers ObjectVersions, those behind Version
	OpObjectRestore  = "object.restore"  // Object; answers Object, the new version
)

// Object names an object, or one version of it.
type Object struct {
	Bucket, Key string
	Version     string
}

// Version is a version of an object, or a delete marker.
type Version struct {
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
	Size   int64     `json:"size"` // bytes
	ETag   string    `json:"etag,omitempty"`
	Latest bool      `json:"latest,omitempty"`
	Marker bool      `json:"deleted,omitempty"`
}

// ObjectVersions is a page of them, newest first.
type ObjectVersions struct {
	Versions []Version
	More     bool
}
