package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"k3fs/daemon/adminapi/adminv1"
)

func newUsage() *cobra.Command {
	a := &api{}
	cmd := a.verb("usage [BUCKET[/PREFIX]]", "tell what the tenant uses, or one of its buckets", cobra.MaximumNArgs(1), func(cmd *cobra.Command, s *services, args []string) error {
		r := &adminv1.GetUsageRequest{}
		if len(args) == 1 {
			r.Bucket, r.Prefix, _ = strings.Cut(args[0], "/")
		}
		answer, err := call(cmd.Context(), s.usage.GetUsage, r)
		if err != nil {
			return err
		}
		return show(a, cmd, answer.Usage, func(w io.Writer) {
			row(w, "bytes", fmt.Sprintf("%d (%s)", answer.Usage.Bytes, humanize.IBytes(uint64(answer.Usage.Bytes))))
			row(w, "inodes", answer.Usage.Inodes)
		})
	})
	cmd.ValidArgsFunction = a.bucketArgs("")
	a.flags(cmd)
	return cmd
}

func newQuota() *cobra.Command {
	a := &api{}
	cmd := group("quota", "set how much tenants, buckets and directories may use",
		`What is below a hard limit never exceeds it; a soft one may be exceeded for as long as --grace says. What frees or
removes is never refused.`,
		newQuotaSet(a), newQuotaShow(a), newQuotaList(a))
	a.flags(cmd)
	return cmd
}

func newQuotaSet(a *api) *cobra.Command {
	var bytes, softBytes, of string
	l := &adminv1.Limits{}
	var grace time.Duration
	cmd := a.verb("set [BUCKET[/DIRECTORY/]]", "set the limits of a bucket or directory, or of a tenant; without any, remove them", cobra.MaximumNArgs(1),
		func(cmd *cobra.Command, s *services, args []string) (err error) {
			if (of == "") == (len(args) == 0) {
				return usageError{errors.New("give either a bucket, or --of-tenant")}
			}
			if l.Bytes, err = parseSize(bytes); err != nil {
				return err
			}
			if l.SoftBytes, err = parseSize(softBytes); err != nil {
				return err
			}
			if grace > 0 {
				l.Grace = durationpb.New(grace)
			}
			if of != "" {
				_, err = call(cmd.Context(), s.usage.SetTenantQuota, &adminv1.SetTenantQuotaRequest{Tenant: of, Limits: l})
				return err
			}
			bucket, prefix, _ := strings.Cut(args[0], "/")
			_, err = call(cmd.Context(), s.usage.SetQuota, &adminv1.SetQuotaRequest{Bucket: bucket, Prefix: prefix, Limits: l})
			return err
		})
	cmd.Example = "  k3fs quota set logs --bytes 10GiB\n  k3fs quota set logs/2025/ --bytes 1GiB --inodes 100000\n  k3fs quota set --of-tenant acme --bytes 1TiB"
	f := cmd.Flags()
	f.StringVar(&of, "of-tenant", "", "of this tenant (for who operates the store)")
	f.StringVar(&bytes, "bytes", "", "hard limit of bytes: 10GiB")
	f.StringVar(&softBytes, "soft-bytes", "", "soft limit of bytes")
	f.Int64Var(&l.Inodes, "inodes", 0, "hard limit of inodes: files, directories, versions")
	f.Int64Var(&l.SoftInodes, "soft-inodes", 0, "soft limit of inodes")
	f.DurationVar(&grace, "grace", 0, "how long soft limits may be exceeded (default 168h)")
	cmd.ValidArgsFunction = a.bucketArgs("")
	return cmd
}

func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n > 1<<62 {
		return 0, usageError{fmt.Errorf("%q is no size: write 10GiB, 500MB or a number of bytes", s)}
	}
	return int64(n), nil
}

// used writes what is used of a limit, and until when a soft one may be exceeded.
func used(n, hard, soft int64, until *timestamppb.Timestamp, write func(int64) string) string {
	s := write(n)
	if hard > 0 {
		s += " of " + write(hard)
	}
	if soft > 0 {
		s += " (soft " + write(soft) + ")"
	}
	if until != nil {
		s += ", over until " + when(until)
	}
	return s
}

func quotaRow(w io.Writer, q *adminv1.Quota) {
	scope := q.Bucket
	if scope == "" {
		scope = "the tenant"
	} else if q.Prefix != "" {
		scope += "/" + q.Prefix
	}
	l := q.Limits
	row(w, scope, used(q.Used.Bytes, l.Bytes, l.SoftBytes, q.BytesUntil, func(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }),
		used(q.Used.Inodes, l.Inodes, l.SoftInodes, q.InodesUntil, func(n int64) string { return fmt.Sprint(n) }))
}

func newQuotaShow(a *api) *cobra.Command {
	cmd := a.verb("show [BUCKET[/DIRECTORY/]]", "show limits, and what is used of them", cobra.MaximumNArgs(1), func(cmd *cobra.Command, s *services, args []string) error {
		r := &adminv1.GetQuotaRequest{}
		if len(args) == 1 {
			r.Bucket, r.Prefix, _ = strings.Cut(args[0], "/")
		}
		answer, err := call(cmd.Context(), s.usage.GetQuota, r)
		if err != nil {
			return err
		}
		return show(a, cmd, answer.Quota, func(w io.Writer) { quotaRow(w, answer.Quota) })
	})
	cmd.ValidArgsFunction = a.bucketArgs("")
	return cmd
}

func newQuotaList(a *api) *cobra.Command {
	cmd := a.verb("list", "list all quotas of the tenant", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
		answer, err := call(cmd.Context(), s.usage.ListQuotas, &adminv1.ListQuotasRequest{})
		if err != nil {
			return err
		}
		return showAll(a, cmd, answer.Quotas, func(w io.Writer) {
			row(w, "SCOPE", "BYTES", "INODES")
			for _, q := range answer.Quotas {
				quotaRow(w, q)
			}
		})
	})
	cmd.Aliases = []string{"ls"}
	return cmd
}
