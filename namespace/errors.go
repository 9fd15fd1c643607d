package namespace

import (
	"fmt"
	iofs "io/fs"
)

//go:generate go tool -modfile=../tools/go.mod stringer -type=Kind

// Kind says what went wrong, in terms that both doors can translate (fusefs/errno.go, s3api/errors.go).
type Kind uint8

// The kinds. A test in each door walks them all.
const (
	Internal           Kind = iota // a bug or an unforeseen state
	NotFound                       // no such file, object or version
	NoBucket                       // no such bucket, or not this tenant's
	NoUpload                       // no such multipart upload
	NoAttr                         // no such extended attribute
	Exists                         // the name is taken
	BucketOwned                    // the bucket exists and is the caller's
	BucketTaken                    // the bucket exists and is another's
	NotDir                         // a component is not a directory
	IsDir                          // the operation is not for directories
	NotEmpty                       // directory or bucket not empty
	Invalid                        // bad argument
	InvalidName                    // the name or key can't be used here
	InvalidBucketName              // against S3's bucket naming rules
	NameTooLong                    // component over 255 bytes, or key over 1024
	CrossBucket                    // rename or link between buckets
	Loop                           // rename of a directory into itself
	TooManyLinks                   // link count exhausted
	Access                         // the principal lacks a permission
	NotPermitted                   // never allowed here, whoever asks (and: held data)
	ReadOnly                       // the view or the store is read-only
	NoSpace                        // the disk is at its low-water mark
	QuotaExceeded                  // a quota is used up
	TooBig                         // object, part or attribute over its limit
	Range                          // buffer or range can't be satisfied
	PreconditionFailed             // a condition of the request is false
	NotModified                    // a read's condition says that the caller's copy is current
	InvalidPart                    // CompleteMultipartUpload names a part that is not there
	InvalidPartOrder               // its parts are not ascending
	PartTooSmall                   // a part but the last is below the minimum
	WrongOffset                    // an append does not begin at the object's end
	Busy                           // in use
	Stale                          // the inode is gone
	BadHandle                      // the handle is closed, or not open for this
	Unsupported                    // not offered
	Corrupt                        // stored data failed authentication
	Unavailable                    // the store stopped after a failed write, or is closing
	Interrupted                    // the caller's context ended
	NoVersion                      // the key has no such version
	BadVersion                     // what was given can't be a version's id
	IsMarker                       // the version is a delete marker
	NoLock                         // Object Lock is asked of a bucket that has none
	NoVersioning                   // what is asked needs a bucket that keeps versions, and goes on to
	BadBody                        // the request's body failed its own check (Err has the door's error)
	numKinds                       // of kinds
)

// Kinds returns every kind, for the tests that walk the doors' tables.
func Kinds() []Kind {
	all := make([]Kind, 0, numKinds)
	for k := Kind(0); k < numKinds; k++ {
		all = append(all, k)
	}
	return all
}

// Error is what every method of a View returns when it fails.
type Error struct {
	Op   string // the operation ("lookup", "put")
	Name string // what it was about; may be empty
	Kind Kind
	Err  error // the cause; may be nil
}

func (e *Error) Error() string {
	s := e.Op
	if e.Name != "" {
		s += fmt.Sprintf(" %q", e.Name)
	}
	s += ": " + e.Kind.String()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes the errors of io/fs match: fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrInvalid.
func (e *Error) Is(target error) bool {
	switch target {
	case iofs.ErrNotExist:
		return e.Kind == NotFound || e.Kind == NoBucket || e.Kind == NoUpload || e.Kind == NoVersion || e.Kind == NoAttr
	case iofs.ErrExist:
		return e.Kind == Exists || e.Kind == BucketOwned || e.Kind == BucketTaken
	case iofs.ErrPermission:
		return e.Kind == Access || e.Kind == NotPermitted
	case iofs.ErrInvalid:
		return e.Kind == Invalid || e.Kind == InvalidName || e.Kind == InvalidBucketName
	}
	return false
}
