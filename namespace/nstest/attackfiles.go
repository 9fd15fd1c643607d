package nstest

import (
	"context"
	"path"
	"strings"

	"github.com/stretchr/testify/require"

	"k3fs/namespace"
)

// What the attack does at the mount.

// dirOf finds the directory of a key at the mount.
func (a *attacker) dirOf(v *namespace.View, b *book, key string) (dir namespace.Ino, name string, ok bool) {
	ctx := context.Background()
	at, err := a.w.View.Lookup(ctx, namespace.RootIno, b.name)
	require.NoError(a.t, err, a.story())
	dirs, name := path.Split(strings.TrimSuffix(key, "/"))
	for _, part := range strings.Split(strings.Trim(dirs, "/"), "/") {
		if part == "" {
			continue
		}
		if at, err = a.w.View.Lookup(ctx, at.Ino, part); err != nil || at.Type != namespace.Dir {
			return 0, "", false
		}
	}
	return at.Ino, name, true
}

func (a *attacker) openKey(v *namespace.View, b *book, key string, f namespace.OpenFlags) (namespace.FileHandle, error) {
	dir, name, ok := a.dirOf(v, b, key)
	if !ok {
		return nil, &namespace.Error{Kind: namespace.NotFound}
	}
	_, h, err := v.Create(context.Background(), dir, name, namespace.NewNode{Mode: 0o644}, f)
	return h, err
}

// write opens a file, writes, and closes it.
func (a *attacker) write(v *namespace.View, who int, b *book) {
	key, p := a.fileKey(), a.bytes()
	f := namespace.OpenFlags{Write: true, Trunc: a.rng.IntN(3) == 0, Append: a.rng.IntN(4) == 0}
	a.logf("   %s %+v %d", key, f, len(p))
	want := a.replace(b, key)
	if a.open4(b, key) || len(p) == 0 {
		want = either
	}
	h, err := a.openKey(v, b, key, f)
	if err == nil {
		ctx := context.Background()
		if a.rng.IntN(6) == 0 {
			err = h.Allocate(ctx, namespace.AllocZero, false, 0, 50)
		}
		if err == nil && f.Append {
			_, err = h.Append(ctx, p)
		} else if err == nil {
			_, err = h.WriteAt(ctx, p, 0)
		}
		if err == nil && a.rng.IntN(4) == 0 {
			err = h.Fsync(ctx)
		}
		if flushed := h.Flush(ctx); err == nil {
			err = flushed
		}
		if closed := h.Close(ctx); err == nil {
			err = closed
		}
	}
	a.judge(who, want, err)
}

// open4 reports whether a handle may have the key's file open.
func (a *attacker) open4(b *book, key string) bool {
	x := b.current(key)
	for _, h := range a.handles {
		if h.b == b && (x == nil || x.ino == h.h.Ino()) {
			return true
		}
	}
	return false
}

func (a *attacker) truncate(v *namespace.View, who int, b *book) {
	key := a.fileKey()
	x := b.current(key)
	if x == nil {
		return
	}
	size := int64(a.rng.IntN(300))
	a.logf("   %s to %d", key, size)
	want := a.replace(b, key)
	if a.open4(b, key) || size == x.size {
		want = either
	}
	_, err := v.SetAttr(context.Background(), x.ino, namespace.SetAttr{Size: &size})
	a.judge(who, want, err)
}

// openFile opens a file for later.
func (a *attacker) openFile(v *namespace.View, who int, b *book) {
	if len(a.handles) > 3 {
		return
	}
	key := a.fileKey()
	a.logf("   %s", key)
	h, err := a.openKey(v, b, key, namespace.OpenFlags{Read: true, Write: true})
	a.judge(who, either, err)
	if err == nil {
		a.handles = append(a.handles, &opened{h, b})
	}
}

// writeOn uses a file that was opened before, whatever was done meanwhile.
func (a *attacker) writeOn(_ *namespace.View, _ int, _ *book) {
	if len(a.handles) == 0 {
		return
	}
	ctx := context.Background()
	i := a.rng.IntN(len(a.handles))
	o := a.handles[i]
	var err error
	switch a.rng.IntN(4) {
	case 0, 1:
		_, err = o.h.WriteAt(ctx, a.bytes(), int64(a.rng.IntN(100)))
	case 2:
		err = o.h.Fsync(ctx)
	default:
		err = o.h.Flush(ctx)
		o.h.Close(ctx) //nolint:errcheck // as close(2), it said what it had to say
		a.handles = append(a.handles[:i:i], a.handles[i+1:]...)
	}
	a.judge(root, either, err)
	a.scan(o.b, "writing on")
}

