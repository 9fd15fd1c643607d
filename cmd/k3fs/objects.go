package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"k3fs/daemon/control"
)

func newObject() *cobra.Command {
	a := &asker{}
	cmd := group("object", "list and restore older versions of an object or file",
		`A bucket for which versioning is enabled keeps what its objects and files were. Older versions can be read
through a mount, too: in .k3fs/versions/, which every directory has, though no listing shows it.

Who is asked for is said as for k3fs mount; root needs no access key.`,
		newObjectVersions(a), newObjectRestore(a))
	a.flags(cmd)
	return cmd
}

// parseObject splits BUCKET/KEY.
func parseObject(s string) (control.Object, error) {
	bucket, key, ok := strings.Cut(s, "/")
	if !ok || bucket == "" || key == "" {
		return control.Object{}, usageError{fmt.Errorf("%q names no object: write BUCKET/KEY", s)}
	}
	return control.Object{Bucket: bucket, Key: key}, nil
}

func newObjectVersions(a *asker) *cobra.Command {
	return &cobra.Command{
		Use: "versions BUCKET/KEY", Short: "list the versions of an object, newest first",
		Args: exactly(1, "BUCKET/KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := parseObject(args[0])
			if err != nil {
				return err
			}
			var all []control.Version
			for more := true; more; {
				var page control.ObjectVersions
				if err := a.ask(cmd.Context(), control.OpObjectVersions, o, &page); err != nil {
					return err
				}
				all = append(all, page.Versions...)
				if more = page.More && len(page.Versions) > 0; more {
					o.Version = all[len(all)-1].ID
				}
			}
			if a.json {
				return printJSON(cmd.OutOrStdout(), all)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, v := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", v.ID, v.Time.Format(time.RFC3339), sizeOf(v), stateOf(v))
			}
			return w.Flush()
		},
	}
}

func sizeOf(v control.Version) string {
	if v.Marker {
		return "-"
	}
	return humanize.IBytes(uint64(v.Size))
}

func stateOf(v control.Version) string {
	switch {
	case v.Marker:
		return "deleted"
	case v.Latest:
		return "current"
	}
	return ""
}

func newObjectRestore(a *asker) *cobra.Command {
	return &cobra.Command{
		Use: "restore BUCKET/KEY [VERSION]", Short: "make an older version the current one",
		Long: `restore puts what the object was in a version, bytes and metadata, above all its versions, as a new one. Nothing
is removed, and no data is copied. Without VERSION a deleted object becomes again what it was last.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return usageError{errors.New("give BUCKET/KEY and perhaps a version")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := parseObject(args[0])
			if err != nil {
				return err
			}
			if len(args) == 2 {
				o.Version = args[1]
			}
			var restored control.Object
			if err := a.ask(cmd.Context(), control.OpObjectRestore, o, &restored); err != nil {
				return err
			}
			if a.json {
				return printJSON(cmd.OutOrStdout(), restored)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), restored.Version)
			return err
		},
	}
}
