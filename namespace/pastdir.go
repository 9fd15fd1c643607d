package namespace

import (
	"context"
	"fmt"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// mounted is a View as a mount shows it. Methods that it does not have here take no inode that could be made up, or
// find that there is no such inode.
type mounted struct{ *View }

var _ Posix = mounted{}

// Mounted is the view as a mount shows it: with the past of its directories.
func (v *View) Mounted() Posix { return mounted{v} }

// Lookup implements Posix.
func (m mounted) Lookup(ctx context.Context, parent Ino, name string) (a Attr, err error) {
	if !parent.MadeUp() {
		a, err = m.View.Lookup(ctx, parent, name)
		if name != PastName || parent == RootIno || !isKind(err, NotFound) {
			return a, err
		}
	}
	err = m.fs.kv.View(ctx, func(r metastore.Reader) (err error) {
		if !parent.MadeUp() {
			a, err = m.enter(r, parent)
			return err
		}
		p, err := m.past(r, parent)
		if err != nil {
			return err
		}
		a, err = m.lookup(r, p, name)
		return err
	})
	return a, fail("lookup", name, err)
}

// enter finds the past of a directory.
func (m mounted) enter(r metastore.Reader, dir Ino) (Attr, error) {
	n, err := m.dir(r, dir, tenancy.ListBucketVersions)
	if err != nil {
		return Attr{}, err
	}
	s, err := m.fs.settingsOf(r, Ino(n.Bucket))
	if err != nil {
		return Attr{}, err
	}
	if versioningOf(s) == unversioned {
		return Attr{}, of(NotFound)
	}
	_, base, err := keyOf(r, n)
	if err != nil {
		return Attr{}, err
	}
	return m.attrOf(r, past{of: dir, bucket: Ino(n.Bucket), top: true, base: base, below: base})
}

// past is the directory that a number means, if the view may see it.
func (m mounted) past(r metastore.Reader, ino Ino) (past, error) {
	p, err := m.fs.pasts.find(ino)
	if err == nil {
		_, err = m.dir(r, p.bucket, tenancy.ListBucketVersions)
	}
	return p, err
}

func (m mounted) lookup(r metastore.Reader, p past, name string) (Attr, error) {
	if err := checkName(name); err != nil {
		return Attr{}, err
	}
	if p.top {
		if name != versionsName {
			return Attr{}, of(NotFound)
		}
		p.top = false
		return m.attrOf(r, p)
	}
	ino, err := p.version(r, name)
	if err != nil {
		return Attr{}, err
	}
	if ino != 0 {
		n, err := m.inode(r, ino, tenancy.ListBucketVersions)
		if err != nil {
			return Attr{}, err
		}
		return n.attr(ino), nil
	}
	c, err := p.child(r, name)
	if err != nil {
		return Attr{}, err
	}
	return m.attrOf(r, p.step(c))
}

// attrOf are the attributes of a directory that is made up. Nobody finds names in it that its model, the directory
// that is or was there, would not show him.
func (m mounted) attrOf(r metastore.Reader, p past) (Attr, error) {
	bucket, err := getInode(r, p.bucket)
	if err != nil {
		return Attr{}, err
	}
	model, err := p.model(r)
	if err != nil {
		return Attr{}, err
	}
	a := bucket.attr(m.fs.pasts.number(p))
	a.Type, a.Nlink, a.Size, a.Blocks, a.Flags, a.Rdev = Dir, 2, 0, 0, 0, 0
	a.Mode = 0o500
	if model != nil {
		a.UID, a.GID = model.UID, model.GID
		if a.Mode = model.Mode & 0o555; model.ACL != nil {
			a.Mode &= 0o500
		}
	}
	if a.Parent = p.of; !p.top {
		a.Parent = m.fs.pasts.number(p.up())
	}
	return a, nil
}

// model is the directory whose names it shows: for the versions of a file, the one that the file is in; nil if it is
// gone.
func (p past) model(r metastore.Reader) (*inodeRec, error) {
	b := bucketDir{ino: p.bucket}
	for {
		if p.below == "" {
			return getInode(r, p.bucket)
		}
		o, err := findObject(r, &b, p.below)
		if err != nil || o.rec != nil {
			return o.rec, err
		}
		deep, err := p.deep(r)
		if err != nil || deep || p.root() {
			return nil, err
		}
		p = p.up()
	}
}

// GetAttr implements Posix.
func (m mounted) GetAttr(ctx context.Context, ino Ino) (a Attr, err error) {
	if !ino.MadeUp() {
		return m.View.GetAttr(ctx, ino)
	}
	err = m.fs.kv.View(ctx, func(r metastore.Reader) error {
		p, err := m.past(r, ino)
		if err == nil {
			a, err = m.attrOf(r, p)
		}
		return err
	})
	return a, fail("getattr", "", err)
}

// ReadDir implements Posix.
func (m mounted) ReadDir(ctx context.Context, dir Ino, cookie string, limit int, plus bool) (entries []DirEntry, err error) {
	if !dir.MadeUp() || limit <= 0 {
		return m.View.ReadDir(ctx, dir, cookie, limit, plus)
	}
	err = m.fs.kv.View(ctx, func(r metastore.Reader) error {
		p, err := m.past(r, dir)
		if err == nil {
			l := pastLister{m: m, r: r, p: p, cookie: cookie, limit: limit, plus: plus}
			entries, err = l.list()
		}
		return err
	})
	return entries, fail("readdir", "", err)
}

// pastLister reads a page of a directory that is made up. First come the versions of its own keys, then the names.
// Cookies are a digit, and for a version what its record's key ends with, for a name that as it is stored.
type pastLister struct {
	m      mounted
	r      metastore.Reader
	p      past
	cookie string
	limit  int
	plus   bool
	out    []DirEntry
}

const pastNames = "2" // begins the cookies of names

func (l *pastLister) list() ([]DirEntry, error) {
	if l.p.top {
		if l.cookie != "" {
			return nil, nil
		}
		down := l.p
		down.top = false
		return l.out, l.addDir(versionsName, pastNames, down)
	}
	for i, k := range l.p.own() {
		if len(l.out) == l.limit {
			return l.out, nil
		}
		if err := l.versions(k, string(rune('0'+i))); err != nil {
			return nil, err
		}
	}
	after := ""
	if len(l.cookie) > 0 && l.cookie[:1] == pastNames {
		after = l.cookie[1:]
	}
	if len(l.out) == l.limit {
		return l.out, nil
	}
	err := l.p.components(l.r, after, func(stored string) (bool, error) {
		c := component(stored)
		err := l.addDir(pastAlias(c), pastNames+stored, l.p.step(c))
		return len(l.out) < l.limit, err
	})
	return l.out, err
}

func (l *pastLister) addDir(name, cookie string, p past) error {
	d := DirEntry{Name: name, Cookie: cookie, Type: Dir}
	if l.plus {
		a, err := l.m.attrOf(l.r, p)
		if err != nil {
			return err
		}
		d.Attr = &a
	}
	d.Ino = l.m.fs.pasts.number(p)
	l.out = append(l.out, d)
	return nil
}

// versions adds the older versions of a key whose cookies begin with a digit.
func (l *pastLister) versions(k, digit string) error {
	prefix := historyKey(l.p.bucket, k)
	rg := prefixRange(prefix, l.limit)
	switch {
	case l.cookie == "" || l.cookie[:1] < digit:
	case l.cookie[:1] > digit:
		return nil
	default:
		rg.From = append(append(historyKey(l.p.bucket, k), l.cookie[1:]...), 0)
	}
	var found []DirEntry
	err := l.r.Scan(rg, func(k, value []byte) (bool, error) {
		var rec versionRec
		if _, err := rec.UnmarshalMsg(value); err != nil {
			return false, fmt.Errorf("%w: a version: %w", metastore.ErrCorrupt, err)
		}
		if rec.Ino != 0 {
			found = append(found, DirEntry{Name: shownID(rec.ID), Cookie: digit + string(k[len(prefix):]), Ino: Ino(rec.Ino), Type: File})
		}
		return len(l.out)+len(found) < l.limit, nil
	})
	for i := 0; i < len(found) && err == nil; i++ {
		_, err = l.m.complete(l.r, l.p.of, &found[i], l.plus)
	}
	l.out = append(l.out, found...)
	return err
}

// pastMade refuses to change what is made up.
func pastMade(op, name string, inos ...Ino) error {
	for _, i := range inos {
		if i.MadeUp() {
			return fail(op, name, of(ReadOnly))
		}
	}
	return nil
}

// SetAttr implements Posix.
func (m mounted) SetAttr(ctx context.Context, ino Ino, s SetAttr) (Attr, error) {
	if err := pastMade("setattr", "", ino); err != nil {
		return Attr{}, err
	}
	return m.View.SetAttr(ctx, ino, s)
}

// Accessed implements Posix.
func (m mounted) Accessed(ctx context.Context, ino Ino) (bool, error) {
	if ino.MadeUp() {
		return false, nil
	}
	return m.View.Accessed(ctx, ino)
}

// Mkdir implements Posix.
func (m mounted) Mkdir(ctx context.Context, parent Ino, name string, n NewNode) (Attr, error) {
	if err := pastMade("mkdir", name, parent); err != nil {
		return Attr{}, err
	}
	return m.View.Mkdir(ctx, parent, name, n)
}

// Mknod implements Posix.
func (m mounted) Mknod(ctx context.Context, parent Ino, name string, n NewNode) (Attr, error) {
	if err := pastMade("mknod", name, parent); err != nil {
		return Attr{}, err
	}
	return m.View.Mknod(ctx, parent, name, n)
}

// Symlink implements Posix.
func (m mounted) Symlink(ctx context.Context, parent Ino, name, target string, n NewNode) (Attr, error) {
	if err := pastMade("symlink", name, parent); err != nil {
		return Attr{}, err
	}
	return m.View.Symlink(ctx, parent, name, target, n)
}

// Link implements Posix.
func (m mounted) Link(ctx context.Context, ino, parent Ino, name string) (Attr, error) {
	if err := pastMade("link", name, ino, parent); err != nil {
		return Attr{}, err
	}
	return m.View.Link(ctx, ino, parent, name)
}

// Unlink implements Posix.
func (m mounted) Unlink(ctx context.Context, parent Ino, name string) error {
	if err := pastMade("unlink", name, parent); err != nil {
		return err
	}
	return m.View.Unlink(ctx, parent, name)
}

// Rmdir implements Posix.
func (m mounted) Rmdir(ctx context.Context, parent Ino, name string) error {
	if err := pastMade("rmdir", name, parent); err != nil {
		return err
	}
	return m.View.Rmdir(ctx, parent, name)
}

// Rename implements Posix.
func (m mounted) Rename(ctx context.Context, parent Ino, name string, newParent Ino, newName string, f RenameFlags) error {
	if err := pastMade("rename", name, parent, newParent); err != nil {
		return err
	}
	return m.View.Rename(ctx, parent, name, newParent, newName, f)
}

// Create implements Posix.
func (m mounted) Create(ctx context.Context, parent Ino, name string, n NewNode, f OpenFlags) (Attr, FileHandle, error) {
	if err := pastMade("create", name, parent); err != nil {
		return Attr{}, nil, err
	}
	return m.View.Create(ctx, parent, name, n, f)
}

// Tmpfile implements Posix.
func (m mounted) Tmpfile(ctx context.Context, dir Ino, n NewNode, f OpenFlags) (Attr, FileHandle, error) {
	if err := pastMade("tmpfile", "", dir); err != nil {
		return Attr{}, nil, err
	}
	return m.View.Tmpfile(ctx, dir, n, f)
}

// GetXattr implements Posix.
func (m mounted) GetXattr(ctx context.Context, ino Ino, name string) ([]byte, error) {
	if ino.MadeUp() {
		return nil, fail("getxattr", name, of(NoAttr))
	}
	return m.View.GetXattr(ctx, ino, name)
}

// ListXattr implements Posix.
func (m mounted) ListXattr(ctx context.Context, ino Ino) ([]string, error) {
	if ino.MadeUp() {
		return nil, nil
	}
	return m.View.ListXattr(ctx, ino)
}

// SetXattr implements Posix.
func (m mounted) SetXattr(ctx context.Context, ino Ino, name string, value []byte, f XattrFlags) error {
	if err := pastMade("setxattr", name, ino); err != nil {
		return err
	}
	return m.View.SetXattr(ctx, ino, name, value, f)
}

// RemoveXattr implements Posix.
func (m mounted) RemoveXattr(ctx context.Context, ino Ino, name string) error {
	if err := pastMade("removexattr", name, ino); err != nil {
		return err
	}
	return m.View.RemoveXattr(ctx, ino, name)
}

// StatFS implements Posix.
func (m mounted) StatFS(ctx context.Context, ino Ino) (StatFS, error) {
	if ino.MadeUp() {
		p, err := m.fs.pasts.find(ino)
		if err != nil {
			return StatFS{}, fail("statfs", "", err)
		}
		ino = p.of
	}
	return m.View.StatFS(ctx, ino)
}

// SyncDir implements Posix.
func (m mounted) SyncDir(ctx context.Context, dir Ino) error {
	if dir.MadeUp() {
		return nil
	}
	return m.View.SyncDir(ctx, dir)
}
