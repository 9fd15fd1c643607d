package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"k3fs/chunkstore"
	"k3fs/daemon/adminapi/adminv1"
	"k3fs/metastore"
	"k3fs/namespace"
	"k3fs/tenancy"
)

// backupState is the backup that is being made, or the last one of this run of the daemon.
type backupState struct {
	mu   sync.Mutex
	job  *job // guarded by mu; nil: there was none
	path string
	done storeCopy
}

// StartBackup implements adminapi.Maintainer.
func (o operated) StartBackup(ctx context.Context, who tenancy.Principal, name string) error {
	d := o.d
	refused := func(k namespace.Kind, format string, args ...any) error {
		return &namespace.Error{Op: "backup", Name: name, Kind: k, Err: fmt.Errorf(format, args...)}
	}
	if d.cfg.Backup.Dir == "" {
		return refused(namespace.NotPermitted, "nobody has said where backups go: set backup.dir in the daemon's configuration")
	}
	dir := filepath.Join(d.cfg.Backup.Dir, name)
	if exists(dir) {
		return refused(namespace.Exists, "%s is there already", dir)
	}
	var points []string
	d.eachMount(func(m *mount) { points = append(points, m.point) })
	if point := mountOf(dir, points); point != "" {
		return refused(namespace.NotPermitted, "%s is on this daemon's own mount %s: set backup.dir to a place elsewhere", dir, point)
	}
	if err := d.ns.As(who).NoteMaintenance(ctx, "node.backup", "a backup was asked for: "+name); err != nil {
		return err
	}
	b := &d.backup
	b.mu.Lock()
	defer b.mu.Unlock()
	j, err := d.jobs.start("backup", func(ctx context.Context, j *job) error {
		err := d.runBackup(ctx, j, dir)
		b.mu.Lock()
		args := []any{"dir", dir, "records", b.done.Records, "bytes", b.done.Bytes, "took", j.took()}
		b.mu.Unlock()
		if err != nil {
			d.log.Error("backup failed", append(args, "err", err)...)
		} else {
			d.log.Info("backup made", args...)
		}
		return err
	})
	if err == nil {
		b.job, b.path, b.done = j, dir, storeCopy{}
	}
	return err
}

// mountOf is which of some mounts a directory is on, or would be; empty if on none of them. A daemon that maps files of
// its own mount into its memory, as Badger does, waits for itself.
func mountOf(dir string, points []string) string {
	for !exists(dir) {
		dir = filepath.Dir(dir)
	}
	device := func(path string) (dev uint64, ok bool) {
		var st syscall.Stat_t
		ok = syscall.Stat(path, &st) == nil
		return st.Dev, ok
	}
	at, ok := device(dir)
	for _, point := range points {
		if of, there := device(point); ok && there && of == at {
			return point
		}
	}
	return ""
}

func (d *Daemon) runBackup(ctx context.Context, j *job, dir string) error {
	j.at("waiting for what is being collected", 0, 0)
	return makeWhole(dir, func(tmp string) error {
		reserve := d.stores.chunks.Usage().LowWater
		there := roomIn(tmp, reserve)
		c := &storeCopy{Version: d.version, Made: time.Now().UTC(), from: d.stores.chunks, dir: tmp, log: d.log, room: func() error {
			if u := d.stores.chunks.Usage(); u.Free < u.LowWater {
				return errors.New("the store's own disk is short of room, and nothing that is deleted comes free before a backup ends")
			}
			return there()
		}}
		c.tell = func(phase string, done, of int64) {
			d.backup.mu.Lock()
			d.backup.done = storeCopy{Records: c.Records, Extents: c.Extents, Bytes: c.Bytes}
			d.backup.mu.Unlock()
			j.at(phase, done, of)
		}
		l := d.stores.locked
		l.rotating.Lock() // until the records are those of the keys
		unlock := sync.OnceFunc(l.rotating.Unlock)
		defer unlock()
		err := d.ns.Snapshot(ctx, func(r metastore.Reader) error {
			keys, lock := d.stores.tenancy.NodeKeysForCopy(), l.lock
			unlock()
			return c.run(ctx, r, keys, lock)
		})
		if errors.Is(err, chunkstore.ErrRekeying) {
			return errors.New("the data of a tenant are being sealed with a new key: try again when 'k3fs key tenant status' says that it is done")
		}
		c.tell("done", c.Bytes, c.Bytes)
		return err
	})
}

// Backup implements adminapi.Maintainer.
func (o operated) Backup() *adminv1.Backup {
	b := &o.d.backup
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.job == nil {
		return &adminv1.Backup{Job: &adminv1.Job{}}
	}
	return &adminv1.Backup{Job: b.job.shown(), Path: b.path, Records: b.done.Records, Extents: b.done.Extents}
}

// StopBackup implements adminapi.Maintainer.
func (o operated) StopBackup(ctx context.Context, who tenancy.Principal) error {
	if err := o.d.ns.As(who).NoteMaintenance(ctx, "node.backup.stop", "the end of a backup was asked for"); err != nil {
		return err
	}
	return o.d.jobs.stop(ctx, "backup")
}

// Restore makes the data directory of cfg, which must be absent or empty, from a backup, checks it, with deep every byte
// of data, and returns what was found. The master key, or key service, is the one of the backup. The backup is only
// read. Nothing is left in the data directory if it fails.
func Restore(ctx context.Context, cfg Config, backup string, deep bool, tell func(phase string, done, of int64), log *slog.Logger) (r Report, err error) {
	r = Report{Data: cfg.Data, Problems: []string{}}
	if err := checkCopyNote(backup); err != nil {
		return r, err
	}
	if err := freePlace(cfg.Data); err != nil {
		return r, err
	}
	if cfg.KeyService.Kind == "" && cfg.master == nil && within(cfg.MasterKey, cfg.Data) {
		return r, errors.New("name the file of the backup's master key with --master-key")
	}
	from := cfg
	from.Data = backup
	s, err := openStoresReadOnly(ctx, from, log)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	err = makeWhole(cfg.Data, func(tmp string) error {
		c := &storeCopy{Made: time.Now().UTC(), from: s.chunks, dir: tmp, log: log, tell: tell, room: roomIn(tmp, defaultFreeSpace)}
		err := s.kv.View(ctx, func(r metastore.Reader) error { return c.run(ctx, r, s.tenancy.NodeKeysForCopy(), s.locked.lock) })
		if err == nil {
			err = os.Remove(filepath.Join(tmp, copyNote)) // it is a store, not a backup
		}
		if err != nil {
			return err
		}
		tell("check", 0, 0)
		made := cfg
		made.Data = tmp
		if r, err = Fsck(ctx, made, deep, log); err != nil {
			return err
		}
		r.Data = cfg.Data
		if len(r.Problems) > 0 {
			log.Error("the backup is damaged: what it holds is restored, and what is damaged can't be read", "problems", len(r.Problems))
		}
		return nil
	})
	return r, err
}
