package badgerkv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"k3fs/metastore"
)

func put(s *Store, d metastore.Durability, key string) error {
	return s.Update(context.Background(), d, func(txn metastore.Txn) error { return txn.Set([]byte(key), []byte(key)) })
}

// TestFailStop: after a failed barrier or commit nothing is acknowledged until the store is reopened, and
// what was acknowledged is there then.
func TestFailStop(t *testing.T) {
	boom := errors.New("boom")
	for _, where := range []string{"barrier", "commit"} {
		t.Run(where, func(t *testing.T) {
			var fail atomic.Bool
			hook := func() error {
				if fail.Load() {
					return boom
				}
				return nil
			}
			o := testOptions(t.TempDir())
			if where == "barrier" {
				o.Barrier = func(context.Context) error { return hook() }
			} else {
				o.beforeCommit = hook
			}
			s := mustOpen(t, o)
			require.NoError(t, put(s, metastore.Durable, "acknowledged"))
			fail.Store(true)
			require.NoError(t, put(s, metastore.Ordered, "ordered"), "in memory")
			err := put(s, metastore.Durable, "durable")
			require.ErrorIs(t, err, metastore.ErrStopped)
			require.ErrorIs(t, err, boom)
			fail.Store(false)
			<-s.Stopped()
			for _, d := range []metastore.Durability{metastore.Ordered, metastore.Durable, metastore.DurableReclaim} {
				require.ErrorIs(t, put(s, d, "later"), metastore.ErrStopped)
			}
			require.ErrorIs(t, s.Sync(t.Context()), metastore.ErrStopped)
			require.NoError(t, s.View(t.Context(), func(metastore.Reader) error { return nil }))
			require.ErrorIs(t, s.Close(), metastore.ErrStopped)
			s = mustOpen(t, o)
			got, err := content(t, s, nil)
			require.NoError(t, err)
			require.Equal(t, map[string]string{"acknowledged": "acknowledged"}, got)
			require.NoError(t, put(s, metastore.Durable, "again"))
			require.NoError(t, s.Close())
		})
	}
}

// TestBarrierComesFirst: the data of an update is synced after the update committed and before it is
// acknowledged or written.
func TestBarrierComesFirst(t *testing.T) {
	var log []string
	o := testOptions(t.TempDir())
	o.FlushInterval = time.Second
	o.Barrier = func(context.Context) error { log = append(log, "barrier"); return nil }
	o.beforeCommit = func() error { log = append(log, "commit"); return nil }
	s := mustOpen(t, o)
	require.NoError(t, put(s, metastore.Ordered, "a"))
	require.NoError(t, put(s, metastore.Durable, "b"))
	require.Equal(t, []string{"barrier", "commit"}, log, "one batch")
	require.NoError(t, s.Close())
}

// TestGroupCommit: updates that wait at the same time share a batch, and an update that waited in vain
// ends with its context.
func TestGroupCommit(t *testing.T) {
	var commits atomic.Int64
	gate := make(chan struct{})
	o := testOptions(t.TempDir())
	o.Barrier = func(context.Context) error { <-gate; commits.Add(1); return nil }
	s := mustOpen(t, o)
	var g errgroup.Group
	for i := range 64 {
		g.Go(func() error { return put(s, metastore.Durable, fmt.Sprint(i)) })
	}
	require.Eventually(t, func() bool { return s.newest.Load().seq == 64 }, 10*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Sync(ctx), context.DeadlineExceeded)
	close(gate)
	require.NoError(t, g.Wait())
	require.LessOrEqual(t, commits.Load(), int64(2))
	require.NoError(t, s.Close())
}

// TestOrderedBecomesDurable without anybody asking.
func TestOrderedBecomesDurable(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	require.NoError(t, put(s, metastore.Ordered, "a"))
	require.Eventually(t, func() bool { return s.newest.Load().last == nil }, time.Second, 5*time.Millisecond)
	require.NoError(t, s.Close())
}

// TestBackPressure: commits that can't be written pile up to a bound only.
func TestBackPressure(t *testing.T) {
	gate := make(chan struct{})
	o := testOptions(t.TempDir())
	o.MaxUnflushed = 4 << 20
	o.Barrier = func(context.Context) error { <-gate; return nil }
	s := mustOpen(t, o)
	value := make([]byte, 60<<10)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	n, err := 0, error(nil)
	for ; err == nil; n++ {
		err = s.Update(ctx, metastore.Ordered, func(txn metastore.Txn) error { return txn.Set(fmt.Append(nil, n), value) })
	}
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.InDelta(t, o.MaxUnflushed/len(value), n, 4)
	close(gate)
	require.NoError(t, put(s, metastore.Durable, "goes on"))
	require.NoError(t, s.Close())
}

