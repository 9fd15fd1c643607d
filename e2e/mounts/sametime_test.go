package mounts

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// names are what two mounts do their changes to.
var names = []string{"n0", "n1", "n2", "n3", "n4", "n5"}

// change does something to one or two of the names of a directory; most of it fails now and then, as it should.
func change(rnd *rand.Rand, dir string, names []string) {
	one, two := filepath.Join(dir, names[rnd.IntN(len(names))]), filepath.Join(dir, names[rnd.IntN(len(names))])
	switch rnd.IntN(8) {
	case 0, 1:
		if f, err := os.OpenFile(one, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err == nil {
			_ = f.Close()
		}
	case 2:
		_ = unix.Unlink(one)
	case 3:
		_ = unix.Rename(one, two)
	case 4:
		_ = unix.Link(one, two)
	case 5:
		_ = unix.Symlink(two, one)
	case 6:
		_ = unix.Mkdir(one, 0o755)
	case 7:
		_ = unix.Rmdir(one)
	}
}

// look is what a mount shows of the names: by each of them, from what its kernel has cached, or by a listing.
func look(t *testing.T, dir string, list bool) (seen []string) {
	t.Helper()
	if list {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			seen = append(seen, e.Name())
		}
		return seen
	}
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			require.ErrorIs(t, err, unix.ENOENT)
			continue
		}
		seen = append(seen, fmt.Sprintf("%s: %d %o %d", name, st.Ino, st.Mode, st.Nlink))
	}
	return seen
}

// twoMounts mounts one directory twice.
func (h *host) twoMounts() (dirs [2]string) {
	for i := range dirs {
		dirs[i] = h.point(fmt.Sprint(i))
		h.mount("data/a", dirs[i])
	}
	return dirs
}

// atOnce lets each mount change its directory, at the same instant.
func atOnce(rnd *rand.Rand, dirs [2]string, names [2][]string) {
	var both sync.WaitGroup
	begin := make(chan struct{})
	for i := range 2 {
		seed := rnd.Uint64()
		both.Go(func() {
			<-begin
			change(rand.New(rand.NewPCG(seed, 0)), dirs[i], names[i])
		})
	}
	close(begin)
	both.Wait()
}

// Two mounts change one directory at the same instant, each its own names, over and over. Neither waits for ever, and
// what was answered both show at once, as one file system does.
func TestOneDirectoryAtOneInstant(t *testing.T) {
	h := start(t)
	dirs := h.twoMounts()
	rnd := harness.Rand(t)
	exact := prunes(t)
	for round := range harness.Rounds(1500, 50_000) {
		for i := range 2 {
			look(t, dirs[i], false) // what is not there is cached, too
		}
		atOnce(rnd, dirs, [2][]string{names[:3], names[3:]})
		list := round%4 == 0
		agree := func() bool {
			return slices.Equal(look(t, dirs[0], list), look(t, dirs[1], list))
		}
		if exact {
			require.True(t, agree(), "round %d: %v %v", round, look(t, dirs[0], list), look(t, dirs[1], list))
		} else {
			require.Eventually(t, agree, time.Minute, time.Millisecond)
		}
	}
}

// Two mounts change the same names at the same instant. Neither waits for ever, and in the end they agree.
func TestOneNameAtOneInstant(t *testing.T) {
	h := start(t)
	dirs := h.twoMounts()
	rnd := harness.Rand(t)
	for range harness.Rounds(500, 50_000) {
		atOnce(rnd, dirs, [2][]string{names, names})
		require.Eventually(t, func() bool {
			return slices.Equal(look(t, dirs[0], false), look(t, dirs[1], false))
		}, time.Minute, time.Millisecond)
	}
	require.Equal(t, look(t, dirs[0], true), look(t, dirs[1], true))
}

// prunes reports whether the kernel can be told to forget names while their directory is locked (Linux 6.18).
func prunes(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	require.NoError(t, unix.Uname(&u))
	var major, minor int
	_, err := fmt.Sscanf(strings.TrimRight(string(u.Release[:]), "\x00"), "%d.%d", &major, &minor)
	require.NoError(t, err)
	return major > 6 || major == 6 && minor >= 18
}

// Two mounts map one page, and change it in turns, under a lock and with msync: each finds what the other one stored.
func TestOnePageInTurns(t *testing.T) {
	h := start(t)
	const turns = 200
	var both sync.WaitGroup
	for i := range 2 {
		dir := h.point(fmt.Sprint(i))
		h.mount("data/a", dir)
		f, err := os.OpenFile(filepath.Join(dir, "page"), os.O_RDWR|os.O_CREATE, 0o644)
		require.NoError(t, err)
		defer f.Close()
		require.NoError(t, f.Truncate(4096))
		page, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		require.NoError(t, err)
		defer func() { _ = unix.Munmap(page) }()
		both.Go(func() {
			own := page[64*(i+1):] // of this mount only, in the same page
			for range turns {
				lock(t, f, unix.F_WRLCK)
				for _, counter := range [][]byte{page, own} {
					binary.NativeEndian.PutUint64(counter, binary.NativeEndian.Uint64(counter)+1)
				}
				if err := unix.Msync(page, unix.MS_SYNC); err != nil {
					t.Error(err)
				}
				lock(t, f, unix.F_UNLCK)
			}
		})
	}
	both.Wait()
	text, err := os.ReadFile(filepath.Join(h.Mount, "data/a/page"))
	require.NoError(t, err)
	for at, want := range map[int]uint64{0: 2 * turns, 64: turns, 128: turns} {
		require.Equal(t, want, binary.NativeEndian.Uint64(text[at:]), "at %d", at)
	}
}

// lock takes or gives up a lock of the open file description, waiting for it.
func lock(t *testing.T, f *os.File, kind int16) {
	l := unix.Flock_t{Type: kind}
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &l)
		if err == nil {
			return
		}
		if err != unix.EINTR {
			t.Error(err)
			return
		}
	}
}
