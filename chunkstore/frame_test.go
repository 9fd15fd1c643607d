package chunkstore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLayout(t *testing.T) {
	for length, disk := range map[int]int{
		1: 4096, 4096 - fixedHeader - 2*tagSize: 4096, 4096: 8192, 9 << 10: 12 << 10, 64<<10 - 1: 68 << 10, 64 << 10: 68 << 10,
		FrameSize: maxFrameDisk,
	} {
		require.Equal(t, disk, layoutOf(length).disk, "length %d", length)
		require.EqualValues(t, disk, Extent{Length: uint32(length)}.DiskBytes())
	}
	for length := 1; length <= FrameSize; length += 1 + length/50 {
		l := layoutOf(length)
		require.LessOrEqual(t, l.header, l.data)
		require.LessOrEqual(t, l.data+length, l.disk)
		if length >= packedLimit {
			require.Zero(t, l.data%BlockSize)
		}
	}
}

func FuzzFrameHeader(f *testing.F) {
	var key [32]byte
	id := frameID{domain: 1, epoch: 2, segment: 3, offset: segmentHeader, length: 5000}
	aead, err := id.aead(&key, make([]byte, saltSize))
	require.NoError(f, err)
	good := make([]byte, layoutOf(id.length).disk+tagSize)
	sealFrame(good, aead, id, make([]byte, id.length))
	good = good[:layoutOf(id.length).header]
	f.Add(good)
	f.Add([]byte(frameMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := parseHeader(data)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.True(t, h.length >= 1 && h.length <= FrameSize)
		buf := make([]byte, maxFrameDisk)
		copy(buf, data)
		id := frameID{domain: h.domain, epoch: h.epoch, segment: 3, offset: segmentHeader, length: h.length}
		if _, err := openHeader(buf, aead, id); err == nil {
			require.Equal(t, good, buf[:len(good)], "another header authenticated")
		}
	})
}

func FuzzSegmentHeader(f *testing.F) {
	good := make([]byte, segmentHeader)
	encodeSegmentHeader(good, 7, 1<<20, make([]byte, saltSize))
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		size, salt, err := parseSegmentHeader(data, 7)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.Len(t, salt, saltSize)
		require.True(t, size >= segmentHeader && size <= maxSegment)
	})
}
