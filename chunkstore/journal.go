package chunkstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// The journal holds the frames that a Rekey is about to write over others. It is durable before the first is, and
// they are before it is written again, so it is whole whenever a place may hold a half of each. It begins with,
// integers little endian:
//
//	 0  8  journalMagic
//	 8  8  number of frames
//	16  8  bytes of frames
//	24 32  SHA-256 of the journal up to the last frame, this one taken as zeros
//	56  8  zeros
//	64 24  for each frame: segment, offset, bytes on disk
//
// The frames follow at journalHead.
const (
	journalName    = "rekey.journal"
	journalMagic   = "k3fsRKJ\x01"
	journalHead    = 64 << 10
	journalFixed   = 64
	journalEntry   = 24
	journalEntries = (journalHead - journalFixed) / journalEntry
)

// journal is the open journal and what is to be in it.
type journal struct {
	s     *Store
	file  File
	buf   []byte
	used  int64 // of buf, journalHead included
	count int
	block []byte // room to read a block
}

func newJournal(s *Store, f File, room int64) *journal {
	return &journal{s: s, file: f, buf: alignedBytes(int(room) + BlockSize), used: journalHead, block: alignedBytes(BlockSize)}
}

// openJournal opens the journal or makes it. What is in it must be in its places.
func (s *Store) openJournal() (*journal, error) {
	name := path.Join(s.dir, journalName)
	f, err := s.fs.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = s.fs.Create(name); err == nil {
			err = s.fs.SyncDir(s.dir)
		}
	}
	if err != nil {
		return nil, fullOr(fmt.Errorf("chunkstore: open the journal of a change of keys: %w", err))
	}
	return newJournal(s, f, journalHead+rekeyBatch+maxFrameDisk), nil
}

// begin empties the journal in memory.
func (j *journal) begin() {
	clear(j.buf[:journalHead])
	j.used, j.count = journalHead, 0
}

// add returns the room for one more frame, with tagSize bytes behind it.
func (j *journal) add(segment uint64, off, disk int64) []byte {
	e := j.buf[journalFixed+j.count*journalEntry:]
	binary.LittleEndian.PutUint64(e, segment)
	binary.LittleEndian.PutUint64(e[8:], uint64(off))
	binary.LittleEndian.PutUint64(e[16:], uint64(disk))
	j.count++
	j.used += disk
	return j.buf[j.used-disk : j.used+tagSize]
}

// each calls fn for each frame and where it belongs.
func (j *journal) each(fn func(segment uint64, off int64, frame []byte) error) error {
	at := int64(journalHead)
	for i := range j.count {
		e := j.buf[journalFixed+i*journalEntry:]
		disk := int64(binary.LittleEndian.Uint64(e[16:]))
		if err := fn(binary.LittleEndian.Uint64(e), int64(binary.LittleEndian.Uint64(e[8:])), j.buf[at:at+disk]); err != nil {
			return err
		}
		at += disk
	}
	return nil
}

// commit makes the journal durable.
func (j *journal) commit() error {
	copy(j.buf, journalMagic)
	binary.LittleEndian.PutUint64(j.buf[8:], uint64(j.count))
	binary.LittleEndian.PutUint64(j.buf[16:], uint64(j.used-journalHead))
	sum := sha256.Sum256(j.buf[:j.used])
	copy(j.buf[24:], sum[:])
	if _, err := j.file.WriteAt(j.buf[:j.used], 0); err != nil {
		return fmt.Errorf("write the journal of a change of keys: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("sync the journal of a change of keys: %w", err)
	}
	return nil
}

// journalFailed stops the store, unless the disk is only full: no place was touched yet, and what was in the journal
// is in its places.
func (s *Store) journalFailed(err error) error {
	if isFull(err) {
		return fullOr(fmt.Errorf("chunkstore: %w", err))
	}
	return s.stop(err)
}

// close closes the journal, and removes it when nothing is left to do.
func (j *journal) close(done bool) error {
	err := j.file.Close()
	if done {
		err = errors.Join(err, j.s.fs.Remove(path.Join(j.s.dir, journalName)), j.s.fs.SyncDir(j.s.dir))
	}
	if err != nil {
		return fmt.Errorf("chunkstore: remove the journal of a change of keys: %w", err)
	}
	return nil
}

// replay finishes the batch of a Rekey that a crash cut short, and removes the journal.
func (s *Store) replay() error {
	f, err := s.fs.Open(path.Join(s.dir, journalName))
	if err != nil {
		return fmt.Errorf("chunkstore: open the journal of a change of keys: %w", err)
	}
	j, err := s.readJournal(f)
	if err != nil {
		f.Close()
		return err
	}
	if err := j.each(s.restore); err != nil {
		f.Close()
		return fmt.Errorf("chunkstore: finish a change of keys that a crash cut short: %w", err)
	}
	if err := j.close(true); err != nil && !errors.Is(err, unix.EROFS) {
		return err
	}
	return nil
}

// readJournal reads a journal. One that is not whole is empty: nothing was written from it.
func (s *Store) readJournal(f File) (*journal, error) {
	empty := newJournal(s, f, 2*journalHead)
	size, _, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("chunkstore: size of the journal of a change of keys: %w", err)
	}
	if size = size &^ (BlockSize - 1); size < journalHead || size > journalHead+rekeyBatch+2*maxFrameDisk {
		return empty, nil
	}
	j := newJournal(s, f, size)
	if n, err := f.ReadAt(j.buf[:size], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("chunkstore: read the journal of a change of keys: %w", err)
	} else if size = int64(n); size < journalHead {
		return empty, nil
	}
	if !j.whole(size) {
		return empty, nil
	}
	return j, nil
}

// whole checks the size bytes of the journal in memory, and takes its measures.
func (j *journal) whole(size int64) bool {
	count, used := binary.LittleEndian.Uint64(j.buf[8:]), binary.LittleEndian.Uint64(j.buf[16:])
	if string(j.buf[:8]) != journalMagic || count > journalEntries || used > uint64(size-journalHead) {
		return false
	}
	sum := [sha256.Size]byte(j.buf[24:])
	clear(j.buf[24 : 24+sha256.Size])
	j.count, j.used = int(count), journalHead+int64(used)
	if sha256.Sum256(j.buf[:j.used]) != sum {
		return false
	}
	left := used
	for i := range j.count {
		disk := binary.LittleEndian.Uint64(j.buf[journalFixed+i*journalEntry+16:])
		if disk == 0 || disk > left || disk%BlockSize != 0 {
			return false
		}
		left -= disk
	}
	return left == 0
}

// restore writes a frame of the journal over what a crash left of it and of the one before. One that was freed
// since stays so.
func (s *Store) restore(number uint64, off int64, frame []byte) error {
	seg, err := s.acquire(number)
	if errors.Is(err, errNoSegment) {
		return nil
	}
	if err != nil {
		return err
	}
	defer seg.release()
	found := alignedBytes(len(frame))
	if _, err := seg.file.ReadAt(found, off); err != nil {
		return fmt.Errorf("segment %d: %w", number, err)
	}
	if allZero(found[:BlockSize]) || bytes.Equal(found, frame) {
		return nil
	}
	if _, err := seg.file.WriteAt(frame, off); err != nil {
		return fmt.Errorf("segment %d: %w", number, err)
	}
	return seg.file.Sync()
}
