package namespace

import (
	"context"
	"errors"
	"slices"
	"strings"

	"k3fs/metastore"
	"k3fs/tenancy"
)

// Refusal is the cause of an error by which a lock or a hold protects data: the error's kind is NotPermitted, so
// that both doors answer as they do to all that is never allowed.
type Refusal struct {
	Bucket, Key string
	Why         string // "under hold h-0123456789abcdef"
}

func (e *Refusal) Error() string { return e.Why }

// refusalOf is the refusal behind an error; nil if another reason is.
func refusalOf(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return nil
}

// permit asks all rules, inside the update that is about to act on an inode: its flags, and the locks and holds
// on it.
func (t *txn) permit(ino Ino, n *inodeRec, a act) error { return t.fs.permit(t, ino, n, a, t.bypass) }

func (fs *FS) permit(r metastore.Reader, ino Ino, n *inodeRec, a act, bypass bool) error {
	if fs.erased(tenancy.TenantID(n.Owner)) {
		return nil // there is nothing left that anybody could read
	}
	if err := n.permit(a); err != nil {
		return err
	}
	return fs.unlocked(r, ino, n, a, bypass)
}

// unlocked asks the rule of locks and holds. Without either it costs a look into memory.
func (fs *FS) unlocked(r metastore.Reader, ino Ino, n *inodeRec, a act, bypass bool) error {
	if fs.erased(tenancy.TenantID(n.Owner)) {
		return nil
	}
	p, err := fs.protection(r, ino, n)
	if err != nil || p == nil {
		return err
	}
	if a == actWrite || a == actAppend || a == actSetattr || a == actDescribe {
		fs.stillMaking(p, n)
	}
	return fs.refuse(r, ino, n, p.refuses(a, fs.trusted(), bypass))
}

// refuse is the error of a refusal; nil if why is empty.
func (fs *FS) refuse(r metastore.Reader, ino Ino, n *inodeRec, why string) error {
	if why == "" {
		return nil
	}
	e := &Refusal{Why: why}
	if names, err := namesOf(r, ino, n); err == nil && len(names) > 0 {
		e.Bucket, e.Key = names[0].bucket, names[0].key
	}
	return &Error{Kind: NotPermitted, Err: e}
}

// unlocked asks the rule of locks and holds about an inode whose record was read, for a call that is no update.
func (v *View) unlocked(ctx context.Context, ino Ino, n *inodeRec, a act) error {
	if n.Lock == nil && !v.fs.holding.may(tenancy.TenantID(n.Owner)) {
		return nil
	}
	return v.refused("", v.fs.kv.View(ctx, func(r metastore.Reader) error { return v.fs.unlocked(r, ino, n, a, false) }))
}

// stillMaking passes over the holds that were there when a file's first content was published, as long as the
// writer that made it has not closed it: each close of a duplicated descriptor publishes what is there by then,
// and "(date; date) > file" is to work where new files are held.
func (fs *FS) stillMaking(p *protection, n *inodeRec) {
	if len(p.holds) == 0 || n.Published == nil {
		return
	}
	if _, making := fs.making.Load(contentID(n.Published.ID)); making {
		p.holds = slices.DeleteFunc(slices.Clone(p.holds), func(h hold) bool { return h.Created <= p.published })
	}
}

// mayReplace asks whether what an inode publishes may be replaced, or a draft be kept that is to replace it.
func (t *txn) mayReplace(ino Ino, n *inodeRec) error {
	if n.Published == nil {
		return nil
	}
	return t.fs.unlocked(t, ino, n, actWrite, false)
}

// maySettle asks whether recovery may publish a file's draft: locks that came after it was fsynced protect what was
// published.
func (t *txn) maySettle(ino Ino, n *inodeRec) error {
	if n.Published == nil {
		return nil
	}
	p, err := t.fs.protection(t, ino, n)
	if err != nil || p == nil {
		return err
	}
	p.holds = slices.DeleteFunc(slices.Clone(p.holds), func(h hold) bool { return n.Draft.Time != 0 && h.Created < n.Draft.Time })
	return t.fs.refuse(t, ino, n, p.refuses(actWrite, t.fs.trusted(), false))
}