// TestSlowUpdateWins: a slow update among fast ones that all change what it reads gets through.
func TestSlowUpdateWins(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = put(s, metastore.Ordered, fmt.Sprint("k", i%10))
			}
		}
	})
	runs := 0
	require.NoError(t, s.Update(t.Context(), metastore.Ordered, func(txn metastore.Txn) error {
		runs++
		err := txn.Scan(metastore.Range{}, func(_, _ []byte) (bool, error) { return true, nil })
		time.Sleep(5 * time.Millisecond)
		return errors.Join(err, txn.Set([]byte("slow"), nil))
	}))
	close(stop)
	wg.Wait()
	require.LessOrEqual(t, runs, optimisticTries+1)
	require.NoError(t, s.Close())
}

// TestForgottenHistory: an update that outlived what the store remembers of other commits runs again.
func TestForgottenHistory(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	runs := 0
	require.NoError(t, s.Update(t.Context(), metastore.Ordered, func(txn metastore.Txn) error {
		_, _ = txn.Get([]byte("unrelated"))
		if runs++; runs == 1 {
			for i := range historyCommits + 1 {
				require.NoError(t, put(s, metastore.Ordered, fmt.Sprint(i)))
			}
		}
		return txn.Set([]byte("x"), nil)
	}))
	require.Equal(t, 2, runs)
	require.NoError(t, s.Close())
}

// TestScrubFindsRot: a table that rots while the store is open is found, and nothing is read any more.
func TestScrubFindsRot(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	for i := range 100 {
		require.NoError(t, put(s, metastore.Ordered, fmt.Sprint(i)))
	}
	require.NoError(t, s.Close())
	s = mustOpen(t, o)
	require.NoError(t, s.Scrub())
	require.NoError(t, s.Close())
	s = mustOpen(t, o)
	tables, err := filepath.Glob(filepath.Join(o.Dir, badgerName, "*.sst"))
	require.NoError(t, err)
	flip(t, tables[0], 100)
	require.ErrorIs(t, s.Scrub(), metastore.ErrCorrupt)
	require.ErrorIs(t, s.View(t.Context(), func(metastore.Reader) error { return nil }), metastore.ErrCorrupt)
	require.ErrorIs(t, put(s, metastore.Ordered, "x"), metastore.ErrStopped)
	require.Error(t, s.Close())
	require.ErrorIs(t, s.Scrub(), metastore.ErrClosed)
}

// disk is a file system of which a test says how much is free.
type disk struct{ free atomic.Uint64 }

func (d *disk) probe(string) (uint64, uint64, error) { return d.free.Load(), 100 << 30, nil }

func TestLowWater(t *testing.T) {
	var d disk
	d.free.Store(10 << 30)
	o := testOptions(t.TempDir())
	o.LowWater, o.Ballast, o.FreeSpace = 1<<30, 1<<20, d.probe
	ballast := filepath.Join(o.Dir, ballastName)
	s := mustOpen(t, o)
	require.FileExists(t, ballast)
	require.NoError(t, put(s, metastore.Durable, "a"))
	d.free.Store(1 << 29)
	time.Sleep(2 * spaceTTL)
	require.ErrorIs(t, put(s, metastore.Ordered, "b"), metastore.ErrFull)
	require.ErrorIs(t, put(s, metastore.Durable, "b"), metastore.ErrFull)
	require.NoError(t, put(s, metastore.Reclaim, "c"))
	require.NoError(t, put(s, metastore.DurableReclaim, "d"))
	require.NoError(t, s.Update(t.Context(), metastore.Durable, func(metastore.Txn) error { return nil }), "writes nothing")
	require.FileExists(t, ballast)
	d.free.Store(1 << 20)
	time.Sleep(2 * spaceTTL)
	require.ErrorIs(t, put(s, metastore.DurableReclaim, "e"), metastore.ErrFull)
	require.NoFileExists(t, ballast, "given up")
	require.NoError(t, s.Close())

	s = mustOpen(t, o) // a full disk doesn't keep it from opening
	require.ErrorIs(t, put(s, metastore.Durable, "f"), metastore.ErrFull)
	d.free.Store(10 << 30)
	time.Sleep(2 * spaceTTL)
	require.NoError(t, put(s, metastore.Durable, "g"))
	require.FileExists(t, ballast, "made again")
	require.NoError(t, s.Close())
}

