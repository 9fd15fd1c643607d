package daemon

import (
	"context"
	"os"
	"path/filepath"

	"k3fs/daemon/control"
	"k3fs/tenancy"
)

// listenControl opens the sockets that ask for mounts: one in the data directory, for who may look in there, and
// one for all users of the host, who are told apart by their access keys.
func (d *Daemon) listenControl() error {
	d.control = &control.Server{Authenticate: d.authenticate, Handle: d.handle, Logger: d.log}
	if err := d.control.Listen(filepath.Join(d.cfg.Data, control.SocketName), 0o600); err != nil {
		return err
	}
	path := d.cfg.Control.Listen
	if path == "" {
		return nil
	}
	l, err := listenShared(path, path == control.Socket)
	if err == nil {
		err = d.control.Serve(l)
	}
	switch {
	case err == nil:
		return nil
	case path == control.Socket:
		d.log.Info("no socket for 'k3fs mount' in the usual place: name the data directory with --data", "socket", path, "err", err)
		return nil
	}
	return &ConfigError{Err: err}
}

// listenShared opens a socket for all users of the host. In the usual place its directory is made as well.
func listenShared(path string, usual bool) (*control.Listener, error) {
	l, err := control.Listen(path, 0o666)
	if !os.IsNotExist(err) || !usual || os.Geteuid() != 0 {
		return l, err
	}
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask
		return nil, err
	}
	return control.Listen(path, 0o666)
}

// handle does what is asked at the control socket.
func (d *Daemon) handle(ctx context.Context, c control.Caller, r control.Request, dir *os.File) (control.Reply, error) {
	switch r.Op {
	case control.OpMount:
		return d.mounts.mount(ctx, c, r, dir)
	case control.OpUmount:
		return d.mounts.umount(ctx, c, r)
	}
	return control.Reply{}, control.Errorf(control.Usage, "unknown operation %q", r.Op)
}

// authenticate finds the secrets of an access key of an account; temporary ones are not for mounts and holds.
func (d *Daemon) authenticate(ctx context.Context, accessKey string) ([]string, tenancy.Principal, error) {
	return d.stores.tenancy.Authenticate(ctx, accessKey, "")
}