// madeFirst notes that now is published in place of old, for stillMaking. f.mu must be held.
func (f *file) madeFirst(old, now *contentRec) {
	mine := old == nil || f.first != 0 && f.first == contentID(old.ID)
	f.finished()
	if mine && f.writers > 0 {
		f.first = contentID(now.ID)
		f.fs.making.Store(f.first, nil)
	}
}

// finished notes that the writer who made the file's first content has closed it. f.mu must be held.
func (f *file) finished() {
	if f.first != 0 {
		f.fs.making.Delete(f.first)
		f.first = 0
	}
}

// giveUpDraft drops the persisted draft of a file whose publication is refused: after the last close it is what it
// was when the hold was placed. The draft in memory goes with the last handle. f.mu must be held.
func (f *file) giveUpDraft(ctx context.Context) error {
	f.refused = true
	return f.fs.update(context.WithoutCancel(ctx), metastore.Reclaim, nil, func(t *txn) error {
		n, err := getInode(t, f.ino)
		if err != nil || n.Draft == nil || n.Published == nil {
			return err
		}
		return t.dropDraft(f.ino, n)
	})
}

// dropDraft forgets the persisted draft of a published file.
func (t *txn) dropDraft(ino Ino, n *inodeRec) error {
	if err := errors.Join(t.fs.dropContent(t, n.domain(), n.Draft), t.Delete(draftKey(ino))); err != nil {
		return err
	}
	n.Draft, n.Size = nil, n.Published.Size
	t.attrChanged(ino, true)
	return t.putInode(ino, n)
}

// protection finds what speaks for an inode's bytes; nil if nothing can.
func (fs *FS) protection(r metastore.Reader, ino Ino, n *inodeRec) (*protection, error) {
	if n.Lock == nil && !fs.holding.may(tenancy.TenantID(n.Owner)) || !n.hasData() {
		return nil, nil
	}
	p := &protection{}
	if n.Lock != nil {
		p.lock = *n.Lock
	}
	p.published = n.published()
	var err error
	if p.versioned, err = fs.keepsVersions(r, ino, n); err != nil {
		return nil, err
	}
	if p.holds, err = fs.covering(r, ino, n); err != nil || n.Lock == nil && len(p.holds) == 0 {
		return nil, err
	}
	return p, nil
}

// hasData reports whether there is anything that holds cover: a file that was published once, what a symlink says, a
// directory that is an object.
func (n *inodeRec) hasData() bool {
	return Type(n.Type) == Symlink || n.Published != nil || n.Lock != nil
}

// published is when the inode got its data, by the trusted clock.
func (n *inodeRec) published() int64 {
	switch {
	case n.Published != nil:
		return n.Published.since()
	case n.Since != 0:
		return n.Since
	}
	return n.Btime
}

// date says that a content is published now, by both clocks.
func (t *txn) date(c *contentRec) { c.Time, c.Since = t.now, t.fs.madeAt(t.now) }

// since is when a content was made, by the trusted clock.
func (c *contentRec) since() int64 {
	if c.Since != 0 {
		return c.Since
	}
	return c.Time
}

// nameOf is one of the names of an inode.
type nameOf struct{ bucket, key string }

