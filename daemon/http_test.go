package daemon

import (
	"bytes"
	"log"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// That no connection can be accepted is said, once a minute; what clients do is not.
func TestServerErrors(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	e := &serverErrors{log: slog.New(slog.NewTextHandler(&out, nil)), now: func() time.Time { return now }}
	to := log.New(e, "", 0)
	for range 3 {
		to.Printf("http: Accept error: accept tcp 127.0.0.1:9000: accept4: too many open files; retrying in 5ms")
		to.Printf("http: TLS handshake error from 127.0.0.1: EOF")
	}
	require.Equal(t, 1, strings.Count(out.String(), "level=WARN"))
	require.Contains(t, out.String(), "too many open files")
	require.NotContains(t, out.String(), "handshake")
	now = now.Add(acceptWarnEvery)
	to.Printf("http: Accept error: again")
	require.Equal(t, 2, strings.Count(out.String(), "level=WARN"))
}
