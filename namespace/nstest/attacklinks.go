package nstest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"k3fs/namespace"
)

// Symbolic links, which S3 does not know, are held as files are, and never kept as versions. They have names of their
// own, at which the attack puts objects now and then.

var linkKeys = []string{"l", "d/l", "f/l"}

// link is a symbolic link, as the attack knows it.
type link struct {
	ino              namespace.Ino
	target           string
	earliest, latest time.Time
	durable          bool
}

// linked is the verdict of removing a link, or of changing its key.
func (a *attacker) linked(b *book, key string) verdict {
	l := b.links[key]
	if l == nil {
		return permits
	}
	return of(a.protected(b, &kept{key: key, earliest: l.earliest, latest: l.latest}, false))
}

// linksBelow is the verdict of changing the keys of all links below a directory.
func (a *attacker) linksBelow(b *book, dir string) verdict {
	want := permits
	for key := range b.links {
		if strings.HasPrefix(key, dir) {
			want = want.and(a.linked(b, key))
		}
	}
	return want
}

// scanLinks looks which links there are. Those that were held are.
func (a *attacker) scanLinks(b *book, what string) {
	ctx := context.Background()
	keys := slices.Collect(maps.Keys(b.links))
	switch what {
	case "symlink", "rename symlink", "rename directory", "restart", "kill", powerCut: // others bring none
		keys = append(keys, a.walkLinks(b.dir, "")...)
	}
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		was, now := b.links[key], (*link)(nil)
		if dir, name, ok := a.dirOf(a.w.View, b, key); ok {
			if at, err := a.w.View.Lookup(ctx, dir, name); err == nil && at.Type == namespace.Symlink {
				target, err := a.w.View.Readlink(ctx, at.Ino)
				if err != nil {
					a.fail("%s/%s can't be read: %v", b.name, key, err)
				}
				now = &link{ino: at.Ino, target: target, earliest: a.w.FS.Clock().Now, latest: a.host.Now()}
			}
		}
		same := was != nil && now != nil && was.ino == now.ino && was.target == now.target
		if was != nil && !same && (was.durable || what != powerCut) {
			if want := a.linked(b, key); want == refuses {
				a.fail("a held link lost by %s: %s/%s", what, b.name, key)
			}
		}
		switch {
		case same:
		case now == nil:
			delete(b.links, key)
		default:
			for _, other := range b.links { // it may have been moved
				if other.ino == now.ino {
					now.earliest = other.earliest
				}
			}
			if what != "symlink" { // nobody knows when it was made
				now.earliest = time.Time{}
			}
			b.links[key] = now
		}
	}
}

// walkLinks finds the keys of all links below a directory.
func (a *attacker) walkLinks(dir namespace.Ino, base string) (keys []string) {
	entries, err := a.w.View.ReadDir(context.Background(), dir, "", 1000, false)
	if err != nil {
		a.fail("a directory can't be read: %v", err)
	}
	for _, e := range entries {
		switch e.Type {
		case namespace.Symlink:
			keys = append(keys, base+e.Name)
		case namespace.Dir:
			keys = append(keys, a.walkLinks(e.Ino, base+e.Name+"/")...)
		}
	}
	return keys
}

func (a *attacker) linkKey() string { return linkKeys[a.rng.IntN(len(linkKeys))] }

func (a *attacker) symlink(v *namespace.View, who int, b *book) {
	key := a.linkKey()
	dir, name, ok := a.dirOf(v, b, key)
	if !ok {
		return
	}
	a.logf("   %s", key)
	_, err := v.Symlink(context.Background(), dir, name, string('a'+rune(a.rng.IntN(26))), namespace.NewNode{})
	a.judge(who, permits, err)
}

func (a *attacker) unlinkLink(v *namespace.View, who int, b *book) {
	key := a.linkKey()
	dir, name, ok := a.dirOf(v, b, key)
	if !ok || b.links[key] == nil {
		return
	}
	a.logf("   %s", key)
	a.judge(who, a.linked(b, key), v.Unlink(context.Background(), dir, name))
}

// replaceLink puts an object where a link is, or writes over it by a rename.
func (a *attacker) replaceLink(v *namespace.View, who int, b *book) {
	key := a.linkKey()
	if b.links[key] == nil {
		return
	}
	want := a.linked(b, key)
	if a.rng.IntN(2) == 0 {
		a.logf("   put %s", key)
		_, err := v.PutObject(context.Background(), b.name, key, bodyOf(a.bytes()), namespace.PutOptions{})
		a.judge(who, want.and(a.replace(b, key)), err)
		a.durable = err == nil
		return
	}
	from := a.fileKey()
	dir, name, ok := a.dirOf(v, b, from)
	toDir, toName, ok2 := a.dirOf(v, b, key)
	if !ok || !ok2 || b.current(from) == nil {
		return
	}
	a.logf("   rename %s to %s", from, key)
	if temporary(from) {
		want = want.and(either)
	}
	a.judge(who, want.and(a.replace(b, from)).and(a.replace(b, key)), v.Rename(context.Background(), dir, name, toDir, toName, 0))
}

func (a *attacker) renameLink(v *namespace.View, who int, b *book) {
	from, to := a.linkKey(), a.linkKey()
	dir, name, ok := a.dirOf(v, b, from)
	toDir, toName, ok2 := a.dirOf(v, b, to)
	if !ok || !ok2 || b.links[from] == nil || from == to {
		return
	}
	a.logf("   %s to %s", from, to)
	want := a.linked(b, from).and(a.linked(b, to))
	if b.current(to) != nil {
		want = want.and(a.replace(b, to))
	}
	a.judge(who, want, v.Rename(context.Background(), dir, name, toDir, toName, 0))
}
