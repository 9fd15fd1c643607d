package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"k3fs/daemon/control"
	"k3fs/namespace"
	"k3fs/tenancy"
)

// viewOps are the operations of the control socket that are done with the view of who asks.
var viewOps = map[string]func(*Daemon, context.Context, *namespace.View, json.RawMessage) (any, error){
	control.OpHoldPlace:    (*Daemon).placeHold,
	control.OpHoldRelease:  (*Daemon).releaseHold,
	control.OpHoldList:     (*Daemon).listHolds,
	control.OpHoldReport:   (*Daemon).reportHolds,
	control.OpAuditRecords: (*Daemon).auditRecords,
	control.OpAuditHead:    (*Daemon).auditHead,
	control.OpClockShow:    (*Daemon).showClock,
	control.OpClockConfirm: (*Daemon).confirmClock,

	control.OpObjectVersions: (*Daemon).objectVersions,
	control.OpObjectRestore:  (*Daemon).objectRestore,
}

// maxData bounds the answer of one request, in bytes: less than a message holds.
const maxData = 48 << 10

// viewOp does one of them.
func (d *Daemon) viewOp(ctx context.Context, c control.Caller, r control.Request) (control.Reply, error) {
	who, err := d.onBehalf(ctx, c, r)
	if err != nil {
		return control.Reply{}, err
	}
	if r.Op == control.OpClockConfirm {
		if !c.Administrator() {
			return control.Reply{}, control.Errorf(control.Denied, "only the host's administrator confirms its clock")
		}
		who = tenancy.Root(tenancy.FirstTenant)
	}
	out, err := viewOps[r.Op](d, ctx, d.ns.As(who), r.Args)
	if err != nil {
		return control.Reply{}, controlError(err)
	}
	data, err := json.Marshal(out)
	return control.Reply{Data: data}, err
}

// onBehalf is for whom a request is: the account of its access key, or, of the administrator, the tenant's root.
func (d *Daemon) onBehalf(ctx context.Context, c control.Caller, r control.Request) (tenancy.Principal, error) {
	switch {
	case c.AccessKey != "" && r.Tenant != "":
		return tenancy.Principal{}, control.Errorf(control.Usage, "an access key has a tenant of its own")
	case c.AccessKey != "":
		who := c.Who
		who.AccessKey = c.AccessKey
		return who, nil
	case !c.Administrator():
		return tenancy.Principal{}, control.Errorf(control.Denied, "give an access key and its secret: only root does this without")
	case r.Tenant == "":
		return tenancy.Root(tenancy.FirstTenant), nil
	}
	t, err := d.stores.tenancy.FindTenant(ctx, r.Tenant)
	if err != nil {
		return tenancy.Principal{}, control.Errorf(control.Absent, "there is no tenant %q", r.Tenant)
	}
	return tenancy.Root(t.ID), nil
}

// controlError gives an error of the namespace the code that commands know.
func controlError(err error) error {
	var e *namespace.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case namespace.Access, namespace.NotPermitted:
		return control.Errorf(control.Denied, "%v", err)
	case namespace.NotFound, namespace.NoBucket:
		return control.Errorf(control.Absent, "%v", err)
	case namespace.Invalid:
		return control.Errorf(control.Usage, "%v", err)
	}
	return control.Errorf(control.Failed, "%v", err)
}

func parseArgs(raw json.RawMessage, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return control.Errorf(control.Usage, "the arguments can't be read: %v", err)
	}
	return nil
}

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
