package crash

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/e2e/harness"
)

// TestDiskFull fills a small disk through both doors and frees it again, over and over: ENOSPC and 507,
// no crash, deletes that work, and room to write again.
func TestDiskFull(t *testing.T) {
	disk := harness.NewDisk(t, "ext4", 512<<20)
	s := newSystem(t, harness.Options{Data: filepath.Join(disk.Dir, "data")})
	f := &filler{system: s, bodies: harness.Series{Name: "full", Min: 4 << 20, Max: 4 << 20}}
	rounds := harness.Rounds(3, 20)
	for round := range rounds {
		f.round = round
		f.fill(round%2 == 0)
		if round == rounds-1 {
			// Full is also a state to start from.
			s.d.MustStop(t)
			require.NoError(t, s.d.Fsck())
			s.d.MustStart(t)
		}
		f.check()
		f.free()
		f.writable()
		f.check()
		f.freeRest()
	}
	s.d.MustStop(t)
	require.NoError(t, s.d.Fsck())
}

type filler struct {
	*system
	bodies harness.Series
	round  int
	names  []string // acknowledged, all of them bodies.Body(seq)
	seqs   map[string]uint32
	next   uint32
	resets int
}

func (f *filler) name(kind string) (string, []byte) {
	f.next++
	return fmt.Sprintf("%s-%d-%04d", kind, f.round, f.next), f.bodies.Body(f.next)
}

func (f *filler) add(name string) {
	if f.seqs == nil {
		f.seqs = map[string]uint32{}
	}
	f.names = append(f.names, name)
	f.seqs[name] = f.next
}

func (f *filler) put() error {
	name, body := f.name("s3")
	err := f.bucket().Put(name, body)
	if err == nil {
		f.add(name)
	}
	return err
}

func (f *filler) save() error {
	name, body := f.name("fs")
	path := filepath.Join(f.dir(), name)
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, werr := file.Write(body)
	if werr == nil {
		werr = file.Sync()
	}
	if err := errors.Join(werr, file.Close()); err != nil {
		if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			f.t.Errorf("remove the file that did not fit: %v", rerr)
		}
		return err
	}
	f.add(name)
	return nil
}

// keep writes n files at each door that must fit.
func (f *filler) keep(n int) {
	f.t.Helper()
	for range n {
		require.NoError(f.t, f.put())
		require.NoError(f.t, f.save())
	}
}

// fill writes until both doors say that the disk is full, s3 or the mount first.
func (f *filler) fill(s3First bool) {
	f.t.Helper()
	doors := []func(){f.fillS3, f.fillMount}
	if !s3First {
		doors[0], doors[1] = doors[1], doors[0]
	}
	for _, door := range doors {
		door()
		f.alive()
	}
	require.Greater(f.t, len(f.names), 20, "full with %d files of 4 MiB on a disk of 512 MiB", len(f.names))
}

const tooMany = 200 // files of 4 MiB can't fit in 512 MiB

func (f *filler) fillS3() {
	f.t.Helper()
	for range tooMany {
		err := f.put()
		if err == nil {
			continue
		}
		answer := minio.ToErrorResponse(err)
		if answer.StatusCode == 0 && f.resets < 3 {
			f.resets++ // answered before the body was read, and the client was still writing
			continue
		}
		require.Equal(f.t, http.StatusInsufficientStorage, answer.StatusCode, "S3 on a full disk: %v", err)
		return
	}
	f.t.Fatal("S3 never got full")
}

func (f *filler) fillMount() {
	f.t.Helper()
	for range tooMany {
		err := f.save()
		if err == nil {
			continue
		}
		require.ErrorIs(f.t, err, unix.ENOSPC, "the mount on a full disk")
		return
	}
	f.t.Fatal("the mount never got full")
}

func (f *filler) alive() {
	f.t.Helper()
	require.True(f.t, f.d.Running(), "the daemon died of a full disk")
	resp, err := http.Get("http://" + f.d.S3 + "/-/healthz")
	require.NoError(f.t, err)
	_ = resp.Body.Close()
}

func (f *filler) check() {
	f.t.Helper()
	for _, name := range f.names {
		body, err := f.bucket().Get(name)
		require.NoError(f.t, err, name)
		seq, err := f.bodies.Check(body)
		require.NoError(f.t, err)
		require.Equal(f.t, f.seqs[name], seq)
	}
}

// free deletes half of the files, each through the other door.
func (f *filler) free() {
	f.t.Helper()
	half := len(f.names) / 2
	for i, name := range f.names[:half] {
		if i%2 == 0 {
			require.NoError(f.t, f.bucket().Delete(name), "S3 delete on a full disk")
		} else {
			require.NoError(f.t, os.Remove(filepath.Join(f.dir(), name)), "unlink on a full disk")
		}
	}
	f.names = f.names[half:]
}

func (f *filler) freeRest() {
	f.t.Helper()
	for _, name := range f.names {
		require.NoError(f.t, f.bucket().Delete(name))
	}
	f.names = nil
}

// writable: within ten seconds of a delete there is room again, at both doors.
func (f *filler) writable() {
	f.t.Helper()
	for _, door := range []func() error{f.put, f.save} {
		var err error
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if err = door(); err == nil {
				break
			}
		}
		require.NoError(f.t, err, "still full 10 s after half of it was deleted")
	}
	f.keep(8)
}
