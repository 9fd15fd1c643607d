package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"k3fs/daemon/adminapi/adminv1"
)

func showReport(a *api, cmd *cobra.Command, r *adminv1.ErasureReport) error {
	return show(a, cmd, r, func(w io.Writer) {
		state := "no: this only counted"
		if r.Erased {
			state = "yes, the keys are destroyed"
		}
		row(w, "erased", state)
		row(w, "affected", fmt.Sprintf("%s in %d versions of %d buckets", humanize.IBytes(uint64(max(r.Bytes, 0))), r.Versions, r.Buckets))
		row(w, "comes free", humanize.IBytes(uint64(max(r.FreedBytes, 0))))
		row(w, "held", fmt.Sprintf("%d versions (%d in COMPLIANCE mode, %d in GOVERNANCE mode, %d under legal hold), by %d holds and their own locks",
			r.Held, r.Compliance, r.Governance, r.LegalHold, r.Holds))
	})
}

func newTenantErase(a *api) *cobra.Command {
	r, yes := &adminv1.EraseTenantRequest{}, false
	cmd := a.verb("erase NAME", "destroy the keys of a suspended tenant, and so all its data, for good", exactly(1, "the name of a tenant"), func(cmd *cobra.Command, s *services, args []string) error {
		r.Tenant = args[0]
		if !r.DryRun && !yes {
			if err := confirmed(cmd, "This destroys all data of tenant "+r.Tenant+" for good.", r.Tenant); err != nil {
				return err
			}
		}
		answer, err := call(cmd.Context(), s.tenants.EraseTenant, r)
		if err != nil {
			return err
		}
		return showReport(a, cmd, answer.Report)
	})
	cmd.Long = `Nobody can read any of the tenant's data from then on, wherever copies are. It is refused while locks or holds are in
force; who must pass over them asks with "k3fs tenant erasure request".`
	cmd.Flags().BoolVar(&r.DryRun, "dry-run", false, "only count what would be erased, and what is held")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask for the tenant's name; for scripts")
	cmd.Flags().BoolVar(&r.BypassGovernance, "bypass-governance", false, "pass over retention in GOVERNANCE mode")
	return cmd
}

// confirmed asks who sits at the terminal to type a name.
func confirmed(cmd *cobra.Command, what, name string) error {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s Type its name to go on: ", printable(what))
	line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 1024)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(line) != name {
		return usageError{fmt.Errorf("not confirmed, and nothing was done: type %s, or give --yes in a script", name)}
	}
	return nil
}

func newErasure(a *api) *cobra.Command {
	return group("erasure", "erase a tenant in spite of its locks and holds, by two accounts",
		`One account asks, with a reason, and another confirms within 24 hours. Both are in the audit logs.`,
		newErasureRequest(a),
		a.verb("confirm NAME ID", "erase the tenant of a request, as another account than who asked", exactly(2, "the name of a tenant and the id of a request"), func(cmd *cobra.Command, s *services, args []string) error {
			answer, err := call(cmd.Context(), s.tenants.ConfirmErasure, &adminv1.ConfirmErasureRequest{Tenant: args[0], Id: args[1]})
			if err != nil {
				return err
			}
			return showReport(a, cmd, answer.Report)
		}),
		a.verb("cancel NAME", "take a request back", exactly(1, "the name of a tenant"), func(cmd *cobra.Command, s *services, args []string) error {
			_, err := call(cmd.Context(), s.tenants.CancelErasure, &adminv1.CancelErasureRequest{Tenant: args[0]})
			return err
		}),
		a.verb("list", "list the requests that can be confirmed", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
			answer, err := call(cmd.Context(), s.tenants.ListErasures, &adminv1.ListErasuresRequest{})
			if err != nil {
				return err
			}
			return showAll(a, cmd, answer.Erasures, func(w io.Writer) {
				row(w, "ID", "TENANT", "ASKED BY", "UNTIL", "REASON")
				for _, e := range answer.Erasures {
					row(w, e.Id, e.Tenant, e.By, when(e.Until), e.Reason)
				}
			})
		}))
}

func newErasureRequest(a *api) *cobra.Command {
	reason := ""
	cmd := a.verb("request NAME", "ask for the erasure of a suspended tenant; erases nothing yet", exactly(1, "the name of a tenant"), func(cmd *cobra.Command, s *services, args []string) error {
		if reason == "" {
			return usageError{errors.New("give --reason: it is kept in the audit logs")}
		}
		answer, err := call(cmd.Context(), s.tenants.RequestErasure, &adminv1.RequestErasureRequest{Tenant: args[0], Reason: reason})
		if err != nil {
			return err
		}
		e := answer.Erasure
		return show(a, cmd, e, func(w io.Writer) {
			row(w, "id", e.Id)
			row(w, "until", when(e.Until))
			row(w, "", fmt.Sprintf("(another account confirms it: k3fs tenant erasure confirm %s %s)", e.Tenant, e.Id))
		})
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	return cmd
}

func newRetentionCap(a *api) *cobra.Command {
	most := ""
	cmd := &cobra.Command{Use: "retention-cap [NAME]", Short: "show or set for how long a tenant may lock data at most", Args: cobra.MaximumNArgs(1),
		Example: "  k3fs tenant retention-cap acme --most 7y\n  k3fs tenant retention-cap acme --most none\n  k3fs tenant retention-cap"}
	cmd.Flags().StringVar(&most, "most", "", "set it: 7y, 90d, or none for that of the node (for who operates the store)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := a.connect()
		if err != nil {
			return err
		}
		name := ""
		if len(args) > 0 {
			name = args[0]
		}
		if cmd.Flags().Changed("most") {
			return setRetentionCap(cmd, s, name, most)
		}
		answer, err := call(cmd.Context(), s.tenants.GetRetentionCap, &adminv1.GetRetentionCapRequest{Tenant: name})
		if err != nil {
			return err
		}
		return show(a, cmd, answer, func(w io.Writer) {
			row(w, "the tenant's", capText(answer.TenantMost))
			row(w, "the node's", capText(answer.NodeMost))
		})
	}
	return cmd
}

func setRetentionCap(cmd *cobra.Command, s *services, name, most string) (err error) {
	r := &adminv1.SetRetentionCapRequest{Tenant: name}
	switch {
	case name == "":
		return usageError{errors.New("give the name of the tenant whose cap is set")}
	case most == "":
		return usageError{errors.New("--most: write 7y, 90d or none")}
	case most != "none":
		if r.Most, err = parsePeriod(most); err != nil {
			return usageError{err}
		}
	}
	_, err = call(cmd.Context(), s.tenants.SetRetentionCap, r)
	return err
}

func capText(d *durationpb.Duration) string {
	if d == nil {
		return "none"
	}
	return d.AsDuration().String()
}
