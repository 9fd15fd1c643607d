package namespace

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"k3fs/metastore"
)

// What S3 knows of an object, as extended attributes of its file (docs/semantics.md). Listed are those that were
// given to it, which can be changed here; cp -a and rsync -X then carry them along. The others are read
// by name: a copier that saw them listed would try to set them, and fail.
const (
	s3Space     = userSpace + "s3."
	s3Meta      = s3Space + "meta."
	s3ETag      = s3Space + "etag"
	s3VersionID = s3Space + "version-id"
	s3Checksum  = s3Space + "checksum."
	s3FileMode  = s3Space + "file-mode"       // of a bucket's directory
	s3DirMode   = s3Space + "dir-mode"        // of a bucket's directory
	s3Exclude   = s3Space + "version-exclude" // of a bucket's directory
	s3Type      = s3Space + "content-type"

	contentType = "Content-Type"
)

// Limits of what can be set, in bytes: S3's of user metadata, names included; ours of a header.
const (
	maxMeta   = 2 << 10
	maxHeader = 1 << 10
)

// s3Headers are the attributes that stand for an object's headers.
var s3Headers = map[string]string{
	s3Type:                          contentType,
	s3Space + "cache-control":       "Cache-Control",
	s3Space + "content-disposition": "Content-Disposition",
	s3Space + "content-encoding":    "Content-Encoding",
	s3Space + "content-language":    "Content-Language",
	s3Space + "expires":             "Expires",
}

// s3Xattr handles them.
type s3Xattr struct{}

func (s3Xattr) get(x *xattrOf, name string) ([]byte, error) {
	if value, ok := x.given(name); ok {
		return []byte(value), nil
	}
	if name == s3FileMode || name == s3DirMode {
		return x.bucketMode(name)
	}
	if name == s3Exclude {
		return x.bucketExclude()
	}
	o := object{ino: x.ino, rec: x.n}
	if !o.visible() {
		return nil, of(NoAttr)
	}
	info := o.info("")
	switch {
	case name == s3ETag:
		return []byte(info.ETag), nil
	case name == s3VersionID:
		return []byte(x.n.versionID()), nil
	case name == s3Checksum+strings.ToLower(info.Checksums.Algorithm) && info.Checksums.Algorithm != "":
		return []byte(info.Checksums.Value), nil
	}
	return nil, of(NoAttr)
}

// given is the value of an attribute that was given to the object.
func (x *xattrOf) given(name string) (value string, ok bool) {
	o := x.n.Object
	if o == nil {
		return "", false
	}
	if meta, is := strings.CutPrefix(name, s3Meta); is {
		value, ok = o.Meta[meta]
		return value, ok
	}
	value, ok = o.Headers[s3Headers[name]]
	return value, ok
}

