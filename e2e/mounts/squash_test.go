package mounts

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// squash mounts for all users with the key of an account that may not let root be root, and with options.
func (r *realm) squash(source, dir, options string) {
	r.t.Helper()
	out, code := r.run(nil, r.keys["worker"], "mount", source, dir, "-o", "allow_other"+options)
	require.Zero(r.t, code, out)
}

// Squashed root does what any user does in what is his, and in what isn't what modes give: the matrix.
func TestSquashedRoot(t *testing.T) {
	r := startRealm(t)
	r.account("worker", "readwrite")
	for name, owner := range map[string]int{"mine": int(nobody.Uid), "others": 2001} {
		t.Run(name, func(t *testing.T) {
			inside := filepath.Join(r.Mount, "data", name)
			plant(t, inside)
			give(t, inside, owner)
			dir := r.point(name)
			r.squash("data/"+name, dir, "")
			before := snapshot(t, inside)
			for _, op := range operations {
				err := op.do(dir)
				if op.name == "chown" || op.changes && name == "others" {
					require.True(t, refused(err), "%s: %v", op.name, err)
				} else {
					require.NoError(t, err, op.name)
				}
			}
			if name == "others" {
				require.Equal(t, before, snapshot(t, inside))
			}
		})
	}
}

// What only root may, squashed root may not; where he isn't squashed he may.
func TestRootsPowers(t *testing.T) {
	r := startRealm(t)
	r.account("worker", "readwrite")
	inside := filepath.Join(r.Mount, "data/home")
	squashed, root := r.point("squashed"), r.point("root")
	r.squash("data", squashed, "")
	r.squash("data", root, ",no_root_squash,suid,dev") // the host's administrator may
	powers := []struct {
		name string
		do   func(home string) error
		want error
	}{
		{"read a secret", func(h string) error {
			_, err := os.ReadFile(h + "/secret")
			return err
		}, unix.EACCES},
		{"write a secret", func(h string) error { return withFile(h+"/secret", unix.O_WRONLY, writeTo) }, unix.EACCES},
		{"truncate a secret", func(h string) error { return unix.Truncate(h+"/secret", 1) }, unix.EACCES},
		{"set its times", func(h string) error { return unix.Utimes(h+"/secret", nil) }, unix.EACCES},
		{"set other times", func(h string) error { return unix.Utimes(h+"/secret", make([]unix.Timeval, 2)) }, unix.EPERM},
		{"list a private directory", func(h string) error {
			_, err := os.ReadDir(h + "/private")
			return err
		}, unix.EACCES},
		{"read what is behind one", func(h string) error {
			_, err := os.ReadFile(h + "/private/open")
			return err
		}, unix.EACCES},
		{"remove what is behind one", func(h string) error { return unix.Unlink(h + "/private/open") }, unix.EACCES},
		{"read what a list gives others", func(h string) error {
			_, err := os.ReadFile(h + "/listed")
			return err
		}, unix.EACCES},
		{"chown", func(h string) error { return unix.Chown(h+"/f", 0, 0) }, unix.EPERM},
		{"chmod", func(h string) error { return unix.Chmod(h+"/f", 0o4755) }, unix.EPERM},
		{"create in others'", func(h string) error { return withFile(h+"/new", unix.O_CREAT|unix.O_WRONLY, nothing) }, unix.EACCES},
		{"device", func(h string) error {
			return errors.Join(unix.Mknod(h+"/all/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))), withFile(h+"/all/null", unix.O_WRONLY, writeTo))
		}, unix.EPERM},
		{"trusted attribute", func(h string) error { return unix.Setxattr(h+"/all/mine", "trusted.k", []byte("v"), 0) }, unix.EPERM},
		{"security attribute", func(h string) error { return unix.Setxattr(h+"/all/mine", "security.k", []byte("v"), 0) }, unix.EPERM},
		{"access list", func(h string) error { return unix.Removexattr(h+"/f", "system.posix_acl_access") }, unix.EPERM},
		{"immutable", func(h string) error {
			return withFile(h+"/all/mine", unix.O_RDONLY, func(fd int) error {
				return errors.Join(unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, 0x10), unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, 0))
			})
		}, unix.EPERM},
		{"sticky", func(h string) error { return unix.Unlink(h + "/all/theirs") }, unix.EPERM},
		{"rename from sticky", func(h string) error { return unix.Rename(h+"/all/theirs too", h+"/all/moved") }, unix.EPERM},
		{"link to a secret", func(h string) error { return unix.Link(h+"/secret", h+"/all/link") }, unix.EPERM},
	}
	for _, how := range []string{"cold", "warm"} {
		t.Run(how, func(t *testing.T) {
			require.NoError(t, os.RemoveAll(inside))
			require.NoError(t, os.MkdirAll(inside+"/private", 0o755))
			require.NoError(t, os.Mkdir(inside+"/all", 0o755))
			for _, name := range []string{"f", "secret", "listed", "private/open", "all/theirs", "all/theirs too", "all/mine"} {
				require.NoError(t, os.WriteFile(filepath.Join(inside, name), []byte(name), 0o644))
			}
			give(t, inside, 2001)
			require.NoError(t, os.Chown(inside+"/all/mine", int(nobody.Uid), int(nobody.Gid)))
			require.NoError(t, os.Chmod(inside+"/all", 0o777|os.ModeSticky))
			require.NoError(t, os.Chmod(inside+"/secret", 0o600))
			require.NoError(t, os.Chmod(inside+"/private", 0o700))
			// user::rw-,user:2002:r--,group::---,mask::r--,other::---
			list := []byte{2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xd2, 7, 0, 0, 4, 0, 0, 0, 255, 255, 255, 255,
				16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255}
			require.NoError(t, unix.Setxattr(inside+"/listed", "system.posix_acl_access", list, 0))
			for _, dir := range []string{squashed, root} {
				home := dir + "/home"
				if how == "warm" {
					require.NoError(t, asUser(t, 2001, 2001, func() error {
						for _, name := range []string{"secret", "private/open", "listed", "all/mine", "all/theirs"} {
							if _, err := os.ReadFile(filepath.Join(home, name)); err != nil {
								return err
							}
						}
						_, err := os.ReadDir(home + "/private")
						return err
					}))
				}
				for _, p := range powers {
					err := p.do(home)
					if dir == root {
						require.NoError(t, err, p.name)
					} else {
						require.ErrorIs(t, err, p.want, p.name)
					}
				}
			}
		})
	}
}

