package namespace

import (
	"context"
	"encoding/binary"
	"fmt"

	"k3fs/metastore"
)

// partsPage is how many parts one record holds.
const partsPage = 500

// putParts records what parts a content was made of.
func (t *txn) putParts(id contentID, algorithm string, parts []CompletePart, recs []partRec) error {
	for page := 0; page*partsPage < len(recs); page++ {
		rec := partsRec{Algorithm: algorithm}
		for i := page * partsPage; i < min((page+1)*partsPage, len(recs)); i++ {
			rec.Numbers = append(rec.Numbers, uint16(parts[i].Number))
			rec.Sizes = append(rec.Sizes, recs[i].Content.Size)
			if algorithm != "" {
				rec.Sums = append(rec.Sums, recs[i].Content.Sum.Value)
			}
		}
		if err := putRec(t, objPartKey(id, page), &rec); err != nil {
			return err
		}
	}
	return nil
}

// dropParts forgets the parts of a content that is dropped.
func (t *txn) dropParts(c *contentRec) error {
	for page := 0; page*partsPage < int(c.Parts); page++ {
		if err := t.Delete(objPartKey(contentID(c.ID), page)); err != nil {
			return err
		}
	}
	return nil
}

// eachPart calls fn for the parts of a content, in order, with the place of each.
func eachPart(r metastore.Reader, id contentID, fn func(off int64, p Part) (more bool)) error {
	off := int64(0)
	return r.Scan(prefixRange(key(kObjPart, uint64(id)), 1), func(_, value []byte) (bool, error) {
		var rec partsRec
		if _, err := rec.UnmarshalMsg(value); err != nil || len(rec.Sizes) != len(rec.Numbers) || rec.Algorithm != "" && len(rec.Sums) != len(rec.Sizes) {
			return false, fmt.Errorf("%w: parts of content %d", metastore.ErrCorrupt, id)
		}
		for i, size := range rec.Sizes {
			p := Part{Number: int(rec.Numbers[i]), Size: size}
			if rec.Algorithm != "" {
				p.Checksums = Checksums{Algorithm: rec.Algorithm, Value: rec.Sums[i]}
			}
			if !fn(off, p) {
				return false, nil
			}
			off += size
		}
		return true, nil
	})
}

// findPart sets what of an object a read of one part is about. An object that was not made of parts is its
// own first part.
func findPart(r metastore.Reader, c *contentRec, number int, i *ObjectInfo) error {
	if i.Parts == 0 {
		if number != 1 {
			return of(InvalidPart)
		}
		i.Part = &Part{Number: 1, Size: i.Size, Checksums: i.Checksums}
		return nil
	}
	err := eachPart(r, contentID(c.ID), func(off int64, p Part) bool {
		if p.Number == number {
			i.Part, i.Offset = &p, off
		}
		return p.Number < number
	})
	if err == nil && i.Part == nil {
		err = of(InvalidPart)
	}
	return err
}

// ObjectParts implements Objects (S3 GetObjectAttributes).
func (v *View) ObjectParts(ctx context.Context, bucket, objectKey string, o ReadOptions, after, limit int) (info ObjectInfo, parts []Part, truncated bool, err error) {
	err = v.fs.kv.View(ctx, func(r metastore.Reader) error {
		parts, truncated = nil, false
		b, obj, err := v.openForRead(r, bucket, objectKey, &o)
		if err != nil {
			return err
		}
		info = b.info(objectKey, &obj)
		if err := o.read(info); err != nil || info.Parts == 0 {
			return err
		}
		return eachPart(r, contentID(obj.rec.Published.ID), func(_ int64, p Part) bool {
			if p.Number > after {
				if truncated = len(parts) == limit; !truncated {
					parts = append(parts, p)
				}
			}
			return !truncated
		})
	})
	if err == nil && o.Checksum && info.Checksums.Algorithm == "" {
		info.Checksums, err = v.checksum(ctx, bucket, objectKey, o.Version, info.ETag)
	}
	return info, parts, truncated, fail("parts", objectKey, err)
}

// objParts checks the table of the parts that objects were made of.
func (c *checker) objParts() error {
	return c.table(kObjPart, 10, func(rest, value []byte) error {
		var rec partsRec
		if err := decode(value, &rec); err != nil {
			return err
		}
		if id := contentID(binary.BigEndian.Uint64(rest)); !c.contents[id] || len(rec.Sizes) != len(rec.Numbers) {
			c.problem("parts", "parts are noted of content %d, which does not exist or has other parts", id)
		}
		return nil
	})
}