func (s3Xattr) list(x *xattrOf) (names []string, err error) {
	if x.n.Object == nil {
		return nil, nil
	}
	for name, header := range s3Headers {
		if x.n.Object.Headers[header] != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, meta := range slices.Sorted(maps.Keys(x.n.Object.Meta)) {
		if len(s3Meta)+len(meta) <= maxXattrName { // S3 can give longer names
			names = append(names, s3Meta+meta)
		}
	}
	return names, nil
}

func (s s3Xattr) set(t *txn, x *xattrOf, name string, value []byte, _ XattrFlags) error {
	if name == s3FileMode || name == s3DirMode {
		return x.setBucketMode(t, name, value)
	}
	if name == s3Exclude {
		return x.setBucketExclude(t, value)
	}
	if err := s.settable(x.n, name); err != nil {
		return err
	}
	if !fieldValue(value) {
		return of(Invalid)
	}
	o := x.n.Object.clone()
	if meta, is := strings.CutPrefix(name, s3Meta); is {
		o.Meta[meta] = string(value)
		if metaBytes(o.Meta) > maxMeta {
			return of(NoSpace)
		}
	} else {
		if len(value) == 0 {
			return of(Invalid)
		}
		if len(value) > maxHeader {
			return of(TooBig)
		}
		o.Headers[s3Headers[name]] = string(value)
	}
	x.n.Object = o
	return nil
}

func (s s3Xattr) remove(t *txn, x *xattrOf, name string) error {
	if name == s3FileMode || name == s3DirMode {
		return x.setBucketMode(t, name, nil)
	}
	if name == s3Exclude {
		return x.setBucketExclude(t, nil)
	}
	if err := s.settable(x.n, name); err != nil {
		return err
	}
	if _, ok := x.given(name); !ok {
		return of(NoAttr)
	}
	o := x.n.Object.clone()
	delete(o.Meta, strings.TrimPrefix(name, s3Meta))
	delete(o.Headers, s3Headers[name])
	x.n.Object = o
	return nil
}

// settable says whether the attribute is one that can be given to the inode, at all.
func (s3Xattr) settable(n *inodeRec, name string) error {
	if t := Type(n.Type); t != File && t != Dir {
		return of(NotPermitted)
	}
	if meta, is := strings.CutPrefix(name, s3Meta); is {
		if !fieldName(meta) {
			return of(Invalid)
		}
		return nil
	}
	switch {
	case s3Headers[name] != "":
		return nil
	case name == s3ETag, name == s3VersionID, strings.HasPrefix(name, s3Checksum):
		return of(NotPermitted)
	}
	return of(Unsupported)
}

// clone is a copy that can be changed.
func (o *objectRec) clone() *objectRec {
	var c objectRec
	if o != nil {
		c = *o
	}
	c.Headers, c.Meta, c.Tags = maps.Clone(c.Headers), maps.Clone(c.Meta), slices.Clone(c.Tags)
	if c.Headers == nil {
		c.Headers = map[string]string{}
	}
	if c.Meta == nil {
		c.Meta = map[string]string{}
	}
	return &c
}

func metaBytes(meta map[string]string) (n int) {
	for name, value := range meta {
		n += len(name) + len(value)
	}
	return n
}

// fieldName reports whether S3 could give user metadata the name: a token of RFC 9110 in lower case.
func fieldName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return name != ""
}

// fieldValue reports whether a header can say the value as it is: printable ASCII, no blank at either end.
func fieldValue(value []byte) bool {
	for _, c := range value {
		if c < ' ' && c != '\t' || c > '~' {
			return false
		}
	}
	return strings.Trim(string(value), " \t") == string(value)
}

// What S3 makes in a bucket gets these permission bits, unless a default access list says otherwise.
const (
	newFileMode = 0o644
	newDirMode  = 0o755
)

// newNode says how S3 makes a node in the directory dir: it takes after the directory, with the bucket's mode.
// Where there is a default access list the mode hides nothing of it, as no umask would.
func (b *bucketDir) newNode(r metastore.Reader, dir *inodeRec, t Type) (NewNode, error) {
	var rec bucketRec
	if _, err := getRec(r, bucketKey(b.ino), &rec); err != nil {
		return NewNode{}, err
	}
	most, mode := uint32(0o666), rec.fileMode()
	if t == Dir {
		most, mode = 0o777, rec.dirMode()
	}
	return NewNode{Type: t, Mode: most | mode, Umask: ^mode, UID: dir.UID, GID: dir.GID}, nil
}

func (rec *bucketRec) fileMode() uint32 {
	if rec.FileMode == 0 {
		return newFileMode
	}
	return rec.FileMode
}

func (rec *bucketRec) dirMode() uint32 {
	if rec.DirMode == 0 {
		return newDirMode
	}
	return rec.DirMode
}

// bucketMode is a mode for what S3 makes, in octal.
func (x *xattrOf) bucketMode(name string) ([]byte, error) {
	var rec bucketRec
	found, err := getRec(x.r, bucketKey(x.ino), &rec)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, of(NoAttr)
	}
	mode := rec.fileMode()
	if name == s3DirMode {
		mode = rec.dirMode()
	}
	return strconv.AppendUint([]byte("0"), uint64(mode), 8), nil
}

// setBucketMode changes such a mode; nil restores the default.
func (x *xattrOf) setBucketMode(t *txn, name string, value []byte) error {
	var rec bucketRec
	found, err := getRec(t, bucketKey(x.ino), &rec)
	if err != nil {
		return err
	}
	if !found {
		return of(Unsupported)
	}
	mode := uint64(0)
	if value != nil {
		if mode, err = strconv.ParseUint(string(value), 8, 32); err != nil || mode == 0 || mode > 0o777 {
			return of(Invalid)
		}
	}
	if name == s3FileMode {
		rec.FileMode = uint32(mode)
	} else {
		rec.DirMode = uint32(mode)
	}
	return putRec(t, bucketKey(x.ino), &rec)
}
