package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/protobuf/encoding/protojson"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/daemon/control"
)

func newLogin() *cobra.Command {
	c := loginContext{}
	cmd := &cobra.Command{
		Use: "login", Short: "remember a store and an access key, for the command line, S3 and mounts", Args: noArgs,
		Long: `Remember where a store is and with which access key to use it, after asking the store. The secret key is read from
$K3FS_SECRET_KEY, else from standard input; it is kept in ~/.config/k3fs/config, which only its owner can read, and
never sent: requests are signed with it. Without --access-key standard input is what 'k3fs account create --key -o json'
or 'k3fs key create -o json' prints; at a terminal both are asked for.

k3fs mount uses the current context's access key, too, and so does the aws command:
  aws configure set credential_process "k3fs context credentials"`,
		Example: `  sudo k3fs account create alice --tenant acme --key -o json | k3fs login
  k3fs login --endpoint https://store.example.com:9001 --s3 https://store.example.com:9000 --access-key K3...
  k3fs login --endpoint unix:/run/k3fs/admin.sock --access-key K3... </root/secret`,
	}
	f := cmd.Flags()
	f.StringVar(&c.Name, "name", "default", "how to call the context")
	f.StringVar(&c.Admin, "endpoint", "", "the admin listener: https://HOST:PORT, http:// on this host, or unix:PATH (default: the socket of this host's daemon)")
	f.StringVar(&c.S3, "s3", "", "the S3 endpoint: https://HOST:PORT (default: where the store on this host says it is)")
	f.StringVar(&c.CA, "ca", "", "file of who signs the certificates of both, in PEM")
	f.StringVar(&c.ClientCert, "client-cert", "", "file of a certificate for a store that asks for one")
	f.StringVar(&c.ClientKey, "client-key", "", "file of its key")
	f.StringVar(&c.AccessKey, "access-key", os.Getenv("K3FS_ACCESS_KEY"), "the access key (default $K3FS_ACCESS_KEY)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return login(cmd, c) }
	return cmd
}

func login(cmd *cobra.Command, c loginContext) (err error) {
	if c.Admin == "" {
		socket, err := filepath.Abs(cmp.Or(adminSocketOf(os.Getenv), control.AdminSocket))
		if err != nil {
			return err
		}
		c.Admin = "unix:" + socket
	}
	for _, file := range []*string{&c.CA, &c.ClientCert, &c.ClientKey} {
		if *file != "" {
			if *file, err = filepath.Abs(*file); err != nil {
				return err
			}
		}
	}
	if err := c.safe(); err != nil {
		return err
	}
	if err := c.readKey(cmd); err != nil {
		return err
	}
	s, err := servicesOf(c.target())
	if err != nil {
		return err
	}
	who, err := call(cmd.Context(), s.accounts.WhoAmI, &adminv1.WhoAmIRequest{})
	if err != nil {
		return err
	}
	if c.S3 == "" && who.S3Address != "" && c.onThisHost() {
		c.S3 = "http://" + who.S3Address
	}
	all, err := readLogins(os.Getenv)
	if err != nil {
		return err
	}
	if old := all.find(c.Name); old != nil {
		*old = c
	} else {
		all.Contexts = append(all.Contexts, c)
	}
	all.Current = c.Name
	if err := all.save(os.Getenv); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "logged in to %s as %s of tenant %s; context %q is the current one\n", c.Admin, who.Account, who.Tenant, c.Name)
	return err
}

// onThisHost reports whether the endpoint is one that only this host has.
func (c *loginContext) onThisHost() bool {
	return strings.HasPrefix(c.Admin, "unix:") || plainLocal(c.Admin)
}

// plainLocal reports whether a URL is plain HTTP to this host.
func plainLocal(url string) bool {
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]"} {
		if rest, ok := strings.CutPrefix(url, "http://"+host); ok && (rest == "" || rest[0] == ':' || rest[0] == '/') {
			return true
		}
	}
	return false
}

// safe refuses plain HTTP to other hosts: answers of the API hold secrets.
func (c *loginContext) safe() error {
	if strings.HasPrefix(c.Admin, "http://") && !plainLocal(c.Admin) {
		return usageError{fmt.Errorf("%s: plain http is for this host only, since answers can hold secrets: write https://", c.Admin)}
	}
	return nil
}

// readKey reads what of the access key and its secret is not known yet.
func (c *loginContext) readKey(cmd *cobra.Command) (err error) {
	in := cmd.InOrStdin()
	if f, ok := in.(*os.File); c.AccessKey == "" && ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(cmd.ErrOrStderr(), "access key: ")
		if _, err := fmt.Fscanln(f, &c.AccessKey); err != nil {
			return usageError{errors.New("give an access key")}
		}
	}
	if c.AccessKey != "" {
		c.SecretKey, err = readSecret(cmd)
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(in, 4<<10))
	if err != nil {
		return err
	}
	var made adminv1.Credentials
	if protojson.Unmarshal(raw, &made) != nil || made.AccessKey == "" || made.SecretKey == "" {
		return usageError{errors.New("give --access-key, or on standard input what 'k3fs key create -o json' prints")}
	}
	c.AccessKey, c.SecretKey = made.AccessKey, made.SecretKey
	return nil
}

