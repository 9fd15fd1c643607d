// Command k3fs is the storage daemon and its tools. It turns flags into a daemon.Config, and errors into
// exit codes: 0 success, 1 failure, 2 wrong usage, 78 (EX_CONFIG) a configuration that can't be used.
// "k3fs fsck" uses the codes of fsck(8), "k3fs mount" and "k3fs umount" those of mount(8).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"k3fs/daemon"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitConfig = 78 // EX_CONFIG of sysexits.h
)

// version is set by the linker (see the Makefile).
var version = "devel"

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

// run runs one command line, whose first word is the program's name, and returns its exit code.
func run(args []string, stdout, stderr io.Writer) int {
	syscall.Umask(0o077) // what k3fs makes on the host is its own alone
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)  // a second signal ends the process at once
	signal.Ignore(syscall.SIGHUP) // a closed terminal is no reason to stop; a daemon that serves reads files again
	root := newRoot()
	if name := filepath.Base(args[0]); name == "mount."+mountType || name == "mount.k3fs" { // mount(8) calls
		root = newMountHelper(name)
	}
	root.SetArgs(args[1:])
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := exitCode(err)
	if err != nil && !errors.As(err, new(silent)) {
		fmt.Fprintf(stderr, "k3fs: %v\n", err)
	}
	if errors.As(err, new(usageError)) {
		fmt.Fprintln(stderr, "Try 'k3fs --help'.")
	}
	return code
}

// usageError is a command line that makes no sense.
type usageError struct{ error }

// silent is an exit code whose reason was already told.
type silent struct{ code int }

func (s silent) Error() string { return fmt.Sprintf("exit code %d", s.code) }

func exitCode(err error) int {
	var quiet silent
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &quiet):
		return quiet.code
	case errors.As(err, new(usageError)):
		return exitUsage
	case errors.As(err, new(*daemon.ConfigError)):
		return exitConfig
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "k3fs",
		Short:         "one namespace on local NVMe, two equal doors: a POSIX mount and an S3 endpoint",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return usageError{errors.New("no command given")}
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newServe(), newConfig(), newMount(), newUmount(), newLogin(), newContext(), newStatus(), newTenant(), newAccount(), newKey(), newPolicy(), newBucket(), newObject(), newHold(), newSession(), newMounts(), newAudit(), newClock(), newQuota(), newUsage(), newMaintenance(), newFsck(), newRestore(), newMan(), newVersion())
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command or argument %q", args[0])}
	}
	return nil
}
