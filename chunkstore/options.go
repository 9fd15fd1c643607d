package chunkstore

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
)

// Options configures a Store. Dir and Keys are required; every other zero value means its default.
type Options struct {
	// Dir holds the segments. It is made if it is missing.
	Dir string
	// FS is the file system; nil means the operating system's. See also ReadOnly.
	FS FS
	// Keys seals and opens.
	Keys Keyring
	// SegmentSize is the size of a new segment in bytes, rounded up to blocks; 1 GiB by default. Disks
	// with little room get smaller segments.
	SegmentSize int64
	// LowWater is the free space, in bytes, below which Append answers ErrFull. Zero means none.
	LowWater int64
	// TagCache bounds the memory, in bytes, for frame keys and tags that are at hand; 32 MiB by default.
	// A frame of 1 MiB takes 5.5 KiB, so the default keeps the tags of 6 GiB of data.
	TagCache int64
	// ReadCache bounds the memory, in bytes, for frames read ahead of sequential readers; 32 MiB by
	// default, negative for no read-ahead.
	ReadCache int64
	// Buffers bounds the number of 1 MiB buffers for sealing and opening; 4 for each CPU by default.
	Buffers int
	// Logger receives what nobody is there to be told; nil means slog.Default.
	Logger *slog.Logger
}

// Validate says what is wrong with o.
func (o Options) Validate() error {
	switch {
	case o.Dir == "":
		return errors.New("chunkstore: Options.Dir is empty")
	case o.Keys == nil:
		return errors.New("chunkstore: Options.Keys is nil")
	case o.SegmentSize < 0 || o.SegmentSize > maxSegment:
		return fmt.Errorf("chunkstore: Options.SegmentSize %d is not in 0 to %d", o.SegmentSize, int64(maxSegment))
	case o.LowWater < 0:
		return fmt.Errorf("chunkstore: Options.LowWater %d is negative", o.LowWater)
	case o.TagCache < 0:
		return fmt.Errorf("chunkstore: Options.TagCache %d is negative", o.TagCache)
	case o.Buffers < 0:
		return fmt.Errorf("chunkstore: Options.Buffers %d is negative", o.Buffers)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = osFS{}
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = 1 << 30
	}
	o.SegmentSize = max(roundUp(o.SegmentSize), segmentHeader+BlockSize)
	if o.TagCache == 0 {
		o.TagCache = 32 << 20
	}
	if o.ReadCache == 0 {
		o.ReadCache = 32 << 20
	}
	if o.Buffers == 0 {
		o.Buffers = 4 * runtime.GOMAXPROCS(0)
	}
	o.Buffers = max(o.Buffers, 2)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}
