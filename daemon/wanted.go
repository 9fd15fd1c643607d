package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"k3fs/daemon/control"
	"k3fs/fusefs"
	"k3fs/internal/wholefile"
	"k3fs/tenancy"
)

// wantedFile, in the data directory, lists the mounts that are to be there, so that a daemon that was restarted
// makes them again. Those of an earlier boot are not its business but fstab's.
const wantedFile = "mounts.json"

const bootFile = "/proc/sys/kernel/random/boot_id"

// wanted is a mount as it was asked for. It holds no secret.
type wanted struct {
	Source, Dir string
	UID, GID    int    // who asked
	AccessKey   string `json:",omitempty"` // for whom; empty: the host's administrator
	Options     control.Options
}

type wantedList struct {
	Boot   string
	Mounts []wanted
}

// save keeps the list of wanted mounts.
func (s *mounts) save() error {
	s.saving.Lock()
	defer s.saving.Unlock()
	boot, err := os.ReadFile(bootFile)
	if err != nil {
		return err
	}
	list := wantedList{Boot: strings.TrimSpace(string(boot))}
	s.mu.Lock()
	for _, one := range s.all {
		if one.mount != nil {
			list.Mounts = append(list.Mounts, one.want)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(list.Mounts, func(a, b wanted) int { return strings.Compare(a.Dir, b.Dir) })
	raw, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	return wholefile.Replace(filepath.Join(s.d.cfg.Data, wantedFile), raw)
}

// before returns the mounts that an earlier run of the daemon had.
func (s *mounts) before() ([]wanted, error) {
	raw, err := os.ReadFile(filepath.Join(s.d.cfg.Data, wantedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	boot, e := os.ReadFile(bootFile)
	if err := errors.Join(err, e); err != nil {
		return nil, err
	}
	var list wantedList
	if err := json.Unmarshal(raw, &list); err != nil {
		s.d.log.Error("the list of mounts can't be read: mount again what is missing", "file", wantedFile, "err", err)
		return nil, nil
	}
	if list.Boot != strings.TrimSpace(string(boot)) {
		return nil, nil
	}
	return list.Mounts, nil
}

// restore makes mounts again. One that can't be made is logged, with what to do, and not wanted any more: the
// daemon does not fail for it.
func (s *mounts) restore(ctx context.Context, before []wanted) error {
	for _, want := range before {
		if err := s.again(ctx, want); err != nil {
			s.d.log.Error("a mount could not be made again: mount it anew with 'k3fs mount'",
				"source", want.Source, "dir", want.Dir, "err", err)
			continue
		}
		s.d.log.Info("mounted again", "source", want.Source, "dir", want.Dir)
	}
	return s.save()
}

// again makes one wanted mount.
func (s *mounts) again(ctx context.Context, want wanted) error {
	who := tenancy.Root(tenancy.FirstTenant)
	caller := control.Caller{UID: want.UID, GID: want.GID}
	if want.AccessKey != "" {
		var err error
		if _, who, err = s.d.authenticate(ctx, want.AccessKey); err != nil {
			return fmt.Errorf("access key %s: %w", want.AccessKey, err)
		}
	} else if !caller.Administrator() {
		return errors.New("it names no access key")
	}
	if _, err := fusefs.RecoverStale(want.Dir, want.UID, want.GID); err != nil {
		return err
	}
	// The path had no symbolic links when it was kept: one that is there now leads to where nobody asked for.
	fd, err := unix.Openat2(unix.AT_FDCWD, want.Dir, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return fmt.Errorf("the mount point: %w", err)
	}
	dir := os.NewFile(uintptr(fd), want.Dir)
	defer dir.Close()
	if _, err := s.checkDir(caller, dir); err != nil {
		return err
	}
	_, err = s.make(ctx, who, want, dir)
	return err
}
