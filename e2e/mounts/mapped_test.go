package mounts

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// asUser does something as a user of the host, on a thread of its own that ends with it.
func asUser(t *testing.T, uid, gid int, do func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks it
		for _, call := range [][4]uintptr{
			{unix.SYS_SETGROUPS}, {unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)},
			{unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
		} {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				done <- errno
				return
			}
		}
		done <- do()
	}()
	return <-done
}

// give makes a user the owner of all below a directory.
func give(t *testing.T, dir string, uid int) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	}))
}

// table writes a table of accounts.
func (r *realm) table(lines ...string) string {
	r.t.Helper()
	path := filepath.Join(r.points, "accounts")
	require.NoError(r.t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644))
	return path
}

// mapped mounts with a table of accounts, as an account, for all users.
func (r *realm) mapped(who, source, dir string, lines ...string) {
	r.t.Helper()
	out, code := r.run(nil, r.keys[who], "mount", source, dir, "-o", "allow_other,accounts="+r.table(lines...))
	require.Zero(r.t, code, out)
}

// warm does what only reads, so that the kernel knows all that it can of a directory.
func warm(t *testing.T, uid int, dir string) {
	t.Helper()
	require.NoError(t, asUser(t, uid, uid, func() error {
		for _, op := range operations {
			if !op.changes {
				if err := op.do(dir); err != nil {
					return fmt.Errorf("warm: %s: %w", op.name, err)
				}
			}
			if op.name == "readlink" || op.name == "rmdir" || op.name == "readdir" || strings.Contains(op.name, "tmpfile") {
				continue
			}
			if _, err := os.ReadFile(dir + "/" + op.name); err != nil {
				return fmt.Errorf("warm: %s: %w", op.name, err)
			}
		}
		return nil
	}))
}

const warmer = 2999 // a user who may do everything

// What users of one mount may do is what the accounts may to which they are mapped: the matrix of TestAccountsOnMounts, of
// one mount. Before, another user who may has made the kernel cache all of it.
func TestMappedUsers(t *testing.T) {
	r := startRealm(t)
	r.account("boss", "admin")
	const none, reads, all = 0, 1, 2
	kinds := []struct {
		name, role string // without a role: no account
		line       string // of the table; %d is the user
		may        int
		begin      func() // once it is mounted
	}{
		{"readwrite", "readwrite", "%d readwrite", all, nil},
		{"admin", "admin", "%d admin", all, nil},
		{"readonly", "readonly", "%d readonly", reads, nil},
		{"auditor", "auditor", "%d auditor # a comment", reads, nil},
		{"operator", "operator", "", none, nil}, // who mounts isn't root, and may not let others be operators
		{"mounter", "", "%d boss", all, nil},
		{"group", "readonly", "@%d group", reads, nil},
		{"refused", "", "%d -", none, nil},
		{"absent", "", "", none, nil},
		{"demoted", "readwrite", "%d demoted", reads, func() { r.admin("account", "update", "demoted", "--role", "readonly") }},
		{"promoted", "readonly", "%d promoted", all, func() { r.admin("account", "update", "promoted", "--role", "readwrite") }},
		{"disabled", "readwrite", "%d disabled", none, func() { r.admin("account", "update", "disabled", "--disabled") }},
		{"deleted", "admin", "%d deleted", none, func() { r.admin("account", "delete", "deleted") }},
		{"banned", "admin", "%d banned", none, func() { r.deny("data", "banned", "s3:*") }},
	}
	lines := []string{fmt.Sprintf("%d readwrite", warmer)}
	for i, kind := range kinds {
		if kind.role != "" {
			r.account(kind.name, kind.role)
		}
		if kind.line != "" {
			lines = append(lines, fmt.Sprintf(kind.line, 2000+i))
		}
	}
	dir := r.point("dir")
	r.mapped("boss", "data", dir, lines...)
	for i, kind := range kinds {
		uid := 2000 + i
		t.Run(kind.name, func(t *testing.T) {
			inside := filepath.Join(r.Mount, "data", kind.name)
			plant(t, inside)
			give(t, inside, uid)
			if kind.begin != nil {
				kind.begin()
			}
			at := filepath.Join(dir, kind.name)
			before := snapshot(t, inside)
			warm(t, warmer, at)
			for _, op := range operations {
				err := asUser(t, uid, uid, func() error { return op.do(at) })
				switch {
				case op.name == "chown": // nobody but root may
					require.True(t, refused(err), "%s: %v", op.name, err)
				case kind.may == all || kind.may == reads && !op.changes:
					require.NoError(t, err, op.name)
				default:
					require.True(t, refused(err), "%s: %v", op.name, err)
				}
			}
			if kind.may != all {
				require.Equal(t, before, snapshot(t, inside))
			}
		})
	}
	// Who mounted loses the permission to let others act, and then all.
	ls := func(uid int) error {
		return asUser(t, uid, uid, func() error {
			_, err := os.ReadDir(dir)
			return err
		})
	}
	require.NoError(t, ls(warmer))
	r.admin("account", "update", "boss", "--role", "readwrite")
	require.ErrorIs(t, ls(warmer), unix.EACCES)
	require.NoError(t, ls(2005), "himself")
	r.admin("account", "update", "boss", "--role", "admin")
	require.NoError(t, ls(warmer))
	r.admin("account", "update", "boss", "--disabled")
	require.ErrorIs(t, ls(warmer), unix.EACCES)
	require.ErrorIs(t, ls(2005), unix.EACCES)
}

