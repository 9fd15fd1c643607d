package main

import (
	"io"

	"github.com/spf13/cobra"

	"k3fs/daemon/adminapi/adminv1"
)

func newTenant() *cobra.Command {
	a := &api{}
	cmd := group("tenant", "make, list, suspend and delete tenants (for who operates the store)",
		`A tenant is an organisation whose data no other sees: it has accounts, buckets, keys and quotas of its own.`,
		newTenantCreate(a), newTenantList(a), newTenantShow(a), newTenantUpdate(a), newTenantReset(a), newTenantDelete(a),
		newTenantErase(a), newErasure(a), newRetentionCap(a), newTenantLimits(a))
	a.flags(cmd)
	return cmd
}

// showCredentials shows a new access key, with its secret.
func showCredentials(a *api, cmd *cobra.Command, c *adminv1.Credentials) error {
	return show(a, cmd, c, func(w io.Writer) {
		row(w, "access key", c.AccessKey)
		row(w, "secret key", c.SecretKey)
		row(w, "", "(the secret is never shown again)")
	})
}

func newTenantCreate(a *api) *cobra.Command {
	email := ""
	cmd := a.verb("create NAME", "make a tenant, and show the access key of its root account", exactly(1, "a name"), func(cmd *cobra.Command, s *services, args []string) error {
		made, err := call(cmd.Context(), s.tenants.CreateTenant, &adminv1.CreateTenantRequest{Name: args[0], Email: email})
		if err != nil {
			return err
		}
		return showCredentials(a, cmd, made.Root)
	})
	cmd.Flags().StringVar(&email, "email", "", "an address by which ACLs may name it")
	return cmd
}

func tenantRow(w io.Writer, t *adminv1.Tenant) {
	state := "active"
	if t.Suspended {
		state = "suspended"
	}
	row(w, t.Name, state, t.AccountId, when(t.Created), t.Email)
}

func newTenantList(a *api) *cobra.Command {
	cmd := a.verb("list", "list the tenants", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
		all, err := pages(func(token string) ([]*adminv1.Tenant, string, error) {
			page, err := call(cmd.Context(), s.tenants.ListTenants, &adminv1.ListTenantsRequest{PageToken: token})
			if err != nil {
				return nil, "", err
			}
			return page.Tenants, page.NextPageToken, nil
		})
		if err != nil {
			return err
		}
		return showAll(a, cmd, all, func(w io.Writer) {
			row(w, "NAME", "STATE", "ACCOUNT ID", "CREATED", "EMAIL")
			for _, t := range all {
				tenantRow(w, t)
			}
		})
	})
	cmd.Aliases = []string{"ls"}
	return cmd
}

func newTenantShow(a *api) *cobra.Command {
	return a.verb("show NAME", "show a tenant", exactly(1, "the name of a tenant"), func(cmd *cobra.Command, s *services, args []string) error {
		answer, err := call(cmd.Context(), s.tenants.GetTenant, &adminv1.GetTenantRequest{Name: args[0]})
		if err != nil {
			return err
		}
		return show(a, cmd, answer.Tenant, func(w io.Writer) { tenantRow(w, answer.Tenant) })
	})
}

func newTenantUpdate(a *api) *cobra.Command {
	var name, email string
	var suspended bool
	cmd := a.verb("update NAME", "rename a tenant, suspend it, or let it work again", exactly(1, "the name of a tenant"), func(cmd *cobra.Command, s *services, args []string) error {
		r, f := &adminv1.UpdateTenantRequest{Name: args[0]}, cmd.Flags()
		if f.Changed("name") {
			r.NewName = &name
		}
		if f.Changed("email") {
			r.Email = &email
		}
		if f.Changed("suspended") {
			r.Suspended = &suspended
		}
		answer, err := call(cmd.Context(), s.tenants.UpdateTenant, r)
		if err != nil {
			return err
		}
		return show(a, cmd, answer.Tenant, func(w io.Writer) { tenantRow(w, answer.Tenant) })
	})
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "its new name")
	f.StringVar(&email, "email", "", "an address by which ACLs may name it")
	f.BoolVar(&suspended, "suspended", false, "refuse it everywhere; --suspended=false lets it work again")
	return cmd
}

func newTenantReset(a *api) *cobra.Command {
	return a.verb("reset NAME", "make another access key for a tenant's root account, if it lost its own", exactly(1, "the name of a tenant"), func(cmd *cobra.Command, s *services, args []string) error {
		answer, err := call(cmd.Context(), s.tenants.ResetTenant, &adminv1.ResetTenantRequest{Name: args[0]})
		if err != nil {
			return err
		}
		return showCredentials(a, cmd, answer.Root)
	})
}

func newTenantDelete(a *api) *cobra.Command {
	yes := false
	cmd := a.verb("delete NAME", "remove a suspended tenant that has no buckets and no holds", exactly(1, "the name of a tenant"), func(cmd *cobra.Command, s *services, args []string) error {
		if !yes {
			if err := confirmed(cmd, "This removes tenant "+args[0]+" with its accounts, access keys and policies.", args[0]); err != nil {
				return err
			}
		}
		_, err := call(cmd.Context(), s.tenants.DeleteTenant, &adminv1.DeleteTenantRequest{Name: args[0]})
		return err
	})
	cmd.Long = `Its accounts, access keys, policies, links and quotas go with it; its audit log stays. It must be suspended
("k3fs tenant update NAME --suspended"). Where its data must go, too, "k3fs tenant erase" comes first.`
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask for the tenant's name; for scripts")
	return cmd
}
