package daemon

import (
	"context"
	"fmt"

	"k3fs/namespace"
)

// checkNamespace checks that the records of the namespace agree with one another and with the data.
func (r *Report) checkNamespace(ctx context.Context, s *stores, deep bool) error {
	found, err := namespace.Check(ctx, s.kv, s.chunks, s.tenancy, namespace.CheckOptions{Deep: deep})
	r.Inodes, r.Extents, r.Bytes = found.Inodes, found.Extents, found.Bytes
	for _, p := range found.Problems {
		r.Problems = append(r.Problems, p.String())
	}
	if found.More > 0 {
		r.Problems = append(r.Problems, fmt.Sprintf("and %d problems more", found.More))
	}
	if corrupt(err) {
		r.Problems = append(r.Problems, fmt.Sprintf("the check of the namespace ended early: %v", err))
		return nil
	}
	return err
}
