package mounts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// An operation is something that a program does in a mounted directory, which holds what plant made. Each has files of
// its own, so that the kernel knows none of them from another.
type operation struct {
	name    string
	changes bool
	do      func(dir string) error
}

// withFile opens a file and does something with it; an error of the close counts.
func withFile(path string, flags int, do func(fd int) error) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(do(fd), unix.Close(fd))
}

func nothing(int) error { return nil }

func writeTo(fd int) error {
	_, err := unix.Write(fd, []byte("changed"))
	return err
}

// copyInto copies a file that may be read into fd.
func copyInto(fd int, from string) error {
	return withFile(from, unix.O_RDONLY, func(in int) error {
		n, err := unix.CopyFileRange(in, nil, fd, nil, 4, 0)
		if err == nil && n != 4 {
			err = fmt.Errorf("copied %d bytes", n)
		}
		return err
	})
}

var operations = []operation{
	{"stat", false, func(d string) error { return unix.Lstat(d+"/stat", new(unix.Stat_t)) }},
	{"read", false, func(d string) error {
		_, err := os.ReadFile(d + "/read")
		return err
	}},
	{"readlink", false, func(d string) error {
		_, err := os.Readlink(d + "/readlink")
		return err
	}},
	{"readdir", false, func(d string) error {
		_, err := os.ReadDir(d + "/readdir")
		return err
	}},
	{"getxattr", false, func(d string) error {
		_, err := unix.Getxattr(d+"/getxattr", "user.k", make([]byte, 10))
		return err
	}},
	{"listxattr", false, func(d string) error {
		_, err := unix.Listxattr(d+"/listxattr", make([]byte, 100))
		return err
	}},
	{"statfs", false, func(d string) error { return unix.Statfs(d+"/statfs", new(unix.Statfs_t)) }},

	{"create", true, func(d string) error {
		return withFile(d+"/create.new", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, nothing)
	}},
	{"tmpfile", true, func(d string) error {
		return withFile(d, unix.O_TMPFILE|unix.O_WRONLY, writeTo)
	}},
	{"write", true, func(d string) error { return withFile(d+"/write", unix.O_WRONLY, writeTo) }},
	{"append", true, func(d string) error { return withFile(d+"/append", unix.O_WRONLY|unix.O_APPEND, writeTo) }},
	{"open and truncate", true, func(d string) error {
		return withFile(d+"/open and truncate", unix.O_WRONLY|unix.O_TRUNC, nothing)
	}},
	{"truncate", true, func(d string) error { return unix.Truncate(d+"/truncate", 2) }},
	{"ftruncate", true, func(d string) error {
		return withFile(d+"/ftruncate", unix.O_RDWR, func(fd int) error { return unix.Ftruncate(fd, 9) })
	}},
	{"fallocate", true, func(d string) error {
		return withFile(d+"/fallocate", unix.O_RDWR, func(fd int) error { return unix.Fallocate(fd, 0, 0, 10000) })
	}},
	{"punch hole", true, func(d string) error {
		return withFile(d+"/punch hole", unix.O_RDWR, func(fd int) error {
			return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 3)
		})
	}},
	{"copy", true, func(d string) error {
		return withFile(d+"/copy", unix.O_WRONLY, func(fd int) error { return copyInto(fd, d+"/copy from") })
	}},
	{"unlink", true, func(d string) error { return unix.Unlink(d + "/unlink") }},
	{"mkdir", true, func(d string) error { return unix.Mkdir(d+"/mkdir.new", 0o755) }},
	{"rmdir", true, func(d string) error { return unix.Rmdir(d + "/rmdir") }},
	{"rename", true, func(d string) error { return unix.Rename(d+"/rename", d+"/rename.new") }},
	{"rename over", true, func(d string) error { return unix.Rename(d+"/rename over", d+"/rename over this") }},
	{"exchange", true, func(d string) error {
		return unix.Renameat2(unix.AT_FDCWD, d+"/exchange", unix.AT_FDCWD, d+"/exchange with", unix.RENAME_EXCHANGE)
	}},
	{"link", true, func(d string) error { return unix.Link(d+"/link", d+"/link.new") }},
	{"symlink", true, func(d string) error { return unix.Symlink("target", d+"/symlink.new") }},
	{"mkfifo", true, func(d string) error { return unix.Mkfifo(d+"/mkfifo.new", 0o644) }},
	{"chmod", true, func(d string) error { return unix.Chmod(d+"/chmod", 0o600) }},
	{"chown", true, func(d string) error { return unix.Lchown(d+"/chown", 7, 7) }},
	{"utimes", true, func(d string) error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, d+"/utimes", []unix.Timespec{{Sec: 1}, {Sec: 1}}, 0)
	}},
	{"setxattr", true, func(d string) error { return unix.Setxattr(d+"/setxattr", "user.new", []byte("v"), 0) }},
	{"removexattr", true, func(d string) error { return unix.Removexattr(d+"/removexattr", "user.k") }},
	{"chattr", true, func(d string) error {
		return withFile(d+"/chattr", unix.O_RDONLY, func(fd int) error {
			return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, unix.STATX_ATTR_NODUMP)
		})
	}},
}

