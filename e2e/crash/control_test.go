package crash

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

// TestControls shows that the harness can see a loss: the same workers, ledger and power cuts over
// plain files lose nothing when the files are synced, and are caught when they only say so.
func TestControls(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		for _, liar := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s liar=%v", kind, liar), func(t *testing.T) {
				disk := harness.NewDisk(t, kind, 1<<30)
				problems, acks := cutPlainFiles(t, disk, liar)
				if liar {
					require.NotEmpty(t, problems, "%d unsynced writes survived: the power cut is none", acks)
					require.True(t, anyIs(problems, harness.ErrLost), "%v", problems[0])
				} else {
					require.Empty(t, problems, "synced files of %s got lost: the harness sees ghosts", kind)
				}
				t.Logf("%d acknowledged, %d problems seen", acks, len(problems))
			})
		}
	}
}

func anyIs(errs []error, target error) bool {
	for _, err := range errs {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func cutPlainFiles(t *testing.T, disk *harness.Disk, liar bool) (problems []error, acks int) {
	t.Helper()
	ledger, rng := harness.NewLedger(10, 1<<20), harness.Rand(t)
	for range 3 {
		l := &Load{Ledger: ledger}
		for w := range 3 {
			l.Files(fmt.Sprintf("w%d", w), rng.Uint64(), disk.Dir, FileOps{Liar: liar})
		}
		time.Sleep(500 * time.Millisecond)
		l.Dying()
		ledger.PowerGoing()
		require.NoError(t, disk.CutPower())
		for _, err := range l.Wait() {
			t.Error(err)
		}
		ledger.Crashed(time.Time{}) // that age makes durable is k3fs's promise, not the disk's
		require.NoError(t, disk.RestorePower())
		problems = append(problems, ledger.Verify(readFiles(disk.Dir))...)
	}
	return problems, ledger.Acks()
}

// forgetful is an S3 door that acknowledges from memory and writes to its "disk" later, torn or whole.
type forgetful struct {
	mu     sync.Mutex
	memory map[string][]byte
	disk   map[string][]byte
	tears  bool
	dead   bool
}

var errDead = errors.New("dead")

func (f *forgetful) set(key string, body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return errDead
	}
	if body == nil {
		delete(f.memory, key)
	} else {
		f.memory[key] = body
	}
	return nil
}

// flush writes what memory holds; a tearing one stops in the middle of each content.
func (f *forgetful) flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.disk)
	for key, body := range f.memory {
		if f.tears && len(body) > 1000 {
			body = append(bytes.Clone(body[:len(body)/2]), make([]byte, len(body)-len(body)/2)...)
		}
		f.disk[key] = body
	}
}

func (f *forgetful) crash() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead, f.memory = true, f.disk
}

func (f *forgetful) Put(key string, body []byte) error      { return f.set(key, body) }
func (f *forgetful) PutParts(key string, body []byte) error { return f.set(key, body) }
func (f *forgetful) Delete(key string) error                { return f.set(key, nil) }
func (f *forgetful) Copy(from, to string) error {
	b, err := f.Get(from)
	if err != nil {
		return err
	}
	return f.set(to, b)
}

func (f *forgetful) Get(key string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b, ok := f.memory[key]; ok {
		return b, nil
	}
	return nil, fs.ErrNotExist
}

// TestControlsS3: a server that acknowledges too early is caught by the S3 workers and their ledger.
func TestControlsS3(t *testing.T) {
	for want, f := range map[error]*forgetful{
		harness.ErrLost: {memory: map[string][]byte{}, disk: map[string][]byte{}},
		harness.ErrTorn: {memory: map[string][]byte{}, disk: map[string][]byte{}, tears: true},
	} {
		l := &Load{Ledger: harness.NewLedger(10, 1<<20)}
		l.S3("w", 1, f)
		time.Sleep(200 * time.Millisecond)
		f.flush()
		time.Sleep(200 * time.Millisecond)
		l.Dying()
		f.crash()
		require.Empty(t, l.Wait())
		problems := l.Ledger.Verify(f.Get)
		require.True(t, anyIs(problems, want), "%v of %d acknowledged: %v", want, l.Ledger.Acks(), problems)
	}
}
