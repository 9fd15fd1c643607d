package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"k3fs/daemon/adminapi/adminv1"
)

func newBucket() *cobra.Command {
	a := &api{}
	cmd := group("bucket", "make buckets, and say by which rules they are kept", "",
		newBucketCreate(a), newBucketList(a), newBucketShow(a), newBucketVersioning(a), newBucketLock(a), newBucketPolicy(a), newBucketCORS(a), newBucketDelete(a))
	a.flags(cmd)
	return cmd
}

func newBucketCreate(a *api) *cobra.Command {
	var r adminv1.CreateBucketRequest
	cmd := &cobra.Command{Use: "create NAME", Short: "make a bucket", Args: exactly(1, "a name")}
	f := cmd.Flags()
	f.BoolVar(&r.Versioning, "versioning", false, "keep versions of what is in it")
	f.BoolVar(&r.Lock, "lock", false, "enable Object Lock, and with it versioning")
	f.StringVar(&r.Region, "region", "", "the region it says it is in (default the store's)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r.Name = args[0]
		s, err := a.connect()
		if err != nil {
			return err
		}
		made, err := call(cmd.Context(), s.buckets.CreateBucket, &r)
		if err != nil {
			return err
		}
		return show(a, cmd, made.Bucket, func(w io.Writer) { row(w, made.Bucket.Name) })
	}
	return cmd
}

func listBuckets(cmd *cobra.Command, s *services, search string) ([]*adminv1.Bucket, error) {
	return pages(func(token string) ([]*adminv1.Bucket, string, error) {
		page, err := call(cmd.Context(), s.buckets.ListBuckets, &adminv1.ListBucketsRequest{Search: search, PageToken: token})
		if err != nil {
			return nil, "", err
		}
		return page.Buckets, page.NextPageToken, nil
	})
}

func newBucketList(a *api) *cobra.Command {
	search := ""
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "list buckets", Args: noArgs}
	cmd.Flags().StringVar(&search, "search", "", "only names that contain this")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := a.connect()
		if err != nil {
			return err
		}
		all, err := listBuckets(cmd, s, search)
		if err != nil {
			return err
		}
		return showAll(a, cmd, all, func(w io.Writer) {
			row(w, "NAME", "CREATED", "REGION")
			for _, b := range all {
				row(w, b.Name, when(b.Created), b.Region)
			}
		})
	}
	return cmd
}

func newBucketShow(a *api) *cobra.Command {
	return &cobra.Command{Use: "show NAME", Short: "show a bucket with its rules", Args: exactly(1, "the name of a bucket"), ValidArgsFunction: a.bucketArgs(""),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			answer, err := call(cmd.Context(), s.buckets.GetBucket, &adminv1.GetBucketRequest{Name: args[0]})
			if err != nil {
				return err
			}
			b := answer.Bucket
			return show(a, cmd, b, func(w io.Writer) {
				row(w, "name", b.Name)
				row(w, "created", when(b.Created))
				row(w, "region", b.Region)
				row(w, "versioning", strings.ToLower(strings.TrimPrefix(b.Versioning.String(), "VERSIONING_")))
				row(w, "object lock", lockOf(b.Lock))
				if b.HasPolicy {
					row(w, "policy", "see 'k3fs bucket policy get "+b.Name+"'")
				}
			})
		}}
}

func lockOf(l *adminv1.BucketLock) string {
	switch {
	case l == nil:
		return "none"
	case l.Mode == "":
		return "enabled, no retention by default"
	case l.Years > 0:
		return fmt.Sprintf("%s for %d years by default", l.Mode, l.Years)
	}
	return fmt.Sprintf("%s for %d days by default", l.Mode, l.Days)
}

func newBucketVersioning(a *api) *cobra.Command {
	return &cobra.Command{Use: "versioning NAME enable|suspend", Short: "keep versions of what is in a bucket, or suspend that",
		Args: exactly(2, "the name of a bucket, and enable or suspend"), ValidArgsFunction: a.bucketArgs(""),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, ok := map[string]adminv1.Versioning{"enable": adminv1.Versioning_VERSIONING_ENABLED, "suspend": adminv1.Versioning_VERSIONING_SUSPENDED}[args[1]]
			if !ok {
				return usageError{fmt.Errorf("%q is not enable or suspend", args[1])}
			}
			s, err := a.connect()
			if err != nil {
				return err
			}
			_, err = call(cmd.Context(), s.buckets.SetBucketVersioning, &adminv1.SetBucketVersioningRequest{Name: args[0], Versioning: to})
			return err
		}}
}

