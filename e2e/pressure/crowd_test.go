package pressure

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"k3fs/e2e/harness"
)

// TestCrowd: clients hold a thousand connections, half of them idle, half in the middle of a header that never ends.
// A working client beside them is served, the slow ones are cut, the idle ones may go on, and none takes more than
// 25 KiB. Row f of the benchmark does it with ten thousand of each, and measures.
func TestCrowd(t *testing.T) {
	const each, cost = 500, 25 << 10
	s := start(t, harness.Options{Env: []string{"K3FS_S3__READ_HEADER_TIMEOUT=8s"}}, 4<<10)
	for i := range 100 { // what the work itself takes is taken before
		require.NoError(t, s.put(fmt.Sprint("before", i)))
	}
	u, err := s.s3.PresignedGetObject(t.Context(), bucketName, "before1", time.Hour, nil)
	require.NoError(t, err)
	c := harness.NewCrowd(s.S3, u.RequestURI(), nil)
	defer c.Close()
	before := goMemory(t, s.Data)
	require.NoError(t, c.Idle(each))
	require.NoError(t, c.Slow(each, time.Second))
	require.Less(t, (goMemory(t, s.Data)-before)/(2*each), int64(cost), "bytes of a connection")

	for i := 0; c.Cut() < each && i < 100_000; i++ {
		name := fmt.Sprint("beside", i)
		require.NoError(t, s.put(name))
		require.NoError(t, s.check(name, s.get))
	}
	require.GreaterOrEqual(t, c.Cut(), int64(each), "headers that never end are cut")
	require.NoError(t, c.Again(), "who was idle may go on")
	s.finish()
}

// TestSecureCrowd: a connection with TLS takes two cipher states and the buffers of its handshake more, and no handshake's
// stack (which was 8 KiB more).
func TestSecureCrowd(t *testing.T) {
	const each, cost = 500, 27 << 10
	d := harness.Start(t, harness.Options{TLS: true, Env: []string{"K3FS_S3__READ_HEADER_TIMEOUT=5m"}})
	c := harness.NewCrowd(d.S3, "/-/healthz", &tls.Config{InsecureSkipVerify: true}) // it was made for this test
	defer c.Close()
	require.NoError(t, c.Idle(50)) // what the first ones take is taken before
	before := goMemory(t, d.Data)
	require.NoError(t, c.Idle(each))
	require.NoError(t, c.Slow(each, time.Second))
	require.Less(t, (goMemory(t, d.Data)-before)/(2*each), int64(cost), "bytes of a connection")
	require.NoError(t, c.Again(), "who was idle may go on")
}

// goMemory is what a daemon's heap and stacks hold after a collection, in bytes.
func goMemory(t *testing.T, data string) (sum int64) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(data, "admin.sock"))
	}}}
	for range 4 { // stacks halve with each collection
		sum = 0
		res, err := client.Get("http://daemon/debug/pprof/heap?gc=1&debug=1")
		require.NoError(t, err)
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		for _, name := range []string{"HeapAlloc", "Stack"} {
			m := regexp.MustCompile(`# ` + name + ` = (\d+)`).FindSubmatch(text)
			require.NotNil(t, m, name)
			n, err := strconv.ParseInt(string(m[1]), 10, 64)
			require.NoError(t, err)
			sum += n
		}
	}
	return sum
}
