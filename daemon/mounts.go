package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"k3fs/daemon/control"
	"k3fs/fusefs"
	"k3fs/namespace"
	"k3fs/tenancy"
)

// maxMounts bounds the mounts that are made on demand.
const maxMounts = 512

// mounts are those that were asked for at the control socket.
type mounts struct {
	d *Daemon

	mu      sync.Mutex
	all     map[string]*demanded // guarded by mu: by mount point
	loose   []*demanded          // guarded by mu: detached, and still in use
	closing bool                 // guarded by mu: what goes now goes because the daemon does
	saving  sync.Mutex           // held while the file of wanted mounts is written; taken before mu
}

// demanded is one of them.
type demanded struct {
	want   wanted
	tenant tenancy.TenantID
	*mount
}

// mount mounts what a caller asks for at the directory that he opened.
func (s *mounts) mount(ctx context.Context, c control.Caller, r control.Request, dir *os.File) (control.Reply, error) {
	if dir == nil {
		return control.Reply{}, control.Errorf(control.Usage, "no directory came with the request")
	}
	if s.d.draining() {
		return control.Reply{}, control.Errorf(control.Failed, "the daemon takes no new mounts at the moment: 'k3fs maintenance undrain' ends that")
	}
	if err := r.Options.Validate(); err != nil {
		return control.Reply{}, err
	}
	if c.AccessKey == "" && !c.Administrator() {
		return control.Reply{}, control.Errorf(control.Denied, "give an access key and its secret: only root mounts without")
	}
	path, err := s.checkDir(c, dir)
	if err != nil {
		return control.Reply{}, err
	}
	want := wanted{Source: r.Source, Dir: path, UID: c.UID, GID: c.GID, AccessKey: c.AccessKey, Options: r.Options}
	if !c.Administrator() {
		if want.Options, err = s.restrict(c, want.Options); err != nil {
			return control.Reply{}, err
		}
	}
	who := c.Who
	if c.AccessKey == "" {
		who = tenancy.Root(tenancy.FirstTenant)
	}
	squashes := s.d.squashUnlessSaid(who, c.UID, &want.Options)
	if err := s.d.mayMap(who, want.Options.Accounts); err != nil {
		return control.Reply{}, err
	}
	warning, err := s.make(ctx, who, want, dir)
	if err != nil {
		return control.Reply{}, err
	}
	s.d.log.Info("mounted", "source", want.Source, "dir", want.Dir, "access_key", want.AccessKey, "uid", want.UID)
	return control.Reply{Dir: path, Warning: joined(warning, squashes)}, s.save()
}

// make mounts at the open directory dir. It returns what the user should know about mounts of the same files.
func (s *mounts) make(ctx context.Context, who tenancy.Principal, want wanted, dir *os.File) (warning string, err error) {
	if err := s.d.stores.tenancy.Allow(who, tenancy.MountAdministrator, tenancy.Resource{Owner: who.Tenant}); err != nil {
		return "", control.Errorf(control.Denied, "the account of access key %q may not mount", want.AccessKey)
	}
	s.d.squashUnlessSaid(who, want.UID, &want.Options) // an older daemon may have kept it
	squash, err := s.d.squash(who, control.Caller{UID: want.UID}.Administrator(), &want.Options)
	if err != nil {
		return "", err
	}
	root, err := findSource(ctx, s.d.ns.As(who), want.Source)
	if err != nil {
		return "", err
	}
	if err := s.reserve(who, want); err != nil {
		return "", err
	}
	warning = s.beside(ctx, who, want)
	o := want.Options
	m, err := s.d.attach(ctx, who, o.Accounts, fusefs.Options{
		Dir: want.Dir, Target: fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), FSName: want.Source, Root: root,
		AllowOther: o.AllowOther, ReadOnly: o.ReadOnly, SyncOnClose: o.SyncOnClose, Owners: o.Owners, WriteThrough: !o.WriteBack,
		User: want.UID, Group: want.GID, Flags: uintptr(o.Flags), Suid: o.Suid, Dev: o.Dev,
		EntryTTL: timeout(o.Entry), AttrTTL: timeout(o.Attr), Squash: squash,
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.all, want.Dir)
		if errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w: %s may be in another mount namespace than the daemon's", err, want.Dir)
		}
		return "", control.Errorf(control.Failed, "%v", err)
	}
	one := s.all[want.Dir]
	one.mount = m
	go s.watch(one)
	return warning, nil
}

