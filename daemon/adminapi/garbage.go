package adminapi

import (
	"context"

	"connectrpc.com/connect"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/namespace"
)

// maxListed bounds how much of a collection an answer lists.
const maxListed = 1000

// CollectGarbage implements MaintenanceService.
func (s maintenance) CollectGarbage(ctx context.Context, r *connect.Request[adminv1.CollectGarbageRequest]) (*connect.Response[adminv1.CollectGarbageResponse], error) {
	dry, most := r.Msg.GetDryRun(), int(r.Msg.GetList())
	if most < 0 || most > maxListed {
		return nil, invalid("list is between 0 and 1000")
	}
	answer := &adminv1.CollectGarbageResponse{DryRun: dry}
	v := s.view(ctx, nil)
	if !dry {
		if err := v.NoteMaintenance(ctx, "node.gc", "a collection of garbage was asked for"); err != nil {
			return nil, err
		}
	}
	c, err := v.CollectGarbage(ctx, dry, func(g namespace.Garbage) error {
		if len(answer.Garbage) < most {
			answer.Garbage = append(answer.Garbage, shownGarbage(g))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	answer.Contents, answer.Parts, answer.Uploads, answer.Finished = c.Contents, c.Parts, c.Uploads, c.Finished
	answer.Extents, answer.Bytes, answer.DiskBytes, answer.Records = c.Extents, c.Bytes, c.DiskBytes, c.Records
	answer.Waiting, answer.Damaged = c.Waiting, c.Damaged
	if !dry {
		s.note(ctx, "garbage was collected", "contents", c.Contents, "bytes", c.Bytes)
	}
	return connect.NewResponse(answer), nil
}

func shownGarbage(g namespace.Garbage) *adminv1.Garbage {
	return &adminv1.Garbage{Content: g.Content, Tenant: uint64(g.Tenant), Upload: g.Upload, Part: int32(g.Part), Size: g.Size,
		Extents: g.Extents, Bytes: g.Bytes}
}
