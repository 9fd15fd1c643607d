// Package locks is the table of file locks that all mounts of a daemon share: record locks of fcntl(2),
// which lie on ranges of bytes, and locks of flock(2), which lie on whole files. It owns who holds what and
// who waits for whom. It knows neither FUSE nor files: an inode is a number, and an owner is what the kernel
// of a mount calls one.
//
// # What it promises
//
// The answers of a local Linux file system (fs/locks.c), for owners on any mounts:
//
//   - A record lock replaces what its owner held in the range: parts are split off, upgraded, downgraded,
//     and joined with neighbours of the same mode. A refused change changes nothing.
//   - A flock is changed by giving it up and asking anew, so a refused change loses it (flock(2)).
//   - The two kinds don't see each other.
//   - Who waits is served in the order of arrival, as soon as nothing that is held is in the way. As on
//     Linux a newcomer whom nothing held hinders does not wait for those who do.
//   - A wait for a record lock that would close a circle of processes fails with ErrDeadlock. Waits for
//     flocks, and for locks of open file descriptions, belong to no process, and are not looked at.
//
// Locks live as long as the daemon: like those of a local file system they are not meant to survive.
//
// # Locking
//
// One mutex guards a table. Nothing is called while it is held.
package locks
