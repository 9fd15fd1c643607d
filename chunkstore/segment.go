package chunkstore

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// A segment starts with two equal blocks, so that one bad block does not take the salt and with it all
// of the segment. Integers are little endian:
//
//	 0  8  segmentMagic
//	 8  8  the segment's number
//	16  8  its size in bytes
//	24 32  salt of its frame keys
//	56  4  CRC-32C of bytes 0 to 56
const (
	segmentMagic  = "k3fsSEG\x01"
	segmentHeader = 2 * BlockSize
	segmentSuffix = ".seg"
	saltSize      = 32
	maxSegment    = 1 << 40
	// smallestSegment is where a filling disk stops to get smaller segments.
	smallestSegment = 4 << 20
)

// segment is one file. Its number, size, salt and earlier never change once it is open.
type segment struct {
	number  uint64
	earlier bool // made by an earlier run: nothing is appended to it any more

	// place is held while a frame is written anew in its place, and while room is given back; read-held by who
	// wants to read neither the one nor the other half of that. Nothing is locked under it.
	place sync.RWMutex

	mu      sync.Mutex
	users   int   // the Store's own and one for each operation; file is closed with the last
	writers int   // reservations not yet given back
	active  bool  // a lane still allocates from it
	gone    bool  // unlinked
	damaged error // its header can't be read
	file    File  // nil until first used
	size    int64
	salt    []byte
}

func segmentName(dir string, number uint64) string {
	return path.Join(dir, fmt.Sprintf("%016x%s", number, segmentSuffix))
}

// parseSegmentName is the reverse of segmentName for a name in the directory.
func parseSegmentName(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 64)
	return n, err == nil && segmentForm(n) == 0
}

// segmentForm is the form of a segment, in the number's first byte. This package knows form 0.
func segmentForm(number uint64) byte { return byte(number >> 56) }

func encodeSegmentHeader(buf []byte, number uint64, size int64, salt []byte) {
	clear(buf[:segmentHeader])
	copy(buf, segmentMagic)
	binary.LittleEndian.PutUint64(buf[8:], number)
	binary.LittleEndian.PutUint64(buf[16:], uint64(size))
	copy(buf[24:], salt)
	binary.LittleEndian.PutUint32(buf[56:], crc32.Checksum(buf[:56], castagnoli))
	copy(buf[BlockSize:], buf[:BlockSize])
}

// parseSegmentHeader returns size and salt from the first of the two copies that is whole.
func parseSegmentHeader(buf []byte, number uint64) (size int64, salt []byte, err error) {
	for b := buf; len(b) >= BlockSize; b = b[BlockSize:] {
		size := int64(binary.LittleEndian.Uint64(b[16:]))
		if string(b[:8]) == segmentMagic && binary.LittleEndian.Uint64(b[8:]) == number &&
			size >= segmentHeader && size <= maxSegment && size%BlockSize == 0 &&
			binary.LittleEndian.Uint32(b[56:]) == crc32.Checksum(b[:56], castagnoli) {
			return size, append([]byte(nil), b[24:24+saltSize]...), nil
		}
	}
	return 0, nil, fmt.Errorf("%w: segment %d has no whole header", ErrCorrupt, number)
}

// acquire returns the segment, open, with one user more; release gives it back. A segment that is not
// there gives errNoSegment.
func (s *Store) acquire(number uint64) (*segment, error) {
	s.mu.RLock()
	seg, closed := s.segments[number], s.closed
	s.mu.RUnlock()
	if closed {
		return nil, ErrClosed
	}
	if seg == nil {
		return nil, errNoSegment
	}
	seg.mu.Lock()
	defer seg.mu.Unlock()
	if seg.gone || seg.users == 0 {
		return nil, errNoSegment
	}
	if seg.file == nil {
		if err := s.openSegment(seg); err != nil {
			return nil, err
		}
	}
	seg.users++
	return seg, nil
}

var errNoSegment = fmt.Errorf("%w: no such segment", ErrCorrupt)