// Whom the policy refuses a directory learns nothing of it from what others know, and takes nothing from them: not their
// working directory, nor what is mounted there.
func TestMappedBesideOthers(t *testing.T) {
	r := startRealm(t)
	r.account("in", "readwrite")
	r.account("out", "readwrite")
	plant(t, filepath.Join(r.Mount, "data/secret/deep"))
	give(t, filepath.Join(r.Mount, "data/secret"), 2001)
	require.NoError(t, unix.Symlink("target", filepath.Join(r.Mount, "data/secret/link")))
	var tenants []struct {
		ID string `json:"account_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.admin("tenant", "list", "-o", "json")), &tenants))
	out := map[string]string{"AWS": "arn:aws:iam::" + tenants[0].ID + ":user/out"}
	doc, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{
		map[string]any{"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::data/secret/*", "Principal": out},
		map[string]any{"Effect": "Deny", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::data", "Principal": out,
			"Condition": map[string]any{"StringLike": map[string]string{"s3:prefix": "secret/*"}}}}})
	require.NoError(t, err)
	require.NoError(t, r.Client(t).SetBucketPolicy(t.Context(), "data", string(doc)))
	dir := r.point("dir")
	r.mapped("", "data", dir, "2001 in", "2002 out", "* -")
	warm(t, 2001, dir+"/secret/deep")

	inside, probed := make(chan error), make(chan struct{})
	go func() {
		inside <- asUser(t, 2001, 2001, func() error {
			// A working directory of this thread alone.
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return err
			}
			if err := unix.Chdir(dir + "/secret/deep"); err != nil {
				return err
			}
			inside <- nil
			<-probed
			buf := make([]byte, unix.PathMax)
			n, err := unix.Getcwd(buf)
			if err == nil && string(buf[:n-1]) != dir+"/secret/deep" {
				err = fmt.Errorf("getcwd: %q", buf[:n])
			}
			return err
		})
	}()
	require.NoError(t, <-inside)
	for name, try := range map[string]func() error{
		"stat":        func() error { return unix.Lstat(dir+"/secret", new(unix.Stat_t)) },
		"stat deep":   func() error { return unix.Lstat(dir+"/secret/deep", new(unix.Stat_t)) },
		"stat file":   func() error { return unix.Lstat(dir+"/secret/deep/read", new(unix.Stat_t)) },
		"stat absent": func() error { return unix.Lstat(dir+"/secret/absent", new(unix.Stat_t)) },
		"access":      func() error { return unix.Access(dir+"/secret/deep/read", unix.F_OK) },
		"chdir":       func() error { return unix.Access(dir+"/secret/deep", unix.X_OK) },
		"open path": func() error {
			fd, err := unix.Open(dir+"/secret/deep", unix.O_PATH, 0)
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		},
		"readlink": func() error {
			_, err := unix.Readlink(dir+"/secret/link", make([]byte, 10))
			return err
		},
		"list": func() error {
			_, err := os.ReadDir(dir + "/secret")
			return err
		},
		"read": func() error {
			_, err := os.ReadFile(dir + "/secret/deep/read")
			return err
		},
		"access list": func() error {
			_, err := unix.Getxattr(dir+"/secret/deep", "system.posix_acl_access", nil)
			return err
		},
	} {
		err := asUser(t, 2002, 2002, try)
		require.ErrorIs(t, err, unix.EACCES, name)
	}
	require.NoError(t, asUser(t, 2002, 2002, func() error { return unix.Lstat(dir+"/a/f", new(unix.Stat_t)) }))
	close(probed)
	require.NoError(t, <-inside)

	// What one has opened he may hand on: a file acts as who opened it.
	fd := -1
	require.NoError(t, asUser(t, 2001, 2001, func() (err error) {
		fd, err = unix.Open(dir+"/secret/deep/read", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	}))
	defer unix.Close(fd)
	require.NoError(t, asUser(t, 2002, 2002, func() error {
		_, err := unix.Pread(fd, make([]byte, 4), 0)
		return err
	}))
}

// A table of accounts needs the permission to let others act as each of them, none of which is another tenant's or root.
func TestMappingRefused(t *testing.T) {
	r := startRealm(t)
	r.account("worker", "readwrite")
	r.account("boss", "admin")
	r.account("runner", "operator")
	r.account("theirs", "readwrite", "--tenant", "acme")
	dir := r.point("dir")
	try := func(who, table string, options ...string) string {
		t.Helper()
		source := "data"
		if who == "acme" {
			source = "vault"
		}
		out, code := r.run(nil, r.keys[who], "mount", source, dir, "-o", strings.Join(append(options, "allow_other", "accounts="+r.table(table)), ","))
		require.Equal(t, 1, code, out)
		return out
	}
	absent := try("boss", "1 nosuch")
	for name, out := range map[string]string{
		"theirs": try("boss", "1 theirs"), "root": try("boss", "1 root"), "runner": try("boss", "1 runner"),
		"worker": try("acme", "1 worker"), "boss": try("worker", "1 boss"),
	} {
		require.Equal(t, absent, strings.ReplaceAll(out, `"`+name+`"`, `"nosuch"`))
	}
	require.Contains(t, try("boss", "1 worker", "writeback"), "exclude each other")
	require.Contains(t, try("boss", "1 worker\nx worker"), "line 2")
	require.Contains(t, try("boss", "1 worker\n1 boss"), "a second line for 1")

	// Somebody who isn't root and holds the permission, by a policy, for one account.
	doc := filepath.Join(r.points, "policy")
	require.NoError(t, os.WriteFile(doc, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"k3fs:MountAs","Resource":"arn:aws:iam::*:user/theirs"}]}`), 0o600))
	r.admin("policy", "put", "lend", doc, "--tenant", "acme")
	r.account("lender", "readwrite", "--tenant", "acme", "--policy", "lend")
	out, code := r.run(nil, r.keys["lender"], "mount", "vault", dir, "-o", "allow_other,accounts="+r.table("1 theirs", "0 lender"))
	require.Zero(t, code, out)
	r.umount(dir)
	r.admin("policy", "detach", "lend", "lender", "--tenant", "acme")
	out, code = r.run(nil, r.keys["lender"], "mount", "vault", dir, "-o", "allow_other,accounts="+r.table("1 theirs", "0 lender"))
	require.Equal(t, 1, code, out)
}

