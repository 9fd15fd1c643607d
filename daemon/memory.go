package daemon

import (
	"log/slog"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// limitMemory sets the soft limit of the Go heap: the configured one, or nine tenths of the cgroup's if
// that is less. GOMEMLIMIT, if set, is left alone.
func limitMemory(limit Size, log *slog.Logger) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	bytes := int64(limit)
	if group, err := memlimit.FromCgroup(); err == nil && group < math.MaxInt64 {
		bytes = min(bytes, int64(group)/10*9)
	}
	debug.SetMemoryLimit(bytes)
	log.Debug("memory limited", "bytes", bytes)
}
