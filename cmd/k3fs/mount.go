package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"k3fs/daemon/control"
)

// Exit codes of mount(8).
const (
	mountUsage    = 1 // wrong usage, or not permitted
	mountSystem   = 2 // no daemon, out of memory, ...
	mountCanceled = 8
	mountFailed   = 32
)

// mountType is how the kernel lists our mounts.
const mountType = "fuse.k3fs"

// mountRequest is what a command line asks for.
type mountRequest struct {
	source, dir  string
	options      []string // the lists behind -o
	socket, data string   // where the daemon is; empty: as said by the options, or as usual
	readOnly     bool
	readWrite    bool
	sloppy, fake bool // pass over unknown options; do all but mount
	verbose      bool
	stdout       io.Writer
	stderr       io.Writer
	program      string // how messages call it
}

func newMount() *cobra.Command {
	var r mountRequest
	cmd := &cobra.Command{
		Use:   "mount [BUCKET[/PREFIX] DIR]",
		Short: "mount a bucket, or a directory of it, from the daemon of this host",
		Long: `Mount a bucket, or a directory of it, at DIR; "/" mounts all buckets. The daemon on this host does it, and
k3fs mount returns when the mount is live. Without arguments the mounts of this host are listed.

Access key and secret key come from -o credentials=FILE (mode 0600, AWS_ACCESS_KEY_ID=... and
AWS_SECRET_ACCESS_KEY=...), else from K3FS_ACCESS_KEY and K3FS_SECRET_KEY, else from the AWS variables, else
from /etc/k3fs/credentials or ~/.config/k3fs/credentials. Root needs none. Others mount on directories that
they own, for themselves. docs/operating.md lists the options.

Exit codes are those of mount(8): 0 mounted, 1 wrong usage or not permitted, 2 no daemon, 8 interrupted,
32 not mounted.`,
		Example: `  k3fs mount models /mnt/models
  k3fs mount models/v2 ~/v2 -o ro,noatime`,
	}
	f := cmd.Flags()
	f.StringArrayVarP(&r.options, "options", "o", nil, "options, separated by commas")
	f.BoolVarP(&r.readOnly, "read-only", "r", false, "the same as -o ro")
	f.BoolVarP(&r.readWrite, "rw", "w", false, "the same as -o rw")
	f.BoolVarP(&r.verbose, "verbose", "v", false, "say what was mounted")
	daemonFlags(cmd, &r.socket, &r.data)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return mountFail(cmd, control.Errorf(control.Usage, "%v", err))
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r.stdout, r.stderr, r.program = cmd.OutOrStdout(), cmd.ErrOrStderr(), "k3fs mount"
		switch len(args) {
		case 0:
			return mountFail(cmd, listMounts(r.stdout))
		case 2:
			r.source, r.dir = args[0], args[1]
			return mountFail(cmd, r.run(cmd.Context()))
		}
		return mountFail(cmd, control.Errorf(control.Usage, "give a bucket and a directory"))
	}
	return cmd
}

// newMountHelper is what mount(8) runs for type fuse.k3fs or k3fs: NAME SOURCE DIR [-sfnvrw] [-o OPTIONS] [-t TYPE].
func newMountHelper(name string) *cobra.Command {
	r := mountRequest{program: name}
	cmd := &cobra.Command{Use: name + " SOURCE DIR", SilenceErrors: true, SilenceUsage: true}
	f := cmd.Flags()
	f.StringArrayVarP(&r.options, "options", "o", nil, "options, separated by commas")
	f.BoolVarP(&r.sloppy, "sloppy", "s", false, "pass over unknown options")
	f.BoolVarP(&r.fake, "fake", "f", false, "do all but mount")
	f.BoolP("no-mtab", "n", false, "nothing: there is no mtab")
	f.BoolVarP(&r.verbose, "verbose", "v", false, "say what was mounted")
	f.BoolVarP(&r.readOnly, "read-only", "r", false, "the same as -o ro")
	f.BoolVarP(&r.readWrite, "rw", "w", false, "the same as -o rw")
	f.StringP("type", "t", "", "nothing: the type is known")
	f.StringP("namespace", "N", "", "not supported")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return mountFail(cmd, control.Errorf(control.Usage, "%v", err))
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r.stdout, r.stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
		if len(args) != 2 {
			return mountFail(cmd, control.Errorf(control.Usage, "give a source and a directory"))
		}
		if f.Changed("namespace") {
			return mountFail(cmd, control.Errorf(control.Usage, "-N: the daemon mounts in its own namespace only"))
		}
		r.source, r.dir = args[0], args[1]
		return mountFail(cmd, r.run(cmd.Context()))
	}
	return cmd
}

func daemonFlags(cmd *cobra.Command, socket, data *string) {
	cmd.Flags().StringVar(socket, "socket", "", "the daemon's socket (default "+control.Socket+")")
	cmd.Flags().StringVar(data, "data", "", "the daemon's data directory, which has a socket, too")
}

