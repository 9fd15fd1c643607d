package namespace

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// S3's limits of an object's tags ("Categorizing your storage using tags"); lengths are in UTF-16 code units.
const (
	MaxTags     = 10
	maxTagKey   = 128
	maxTagValue = 256
)

// s3Tag is the beginning of the attributes that are an object's tags. They are listed and can be set, as all that is
// given to an object (s3xattr.go).
const s3Tag = s3Space + "tag."

// ValidTagKey reports whether S3 lets a user give a tag the key.
func ValidTagKey(key string) bool {
	return key != "" && tagText(key, maxTagKey) && !strings.HasPrefix(strings.ToLower(key), "aws:")
}

// ValidTagValue reports whether a tag may have the value.
func ValidTagValue(value string) bool { return tagText(value, maxTagValue) }

// tagText reports whether s may stand in a tag: letters, numbers, spaces and + - = . _ : / @ in any script.
func tagText(s string, limit int) bool {
	if !utf8.ValidString(s) || len(utf16.Encode([]rune(s))) > limit {
		return false
	}
	for _, r := range s {
		if !unicode.In(r, unicode.L, unicode.N, unicode.M, unicode.Z) && !strings.ContainsRune("+-=._:/@", r) {
			return false
		}
	}
	return true
}

// tagXattr handles them.
type tagXattr struct{}

// find returns where the tag of an attribute is among the object's; -1 if it has none.
func (tagXattr) find(x *xattrOf, name string) int {
	if x.n.Object == nil {
		return -1
	}
	key := strings.TrimPrefix(name, s3Tag)
	return slices.IndexFunc(x.n.Object.Tags, func(t tagRec) bool { return t.Key == key })
}

func (k tagXattr) get(x *xattrOf, name string) ([]byte, error) {
	i := k.find(x, name)
	if i < 0 {
		return nil, of(NoAttr)
	}
	return []byte(x.n.Object.Tags[i].Value), nil
}

func (tagXattr) list(x *xattrOf) (names []string, err error) {
	if x.n.Object == nil {
		return nil, nil
	}
	for _, t := range x.n.Object.Tags {
		if len(s3Tag)+len(t.Key) <= maxXattrName { // S3 can give longer ones
			names = append(names, s3Tag+t.Key)
		}
	}
	return names, nil
}

func (k tagXattr) set(_ *txn, x *xattrOf, name string, value []byte, _ XattrFlags) error {
	if t := Type(x.n.Type); t != File && t != Dir {
		return of(NotPermitted)
	}
	tag := tagRec{Key: strings.TrimPrefix(name, s3Tag), Value: string(value)}
	if !ValidTagKey(tag.Key) || !ValidTagValue(tag.Value) {
		return of(Invalid)
	}
	i := k.find(x, name)
	o := x.n.Object.clone()
	switch {
	case i >= 0:
		o.Tags[i] = tag
	case len(o.Tags) >= MaxTags:
		return of(NoSpace)
	default:
		o.Tags = append(o.Tags, tag)
	}
	x.n.Object = o
	return nil
}

func (k tagXattr) remove(_ *txn, x *xattrOf, name string) error {
	i := k.find(x, name)
	if i < 0 {
		return of(NoAttr)
	}
	o := x.n.Object.clone()
	o.Tags = slices.Delete(o.Tags, i, i+1)
	x.n.Object = o
	return nil
}
