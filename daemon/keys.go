package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k3fs/namespace"
	"k3fs/tenancy"
	"k3fs/tenancy/keyservice"
	"k3fs/tenancy/keyservice/awskms"
	"k3fs/tenancy/keyservice/transit"
)

// nodeKeysFile is in the data directory: the node's keys, sealed by the master key or the key service.
const nodeKeysFile = "node-keys"

// KeyServiceConfig is a key service in place of the master key. Its credentials are in a file (transit), or where AWS's
// SDKs look for them.
type KeyServiceConfig struct {
	Kind      string        `koanf:"kind"`       // transit, awskms or pkcs11; empty: none
	Address   string        `koanf:"address"`    // URL; of awskms empty for AWS's own; of pkcs11 the module's file
	Key       string        `koanf:"key"`        // "{tenant}" in it is the tenant's number
	Mount     string        `koanf:"mount"`      // of transit's engine; of pkcs11 the token's label
	Namespace string        `koanf:"namespace"`  // of OpenBao or Vault
	TokenFile string        `koanf:"token_file"` // transit's token, or the PIN of pkcs11
	CAFile    string        `koanf:"ca_file"`    // who signs the server's certificate
	Region    string        `koanf:"region"`     // of AWS
	Life      time.Duration `koanf:"life"`       // how long an unwrapped key is used without asking again
}

func (c *KeyServiceConfig) validate(bad func(key, format string, args ...any)) {
	if !oneOf(c.Kind, "", "transit", "awskms", "pkcs11") {
		bad("key_service.kind", "%q is not transit, awskms or pkcs11", c.Kind)
		return
	}
	if c.Kind == "" {
		return
	}
	if c.Key == "" {
		bad("key_service.key", "the name of a key is needed")
	}
	if c.Kind == "transit" && (c.Address == "" || c.TokenFile == "") {
		bad("key_service.address", "transit needs key_service.address and key_service.token_file")
	}
	if c.Kind == "pkcs11" && (c.Address == "" || c.Mount == "" || c.TokenFile == "") {
		bad("key_service.address", "pkcs11 needs key_service.address (the module's file), key_service.mount (the token's label) and key_service.token_file (the PIN)")
	}
	if c.Life < time.Second {
		bad("key_service.life", "must be 1s or more")
	}
}

// open connects to the service; nil if none is configured.
func (c *KeyServiceConfig) open(ctx context.Context) (keyservice.Service, error) {
	var s keyservice.Service
	var err error
	switch c.Kind {
	case "":
		return nil, nil
	case "transit":
		s, err = transit.New(transit.Options{Address: c.Address, Mount: c.Mount, Key: c.Key, Namespace: c.Namespace, TokenFile: c.TokenFile, CAFile: c.CAFile})
	case "pkcs11":
		s, err = openPKCS11(c)
	default:
		s, err = awskms.New(ctx, awskms.Options{Key: c.Key, Region: c.Region, Endpoint: c.Address})
	}
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("key_service: %w", err)}
	}
	return s, nil
}

// locked is the node's keys with what seals them.
type locked struct {
	path    string // of their file
	lock    tenancy.Lock
	master  *tenancy.Master // nil: a key service is the lock
	keys    *tenancy.NodeKeys
	service keyservice.Service // nil: none
	from    tenancy.Lock       // the lock of before, which is to be changed for lock; nil: it is right

	rotating sync.Mutex // held over a rotation, which alone changes lock once the daemon serves; taken before mu
	mu       sync.Mutex // held while that changes lock, and while others read it
}

// nodeKeys opens the node's keys. With make it makes what is missing where no data is yet that another key sealed.
func nodeKeys(ctx context.Context, cfg Config, log *slog.Logger, make bool) (*locked, error) {
	service, err := cfg.KeyService.open(ctx)
	if err != nil {
		return nil, err
	}
	l := &locked{path: filepath.Join(cfg.Data, nodeKeysFile), service: service}
	fresh := make && !exists(filepath.Join(cfg.Data, metaDir)) && !exists(filepath.Join(cfg.Data, chunksDir)) && !exists(l.path)
	l.master, err = cfg.loadMaster()
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && (!missing || service == nil && !fresh) {
		if missing {
			err = fmt.Errorf("the master key %s is missing, but %s holds data that needs it: restore the key from your copy", cfg.MasterKey, cfg.Data)
		}
		return nil, err
	}
	if fresh {
		return l, l.make(ctx, cfg, log, missing)
	}
	return l, l.load(ctx, cfg)
}

// make makes the keys of a new store.
func (l *locked) make(ctx context.Context, cfg Config, log *slog.Logger, missing bool) (err error) {
	switch {
	case l.service != nil:
		l.lock, l.master = tenancy.ServiceLock(l.service), nil
	case missing:
		if l.master, err = tenancy.CreateMaster(cfg.MasterKey); err != nil {
			return err
		}
		log.Warn("made a master key: without it all data is lost, so keep a copy elsewhere", "file", cfg.MasterKey)
		fallthrough
	default:
		l.lock = l.master
	}
	l.keys = tenancy.NewNodeKeys()
	return l.keys.Save(ctx, l.path, l.lock)
}

