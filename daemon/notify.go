package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells systemd (sd_notify(3)) how the service is. Without systemd it does nothing.
type notifier struct {
	log *slog.Logger
}

func (n notifier) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Warn("systemd does not hear us", "err", err)
	}
}

func (n notifier) ready()            { n.tell(daemon.SdNotifyReady) }
func (n notifier) stopping()         { n.tell(daemon.SdNotifyStopping) }
func (n notifier) status(how string) { n.tell("STATUS=" + how) }

// watch pings systemd's watchdog twice per its interval, as long as probe succeeds, until ctx ends. A
// daemon that hangs is then restarted.
func (n notifier) watch(ctx context.Context, probe func(context.Context) error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := probe(ctx); err != nil {
			n.log.Error("unhealthy: no sign of life to systemd", "err", err)
			continue
		}
		n.tell(daemon.SdNotifyWatchdog)
	}
}
