// Package daemon is k3fs as a running service: it reads the configuration, opens the stores in order,
// opens the doors on them, watches them, and closes everything again. It owns wiring, lifecycle, the
// system clock, health and metrics, and is the only package that reads flags, files and environment. It
// holds no rule of the domain.
//
// # Order
//
// Opened top down, closed bottom up:
//
//	lock on the data directory
//	master key
//	metastore (its Barrier is the chunk store's Sync)
//	tenancy, which is the chunk store's keyring
//	chunk store
//	namespace, which recovers
//	admin listener
//	mount
//	S3 listener
//
// # Stopping
//
// Run ends when its context does (SIGTERM): the doors stop accepting, running requests get a deadline,
// the mount is flushed and unmounted, drafts are published, everything is made durable. It also ends,
// with an error, when a store stopped after a failed write: nothing is acknowledged from then on, and
// only a restart shows what the disk really holds.
//
// # Locks
//
// The only lock is that of the health cache, a leaf.
package daemon
