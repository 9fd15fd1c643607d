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
func (v *View) ObjectTags(ctx context.Context, bucket, objectKey, version string) (tags []Tag, id string, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		b, err := v.openVersionIn(r, bucket, versionAction(tenancy.GetObjectTagging, version), objectKey, version)
		if err != nil {
			return err
		}
		o, err := openVersion(r, b, objectKey, version)
		if err != nil {
			return err
		}
		info := b.info(objectKey, &o)
		tags, id = info.Tags, info.Version
		return nil
	})
	return tags, id, fail("get tags", objectKey, err)
}

// SetObjectTags implements Objects: it replaces all tags (S3 PutObjectTagging, and DeleteObjectTagging with
// none). The object's content, ETag and Last-Modified stay.
func (v *View) SetObjectTags(ctx context.Context, bucket, objectKey, version string, tags []Tag) (id string, err error) {
	action := tenancy.PutObjectTagging
	if len(tags) == 0 {
		action = tenancy.DeleteObjectTagging
	}
	err = v.update(ctx, metastore.Durable, func(t *txn) error {
		b, err := v.openVersionIn(t, bucket, versionAction(action, version), objectKey, version)
		if err != nil {
			return err
		}
		o, err := openVersion(t, b, objectKey, version)
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
		id = b.info(objectKey, &o).Version
		return t.putInode(o.ino, o.rec)
	})
	return id, fail("set tags", objectKey, err)
}
