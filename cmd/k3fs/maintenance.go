package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"k3fs/daemon/adminapi/adminv1"
)

func newMaintenance() *cobra.Command {
	a := &api{}
	cmd := group("maintenance", "drain the node, make it read-only, check it, back it up, collect garbage (for who operates it)", "",
		a.verb("status", "say in which mode the node is", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
			answer, err := call(cmd.Context(), s.maintenance.GetMaintenance, &adminv1.GetMaintenanceRequest{})
			if err != nil {
				return err
			}
			return a.showMaintenance(cmd, answer.Maintenance)
		}),
		newDrain(a),
		a.verb("undrain", "take new requests again", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
			answer, err := call(cmd.Context(), s.maintenance.Undrain, &adminv1.UndrainRequest{})
			if err != nil {
				return err
			}
			return a.showMaintenance(cmd, answer.Maintenance)
		}),
		newReadOnly(a, "readonly", "refuse all changes of buckets and what is in them, by S3 and on mounts, also after a restart", true),
		newReadOnly(a, "readwrite", "end read-only mode", false),
		newScrub(a),
		newBackup(a),
		newGC(a),
	)
	a.flags(cmd)
	return cmd
}

func (a *api) showMaintenance(cmd *cobra.Command, m *adminv1.Maintenance) error {
	return show(a, cmd, m, func(w io.Writer) {
		row(w, "draining", yesNo(m.Draining))
		row(w, "read-only", yesNo(m.ReadOnly))
		row(w, "requests under way", m.Requests)
		row(w, "files open on mounts", m.OpenFiles)
	})
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func newDrain(a *api) *cobra.Command {
	var wait time.Duration
	cmd := a.verb("drain", "refuse new requests, mounts and opens, and let what is under way end", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
		answer, err := call(cmd.Context(), s.maintenance.Drain, &adminv1.DrainRequest{})
		if err != nil {
			return err
		}
		m := answer.Maintenance
		for end := time.Now().Add(wait); m.Requests+m.OpenFiles > 0 && time.Now().Before(end); {
			if err := pause(cmd.Context(), 200*time.Millisecond); err != nil {
				return err
			}
			now, err := call(cmd.Context(), s.maintenance.GetMaintenance, &adminv1.GetMaintenanceRequest{})
			if err != nil {
				return err
			}
			m = now.Maintenance
		}
		if err := a.showMaintenance(cmd, m); err != nil {
			return err
		}
		if wait > 0 && m.Requests+m.OpenFiles > 0 {
			return fmt.Errorf("not drained after %v: %d requests and %d open files are left; wait longer, or stop the daemon, which cuts them off", wait, m.Requests, m.OpenFiles)
		}
		return nil
	})
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait so long for what is under way, and fail if it has not ended")
	return cmd
}

func newReadOnly(a *api, name, short string, on bool) *cobra.Command {
	return a.verb(name, short, noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
		answer, err := call(cmd.Context(), s.maintenance.SetReadOnly, &adminv1.SetReadOnlyRequest{ReadOnly: on})
		if err != nil {
			return err
		}
		return a.showMaintenance(cmd, answer.Maintenance)
	})
}

func newScrub(a *api) *cobra.Command {
	return group("scrub", "check metadata and data while they are in use",
		`What k3fs fsck checks, without stopping anything. It changes nothing: what it finds is mended from a backup.`,
		newScrubStart(a),
		a.verb("status", "say how far the scrub is, or what the last one found", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
			answer, err := call(cmd.Context(), s.maintenance.GetScrub, &adminv1.GetScrubRequest{})
			if err != nil {
				return err
			}
			return a.showScrub(cmd, answer.Scrub)
		}),
		a.verb("stop", "end it early", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
			answer, err := call(cmd.Context(), s.maintenance.StopScrub, &adminv1.StopScrubRequest{})
			if err != nil {
				return err
			}
			return a.showScrub(cmd, answer.Scrub)
		}))
}

