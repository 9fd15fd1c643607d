package main

import (
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"k3fs/daemon/adminapi/adminv1"
)

func newClock() *cobra.Command {
	a := &api{}
	showClock := func(cmd *cobra.Command, c *adminv1.Clock) error {
		return show(a, cmd, c, func(w io.Writer) {
			state := "goes"
			if c.Frozen {
				state = "stands still, since the host's clock is further ahead than is believed: if it is right, run 'k3fs clock confirm'"
			}
			row(w, "locks go by "+when(c.Now)+", the host by "+when(c.Wall)+"; the clock "+state)
		})
	}
	cmd := group("clock", "show and confirm the time by which locks expire", "",
		&cobra.Command{Use: "show", Short: "show it", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			answer, err := call(cmd.Context(), s.node.GetClock, &adminv1.GetClockRequest{})
			if err != nil {
				return err
			}
			return showClock(cmd, answer.Clock)
		}},
		&cobra.Command{Use: "confirm", Short: "take the host's time for the true one (audited)", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			answer, err := call(cmd.Context(), s.node.ConfirmClock, &adminv1.ConfirmClockRequest{})
			if err != nil {
				return err
			}
			return showClock(cmd, answer.Clock)
		}})
	a.flags(cmd)
	return cmd
}

func newStatus() *cobra.Command {
	a := &api{}
	cmd := &cobra.Command{Use: "status", Short: "say how the daemon is (for who operates it)", Args: noArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := a.connect()
		if err != nil {
			return err
		}
		st, err := call(cmd.Context(), s.node.GetStatus, &adminv1.GetStatusRequest{})
		if err != nil {
			return err
		}
		return show(a, cmd, st, func(w io.Writer) {
			state := "ready"
			if !st.Ready {
				state = "not ready: " + st.Reason
			}
			row(w, "state", state)
			row(w, "version", st.Version)
			row(w, "up", time.Since(st.Started.AsTime()).Round(time.Second))
			row(w, "S3", orNone(st.S3Address))
			row(w, "mount", orNone(st.MountPoint))
			row(w, "mounts on demand", st.Mounts)
			row(w, "disk", humanize.IBytes(uint64(st.DiskFreeBytes))+" free of "+humanize.IBytes(uint64(st.DiskBytes))+
				"; writes are refused below "+humanize.IBytes(uint64(st.DiskLowWaterBytes)))
			if st.Clock.GetFrozen() {
				row(w, "clock", "stands still: see 'k3fs clock show'")
			}
		})
	}
	a.flags(cmd)
	return cmd
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
