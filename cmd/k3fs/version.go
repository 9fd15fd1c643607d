package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  noArgs,
	}
	short := cmd.Flags().Bool("short", false, "print nothing else")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		platform := runtime.GOOS + "/" + runtime.GOARCH
		switch {
		case *asJSON:
			return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{
				"version": version, "go": runtime.Version(), "platform": platform,
			})
		case *short:
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version)
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "k3fs %s (%s, %s)\n", version, runtime.Version(), platform)
		return err
	}
	return cmd
}