// beside makes way for a mount that is about to be made: what others see must be what it sees. It returns, and
// logs, a warning about those for whom that can't be had.
func (s *mounts) beside(ctx context.Context, who tenancy.Principal, want wanted) string {
	var warnings []string
	if own := s.d.own; own != nil && who.Tenant == tenancy.FirstTenant {
		if w := own.share(ctx, s.d, want); w != "" {
			warnings = append(warnings, w)
		}
	}
	s.mu.Lock()
	for _, one := range s.all {
		if one.want.Dir != want.Dir && one.tenant == who.Tenant && overlap(one.want.Source, want.Source) {
			if one.want.Options.WriteBack || want.Options.WriteBack {
				warnings = append(warnings, fmt.Sprintf("%s and %s show the same files, and not both without the option writeback: "+
					"what one changes the other may not see, and appends may overwrite each other", one.want.Dir, want.Dir))
			}
		}
	}
	s.mu.Unlock()
	for _, w := range warnings {
		s.d.log.Warn(w)
	}
	return joined(warnings...)
}

// joined are the warnings that there are.
func joined(warnings ...string) string {
	return strings.Join(slices.DeleteFunc(warnings, func(w string) bool { return w == "" }), "; ")
}

// overlap reports whether one of two sources is in the other.
func overlap(a, b string) bool {
	a, b = path.Clean("/"+a), path.Clean("/"+b)
	return within(a, b) || within(b, a)
}

// timeout is how long the kernel may cache; the door's zero means long.
func timeout(t *time.Duration) time.Duration {
	if t == nil {
		return 0
	}
	return max(*t, time.Nanosecond)
}

// reserve takes the mount point, so that no two requests mount there.
func (s *mounts) reserve(who tenancy.Principal, want wanted) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return control.Errorf(control.Failed, "the daemon is stopping")
	}
	if one := s.all[want.Dir]; one != nil {
		return control.Errorf(control.Busy, "%s is mounted already, from %s", want.Dir, one.want.Source)
	}
	if len(s.all) >= maxMounts {
		return control.Errorf(control.Failed, "there are %d mounts already", maxMounts)
	}
	s.all[want.Dir] = &demanded{want: want, tenant: who.Tenant}
	return nil
}

// watch forgets a mount that has gone. One that somebody else took away is not wanted any more.
func (s *mounts) watch(one *demanded) {
	one.door.Wait()
	one.unwatch()
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return
	}
	s.forget(one)
	s.mu.Unlock()
	s.d.log.Info("unmounted", "source", one.want.Source, "dir", one.want.Dir)
	if err := s.save(); err != nil {
		s.d.log.Warn("the list of mounts could not be kept: a restart may mount again what was unmounted", "err", err)
	}
}

// forget takes a mount off the lists. s.mu must be held.
func (s *mounts) forget(one *demanded) {
	if s.all[one.want.Dir] == one {
		delete(s.all, one.want.Dir)
	}
	s.loose = slices.DeleteFunc(s.loose, func(x *demanded) bool { return x == one })
}

// umount unmounts one of the mounts on behalf of who made it, or of an administrator.
func (s *mounts) umount(ctx context.Context, c control.Caller, r control.Request) (control.Reply, error) {
	s.mu.Lock()
	one := s.all[r.Dir]
	if one != nil && one.mount == nil {
		one = nil // is being made
	}
	s.mu.Unlock()
	switch {
	case one == nil && r.Dir != "" && r.Dir == s.d.cfg.Mount.Point:
		return control.Reply{}, control.Errorf(control.Denied, "%s is the daemon's own mount: it goes when the daemon stops", r.Dir)
	case one == nil:
		return control.Reply{}, control.Errorf(control.Absent, "this daemon has mounted nothing at %s", r.Dir)
	case !c.Administrator() && c.UID != one.want.UID:
		return control.Reply{}, control.Errorf(control.Denied, "%s was mounted by user %d", r.Dir, one.want.UID)
	}
	if err := one.door.Release(r.Lazy); err != nil {
		if errors.Is(err, unix.EBUSY) {
			return control.Reply{}, control.Errorf(control.Busy, "%s is in use", r.Dir)
		}
		return control.Reply{}, control.Errorf(control.Failed, "%v", err)
	}
	s.mu.Lock()
	s.forget(one)
	select {
	case <-one.door.Done():
	default:
		s.loose = append(s.loose, one)
	}
	s.mu.Unlock()
	return control.Reply{Dir: r.Dir}, s.save()
}

