// Package fusefs is the POSIX door: it mounts a namespace.Posix with FUSE.
//
// It owns translation only: FUSE requests into calls of a namespace.Posix, Kinds into errnos
// (errno.go), and the truth of the kernel's caches (invalidate.go). A node id is an inode number, so
// there is no table of nodes and FORGET costs nothing. It knows no rules, and no other door.
//
// # Data path
//
// Requests carry up to 1 MiB. The kernel's writeback cache holds what applications write until it is
// flushed, so a draft gets large writes whatever the application's size of write is. With that cache
// the kernel is the authority on size and mtime of an open file and handles O_APPEND; every handle is
// opened for reading too, since a partial page is read before it is written. Pages survive a close
// (FOPEN_KEEP_CACHE): bytes never change under an inode but through this mount, because an S3
// overwrite is a new inode. HANDLE_KILLPRIV_V2 spares a getxattr before each small write; the set-id
// bits are then cleared by us (SetAttr.KillPriv) on a write that says so, on truncation, and on chown.
// The kernel checks access lists (POSIX_ACL), and forgets one that it caches when it is told that the
// inode's attributes changed; what a new file inherits is the namespace's to decide, so the umask comes
// along unapplied (DONT_MASK). No request makes a host file, so the daemon's own umask never matters. Of flags
// (chattr) the kernel knows nothing but who may set them: all that they forbid is refused by the
// namespace. Locks of files are the daemon's (package locks), since all mounts share them; those of directories,
// for which the kernel asks nobody, are of one mount.
//
// SEEK_DATA and SEEK_HOLE look at what the daemon has, so dirty pages of a file that is open for
// writing are first written back (door.Lseek); a hole is never reported where data is on its way.
//
// # Caches that stay true
//
// Entries, absent names, attributes and symbolic links, but no listings, are cached by the kernel for an
// hour. A change made through another door must not be hidden by them once that door has answered.
// Changes through this mount are the kernel's own and are not told to us. The rule:
//
//  1. Changing (before the commit) and Changed (after it) mark the entries and inodes concerned with a
//     number from a growing sequence. A request notes the sequence when it begins. If, when its reply
//     is made, what it speaks of carries a later mark, the reply is not to be cached (lifetime 0). This
//     holds for directory pages read ahead too, which remember the number at their reading.
//  2. Changed then notifies the kernel, entries first, inodes after.
//
// Why that suffices: a reply computed from the old state was begun before the commit. If it is made
// after Changed's mark, it has lifetime 0. Else it is on its way to the kernel while we notify. A
// lookup or directory read holds the directory's lock (i_rwsem) until the kernel has applied the reply,
// and an entry notification takes that lock exclusively, so it comes after. A revalidating lookup does
// not hold it, but the notification unhashes its dentry, so nobody finds what it refreshes. An
// attribute reply loses against an inode notification, because that raises the inode's attribute
// version above the one that the request took. What remains is an inode that the kernel is just about to
// learn of, for which a notification finds nothing to do, the reply of a SETATTR, which the kernel
// applies without comparing versions, and links, which it counts itself: in these cases the inode notification is
// repeated once, a moment later.
//
// Notifications block on locks that the kernel holds while it waits for our replies. So Changed must be
// called with no lock held that a request needs, and is never called from a request of the same mount.
//
// # Several mounts
//
// Each mount has its own Invalidator, which hears of what the others change in names and attributes (as of what S3
// changes), and Peers tell of bytes. While there are several, what is opened for writing is not cached (FOPEN_DIRECT_IO): a
// write through the cache holds the locks of its pages until it is answered, so two that share a page could not both have
// the other's kernel forget it before that. What remains cached are the pages of readers, and of mmap. A mount whose root is a directory, or that shows other owners, looks at FS
// through a window (window.go). That two mounts never wait for each other's kernels for ever is in waits.go.
//
// # Users
//
// All users act as FS does, unless Options.As gives each a file system of his own. Then nothing may be cached that one sees and
// another may not: names, attributes, access lists and links have no lifetime, and pages are guarded by the
// open that precedes reading them (actor.go). Squashed root is checked here, since the kernel doesn't (squash.go).
//
// # Interrupts
//
// Any signal makes the kernel send INTERRUPT, also one that the program handles without noticing (the Go
// runtime preempts goroutines so). What waits for a lock gives up then, as on any file system. Nothing else
// does: programs don't expect EINTR from open, rename or close of a disk's file, many not from fsync either, and
// a publication must not be lost. But the kernel keeps a thread whose request we have until we answer, even one
// that is being killed. So what waits for the disk at length (fsync, and the publication at close) is answered
// when its thread has a fatal signal, and goes on by itself (interrupt.go); RELEASE waits for its end. Reading and
// writing through the kernel's cache can be killed without us: the kernel waits for its pages, not for a request.
// What remains is as uninterruptible as on a disk's file system: a single request of direct I/O, and of metadata.
//
// # Locks, in the order in which they may be taken
//
//	dir.mu  <  table.mu, writers.mu, leases.mu, Invalidator.mu, Peers.mu, waits.mu
//
// No lock but dir.mu is held while the namespace is called.
package fusefs