// load opens the keys of a store. What the wrong lock seals, a change of master key or the move to a key service, is
// noted in l.from.
func (l *locked) load(ctx context.Context, cfg Config) error {
	var locks []tenancy.Lock
	if l.service != nil {
		locks = append(locks, tenancy.ServiceLock(l.service))
	}
	if l.master != nil {
		locks = append(locks, l.master)
	}
	old, err := cfg.loadOldMaster()
	if err != nil {
		return err
	}
	if old != nil {
		locks = append(locks, old)
	}
	l.lock = locks[0]
	for _, lock := range locks {
		if l.keys, err = tenancy.LoadNodeKeys(ctx, l.path, lock); err == nil {
			if lock != l.lock {
				l.from = lock
			}
			break
		}
		if m, is := lock.(*tenancy.Master); is && errors.Is(err, fs.ErrNotExist) { // a store from before there was the file
			l.keys, err = m.NodeKeys(), nil
			if lock != l.lock {
				l.from = lock
			}
			break
		}
		if !errors.Is(err, tenancy.ErrWrongKey) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if l.service != nil {
		l.master = nil
	}
	return err
}

func (l *locked) options(cfg Config) tenancy.Options {
	return tenancy.Options{Keys: l.keys, Service: l.service, KeyLife: cfg.KeyService.Life}
}

// settle makes the lock the configured one, and finishes a rotation that was cut short.
func (l *locked) settle(ctx context.Context, t *tenancy.Tenancy, log *slog.Logger) error {
	if l.from != nil {
		if err := t.RotateNodeKeys(ctx, tenancy.NodeRotation{Path: l.path, Old: l.from, New: l.lock}); err != nil {
			return fmt.Errorf("change the lock of the node's keys: %w", err)
		}
		log.Info("the node's keys have another lock: the one before is not needed any more", "before", l.from.Name(), "now", l.lock.Name())
		return nil
	}
	return t.FinishRotation(ctx, l.path, l.lock)
}

// loadMaster is the master key from the environment or its file.
func (c *Config) loadMaster() (*tenancy.Master, error) {
	if c.master != nil {
		return c.master, nil
	}
	return tenancy.LoadMaster(c.MasterKey)
}

// loadOldMaster is the master key of before; nil: none is given.
func (c *Config) loadOldMaster() (*tenancy.Master, error) {
	if c.oldMaster != nil || c.OldMasterKey == "" {
		return c.oldMaster, nil
	}
	return tenancy.LoadMaster(c.OldMasterKey)
}

// masterFromEnv takes a master key out of the environment: K3FS_MASTER_KEY holds the key itself, or as before it could,
// the name of its file, for which K3FS_MASTER_KEY_FILE stands, too. The same with K3FS_OLD_MASTER_KEY.
func masterFromEnv(env map[string]string, name string) (*tenancy.Master, error) {
	text, file := env[name], env[name+"_FILE"]
	if text != "" && file != "" {
		return nil, fmt.Errorf("both %s and %s_FILE are set; unset one", name, name)
	}
	if !tenancy.IsMaster(text) {
		if file != "" {
			env[name] = file
		}
		return nil, nil
	}
	delete(env, name)
	m, err := tenancy.ParseMaster([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

// RotateNodeKeys makes a new master key in place of the one in its file, or with a key service seals the node's keys
// by its newest key, and seals everything anew that is sealed by them. It takes the node's permission.
func (d *Daemon) RotateNodeKeys(ctx context.Context, who tenancy.Principal) error {
	v, l := d.ns.As(who), d.stores.locked
	l.rotating.Lock()
	defer l.rotating.Unlock()
	if err := v.NoteNodeKeys(ctx, "node.key.rotate", "the lock of the node's keys: "+l.lock.Name()); err != nil {
		return err
	}
	r := tenancy.NodeRotation{Path: l.path, Old: l.lock, New: l.lock}
	if l.master != nil {
		fresh, err := tenancy.NewMaster()
		if err != nil {
			return err
		}
		if d.cfg.master != nil || underCredentials(d.cfg.MasterKey) {
			return &namespace.Error{Op: "rotate node keys", Kind: namespace.NotPermitted,
				Err: errors.New("the master key is not in a file that k3fs may replace: start it with the new one, and the one before as K3FS_OLD_MASTER_KEY")}
		}
		r.New, r.Replace = fresh, func() error {
			if err := fresh.Replace(d.cfg.MasterKey); err != nil {
				return err
			}
			l.became(fresh)
			return nil
		}
	}
	if err := d.stores.tenancy.RotateNodeKeys(context.WithoutCancel(ctx), r); err != nil {
		return err
	}
	d.log.Warn("the node's keys have a new lock: keep a copy of the master key elsewhere", "lock", l.lock.Name())
	return v.NoteNodeKeys(ctx, "node.key.rotated", "the lock of the node's keys: "+l.lock.Name())
}

// became notes that a start would use another master key from now on, even if what is left of a rotation fails: the next
// rotation, and a backup, must not be sealed by one that is gone. l.rotating must be held.
func (l *locked) became(m *tenancy.Master) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lock, l.master = m, m
}

// underCredentials reports whether a file is a systemd credential, which can't be replaced.
func underCredentials(path string) bool {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	return dir != "" && within(path, dir)
}

// NodeKeyState is what holds the node's keys.
type NodeKeyState struct {
	Lock     string // the master key, by a hash of it, or the key service
	Rotating bool   // something is still sealed under keys of before
	Service  string // the key service that wraps tenants' keys; empty: none
	Trouble  string // why it is not well; empty: it is
}

// NodeKeyState tells what holds the node's keys. It takes the node's permission.
func (d *Daemon) NodeKeyState(ctx context.Context, who tenancy.Principal) (s NodeKeyState, err error) {
	if err := d.stores.tenancy.Allow(who, tenancy.RotateNodeKeys, tenancy.Resource{}); err != nil {
		return s, err
	}
	l := d.stores.locked
	l.mu.Lock()
	s.Lock = l.lock.Name()
	l.mu.Unlock()
	s.Rotating = d.stores.tenancy.Rotating()
	if s.Service, err = d.stores.tenancy.KeyService(ctx); err != nil {
		s.Trouble = err.Error()
	}
	return s, nil
}
