package fusefs

import (
	"github.com/hanwen/go-fuse/v2/fuse"

	"k3fs/namespace"
)

// actor is who a request acts as: a user of the host, and the file system as he may use it.
type actor struct {
	namespace.Posix
	uid, gid uint32
	squashed bool // he was root
}

// actor says who a request acts as. What goes through an open file acts as who opened it, and asks for none.
func (d *door) actor(in *fuse.InHeader) actor {
	a := actor{Posix: d.fs, uid: in.Uid, gid: in.Gid}
	if s := d.opts.Squash; s != nil {
		if a.squashed = a.uid == 0; a.squashed {
			a.uid, a.gid = s.UID, s.GID
		}
		if a.gid == 0 {
			a.gid = s.GID
		}
	}
	if d.opts.As != nil {
		o := d.opts
		o.FS = d.opts.As(a.uid, a.gid)
		a.Posix = through(o)
	}
	if a.squashed {
		a.Posix = &squashed{fs: a.Posix, uid: a.uid, gid: a.gid, root: d.opts.Root}
	}
	return a
}

// node says how a request of the actor wants a new inode to be.
func (a *actor) node(mode, umask uint32) namespace.NewNode {
	return namespace.NewNode{Mode: mode & 07777, Umask: umask, UID: a.uid, GID: a.gid}
}

// refusedDir is a directory that a lookup found and must not show. Were the answer an error, the kernel would drop the
// name from its cache, and with it the working directories of others and what is mounted there. So it is told
// what it knows, for no time: it asks for the attributes next, as the same user, and is refused. Only statx(2) with AT_STATX_DONT_SYNC shows him these.
func (d *door) refusedDir(a *actor, parent namespace.Ino, name string, err error) (namespace.Attr, bool) {
	if d.opts.As == nil && !a.squashed || kindOf(err) != namespace.Access {
		return namespace.Attr{}, false
	}
	found, err := d.fs.Lookup(background, parent, name)
	return found, err == nil && found.Type == namespace.Dir
}

// mayKeep reports whether the kernel may keep the attributes of an inode. Where users of a mount act as several accounts it keeps
// nothing, since what it keeps it shows to all of them.
func (d *door) mayKeep(since uint64, ino namespace.Ino) bool {
	return d.opts.As == nil && !ino.MadeUp() && d.inv.inodeFresh(since, ino)
}
