package fusefs

import (
	"context"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/stretchr/testify/require"
)

// tight lets nothing pass.
type tight struct{ limited bool }

func (p *tight) Limited() bool { return p.limited }
func (p *tight) Request(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
func (p *tight) Read(context.Context, int) error  { return nil }
func (p *tight) Write(context.Context, int) error { return nil }

// Who waits for a limit can be interrupted.
func TestPaceIsInterruptible(t *testing.T) {
	p := &tight{}
	d := &door{opts: Options{Pace: p}}
	require.Equal(t, fuse.OK, d.pace(nil, 1, 1))
	p.limited = true
	cancel := make(chan struct{})
	done := make(chan fuse.Status)
	go func() { done <- d.pace(cancel, 1, 1) }()
	select {
	case <-done:
		t.Fatal("it did not wait")
	default:
	}
	close(cancel)
	require.Equal(t, fuse.EINTR, <-done)
}