func (a *attacker) closeHandles() {
	for _, o := range a.handles {
		o.h.Close(context.Background()) //nolint:errcheck // as close(2) at the end of a process
	}
	a.handles = nil
	for _, b := range a.books {
		a.scan(b, "closing")
	}
}

func (a *attacker) unlink(v *namespace.View, who int, b *book) {
	key := a.fileKey()
	dir, name, ok := a.dirOf(v, b, key)
	if !ok {
		return
	}
	a.logf("   %s", key)
	want := a.replace(b, key)
	if temporary(key) && b.state != "" {
		want = either
	}
	a.judge(who, want, v.Unlink(context.Background(), dir, name))
}

func (a *attacker) rename(v *namespace.View, who int, b *book) {
	from, to := a.fileKey(), a.fileKey()
	dir, name, ok := a.dirOf(v, b, from)
	toDir, toName, ok2 := a.dirOf(v, b, to)
	if !ok || !ok2 {
		return
	}
	var flags namespace.RenameFlags
	want := a.move(b, from, to)
	if a.rng.IntN(4) == 0 {
		flags = namespace.RenameExchange
		if b.state == namespace.VersioningSuspended {
			want = either
		}
	}
	if temporary(from) || temporary(to) || want == refuses && from == to {
		want = either
	}
	a.logf("   %s to %s flags %d", from, to, flags)
	a.judge(who, want, v.Rename(context.Background(), dir, name, toDir, toName, flags))
}

// below is the verdict of changing the keys of all that is below a directory.
func (a *attacker) below(b *book, dir string) verdict {
	want := permits
	for _, x := range b.order {
		if x.current && strings.HasPrefix(x.key, dir+"/") {
			want = want.and(of(a.protected(b, x, false)))
		}
	}
	return want.and(a.linksBelow(b, dir+"/"))
}

func (a *attacker) renameDir(v *namespace.View, who int, b *book) {
	from, to := attackDirs[a.rng.IntN(len(attackDirs))], attackDirs[a.rng.IntN(len(attackDirs))]
	dir, name, ok := a.dirOf(v, b, from)
	toDir, toName, ok2 := a.dirOf(v, b, to)
	if !ok || !ok2 || from == to {
		return
	}
	flags := namespace.RenameFlags(a.rng.IntN(4) / 3 * int(namespace.RenameExchange))
	want := a.below(b, from)
	if b.current(to+"/") != nil || flags != 0 {
		want = either
	}
	if b.current(from+"/") == nil && b.current(from+"/a") == nil && b.current(from+"/b") == nil && b.links[from+"/l"] == nil && want == refuses {
		want = either
	}
	a.logf("   %s to %s flags %d", from, to, flags)
	a.judge(who, want, v.Rename(context.Background(), dir, name, toDir, toName, flags))
}

func (a *attacker) rmdir(v *namespace.View, who int, b *book) {
	d := attackDirs[a.rng.IntN(len(attackDirs))]
	if dir, name, ok := a.dirOf(v, b, d); ok {
		a.logf("   %s", d)
		a.judge(who, a.replace(b, d+"/"), v.Rmdir(context.Background(), dir, name))
	}
}

func (a *attacker) mkdir(v *namespace.View, who int, b *book) {
	if dir, name, ok := a.dirOf(v, b, attackDirs[a.rng.IntN(len(attackDirs))]); ok {
		_, err := v.Mkdir(context.Background(), dir, name, namespace.NewNode{Mode: 0o755})
		a.judge(who, permits, err)
	}
}

func (a *attacker) link(v *namespace.View, who int, b *book) {
	from, to := a.fileKey(), a.fileKey()
	x := b.current(from)
	dir, name, ok := a.dirOf(v, b, to)
	if x == nil || !ok {
		return
	}
	want := a.committed(x)
	if !b.versioned(x) {
		want = of(a.protected(b, x, false))
	}
	a.logf("   %s to %s", from, to)
	_, err := v.Link(context.Background(), x.ino, dir, name)
	a.judge(who, want, err)
}

func (a *attacker) chmod(v *namespace.View, who int, b *book) {
	key := a.fileKey()
	x := b.current(key)
	if x == nil {
		return
	}
	want := a.committed(x)
	if !b.versioned(x) || temporary(key) {
		want = of(a.protected(b, x, false))
	}
	if a.open4(b, key) || temporary(key) && want == refuses {
		want = either
	}
	mode := uint32(0o600 + a.rng.IntN(0o100))
	_, err := v.SetAttr(context.Background(), x.ino, namespace.SetAttr{Mode: &mode})
	if a.rng.IntN(3) == 0 {
		err = v.SetXattr(context.Background(), x.ino, "user.x", []byte{byte(mode)}, 0)
	}
	a.logf("   %s", key)
	a.judge(who, want, err)
}
