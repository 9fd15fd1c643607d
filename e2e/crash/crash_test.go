package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

const bucketName = "crash"

// system is a daemon under load, with the ledger of what it acknowledged in all rounds.
type system struct {
	t      *testing.T
	d      *harness.Daemon
	ledger *harness.Ledger
	rng    *rand.Rand
	rounds int
}

func newSystem(t *testing.T, o harness.Options) *system {
	s := &system{t: t, d: harness.Start(t, o), ledger: harness.NewLedger(10, 1<<20), rng: harness.Rand(t)}
	s.d.MakeBucket(t, bucketName)
	return s
}

func (s *system) bucket() Bucket {
	return Bucket{Core: minio.Core{Client: s.d.Client(s.t)}, Name: bucketName}
}

func (s *system) dir() string { return filepath.Join(s.d.Mount, bucketName) }

// load starts the workers of one round at both doors.
func (s *system) load() *Load {
	l := &Load{Ledger: s.ledger}
	for w := range 3 {
		l.S3(fmt.Sprintf("s3-%d", w), s.rng.Uint64(), s.bucket())
		l.Files(fmt.Sprintf("fs-%d", w), s.rng.Uint64(), s.dir(), FileOps{InPlace: true})
	}
	return l
}

// round loads the daemon for a random while, lets crash end it, and checks what is left.
func (s *system) round(crash func()) {
	s.t.Helper()
	s.rounds++
	before := s.ledger.Acks()
	l := s.load()
	time.Sleep(200*time.Millisecond + time.Duration(s.rng.Int64N(int64(1500*time.Millisecond))))
	if s.rounds%10 == 0 {
		time.Sleep(harness.Settled + time.Second) // so that "durable within a second" is tried too
	}
	l.Dying()
	at := time.Now()
	crash()
	for _, err := range l.Wait() {
		s.t.Error(err)
	}
	s.ledger.Crashed(at)
	require.Greater(s.t, s.ledger.Acks(), before, "round %d: nothing was acknowledged, so it says nothing", s.rounds)
	if err := s.d.Fsck(); err != nil {
		s.t.Errorf("round %d: %v", s.rounds, err)
	}
	s.d.MustStart(s.t)
	s.verify()
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// verify reads every name at both doors.
func (s *system) verify() {
	s.t.Helper()
	bucket := s.bucket()
	for _, err := range s.ledger.Verify(bucket.Get) {
		s.t.Errorf("round %d, S3: %v", s.rounds, err)
	}
	// What S3 showed is the state now: the mount must show the same.
	mount := func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(s.dir(), name)) }
	for _, err := range s.ledger.Verify(mount) {
		s.t.Errorf("round %d, mount: %v", s.rounds, err)
	}
	listed := map[string]bool{}
	for o := range bucket.Core.Client.ListObjects(context.Background(), bucketName, minio.ListObjectsOptions{Recursive: true}) {
		require.NoError(s.t, o.Err)
		listed[o.Key] = true
	}
	for _, name := range s.ledger.Names() {
		_, err := os.Stat(filepath.Join(s.dir(), name))
		if exists := err == nil; exists != listed[name] {
			s.t.Errorf("round %d: %s: stat says %v, and listed by S3: %v", s.rounds, name, err, listed[name])
		}
	}
}

// TestKill: SIGKILL under mixed load at both doors.
func TestKill(t *testing.T) {
	s := newSystem(t, harness.Options{})
	for range harness.Rounds(8, 50) {
		s.round(s.d.Kill)
	}
	s.d.MustStop(t)
	require.NoError(t, s.d.Fsck())
	t.Logf("%d acknowledged operations in %d rounds, 0 lost, 0 torn", s.ledger.Acks(), s.rounds)
}

// TestPowerCut: the data directory's file system goes down without its log, under the same load.
func TestPowerCut(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			disk := harness.NewDisk(t, kind, 4<<30)
			s := newSystem(t, harness.Options{Data: filepath.Join(disk.Dir, "data")})
			for range harness.Rounds(4, 25) {
				s.round(func() {
					s.ledger.PowerGoing()
					if err := disk.CutPower(); err != nil {
						t.Error(err)
					}
					s.ledger.PowerGone()
					// What begins now and is acknowledged is a lie, and the ledger holds it.
					time.Sleep(time.Duration(s.rng.Int64N(int64(300 * time.Millisecond))))
					s.d.Kill()
					require.NoError(t, disk.RestorePower())
				})
			}
			s.d.MustStop(t)
			require.NoError(t, s.d.Fsck())
			t.Logf("%s: %d acknowledged operations in %d cuts, 0 lost, 0 torn", kind, s.ledger.Acks(), s.rounds)
		})
	}
}

// readFiles reads names below dir.
func readFiles(dir string) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("%w", err)
		}
		return b, nil
	}
}