// close unmounts all of them, until ctx ends. They stay wanted.
func (s *mounts) close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	all := slices.Clone(s.loose)
	for _, one := range s.all {
		if one.mount != nil {
			all = append(all, one)
		}
	}
	s.mu.Unlock()
	errs := make([]error, len(all))
	var closing sync.WaitGroup
	for i, one := range all {
		closing.Go(func() { errs[i] = one.mount.close(ctx) })
	}
	closing.Wait()
	return errors.Join(errs...)
}

// live are those that there are.
func (s *mounts) live() (all []*mount) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one.mount != nil {
			all = append(all, one.mount)
		}
	}
	for _, one := range s.loose {
		all = append(all, one.mount)
	}
	return all
}

// findSource is the directory that BUCKET or BUCKET/PREFIX names; "/" names the one of all buckets.
func findSource(ctx context.Context, view namespace.Posix, source string) (namespace.Ino, error) {
	at := namespace.RootIno
	if strings.Trim(source, "/") == "" {
		if source == "" {
			return 0, control.Errorf(control.Usage, "no bucket given")
		}
		return at, nil
	}
	words := strings.Split(strings.TrimRight(source, "/"), "/")
	for i, word := range words {
		if word == "" || word == "." || word == ".." || strings.ContainsFunc(source, func(r rune) bool { return r < ' ' }) {
			return 0, control.Errorf(control.Usage, "%q is not BUCKET or BUCKET/PREFIX", source)
		}
		a, err := view.Lookup(ctx, at, word)
		var e *namespace.Error
		absent := errors.As(err, &e) && (e.Kind == namespace.NotFound || e.Kind == namespace.NoBucket || e.Kind == namespace.InvalidName)
		switch {
		case absent && i == 0:
			return 0, control.Errorf(control.Absent, "there is no bucket %q", word)
		case absent || err == nil && a.Type != namespace.Dir:
			return 0, control.Errorf(control.Absent, "bucket %q has no directory %q: make it first", words[0], strings.Join(words[1:i+1], "/"))
		case err != nil:
			return 0, err
		}
		at = a.Ino
	}
	return at, nil
}

// restrict is what somebody who does not administer the host may have: a mount that only he can enter and that
// seems to be his.
func (s *mounts) restrict(c control.Caller, o control.Options) (control.Options, error) {
	uid, gid := uint32(c.UID), uint32(c.GID)
	own := &o.Owners
	switch {
	case o.AllowOther && !s.d.cfg.Mount.UserAllowOther:
		return o, control.Errorf(control.Denied, "allow_other is for root, unless the daemon has mount.user_allow_other")
	case o.Suid || o.Dev:
		return o, control.Errorf(control.Denied, "suid and dev are for root")
	case len(own.UIDs) > 0 || len(own.GIDs) > 0:
		return o, control.Errorf(control.Denied, "uidmap and gidmap are for root")
	case own.UID != nil && *own.UID != uid || own.GID != nil && *own.GID != gid:
		return o, control.Errorf(control.Denied, "uid and gid of others are for root")
	}
	own.UID, own.GID = &uid, &gid
	return o, nil
}

// pseudo are file systems whose directories may be owned by users and are not to be mounted on by them.
var pseudo = []int64{unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC,
	unix.DEVPTS_SUPER_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.BPF_FS_MAGIC, unix.SELINUX_MAGIC}

// checkDir says whether the caller may mount on the directory that he opened, and what it is called.
func (s *mounts) checkDir(c control.Caller, dir *os.File) (string, error) {
	fd := int(dir.Fd())
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Fstat(fd, &st), unix.Fstatfs(fd, &fs)); err != nil {
		return "", control.Errorf(control.Failed, "the mount point: %v", err)
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	switch {
	case err != nil:
		return "", control.Errorf(control.Failed, "the mount point: %v", err)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR || !filepath.IsAbs(path):
		return "", control.Errorf(control.Usage, "%s is not a directory", path)
	case within(s.d.cfg.Data, path) || within(path, s.d.cfg.Data):
		return "", control.Errorf(control.Usage, "%s and the data directory of the daemon must not contain each other", path)
	case c.Administrator():
		return path, nil
	case int(st.Uid) != c.UID:
		return "", control.Errorf(control.Denied, "%s does not belong to you", path)
	case slices.Contains(pseudo, int64(fs.Type)):
		return "", control.Errorf(control.Denied, "only root mounts on a file system like that of %s", path)
	}
	return path, nil
}
