package daemon

import (
	"fmt"
	"os"
	"sync"

	"k3fs/daemon/control"
	"k3fs/fusefs"
	"k3fs/namespace"
	"k3fs/tenancy"
)

// nobodyID is the user and the group that squashed root is unless another is given: the kernel's overflow ids.
const nobodyID = 65534

// actors are the accounts as which users of the host act in a mount, by a table. Who mounted it must stand, and have the permission to let
// them, at each request.
type actors struct {
	tenancy *tenancy.Tenancy
	by      tenancy.Principal // who mounted
	table   *control.Accounts
	view    func(tenancy.Principal) namespace.Posix
	nobody  namespace.Posix // may do nothing

	mu    sync.RWMutex
	rules uint64                     // guarded by mu: of Standing, by which known was found
	known map[string]namespace.Posix // guarded by mu: by account
}

func newActors(t *tenancy.Tenancy, by tenancy.Principal, table *control.Accounts, view func(tenancy.Principal) namespace.Posix) *actors {
	return &actors{tenancy: t, by: by, table: table, view: view, nobody: view(tenancy.Stranger(by.Tenant))}
}

// as is the namespace as a user in a group may use it (fusefs.Options.As).
func (a *actors) as(uid, gid uint32) namespace.Posix {
	account := a.table.Of(uid, gid)
	rules, err := a.tenancy.Standing(a.by)
	if account == "" || err != nil {
		return a.nobody
	}
	a.mu.RLock()
	fs, known := a.known[account]
	known = known && a.rules == rules
	a.mu.RUnlock()
	if known {
		return fs
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rules != rules || a.known == nil {
		a.rules, a.known = rules, map[string]namespace.Posix{}
	}
	fs = a.nobody
	if who, err := a.tenancy.ActAs(a.by, account); err == nil {
		fs = a.view(who)
	}
	a.known[account] = fs
	return fs
}

// mayMap makes sure that who mounts may let users act as every account of a table.
func (d *Daemon) mayMap(who tenancy.Principal, table *control.Accounts) error {
	if table == nil {
		return nil
	}
	for name := range table.Names() {
		if _, err := d.stores.tenancy.ActAs(who, name); err != nil {
			return control.Errorf(control.Denied, "the table of accounts: you may not let others act as %q, or there is no such account (%s)", name, tenancy.MountAs)
		}
	}
	return nil
}

// squashUnlessSaid decides whether root is squashed where whoever mounts has not: not if his account has the permission,
// as that of the host's administrator, who needs no key, does. It returns what one should know who is root.
func (d *Daemon) squashUnlessSaid(who tenancy.Principal, uid int, o *control.Options) (warning string) {
	if o.RootSquash != nil {
		return ""
	}
	squashed := d.stores.tenancy.Allow(who, tenancy.MountAsRoot, tenancy.Resource{Owner: who.Tenant}) != nil
	o.RootSquash = &squashed
	if squashed && uid == 0 {
		return "root is an ordinary user there (root_squash); -o no_root_squash lets root be root"
	}
	return ""
}

// squash says whom root is on a mount: root, if who mounts may ask for that, and did.
func (d *Daemon) squash(who tenancy.Principal, administrator bool, o *control.Options) (*fusefs.Squash, error) {
	if !*o.RootSquash {
		if administrator || d.stores.tenancy.Allow(who, tenancy.MountAsRoot, tenancy.Resource{Owner: who.Tenant}) == nil {
			return nil, nil
		}
		return nil, control.Errorf(control.Denied, "no_root_squash needs the permission %s", tenancy.MountAsRoot)
	}
	s := &fusefs.Squash{UID: nobodyID, GID: nobodyID}
	if o.AnonUID != nil {
		s.UID = *o.AnonUID
	}
	if o.AnonGID != nil {
		s.GID = *o.AnonGID
	}
	return s, nil
}

// readAccountTable reads a table of accounts for the daemon's own mount.
func readAccountTable(path string) (*control.Accounts, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("mount.accounts: %w", err)
	}
	table, err := control.ParseAccounts(string(text))
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("mount.accounts: %s: %w", path, err)}
	}
	return table, nil
}
