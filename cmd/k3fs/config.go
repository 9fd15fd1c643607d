package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"k3fs/daemon"
)

func newConfig() *cobra.Command {
	return group("config", "check the daemon's configuration", "", newConfigCheck())
}

func newConfigCheck() *cobra.Command {
	a := &api{output: "table"}
	cmd := &cobra.Command{Use: "check", Short: "say whether serve could use its configuration, and where each value comes from", Args: noArgs,
		Long: `Read the configuration as serve does, with the same flags, environment and files, and the files that it names.
What is set is shown with where that was; all else has its default. What can't be used is said, with exit code 78.
Nothing is opened or changed.`,
		Example: "  k3fs config check --data /var/lib/k3fs --mount /mnt/k3fs"}
	file := serveFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := daemon.Explain(daemon.Sources{File: *file, Environ: os.Environ(), Flags: given(cmd.Flags())})
		shown := a.show(cmd, all, func(w io.Writer) {
			for _, one := range all {
				row(w, one.Key, one.Value, one.From)
			}
			if err == nil {
				row(w, "ok")
			}
		})
		if err != nil {
			return err
		}
		return shown
	}
	return cmd
}