func newScrubStart(a *api) *cobra.Command {
	q, rate, wait := &adminv1.StartScrubRequest{}, "", false
	cmd := a.verb("start", "begin one", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
		if rate != "" {
			n, err := humanize.ParseBytes(rate)
			if err != nil || n == 0 || n > 1<<50 {
				return usageError{fmt.Errorf("--rate %s: write a size, as 100MiB", rate)}
			}
			q.BytesPerSecond = int64(n)
		}
		answer, err := call(cmd.Context(), s.maintenance.StartScrub, q)
		if err != nil {
			return err
		}
		if !wait {
			return a.showScrub(cmd, answer.Scrub)
		}
		scrub := answer.Scrub
		err = follow(cmd, "scrub", func() (*adminv1.Job, error) {
			answer, err := call(cmd.Context(), s.maintenance.GetScrub, &adminv1.GetScrubRequest{})
			if err != nil {
				return nil, err
			}
			scrub = answer.Scrub
			return scrub.Job, nil
		})
		if err != nil {
			return err
		}
		if err := a.showScrub(cmd, scrub); err != nil {
			return err
		}
		if len(scrub.Problems) > 0 {
			return errors.New("the store is damaged: keep it as it is, check it with 'k3fs fsck', and restore what is lost from a backup")
		}
		return nil
	})
	f := cmd.Flags()
	f.BoolVar(&q.Data, "data-too", false, "read and authenticate every byte of data, too")
	f.StringVar(&rate, "rate", "", "read at most so much data each second (default as fast as the disk)")
	f.BoolVar(&wait, "wait", false, "wait for its end, and fail if it finds a problem")
	return cmd
}

func (a *api) showScrub(cmd *cobra.Command, s *adminv1.Scrub) error {
	return show(a, cmd, s, func(w io.Writer) {
		row(w, "scrub", jobState(s.Job))
		if s.Job.GetBegan() == nil {
			return
		}
		row(w, "checked", fmt.Sprintf("%d records, %d inodes, %d pieces of data", s.Records, s.Inodes, s.Extents))
		row(w, "problems", int64(len(s.Problems))+s.MoreProblems)
		for _, p := range s.Problems {
			row(w, "", p)
		}
	})
}

// jobState is how far long work is, in words.
func jobState(j *adminv1.Job) string {
	switch {
	case j.GetBegan() == nil:
		return "none since the daemon's start"
	case j.Running && j.OfBytes > 0:
		return fmt.Sprintf("at %s: %s of %s", j.Phase, humanize.IBytes(uint64(j.DoneBytes)), humanize.IBytes(uint64(j.OfBytes)))
	case j.Running:
		return "at " + j.Phase
	case j.Trouble != "":
		return "ended early at " + when(j.Ended) + ": " + j.Trouble
	}
	return "done at " + when(j.Ended) + ", after " + j.Ended.AsTime().Sub(j.Began.AsTime()).Round(time.Millisecond).String()
}

// follow waits for the end of long work, and shows how far it is where somebody looks at a terminal. Work that ended
// before it was done is an error. The work goes on if the command is interrupted.
func follow(cmd *cobra.Command, name string, ask func() (*adminv1.Job, error)) error {
	var p *mpb.Progress
	var bar *mpb.Bar
	if f, ok := cmd.ErrOrStderr().(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		p = mpb.New(mpb.WithOutput(f), mpb.WithWidth(40))
		bar = p.AddBar(0, mpb.PrependDecorators(decor.Name(name+" "), decor.CountersKibiByte("% .1f / % .1f ")), mpb.AppendDecorators(decor.Percentage()))
		defer p.Wait()
		defer bar.Abort(false)
	}
	for {
		j, err := ask()
		if err != nil {
			return err
		}
		if bar != nil {
			bar.SetTotal(j.OfBytes, false)
			bar.SetCurrent(j.DoneBytes)
		}
		if !j.Running {
			if j.Trouble != "" {
				return fmt.Errorf("the %s ended before it was done: %s", name, j.Trouble)
			}
			return nil
		}
		if err := pause(cmd.Context(), 200*time.Millisecond); err != nil {
			return fmt.Errorf("the %s goes on without being watched: %w", name, err)
		}
	}
}

// pause waits, until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
