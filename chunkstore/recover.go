package chunkstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// SegmentInfo describes a segment. Sizes are in bytes.
type SegmentInfo struct {
	Number    uint64
	Size      int64
	Allocated int64 // on disk
	Earlier   bool  // from an earlier run: complete, and open to Reclaim
	Err       error // its header can't be read: nothing in it can be
}

// Segments lists all segments by number.
func (s *Store) Segments(ctx context.Context) ([]SegmentInfo, error) {
	if err := s.closedErr(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	numbers := make([]uint64, 0, len(s.segments))
	for n := range s.segments {
		numbers = append(numbers, n)
	}
	s.mu.RUnlock()
	slices.Sort(numbers)
	infos := make([]SegmentInfo, 0, len(numbers))
	for _, n := range numbers {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		seg, err := s.acquire(n)
		if errors.Is(err, errNoSegment) {
			continue
		}
		if err != nil {
			return nil, err
		}
		size, allocated, err := seg.file.Size()
		info := SegmentInfo{Number: n, Size: size, Allocated: allocated, Earlier: seg.earlier, Err: seg.damaged}
		seg.release()
		if err != nil {
			return nil, fmt.Errorf("chunkstore: size of segment %d: %w", n, err)
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Frame is a frame found by its header, or a region that is none.
type Frame struct {
	Offset uint64 // in the segment, in bytes
	Size   int64  // bytes on disk
	Domain Domain
	Epoch  uint32
	Length uint32 // plaintext bytes
	// Err is nil if the header authenticates, ErrCorrupt for a region of Size bytes that holds neither
	// zeros nor a whole header, and the Keyring's error if the frame's key can't be had.
	Err error
}

// Frames calls fn for every frame of a segment by offset, until fn returns false. It reads headers only;
// the data of a frame may still be damaged, which Verify tells.
func (s *Store) Frames(ctx context.Context, segment uint64, fn func(Frame) bool) error {
	seg, err := s.acquire(segment)
	if err != nil {
		return err
	}
	defer seg.release()
	if seg.damaged != nil {
		return seg.damaged
	}
	var bad Frame // the damaged region that is growing; none if Size is zero
	for off := int64(segmentHeader); off < seg.size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := s.frameAt(ctx, seg, off)
		if err != nil {
			return err
		}
		if f.Size > 0 && errors.Is(f.Err, ErrCorrupt) {
			if bad.Size == 0 {
				bad = f
			} else {
				bad.Size += f.Size
			}
			off += f.Size
			continue
		}
		if bad.Size > 0 && !fn(bad) {
			return nil
		}
		bad = Frame{}
		if f.Size > 0 {
			if !fn(f) {
				return nil
			}
			off += f.Size
			continue
		}
		if off, err = seg.skipZeros(off); err != nil {
			return err
		}
	}
	if bad.Size > 0 {
		fn(bad)
	}
	return nil
}

// skipZeros returns the next block behind the block of zeros at off that may hold something.
func (seg *segment) skipZeros(off int64) (int64, error) {
	next, err := seg.file.NextData(off + BlockSize)
	if errors.Is(err, io.EOF) {
		return seg.size, nil
	}
	if err != nil {
		return 0, fmt.Errorf("chunkstore: scan segment %d: %w", seg.number, err)
	}
	return next &^ (BlockSize - 1), nil
}

// frameAt looks at the block at off. A block of zeros gives a Frame of no Size.
func (s *Store) frameAt(ctx context.Context, seg *segment, off int64) (Frame, error) {
	n := int(min(segmentHeader, seg.size-off))
	buf, err := s.readBlocks(ctx, access{segment: seg}, off, n)
	if err != nil {
		return Frame{}, err
	}
	defer s.buffers.put(buf)
	h, err := parseHeader(buf[:n])
	if err != nil {
		if allZero(buf[:BlockSize]) {
			return Frame{}, nil
		}
		return Frame{Offset: uint64(off), Size: BlockSize, Err: err}, nil
	}
	l := layoutOf(h.length)
	f := Frame{Offset: uint64(off), Size: int64(l.disk), Domain: h.domain, Epoch: h.epoch, Length: uint32(h.length)}
	if off+f.Size > seg.size {
		return Frame{Offset: uint64(off), Size: BlockSize, Err: fmt.Errorf("%w: frame past the segment's end", ErrCorrupt)}, nil
	}
	id := frameID{domain: h.domain, epoch: h.epoch, segment: seg.number, offset: off, length: h.length}
	if _, err := s.authenticate(buf, seg, id); errors.Is(err, ErrCorrupt) {
		return Frame{Offset: uint64(off), Size: BlockSize, Err: err}, nil
	} else if err != nil {
		f.Err = err
	}
	return f, nil
}

func allZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}

// Reclaim gives back everything in an earlier run's segment that no extent of live covers, and removes
// the file if nothing remains. live must be all extents of the segment that records refer to; they may
// overlap. It returns the bytes that came free on disk.
func (s *Store) Reclaim(ctx context.Context, segment uint64, live []Extent) (freed int64, err error) {
	seg, err := s.acquire(segment)
	if errors.Is(err, errNoSegment) && len(live) == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer seg.release()
	if !seg.earlier {
		return 0, fmt.Errorf("chunkstore: reclaim of segment %d, which this run fills", segment)
	}
	if seg.damaged != nil && len(live) > 0 {
		return 0, fmt.Errorf("segment %d has %d live extents: %w", segment, len(live), seg.damaged)
	}
	for _, e := range live {
		if e.Segment != segment {
			return 0, fmt.Errorf("chunkstore: reclaim of segment %d with an extent of segment %d", segment, e.Segment)
		}
		if err := seg.holds(e); err != nil {
			return 0, err
		}
	}
	_, before, err := seg.file.Size()
	if err != nil {
		return 0, fmt.Errorf("chunkstore: size of segment %d: %w", segment, err)
	}
	if err := s.punchBetween(ctx, seg, live); err != nil {
		return 0, err
	}
	_, after, err := seg.file.Size()
	if err != nil {
		return 0, fmt.Errorf("chunkstore: size of segment %d: %w", segment, err)
	}
	s.removeIfEmpty(seg)
	return max(before-after, 0), nil
}

// punchBetween punches all that is not header or live.
func (s *Store) punchBetween(ctx context.Context, seg *segment, live []Extent) error {
	live = slices.SortedFunc(slices.Values(live), func(a, b Extent) int { return cmp.Compare(a.Offset, b.Offset) })
	gap := int64(segmentHeader)
	for i := range len(live) + 1 {
		if err := ctx.Err(); err != nil {
			return err
		}
		end, next := seg.size, seg.size
		if i < len(live) {
			end = int64(live[i].Offset)
			next = end + live[i].DiskBytes()
		}
		if gap < end {
			if err := seg.punch(gap, end-gap); err != nil {
				return fmt.Errorf("chunkstore: reclaim in segment %d: %w", seg.number, err)
			}
		}
		gap = max(gap, next)
	}
	return nil
}
