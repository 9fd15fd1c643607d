package badgerkv

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// errReadOnly is every update's answer of a store that was opened with Options.ReadOnly.
var errReadOnly = errors.New("badgerkv: the store is open for reading only")

// openReadOnly opens the store without a change in its directory. Badger can't do that where a crash left
// a log that ends in the middle, so it opens a copy, in which tables, which nobody changes, are links.
func (s *Store) openReadOnly(keys keys) (err error) {
	if s.anchor, err = readAnchor(filepath.Join(s.opts.Dir, anchorName), keys.anchor); err != nil {
		return fmt.Errorf("badgerkv: anchor: %w", err)
	}
	if s.sealer, err = newSealer(keys.value, s.anchor.state.epoch); err != nil {
		return err
	}
	if s.scratch, err = os.MkdirTemp("", "k3fs-meta-"); err != nil {
		return fmt.Errorf("badgerkv: %w", err)
	}
	dir := s.badgerDir
	s.badgerDir = s.scratch
	if err := copyBadger(dir, s.scratch); err != nil {
		return fmt.Errorf("badgerkv: copying what is read-only: %w", err)
	}
	if err := s.checkFiles(keys); err != nil {
		return err
	}
	if s.db, err = openBadger(s.badgerOptions(keys).WithReadOnly(true)); err != nil {
		return err
	}
	return s.load()
}

// copyBadger makes to, an empty directory, hold what Badger needs to read from.
func copyBadger(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // its absence is judged like that of its manifest
		return err
	}
	for _, e := range entries {
		src, dst := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch filepath.Ext(e.Name()) {
		case ".sst":
			err = os.Symlink(src, dst)
		case ".mem":
			err = copyLog(src, dst)
		default:
			err = duplicate(src, dst, -1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// duplicate copies the first n bytes of a file, all of them if n is negative.
func duplicate(from, to string, n int64) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if n < 0 {
		_, err = io.Copy(dst, src)
	} else {
		_, err = io.CopyN(dst, src, n)
	}
	return errors.Join(err, dst.Close())
}

// copyLog copies a log of Badger up to the end of its last whole transaction: read-only, Badger opens no
// other. One without any is left out.
func copyLog(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	end, err := logEnd(src)
	if err != nil || end <= logHeader {
		return err
	}
	return duplicate(from, to, end)
}

// Badger's log: a header, then entries of meta | user meta | key length | value length | expiry | key |
// value | CRC-32C of the ciphertext. A transaction is entries with logTxn and a last one with logTxnEnd.
const (
	logHeader   = 20
	logTxn      = 1 << 6
	logTxnEnd   = 1 << 7
	logMaxKey   = 1 << 16
	logMaxValue = 1 << 20 // above any of ours
)

// logEnd is where the last whole transaction of a log ends. Should Badger see an earlier end, it refuses
// the copy; so this can't hide anything.
func logEnd(r io.Reader) (int64, error) {
	in := &logReader{in: bufio.NewReaderSize(r, 1<<20)}
	if _, err := io.CopyN(io.Discard, in.in, logHeader); err != nil {
		return 0, ignoreEOF(err)
	}
	at, end := int64(logHeader), int64(logHeader)
	for {
		meta, size, err := in.entry()
		if err != nil || size == 0 {
			return end, ignoreEOF(err)
		}
		at += size
		if meta&logTxn == 0 {
			end = at
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// logReader sums what it reads.
type logReader struct {
	in   *bufio.Reader
	crc  uint32
	size int64
}

func (r *logReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	r.crc = crc32.Update(r.crc, castagnoli, p[:n])
	r.size += int64(n)
	return n, err
}

func (r *logReader) ReadByte() (byte, error) {
	b, err := r.in.ReadByte()
	if err == nil {
		r.crc = crc32.Update(r.crc, castagnoli, []byte{b})
		r.size++
	}
	return b, err
}

// entry reads an entry and returns its meta and size; no size means that what comes next is none.
func (r *logReader) entry() (meta byte, size int64, err error) {
	r.crc, r.size = 0, 0
	if meta, err = r.ReadByte(); err != nil {
		return 0, 0, err
	}
	if _, err = r.ReadByte(); err != nil {
		return 0, 0, err
	}
	var lengths [3]uint64 // of the key, of the value, and the expiry
	for i := range lengths {
		if lengths[i], err = binary.ReadUvarint(r); err != nil {
			return 0, 0, nil // beyond the file's end, or no number
		}
	}
	if lengths[0] == 0 || lengths[0] > logMaxKey || lengths[1] > logMaxValue {
		return 0, 0, nil
	}
	if _, err := io.CopyN(io.Discard, r, int64(lengths[0]+lengths[1])); err != nil {
		return 0, 0, err
	}
	sum := r.crc
	var stored [crc32.Size]byte
	if _, err := io.ReadFull(r, stored[:]); err != nil {
		return 0, 0, err
	}
	if binary.BigEndian.Uint32(stored[:]) != sum {
		return 0, 0, nil
	}
	return meta, r.size, nil
}

// readAnchor reads the anchor and keeps writers out while it is open.
func readAnchor(path string, key []byte) (*anchor, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(refuseOrphan(filepath.Dir(path)), err)
	}
	if err != nil {
		return nil, err
	}
	a := &anchor{key: key, file: file}
	err = a.lock(unix.LOCK_SH)
	if err == nil {
		err = a.load()
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return a, nil
}

// hasDatabase tells whether Badger has a database in dir.
func hasDatabase(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