// namesOf are the keys that lead to an inode. One that has lost them, or is in a tree that has, has none.
func namesOf(r metastore.Reader, ino Ino, n *inodeRec) ([]nameOf, error) {
	if n.hung() {
		info, err := bucketInfo(r, Ino(n.Bucket))
		return []nameOf{{info.Name, n.Key}}, err
	}
	places := []inodeRec{*n}
	if n.Nlink > 1 && Type(n.Type) != Dir {
		places = places[:0]
		prefix := key(kLink, uint64(ino))
		err := r.Scan(prefixRange(prefix, int(n.Nlink)), func(k, _ []byte) (bool, error) {
			at := *n
			at.Parent, at.Name = decodeLink(k[len(prefix):])
			places = append(places, at)
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	var names []nameOf
	for i := range places {
		bucket, k, err := keyOf(r, &places[i])
		if err != nil {
			return nil, err
		}
		if bucket != "" && k != "" {
			names = append(names, nameOf{bucket, k})
		}
	}
	return names, nil
}

// keepsVersions reports whether the bucket keeps what is overwritten or removed under an inode's name.
func (fs *FS) keepsVersions(r metastore.Reader, ino Ino, n *inodeRec) (bool, error) {
	set, err := fs.settingsOf(r, Ino(n.Bucket))
	state := versioningOf(set)
	if err != nil || state == unversioned || n.Version != "" {
		return state != unversioned, err
	}
	if state == suspended || n.Published == nil { // a symlink, a directory that was only made: they are no versions
		return false, nil
	}
	names, err := namesOf(r, ino, n)
	temp := excludedBy(set)
	for _, name := range names {
		if len(name.key) > maxKey || temp.match(name.key) {
			return false, err
		}
	}
	return true, err
}

// heldBelow refuses, by the holds, to change the keys of what is below a directory, whose key is at hand. It looks
// for data only where a hold reaches.
func (t *txn) heldBelow(ino Ino, n *inodeRec) error {
	owner := tenancy.TenantID(n.Owner)
	if !t.fs.holding.may(owner) {
		return nil
	}
	all, err := t.fs.holdsOf(t, owner)
	if err != nil || len(all) == 0 {
		return err
	}
	_, dir, err := keyOf(t, n)
	if err != nil {
		return err
	}
	now := t.fs.trusted()
	search := search{t: t, left: maxSearch}
	for _, h := range all {
		if h.Bucket != 0 && h.Bucket != n.Bucket || h.over(now) {
			continue
		}
		if !strings.HasPrefix(dir, h.Prefix) && !strings.HasPrefix(h.Prefix, dir) {
			continue
		}
		found, err := search.below(ino, dir, func(key string, n *inodeRec) bool {
			return n.hasData() && strings.HasPrefix(key, h.Prefix) && h.until(n.published()) > now
		}, func(key string) bool { return strings.HasPrefix(key, h.Prefix) || strings.HasPrefix(h.Prefix, key) })
		if err != nil {
			return err
		}
		if found != "" {
			return &Error{Kind: NotPermitted, Err: &Refusal{Key: found, Why: "under hold " + h.ID}}
		}
	}
	return nil
}

// maxSearch bounds how many inodes a directory's rename looks at. Beyond it what can't be proved is refused.
const maxSearch = 20_000

// search looks for data below directories.
type search struct {
	t     *txn
	left  int
	enter func(Ino) (bool, error) // whether to look into a directory; nil: into all
}

// below returns the first key that match finds, of those below directories that enter lets it look into.
func (s *search) below(ino Ino, dir string, match func(key string, n *inodeRec) bool, enter func(key string) bool) (string, error) {
	found := ""
	prefix := dentryKey(ino, "")
	err := s.t.Scan(prefixRange(prefix, 64), func(k, value []byte) (bool, error) {
		var d dentryRec
		if _, err := d.UnmarshalMsg(value); err != nil {
			return false, err
		}
		name := dir + string(k[len(prefix):])
		if isDirName(name) && !enter(name) {
			return true, nil
		}
		if s.left--; s.left < 0 {
			return false, &Error{Kind: NotPermitted, Err: &Refusal{Key: name, Why: "too much below it to prove that nothing is held"}}
		}
		n, err := getInode(s.t, Ino(d.Ino))
		if err != nil {
			return false, err
		}
		if match(name, n) {
			found = name
			return false, nil
		}
		if isDirName(name) && s.enter != nil {
			if into, err := s.enter(Ino(d.Ino)); err != nil || !into {
				return true, err
			}
		}
		if isDirName(name) {
			found, err = s.below(Ino(d.Ino), name, match, enter)
		}
		return found == "", err
	})
	return found, err
}
