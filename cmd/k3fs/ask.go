package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"k3fs/daemon/control"
)

// asker asks the daemon over its socket, for an account or as the host's administrator.
type asker struct {
	socket, data, tenant, credentials string
	json                              bool
}

// flags adds those that say whom to ask, and for whom.
func (a *asker) flags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&a.socket, "socket", "", "the daemon's socket (default "+control.Socket+")")
	f.StringVar(&a.data, "data", "", "the daemon's data directory, which has a socket, too")
	f.StringVar(&a.tenant, "tenant", "", "of the host's administrator: the tenant to act for (default the first)")
	f.StringVar(&a.credentials, "credentials", "", "file that holds access key and secret key, as for k3fs mount")
	f.BoolVar(&a.json, "json", false, "print JSON")
}

// ask sends a request, and reads its answer into out, which may be nil.
func (a *asker) ask(ctx context.Context, op string, args, out any) error {
	accessKey, secret, err := credentials(control.Local{Credentials: a.credentials}, os.Getenv, os.Geteuid())
	if err != nil {
		return usageError{err}
	}
	if a.tenant != "" {
		accessKey, secret = "", ""
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	socket := socketPath(a.socket, a.data, "")
	reply, err := control.Ask(ctx, socket, control.Request{Op: op, AccessKey: accessKey, Tenant: a.tenant, Args: raw}, secret, nil)
	if err != nil {
		return noDaemon(err, socket)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(reply.Data, out)
}

// group is a command that only has others.
func group(use, short, long string, under ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		_ = cmd.Help()
		return usageError{errors.New("no command given")}
	}}
	cmd.AddCommand(under...)
	return cmd
}

func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{errors.New("give " + what)}
		}
		return nil
	}
}

// list reads a list, page by page.
func list[T any](ctx context.Context, a *asker, op string) (all []T, err error) {
	for {
		var page []T
		if err := a.ask(ctx, op, control.Page{After: len(all)}, &page); err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) == 0 {
			return all, nil
		}
	}
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
