package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"sync"

	"k3fs/s3api"
)

// accessLog writes one line for each request of the S3 door. Its lock, mu, is a leaf.
type accessLog struct {
	name   string // a file, or "-" for standard output
	append func(*s3api.Request, []byte) []byte
	log    *slog.Logger

	mu   sync.Mutex
	file *os.File
	line []byte
	bad  bool // writing failed, and that was said
}

// openAccessLog opens the access log; nil without one.
func openAccessLog(s S3Config, log *slog.Logger) (*accessLog, error) {
	if s.AccessLog == "" {
		return nil, nil
	}
	a := &accessLog{name: s.AccessLog, append: (*s3api.Request).AppendS3, log: log}
	if s.AccessLogFormat == "json" {
		a.append = (*s3api.Request).AppendJSON
	}
	if err := a.reopen(); err != nil {
		return nil, &ConfigError{fmt.Errorf("s3.access_log: %w", err)}
	}
	return a, nil
}

// reopen opens the file anew, after somebody moved it away (logrotate).
func (a *accessLog) reopen() error {
	f := os.Stdout
	if a.name != "-" {
		var err error
		if f, err = os.OpenFile(a.name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640); err != nil {
			return err
		}
	}
	a.mu.Lock()
	old := a.file
	a.file, a.bad = f, false
	a.mu.Unlock()
	if old != nil && old != os.Stdout {
		return old.Close()
	}
	return nil
}

// write writes a request's line, in one write. That it can't is said once, and requests go on.
func (a *accessLog) write(r s3api.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.line = a.append(&r, a.line[:0])
	if _, err := a.file.Write(a.line); err != nil && !a.bad {
		a.bad = true
		a.log.Error("the access log can't be written", "file", a.name, "err", err)
	}
}

func (a *accessLog) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == os.Stdout {
		return nil
	}
	return a.file.Close()
}
