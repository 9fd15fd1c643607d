package chunkstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"
)

// ReadAt fills p with the bytes of the extent from off on, or fails. ErrCorrupt: the stored bytes are not
// what the domain sealed there. p must lie within the extent.
func (s *Store) ReadAt(ctx context.Context, d Domain, e Extent, p []byte, off int64) error {
	return s.readAt(ctx, d, e, p, off, false)
}

// ReadCached is ReadAt through the system's page cache, for readers above whom there is no other cache: what
// is read again comes from memory that is not the process's.
func (s *Store) ReadCached(ctx context.Context, d Domain, e Extent, p []byte, off int64) error {
	return s.readAt(ctx, d, e, p, off, true)
}

func (s *Store) readAt(ctx context.Context, d Domain, e Extent, p []byte, off int64, cached bool) error {
	if off < 0 || off > int64(e.Length) || int64(len(p)) > int64(e.Length)-off {
		return fmt.Errorf("chunkstore: read of %d bytes at %d from an extent of %d", len(p), off, e.Length)
	}
	if len(p) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	held, err := s.acquireFor(e)
	if err != nil {
		return err
	}
	defer held.release()
	seg := access{held, cached}
	if !cached && s.ahead.sequential(e, off, len(p)) {
		s.readAheadOf(seg, d, e, off+int64(len(p)))
	}
	if off/FrameSize == (off+int64(len(p))-1)/FrameSize {
		err = s.readFrame(ctx, seg, e.frame(d, off/FrameSize), p, int(off%FrameSize))
	} else {
		err = s.readFrames(ctx, seg, d, e, p, off)
	}
	if err != nil {
		return err
	}
	s.read.Add(uint64(len(p)))
	return nil
}

// access is a segment as one caller uses it: past the page cache or through it.
type access struct {
	*segment
	cached bool
}

func (a access) read(p []byte, off int64) (int, error) {
	if c, ok := a.file.(CachedFile); ok && a.cached {
		return c.ReadCached(p, off)
	}
	return a.file.ReadAt(p, off)
}

func (a access) write(p []byte, off int64) (int, error) {
	if c, ok := a.file.(CachedFile); ok && a.cached {
		return c.WriteCached(p, off)
	}
	return a.file.WriteAt(p, off)
}

// acquireFor is acquire for a segment whose extent e is to be opened.
func (s *Store) acquireFor(e Extent) (*segment, error) {
	seg, err := s.acquire(e.Segment)
	if err != nil {
		return nil, err
	}
	err = seg.damaged
	if err == nil {
		err = seg.holds(e)
	}
	if err != nil {
		seg.release()
		return nil, err
	}
	return seg, nil
}

// frame is the identity of the extent's i-th frame, but for the epoch, which its header tells.
func (e Extent) frame(d Domain, i int64) frameID {
	return frameID{
		domain: d, segment: e.Segment, offset: int64(e.Offset) + i*maxFrameDisk,
		length: int(min(int64(e.Length)-i*FrameSize, FrameSize)),
	}
}

// readFrames reads the frames of a long range side by side.
func (s *Store) readFrames(ctx context.Context, seg access, d Domain, e Extent, p []byte, off int64) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for len(p) > 0 {
		in := off % FrameSize
		part := p[:min(int64(len(p)), FrameSize-in)]
		id := e.frame(d, off/FrameSize)
		p, off = p[len(part):], off+int64(len(part))
		g.Go(func() error { return s.readFrame(ctx, seg, id, part, int(in)) })
	}
	return g.Wait()
}

// readFrame fills p from byte off of a frame on.
func (s *Store) readFrame(ctx context.Context, seg access, id frameID, p []byte, off int) error {
	if s.ahead.copyTo(ctx, id, p, off) {
		return nil
	}
	return s.openFrame(ctx, seg, id, p, off)
}

// openFrame is readFrame from the disk. A frame that is just being sealed anew (Rekey) is read again when it is.
func (s *Store) openFrame(ctx context.Context, seg access, id frameID, p []byte, off int) error {
	return s.settled(ctx, seg.segment, id, func() error { return s.tryFrame(ctx, seg, id, p, off) })
}

// settled runs read, and once more after a failure that a Rekey may have to do with.
func (s *Store) settled(ctx context.Context, seg *segment, id frameID, read func() error) error {
	err := read()
	if err == nil || !s.rekeyed.Load() || ctx.Err() != nil {
		return err
	}
	s.tocs.drop(frameKey{id.segment, id.offset})
	seg.place.RLock()
	defer seg.place.RUnlock()
	return read()
}

