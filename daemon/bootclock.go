package daemon

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"k3fs/namespace"
	"k3fs/tenancy"
)

// LocksConfig bounds locks and holds, and says by how much the host's clock is believed.
type LocksConfig struct {
	// MaxRetention is the longest that anybody may lock data for; 0 is without a bound.
	MaxRetention time.Duration `koanf:"max_retention"`
	// MaxJump is by how much the host's clock may run ahead in all while the host runs, MaxOff over a restart of
	// it. Beyond that nothing expires until "k3fs clock confirm".
	MaxJump time.Duration `koanf:"max_jump"`
	MaxOff  time.Duration `koanf:"max_off"`
}

func (c LocksConfig) validate(bad func(key, format string, args ...any)) {
	if c.MaxRetention < 0 {
		bad("locks.max_retention", "must be over 0 (such as \"87600h\"), or 0 for no bound")
	}
	if c.MaxJump <= 0 || c.MaxOff <= 0 {
		bad("locks.max_jump", "locks.max_jump and locks.max_off must be over 0 (such as \"25h\")")
	}
}

// lockOptions are those of the namespace.
func (c LocksConfig) lockOptions() (namespace.LockOptions, error) {
	boot, err := bootClock()
	return namespace.LockOptions{Wall: time.Now, Boot: boot, MaxJump: c.MaxJump, MaxOff: c.MaxOff,
		MaxRetention: func(tenancy.TenantID) time.Duration { return c.MaxRetention }}, err
}

// bootClock names the boot of the host, and says how long it has run, time asleep included: nobody can set that.
func bootClock() (func() (string, time.Duration), error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("the host's boot has no name for the clock of locks: %w", err)
	}
	name := strings.TrimSpace(string(id))
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return nil, fmt.Errorf("the host has no clock that nobody can set, for locks: %w", err)
	}
	return func() (string, time.Duration) {
		var ts unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // it did not fail above
		return name, time.Duration(ts.Nano())
	}, nil
}
