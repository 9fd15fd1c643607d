package badgerkv

import (
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"k3fs/metastore"
)

// The anchor is a small file outside Badger that says how much the store must hold at least. It has two
// slots, written in turn, so that a torn write leaves the other one.
const (
	anchorMagic    = "k3anchr1"
	anchorSlot     = 4096 // distance of the slots: they share no sector
	anchorBody     = 8 + 8 + 8 + 4
	anchorMACSize  = 32
	anchorFileSize = 2 * anchorSlot
)

// anchorState is what a slot holds.
type anchorState struct {
	generation uint64 // the slot with the higher one counts
	batch      uint64 // the last batch that was acknowledged, at least
	epoch      uint32 // how often the store was opened
}

// anchor is the open anchor file.
type anchor struct {
	key  []byte
	file *os.File

	mu    sync.Mutex
	state anchorState
	dirty bool // written, and not synced
}

// openAnchor opens or makes the anchor, locks it, and begins a new epoch, durably.
func openAnchor(path string, key []byte) (*anchor, error) {
	a := &anchor{key: key}
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := refuseOrphan(filepath.Dir(path)); err != nil {
			return nil, err
		}
		return a, a.create(path)
	}
	if a.file, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	exclude := func() error { return a.lock(unix.LOCK_EX) }
	for _, step := range []func() error{exclude, a.load, a.begin} {
		if err := step(); err != nil {
			a.file.Close()
			return nil, err
		}
	}
	return a, nil
}

// create makes the anchor of a new store, whole or not at all.
func (a *anchor) create(path string) (err error) {
	if a.file, err = os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			a.file.Close()
		}
	}()
	if err := a.lock(unix.LOCK_EX); err != nil {
		return err
	}
	if err := a.begin(); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// lock keeps other processes out of the store: all of them, or with LOCK_SH those that write.
func (a *anchor) lock(how int) error {
	if err := unix.Flock(int(a.file.Fd()), how|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%s is in use by another process: %w", a.file.Name(), err)
	}
	return nil
}

// refuseOrphan reports a store whose anchor is gone: nobody can tell whether it is whole.
func refuseOrphan(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, badgerName, "MANIFEST")); err == nil {
		return fmt.Errorf("%w: %s holds a database without its anchor: restore the store from a backup",
			metastore.ErrCorrupt, dir)
	}
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// load reads the newer of the valid slots.
func (a *anchor) load() error {
	valid := false
	buf := make([]byte, anchorFileSize)
	n, err := a.file.ReadAt(buf, 0)
	if err != nil && err != io.EOF {
		return err
	}
	for i := range 2 {
		off := i * anchorSlot
		end := off + anchorBody + anchorMACSize
		if n < end {
			continue
		}
		slot := buf[off:end]
		body, mac := slot[:anchorBody], slot[anchorBody:]
		if string(body[:8]) != anchorMagic || !hmac.Equal(mac, anchorMAC(a.key, body)) {
			continue
		}
		s := anchorState{
			generation: binary.BigEndian.Uint64(body[8:]),
			batch:      binary.BigEndian.Uint64(body[16:]),
			epoch:      binary.BigEndian.Uint32(body[24:]),
		}
		if !valid || s.generation > a.state.generation {
			a.state, valid = s, true
		}
	}
	if !valid {
		return fmt.Errorf("%w: %s has no valid slot (or the key is not this store's): "+
			"restore the store from a backup, or give it the right key", metastore.ErrCorrupt, a.file.Name())
	}
	return nil
}

// begin starts an epoch: both slots have it on the disk before anything is sealed in it.
func (a *anchor) begin() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state.epoch++
	if a.state.epoch == 0 {
		return errors.New("badgerkv: the store was opened 2^32 times: copy it into a new one")
	}
	for range 2 {
		if err := a.write(); err != nil {
			return err
		}
	}
	return a.file.Sync()
}

// write puts the state into the older slot. a.mu must be held.
func (a *anchor) write() error {
	a.state.generation++
	buf := make([]byte, 0, anchorBody+anchorMACSize)
	buf = append(buf, anchorMagic...)
	buf = binary.BigEndian.AppendUint64(buf, a.state.generation)
	buf = binary.BigEndian.AppendUint64(buf, a.state.batch)
	buf = binary.BigEndian.AppendUint32(buf, a.state.epoch)
	buf = append(buf, anchorMAC(a.key, buf)...)
	_, err := a.file.WriteAt(buf, int64(a.state.generation%2)*anchorSlot)
	return err
}

// advance notes that batch is durable. It is written at once and synced soon (see sync): after a power
// cut the anchor may say less than the store holds, and never more.
func (a *anchor) advance(batch uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state.batch = batch
	a.dirty = true
	return a.write()
}

// sync makes what advance wrote durable.
func (a *anchor) sync() error {
	a.mu.Lock()
	dirty := a.dirty
	a.dirty = false
	a.mu.Unlock()
	if !dirty {
		return nil
	}
	return unix.Fdatasync(int(a.file.Fd()))
}

func (a *anchor) close() error {
	return errors.Join(a.sync(), a.file.Close())
}