// plant makes a directory in which every operation can be done once.
func plant(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	others := []string{"copy from", "rename over this", "exchange with", "held", "held too"}
	for _, op := range operations {
		switch op.name {
		case "readdir", "rmdir":
			require.NoError(t, os.Mkdir(dir+"/"+op.name, 0o755))
		case "readlink":
			require.NoError(t, os.Symlink("target", dir+"/"+op.name))
		default:
			others = append(others, op.name)
		}
	}
	for _, name := range others {
		require.NoError(t, os.WriteFile(dir+"/"+name, []byte("text of "+name), 0o644))
		require.NoError(t, unix.Setxattr(dir+"/"+name, "user.k", []byte("v"), 0))
	}
}

// snapshot tells all of a directory that a refused change could have changed.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		fmt.Fprint(&all, path, " ", st.Ino, st.Mode, st.Uid, st.Gid, st.Nlink, st.Size, st.Blocks, st.Mtim, st.Ctim)
		if e.Type().IsRegular() {
			attrs := make([]byte, 200)
			n, err := unix.Listxattr(path, attrs)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&all, " %q %q", attrs[:n], text)
		}
		all.WriteString("\n")
		return nil
	}))
	return all.String()
}

// refused are the errors by which a program knows that it may not.
func refused(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)
}

// realm is a host with tenants and accounts.
type realm struct {
	*host
	keys map[string][]string // environment that mounts as an account
}

// admin runs k3fs as the host's administrator, which must work.
func (r *realm) admin(args ...string) string {
	r.t.Helper()
	out, code := r.run(nil, nil, append(args, "--data", r.Data)...)
	require.Zero(r.t, code, "%v: %s", args, out)
	return out
}

// keep remembers the access key that a command shows.
func (r *realm) keep(name, shown string) {
	r.t.Helper()
	var key struct {
		AccessKey string `json:"access_key"`
		SecretKey string `json:"secret_key"`
	}
	require.NoError(r.t, json.Unmarshal([]byte(shown), &key), shown)
	r.keys[name] = []string{"K3FS_ACCESS_KEY=" + key.AccessKey, "K3FS_SECRET_KEY=" + key.SecretKey}
}

func (r *realm) account(name, role string, more ...string) {
	r.t.Helper()
	r.keep(name, r.admin(append([]string{"account", "create", name, "--role", role, "--key", "-o", "json"}, more...)...))
}

func startRealm(t *testing.T) *realm {
	r := &realm{start(t), map[string][]string{}}
	r.keep("acme", r.admin("tenant", "create", "acme", "-o", "json"))
	r.admin("bucket", "create", "vault", "--tenant", "acme")
	return r
}

