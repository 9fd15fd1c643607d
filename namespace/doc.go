// Package namespace is the one tree that both doors open: inodes, entries, drafts, published contents,
// objects, multipart uploads, and the collection of what nothing refers to any more.
//
// Everything a door may do hangs on FS.As(principal), a *View. Policy (and, in time, quota and
// retention) is asked inside the transaction that makes the change, so no door can forget it. The
// package knows nothing of gin, go-fuse, AWS types or errno: errors are *Error with a Kind, which each
// door translates in one table.
//
// # The tree
//
// Buckets are directories at the root. A key is split at '/' into components; a directory entry's
// record is keyed by parent inode and name, a directory's name carrying a trailing '/', so a walk in
// key order is S3's listing order and the leaf "a" stands beside the directory "a/". Names that POSIX
// can't say are shown under an alias (alias.go).
//
// # Contents, drafts, publication
//
// A content is the immutable map of a file's bytes: inline bytes, or slices of sealed extents. An
// inode has at most one published content, which S3 reads, and at most one draft, which all open
// handles share and POSIX reads. Publication (the last writer's flush) puts the draft in place of the
// published content in one update. What is written is answered from memory and goes to the chunk store
// behind the writer's back (pump.go); fsync and flush wait for it. Extents are reference counted: each
// content holds one reference to each extent that its slices name, so a copy moves no data.
//
// Dropping a content writes an orphan record in the same update that makes it unreachable. The reaper
// takes orphans whose record is durable and which no reader pins, punches extents that nothing else
// refers to, and then removes the records: a crash anywhere in between repeats the work harmlessly.
//
// # Locks, in the order in which they may be taken
//
//	file.mu (one open inode's draft)  <  FS.gate (read-held by FS.view)  <  metastore transaction  <
//	fileTable.mu (inodes with handles), epochs.mu, FS.pinMu (pins)
//
// reaper.lock, held as long as a collection or a backup takes, comes before FS.gate. Only FS.Check takes it within a view of
// the metastore, which no update waits for.
//
// An observer is called with no lock held, or with file.mu of an inode that it does not ask about.
package namespace
