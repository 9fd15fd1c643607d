package daemon

import (
	"context"

	"k3fs/daemon/adminapi/adminv1"
	"k3fs/tenancy"
)

// Maintenance implements adminapi.Maintainer.
func (o operated) Maintenance() *adminv1.Maintenance {
	d := o.d
	m := &adminv1.Maintenance{Draining: d.draining(), ReadOnly: d.stores.tenancy.ReadOnly(), Requests: max(0, d.requests.running()-1)}
	d.eachMount(func(one *mount) { m.OpenFiles += int64(one.door.OpenFiles()) })
	return m
}

// eachMount calls fn for every mount.
func (d *Daemon) eachMount(fn func(*mount)) {
	all := d.mounts.live()
	if d.own != nil {
		all = append(all, d.own.live()...)
	}
	for _, m := range all {
		fn(m)
	}
}

// draining reports whether both doors refuse what is new because an operator wants it.
func (d *Daemon) draining() bool { return d.health.drained.Load() }

// Drain implements adminapi.Maintainer.
func (o operated) Drain(ctx context.Context, who tenancy.Principal, on bool) error {
	event, detail := "node.drain", "new requests and opens are refused"
	if !on {
		event, detail = "node.undrain", "the node serves again"
	}
	if err := o.d.ns.As(who).NoteMaintenance(ctx, event, detail); err != nil {
		return err
	}
	o.d.health.drained.Store(on)
	return nil
}

// SetReadOnly implements adminapi.Maintainer.
func (o operated) SetReadOnly(ctx context.Context, who tenancy.Principal, on bool) error {
	event, detail := "node.readonly", "read-only mode was asked for"
	if !on {
		event, detail = "node.readwrite", "the end of read-only mode was asked for"
	}
	if err := o.d.ns.As(who).NoteMaintenance(ctx, event, detail); err != nil {
		return err
	}
	if on {
		o.d.eachMount(func(m *mount) { m.door.WriteBack() }) // applications take it for written
	}
	if err := o.d.stores.tenancy.SetReadOnly(ctx, who, on); err != nil {
		return err
	}
	o.d.ns.Settle()
	return nil
}
