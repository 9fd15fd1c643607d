package reference

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

const (
	length = 500 // calls of a sequence
	short  = 40  // sequences in CI
	long   = 2000
)

// arena is where sequences run, side by side.
type arena struct {
	ours, theirs string
	runs         int
}

func newArena(t *testing.T) (*harness.Daemon, *arena) {
	d := harness.Start(t, harness.Options{})
	disk := harness.NewDisk(t, "ext4", 512<<20).Dir
	harness.Run(t, exec.Command("mount", "-o", "remount,nosuid,nodev,relatime", disk)) // as ours
	a := &arena{ours: filepath.Join(d.Mount, "reference"), theirs: filepath.Join(disk, "reference")}
	for _, dir := range []string{a.ours, a.theirs} {
		require.NoError(t, os.Mkdir(dir, 0o777))
		require.NoError(t, os.Chmod(dir, 0o777))
	}
	return d, a
}

// pair is one run of a sequence.
type pair struct{ ours, theirs *side }

func (a *arena) pair() (p pair, err error) {
	a.runs++
	name := fmt.Sprintf("run-%d", a.runs)
	if p.ours, err = newSide(filepath.Join(a.ours, name)); err != nil {
		return p, err
	}
	p.theirs, err = newSide(filepath.Join(a.theirs, name))
	return p, err
}

// step makes a call on both sides; the error says how they differ.
func (p pair) step(c call) error {
	want, got := p.theirs.do(c), p.ours.do(c)
	if want != got {
		return fmt.Errorf("%v\next4: %s\nk3fs: %s", c, want, got)
	}
	if want, got := p.theirs.after(c), p.ours.after(c); want != got {
		return fmt.Errorf("after %v\next4: %s\nk3fs: %s", c, want, got)
	}
	return nil
}

func (p pair) compare() error {
	want, err := p.theirs.tree()
	if err != nil {
		return fmt.Errorf("ext4: %w", err)
	}
	got, err := p.ours.tree()
	if err != nil {
		return fmt.Errorf("k3fs: %w", err)
	}
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			return fmt.Errorf("the trees differ:\next4: %s\nk3fs: %s", strings.Join(want[min(i, len(want)):], "\n      "),
				strings.Join(got[min(i, len(got)):], "\n      "))
		}
	}
	return nil
}

// run makes the calls, and says at which the sides differed, or len(calls).
func (p pair) run(calls []call) (int, error) {
	for i, c := range calls {
		if err := p.step(c); err != nil {
			return i, err
		}
		if i%100 == 99 {
			if err := p.compare(); err != nil {
				return i, err
			}
		}
	}
	p.ours.close()
	p.theirs.close()
	return len(calls), p.compare()
}

// fails runs a sequence anew.
func (a *arena) fails(calls []call) error {
	p, err := a.pair()
	if err != nil {
		return err
	}
	_, err = p.run(calls)
	p.ours.close()
	p.theirs.close()
	return err
}

// shrink leaves out calls, in ever smaller runs, as long as the sequence still fails.
func (a *arena) shrink(calls []call) []call {
	end := time.Now().Add(time.Minute)
	for size := max(1, len(calls)/2); ; size /= 2 {
		for at := 0; at < len(calls) && time.Now().Before(end); {
			fewer := slices.Concat(calls[:at], calls[min(at+size, len(calls)):])
			if a.fails(fewer) != nil {
				calls = fewer
			} else {
				at += size
			}
		}
		if size <= 1 {
			return calls
		}
	}
}

func TestLikeExt4(t *testing.T) {
	runtime.LockOSThread() // users are of threads
	defer runtime.UnlockOSThread()
	d, a := newArena(t)
	source := harness.Rand(t)
	var pairs []pair
	for range harness.Rounds(short, long) {
		seed := source.Uint64()
		r := rand.New(rand.NewPCG(seed, seed))
		calls := make([]call, length)
		for i := range calls {
			calls[i] = someCall(r)
		}
		p, err := a.pair()
		require.NoError(t, err)
		n, err := p.run(calls)
		p.ours.close()
		p.theirs.close()
		if err != nil {
			few := a.shrink(calls[:min(n+1, len(calls))])
			text := make([]string, len(few))
			for i, c := range few {
				text[i] = c.String()
			}
			t.Fatalf("sequence %d: %v\n\nthese calls are enough:\n%s\nand end so: %v", seed, err, strings.Join(text, "\n"), a.fails(few))
		}
		if len(pairs) >= short { // room
			require.NoError(t, os.RemoveAll(pairs[0].ours.root))
			require.NoError(t, os.RemoveAll(pairs[0].theirs.root))
			pairs = pairs[1:]
		}
		pairs = append(pairs, p)
	}
	d.MustStop(t)
	d.MustStart(t)
	for _, p := range pairs {
		require.NoError(t, p.compare(), "after a restart")
	}
}
