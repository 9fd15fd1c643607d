// Package rotation changes every key of a store while both doors of a real daemon are under load, and kills it in the
// middle: nothing becomes unreadable, and when a rotation says that it is over, nothing is left under the old key.
package rotation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"k3fs/e2e/crash"
	"k3fs/e2e/harness"
)

const (
	bucketName = "rotation"
	// still is the number of objects and files that nobody changes, so that a rotation has something to do: 64 MiB.
	still, stillSize = 72, 4 << 20
)

// system is a daemon under load whose keys change.
type system struct {
	t      *testing.T
	d      *harness.Daemon
	ledger *harness.Ledger
	rng    *rand.Rand

	masters map[string][]byte // every master key that there was, as its file had it
	cut     int               // kills while a tenant's key was being changed
}

// TestRotation changes the master key, the node's sealing keys and the tenant's key, with the keys of its data, again
// and again.
func TestRotation(t *testing.T) {
	s := &system{t: t, d: harness.Start(t, harness.Options{}), ledger: harness.NewLedger(10, 512<<10), rng: harness.Rand(t), masters: map[string][]byte{}}
	s.d.MakeBucket(t, bucketName)
	s.fill()
	wanted := harness.Rounds(3, 25)
	for round := 0; s.cut < wanted; round++ {
		require.Less(t, round, 3*wanted, "too few kills came in the middle of a rotation to say something: %d", s.cut)
		s.round(round)
	}
	s.d.MustStop(t)
	s.requireRotated()
	t.Logf("%d acknowledged operations, %d kills amid a change of the tenant's key, which is epoch %d now, %d master keys", s.ledger.Acks(), s.cut, s.newest(), len(s.masters))
}

// round kills the daemon amid changes of all keys, and lets it finish them, both under load.
func (s *system) round(n int) {
	l := s.load()
	ended := make(chan error, 1)
	if s.tenantKey("rotate").Older == nil {
		s.t.Log("a change of the key was over at once")
	}
	if n%2 == 0 { // else the tenant's key alone
		go func() { ended <- s.command("key", "node", "rotate").Run() }()
		time.Sleep(time.Duration(s.rng.Int64N(int64(60 * time.Millisecond))))
	} else {
		ended <- nil
		for k := s.tenantKey("status"); len(k.Older) > 0 && k.Frames == 0; k = s.tenantKey("status") {
		}
		time.Sleep(time.Duration(s.rng.Int64N(int64(100 * time.Millisecond))))
	}
	l.Dying()
	at := time.Now()
	s.d.Kill()
	<-ended // with an error, or before the kill
	s.requireAllGood(l)
	s.ledger.Crashed(at)
	require.NoError(s.t, s.d.Fsck())

	s.d.MustStart(s.t)
	if k := s.tenantKey("status"); len(k.Older) > 0 {
		s.cut++
	}
	s.verify()
	s.noteMaster()
	l = s.load()
	s.rotateMaster()
	s.awaitTenantKey()
	s.rotateMaster() // and once more beside the load alone
	l.Dying()
	at = time.Now()
	s.d.Kill() // what is over is over
	s.requireAllGood(l)
	s.ledger.Crashed(at)
	s.requireRotated()
	s.d.MustStart(s.t)
	s.verify()
}

func (s *system) bucket() crash.Bucket {
	return crash.Bucket{Core: minio.Core{Client: s.d.Client(s.t)}, Name: bucketName}
}

func (s *system) dir() string { return filepath.Join(s.d.Mount, bucketName) }

func (s *system) load() *crash.Load {
	l := &crash.Load{Ledger: s.ledger}
	for w := range 2 {
		l.S3(fmt.Sprintf("s3-%d", w), s.rng.Uint64(), s.bucket())
		l.Files(fmt.Sprintf("fs-%d", w), s.rng.Uint64(), s.dir(), crash.FileOps{InPlace: true})
	}
	return l
}

func (s *system) requireAllGood(l *crash.Load) {
	for _, err := range l.Wait() {
		s.t.Error(err)
	}
}

func stillBody(i int) []byte {
	return harness.Series{Name: fmt.Sprint("still-", i), Min: stillSize >> (i % 9), Max: stillSize >> (i % 9)}.Body(1)
}

// fill writes what stays, by turns through S3 and the mount.
func (s *system) fill() {
	require.NoError(s.t, os.MkdirAll(filepath.Join(s.dir(), "still"), 0o755))
	for i := range still {
		name := fmt.Sprintf("still/%d", i)
		if i%2 == 0 {
			require.NoError(s.t, s.bucket().Put(name, stillBody(i)))
			continue
		}
		f, err := os.Create(filepath.Join(s.dir(), name))
		require.NoError(s.t, err)
		_, err = f.Write(stillBody(i))
		require.NoError(s.t, errors.Join(err, f.Sync(), f.Close()))
	}
}