// openSegment opens the file and reads its header. seg.mu must be held.
func (s *Store) openSegment(seg *segment) error {
	f, err := s.fs.Open(segmentName(s.dir, seg.number))
	if errors.Is(err, fs.ErrNotExist) {
		return errNoSegment
	}
	if err != nil {
		return fmt.Errorf("chunkstore: open segment %d: %w", seg.number, err)
	}
	buf := alignedBytes(segmentHeader)
	if n, err := f.ReadAt(buf, 0); err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return fmt.Errorf("chunkstore: read header of segment %d: %w", seg.number, err)
	} else {
		clear(buf[n:])
	}
	seg.size, seg.salt, seg.damaged = parseSegmentHeader(buf, seg.number)
	if seg.damaged != nil {
		if seg.size, _, err = f.Size(); err != nil {
			f.Close()
			return fmt.Errorf("chunkstore: size of segment %d: %w", seg.number, err)
		}
	}
	seg.file = f
	return nil
}

func (seg *segment) release() {
	seg.mu.Lock()
	seg.users--
	last := seg.users == 0
	seg.mu.Unlock()
	if last && seg.file != nil {
		seg.file.Close()
	}
}

// lane is a segment that is being filled. Small appends and streams have one each, so that the
// fdatasync of small objects does not wait for the data of large ones.
type lane struct {
	mu   sync.Mutex
	seg  *segment
	next int64 // first byte not given away
}

// reservation is room in a segment that only its holder writes to.
type reservation struct {
	seg      *segment
	off, end int64
}

// reserve takes between least and most bytes, as many as the lane's segment has left.
func (s *Store) reserve(l *lane, least, most int64) (reservation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := s.checkRoom(); err != nil {
		return reservation{}, err
	}
	if l.seg == nil || l.seg.size-l.next < least {
		seg, err := s.createSegment(least)
		if err != nil {
			return reservation{}, err
		}
		s.retire(l)
		l.seg, l.next = seg, segmentHeader
	}
	r := reservation{seg: l.seg, off: l.next, end: min(l.next+most, l.seg.size)}
	l.next = r.end
	r.seg.mu.Lock()
	r.seg.users++
	r.seg.writers++
	r.seg.mu.Unlock()
	return r, nil
}

// giveBack ends a reservation of which the bytes from unused on were never written.
func (s *Store) giveBack(l *lane, r reservation, unused int64) {
	l.mu.Lock()
	if l.seg == r.seg && l.next == r.end {
		l.next, r.end = unused, unused
	}
	l.mu.Unlock()
	if unused < r.end {
		s.punch(r.seg, unused, r.end-unused)
	}
	r.seg.mu.Lock()
	r.seg.writers--
	r.seg.mu.Unlock()
	s.removeIfEmpty(r.seg)
	r.seg.release()
}

// retire gives back what is left of the lane's segment, if it has one. l.mu must be held.
func (s *Store) retire(l *lane) {
	if l.seg == nil {
		return
	}
	if l.next < l.seg.size {
		s.punch(l.seg, l.next, l.seg.size-l.next)
	}
	l.seg.mu.Lock()
	l.seg.active = false
	l.seg.mu.Unlock()
	s.removeIfEmpty(l.seg)
	l.seg = nil
}

// punch gives back room that nothing refers to. If it fails, Reclaim of a later run does it.
func (s *Store) punch(seg *segment, off, n int64) {
	if err := seg.punch(off, n); err != nil {
		s.log.Warn("unused room not given back", "segment", seg.number, "offset", off, "bytes", n, "err", err)
	}
}

// punch gives back the n bytes at off, of which no frame is written anew meanwhile.
func (seg *segment) punch(off, n int64) error {
	seg.place.Lock()
	defer seg.place.Unlock()
	return seg.file.Punch(off, n)
}

