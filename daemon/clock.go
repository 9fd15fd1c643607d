package daemon

import (
	"log/slog"
	"time"

	"golang.org/x/sys/unix"
)

// fileClock is the clock by which the kernel stamps files. The kernel also stamps files of the mount itself
// (what is written goes through its cache), with a clock that ticks every few milliseconds, unless somebody
// looks at times more often. If the daemon stamped with a finer one, a file written after another was made
// could show the earlier time, and a file's times could go back. So it has the kernel stamp a file in memory,
// and takes that.
type fileClock struct{ fd int } // below 0: there is none

func newFileClock(log *slog.Logger) fileClock {
	fd, err := unix.MemfdCreate("k3fs-clock", unix.MFD_CLOEXEC)
	if err != nil {
		log.Warn("no file to take the kernel's time from: times of files may go back by milliseconds", "err", err)
		return fileClock{fd: -1}
	}
	return fileClock{fd: fd}
}

// Now is the time with which the kernel would stamp a file.
func (c fileClock) Now() time.Time {
	var st unix.Stat_t
	if c.fd < 0 || unix.UtimesNanoAt(c.fd, "", nil, unix.AT_EMPTY_PATH) != nil || unix.Fstat(c.fd, &st) != nil {
		return time.Now()
	}
	return time.Unix(st.Ctim.Unix())
}
