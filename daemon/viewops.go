package daemon

import (
	"context"
	"encoding/json"
	"errors"

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
