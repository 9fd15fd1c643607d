package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan() *cobra.Command {
	return &cobra.Command{Use: "man DIR", Short: "write manual pages, one for each command", Args: exactly(1, "a directory"), RunE: func(cmd *cobra.Command, args []string) error {
		if err := os.MkdirAll(args[0], 0o755); err != nil {
			return err
		}
		root := cmd.Root()
		root.DisableAutoGenTag = true
		date := time.Unix(0, 0) // the same pages from the same program
		return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "k3fs " + version, Date: &date}, args[0])
	}}
}
