package fusefs

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/stretchr/testify/require"
)

// tight lets no request or write pass, if it is limited, and counts turns.
type tight struct {
	limited, writes bool
	turns           atomic.Int64 // those that have not ended
	taken           atomic.Int64
}

func (p *tight) Limited() bool { return p.limited || p.writes }
func (p *tight) Request(ctx context.Context) error {
	if !p.limited {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}
func (p *tight) Read(context.Context, int) error { return nil }
func (p *tight) Write(ctx context.Context, _ int) error {
	<-ctx.Done()
	return ctx.Err()
}
func (p *tight) Enter(context.Context) func() {
	p.taken.Add(1)
	p.turns.Add(1)
	return func() { p.turns.Add(-1) }
}

// Who waits for a limit can be interrupted; who only looks goes on then.
func TestTurnIsInterruptible(t *testing.T) {
	p := &tight{limited: true}
	d := &turns{door: newDoor(Options{FS: newMemFS()}.withDefaults()), pace: p}
	for name, look := range map[string]bool{"change": false, "look": true} {
		t.Run(name, func(t *testing.T) {
			cancel := make(chan struct{})
			done := make(chan fuse.Status)
			go func() {
				if look {
					done <- d.Lookup(cancel, &fuse.InHeader{NodeId: 1}, "a", &fuse.EntryOut{})
				} else {
					done <- d.Mkdir(cancel, &fuse.MkdirIn{InHeader: fuse.InHeader{NodeId: 1}}, "a", &fuse.EntryOut{})
				}
			}()
			select {
			case <-done:
				t.Fatal("it did not wait")
			default:
			}
			close(cancel)
			require.Equal(t, !look, <-done == fuse.EINTR)
			require.Zero(t, p.turns.Load())
		})
	}
}

// Work through a mount takes turns, each of which ends.
func TestRealTurns(t *testing.T) {
	p := &tight{}
	m := mounted(t, Options{FS: newMemFS(), Pace: p})
	file := filepath.Join(m.opts.Dir, "a")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o644))
	require.NoError(t, os.Rename(file, file+"2"))
	require.NoError(t, os.Remove(file+"2"))
	require.Greater(t, p.taken.Load(), int64(4))
	require.NoError(t, m.Unmount(context.Background()))
	require.Zero(t, p.turns.Load())
}

// A mount whose writes are held up for ever can be unmounted, and what was written is there.
func TestRealUnmountHurries(t *testing.T) {
	p := &tight{writes: true}
	fs := newMemFS()
	m := mounted(t, Options{FS: fs, Pace: p})
	f, err := os.Create(filepath.Join(m.opts.Dir, "a"))
	require.NoError(t, err)
	_, err = f.Write([]byte("held up")) // into the kernel's cache
	require.NoError(t, err)
	done := make(chan error)
	go func() { done <- f.Close() }() // waits for the write
	require.NoError(t, m.Unmount(context.Background()))
	require.NoError(t, <-done)
	require.EqualValues(t, 0, p.turns.Load())
	m = mounted(t, Options{FS: fs})
	got, err := os.ReadFile(filepath.Join(m.opts.Dir, "a"))
	require.NoError(t, err)
	require.Equal(t, "held up", string(got))
}
