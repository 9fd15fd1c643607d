package main

import (
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"k3fs/daemon/adminapi/adminv1"
)

var roles = []string{"admin", "operator", "readwrite", "readonly", "auditor"}

func newAccount() *cobra.Command {
	a := &api{}
	cmd := group("account", "keep the accounts of a tenant",
		`An account is a person or a program that works with the tenant's data: with an access key, by which S3, mounts and this
command know it, a role, and policies that are attached to it.`,
		newAccountCreate(a), newAccountList(a), newAccountShow(a), newAccountUpdate(a), newAccountDelete(a), newWhoAmI(a))
	a.flags(cmd)
	return cmd
}

func newAccountCreate(a *api) *cobra.Command {
	var r adminv1.CreateAccountRequest
	var expires string
	withKey := false
	cmd := a.verb("create NAME", "make an account", exactly(1, "a name"), func(cmd *cobra.Command, s *services, args []string) (err error) {
		r.Name = args[0]
		if r.Expires, err = parseTime(expires); err != nil {
			return usageError{err}
		}
		made, err := call(cmd.Context(), s.accounts.CreateAccount, &r)
		if err != nil {
			return err
		}
		if !withKey {
			return show(a, cmd, made.Account, func(w io.Writer) { accountRow(w, made.Account) })
		}
		key, err := call(cmd.Context(), s.accounts.CreateAccessKey, &adminv1.CreateAccessKeyRequest{Account: r.Name})
		if err != nil {
			return err
		}
		return showCredentials(a, cmd, key.Credentials)
	})
	f := cmd.Flags()
	f.StringVar(&r.Role, "role", "readwrite", strings.Join(roles, ", "))
	f.StringVar(&expires, "expires", "", "when it ends: 2030-01-31 or 2030-01-31T12:00:00Z (default never)")
	f.StringSliceVar(&r.Policies, "policy", nil, "a policy to attach; may be given more than once")
	f.BoolVar(&withKey, "key", false, "make an access key for it, too, and show that")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(roles, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func accountRow(w io.Writer, one *adminv1.Account) {
	role, state := one.Role, "enabled"
	if one.Root {
		role = "root"
	}
	switch {
	case one.Disabled:
		state = "disabled"
	case one.Expires != nil && one.Expires.AsTime().Before(time.Now()):
		state = "expired"
	}
	row(w, one.Name, role, state, when(one.Created), when(one.Expires), strings.Join(one.Policies, ","))
}

func newAccountList(a *api) *cobra.Command {
	cmd := a.verb("list", "list the accounts", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
		all, err := pages(func(token string) ([]*adminv1.Account, string, error) {
			page, err := call(cmd.Context(), s.accounts.ListAccounts, &adminv1.ListAccountsRequest{PageToken: token})
			if err != nil {
				return nil, "", err
			}
			return page.Accounts, page.NextPageToken, nil
		})
		if err != nil {
			return err
		}
		return showAll(a, cmd, all, func(w io.Writer) {
			row(w, "NAME", "ROLE", "STATE", "CREATED", "EXPIRES", "POLICIES")
			for _, one := range all {
				accountRow(w, one)
			}
		})
	})
	cmd.Aliases = []string{"ls"}
	return cmd
}

func newAccountShow(a *api) *cobra.Command {
	return a.verb("show NAME", "show an account", exactly(1, "the name of an account"), func(cmd *cobra.Command, s *services, args []string) error {
		answer, err := call(cmd.Context(), s.accounts.GetAccount, &adminv1.GetAccountRequest{Name: args[0]})
		if err != nil {
			return err
		}
		return show(a, cmd, answer.Account, func(w io.Writer) { accountRow(w, answer.Account) })
	})
}

// never is a time to change to that means none.
var never = timestamppb.New(time.Time{})

// newEnd is the time that a flag names; never for "never".
func newEnd(s string) (*timestamppb.Timestamp, error) {
	if s == "never" {
		return never, nil
	}
	t, err := parseTime(s)
	if err != nil {
		err = usageError{err}
	}
	return t, err
}

func newAccountUpdate(a *api) *cobra.Command {
	var role, expires string
	var disabled bool
	cmd := a.verb("update NAME", "change an account's role, disable it, or say when it ends", exactly(1, "the name of an account"), func(cmd *cobra.Command, s *services, args []string) (err error) {
		r, f := &adminv1.UpdateAccountRequest{Name: args[0]}, cmd.Flags()
		if f.Changed("role") {
			r.Role = &role
		}
		if f.Changed("disabled") {
			r.Disabled = &disabled
		}
		if r.Expires, err = newEnd(expires); err != nil {
			return err
		}
		answer, err := call(cmd.Context(), s.accounts.UpdateAccount, r)
		if err != nil {
			return err
		}
		return show(a, cmd, answer.Account, func(w io.Writer) { accountRow(w, answer.Account) })
	})
	f := cmd.Flags()
	f.StringVar(&role, "role", "", strings.Join(roles, ", "))
	f.BoolVar(&disabled, "disabled", false, "refuse it everywhere; --disabled=false lets it work again")
	f.StringVar(&expires, "expires", "", "when it ends: 2030-01-31, 2030-01-31T12:00:00Z or never")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(roles, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func newAccountDelete(a *api) *cobra.Command {
	return a.verb("delete NAME", "remove an account with its access keys", exactly(1, "the name of an account"), func(cmd *cobra.Command, s *services, args []string) error {
		_, err := call(cmd.Context(), s.accounts.DeleteAccount, &adminv1.DeleteAccountRequest{Name: args[0]})
		return err
	})
}

func newWhoAmI(a *api) *cobra.Command {
	return a.verb("whoami", "say as whom the store knows you", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
		who, err := call(cmd.Context(), s.accounts.WhoAmI, &adminv1.WhoAmIRequest{})
		if err != nil {
			return err
		}
		return show(a, cmd, who, func(w io.Writer) {
			row(w, "tenant", who.Tenant)
			row(w, "account", who.Account)
			row(w, "access key", orNone(who.AccessKey))
		})
	})
}

func newKey() *cobra.Command {
	a := &api{}
	cmd := group("key", "keep the access keys of accounts, and the keys that data are sealed with",
		`An access key and its secret are one credential for S3, mounts and this command. The secret is shown once.
What data are sealed with are the tenant's key and the node's keys: see k3fs key tenant, k3fs key node.`,
		newKeyCreate(a), newKeyList(a), newKeyRotate(a), newKeyUpdate(a), newKeyDelete(a), newKeyTenant(a), newKeyNode(a))
	a.flags(cmd)
	return cmd
}

func newKeyCreate(a *api) *cobra.Command {
	expires := ""
	cmd := a.verb("create ACCOUNT", "make an access key for an account", exactly(1, "the name of an account"), func(cmd *cobra.Command, s *services, args []string) error {
		end, err := parseTime(expires)
		if err != nil {
			return usageError{err}
		}
		made, err := call(cmd.Context(), s.accounts.CreateAccessKey, &adminv1.CreateAccessKeyRequest{Account: args[0], Expires: end})
		if err != nil {
			return err
		}
		return showCredentials(a, cmd, made.Credentials)
	})
	cmd.Flags().StringVar(&expires, "expires", "", "when it ends: 2030-01-31 or 2030-01-31T12:00:00Z (default never)")
	return cmd
}

func newKeyList(a *api) *cobra.Command {
	account := ""
	cmd := a.verb("list", "list access keys", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
		answer, err := call(cmd.Context(), s.accounts.ListAccessKeys, &adminv1.ListAccessKeysRequest{Account: account})
		if err != nil {
			return err
		}
		return showAll(a, cmd, answer.Keys, func(w io.Writer) {
			row(w, "ACCESS KEY", "ACCOUNT", "STATE", "CREATED", "EXPIRES", "LAST USED")
			for _, k := range answer.Keys {
				state := "enabled"
				if k.Disabled {
					state = "disabled"
				}
				row(w, k.Id, k.Account, state, when(k.Created), when(k.Expires), when(k.LastUsed))
			}
		})
	})
	cmd.Aliases = []string{"ls"}
	cmd.Flags().StringVar(&account, "account", "", "only those of this account")
	return cmd
}

func newKeyRotate(a *api) *cobra.Command {
	var overlap time.Duration
	cmd := a.verb("rotate ACCESS-KEY", "give an access key another secret, and show that", exactly(1, "an access key"), func(cmd *cobra.Command, s *services, args []string) error {
		made, err := call(cmd.Context(), s.accounts.RotateAccessKey, &adminv1.RotateAccessKeyRequest{Id: args[0], Overlap: durationpb.New(overlap)})
		if err != nil {
			return err
		}
		return showCredentials(a, cmd, made.Credentials)
	})
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the secret before counts on, 168h at most")
	return cmd
}

func newKeyUpdate(a *api) *cobra.Command {
	var expires string
	var disabled bool
	cmd := a.verb("update ACCESS-KEY", "disable an access key, or say when it ends", exactly(1, "an access key"), func(cmd *cobra.Command, s *services, args []string) (err error) {
		r := &adminv1.UpdateAccessKeyRequest{Id: args[0]}
		if cmd.Flags().Changed("disabled") {
			r.Disabled = &disabled
		}
		if r.Expires, err = newEnd(expires); err != nil {
			return err
		}
		_, err = call(cmd.Context(), s.accounts.UpdateAccessKey, r)
		return err
	})
	f := cmd.Flags()
	f.BoolVar(&disabled, "disabled", false, "refuse it; --disabled=false lets it work again")
	f.StringVar(&expires, "expires", "", "when it ends: 2030-01-31, 2030-01-31T12:00:00Z or never")
	return cmd
}

func newKeyDelete(a *api) *cobra.Command {
	return a.verb("delete ACCESS-KEY", "remove an access key", exactly(1, "an access key"), func(cmd *cobra.Command, s *services, args []string) error {
		_, err := call(cmd.Context(), s.accounts.DeleteAccessKey, &adminv1.DeleteAccessKeyRequest{Id: args[0]})
		return err
	})
}
