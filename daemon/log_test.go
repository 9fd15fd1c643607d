package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// SIGHUP takes over the level that the configuration has by then; one that can't be used changes nothing.
func TestHangupReadsTheLogLevel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	level := new(slog.LevelVar)
	var out bytes.Buffer
	log := NewLogger(LogConfig{Level: "warn", Format: "text"}, level, &out)
	log.Info("below the level")
	require.Empty(t, out.String())

	next := make(chan Config)
	loaded := make(chan struct{})
	FollowHangups(ctx, func() (Config, error) {
		cfg, ok := <-next
		loaded <- struct{}{}
		if !ok {
			return cfg, errors.New("a wrong file")
		}
		return cfg, nil
	}, level, slog.New(slog.DiscardHandler))

	cfg := Defaults()
	cfg.Log.Level = "debug"
	require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGHUP))
	next <- cfg
	<-loaded
	require.Eventually(t, func() bool { return level.Level() == slog.LevelDebug }, 10*time.Second, time.Millisecond)
	close(next)
	require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGHUP))
	<-loaded
	log.Debug("above the level")
	require.Contains(t, out.String(), "above the level")
	require.Equal(t, slog.LevelDebug, level.Level())
}
