package main

import (
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"k3fs/daemon/adminapi/adminv1"
)

func newGC(a *api) *cobra.Command {
	r := &adminv1.CollectGarbageRequest{}
	cmd := a.verb("gc", "give back the room of what nothing refers to any more, or say what that is", noArgs, func(cmd *cobra.Command, s *services, _ []string) error {
		answer, err := call(cmd.Context(), s.maintenance.CollectGarbage, r)
		if err != nil {
			return err
		}
		return show(a, cmd, answer, func(w io.Writer) { showCollection(w, answer) })
	})
	cmd.Long = `The daemon collects by itself, moments after something is deleted or overwritten. What is listed as waiting is still being
read or copied. Locks and holds keep versions, and what any version refers to is never collected.`
	cmd.Flags().BoolVar(&r.DryRun, "dry-run", false, "collect nothing, and say what would be")
	cmd.Flags().Int32Var(&r.List, "list", 0, "list so many of what is collected, at most 1000")
	return cmd
}

func showCollection(w io.Writer, c *adminv1.CollectGarbageResponse) {
	state := "yes"
	if c.DryRun {
		state = "no: this only counted"
	}
	row(w, "collected", state)
	row(w, "comes free", fmt.Sprintf("%s in %d extents, %s on the disk", humanize.IBytes(uint64(c.Bytes)), c.Extents, humanize.IBytes(uint64(c.DiskBytes))))
	row(w, "contents", c.Contents)
	row(w, "uploads that ended", fmt.Sprintf("%d, and %d parts", c.Uploads, c.Parts))
	row(w, "notes of uploads", c.Finished)
	row(w, "records", c.Records)
	row(w, "waiting", c.Waiting)
	if c.Damaged > 0 {
		row(w, "damaged", fmt.Sprintf("%d; run 'k3fs fsck'", c.Damaged))
	}
	if len(c.Garbage) == 0 {
		return
	}
	row(w)
	row(w, "CONTENT", "TENANT", "SIZE", "COMES FREE", "UPLOAD", "PART")
	for _, g := range c.Garbage {
		row(w, g.Content, g.Tenant, g.Size, g.Bytes, g.Upload, g.Part)
	}
}
