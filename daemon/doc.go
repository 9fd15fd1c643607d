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
//	mount, and the mounts that were asked for in an earlier run (wanted.go)
//	S3 listener
//	control sockets, at which mounts are asked for (mounts.go)
//
// # Stopping
//
// Run ends when its context does (SIGTERM), within one deadline for all of it (stop.go): scrub and backup are broken off (jobs.go), both doors stop
// accepting at once, running requests get a part of the time and are then cut off, the mount is flushed and
// unmounted, or detached if somebody uses it, what it left open is published, everything is made durable.
// What does not end in its part of the time is left behind, so that what acknowledged changes depend on
// is always done. Run also ends, with an error, when a store stopped after a failed write: nothing is
// acknowledged from then on, and only a restart shows what the disk really holds.
//
// # Locks
//
// Those of the health cache, of the count of running requests, of the mounts, of a mount's actors and of a job, all leaves; the one that
// serializes writing the list of mounts is taken before the one of the mounts, and those of what scrub and backup found
// before the ones of jobs and of a job. locked.rotating is held during I/O, and by a backup until its moment has come; locked.mu comes after it.
package daemon
