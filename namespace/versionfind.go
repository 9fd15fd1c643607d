package namespace

import (
	"fmt"
	"time"

	"k3fs/metastore"
)

// MarkerError is the cause of the error of who asks for what a delete marker hides, or for the marker as if it
// were an object.
type MarkerError struct {
	Version string
	Time    time.Time
}

func (e *MarkerError) Error() string { return "there is a delete marker" }

// hanging is what hangs on a key.
type hanging struct {
	seq uint64
	versionRec
}

func (h *hanging) marker() bool { return h.Ino == 0 }

// newest finds what hangs on a key above all else; nil if nothing does.
func newest(r metastore.Reader, s slot) (top *hanging, err error) {
	prefix := historyKey(s.bucket, s.key)
	err = r.Scan(prefixRange(prefix, 1), func(k, value []byte) (bool, error) {
		_, seq, ok := parseVersionKey(k[len(kVersion)+8:])
		if !ok {
			return false, fmt.Errorf("%w: key of a version", metastore.ErrCorrupt)
		}
		top = &hanging{seq: seq}
		_, err := top.UnmarshalMsg(value)
		return false, err
	})
	return top, err
}

// hasHistory reports whether anything hangs in a bucket.
func hasHistory(r metastore.Reader, bucket Ino) (any bool, err error) {
	rg := prefixRange(key(kVersion, uint64(bucket)), 1)
	rg.KeysOnly = true
	err = r.Scan(rg, func(_, _ []byte) (bool, error) {
		any = true
		return false, nil
	})
	return any, err
}

// findVersion finds a version of a key by its id: the current one, where hung is nil, or one that hangs on it. A
// delete marker has no inode.
func findVersion(r metastore.Reader, b *bucketDir, objectKey, id string) (o object, hung *hanging, err error) {
	if err := checkKey(objectKey); err != nil {
		return o, nil, err
	}
	if o, err = findObject(r, b, objectKey); err != nil {
		return o, nil, err
	}
	current := o.visible() && o.rec.versionID() == id
	if current && o.rec.Published != nil {
		return o, nil, nil
	}
	s := b.slot(objectKey)
	seq, ok := parseVersionID(id)
	if id == nullVersion {
		seq, ok, err = nullSeq(r, s)
		if err == nil && !ok && current { // a directory that was only made is its key's null version for want of another
			return o, nil, nil
		}
		if err == nil && !ok {
			err = of(NoVersion)
		}
	} else if !ok {
		err = of(BadVersion)
	}
	if err != nil {
		return o, nil, err
	}
	hung = &hanging{seq: seq}
	found, err := getRec(r, versionKey(s.bucket, s.key, seq), &hung.versionRec)
	if err == nil && (!found || shownID(hung.ID) != id) {
		err = of(NoVersion)
	}
	if err != nil || hung.marker() {
		return object{}, hung, err
	}
	o = object{ino: Ino(hung.Ino)}
	o.rec, err = getInode(r, o.ino)
	return o, hung, err
}

// openVersion is openObject for a version; "" is the current one.
func openVersion(r metastore.Reader, b *bucketDir, objectKey, id string) (object, error) {
	if id == "" {
		o, err := openObject(r, b, objectKey)
		if isKind(err, NotFound) && versioningOf(b.settings) != unversioned {
			if top, err := newest(r, b.slot(objectKey)); err != nil {
				return o, err
			} else if top != nil && top.marker() {
				return o, &Error{Kind: NotFound, Err: top.err()}
			}
		}
		return o, err
	}
	o, hung, err := findVersion(r, b, objectKey, id)
	if err == nil && hung != nil && hung.marker() {
		err = &Error{Kind: IsMarker, Err: hung.err()}
	}
	return o, err
}

func (h *hanging) err() error { return &MarkerError{Version: shownID(h.ID), Time: stamp(h.Time)} }
