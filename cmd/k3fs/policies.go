package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"k3fs/daemon/adminapi/adminv1"
)

func newPolicy() *cobra.Command {
	a := &api{}
	two := exactly(2, "the names of a policy and of an account")
	attach := a.verb("attach POLICY ACCOUNT", "make a policy count for an account", two, func(cmd *cobra.Command, s *services, args []string) error {
		_, err := call(cmd.Context(), s.policies.AttachPolicy, &adminv1.AttachPolicyRequest{Policy: args[0], Account: args[1]})
		return err
	})
	detach := a.verb("detach POLICY ACCOUNT", "take that back", two, func(cmd *cobra.Command, s *services, args []string) error {
		_, err := call(cmd.Context(), s.policies.DetachPolicy, &adminv1.DetachPolicyRequest{Policy: args[0], Account: args[1]})
		return err
	})
	remove := a.verb("delete NAME", "remove a policy that is attached to no account", exactly(1, "the name of a policy"), func(cmd *cobra.Command, s *services, args []string) error {
		_, err := call(cmd.Context(), s.policies.DeletePolicy, &adminv1.DeletePolicyRequest{Name: args[0]})
		return err
	})
	put := a.verb("put NAME FILE", "store a policy from a file of JSON; - is standard input", exactly(2, "a name and a file"), func(cmd *cobra.Command, s *services, args []string) error {
		raw, err := readInput(cmd, args[1])
		if err == nil {
			_, err = call(cmd.Context(), s.policies.PutPolicy, &adminv1.PutPolicyRequest{Name: args[0], Document: string(raw)})
		}
		return err
	})
	get := a.verb("get NAME", "print a policy", exactly(1, "the name of a policy"), func(cmd *cobra.Command, s *services, args []string) error {
		answer, err := call(cmd.Context(), s.policies.GetPolicy, &adminv1.GetPolicyRequest{Name: args[0]})
		if err == nil {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), answer.Policy.Document)
		}
		return err
	})
	cmd := group("policy", "keep policies in IAM's language, and attach them to accounts", "", put, get, newPolicyList(a), remove, attach, detach)
	a.flags(cmd)
	return cmd
}

func newPolicyList(a *api) *cobra.Command {
	cmd := a.verb("list", "list the policies", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
		all, err := pages(func(token string) ([]*adminv1.Policy, string, error) {
			page, err := call(cmd.Context(), s.policies.ListPolicies, &adminv1.ListPoliciesRequest{PageToken: token})
			if err != nil {
				return nil, "", err
			}
			return page.Policies, page.NextPageToken, nil
		})
		if err != nil {
			return err
		}
		return showAll(a, cmd, all, func(w io.Writer) {
			row(w, "NAME", "UPDATED")
			for _, p := range all {
				row(w, p.Name, when(p.Updated))
			}
		})
	})
	cmd.Aliases = []string{"ls"}
	return cmd
}
