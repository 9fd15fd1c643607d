package namespace

import (
	"context"
	"fmt"

	"k3fs/chunkstore"
	"k3fs/metastore"
)

// step is what one update of a collection takes away.
type step struct {
	extents []chunkstore.Extent // a reference to each; one that is named twice loses two
	keys    [][]byte            // records
}

// take does a step, unless the run is dry: first the extents whose last references go are punched, then one update
// takes the references and the records away. last says of each of the step's extents whether that was its last
// reference. Collections alone take references, so an extent's count can't fall in between.
func (c *collector) take(ctx context.Context, s step) (last []bool, err error) {
	err = c.fs.kv.View(ctx, func(r metastore.Reader) error {
		last, err = c.decide(r, s.extents)
		return err
	})
	if err != nil {
		return nil, err
	}
	if c.dry {
		c.remember(s.extents, last)
	} else if err := c.fs.carryOut(ctx, s, last); err != nil {
		return nil, err
	}
	f := freedOf(s.extents, last)
	c.did.Extents += f.extents
	c.did.Bytes += f.bytes
	c.did.DiskBytes += f.disk
	c.did.Records += int64(len(s.keys)) + f.extents
	return last, nil
}

// decide says of each of the extents, which lose a reference each in turn, whether that is the last one. This is the
// one decision by which data goes.
func (c *collector) decide(r metastore.Reader, extents []chunkstore.Extent) (last []bool, err error) {
	drops := dropped{}
	last = make([]bool, len(extents))
	for i, e := range extents {
		drops[e]++
		gone := c.taken[e] + drops[e]
		rec, err := getExtent(r, e, gone)
		if err != nil {
			return nil, err
		}
		last[i] = rec.Refs == gone
	}
	return last, nil
}

// remember notes the references that a dry step would have taken. What would be freed is forgotten: nothing
// else refers to it.
func (c *collector) remember(extents []chunkstore.Extent, last []bool) {
	for i, e := range extents {
		if c.taken[e]++; last[i] {
			delete(c.taken, e)
		}
	}
}

// carryOut does a step on which it was decided.
func (fs *FS) carryOut(ctx context.Context, s step, last []bool) error {
	drops, frees := dropped{}, map[chunkstore.Extent]bool{}
	for i, e := range s.extents {
		drops[e]++
		if last[i] {
			frees[e] = true
			if err := fs.chunks.Free(ctx, e); err != nil {
				return err
			}
		}
	}
	return fs.kv.Update(ctx, metastore.Reclaim, func(t metastore.Txn) error {
		for e, n := range drops {
			if err := dropRefs(t, e, n, frees[e]); err != nil {
				return err
			}
		}
		for _, k := range s.keys {
			if err := t.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// dropped counts the references to take away from each extent.
type dropped map[chunkstore.Extent]uint32

// freed adds up extents.
type freed struct{ extents, bytes, disk int64 }

func (f freed) plus(o freed) freed {
	return freed{f.extents + o.extents, f.bytes + o.bytes, f.disk + o.disk}
}

// freedOf adds up the extents whose last references went.
func freedOf(extents []chunkstore.Extent, last []bool) (f freed) {
	for i, e := range extents {
		if last[i] {
			f = f.plus(freed{1, int64(e.Length), e.DiskBytes()})
		}
	}
	return f
}

// getExtent reads the record of an extent that has at least n references.
func getExtent(r metastore.Reader, e chunkstore.Extent, n uint32) (extentRec, error) {
	var rec extentRec
	found, err := getRec(r, extentKey(e.Segment, e.Offset), &rec)
	if err == nil && (!found || rec.Refs < n || rec.Length != e.Length) {
		err = fmt.Errorf("%w: extent %d/%d of %d bytes should have %d references: found %v, %+v",
			metastore.ErrCorrupt, e.Segment, e.Offset, e.Length, n, found, rec)
	}
	return rec, err
}

func dropRefs(t metastore.Txn, e chunkstore.Extent, n uint32, freed bool) error {
	rec, err := getExtent(t, e, n)
	if err != nil {
		return err
	}
	if rec.Refs -= n; freed && rec.Refs > 0 {
		return fmt.Errorf("%w: extent %d/%d gained references while it was freed", metastore.ErrCorrupt, e.Segment, e.Offset)
	}
	if rec.Refs == 0 {
		return t.Delete(extentKey(e.Segment, e.Offset))
	}
	return putRec(t, extentKey(e.Segment, e.Offset), &rec)
}
