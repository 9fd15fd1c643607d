package namespace

import (
	"context"
)

// mkBucketDir makes a bucket as mkdir in the root does.
func (v *View) mkBucketDir(ctx context.Context, name string, n NewNode) (Attr, error) {
	err := v.CreateBucket(ctx, name, "")
	if isKind(err, BucketOwned) || isKind(err, BucketTaken) {
		return Attr{}, of(Exists)
	}
	if err != nil {
		return Attr{}, err
	}
	a, err := v.Lookup(ctx, RootIno, name)
	if err != nil {
		return Attr{}, err
	}
	return v.setAttr(ctx, a.Ino, SetAttr{Mode: &n.Mode, UID: &n.UID, GID: &n.GID})
}

// rmBucketDir removes a bucket as rmdir in the root does.
func (v *View) rmBucketDir(ctx context.Context, name string) error {
	err := v.DeleteBucket(ctx, name)
	if isKind(err, NoBucket) {
		return of(NotFound)
	}
	return err
}
