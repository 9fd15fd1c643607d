package chunkstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// smallAppend is the size on disk up to which an extent goes to the segment of small ones.
const smallAppend = 272 << 10

// Store is an open chunk store. Its methods are safe for concurrent use.
type Store struct {
	opts Options
	fs   FS
	dir  string
	keys Keyring
	log  *slog.Logger

	buffers *buffers
	tocs    *tocCache
	ahead   *readAhead

	small, bulk lane

	mu       sync.RWMutex
	segments map[uint64]*segment
	number   uint64 // last given to a new segment
	highest  uint64 // of the segments that are on disk for certain
	closed   bool

	syncs syncer

	stopOnce sync.Once
	stopped  chan struct{}
	stopErr  error // valid once stopped is closed

	// sealing is read-held from the choice of a frame's epoch until the frame is written; rekey waits for those
	// who chose the epoch before. rekeying is held by the one Rekey that runs.
	sealing  sync.RWMutex
	rekeying sync.Mutex
	rekeyed  atomic.Bool // frames may have been sealed anew since a reader looked at them

	appended, read, freed atomic.Uint64
}

// Open opens the store in Options.Dir, or makes one. It never appends to a segment of an earlier run:
// what a crash left in one stays as it is until Reclaim.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	s := &Store{
		opts: opts, fs: opts.FS, dir: opts.Dir, keys: opts.Keys, log: opts.Logger,
		buffers:  newBuffers(opts.Buffers),
		tocs:     newTOCCache(opts.TagCache),
		ahead:    newReadAhead(opts.ReadCache),
		segments: map[uint64]*segment{},
		stopped:  make(chan struct{}),
	}
	s.syncs.dirty = map[*segment]struct{}{}
	if err := s.fs.MkdirAll(s.dir); err != nil {
		return nil, fmt.Errorf("chunkstore: make %s: %w", s.dir, err)
	}
	names, err := s.fs.List(s.dir)
	if err != nil {
		return nil, fmt.Errorf("chunkstore: list %s: %w", s.dir, err)
	}
	for _, name := range names {
		if name == journalName {
			continue
		}
		number, ok := parseSegmentName(name)
		if !ok {
			s.log.Warn("not a segment; left alone", "dir", s.dir, "name", name)
			continue
		}
		s.segments[number] = &segment{number: number, earlier: true, users: 1}
		s.number = max(s.number, number)
	}
	s.highest = s.number
	if slices.Contains(names, journalName) {
		if err := s.replay(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Append seals p, of 1 to MaxExtent bytes, as one extent of the domain. It can be read when Append
// returns, and is durable after the next Sync. Errors: ErrFull, ErrStopped, ErrClosed, and those of the
// Keyring; then nothing was stored.
func (s *Store) Append(ctx context.Context, d Domain, p []byte) (Extent, error) {
	return s.appendExtent(ctx, d, p, false)
}

// AppendCached is Append through the system's page cache, for those who will read with ReadCached: they find
// there what was just written. Small extents go past it all the same, for their sync is waited for.
func (s *Store) AppendCached(ctx context.Context, d Domain, p []byte) (Extent, error) {
	return s.appendExtent(ctx, d, p, true)
}

func (s *Store) appendExtent(ctx context.Context, d Domain, p []byte, cached bool) (Extent, error) {
	if len(p) < 1 || len(p) > MaxExtent {
		return Extent{}, fmt.Errorf("chunkstore: append of %d bytes; an extent has 1 to %d", len(p), MaxExtent)
	}
	if err := ctx.Err(); err != nil {
		return Extent{}, err
	}
	e := Extent{Length: uint32(len(p))}
	need := e.DiskBytes()
	l := &s.bulk
	if need <= smallAppend {
		l = &s.small
	}
	r, err := s.reserve(l, need, need)
	if err != nil {
		return Extent{}, err
	}
	defer s.giveBack(l, r, r.end)
	e.Segment, e.Offset = r.seg.number, uint64(r.off)
	seg := access{r.seg, cached && l == &s.bulk}
	if len(p) <= FrameSize {
		err = s.writeFrame(ctx, seg, d, r.off, p)
	} else {
		err = s.writeFrames(ctx, seg, d, r.off, p)
	}
	if err != nil {
		s.punch(r.seg, r.off, need)
		return Extent{}, err
	}
	return e, nil
}

// writeFrames seals and writes frames side by side.
func (s *Store) writeFrames(ctx context.Context, seg access, d Domain, off int64, p []byte) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for ; len(p) > 0; off += maxFrameDisk {
		at, part := off, p[:min(len(p), FrameSize)]
		p = p[len(part):]
		g.Go(func() error { return s.writeFrame(ctx, seg, d, at, part) })
	}
	return g.Wait()
}

// writeFrame seals p as the frame at off, which nothing was ever written to.
func (s *Store) writeFrame(ctx context.Context, seg access, d Domain, off int64, p []byte) error {
	s.sealing.RLock()
	defer s.sealing.RUnlock()
	epoch, err := s.keys.Current(d)
	if err != nil {
		return fmt.Errorf("chunkstore: key of domain %d: %w", d, err)
	}
	key, err := s.keys.DataKey(d, epoch)
	if err != nil {
		return fmt.Errorf("chunkstore: key of domain %d: %w", d, err)
	}
	defer clear(key[:])
	id := frameID{domain: d, epoch: epoch, segment: seg.number, offset: off, length: len(p)}
	aead, err := id.aead(&key, seg.salt)
	if err != nil {
		return err
	}
	disk := layoutOf(len(p)).disk
	buf, err := s.buffers.get(ctx, disk)
	if err != nil {
		return err
	}
	defer s.buffers.put(buf)
	sealFrame(buf, aead, id, p)
	if _, err := seg.write(buf[:disk], off); err != nil {
		err = fmt.Errorf("chunkstore: write to segment %d: %w", seg.number, err)
		if isFull(err) {
			return fullOr(err)
		}
		return s.stop(err)
	}
	s.syncs.mark(seg.segment)
	s.appended.Add(uint64(len(p)))
	return nil
}

// Free gives back the room of an extent that no record refers to. Freeing it again does no harm; reading
// it from now on gives ErrCorrupt. The room may come back after a crash, as an extent without an owner,
// which Reclaim frees.
func (s *Store) Free(ctx context.Context, e Extent) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	seg, err := s.acquire(e.Segment)
	if errors.Is(err, errNoSegment) {
		return nil
	}
	if err != nil {
		return err
	}
	defer seg.release()
	if err := seg.holds(e); err != nil {
		return err
	}
	if err := seg.punch(int64(e.Offset), e.DiskBytes()); err != nil {
		return fmt.Errorf("chunkstore: free in segment %d: %w", e.Segment, err)
	}
	for off := int64(e.Offset); off < int64(e.Offset)+e.DiskBytes(); off += maxFrameDisk {
		s.dropCached(frameKey{e.Segment, off})
	}
	s.freed.Add(uint64(e.Length))
	s.removeIfEmpty(seg)
	return nil
}