// tryFrame reads a frame as it is found. With the frame's toc at hand it reads only the packages asked
// for; without it, the header too, in the same read if that is near.
func (s *Store) tryFrame(ctx context.Context, seg access, id frameID, p []byte, off int) error {
	l := layoutOf(id.length)
	first, last := off/PackageSize, (off+len(p)-1)/PackageSize
	_, end := l.span(last)
	from, to := l.data+first*PackageSize, l.data+end

	t := s.tocs.get(frameKey{id.segment, id.offset})
	near := from <= packedLimit
	if t == nil && !near {
		var err error
		if t, err = s.readTOC(ctx, seg, id); err != nil {
			return err
		}
	}
	start := from
	if t == nil {
		start = 0
	}
	start -= start % BlockSize
	buf, err := s.readBlocks(ctx, seg, id.offset+int64(start), to-start)
	if err != nil {
		return err
	}
	defer s.buffers.put(buf)
	if t == nil {
		if t, err = s.openTOC(buf, seg.segment, id); err != nil {
			return err
		}
	}
	if t.id.domain != id.domain || t.id.length != id.length {
		return fmt.Errorf("%w: the frame is not the one asked for", ErrCorrupt)
	}
	if err := t.open(buf[from-start:], first, last, p, off); err != nil {
		return fmt.Errorf("segment %d, offset %d: %w", id.segment, id.offset, err)
	}
	return nil
}

// readBlocks reads n bytes at off, rounded up to blocks, into a buffer which the caller puts back.
func (s *Store) readBlocks(ctx context.Context, seg access, off int64, n int) ([]byte, error) {
	size := int(roundUp(int64(n)))
	buf, err := s.buffers.get(ctx, size)
	if err != nil {
		return nil, err
	}
	if _, err := seg.read(buf[:size], off); err != nil {
		s.buffers.put(buf)
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: segment %d is cut off", ErrCorrupt, seg.number)
		}
		return nil, fmt.Errorf("chunkstore: read segment %d: %w", seg.number, err)
	}
	return buf, nil
}

// readTOC reads and authenticates a frame's header.
func (s *Store) readTOC(ctx context.Context, seg access, id frameID) (*toc, error) {
	buf, err := s.readBlocks(ctx, seg, id.offset, layoutOf(id.length).header)
	if err != nil {
		return nil, err
	}
	defer s.buffers.put(buf)
	return s.openTOC(buf, seg.segment, id)
}

// openTOC is parseTOC, remembering what it found.
func (s *Store) openTOC(buf []byte, seg *segment, id frameID) (*toc, error) {
	t, err := s.parseTOC(buf, seg, id)
	if err == nil {
		s.tocs.put(frameKey{id.segment, id.offset}, t)
	}
	return t, err
}

// parseTOC authenticates the header in buf as that of the frame id.
func (s *Store) parseTOC(buf []byte, seg *segment, id frameID) (*toc, error) {
	h, err := parseHeader(buf)
	if err != nil {
		return nil, fmt.Errorf("segment %d, offset %d: %w", id.segment, id.offset, err)
	}
	if h.domain != id.domain || h.length != id.length {
		return nil, fmt.Errorf("segment %d, offset %d: %w: the frame is not the one asked for",
			id.segment, id.offset, ErrCorrupt)
	}
	id.epoch = h.epoch
	return s.authenticate(buf, seg, id)
}

func (s *Store) authenticate(buf []byte, seg *segment, id frameID) (*toc, error) {
	key, err := s.keys.DataKey(id.domain, id.epoch)
	if err != nil {
		return nil, fmt.Errorf("chunkstore: key of domain %d, epoch %d: %w", id.domain, id.epoch, err)
	}
	defer clear(key[:])
	aead, err := id.aead(&key, seg.salt)
	if err != nil {
		return nil, err
	}
	t, err := openHeader(buf, aead, id)
	if err != nil {
		return nil, fmt.Errorf("segment %d, offset %d: %w", id.segment, id.offset, err)
	}
	return t, nil
}

// Verify reads all of the extent from the disk, past every cache, and authenticates every package of it.
// What it finds damaged is dropped from the caches.
func (s *Store) Verify(ctx context.Context, d Domain, e Extent) error {
	seg, err := s.acquireFor(e)
	if err != nil {
		return err
	}
	defer seg.release()
	frames := (int64(e.Length) + FrameSize - 1) / FrameSize
	for i := range frames {
		id := e.frame(d, i)
		err := s.settled(ctx, seg, id, func() error { return s.verifyFrame(ctx, access{segment: seg}, id) })
		if err != nil {
			s.dropCached(frameKey{e.Segment, int64(e.Offset) + i*maxFrameDisk})
			return err
		}
	}
	return nil
}

func (s *Store) verifyFrame(ctx context.Context, seg access, id frameID) error {
	l := layoutOf(id.length)
	buf, err := s.readBlocks(ctx, seg, id.offset, l.disk)
	if err != nil {
		return err
	}
	defer s.buffers.put(buf)
	t, err := s.parseTOC(buf, seg.segment, id)
	if err != nil {
		return err
	}
	// Nothing is wanted of the plaintext: an empty p opens every package in place.
	if err := t.open(buf[l.data:], 0, l.packages-1, nil, id.length); err != nil {
		return fmt.Errorf("segment %d, offset %d: %w", id.segment, id.offset, err)
	}
	return nil
}
