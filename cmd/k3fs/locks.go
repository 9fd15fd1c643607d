package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"k3fs/daemon/control"
	"k3fs/namespace"
)

func newHold() *cobra.Command {
	a := &asker{}
	cmd := group("hold", "keep data as they are, through both doors, until the hold is released",
		`A hold keeps all data of a tenant, a bucket, or the keys with a prefix as they are, those that come later
included. In a bucket that keeps versions, work goes on above what is held; in others what is held can't be
overwritten, written, renamed or removed, and new files can be made, which are then held.

Who is asked for is said as for k3fs mount; root needs no access key. Placing and releasing are audited.`,
		newHoldPlace(a), newHoldRelease(a), newHoldList(a), newHoldShow(a), newHoldReport(a))
	a.flags(cmd)
	return cmd
}

func newHoldPlace(a *asker) *cobra.Command {
	var h control.Hold
	var until, period string
	cmd := &cobra.Command{
		Use: "place", Short: "place a hold", Args: noArgs,
		Example: `  k3fs hold place --reason "case 2026-114"
  k3fs hold place --bucket mail --prefix 2025/ --until 2030-01-01 --reason "case 2026-114"
  k3fs hold place --bucket trades --period 6y --regime sec-17a-4 --reason "trade records"`,
	}
	f := cmd.Flags()
	f.StringVar(&h.Bucket, "bucket", "", "of this bucket (default: all of the tenant's)")
	f.StringVar(&h.Prefix, "prefix", "", "only keys that begin so")
	f.StringVar(&h.Reason, "reason", "", "why (required)")
	f.StringVar(&until, "until", "", "when the hold ends by itself: 2030-01-31 or 2030-01-31T12:00:00Z (default never)")
	f.StringVar(&period, "period", "", "in place of --until: each version for so long after it was published: 90d, 6y, 12h")
	f.StringVar(&h.Tag, "regime", "", "the rule that asks for it; it can then not be released while there are data")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if h.Until, err = parseTime(until); err != nil {
			return usageError{err}
		}
		if h.Period, err = parsePeriod(period); err != nil {
			return usageError{err}
		}
		if h.Reason == "" {
			return usageError{errors.New("a hold needs a --reason")}
		}
		var placed control.Hold
		if err := a.ask(cmd.Context(), control.OpHoldPlace, h, &placed); err != nil {
			return err
		}
		if a.json {
			return printJSON(cmd.OutOrStdout(), placed)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), placed.ID)
		return err
	}
	return cmd
}

// parseTime reads a day or a moment; empty is the zero time.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2030-01-31 or 2030-01-31T12:00:00Z", s)
}

// parsePeriod reads 6y (of 366 days, so that no leap year cuts it short), 90d, or what Go calls a duration.
func parsePeriod(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	for unit, days := range map[string]int{"y": 366, "d": 1} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			count, err := strconv.Atoi(n)
			if err != nil || count <= 0 || count > 1000*366/days {
				return "", fmt.Errorf("%q is no period: write 6y, 90d or 12h", s)
			}
			return (time.Duration(min(count*days, 106_000)) * 24 * time.Hour).String(), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return "", fmt.Errorf("%q is no period: write 6y, 90d or 12h", s)
	}
	return d.String(), nil
}

func newHoldRelease(a *asker) *cobra.Command {
	var h control.Hold
	cmd := &cobra.Command{Use: "release ID", Short: "release a hold", Args: exactly(1, "the id of a hold")}
	cmd.Flags().StringVar(&h.Reason, "reason", "", "why (required)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if h.Reason == "" {
			return usageError{errors.New("a release needs a --reason")}
		}
		h.ID = args[0]
		return a.ask(cmd.Context(), control.OpHoldRelease, h, nil)
	}
	return cmd
}

func newHoldList(a *asker) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "list the holds", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		all, err := list[control.Hold](cmd.Context(), a, control.OpHoldList)
		if err != nil {
			return err
		}
		if a.json {
			return printJSON(cmd.OutOrStdout(), all)
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tSCOPE\tUNTIL\tBY\tREASON")
		for _, h := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", h.ID, scopeOf(h), endOf(h), h.By, h.Reason)
		}
		return w.Flush()
	}}
}

func scopeOf(h control.Hold) string {
	switch {
	case h.Bucket == "":
		return "all"
	case h.Prefix == "":
		return h.Bucket
	}
	return h.Bucket + "/" + h.Prefix
}

func endOf(h control.Hold) string {
	switch {
	case h.Period != "":
		return h.Period + " after publication"
	case h.Until.IsZero():
		return "it is released"
	}
	return h.Until.Format(time.RFC3339)
}

func newHoldShow(a *asker) *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "show one hold", Args: exactly(1, "the id of a hold"), RunE: func(cmd *cobra.Command, args []string) error {
		all, err := list[control.Hold](cmd.Context(), a, control.OpHoldList)
		if err != nil {
			return err
		}
		for _, h := range all {
			if h.ID == args[0] {
				return printJSON(cmd.OutOrStdout(), h)
			}
		}
		return fmt.Errorf("there is no hold %q", args[0])
	}}
}

