// Package metastore is the ordered key-value contract on which every k3fs record rests.
//
// It owns ordered keys, serializable transactions, retry, group commit and durability. It knows
// nothing of inodes, tenants or objects. The interface is kept narrow on purpose, so that an existing
// distributed engine can stand behind it; badgerkv is the engine of a node, memkv the one of tests,
// and kvtest the suite that both (and any later engine) pass.
//
// # Isolation
//
// Update is serializable, scans included: a transaction that scanned a range conflicts with one that
// put a key into it, so "remove if empty" and "create inside" can never both commit. A View sees one
// consistent state, the newest one at the moment it began.
//
// # Durability
//
// A committed update is visible at once. Commits become durable in commit order and whole: after a
// crash the store holds exactly a prefix of its commit history, never less than what was promised. A
// Durable update returns only when itself, and everything that it read, is durable, also when it
// wrote nothing. An Ordered update is durable with the next Durable one, with Sync, or within a
// second.
package metastore

import (
	"context"
	"errors"
)

// Errors that every engine returns, to be tested with errors.Is.
var (
	// ErrNotFound: the key has no value. It is never returned for a value that exists and can't be
	// read: that is ErrCorrupt.
	ErrNotFound = errors.New("metastore: key not found")
	// ErrCorrupt: stored bytes failed their authentication, or the store holds less than its anchor.
	ErrCorrupt = errors.New("metastore: stored data is corrupt")
	// ErrTooBig: one update exceeds MaxUpdateBytes or MaxUpdateKeys; do it in slices, by an intent.
	ErrTooBig = errors.New("metastore: update too big")
	// ErrFull: free space is below the low-water mark; only updates of Reclaim may pass.
	ErrFull = errors.New("metastore: no space left")
	// ErrStopped: an earlier write or sync failed. Nothing is acknowledged until the store is reopened.
	ErrStopped = errors.New("metastore: stopped after a failed write")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("metastore: closed")
	// ErrExceeded: a counter would grow beyond the bound that Add was given.
	ErrExceeded = errors.New("metastore: counter exceeds its bound")
)

// Limits of one update, the same for every engine so that code tested on memkv fits badgerkv.
const (
	MaxKeyBytes    = 4 << 10  // of a key
	MaxValueBytes  = 64 << 10 // of a value
	MaxUpdateKeys  = 8 << 10  // writes in one update
	MaxUpdateBytes = 1 << 20  // keys and values of one update, in bytes
)

// Durability says when an update may be acknowledged.
type Durability uint8

const (
	// Ordered updates are visible at once and durable soon (POSIX create, mkdir, rename).
	Ordered Durability = iota
	// Durable updates are on the disk when Update returns (S3 writes, fsync).
	Durable
	// Reclaim is Ordered, and also passes below the low-water mark: only for updates that free space.
	Reclaim
	// DurableReclaim is Durable, and passes below the low-water mark.
	DurableReclaim
)

// Range is a half-open interval of keys, walked in ascending bytewise order.
type Range struct {
	From, To []byte // To is exclusive; nil means without an upper bound
	Page     int    // how many pairs the caller expects to need; 0 means unknown. A hint.
	KeysOnly bool   // the callback gets nil values
}

// Reader is a consistent view. It is valid only inside the function it was given to, and may be used
// by one goroutine at a time.
type Reader interface {
	// Get returns the value of key, or ErrNotFound. The value is the caller's to keep, not to modify.
	Get(key []byte) ([]byte, error)
	// Scan calls fn for each pair of r in order, until fn returns false or an error. The slices given
	// to fn are valid only during the call. fn may call Get and Scan.
	Scan(r Range, fn func(key, value []byte) (more bool, err error)) error
}

// Txn is a Reader that also sees its own writes.
type Txn interface {
	Reader
	// Set stores value under key. Both slices may be reused by the caller once Set returned.
	Set(key, value []byte) error
	// Delete removes key; removing a key that is absent is no error.
	Delete(key []byte) error
	// Add adds delta to the counter under key when the update commits. A counter that is absent is 0, and one
	// that becomes 0 is absent. Adding depends on nothing: updates that add to one counter never conflict with
	// each other, while one that read it with Get conflicts with them. If delta is positive, the counter is
	// never more than bound when the update has committed: ErrExceeded if it would be. A key that is added to
	// can't be set, deleted or read with Get in the same update.
	Add(key []byte, delta, bound int64) error
	// Count returns the counter under key, with what this update adds to it. It may be outdated when the
	// update commits, since reading it so makes the update depend on nothing.
	Count(key []byte) (int64, error)
}

// Store is an ordered, transactional, durable map.
type Store interface {
	// View runs fn on one consistent state and returns fn's error.
	View(ctx context.Context, fn func(Reader) error) error
	// Update runs fn, and commits what it wrote when it returns nil. fn may run several times, so it
	// must have no side effects but on its own captured results, which it must reset when it starts.
	// Conflicts are retried inside: nil means committed (to the given durability), an error means that
	// nothing was. A context that ends during the wait for durability returns its error although the
	// commit stands and will become durable in its turn.
	Update(ctx context.Context, d Durability, fn func(Txn) error) error
	// Sync returns once every update committed before the call is durable.
	Sync(ctx context.Context) error
	// Close makes everything durable and releases the store.
	Close() error
}