func readSecret(cmd *cobra.Command) (string, error) {
	if secret := os.Getenv("K3FS_SECRET_KEY"); secret != "" {
		return secret, nil
	}
	if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(cmd.ErrOrStderr(), "secret key: ")
		raw, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return strings.TrimSpace(string(raw)), err
	}
	line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 4<<10)).ReadString('\n')
	if line = strings.TrimSpace(line); line != "" {
		return line, nil
	}
	if errors.Is(err, io.EOF) {
		err = usageError{errors.New("give the secret key on standard input, or in $K3FS_SECRET_KEY")}
	}
	return "", err
}

func newContext() *cobra.Command {
	return group("context", "choose among the stores that you have logged in to", "", newContextList(), newContextUse(), newContextDelete(), newContextCredentials())
}

func newContextList() *cobra.Command {
	a := &api{output: "table"}
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "list them", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		all, err := readLogins(os.Getenv)
		if err != nil {
			return err
		}
		return a.show(cmd, all.shown(), func(w io.Writer) {
			row(w, "CURRENT", "NAME", "ENDPOINT", "S3", "ACCESS KEY")
			for _, c := range all.Contexts {
				mark := ""
				if c.Name == all.Current {
					mark = "*"
				}
				row(w, mark, c.Name, c.Admin, orNone(c.S3), c.AccessKey)
			}
		})
	}}
	cmd.Flags().StringVarP(&a.output, "output", "o", "table", "table, or json for scripts")
	return cmd
}

// shown are the contexts without their secrets.
func (l *logins) shown() []map[string]any {
	all := []map[string]any{}
	for _, c := range l.Contexts {
		all = append(all, map[string]any{"name": c.Name, "admin": c.Admin, "s3": c.S3, "access_key": c.AccessKey, "current": c.Name == l.Current})
	}
	return all
}

func contextNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if all, err := readLogins(os.Getenv); err == nil {
		for _, c := range all.Contexts {
			names = append(names, c.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func newContextUse() *cobra.Command {
	return &cobra.Command{Use: "use NAME", Short: "make one the current one", Args: exactly(1, "the name of a context"), ValidArgsFunction: contextNames,
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := readLogins(os.Getenv)
			if err != nil {
				return err
			}
			if all.find(args[0]) == nil {
				return usageError{fmt.Errorf("there is no context %q: see 'k3fs context list'", args[0])}
			}
			all.Current = args[0]
			return all.save(os.Getenv)
		}}
}

func newContextDelete() *cobra.Command {
	return &cobra.Command{Use: "delete NAME", Aliases: []string{"rm"}, Short: "forget one, with its secret", Args: exactly(1, "the name of a context"),
		ValidArgsFunction: contextNames, RunE: func(_ *cobra.Command, args []string) error {
			all, err := readLogins(os.Getenv)
			if err != nil {
				return err
			}
			if all.find(args[0]) == nil {
				return usageError{fmt.Errorf("there is no context %q: see 'k3fs context list'", args[0])}
			}
			all.Contexts = slices.DeleteFunc(all.Contexts, func(c loginContext) bool { return c.Name == args[0] })
			if all.Current == args[0] {
				all.Current = ""
			}
			return all.save(os.Getenv)
		}}
}

// newContextCredentials is for the aws command's credential_process, whose answer is so documented by AWS ("Sourcing
// credentials with an external process").
func newContextCredentials() *cobra.Command {
	var lasts time.Duration
	cmd := &cobra.Command{Use: "credentials [NAME]", Short: "print the access key and its secret, for the aws command's credential_process",
		Long: `Print the access key of a context and its secret as the aws command's credential_process wants them; with --session,
temporary credentials, which the store makes now and which end by themselves.`,
		Example: `  aws configure set credential_process "k3fs context credentials --session 1h"`,
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: contextNames, RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			c, err := contextNamed(name, os.Getenv)
			if err == nil && c == nil {
				err = errors.New("nobody has logged in: see 'k3fs login --help'")
			}
			if err != nil {
				return err
			}
			a := &api{output: "json"}
			if lasts == 0 {
				return a.show(cmd, map[string]any{"Version": 1, "AccessKeyId": c.AccessKey, "SecretAccessKey": c.SecretKey}, nil)
			}
			s, err := c.session(cmd.Context(), lasts)
			if err != nil {
				return err
			}
			return a.show(cmd, map[string]any{"Version": 1, "AccessKeyId": s.AccessKeyId, "SecretAccessKey": s.SecretAccessKey,
				"SessionToken": s.SessionToken, "Expiration": s.Expiration.UTC().Format(time.RFC3339)}, nil)
		}}
	cmd.Flags().DurationVar(&lasts, "session", 0, "temporary credentials that last so long, 15m to 12h (default: the access key itself)")
	return cmd
}