func newHoldReport(a *asker) *cobra.Command {
	return &cobra.Command{Use: "report", Short: "say what is held, why, until when, and how much it is", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		all, err := list[control.HoldUse](cmd.Context(), a, control.OpHoldReport)
		if err != nil {
			return err
		}
		if a.json {
			return printJSON(cmd.OutOrStdout(), all)
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tSCOPE\tUNTIL\tVERSIONS\tBYTES\tREASON")
		for _, h := range all {
			end := endOf(h.Hold)
			if h.Over {
				end += " (over)"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", h.ID, scopeOf(h.Hold), end, h.Objects, humanize.IBytes(uint64(h.Bytes)), h.Reason)
		}
		return w.Flush()
	}}
}

func newAudit() *cobra.Command {
	a := &asker{}
	cmd := group("audit", "export and verify the log of what was done about locks and holds",
		`Each tenant has a log of every placing, releasing and refusal. Its records are lines of JSON, each with the
SHA-256 of the one before it, so that nothing can be changed, removed or put between unseen.`,
		newAuditExport(a), newAuditVerify(a))
	a.flags(cmd)
	return cmd
}

func newAuditExport(a *asker) *cobra.Command {
	return &cobra.Command{Use: "export", Short: "print the log, and its head as the last line", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		out := bufio.NewWriter(cmd.OutOrStdout())
		var end struct {
			Seq int `json:"head"`
		}
		for n := 0; ; {
			var page control.AuditPage
			if err := a.ask(cmd.Context(), control.OpAuditRecords, control.Page{After: n}, &page); err != nil {
				return err
			}
			for _, line := range page.Records {
				fmt.Fprintf(out, "%s\n", line)
			}
			n += len(page.Records)
			if err := json.Unmarshal(page.Head, &end); err != nil {
				return err
			}
			if n >= end.Seq {
				fmt.Fprintf(out, "%s\n", page.Head)
				return out.Flush()
			}
			if len(page.Records) == 0 {
				return fmt.Errorf("the log ends at record %d, its head says %d: run k3fs audit verify", n, end.Seq)
			}
		}
	}}
}

func newAuditVerify(a *asker) *cobra.Command {
	offline := false
	cmd := &cobra.Command{
		Use: "verify [FILE]", Short: "check the daemon's log, or an export of it",
		Long: `Without FILE the daemon checks its own log. With FILE the export is checked here, and the daemon is asked
whether it is the beginning of its log; --offline leaves that out.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{errors.New("give one file, or none")}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&offline, "offline", false, "don't ask the daemon: only the export itself is checked")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		check := control.AuditCheck{Verify: true}
		if len(args) == 1 {
			head, err := verifyFile(args[0])
			if err != nil {
				return err
			}
			check = control.AuditCheck{Seq: head.Seq, Hash: head.Hash}
			if offline {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d records, whole; the last is %s\n", head.Seq, head.Hash)
				return err
			}
		}
		var answer control.AuditAnswer
		if err := a.ask(cmd.Context(), control.OpAuditHead, check, &answer); err != nil {
			return err
		}
		var head namespace.AuditHead
		if err := json.Unmarshal(answer.Head, &head); err != nil {
			return err
		}
		if !answer.Has {
			return errors.New("the export is whole, but it is not the beginning of the daemon's log: one of the two was replaced")
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d records, whole; the last is %s\n", head.Seq, head.Hash)
		return err
	}
	return cmd
}

func verifyFile(name string) (namespace.AuditHead, error) {
	f, err := os.Open(name)
	if err != nil {
		return namespace.AuditHead{}, err
	}
	defer f.Close()
	return namespace.VerifyAudit(f)
}

func newClock() *cobra.Command {
	a := &asker{}
	show := func(cmd *cobra.Command, op string) error {
		var c control.Clock
		if err := a.ask(cmd.Context(), op, nil, &c); err != nil {
			return err
		}
		if a.json {
			return printJSON(cmd.OutOrStdout(), c)
		}
		state := "goes"
		if c.Frozen {
			state = "stands still, since the host's clock is further ahead than is believed: if it is right, run 'k3fs clock confirm'"
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "locks go by %s, the host by %s; the clock %s\n",
			c.Now.Format(time.RFC3339), c.Wall.Format(time.RFC3339), state)
		return err
	}
	cmd := group("clock", "show and confirm the time by which locks expire", "",
		&cobra.Command{Use: "show", Short: "show it", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return show(cmd, control.OpClockShow) }},
		&cobra.Command{Use: "confirm", Short: "take the host's time for the true one (audited)", Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return show(cmd, control.OpClockConfirm) }})
	a.flags(cmd)
	return cmd
}
