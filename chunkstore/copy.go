package chunkstore

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// ErrRekeying: frames are being sealed anew.
var ErrRekeying = errors.New("chunkstore: a change of keys is under way")

// Copy copies extents, sealed as they are, into a directory of segments of their own, where another Store opens them.
// While it is open no frame is sealed anew. It is used by one goroutine.
type Copy struct {
	s      *Store
	dir    string
	number uint64 // of out
	out    *os.File
	buf    []byte
}

// NewCopy begins a copy into dir, which is made. ErrRekeying if frames are being sealed anew. Close ends it.
func (s *Store) NewCopy(dir string) (*Copy, error) {
	if !s.rekeying.TryLock() {
		return nil, ErrRekeying
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.rekeying.Unlock()
		return nil, fmt.Errorf("chunkstore: copy: %w", err)
	}
	return &Copy{s: s, dir: dir, buf: alignedBytes(maxFrameDisk)}, nil
}

// Add copies an extent. Extents come in the order of their places. What is missing, as of a tenant's data that is being
// given back, is left out, and what is damaged stays so: a check of the copy tells.
func (c *Copy) Add(ctx context.Context, e Extent) error {
	seg, err := c.s.acquire(e.Segment)
	if errors.Is(err, errNoSegment) {
		return nil
	}
	if err != nil {
		return err
	}
	defer seg.release()
	if err := c.begin(seg); err != nil {
		return fmt.Errorf("chunkstore: copy segment %d: %w", seg.number, err)
	}
	for off, left := int64(e.Offset), e.DiskBytes(); left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(left, int64(len(c.buf)))
		if err := c.blocks(seg, off, n); err != nil {
			return fmt.Errorf("chunkstore: copy segment %d at %d: %w", seg.number, off, err)
		}
		off, left = off+n, left-n
	}
	return nil
}

// begin makes the copy of a segment the one that is written.
func (c *Copy) begin(seg *segment) (err error) {
	if c.out != nil && c.number == seg.number {
		return nil
	}
	if err := c.end(); err != nil {
		return err
	}
	if c.out, err = os.OpenFile(segmentName(c.dir, seg.number), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return err
	}
	c.number = seg.number
	if err := c.out.Truncate(seg.size); err != nil {
		return err
	}
	return c.blocks(seg, 0, segmentHeader)
}

// blocks copies n bytes from off.
func (c *Copy) blocks(seg *segment, off, n int64) error {
	p := c.buf[:n]
	if _, err := seg.file.ReadAt(p, off); err != nil {
		return err
	}
	if allZero(p) {
		return nil
	}
	_, err := c.out.WriteAt(p, off)
	return err
}

// end makes the segment that is written durable.
func (c *Copy) end() error {
	if c.out == nil {
		return nil
	}
	err := errors.Join(c.out.Sync(), c.out.Close())
	c.out = nil
	return err
}

// Close makes the copy durable.
func (c *Copy) Close() error {
	defer c.s.rekeying.Unlock()
	err := c.end()
	if err == nil {
		err = osFS{}.SyncDir(c.dir)
	}
	return err
}
