package namespace

import (
	"fmt"

	"k3fs/metastore"
)

// A content may be held by several inodes: the versions of a file whose bytes did not change between them, or
// one version on several keys. It is then marked Shared in the record of each, and a sharedRec counts them. So
// keeping a version costs the same for every file, whatever it is made of; contents that nobody shares
// cost nothing.

// shareContent returns a content for one more inode to hold. The caller stores both inodes, since the mark is
// set on c too.
func (t *txn) shareContent(c *contentRec) (*contentRec, error) {
	rec, err := t.holders(c)
	if err != nil {
		return nil, err
	}
	rec.Refs++
	c.Shared = true
	other := *c
	return &other, putRec(t, sharedKey(contentID(c.ID)), &rec)
}

// unshare takes one holder away from a shared content. last: nobody holds it any more.
func (t *txn) unshare(c *contentRec) (last bool, err error) {
	rec, err := t.holders(c)
	if err != nil {
		return false, err
	}
	k := sharedKey(contentID(c.ID))
	if rec.Refs--; rec.Refs == 0 {
		return true, t.Delete(k)
	}
	return false, putRec(t, k, &rec)
}

// holders reads how many hold a content.
func (t *txn) holders(c *contentRec) (sharedRec, error) {
	rec := sharedRec{Refs: 1}
	if !c.Shared {
		return rec, nil
	}
	found, err := getRec(t, sharedKey(contentID(c.ID)), &rec)
	if err == nil && (!found || rec.Refs == 0) { // not found must not mean free
		err = fmt.Errorf("%w: nobody counts who holds content %d", metastore.ErrCorrupt, c.ID)
	}
	return rec, err
}