// mountFail says what went wrong, and ends with mount(8)'s code for it.
func mountFail(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	name := cmd.CommandPath()
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\n", name, err)
	var e *control.Error
	var quiet silent
	switch {
	case errors.As(err, &quiet):
		return err
	case cmd.Context() != nil && cmd.Context().Err() != nil:
		return silent{mountCanceled}
	case !errors.As(err, &e):
		return silent{mountSystem}
	case e.Code == control.Usage || e.Code == control.Denied:
		return silent{mountUsage}
	}
	return silent{mountFailed}
}

// run mounts.
func (r *mountRequest) run(ctx context.Context) error {
	list := strings.Join(r.options, ",")
	if r.readOnly {
		list += ",ro"
	}
	if r.readWrite {
		list += ",rw"
	}
	o, local, err := control.ParseOptions(list, r.sloppy)
	if err != nil {
		return control.Errorf(control.Usage, "%v", err)
	}
	accessKey, secret, err := credentials(local, os.Getenv, os.Geteuid())
	if err != nil {
		return control.Errorf(control.Usage, "%v", err)
	}
	if local.Accounts != "" {
		if o.Accounts, err = readAccounts(local.Accounts); err != nil {
			return err
		}
	}
	if err := o.Validate(); err != nil {
		return err
	}
	if r.fake {
		return nil
	}
	dir, err := r.openDir()
	if err != nil {
		return err
	}
	defer dir.Close()
	socket := socketPath(r.socket, r.data, local.Socket)
	request := control.Request{Op: control.OpMount, Source: r.source, AccessKey: accessKey, Options: o}
	reply, err := control.Ask(ctx, socket, request, secret, dir)
	if err != nil {
		return noDaemon(err, socket)
	}
	if reply.Warning != "" {
		fmt.Fprintf(r.stderr, "%s: warning: %s\n", r.program, reply.Warning)
	}
	if r.verbose {
		fmt.Fprintf(r.stdout, "%s: %s mounted on %s\n", r.program, r.source, reply.Dir)
	}
	return nil
}

// readAccounts reads the table of accounts that -o accounts names.
func readAccounts(path string) (*control.Accounts, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, control.Errorf(control.Usage, "the table of accounts: %v", err)
	}
	table, err := control.ParseAccounts(string(text))
	if err != nil {
		return nil, control.Errorf(control.Usage, "the table of accounts %s: %v", path, err)
	}
	return table, nil
}

// openDir opens the mount point for the daemon, and frees it of a mount whose daemon was killed.
func (r *mountRequest) openDir() (*os.File, error) {
	for {
		fd, err := unix.Open(r.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, control.Errorf(control.Failed, "the mount point %s: %v", r.dir, err)
		}
		dir := os.NewFile(uintptr(fd), r.dir)
		err = unix.Fstatfs(fd, new(unix.Statfs_t))
		if err == nil {
			return dir, nil
		}
		_ = dir.Close()
		if err != unix.ENOTCONN {
			return nil, control.Errorf(control.Failed, "the mount point %s: %v", r.dir, err)
		}
		if err := detach(r.dir, true); err != nil {
			return nil, control.Errorf(control.Failed, "the dead mount at %s: %v", r.dir, err)
		}
		fmt.Fprintf(r.stderr, "%s: removed the mount of a daemon that was killed\n", r.program)
	}
}

func socketPath(flag, data, option string) string {
	switch {
	case flag != "":
		return flag
	case data != "":
		return filepath.Join(data, control.SocketName)
	case option != "":
		return option
	case os.Getenv("K3FS_CONTROL__LISTEN") != "":
		return os.Getenv("K3FS_CONTROL__LISTEN")
	case os.Getenv("K3FS_DATA") != "":
		return filepath.Join(os.Getenv("K3FS_DATA"), control.SocketName)
	}
	return control.Socket
}

// noDaemon makes an error of reaching the daemon say what to do.
func noDaemon(err error, socket string) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("no k3fs daemon listens at %s: start one ('k3fs serve'), or name its data directory with --data", socket)
	}
	return err
}

func newUmount() *cobra.Command {
	var socket, data string
	cmd := &cobra.Command{
		Use:   "umount DIR",
		Short: "unmount what k3fs mount mounted, also a mount whose daemon has died",
		Long: `Write back what is not yet written, and unmount. A mount in use stays, and is said by whom; with -l it leaves
the tree at once and ends with its last user.

Exit codes are those of mount(8): 0 unmounted, 1 wrong usage or not permitted, 2 system error, 32 not unmounted.`,
	}
	lazy := cmd.Flags().BoolP("lazy", "l", false, "detach now, although it is in use")
	daemonFlags(cmd, &socket, &data)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return mountFail(cmd, control.Errorf(control.Usage, "%v", err))
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return mountFail(cmd, control.Errorf(control.Usage, "give one directory"))
		}
		return mountFail(cmd, umountDir(cmd.Context(), socketPath(socket, data, ""), args[0], *lazy))
	}
	return cmd
}

