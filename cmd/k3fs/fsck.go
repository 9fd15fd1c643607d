package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"k3fs/daemon"
)

// Exit codes of fsck(8).
const (
	fsckClean    = 0
	fsckErrors   = 4 // errors left uncorrected
	fsckTrouble  = 8 // operational error
	fsckUsage    = 16
	fsckCanceled = 32
)

func newFsck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "check, offline and read-only, that metadata and data agree",
		Long: `Check a data directory that no daemon uses: every record of the metadata, every reference from metadata
to data, and the header of every piece of data; with --data-too also every byte of data.

Nothing is repaired. Exit codes are those of fsck(8): 0 clean, 4 errors found, 8 the check could not be
done, 16 wrong usage, 32 interrupted.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := noArgs(cmd, args); err != nil {
				return fsckFailed(cmd, fsckUsage, err)
			}
			return nil
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return fsckFailed(cmd, fsckUsage, err) })
	f := cmd.Flags()
	file := f.String("config", "", "configuration file (default "+daemon.DefaultFile+", if it exists)")
	f.String("data", "", "data directory to check")
	f.String("master-key", "", "file of the master key (default master.key in the data directory)")
	f.String("log-level", "warn", "debug, info, warn or error")
	asJSON := f.Bool("json", false, "print JSON")
	deep := f.Bool("data-too", false, "read and authenticate all data")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		flags := given(f)
		flags["log.level"] = f.Lookup("log-level").Value.String()
		cfg, err := daemon.Load(daemon.Sources{File: *file, Environ: os.Environ(), Flags: flags})
		if err != nil {
			return fsckFailed(cmd, fsckUsage, err)
		}
		report, err := daemon.Fsck(cmd.Context(), cfg, *deep, daemon.NewLogger(cfg.Log, new(slog.LevelVar), os.Stderr))
		if cmd.Context().Err() != nil {
			return fsckFailed(cmd, fsckCanceled, cmd.Context().Err())
		}
		if err != nil {
			return fsckFailed(cmd, fsckTrouble, err)
		}
		if err := printReport(cmd.OutOrStdout(), report, *asJSON); err != nil {
			return fsckFailed(cmd, fsckTrouble, err)
		}
		if len(report.Problems) > 0 {
			return silent{fsckErrors}
		}
		return nil
	}
	return cmd
}

// fsckFailed says why, and ends with one of fsck's exit codes.
func fsckFailed(cmd *cobra.Command, code int, err error) error {
	fmt.Fprintf(cmd.ErrOrStderr(), "k3fs fsck: %v\n", err)
	return silent{code}
}

func printReport(w io.Writer, r daemon.Report, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	for _, p := range r.Problems {
		if _, err := fmt.Fprintln(w, p); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w, r.Summary())
	return err
}
