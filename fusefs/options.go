package fusefs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"k3fs/fusefs/locks"
	"k3fs/namespace"
)

// Options say what to mount, and where. Dir and FS are required.
type Options struct {
	Dir string          // the mount point, an existing directory
	FS  namespace.Posix // what is mounted

	// Invalidator keeps the kernel's caches true. It must observe what FS shows and be the door of FS
	// (View.Through), so it is made before the mount. Nil if nothing else changes what FS shows.
	Invalidator *Invalidator

	// Locks is the table of file locks, one for all mounts of a daemon. Nil means one of this mount's own.
	Locks *locks.Table

	// Peers are the other mounts of the same files. Nil means that there are none.
	Peers *Peers

	// WriteThrough hands each write(2) to FS at once. Else the kernel gathers small ones (its writeback cache), and
	// trusts its own idea of a file's size and mtime: other mounts see what was written when it is flushed, and
	// this one doesn't see that others changed the size of a file that it knows.
	WriteThrough bool

	Root   namespace.Ino // the directory to show as the root; 0 means FS's own root
	Owners Owners        // whose the files seem to be

	// As returns FS as a user and group of the host may use it, who acts as an account of his own. It is asked at each request.
	// What one may see the kernel then doesn't keep, lest it shows that to another (package comment). Nil: FS for all.
	As func(uid, gid uint32) namespace.Posix
	// Squash is who root is; nil: root, who may do everything. It is asked before As is.
	Squash *Squash

	FSName      string // the source that mount(8) and df(1) show; "" means k3fs
	AllowOther  bool   // let all users in; the kernel checks permission bits either way
	ReadOnly    bool   // mount read-only
	NoAtime     bool   // reading leaves access times alone; else they follow the rule of relatime (mount(8))
	SyncOnClose bool   // close(2) returns when the file is durable, not only published

	// Target is a path to Dir as this process reaches it, such as /proc/self/fd/N of a directory that the one
	// who wants the mount has opened; "" means Dir.
	Target      string
	User, Group int     // who mounts: without AllowOther, who alone gets in; 0 means this process' ids
	Flags       uintptr // further MS_* flags of mount(2), such as MS_NOEXEC; as root
	Suid, Dev   bool    // honour set-id bits, and device nodes; as root

	EntryTTL time.Duration // how long names are cached, absent ones too; 0 means an hour
	AttrTTL  time.Duration // how long attributes are cached; 0 means an hour

	// Readahead of sequential reads in bytes; 0 means 4 MiB. Takes effect when the daemon may write
	// the mount's /sys/class/bdi entry (root), else the kernel's default of 128 KiB holds.
	Readahead int
	// DirtyRatio is how much of the host's dirty page limit, in percent, this mount may fill before
	// writers are slowed; 0 means 2. The kernel begins to write back at a part of it, so a small value
	// makes writing back run beside the writer: 2 was up to twice as fast as 50 (write and fsync of
	// 256 MiB to 2 GiB on a host of 24 GiB). As Readahead, for root.
	DirtyRatio int
	// UnmountGrace is how long Unmount waits for a busy mount before it detaches it; 0 means 3 s.
	UnmountGrace time.Duration

	Logger  *slog.Logger // nil means slog.Default()
	Metrics Metrics      // nil means none
	Pace    Pace         // nil means without limits

	// Draining reports whether no file may be opened or made for a while (EAGAIN); nil means never.
	Draining func() bool
}

// Metrics is told of every request when it has been handled. It is called concurrently.
type Metrics interface {
	Request(Request)
	// Moved says how many bytes of files one request wrote or read.
	Moved(written, read int)
}

// Request is a request of the kernel that was handled.
type Request struct {
	Op     string        // "lookup", "write" ...
	ID     uint64        // the kernel's number of it, which grows within a mount (fuse_in_header.unique)
	Inode  namespace.Ino // what it was about; the directory if it named an entry
	Bytes  int           // that it read or wrote
	Took   time.Duration
	Broken bool // it failed with EIO
	Failed bool // a name that was looked up and is absent is no failure
}

// withDefaults fills in the zero values.
func (o Options) withDefaults() Options {
	if o.FSName == "" {
		o.FSName = "k3fs"
	}
	if o.Peers == nil {
		o.Peers = new(Peers)
	}
	if o.Root == 0 {
		o.Root = namespace.RootIno
	}
	if o.User == 0 && o.Group == 0 {
		o.User, o.Group = os.Geteuid(), os.Getegid()
	}
	if o.EntryTTL == 0 {
		o.EntryTTL = time.Hour
	}
	if o.AttrTTL == 0 {
		o.AttrTTL = time.Hour
	}
	if o.Readahead == 0 {
		o.Readahead = 4 << 20
	}
	if o.DirtyRatio == 0 {
		o.DirtyRatio = 2
	}
	if o.UnmountGrace == 0 {
		o.UnmountGrace = 3 * time.Second
	}
	if o.Invalidator == nil {
		o.Invalidator = NewInvalidator()
	}
	if o.Locks == nil {
		o.Locks = &locks.Table{}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Validate says what is wrong with the options, in words for the one who set them.
func (o Options) Validate() error {
	switch {
	case o.FS == nil:
		return errors.New("fusefs: FS is required")
	case !filepath.IsAbs(o.Dir):
		return fmt.Errorf("fusefs: the mount point %q is not an absolute path", o.Dir)
	case o.EntryTTL < 0 || o.AttrTTL < 0 || o.Readahead < 0 || o.UnmountGrace < 0:
		return errors.New("fusefs: EntryTTL, AttrTTL, Readahead and UnmountGrace can't be negative")
	case o.As != nil && !o.WriteThrough:
		return errors.New("fusefs: a kernel that gathers writes doesn't say whose they are: As needs WriteThrough")
	case o.DirtyRatio < 0 || o.DirtyRatio > 100:
		return errors.New("fusefs: DirtyRatio is a percentage")
	}
	if err := o.Owners.Validate(); err != nil {
		return err
	}
	st, err := os.Stat(o.Dir)
	if err != nil {
		return fmt.Errorf("fusefs: the mount point: %w", err)
	}
	if !st.IsDir() {
		return fmt.Errorf("fusefs: the mount point %q is not a directory", o.Dir)
	}
	return nil
}
