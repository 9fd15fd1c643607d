package namespace

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"k3fs/chunkstore"
	"k3fs/metastore"
)

// Who waits for the collector can be stopped, and the collector is not held up by him afterwards.
func TestWaitForCollectorEnds(t *testing.T) {
	w := full(t)
	ctx, cancel := context.WithCancel(bg)
	waiting := map[string]func() error{
		"snapshot": func() error {
			return w.fs.Snapshot(ctx, func(metastore.Reader) error { panic("it did not wait") })
		},
		"collection": func() error {
			_, err := w.CollectGarbage(ctx, true, nil)
			return err
		},
		"check": func() error {
			return w.fs.unlessFreed(ctx, chunkstore.Extent{}, func() error { panic("it did not wait") })
		},
	}
	require.NoError(t, w.fs.Snapshot(bg, func(metastore.Reader) error {
		ended := make(chan error, len(waiting))
		for _, wait := range waiting {
			go func() { ended <- wait() }()
		}
		cancel()
		for range waiting {
			require.ErrorIs(t, <-ended, context.Canceled)
		}
		return nil
	}))
	require.NoError(t, w.fs.Reap(bg))
}