// A restarted daemon mounts again with the table that it had, and the audit log names who acted.
func TestMappedAfterRestart(t *testing.T) {
	r := startRealm(t)
	r.account("worker", "readwrite")
	r.account("keeper", "admin")
	r.account("auditor", "auditor")
	r.admin("bucket", "create", "locked", "--lock")
	dir := r.point("dir")
	r.mapped("", "locked", dir, "2001 worker", "2002 keeper", "2004 auditor", "0 root")
	require.NoError(t, os.WriteFile(dir+"/f", []byte("f"), 0o666))
	require.NoError(t, os.Chmod(dir+"/f", 0o666))
	require.NoError(t, os.Chmod(dir, 0o777))
	require.NoError(t, os.Chown(dir+"/f", 2002, 2002))
	hold := func(uid int, value string) error {
		return asUser(t, uid, uid, func() error { return unix.Setxattr(dir+"/f", "user.s3.legal-hold", []byte(value), 0) })
	}
	require.True(t, refused(hold(2001, "ON")))
	require.NoError(t, hold(2002, "ON"))
	// An auditor may place a legal hold, as through S3, and write nothing.
	require.NoError(t, hold(2004, "OFF"))
	require.NoError(t, hold(2004, "ON"))
	require.True(t, refused(asUser(t, 2004, 2004, func() error { return unix.Setxattr(dir+"/f", "user.x", nil, 0) })))
	require.True(t, refused(asUser(t, 2004, 2004, func() error { return os.WriteFile(dir+"/f", []byte("g"), 0) })))
	require.Contains(t, r.admin("audit", "export"), `"account":"keeper"`)
	r.sync()
	r.Kill()
	r.MustStart(t)
	require.True(t, refused(hold(2001, "OFF")))
	require.NoError(t, hold(2002, "OFF"))
	require.ErrorIs(t, asUser(t, 2003, 2003, func() error { return unix.Lstat(dir+"/f", new(unix.Stat_t)) }), unix.EACCES)
}