// removeIfEmpty unlinks a segment that nobody fills any more and that holds nothing. The one with the
// highest number stays, since its name keeps that number from being given again: an old extent must
// never point into a new segment. The caller must be a user of the segment.
func (s *Store) removeIfEmpty(seg *segment) {
	s.mu.RLock()
	highest := seg.number == s.highest
	s.mu.RUnlock()
	if highest || !s.unlinkIfEmpty(seg) {
		return
	}
	s.mu.Lock()
	owned := s.segments[seg.number] == seg
	if owned {
		delete(s.segments, seg.number)
	}
	s.mu.Unlock()
	if owned {
		seg.release()
	}
}

func (s *Store) unlinkIfEmpty(seg *segment) bool {
	seg.mu.Lock()
	defer seg.mu.Unlock()
	if seg.active || seg.writers > 0 || seg.gone {
		return false
	}
	if _, err := seg.file.NextData(segmentHeader); !errors.Is(err, io.EOF) {
		return false
	}
	if err := s.fs.Remove(segmentName(s.dir, seg.number)); err != nil {
		s.log.Warn("empty segment not removed", "segment", seg.number, "err", err)
		return false
	}
	seg.gone = true
	return true
}

// createSegment makes a segment with room for need bytes of frames. It is durable on return, so that
// every extent in it can be.
func (s *Store) createSegment(need int64) (*segment, error) {
	size, err := s.newSegmentSize(need)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	s.number++
	number := s.number
	s.mu.Unlock()

	name := segmentName(s.dir, number)
	f, err := s.fs.Create(name)
	if err != nil {
		return nil, fullOr(fmt.Errorf("chunkstore: create segment %d: %w", number, err))
	}
	seg := &segment{number: number, size: size, file: f, users: 1, active: true, salt: make([]byte, saltSize)}
	rand.Read(seg.salt)
	if err := s.initSegment(seg); err != nil {
		f.Close()
		s.fs.Remove(name)
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		f.Close()
		return nil, ErrClosed
	}
	s.segments[number] = seg
	s.highest = max(s.highest, number)
	return seg, nil
}

func (s *Store) initSegment(seg *segment) error {
	err := seg.file.Preallocate(seg.size)
	if err != nil {
		return fullOr(fmt.Errorf("chunkstore: preallocate segment %d: %w", seg.number, err))
	}
	buf := alignedBytes(segmentHeader)
	encodeSegmentHeader(buf, seg.number, seg.size, seg.salt)
	if _, err = seg.file.WriteAt(buf, 0); err != nil {
		return fullOr(fmt.Errorf("chunkstore: write header of segment %d: %w", seg.number, err))
	}
	if err = seg.file.Sync(); err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE): // the directory can't be opened: the disk has not failed
		return fmt.Errorf("chunkstore: sync new segment %d: %w", seg.number, err)
	}
	return s.stop(fmt.Errorf("sync new segment %d: %w", seg.number, err))
}

// newSegmentSize halves the usual size while it is more than a quarter of what is free.
func (s *Store) newSegmentSize(need int64) (int64, error) {
	_, free, err := s.fs.Space(s.dir)
	if err != nil {
		return 0, fmt.Errorf("chunkstore: free space: %w", err)
	}
	free -= s.opts.LowWater
	least := max(need+segmentHeader, min(s.opts.SegmentSize, smallestSegment))
	size := max(least, s.opts.SegmentSize)
	for size > least && size > free/4 {
		size = max(least, roundUp(size/2))
	}
	if size > free {
		return 0, ErrFull
	}
	return size, nil
}

// checkRoom says whether the disk is above its low-water mark and the store may be written.
func (s *Store) checkRoom() error {
	if err := s.usable(); err != nil {
		return err
	}
	if s.opts.LowWater == 0 {
		return nil
	}
	_, free, err := s.fs.Space(s.dir)
	if err != nil {
		return fmt.Errorf("chunkstore: free space: %w", err)
	}
	if free < s.opts.LowWater {
		return ErrFull
	}
	return nil
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// fullOr adds ErrFull to an error that a full disk caused.
func fullOr(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
