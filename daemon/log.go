package daemon

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/mattn/go-isatty"
)

// NewLogger returns the logger that c asks for, writing to w: text for a person at a terminal, JSON for
// a machine. The level must be valid. It is in force through level, which may be changed later.
func NewLogger(c LogConfig, level *slog.LevelVar, w io.Writer) *slog.Logger {
	now, _ := c.level()
	level.Set(now)
	opts := &slog.HandlerOptions{Level: level}
	text := c.Format == "text"
	if f, ok := w.(*os.File); ok && c.Format == "auto" {
		text = isatty.IsTerminal(f.Fd())
	}
	if text {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

// FollowHangups takes over the log level from the configuration, read anew by load, at each SIGHUP until ctx
// ends. A configuration that can't be used changes nothing.
func FollowHangups(ctx context.Context, load func() (Config, error), level *slog.LevelVar, log *slog.Logger) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		defer signal.Stop(hangups)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
			}
			cfg, err := load()
			if err != nil {
				log.Error("SIGHUP: the configuration can't be used, and nothing changed", "err", err)
				continue
			}
			now, _ := cfg.Log.level()
			level.Set(now)
			log.Log(ctx, now, "SIGHUP: read the log level anew", "log_level", now.String())
		}
	}()
}
