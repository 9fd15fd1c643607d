package chunkstore

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A frame on disk, all integers little endian:
//
//	 0  8  frameMagic
//	 8  1  version, then 3 bytes of zeros
//	12  4  key epoch
//	16  8  domain
//	24  4  plaintext bytes, 1 to FrameSize
//	28  4  CRC-32C of bytes 0 to 28, so that a header is known as one without its key
//	32 16  tag of the header: AES-GCM over no plaintext; bytes 0 to 32 and all package tags authenticated
//	48 16  tag of each package
//
// The packages follow. In a frame under packedLimit they follow at once, so that a small object wastes
// little; in a longer one at the next block, so that a package is a block. The frame ends with zeros up
// to a block.
const (
	frameMagic   = "k3fsFRM\x01"
	frameVersion = 1
	fixedHeader  = 32
	tagSize      = 16
	packedLimit  = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func roundUp(n int64) int64 { return (n + BlockSize - 1) &^ (BlockSize - 1) }

// layout is where the parts of a frame are, relative to its start. It follows from the length alone.
type layout struct {
	length   int
	packages int
	header   int // bytes of the header with its tags
	data     int // start of the packages
	disk     int // bytes on disk, a multiple of BlockSize
}

func layoutOf(length int) layout {
	l := layout{length: length, packages: (length + PackageSize - 1) / PackageSize}
	l.header = fixedHeader + tagSize + l.packages*tagSize
	l.data = l.header
	if length >= packedLimit {
		l.data = int(roundUp(int64(l.header)))
	}
	l.disk = int(roundUp(int64(l.data + length)))
	return l
}

// span is the bytes of package i within the plaintext.
func (l layout) span(i int) (from, to int) {
	return i * PackageSize, min((i+1)*PackageSize, l.length)
}

// maxFrameDisk is what a frame of FrameSize bytes takes on disk.
const maxFrameDisk = FrameSize + 2*BlockSize

// frameID is what a frame's key is bound to.
type frameID struct {
	domain  Domain
	epoch   uint32
	segment uint64
	offset  int64
	length  int
}

// aead derives the frame's key. The place is part of it and written only once, so the key seals one
// frame and package numbers can be nonces.
func (id frameID) aead(key *[32]byte, salt []byte) (cipher.AEAD, error) {
	info := make([]byte, 0, 64)
	info = append(info, "k3fs chunk frame v1"...)
	info = binary.LittleEndian.AppendUint64(info, uint64(id.domain))
	info = binary.LittleEndian.AppendUint32(info, id.epoch)
	info = binary.LittleEndian.AppendUint64(info, id.segment)
	info = binary.LittleEndian.AppendUint64(info, uint64(id.offset))
	info = binary.LittleEndian.AppendUint32(info, uint32(id.length))
	k, err := hkdf.Key(sha256.New, key[:], salt, string(info), 32)
	if err != nil {
		return nil, fmt.Errorf("chunkstore: derive a frame key: %w", err)
	}
	defer clear(k)
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, fmt.Errorf("chunkstore: derive a frame key: %w", err)
	}
	return cipher.NewGCM(block)
}

// nonce is a GCM nonce: the header's has its first byte set, a package's ends with its number.
type nonce []byte

func newNonce() nonce { return make(nonce, 12) }

func (n nonce) header() []byte {
	clear(n)
	n[0] = 1
	return n
}

func (n nonce) pack(i int) []byte {
	n[0] = 0
	binary.BigEndian.PutUint32(n[8:], uint32(i))
	return n
}

// sealFrame builds the frame of p in buf, which holds layoutOf(len(p)).disk+tagSize bytes or more.
func sealFrame(buf []byte, aead cipher.AEAD, id frameID, p []byte) {
	l := layoutOf(len(p))
	copy(buf, frameMagic)
	clear(buf[8:fixedHeader])
	buf[8] = frameVersion
	binary.LittleEndian.PutUint32(buf[12:], id.epoch)
	binary.LittleEndian.PutUint64(buf[16:], uint64(id.domain))
	binary.LittleEndian.PutUint32(buf[24:], uint32(id.length))
	binary.LittleEndian.PutUint32(buf[28:], crc32.Checksum(buf[:28], castagnoli))

	// Seal writes a package's tag behind it, over the start of the next: in order, so that the next
	// package then covers it.
	n := newNonce()
	tags := buf[fixedHeader+tagSize : l.header]
	for i := range l.packages {
		from, to := l.span(i)
		sealed := aead.Seal(buf[l.data+from:l.data+from], n.pack(i), p[from:to], nil)
		copy(tags[i*tagSize:], sealed[to-from:])
	}
	clear(buf[l.header:l.data])
	clear(buf[l.data+l.length : l.disk])
	aead.Seal(buf[fixedHeader:fixedHeader], n.header(), nil, headerData(buf, tags))
}

