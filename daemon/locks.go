package daemon

import (
	"context"
	"encoding/json"
	"time"

	"k3fs/daemon/control"
	"k3fs/namespace"
)

func (d *Daemon) placeHold(ctx context.Context, v *namespace.View, raw json.RawMessage) (any, error) {
	var h control.Hold
	if err := parseArgs(raw, &h); err != nil {
		return nil, err
	}
	var period time.Duration
	if h.Period != "" {
		var err error
		if period, err = time.ParseDuration(h.Period); err != nil || period <= 0 {
			return nil, control.Errorf(control.Usage, "%q is no length of time", h.Period)
		}
	}
	placed, err := v.PlaceHold(ctx, namespace.Hold{Bucket: h.Bucket, Prefix: h.Prefix, Reason: h.Reason, Until: h.Until, Period: period, Tag: h.Tag})
	if err == nil {
		d.log.Info("hold placed", "id", placed.ID, "bucket", placed.Bucket, "prefix", placed.Prefix, "by", placed.By)
	}
	return shownHold(placed), err
}

func shownHold(h namespace.Hold) control.Hold {
	shown := control.Hold{ID: h.ID, Bucket: h.Bucket, Prefix: h.Prefix, Reason: h.Reason, By: h.By, Created: h.Created.UTC(), Tag: h.Tag}
	if !h.Until.IsZero() {
		shown.Until = h.Until.UTC()
	}
	if h.Period > 0 {
		shown.Period = h.Period.String()
	}
	return shown
}

func (d *Daemon) releaseHold(ctx context.Context, v *namespace.View, raw json.RawMessage) (any, error) {
	var h control.Hold
	if err := parseArgs(raw, &h); err != nil {
		return nil, err
	}
	err := v.ReleaseHold(ctx, h.ID, h.Reason)
	if err == nil {
		d.log.Info("hold released", "id", h.ID)
	}
	return nil, err
}

func (d *Daemon) listHolds(ctx context.Context, v *namespace.View, raw json.RawMessage) (any, error) {
	holds, err := v.Holds(ctx)
	if err != nil {
		return nil, err
	}
	return page(raw, holds, shownHold)
}

func (d *Daemon) reportHolds(ctx context.Context, v *namespace.View, raw json.RawMessage) (any, error) {
	uses, err := v.HoldReport(ctx)
	if err != nil {
		return nil, err
	}
	return page(raw, uses, func(u namespace.HoldUse) control.HoldUse {
		return control.HoldUse{Hold: shownHold(u.Hold), Over: u.Over, Objects: u.Objects, Bytes: u.Bytes}
	})
}

// page is the part of a list that is asked for, as far as it fits an answer.
func page[T, S any](raw json.RawMessage, all []T, show func(T) S) ([]S, error) {
	var p control.Page
	if err := parseArgs(raw, &p); err != nil {
		return nil, err
	}
	shown, bytes := []S{}, 0
	for i := max(p.After, 0); i < len(all) && (p.Limit <= 0 || len(shown) < p.Limit); i++ {
		one := show(all[i])
		b, err := json.Marshal(one)
		if err != nil {
			return nil, err
		}
		if bytes += len(b); bytes > maxData {
			break
		}
		shown = append(shown, one)
	}
	return shown, nil
}

// auditBatch is how many records are read at a time.
const auditBatch = 100

func (d *Daemon) auditRecords(ctx context.Context, v *namespace.View, raw json.RawMessage) (any, error) {
	var p control.Page
	if err := parseArgs(raw, &p); err != nil {
		return nil, err
	}
	lines, err := v.AuditRecords(ctx, uint64(max(p.After, 0)), auditBatch)
	if err != nil {
		return nil, err
	}
	head, err := v.AuditHead(ctx, false)
	if err != nil {
		return nil, err
	}
	var out control.AuditPage
	bytes := 0
	for _, line := range lines {
		if bytes += len(line); bytes > maxData {
			break
		}
		out.Records = append(out.Records, line)
	}
	out.Head, err = json.Marshal(head)
	return out, err
}

func (d *Daemon) auditHead(ctx context.Context, v *namespace.View, raw json.RawMessage) (any, error) {
	var check control.AuditCheck
	if err := parseArgs(raw, &check); err != nil {
		return nil, err
	}
	head, err := v.AuditHead(ctx, check.Verify)
	if err != nil {
		return nil, err
	}
	var out control.AuditAnswer
	if out.Head, err = json.Marshal(head); err != nil {
		return nil, err
	}
	out.Has, err = v.AuditHas(ctx, check.Seq, check.Hash)
	return out, err
}

func (d *Daemon) showClock(context.Context, *namespace.View, json.RawMessage) (any, error) {
	return shownClock(d.ns.Clock()), nil
}

func (d *Daemon) confirmClock(ctx context.Context, v *namespace.View, _ json.RawMessage) (any, error) {
	s, err := v.ConfirmClock(ctx)
	return shownClock(s), err
}

func shownClock(s namespace.ClockState) control.Clock {
	return control.Clock{Now: s.Now.UTC(), Wall: s.Wall.UTC(), Frozen: s.Frozen}
}
