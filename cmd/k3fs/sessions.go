package main

import (
	"io"

	"github.com/spf13/cobra"

	"k3fs/daemon/adminapi/adminv1"
)

// newSession is about temporary credentials.
func newSession() *cobra.Command {
	a, account := &api{}, ""
	list := a.verb("list", "list temporary credentials that are not over, as far as the daemon has made or seen them since its start", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
		answer, err := call(cmd.Context(), s.accounts.ListSessions, &adminv1.ListSessionsRequest{Account: account})
		if err != nil {
			return err
		}
		return showAll(a, cmd, answer.Sessions, func(w io.Writer) {
			row(w, "ACCESS KEY", "NAME", "ACTS AS", "ASKED BY", "ROLE", "EXPIRES")
			for _, one := range answer.Sessions {
				row(w, one.AccessKey, one.Name, one.Account, one.By, one.Role, when(one.Expires))
			}
		})
	})
	list.Flags().StringVar(&account, "account", "", "only those of this account")
	cmd := group("session", "list temporary credentials (STS), and end them", "", list,
		a.verb("end ACCOUNT", "end all temporary credentials that act as an account or that it asked for, at once", exactly(1, "the name of an account"),
			func(cmd *cobra.Command, s *services, args []string) error {
				_, err := call(cmd.Context(), s.accounts.EndSessions, &adminv1.EndSessionsRequest{Account: args[0]})
				return err
			}))
	a.flags(cmd)
	return cmd
}

// newMounts is about mounts as their tenant's administrators see them; k3fs mount and umount are for who uses one.
func newMounts() *cobra.Command {
	a, lazy := &api{}, false
	end := a.verb("end DIR", "unmount one", exactly(1, "the directory of a mount"), func(cmd *cobra.Command, s *services, args []string) error {
		_, err := call(cmd.Context(), s.node.EndMount, &adminv1.EndMountRequest{Dir: args[0], Lazy: lazy})
		return err
	})
	end.Flags().BoolVar(&lazy, "lazy", false, "detach it although it is in use")
	cmd := group("mounts", "list the tenant's mounts on the daemon's host, and end them", "",
		a.verb("list", "list them", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
			answer, err := call(cmd.Context(), s.node.ListMounts, &adminv1.ListMountsRequest{})
			if err != nil {
				return err
			}
			return showAll(a, cmd, answer.Mounts, func(w io.Writer) {
				row(w, "SOURCE", "DIRECTORY", "ACCESS KEY", "UID", "READ-ONLY")
				for _, m := range answer.Mounts {
					row(w, m.Source, m.Dir, orNone(m.AccessKey), m.Uid, yesNo(m.ReadOnly))
				}
			})
		}), end)
	a.flags(cmd)
	return cmd
}