// headerData is what the header's tag authenticates.
func headerData(buf, tags []byte) []byte {
	return append(append(make([]byte, 0, fixedHeader+len(tags)), buf[:fixedHeader]...), tags...)
}

// frameHeader is a parsed header, not yet authenticated.
type frameHeader struct {
	domain Domain
	epoch  uint32
	length int
}

// parseHeader reads the fixed part of a header.
func parseHeader(buf []byte) (frameHeader, error) {
	var h frameHeader
	switch {
	case len(buf) < fixedHeader || string(buf[:8]) != frameMagic:
		return h, fmt.Errorf("%w: no frame header", ErrCorrupt)
	case binary.LittleEndian.Uint32(buf[28:]) != crc32.Checksum(buf[:28], castagnoli):
		return h, fmt.Errorf("%w: frame header damaged", ErrCorrupt)
	case binary.LittleEndian.Uint32(buf[8:]) != frameVersion:
		return h, fmt.Errorf("%w: frame of unknown version %d", ErrCorrupt, buf[8])
	}
	h.epoch = binary.LittleEndian.Uint32(buf[12:])
	h.domain = Domain(binary.LittleEndian.Uint64(buf[16:]))
	length := binary.LittleEndian.Uint32(buf[24:])
	if length < 1 || length > FrameSize {
		return h, fmt.Errorf("%w: frame of %d bytes", ErrCorrupt, length)
	}
	h.length = int(length)
	return h, nil
}

// toc is what it takes to open the packages of a frame: its key and its tags, both authenticated.
type toc struct {
	id   frameID
	aead cipher.AEAD
	tags []byte
}

// tocCost is the memory of a toc beside its tags, in bytes: two expanded AES keys and GCM's table.
const tocCost = 1400

func (t *toc) cost() int64 { return tocCost + int64(len(t.tags)) }

// openHeader authenticates a header whose frame key is aead. buf holds the whole header.
func openHeader(buf []byte, aead cipher.AEAD, id frameID) (*toc, error) {
	tags := buf[fixedHeader+tagSize : layoutOf(id.length).header]
	data := headerData(buf, tags)
	if _, err := aead.Open(nil, newNonce().header(), buf[fixedHeader:fixedHeader+tagSize], data); err != nil {
		return nil, fmt.Errorf("%w: frame header does not authenticate", ErrCorrupt)
	}
	return &toc{id: id, aead: aead, tags: bytes.Clone(tags)}, nil
}

// open opens packages first to last, whose sealed bytes start at buf[0], into p, which starts at byte
// off of the frame. buf has room for one tag behind the last package, and is used up.
func (t *toc) open(buf []byte, first, last int, p []byte, off int) error {
	l := layoutOf(t.id.length)
	n := newNonce()
	base := first * PackageSize
	// From the last to the first: the tag is put behind its package, over the start of the next, which
	// is open by then.
	for i := last; i >= first; i-- {
		from, to := l.span(i)
		end := to - base
		copy(buf[end:end+tagSize], t.tags[i*tagSize:])
		sealed := buf[from-base : end+tagSize]
		dst := sealed[:0]
		whole := from >= off && to <= off+len(p)
		if whole {
			dst = p[from-off : from-off : to-off]
		}
		plain, err := t.aead.Open(dst, n.pack(i), sealed, nil)
		if err != nil {
			return fmt.Errorf("%w: package %d does not authenticate", ErrCorrupt, i)
		}
		if lo, hi := max(from, off), min(to, off+len(p)); !whole && lo < hi {
			copy(p[lo-off:hi-off], plain[lo-from:hi-from])
		}
	}
	return nil
}

// DiskBytes is what the extent takes on disk, in bytes.
func (e Extent) DiskBytes() int64 {
	if e.Length == 0 {
		return 0
	}
	full := int64(e.Length-1) / FrameSize
	return full*maxFrameDisk + int64(layoutOf(int(int64(e.Length)-full*FrameSize)).disk)
}

// Join is a, followed without a gap by b, as one extent. It holds if a's frames are all full, b starts
// where a ends on disk, and the sum is at most MaxExtent.
func Join(a, b Extent) (Extent, bool) {
	if a.Segment != b.Segment || a.Length == 0 || b.Length == 0 || a.Length%FrameSize != 0 ||
		uint64(a.Length)+uint64(b.Length) > MaxExtent || a.Offset+uint64(a.DiskBytes()) != b.Offset {
		return Extent{}, false
	}
	return Extent{Segment: a.Segment, Offset: a.Offset, Length: a.Length + b.Length}, true
}
