package namespace

import (
	"context"
	"slices"

	"k3fs/chunkstore"
)

// AppendObject implements Objects. The object keeps its metadata, and shares the extents that it had; its
// ETag becomes a token, since the MD5 of it all would take reading it.
func (v *View) AppendObject(ctx context.Context, bucket, objectKey string, body Body, o AppendOptions) (ObjectInfo, error) {
	info, err := v.appendObject(ctx, bucket, objectKey, body, o)
	return info, fail("append", objectKey, err)
}

func (v *View) appendObject(ctx context.Context, bucket, objectKey string, body Body, o AppendOptions) (info ObjectInfo, err error) {
	old, err := v.openForAppend(ctx, bucket, objectKey, o.Offset)
	if err != nil {
		return info, err
	}
	if old == nil {
		o.PutOptions.Conditions.IfNoneMatch = []string{"*"}
		info, err = v.putObject(ctx, bucket, objectKey, body, o.PutOptions)
		if isKind(err, PreconditionFailed) {
			err = of(WrongOffset)
		}
		return info, err
	}
	defer old.Close()
	if size := body.Size(); size >= 0 && size > maxObject-old.l.Size {
		return info, of(TooBig)
	}
	l, fresh, sealed, err := v.fs.take(ctx, old.d, body, inlineMax)
	if err != nil {
		return info, err
	}
	a := appending{fs: v.fs, d: old.d, fresh: fresh}
	whole, err := a.join(ctx, old.l, l)
	var s *staged
	if err == nil {
		s, err = v.fs.stage(ctx, old.d, whole)
	}
	if err != nil {
		v.fs.free(a.fresh)
		return info, err
	}
	p := published{cond: o.Conditions, content: func(t *txn) (contentRec, error) {
		c, err := s.store(t)
		c.ETag, c.Sum = newETag(contentID(c.ID)), appendedSum(&old.info, &sealed.Checksums, l.Size)
		return c, err
	}}
	p.accept = func(o *object) error {
		if !o.visible() || o.rec.Published == nil || contentID(o.rec.Published.ID) != old.id {
			return of(WrongOffset)
		}
		p.kept = o.rec.Object
		return nil
	}
	return v.commitObject(ctx, bucket, objectKey, &p, s, a.fresh)
}

// openForAppend opens the object that ends at off; nil if there is none and off is 0.
func (v *View) openForAppend(ctx context.Context, bucket, objectKey string, off int64) (*objectReader, error) {
	if _, err := v.writable(ctx, bucket, objectKey, 0); err != nil {
		return nil, err
	}
	old, err := v.openContent(ctx, bucket, objectKey, ReadOptions{})
	if isKind(err, NotFound) && off == 0 {
		return nil, nil
	}
	if err == nil && old.l.Size != off {
		old.Close()
		err = of(WrongOffset)
	}
	return old, err
}

// appending joins two contents.
type appending struct {
	fs    *FS
	d     chunkstore.Domain
	fresh []chunkstore.Extent
}

// join is the content of head with tail behind it.
func (a *appending) join(ctx context.Context, head, tail *layout) (*layout, error) {
	size := head.Size + tail.Size
	if len(head.Slices) == 0 && len(tail.Slices) == 0 && int64(len(head.Inline)) == head.Size && size <= inlineMax {
		return &layout{Size: size, Inline: slices.Concat(head.Inline, tail.Inline)}, nil
	}
	whole := &layout{Size: size}
	for _, one := range []struct {
		l   *layout
		off int64
	}{{head, 0}, {tail, head.Size}} {
		if len(one.l.Inline) > 0 {
			e, err := a.fs.chunks.Append(ctx, a.d, one.l.Inline)
			if err != nil {
				return nil, err
			}
			a.fresh = append(a.fresh, e)
			whole.Slices = appendSlice(whole.Slices, sliceOf(e, one.off))
		}
		for _, s := range one.l.Slices {
			s.Off += one.off
			whole.Slices = appendSlice(whole.Slices, s)
		}
	}
	return whole, nil
}

// appendedSum is the checksum of an object with length bytes behind it, if it follows from theirs.
func appendedSum(old *ObjectInfo, tail *Checksums, length int64) *sumRec {
	c, ok := crcs[tail.Algorithm]
	if !ok || old.Checksums.Algorithm != tail.Algorithm || old.Checksums.Type != fullObject {
		return nil
	}
	a, ok1 := c.decode(old.Checksums.Value)
	b, ok2 := c.decode(tail.Value)
	if !ok1 || !ok2 {
		return nil
	}
	return &sumRec{Algorithm: tail.Algorithm, Value: c.encode(c.combine(a, b, length)), Type: fullObject}
}