func newBucketLock(a *api) *cobra.Command {
	var l adminv1.BucketLock
	cmd := &cobra.Command{Use: "lock NAME", Short: "enable Object Lock, or change the retention that new versions get",
		Example: "  k3fs bucket lock mail --mode COMPLIANCE --years 6", Args: exactly(1, "the name of a bucket"), ValidArgsFunction: a.bucketArgs("")}
	f := cmd.Flags()
	f.StringVar(&l.Mode, "mode", "", "GOVERNANCE or COMPLIANCE (default: no retention by itself)")
	f.Int32Var(&l.Days, "days", 0, "for so many days")
	f.Int32Var(&l.Years, "years", 0, "for so many years")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		l.Mode = strings.ToUpper(l.Mode)
		s, err := a.connect()
		if err != nil {
			return err
		}
		_, err = call(cmd.Context(), s.buckets.SetBucketLock, &adminv1.SetBucketLockRequest{Name: args[0], Lock: &l})
		return err
	}
	return cmd
}

func newBucketPolicy(a *api) *cobra.Command {
	one := exactly(1, "the name of a bucket")
	get := &cobra.Command{Use: "get NAME", Short: "print a bucket's policy", Args: one, ValidArgsFunction: a.bucketArgs(""), RunE: func(cmd *cobra.Command, args []string) error {
		s, err := a.connect()
		if err != nil {
			return err
		}
		answer, err := call(cmd.Context(), s.buckets.GetBucketPolicy, &adminv1.GetBucketPolicyRequest{Name: args[0]})
		if err == nil && answer.Policy == "" {
			err = fmt.Errorf("bucket %s has no policy", args[0])
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), answer.Policy)
		return err
	}}
	put := &cobra.Command{Use: "put NAME FILE", Short: "set a bucket's policy from a file of JSON; - is standard input",
		Args: exactly(2, "the name of a bucket and a file"), RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := readInput(cmd, args[1])
			if err != nil {
				return err
			}
			s, err := a.connect()
			if err != nil {
				return err
			}
			_, err = call(cmd.Context(), s.buckets.PutBucketPolicy, &adminv1.PutBucketPolicyRequest{Name: args[0], Policy: string(raw)})
			return err
		}}
	remove := &cobra.Command{Use: "delete NAME", Short: "remove a bucket's policy", Args: one, ValidArgsFunction: a.bucketArgs(""), RunE: func(cmd *cobra.Command, args []string) error {
		s, err := a.connect()
		if err != nil {
			return err
		}
		_, err = call(cmd.Context(), s.buckets.DeleteBucketPolicy, &adminv1.DeleteBucketPolicyRequest{Name: args[0]})
		return err
	}}
	return group("policy", "who may use a bucket", "", get, put, remove)
}

// maxInput bounds a document that is read, in bytes.
const maxInput = 1 << 20

func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err == nil && len(raw) > maxInput {
		err = errors.New("the document is over 1 MiB")
	}
	return raw, err
}

func newBucketDelete(a *api) *cobra.Command {
	return &cobra.Command{Use: "delete NAME", Aliases: []string{"rm"}, Short: "remove an empty bucket", Args: exactly(1, "the name of a bucket"),
		ValidArgsFunction: a.bucketArgs(""), RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			_, err = call(cmd.Context(), s.buckets.DeleteBucket, &adminv1.DeleteBucketRequest{Name: args[0]})
			return err
		}}
}

// bucketArgs completes the first argument with the names of buckets, and what follows them.
func (a *api) bucketArgs(behind string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 || strings.Contains(begun, "/") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		s, err := a.connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all, err := listBuckets(cmd, s, begun)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, b := range all {
			if strings.HasPrefix(b.Name, begun) {
				names = append(names, b.Name+behind)
			}
		}
		if behind != "" {
			return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeBuckets completes a flag with the names of buckets.
func (a *api) completeBuckets(cmd *cobra.Command, flag string) {
	complete := a.bucketArgs("")
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return complete(cmd, nil, begun)
	})
}
