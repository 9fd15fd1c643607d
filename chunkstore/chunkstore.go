// Package chunkstore keeps sealed data on local NVMe: append-only segments, extents inside them.
//
// It owns segment files, sealing, fdatasync, free space and hole punching. It knows nothing of names,
// tenants or holds: a Domain is a number whose key the Keyring knows.
//
// # Layout
//
// A segment is a preallocated file of SegmentSize bytes that is only ever appended to, and never by a
// later run of the daemon. Its first block says what it is and carries a random salt. An extent is a
// run of frames at a block-aligned offset. A frame seals at most FrameSize bytes in packages of
// PackageSize, each with its own AES-256-GCM tag, so that a random read opens one package; its header
// holds domain, key epoch, length and the tags, itself authenticated. Every frame of an extent but the
// last seals exactly FrameSize bytes, so the place of any byte follows from the extent alone. The key
// of a frame is derived (HKDF-SHA-256) from the domain's data key, the segment's salt and the frame's
// place; since a place is written once under each key, a (key, nonce) pair is never used twice. Rekey seals
// frames anew in their places when the domain has got another key.
//
// The segment number space leaves room for segments of another form: a large file as a headerless
// backing file of its own, whose tags live beside it (Form in the segment's number).
//
// # Order
//
// Append returns when the data can be read, Sync when it is durable. Metadata that refers to an extent
// is committed after the Sync that covers it (badgerkv's Barrier does that). A crash between the two
// leaves unreferenced extents, which Reclaim gives back.
//
// # Locks
//
// A Copy holds Store.rekeying as long as it is open. Store.rekeying, Store.sealing and segment.place are held during I/O: rekeying first, and place last. The others,
// in this order: Stream.mu, lane.mu, syncer.mu, Store.mu, segment.mu; readAhead.mu and the shards of a
// tocCache last.
package chunkstore

import "errors"

const (
	FrameSize   = 1 << 20  // plaintext bytes of a full frame
	PackageSize = 4 << 10  // plaintext bytes under one tag
	BlockSize   = 4 << 10  // alignment of extents, in bytes
	MaxExtent   = 64 << 20 // plaintext bytes of the longest extent
)

var (
	// ErrCorrupt: stored bytes failed authentication, or are not where an extent says. Never served.
	ErrCorrupt = errors.New("chunkstore: data is corrupt")
	// ErrFull: the disk is at its low-water mark.
	ErrFull = errors.New("chunkstore: no space left")
	// ErrStopped: an earlier sync failed; nothing is acknowledged until the store is reopened.
	ErrStopped = errors.New("chunkstore: stopped after a failed write")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("chunkstore: closed")
)

// Domain numbers a key domain (a tenant's data, seen from above).
type Domain uint64

// Extent is a sealed run of bytes: the unit of reference counting and of freeing.
type Extent struct {
	Segment uint64 // the segment's number
	Offset  uint64 // of its first frame in the segment, in bytes, a multiple of BlockSize
	Length  uint32 // plaintext bytes, 1 to MaxExtent
}

// Keyring derives data keys. Implementations are safe for concurrent use and never return a key of
// zeros. Errors mean that the data can't be sealed or opened now.
type Keyring interface {
	// Current returns the epoch whose key seals new data of the domain.
	Current(d Domain) (epoch uint32, err error)
	// DataKey returns the 32-byte key of the domain in an epoch.
	DataKey(d Domain, epoch uint32) ([32]byte, error)
}
