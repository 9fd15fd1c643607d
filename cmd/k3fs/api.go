package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"k3fs/daemon/adminapi/adminclient"
	"k3fs/daemon/adminapi/adminv1/adminv1connect"
	"k3fs/daemon/control"
)

// api is how a command speaks to the admin API.
type api struct {
	socket, data, context, tenant, credentials, output string
}

// flags adds those that say whom to ask, for whom, and how to answer.
func (a *api) flags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&a.context, "context", "", "context to use (see k3fs context list; default $K3FS_CONTEXT, else the current one)")
	f.StringVar(&a.socket, "socket", "", "socket of the daemon's admin API (default "+control.AdminSocket+")")
	f.StringVar(&a.data, "data", "", "the daemon's data directory, which has a socket, too")
	f.StringVar(&a.tenant, "tenant", "", "of the host's administrator: the tenant to act for (default the first)")
	f.StringVar(&a.credentials, "credentials", "", "file that holds access key and secret key, as for k3fs mount")
	f.StringVarP(&a.output, "output", "o", "table", "table, or json for scripts")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// services are the API's services, as one caller uses them.
type services struct {
	accounts adminv1connect.AccountServiceClient
	buckets  adminv1connect.BucketServiceClient
	objects  adminv1connect.ObjectServiceClient
	holds    adminv1connect.HoldServiceClient
	audit    adminv1connect.AuditServiceClient
	node     adminv1connect.NodeServiceClient
	tenants  adminv1connect.TenantServiceClient
	policies adminv1connect.PolicyServiceClient
	usage    adminv1connect.UsageServiceClient
	keys     adminv1connect.KeyServiceClient

	maintenance adminv1connect.MaintenanceServiceClient
}

// connect finds the daemon. Nothing is sent yet.
func (a *api) connect() (*services, error) {
	if a.output != "table" && a.output != "json" {
		return nil, usageError{fmt.Errorf("-o %s: write -o table or -o json", a.output)}
	}
	t, err := a.target(os.Getenv)
	if err != nil {
		return nil, err
	}
	return servicesOf(t)
}

func servicesOf(t adminclient.Target) (*services, error) {
	client, err := t.Client()
	if err != nil {
		return nil, usageError{err}
	}
	explained := connect.WithInterceptors(explaining(t))
	return &services{
		accounts: adminv1connect.NewAccountServiceClient(client, t.URL(), explained),
		buckets:  adminv1connect.NewBucketServiceClient(client, t.URL(), explained),
		objects:  adminv1connect.NewObjectServiceClient(client, t.URL(), explained),
		holds:    adminv1connect.NewHoldServiceClient(client, t.URL(), explained),
		audit:    adminv1connect.NewAuditServiceClient(client, t.URL(), explained),
		node:     adminv1connect.NewNodeServiceClient(client, t.URL(), explained),
		tenants:  adminv1connect.NewTenantServiceClient(client, t.URL(), explained),
		policies: adminv1connect.NewPolicyServiceClient(client, t.URL(), explained),
		usage:    adminv1connect.NewUsageServiceClient(client, t.URL(), explained),
		keys:     adminv1connect.NewKeyServiceClient(client, t.URL(), explained),

		maintenance: adminv1connect.NewMaintenanceServiceClient(client, t.URL(), explained),
	}, nil
}

// target is the daemon that the command line means, else the environment, else the current context, else the usual
// socket.
func (a *api) target(getenv func(string) string) (adminclient.Target, error) {
	socket := a.socket
	if socket == "" && a.data != "" {
		socket = filepath.Join(a.data, control.AdminSocketName)
	}
	if socket == "" && a.context == "" {
		socket = adminSocketOf(getenv)
	}
	if socket == "" {
		c, err := contextNamed(a.context, getenv)
		if err != nil {
			return adminclient.Target{}, err
		}
		if c != nil {
			t := c.target()
			t.Tenant = a.tenant
			return t, a.mayActFor(&t)
		}
		socket = control.AdminSocket
	}
	t := adminclient.Target{Socket: socket, Tenant: a.tenant}
	if a.tenant != "" {
		return t, nil
	}
	var err error
	t.AccessKey, t.SecretKey, err = credentials(control.Local{Credentials: a.credentials}, getenv, os.Geteuid())
	if err != nil {
		err = usageError{err}
	}
	return t, err
}

// mayActFor refuses --tenant for who has a tenant by his access key.
func (a *api) mayActFor(t *adminclient.Target) error {
	if t.Tenant != "" && t.AccessKey != "" {
		return usageError{errors.New("--tenant is for the host's administrator on the daemon's socket: an access key has a tenant of its own")}
	}
	return nil
}

func adminSocketOf(getenv func(string) string) string {
	switch {
	case getenv("K3FS_ADMIN__SOCKET") != "":
		return getenv("K3FS_ADMIN__SOCKET")
	case getenv("K3FS_DATA") != "":
		return filepath.Join(getenv("K3FS_DATA"), control.AdminSocketName)
	}
	return ""
}

// call asks for one thing.
func call[Q, R any](ctx context.Context, method func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), q *Q) (*R, error) {
	r, err := method(ctx, connect.NewRequest(q))
	if err != nil {
		return nil, err
	}
	return r.Msg, nil
}

// pages gathers a list, page by page.
func pages[T any](page func(token string) (list []T, next string, err error)) (all []T, err error) {
	for token := ""; ; {
		list, next, err := page(token)
		if err != nil {
			return nil, err
		}
		if all = append(all, list...); next == "" {
			return all, nil
		}
		token = next
	}
}

// explaining makes errors of the API say what to do next.
func explaining(t adminclient.Target) connect.Interceptor {
	return connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
			answer, err := next(ctx, r)
			if err != nil {
				return nil, explain(err, t)
			}
			return answer, nil
		}
	})
}

func explain(err error, t adminclient.Target) error {
	var e *connect.Error
	if !errors.As(err, &e) {
		return err
	}
	text := e.Message()
	switch {
	case t.Socket != "" && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED)):
		return fmt.Errorf("no k3fs daemon listens at %s: start one ('k3fs serve'), name its data directory with --data, or log in to one with 'k3fs login'", t.Socket)
	case t.Socket != "" && errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s is not yours to use: log in with 'k3fs login', or become root", t.Socket)
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("nothing listens at %s: is the daemon there, and its admin.listen? (%s)", t.Endpoint, text)
	case e.Code() == connect.CodeUnauthenticated && t.AccessKey != "":
		return fmt.Errorf("%s: check the access key %s with 'k3fs context list', or log in again with 'k3fs login'", text, t.AccessKey)
	case e.Code() == connect.CodePermissionDenied:
		return fmt.Errorf("%s: ask an administrator of the tenant for the role or a policy that allows it", text)
	}
	return errors.New(text)
}

// verb is a command that asks the API.
func (a *api) verb(use, short string, args cobra.PositionalArgs, run func(cmd *cobra.Command, s *services, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		s, err := a.connect()
		if err != nil {
			return err
		}
		return run(cmd, s, args)
	}}
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
