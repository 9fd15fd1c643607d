package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/namespace"
)

func newAudit() *cobra.Command {
	a := &api{}
	cmd := group("audit", "export and verify the log of what was done about locks and holds",
		`Each tenant has a log of every placing, releasing and refusal. Its records are lines of JSON, each with the
SHA-256 of the one before it, so that nothing can be changed, removed or put between unseen.`,
		newAuditExport(a), newAuditVerify(a))
	a.flags(cmd)
	return cmd
}

func newAuditExport(a *api) *cobra.Command {
	return &cobra.Command{Use: "export", Short: "print the log, and its head as the last line", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		s, err := a.connect()
		if err != nil {
			return err
		}
		out := bufio.NewWriter(cmd.OutOrStdout())
		for n := uint64(0); ; {
			page, err := call(cmd.Context(), s.audit.ListAuditRecords, &adminv1.ListAuditRecordsRequest{After: n})
			if err != nil {
				return err
			}
			for _, line := range page.Records {
				fmt.Fprintf(out, "%s\n", line)
			}
			n += uint64(len(page.Records))
			if n >= page.Head.Seq {
				fmt.Fprintf(out, "%s\n", page.Head.Line)
				return out.Flush()
			}
			if len(page.Records) == 0 {
				return fmt.Errorf("the log ends at record %d, its head says %d: run k3fs audit verify", n, page.Head.Seq)
			}
		}
	}}
}

func newAuditVerify(a *api) *cobra.Command {
	offline := false
	cmd := &cobra.Command{
		Use: "verify [FILE]", Short: "check the daemon's log, or an export of it",
		Long: `Without FILE the daemon checks its own log. With FILE the export is checked here, and the daemon is asked
whether it is the beginning of its log; --offline leaves that out.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{errors.New("give one file, or none")}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&offline, "offline", false, "don't ask the daemon: only the export itself is checked")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		check := &adminv1.GetAuditHeadRequest{Verify: true}
		if len(args) == 1 {
			head, err := verifyFile(args[0])
			if err != nil {
				return err
			}
			if check = (&adminv1.GetAuditHeadRequest{HasSeq: head.Seq, HasHash: head.Hash}); offline {
				return whole(cmd.OutOrStdout(), head.Seq, head.Hash)
			}
		}
		s, err := a.connect()
		if err != nil {
			return err
		}
		answer, err := call(cmd.Context(), s.audit.GetAuditHead, check)
		if err != nil {
			return err
		}
		if !answer.Has {
			return errors.New("the export is whole, but it is not the beginning of the daemon's log: one of the two was replaced")
		}
		return whole(cmd.OutOrStdout(), answer.Head.Seq, answer.Head.Hash)
	}
	return cmd
}

func whole(w io.Writer, seq uint64, hash string) error {
	_, err := fmt.Fprintf(w, "%d records, whole; the last is %s\n", seq, hash)
	return err
}

func verifyFile(name string) (namespace.AuditHead, error) {
	f, err := os.Open(name)
	if err != nil {
		return namespace.AuditHead{}, err
	}
	defer f.Close()
	return namespace.VerifyAudit(f)
}