// umountDir unmounts by way of the daemon, which writes back first, or directly when there is none.
func umountDir(ctx context.Context, socket, name string, lazy bool) error {
	dir, err := mountPath(name)
	if err != nil {
		return control.Errorf(control.Failed, "%v", err)
	}
	at, err := mountAt(dir)
	switch {
	case err != nil:
		return err
	case at == nil:
		return control.Errorf(control.Failed, "nothing is mounted at %s", dir)
	case at.FSType != mountType:
		return control.Errorf(control.Failed, "what is mounted at %s is no k3fs but %s: use umount(8)", dir, at.FSType)
	}
	if dead(dir) {
		return failedUmount(detach(dir, true), dir)
	}
	_, err = control.Ask(ctx, socket, control.Request{Op: control.OpUmount, Dir: dir, Lazy: lazy}, "", nil)
	var e *control.Error
	if err != nil && (!errors.As(err, &e) || e.Code == control.Absent) { // not this daemon's
		err = detach(dir, lazy)
	}
	return failedUmount(err, dir)
}

// failedUmount makes the error of a busy mount say who uses it.
func failedUmount(err error, dir string) error {
	var e *control.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY) || errors.As(err, &e) && e.Code == control.Busy:
		who := "somebody"
		if users := usersOf(dir); len(users) > 0 {
			who = strings.Join(users, ", ")
		}
		return control.Errorf(control.Busy, "%s is in use by %s: end that first, or detach it with 'k3fs umount -l %s'", dir, who, dir)
	case errors.As(err, &e):
		return err
	case errors.Is(err, unix.EPERM):
		return control.Errorf(control.Denied, "%s: only root, or who mounted it, may unmount it", dir)
	}
	return control.Errorf(control.Failed, "%s: %v", dir, err)
}

// detach unmounts without a daemon: with umount2(2), or fusermount3 for others than root.
func detach(dir string, lazy bool) error {
	flags, args := unix.UMOUNT_NOFOLLOW, []string{"-u", dir}
	if lazy {
		flags, args = flags|unix.MNT_DETACH, []string{"-u", "-z", dir}
	}
	err := unix.Unmount(dir, flags)
	if err != unix.EPERM {
		return err
	}
	out, e := exec.Command("fusermount3", args...).CombinedOutput()
	switch {
	case e == nil:
		return nil
	case strings.Contains(string(out), "busy"):
		return unix.EBUSY
	case errors.Is(e, exec.ErrNotFound):
		return err
	}
	return errors.New(strings.TrimSpace(string(out)))
}

// mountPath is the absolute path of a mount point, which may be dead: then only its parents can be asked.
func mountPath(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	if path, err := filepath.EvalSymlinks(abs); err == nil {
		return path, nil
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	return filepath.Join(parent, filepath.Base(abs)), err
}

// mountAt is the topmost mount at dir, or nil.
func mountAt(dir string) (*mountinfo.Info, error) {
	found, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	all, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return i.Mountpoint != dir, false })
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[len(all)-1], nil
}

// usersOf names processes that use what is below dir, as far as we may see.
func usersOf(dir string) []string {
	var users []string
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, kind := range []string{"cwd", "root", "exe"} {
		more, _ := filepath.Glob("/proc/[0-9]*/" + kind)
		links = append(links, more...)
	}
	for _, link := range links {
		to, err := os.Readlink(link)
		if err != nil || to != dir && !strings.HasPrefix(to, strings.TrimRight(dir, "/")+"/") {
			continue
		}
		pid := strings.Split(link, "/")[2]
		comm, _ := os.ReadFile("/proc/" + pid + "/comm")
		user := fmt.Sprintf("process %s (%s)", pid, strings.TrimSpace(string(comm)))
		if !slices.Contains(users, user) && len(users) < 5 {
			users = append(users, user)
		}
	}
	return users
}

// deadWithin is how long a mount may take to say that it is dead. One that hangs is not.
const deadWithin = time.Second

// dead reports whether a mount's daemon has ended without unmounting.
func dead(dir string) bool {
	said := make(chan error, 1)
	go func() { said <- unix.Statfs(dir, new(unix.Statfs_t)) }()
	select {
	case err := <-said:
		return err == unix.ENOTCONN
	case <-time.After(deadWithin):
		return false
	}
}

// listMounts prints the mounts of this host.
func listMounts(w io.Writer) error {
	all, err := mountinfo.GetMounts(mountinfo.FSTypeFilter(mountType))
	if err != nil {
		return err
	}
	for _, m := range all {
		state := ""
		if dead(m.Mountpoint) {
			state = " dead: its daemon was killed; 'k3fs umount' removes it"
		}
		if _, err := fmt.Fprintf(w, "%s on %s (%s)%s\n", m.Source, m.Mountpoint, m.Options+","+m.VFSOptions, state); err != nil {
			return err
		}
	}
	return nil
}
