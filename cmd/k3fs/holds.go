package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"k3fs/daemon/adminapi/adminv1"
)

func newHold() *cobra.Command {
	a := &api{}
	cmd := group("hold", "keep data as they are, through both doors, until the hold is released",
		`A hold keeps all data of a tenant, a bucket, or the keys with a prefix as they are, those that come later
included. In a bucket that keeps versions, work goes on above what is held; in others what is held can't be
overwritten, written, renamed or removed, and new files can be made, which are then held.

Placing and releasing are audited.`,
		newHoldPlace(a), newHoldRelease(a), newHoldList(a), newHoldShow(a), newHoldReport(a))
	a.flags(cmd)
	return cmd
}

func newHoldPlace(a *api) *cobra.Command {
	var h adminv1.PlaceHoldRequest
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
	f.StringVar(&h.Regime, "regime", "", "the rule that asks for it; it can then not be released while there are data")
	a.completeBuckets(cmd, "bucket")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if h.Until, err = parseTime(until); err != nil {
			return usageError{err}
		}
		if h.Period, err = parsePeriod(period); err != nil {
			return usageError{err}
		}
		if h.Reason == "" {
			return usageError{errors.New("a hold needs a --reason")}
		}
		s, err := a.connect()
		if err != nil {
			return err
		}
		placed, err := call(cmd.Context(), s.holds.PlaceHold, &h)
		if err != nil {
			return err
		}
		return show(a, cmd, placed.Hold, func(w io.Writer) { row(w, placed.Hold.Id) })
	}
	return cmd
}

// parseTime reads a day or a moment; empty is no time.
func parseTime(s string) (*timestamppb.Timestamp, error) {
	if s == "" {
		return nil, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return timestamppb.New(t), nil
		}
	}
	return nil, fmt.Errorf("%q is no time: write 2030-01-31 or 2030-01-31T12:00:00Z", s)
}

// parsePeriod reads 6y (of 366 days, so that no leap year cuts it short), 90d, or what Go calls a duration.
func parsePeriod(s string) (*durationpb.Duration, error) {
	if s == "" {
		return nil, nil
	}
	for unit, days := range map[string]int{"y": 366, "d": 1} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			count, err := strconv.Atoi(n)
			if err != nil || count <= 0 || count > 1000*366/days {
				return nil, fmt.Errorf("%q is no period: write 6y, 90d or 12h", s)
			}
			return durationpb.New(time.Duration(min(count*days, 106_000)) * 24 * time.Hour), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return nil, fmt.Errorf("%q is no period: write 6y, 90d or 12h", s)
	}
	return durationpb.New(d), nil
}

func newHoldRelease(a *api) *cobra.Command {
	var h adminv1.ReleaseHoldRequest
	cmd := &cobra.Command{Use: "release ID", Short: "release a hold", Args: exactly(1, "the id of a hold")}
	cmd.Flags().StringVar(&h.Reason, "reason", "", "why (required)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if h.Reason == "" {
			return usageError{errors.New("a release needs a --reason")}
		}
		h.Id = args[0]
		s, err := a.connect()
		if err != nil {
			return err
		}
		_, err = call(cmd.Context(), s.holds.ReleaseHold, &h)
		return err
	}
	return cmd
}

func newHoldList(a *api) *cobra.Command {
	return &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "list the holds", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		s, err := a.connect()
		if err != nil {
			return err
		}
		answer, err := call(cmd.Context(), s.holds.ListHolds, &adminv1.ListHoldsRequest{})
		if err != nil {
			return err
		}
		return showAll(a, cmd, answer.Holds, func(w io.Writer) {
			row(w, "ID", "SCOPE", "UNTIL", "BY", "REASON")
			for _, h := range answer.Holds {
				row(w, h.Id, scopeOf(h), endOf(h), h.CreatedBy, h.Reason)
			}
		})
	}}
}

func scopeOf(h *adminv1.Hold) string {
	switch {
	case h.Bucket == "":
		return "all"
	case h.Prefix == "":
		return h.Bucket
	}
	return h.Bucket + "/" + h.Prefix
}

func endOf(h *adminv1.Hold) string {
	switch {
	case h.Period != nil:
		return h.Period.AsDuration().String() + " after publication"
	case h.Until == nil:
		return "it is released"
	}
	return when(h.Until)
}

func newHoldShow(a *api) *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "show one hold", Args: exactly(1, "the id of a hold"), RunE: func(cmd *cobra.Command, args []string) error {
		s, err := a.connect()
		if err != nil {
			return err
		}
		answer, err := call(cmd.Context(), s.holds.GetHold, &adminv1.GetHoldRequest{Id: args[0]})
		if err != nil {
			return err
		}
		h := answer.Hold
		return show(a, cmd, h, func(w io.Writer) {
			row(w, "id", h.Id)
			row(w, "scope", scopeOf(h))
			row(w, "until", endOf(h))
			row(w, "placed", when(h.Created)+" by "+h.CreatedBy)
			row(w, "reason", h.Reason)
			if h.Regime != "" {
				row(w, "regime", h.Regime)
			}
		})
	}}
}

func newHoldReport(a *api) *cobra.Command {
	return &cobra.Command{Use: "report", Short: "say what is held, why, until when, and how much it is", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		s, err := a.connect()
		if err != nil {
			return err
		}
		answer, err := call(cmd.Context(), s.holds.ReportHolds, &adminv1.ReportHoldsRequest{})
		if err != nil {
			return err
		}
		return showAll(a, cmd, answer.Holds, func(w io.Writer) {
			row(w, "ID", "SCOPE", "UNTIL", "VERSIONS", "BYTES", "REASON")
			for _, u := range answer.Holds {
				end := endOf(u.Hold)
				if u.Over {
					end += " (over)"
				}
				row(w, u.Hold.Id, scopeOf(u.Hold), end, u.Versions, humanize.IBytes(uint64(u.Bytes)), u.Hold.Reason)
			}
		})
	}}
}
