package namespace

import (
	"context"

	"k3fs/metastore"
	"k3fs/tenancy"
)

func tagsOf(recs []tagRec) []Tag {
	var tags []Tag
	for _, r := range recs {
		tags = append(tags, Tag(r))
	}
	return tags
}

func tagRecs(tags []Tag) []tagRec {
	var recs []tagRec
	for _, t := range tags {
		recs = append(recs, tagRec(t))
	}
	return recs
}

// ObjectTags implements Objects (S3 GetObjectTagging).
func (v *View) ObjectTags(ctx context.Context, bucket, objectKey string) (tags []Tag, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, err := v.openBucket(r, bucket, tenancy.GetObjectTagging, objectKey)
		if err != nil {
			return err
		}
		o, err := openObject(r, b, objectKey)
		if err == nil {
			tags = o.info(objectKey).Tags
		}
		return err
	})
	return tags, fail("get tags", objectKey, err)
}

// SetObjectTags implements Objects: it replaces all tags (S3 PutObjectTagging, and DeleteObjectTagging with
// none). The object's content, ETag and Last-Modified stay.
func (v *View) SetObjectTags(ctx context.Context, bucket, objectKey string, tags []Tag) error {
	action := tenancy.PutObjectTagging
	if len(tags) == 0 {
		action = tenancy.DeleteObjectTagging
	}
	err := v.update(ctx, metastore.Durable, func(t *txn) error {
		b, err := v.openBucket(t, bucket, action, objectKey)
		if err != nil {
			return err
		}
		o, err := openObject(t, b, objectKey)
		if err != nil {
			return err
		}
		if err := t.permit(o.ino, o.rec, actLabel); err != nil {
			return err
		}
		if o.rec.Object == nil {
			o.rec.Object = &objectRec{}
		}
		o.rec.Object.Tags = tagRecs(tags)
		return t.putInode(o.ino, o.rec)
	})
	return fail("set tags", objectKey, err)
}
