package rotation

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The head of a frame as chunkstore/frame.go describes it. What is asked here is what is on the disk, whatever the
// program believes.
const (
	frameMagic  = "k3fsFRM\x01"
	frameAlign  = 4096
	frameHeader = 32
)

// epochs counts the frames in the segments by the epoch whose key sealed them.
func (s *system) epochs() map[uint32]int {
	found := map[uint32]int{}
	require.NoError(s.t, filepath.WalkDir(filepath.Join(s.d.Data, "chunks"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		return eachBlock(path, func(b []byte) {
			if string(b[:8]) == frameMagic && crc32.Checksum(b[:28], crc32.MakeTable(crc32.Castagnoli)) == binary.LittleEndian.Uint32(b[28:]) {
				found[binary.LittleEndian.Uint32(b[12:])]++
			}
		})
	}))
	require.NotEmpty(s.t, found)
	return found
}

// eachBlock reads the head of every block of a file that is not in a hole.
func eachBlock(path string, fn func([]byte)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, frameHeader)
	for end, off := int64(0), int64(0); ; off += frameAlign {
		if off >= end {
			if off, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
				return nil
			} else if err != nil {
				return err
			}
			if end, err = unix.Seek(int(f.Fd()), off, unix.SEEK_HOLE); err != nil {
				return err
			}
			off = off / frameAlign * frameAlign
		}
		if _, err := f.ReadAt(head, off); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		fn(head)
	}
}