// deny gives a bucket a policy that denies actions to an account.
func (r *realm) deny(bucket, account string, actions ...string) {
	r.t.Helper()
	var tenants []struct {
		ID string `json:"account_id"`
	}
	require.NoError(r.t, json.Unmarshal([]byte(r.admin("tenant", "list", "-o", "json")), &tenants))
	doc, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Deny", "Action": actions, "Resource": []string{"arn:aws:s3:::" + bucket, "arn:aws:s3:::" + bucket + "/*"},
		"Principal": map[string]string{"AWS": "arn:aws:iam::" + tenants[0].ID + ":user/" + account}}}})
	require.NoError(r.t, err)
	require.NoError(r.t, r.Client(r.t).SetBucketPolicy(r.t.Context(), bucket, string(doc)))
}

// A mount may do what the account may whose access key it was made with: the matrix of what programs do in a mount and
// of kinds of account. What is refused says so where it is called, and has changed nothing.
func TestAccountsOnMounts(t *testing.T) {
	r := startRealm(t)
	const none, reads, all = 0, 1, 2
	for _, kind := range []struct {
		name, role string
		may        int
		begin      func() // once it is mounted
	}{
		{"readwrite", "readwrite", all, nil},
		{"admin", "admin", all, nil},
		{"readonly", "readonly", reads, nil},
		{"auditor", "auditor", reads, nil},
		{"demoted", "readwrite", reads, func() { r.admin("account", "update", "demoted", "--role", "readonly") }},
		{"promoted", "readonly", all, func() { r.admin("account", "update", "promoted", "--role", "readwrite") }},
		{"disabled", "readwrite", none, func() { r.admin("account", "update", "disabled", "--disabled") }},
		{"deleted", "admin", none, func() { r.admin("account", "delete", "deleted") }},
		{"locked", "admin", reads, func() {
			r.deny("data", "locked", "s3:Put*", "s3:Delete*")
		}},
		{"beside", "readwrite", all, nil}, // of a policy that is about another
		{"banned", "admin", none, func() { r.deny("data", "banned", "s3:*") }},
	} {
		t.Run(kind.name, func(t *testing.T) {
			inside := filepath.Join(r.Mount, "data", kind.name)
			plant(t, inside)
			r.account(kind.name, kind.role)
			dir := r.point(kind.name)
			out, code := r.run(nil, r.keys[kind.name], "mount", "data/"+kind.name, dir, "-o", "no_root_squash")
			require.Zero(t, code, out)
			if kind.begin != nil {
				kind.begin()
			}
			before := snapshot(t, inside)
			for _, op := range operations {
				err := op.do(dir)
				switch {
				case kind.may == all || kind.may == reads && !op.changes:
					require.NoError(t, err, op.name)
				default:
					require.True(t, refused(err), "%s: %v", op.name, err)
				}
			}
			if kind.may == all {
				return
			}
			require.Equal(t, before, snapshot(t, inside))
		})
	}
}

// Files that are open when an account is disabled, or its tenant suspended, take nothing more, and go on once it is
// enabled; also in a mount that gathers writes, where fsync tells.
func TestRefusedWhileOpen(t *testing.T) {
	r := startRealm(t)
	r.account("worker", "readwrite")
	r.account("guest", "readwrite", "--tenant", "acme")
	for _, kind := range []struct {
		name, account, bucket string
		stop, again           []string
		options               []string
	}{
		{"account", "worker", "data", []string{"account", "update", "worker", "--disabled"}, []string{"account", "update", "worker", "--disabled=false"}, nil},
		{"tenant", "guest", "vault", []string{"tenant", "update", "acme", "--suspended"}, []string{"tenant", "update", "acme", "--suspended=false"}, nil},
		{"gathering", "worker", "data", []string{"account", "update", "worker", "--disabled"}, []string{"account", "update", "worker", "--disabled=false"}, []string{"-o", "writeback"}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			dir := r.point(kind.name)
			out, code := r.run(nil, r.keys[kind.account], append([]string{"mount", kind.bucket, dir, "-o", "no_root_squash"}, kind.options...)...)
			require.Zero(t, code, out)
			at := dir + "/" + kind.name
			plant(t, at)
			held, err := unix.Open(at+"/held", unix.O_RDWR|unix.O_CLOEXEC, 0)
			require.NoError(t, err)
			defer func() { _ = unix.Close(held) }()
			_, err = unix.Write(held, []byte("TEXT"))
			require.NoError(t, err)
			require.NoError(t, unix.Fsync(held))
			unread, err := unix.Open(at+"/read", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECT, 0)
			require.NoError(t, err)
			defer unix.Close(unread)
			cold, err := unix.Open(at+"/append", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			require.NoError(t, err)
			defer unix.Close(cold)
			require.NoError(t, unix.Fadvise(cold, 0, 0, unix.FADV_DONTNEED))
			unwritten, err := unix.Open(at+"/held too", unix.O_RDWR|unix.O_CLOEXEC, 0)
			require.NoError(t, err)
			defer unix.Close(unwritten)

			direct := func() error { // what the kernel has not cached
				_, err := unix.Pread(unread, make([]byte, 10), 0)
				return err
			}
			r.admin(kind.stop...)
			require.True(t, refused(direct()), "read: %v", direct())
			for _, op := range operations {
				if op.changes || slices.Contains([]string{"read", "readdir"}, op.name) {
					require.True(t, refused(op.do(at)), "%s: %v", op.name, op.do(at))
				}
			}
			err = writeTo(unwritten)
			if kind.options != nil && err == nil {
				err = unix.Fsync(unwritten)
			}
			require.True(t, refused(err), "write: %v", err)
			for name, err := range map[string]error{
				"ftruncate": unix.Ftruncate(held, 1), "fallocate": unix.Fallocate(held, 0, 0, 9999), "fchmod": unix.Fchmod(held, 0o600),
				"fsetxattr": unix.Fsetxattr(held, "user.new", nil, 0), "fremovexattr": unix.Fremovexattr(held, "user.k"),
			} {
				require.True(t, refused(err), "%s: %v", name, err)
			}

			for range 2 {
				_, err = unix.CopyFileRange(unread, nil, held, nil, 4, 0)
				require.True(t, refused(err), "copy: %v", err)
				_, err = unix.CopyFileRange(cold, nil, held, nil, 4, 0)
				require.True(t, refused(err), "copy: %v", err)
			}
			_, err = unix.Pread(cold, make([]byte, 10), 0)
			require.True(t, refused(err), "read: %v", err)

			r.admin(kind.again...)
			require.NoError(t, direct())
			require.Equal(t, "TEXT of held", read(t, at+"/held"))
			_, err = unix.Pwrite(held, []byte("t"), 0)
			require.NoError(t, err)
			require.NoError(t, unix.Fsync(held))
			require.Equal(t, "tEXT of held", read(t, at+"/held"))
			for _, op := range operations {
				require.NoError(t, op.do(at), op.name)
			}
		})
	}
}

// Nobody mounts what is another tenant's, nor learns that it is there, nor mounts with a key that counts no more.
func TestMountsRefused(t *testing.T) {
	r := startRealm(t)
	r.account("worker", "readwrite")
	r.account("operator", "operator")
	dir := r.point("dir")
	try := func(who, source string) string {
		t.Helper()
		out, code := r.run(nil, r.keys[who], "mount", source, dir)
		require.NotZero(t, code, out)
		require.False(t, harness.Mounted(dir))
		return out
	}
	require.Equal(t, strings.ReplaceAll(try("worker", "absent"), "absent", "vault"), try("worker", "vault"))
	require.Equal(t, strings.ReplaceAll(try("acme", "absent"), "absent", "data"), try("acme", "data"))
	require.Equal(t, strings.ReplaceAll(try("acme", "absent/a"), "absent", "data"), try("acme", "data/a"))
	try("operator", "data")
	r.admin("account", "update", "worker", "--disabled")
	try("worker", "data")
	r.admin("tenant", "update", "acme", "--suspended")
	try("acme", "vault")
	r.admin("tenant", "update", "acme", "--suspended=false")
	out, code := r.run(nil, r.keys["acme"], "mount", "vault", dir)
	require.Zero(t, code, out)
	_, err := os.Lstat(dir + "/../data")
	require.ErrorIs(t, err, os.ErrNotExist)
	r.umount(dir)
}
