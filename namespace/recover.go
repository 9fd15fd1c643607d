package namespace

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"k3fs/chunkstore"
	"k3fs/metastore"
)

// recover brings the store to where its last run should have left it. Each step may be cut short and
// repeated.
func (fs *FS) recover(ctx context.Context) error {
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"giving up contents that were being built", fs.dropUnfinished},
		{"settling drafts", fs.settleDrafts},
		{"removing files that were open without a name", fs.dropZombies},
		{"giving back room that nothing refers to", fs.sweepSegments},
		{"forgetting finished uploads", fs.forgetDone},
	}
	for _, s := range steps {
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("namespace: %s: %w", s.what, err)
		}
	}
	return nil
}

// dropUnfinished leaves contents that an earlier run was building to the reaper.
func (fs *FS) dropUnfinished(ctx context.Context) error {
	return fs.eachKey(ctx, []byte(kOrphan), func(t metastore.Txn, k, value []byte) error {
		var o orphanRec
		if _, err := o.UnmarshalMsg(value); err != nil || !o.Building {
			return err
		}
		o.Building = false
		return putRec(t, k, &o)
	})
}

// clearTable removes the records of a table.
func (fs *FS) clearTable(ctx context.Context, table []byte) error {
	return fs.eachKey(ctx, table, func(t metastore.Txn, k, _ []byte) error { return t.Delete(k) })
}

// eachKey runs fn for each record of a table, some in each update.
func (fs *FS) eachKey(ctx context.Context, table []byte, fn func(t metastore.Txn, k, value []byte) error) error {
	const batch = 256
	rg := prefixRange(table, batch)
	for more := true; more; {
		var last []byte
		err := fs.kv.Update(ctx, metastore.Reclaim, func(t metastore.Txn) error {
			n := 0
			last = nil
			err := t.Scan(rg, func(k, value []byte) (bool, error) {
				n++
				last = bytes.Clone(k)
				return n < batch, fn(t, last, value)
			})
			more = n == batch
			return err
		})
		if err != nil {
			return err
		}
		if last != nil {
			rg.From = append(last, 0)
		}
	}
	return nil
}

// sweepSegments gives back what the segments of earlier runs hold that no record refers to: data that was
// written when the power went and never became part of the namespace. Each segment is swept once, since
// an earlier run's segment is never written to again.
func (fs *FS) sweepSegments(ctx context.Context) error {
	segments, err := fs.chunks.Segments(ctx)
	if err != nil {
		return err
	}
	there := map[uint64]bool{}
	for _, s := range segments {
		there[s.Number] = true
	}
	swept, err := fs.sweptSegments(ctx, there)
	if err != nil {
		return err
	}
	for _, s := range segments {
		if !s.Earlier || swept[s.Number] {
			continue
		}
		if err := fs.sweepSegment(ctx, s.Number); err != nil {
			return err
		}
	}
	return nil
}

// sweptSegments reads which segments were swept, and forgets those that are gone.
func (fs *FS) sweptSegments(ctx context.Context, there map[uint64]bool) (map[uint64]bool, error) {
	swept := map[uint64]bool{}
	err := fs.eachKey(ctx, []byte(kSwept), func(t metastore.Txn, k, _ []byte) error {
		number := binary.BigEndian.Uint64(k[len(kSwept):])
		if !there[number] {
			return t.Delete(k)
		}
		swept[number] = true
		return nil
	})
	return swept, err
}

func (fs *FS) sweepSegment(ctx context.Context, segment uint64) error {
	var live []chunkstore.Extent
	err := fs.kv.View(ctx, func(r metastore.Reader) error {
		live = live[:0]
		return r.Scan(prefixRange(key(kExtent, segment), 0), func(k, value []byte) (bool, error) {
			e, _, err := parseExtent(k, value)
			live = append(live, e)
			return true, err
		})
	})
	if err != nil {
		return err
	}
	freed, err := fs.chunks.Reclaim(ctx, segment, live)
	if errors.Is(err, chunkstore.ErrCorrupt) {
		// What can be read of it still is; the rest answers Corrupt.
		fs.log.Error("namespace: a segment is damaged; run k3fs fsck", "segment", segment, "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	if freed > 0 {
		fs.log.Info("namespace: gave back room of data that was never acknowledged", "segment", segment, "bytes", freed)
	}
	return fs.kv.Update(ctx, metastore.Reclaim, func(t metastore.Txn) error { return t.Set(sweptKey(segment), nil) })
}

// parseExtent decodes an nE record.
func parseExtent(k, value []byte) (chunkstore.Extent, extentRec, error) {
	var rec extentRec
	if len(k) != len(kExtent)+16 {
		return chunkstore.Extent{}, rec, fmt.Errorf("%w: key of an extent", metastore.ErrCorrupt)
	}
	if _, err := rec.UnmarshalMsg(value); err != nil {
		return chunkstore.Extent{}, rec, fmt.Errorf("%w: extent record: %w", metastore.ErrCorrupt, err)
	}
	return chunkstore.Extent{
		Segment: binary.BigEndian.Uint64(k[len(kExtent):]),
		Offset:  binary.BigEndian.Uint64(k[len(kExtent)+8:]),
		Length:  rec.Length,
	}, rec, nil
}