// verify reads everything, what moves at both doors, and what stays at the one that didn't write it.
func (s *system) verify() {
	s.t.Helper()
	bucket := s.bucket()
	mount := func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(s.dir(), name)) }
	for _, err := range append(s.ledger.Verify(bucket.Get), s.ledger.Verify(mount)...) {
		s.t.Error(err)
	}
	for i := range still {
		read := bucket.Get
		if i%2 == 0 {
			read = mount
		}
		got, err := read(fmt.Sprintf("still/%d", i))
		require.NoError(s.t, err)
		require.True(s.t, bytes.Equal(stillBody(i), got), "still/%d is altered", i)
	}
	if s.t.Failed() {
		s.t.FailNow()
	}
}

func (s *system) command(args ...string) *exec.Cmd {
	binary, err := harness.Binary()
	require.NoError(s.t, err)
	return exec.Command(binary, append(args, "-o", "json", "--data", s.d.Data)...)
}

// ask runs the command and reads its answer.
func (s *system) ask(into any, args ...string) {
	s.t.Helper()
	require.NoError(s.t, json.Unmarshal([]byte(harness.Run(s.t, s.command(args...))), into))
}

// tenantKey is the state of the tenant's key, as the command prints it.
type tenantKey struct {
	Epoch   uint32
	Older   []uint32
	Frames  int64
	Trouble string
}

func (s *system) tenantKey(do string) (k tenantKey) {
	s.t.Helper()
	s.ask(&k, "key", "tenant", do)
	return k
}

// awaitTenantKey waits until the change of the tenant's key says that it is over.
func (s *system) awaitTenantKey() {
	s.t.Helper()
	for end := time.Now().Add(2 * time.Minute); len(s.tenantKey("status").Older) > 0; time.Sleep(20 * time.Millisecond) {
		require.True(s.t, time.Now().Before(end), "the change of the key does not come to its end")
	}
}

// nodeKeys is what holds the node's keys, as the command prints it.
type nodeKeys struct {
	Lock     string
	Rotating bool
}

// rotateMaster changes the master key, and does not end before that has.
func (s *system) rotateMaster() {
	s.t.Helper()
	var before, after nodeKeys
	s.ask(&before, "key", "node", "status")
	require.False(s.t, before.Rotating, "a start finishes what was cut short")
	s.ask(&after, "key", "node", "rotate")
	require.NotEqual(s.t, before.Lock, after.Lock)
	require.False(s.t, after.Rotating)
	s.noteMaster()
}

func (s *system) masterFile() string { return filepath.Join(s.d.Data, "master.key") }

func (s *system) noteMaster() {
	raw, err := os.ReadFile(s.masterFile())
	require.NoError(s.t, err)
	s.masters[string(raw)] = raw
}

// requireRotated says that nothing needs a key of before: the daemon stands still.
func (s *system) requireRotated() {
	s.t.Helper()
	// Every record and every byte of data opens with the keys that are left.
	binary, err := harness.Binary()
	require.NoError(s.t, err)
	harness.Run(s.t, exec.Command(binary, "fsck", "--data-too", "--data", s.d.Data))

	// The file of node keys names one lock, and none of the old master keys is it.
	for _, name := range []string{"node-keys", "node-keys.copy"} {
		raw, err := os.ReadFile(filepath.Join(s.d.Data, name))
		require.NoError(s.t, err)
		var file struct{ Slots []struct{ Lock string } }
		require.NoError(s.t, json.Unmarshal(raw, &file))
		require.Len(s.t, file.Slots, 1, name)
	}
	now, err := os.ReadFile(s.masterFile())
	require.NoError(s.t, err)
	old := filepath.Join(harness.TempDir(s.t), "old.key")
	for text, raw := range s.masters {
		if text == string(now) {
			continue
		}
		require.NoError(s.t, os.WriteFile(old, raw, 0o600))
		out, err := exec.Command(binary, "fsck", "--data", s.d.Data, "--master-key", old).CombinedOutput()
		require.Error(s.t, err)
		require.Contains(s.t, string(out), "wrong key")
	}

	// No frame on the disk says that it is under another epoch than the newest.
	epochs := s.epochs()
	require.Len(s.t, epochs, 1, "%v", epochs)
}

// newest is the newest epoch of the frames on the disk.
func (s *system) newest() (newest uint32) {
	for epoch := range s.epochs() {
		newest = max(newest, epoch)
	}
	return newest
}