// What squashed root makes is the anonymous user's, without what only root gives; what he writes keeps no set-id bits.
func TestSquashedRootMakes(t *testing.T) {
	r := startRealm(t)
	r.account("worker", "readwrite")
	inside := filepath.Join(r.Mount, "data/all")
	require.NoError(t, os.Mkdir(inside, 0o755))
	require.NoError(t, os.Chown(inside, 2001, 2002))
	require.NoError(t, os.Chmod(inside, 0o2777|os.ModeSetgid))
	dir := r.point("dir")
	r.squash("data", dir, ",anonuid=2003,anongid=2004")
	all := dir + "/all"
	require.NoError(t, unix.Mkdir(all+"/dir", 0o755))
	require.NoError(t, unix.Mknod(all+"/fifo", unix.S_IFIFO|0o2755, 0))
	require.NoError(t, withFile(all+"/file", unix.O_CREAT|unix.O_WRONLY, writeTo))
	require.NoError(t, unix.Symlink("x", all+"/link"))
	for _, name := range []string{"dir", "fifo", "file", "link"} {
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(all+"/"+name, &st))
		require.EqualValues(t, 2003, st.Uid, name)
		if name == "fifo" {
			require.Zero(t, st.Mode&unix.S_ISGID)
		}
	}
	for name, do := range map[string]func(path string) error{
		"write":    func(p string) error { return withFile(p, unix.O_WRONLY, writeTo) },
		"truncate": func(p string) error { return unix.Truncate(p, 1) },
		"allocate": func(p string) error {
			return withFile(p, unix.O_WRONLY, func(fd int) error { return unix.Fallocate(fd, 0, 0, 100) })
		},
	} {
		path := all + "/" + name
		require.NoError(t, os.WriteFile(filepath.Join(inside, name), []byte("x"), 0o644))
		require.NoError(t, os.Chmod(filepath.Join(inside, name), 0o777|os.ModeSetuid))
		require.NoError(t, do(path))
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(path, &st))
		require.Zero(t, st.Mode&unix.S_ISUID, name)
	}
	names, err := os.ReadDir(inside)
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(names, func(e os.DirEntry) bool { return e.Name() == "file" }))

}

// Root is root where the account may let him, or the host's administrator says so.
func TestWhoMayBeRoot(t *testing.T) {
	h, env := startOpen(t)
	r := &realm{h, map[string][]string{}}
	r.account("worker", "readwrite")
	r.account("boss", "admin")
	own := r.point("own")
	require.NoError(t, os.Chown(own, int(nobody.Uid), int(nobody.Gid)))
	for _, who := range []string{"worker", "boss"} {
		out, code := r.run(nobody, append(env[:1:1], r.keys[who]...), "mount", "data", own, "-o", "no_root_squash")
		if who == "boss" {
			require.Zero(t, code, out)
			continue
		}
		require.Equal(t, 1, code, out)
		require.Contains(t, out, "k3fs:MountAsRoot")
	}
	r.umount(own)
	require.NoError(t, os.Chown(filepath.Join(r.Mount, "data/a/f"), 2001, 2001))
	for i, c := range []struct {
		who, options string
		want         error
	}{
		{"", "", nil}, {"", ",root_squash", unix.EACCES}, {"boss", "", nil}, {"boss", ",root_squash", unix.EACCES},
		{"worker", "", unix.EACCES}, {"worker", ",no_root_squash", nil},
	} {
		dir := r.point(string(rune('a' + i)))
		out, code := r.run(nil, r.keys[c.who], "mount", "data", dir, "-o", "allow_other"+c.options)
		require.Zero(t, code, out)
		require.Equal(t, c.who == "worker" && c.options == "", strings.Contains(out, "root is an ordinary user there"), out)
		_, err := os.ReadFile(dir + "/a/f")
		require.ErrorIs(t, err, c.want, "%+v", c)
	}
}
