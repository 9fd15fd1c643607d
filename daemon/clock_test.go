package daemon

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the daemon stamps and what the kernel stamps come in the order in which they are stamped.
func TestFileClock(t *testing.T) {
	c := newFileClock(slog.New(slog.NewTextHandler(io.Discard, nil)))
	require.GreaterOrEqual(t, c.fd, 0)
	require.WithinDuration(t, time.Now(), c.Now(), time.Minute)
	path := filepath.Join(t.TempDir(), "f")
	last := c.Now()
	for range 1000 {
		require.NoError(t, os.WriteFile(path, nil, 0o644))
		st, err := os.Stat(path)
		require.NoError(t, err)
		require.False(t, st.ModTime().Before(last), "the kernel: %v, the clock before: %v", st.ModTime(), last)
		last = c.Now()
		require.False(t, last.Before(st.ModTime()), "the clock: %v, the kernel before: %v", last, st.ModTime())
	}
}

func BenchmarkFileClock(b *testing.B) {
	c := newFileClock(slog.Default())
	for b.Loop() {
		c.Now()
	}
}
