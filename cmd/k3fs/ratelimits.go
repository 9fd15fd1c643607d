package main

import (
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"k3fs/daemon/adminapi/adminv1"
)

// newTenantLimits is about what a tenant may ask of the node each second.
func newTenantLimits(a *api) *cobra.Command {
	l, read, write := &adminv1.RateLimits{}, "", ""
	cmd := a.verb("rate-limits [NAME]", "show or set what a tenant may ask of the node each second", cobra.MaximumNArgs(1), func(cmd *cobra.Command, s *services, args []string) (err error) {
		name := ""
		if len(args) > 0 {
			name = args[0]
		}
		if f := cmd.Flags(); f.Changed("requests") || f.Changed("read") || f.Changed("write") {
			if name == "" {
				return usageError{fmt.Errorf("name the tenant whose limits are to be set")}
			}
			if l.ReadBytes, err = parseSize(read); err != nil {
				return err
			}
			if l.WriteBytes, err = parseSize(write); err != nil {
				return err
			}
			if _, err := call(cmd.Context(), s.usage.SetRateLimits, &adminv1.SetRateLimitsRequest{Tenant: name, Limits: l}); err != nil {
				return err
			}
		}
		answer, err := call(cmd.Context(), s.usage.GetRateLimits, &adminv1.GetRateLimitsRequest{Tenant: name})
		if err != nil {
			return err
		}
		return show(a, cmd, answer.Limits, func(w io.Writer) {
			row(w, "requests", limit(answer.Limits.Requests, func(n int64) string { return fmt.Sprint(n) }))
			row(w, "read", limit(answer.Limits.ReadBytes, perSecond))
			row(w, "written", limit(answer.Limits.WriteBytes, perSecond))
		})
	})
	cmd.Long = `Beyond its limits S3 answers 503 SlowDown, and mounts wait. Setting any sets all three: what is not given is without a limit.`
	cmd.Example = "  k3fs tenant rate-limits acme --requests 500 --read 200MiB --write 100MiB\n  k3fs tenant rate-limits acme --requests 0"
	f := cmd.Flags()
	f.Int64Var(&l.Requests, "requests", 0, "requests of S3 and operations of mounts; 0: no limit (for who operates the store)")
	f.StringVar(&read, "read", "", "bytes to clients, as 200MiB")
	f.StringVar(&write, "write", "", "bytes from clients")
	return cmd
}

func perSecond(n int64) string { return humanize.IBytes(uint64(n)) }

func limit(n int64, text func(int64) string) string {
	if n == 0 {
		return "no limit"
	}
	return text(n) + " a second"
}