func (s *Store) dropCached(k frameKey) {
	s.tocs.drop(k)
	s.ahead.drop(k)
}

// holds says whether e can be an extent of the segment.
func (seg *segment) holds(e Extent) error {
	if e.Length < 1 || e.Length > MaxExtent || e.Offset < segmentHeader || e.Offset%BlockSize != 0 ||
		e.Offset > uint64(seg.size) || int64(e.Offset)+e.DiskBytes() > seg.size {
		return fmt.Errorf("%w: segment %d has no extent of %d bytes at %d", ErrCorrupt, seg.number, e.Length, e.Offset)
	}
	return nil
}

// Usage is how full the store is and what it did since Open. All but Segments is in bytes.
type Usage struct {
	Total    int64 // size of the file system
	Free     int64 // free on the file system
	LowWater int64 // below this, Append answers ErrFull
	Segments int

	Appended, Read, Freed uint64 // plaintext

	CacheHits, CacheMisses uint64 // of the checksums of blocks that readers need (Options.TagCache)
}

// Usage returns the store's usage. Total and Free are zero if the file system does not say.
func (s *Store) Usage() Usage {
	total, free, err := s.fs.Space(s.dir)
	if err != nil {
		s.log.Warn("free space unknown", "dir", s.dir, "err", err)
	}
	hits, misses := s.tocs.used()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return Usage{
		CacheHits: hits, CacheMisses: misses,
		Total: total, Free: free, LowWater: s.opts.LowWater, Segments: len(s.segments),
		Appended: s.appended.Load(), Read: s.read.Load(), Freed: s.freed.Load(),
	}
}

// Stopped is closed when the store stops for good after a failed write or sync.
func (s *Store) Stopped() <-chan struct{} { return s.stopped }

// stop ends all acknowledging: after an error whose effect on the disk is unknown, what a later sync says
// is worth nothing (the kernel forgets the pages that failed).
func (s *Store) stop(cause error) error {
	s.stopOnce.Do(func() {
		s.stopErr = fmt.Errorf("%w: %w", ErrStopped, cause)
		s.log.Error("chunk store stopped; restart to go on", "dir", s.dir, "err", cause)
		close(s.stopped)
	})
	return s.stopErr
}

// usable returns ErrStopped or ErrClosed once that is so.
func (s *Store) usable() error {
	if err := s.stoppedErr(); err != nil {
		return err
	}
	return s.closedErr()
}

// stoppedErr is ErrStopped with its cause once that is so.
func (s *Store) stoppedErr() error {
	select {
	case <-s.stopped:
		return s.stopErr
	default:
		return nil
	}
}

// closedErr is ErrClosed once that is so.
func (s *Store) closedErr() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return ErrClosed
	}
	return nil
}

// Forget drops the keys and the plaintext that the caches hold of a domain: what is left to do after its
// data keys were destroyed.
func (s *Store) Forget(d Domain) {
	s.tocs.forget(d)
	s.ahead.forget(d)
}

// Close makes all data durable and gives back what is left of the current segments. Operations under
// way end as they may; later ones get ErrClosed. Closing again does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	for _, l := range []*lane{&s.small, &s.bulk} {
		l.mu.Lock()
		s.retire(l)
		l.mu.Unlock()
	}
	err := s.stoppedErr()
	if b := s.syncs.join(s); b != nil {
		<-b.done
		err = b.err
	}
	s.ahead.close()
	s.mu.Lock()
	segments := s.segments
	s.segments = map[uint64]*segment{}
	s.mu.Unlock()
	for _, seg := range segments {
		seg.release()
	}
	return err
}