func TestValidate(t *testing.T) {
	good := testOptions("dir")
	require.NoError(t, good.Validate())
	for name, breakIt := range map[string]func(*Options){
		"Dir":           func(o *Options) { o.Dir = "" },
		"Key":           func(o *Options) { o.Key = [32]byte{} },
		"FlushInterval": func(o *Options) { o.FlushInterval = time.Minute },
		"MemTable":      func(o *Options) { o.MemTable = 1 << 20 },
		"MaxUnflushed":  func(o *Options) { o.MaxUnflushed = 1 },
		"LowWater":      func(o *Options) { o.LowWater = -1 },
	} {
		o := good
		breakIt(&o)
		require.ErrorContains(t, o.Validate(), name)
		_, err := Open(o)
		require.Error(t, err)
	}
}

// killDir names the environment variable by which TestKilled starts itself as the process to be killed.
const killDir = "BADGERKV_TEST_KILL_DIR"

// TestKilled kills a process that writes, again and again. Each update takes the next number and leaves a
// key for it, so that a prefix of the history shows in the keys.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		writeUntilKilled(t, dir)
		return
	}
	dir := t.TempDir()
	for range 8 {
		acknowledged := runUntil(t, dir, func(process *os.Process) {
			time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
			_ = process.Kill()
		})
		checkPrefix(t, dir, acknowledged)
	}
}

// checkPrefix opens a store that TestKilled wrote, and checks that it holds a prefix of its history, with
// all that was acknowledged.
func checkPrefix(t *testing.T, dir string, acknowledged int) {
	s := mustOpen(t, testOptions(dir))
	got, err := content(t, s, nil)
	require.NoError(t, err)
	n := len(got) - 1
	require.Equal(t, strconv.Itoa(n), got["n"])
	for i := 1; i <= n; i++ {
		if _, ok := got[fmt.Sprintf("k%08d", i)]; !ok {
			t.Fatalf("%d of %d is missing", i, n)
		}
	}
	require.GreaterOrEqual(t, n, acknowledged)
	require.NoError(t, s.Close())
}

// runUntil runs a process that writes until end, called after its first durable update, has killed it. It
// returns the highest number that the process said was durable.
func runUntil(t *testing.T, dir string, end func(*os.Process)) (acknowledged int) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	var once sync.Once
	var ended sync.WaitGroup
	for lines.Scan() {
		n, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "durable "))
		if err != nil {
			continue
		}
		acknowledged = max(acknowledged, n)
		once.Do(func() { ended.Go(func() { end(cmd.Process) }) })
	}
	ended.Wait()
	require.Error(t, cmd.Wait(), "killed")
	require.NotZero(t, acknowledged)
	return acknowledged
}

func writeUntilKilled(t *testing.T, dir string) {
	s := mustOpen(t, testOptions(dir))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				d, n := metastore.Ordered, 0
				if i%3 == w%3 {
					d = metastore.Durable
				}
				err := s.Update(context.Background(), d, func(txn metastore.Txn) error {
					v, err := txn.Get([]byte("n"))
					if err != nil && !errors.Is(err, metastore.ErrNotFound) {
						return err
					}
					n, _ = strconv.Atoi(string(v))
					n++
					return errors.Join(txn.Set([]byte("n"), []byte(strconv.Itoa(n))),
						txn.Set(fmt.Appendf(nil, "k%08d", n), nil))
				})
				if err != nil {
					panic(err)
				}
				if d == metastore.Durable {
					fmt.Println("durable", n)
				}
			}
		})
	}
	wg.Wait()
}

// TestPanicInUpdate leaves a store that works and closes.
func TestPanicInUpdate(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	require.Panics(t, func() {
		_ = s.Update(context.Background(), metastore.Ordered, func(metastore.Txn) error { panic("boom") })
	})
	require.Panics(t, func() { _ = s.View(context.Background(), func(metastore.Reader) error { panic("boom") }) })
	require.NoError(t, put(s, metastore.Durable, "a"))
	require.NoError(t, s.Close())
}
