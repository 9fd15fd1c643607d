package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/dustin/go-humanize"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"k3fs/daemon"
	"k3fs/daemon/adminapi/adminv1"
)

func newBackup(a *api) *cobra.Command {
	return group("backup", "copy the whole store while it is in use",
		`A backup is a directory below the configuration's backup.dir, on the daemon's host: all metadata and data as they were at one
moment, sealed as they are in the store. 'k3fs restore' makes a data directory of it, and 'k3fs fsck --data' checks it.`,
		newBackupStart(a),
		a.verb("status", "say how far the backup is, or how the last one ended", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
			answer, err := call(cmd.Context(), s.maintenance.GetBackup, &adminv1.GetBackupRequest{})
			if err != nil {
				return err
			}
			return a.showBackup(cmd, answer.Backup)
		}),
		a.verb("stop", "end it early, and remove what there is of it", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
			answer, err := call(cmd.Context(), s.maintenance.StopBackup, &adminv1.StopBackupRequest{})
			if err != nil {
				return err
			}
			return a.showBackup(cmd, answer.Backup)
		}))
}

func newBackupStart(a *api) *cobra.Command {
	q, wait := &adminv1.StartBackupRequest{}, false
	cmd := a.verb("start", "begin one", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
		answer, err := call(cmd.Context(), s.maintenance.StartBackup, q)
		if err != nil {
			return err
		}
		backup := answer.Backup
		if wait {
			err = follow(cmd, "backup", func() (*adminv1.Job, error) {
				answer, err := call(cmd.Context(), s.maintenance.GetBackup, &adminv1.GetBackupRequest{})
				if err != nil {
					return nil, err
				}
				backup = answer.Backup
				return backup.Job, nil
			})
			if err != nil {
				return err
			}
		}
		return a.showBackup(cmd, backup)
	})
	f := cmd.Flags()
	f.StringVar(&q.Name, "name", "", "name of its directory (default the time)")
	f.BoolVar(&wait, "wait", false, "wait for its end, and fail if it can't be made")
	return cmd
}

func (a *api) showBackup(cmd *cobra.Command, b *adminv1.Backup) error {
	return show(a, cmd, b, func(w io.Writer) {
		row(w, "backup", jobState(b.Job))
		if b.Job.GetBegan() == nil {
			return
		}
		row(w, "directory", b.Path)
		row(w, "copied", fmt.Sprintf("%d records, %d pieces of data, %s", b.Records, b.Extents, humanize.IBytes(uint64(b.Job.DoneBytes))))
	})
}

func newRestore() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore BACKUP",
		Short: "make a data directory from a backup",
		Long: `Make the data directory, which must be absent or empty, from a backup that 'k3fs maintenance backup' has made, and check it.
The master key, or key service, is the one that the store had when the backup was made. Nothing is left if it fails.
What is locked or held in the backup is so in what is restored. Everything that was done since is not in it.`,
		Args: exactly(1, "the directory of a backup"),
	}
	f := cmd.Flags()
	file := f.String("config", "", "configuration file (default "+daemon.DefaultFile+", if it exists)")
	f.String("data", "", "data directory to make")
	f.String("master-key", "", "file of the backup's master key")
	f.String("log-level", "warn", "debug, info, warn or error")
	deep := f.Bool("data-too", false, "read and authenticate all data when it is restored")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		flags := given(f)
		flags["log.level"] = f.Lookup("log-level").Value.String()
		cfg, err := daemon.Load(daemon.Sources{File: *file, Environ: os.Environ(), Flags: flags})
		if err != nil {
			return err
		}
		tell, done := restoring(cmd)
		report, err := daemon.Restore(cmd.Context(), cfg, args[0], *deep, tell, daemon.NewLogger(cfg.Log, new(slog.LevelVar), os.Stderr))
		done()
		if err != nil {
			return fmt.Errorf("restore %s: %w", args[0], err)
		}
		if err := printReport(cmd.OutOrStdout(), report, false); err != nil {
			return err
		}
		if len(report.Problems) > 0 {
			return silent{exitFailed}
		}
		return nil
	}
	return cmd
}

// restoring shows how far a restore is, where somebody looks at a terminal.
func restoring(cmd *cobra.Command) (tell func(phase string, done, of int64), done func()) {
	f, ok := cmd.ErrOrStderr().(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return func(string, int64, int64) {}, func() {}
	}
	p, bar := progress(cmd, "restore", 0)
	return func(_ string, done, of int64) {
			bar.SetTotal(of, false)
			bar.SetCurrent(done)
		}, func() {
			bar.Abort(false)
			p.Wait()
		}
}
