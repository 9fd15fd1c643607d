package fusefs

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	_ "net/http/pprof" // the benchmark takes profiles of the daemon under load
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"k3fs/namespace"
)

// serveEnv makes the test binary a daemon: "KIND DIR DATA". A mount is measured and killed in a process
// of its own, since one that used its own mount would share a scheduler with it.
const serveEnv = "FUSEFS_TEST_SERVE"

func TestMain(m *testing.M) {
	if s := os.Getenv(serveEnv); s != "" {
		if err := serveMount(strings.Fields(s)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(lockerEnv) != "" {
		runLocker()
		return
	}
	os.Exit(m.Run())
}

// serveMount mounts, says so on stdout, and unmounts at the end of stdin.
func serveMount(args []string) error {
	kind, dir, data := args[0], args[1], args[2]
	mem := newMemFS()
	mem.scrap = os.Getenv(serveEnv+"_SCRAP") != ""
	var fs namespace.Posix = mem
	inv := NewInvalidator()
	stop := func() error { return nil }
	if kind == "namespace" {
		var err error
		if fs, stop, err = openNamespace(data, inv); err != nil {
			return err
		}
	}
	o := Options{FS: fs, Dir: dir, Invalidator: inv, AllowOther: true}
	if os.Getenv(serveEnv+"_COUNT") != "" {
		c := &counter{n: map[string]int{}}
		defer c.print()
		o.Metrics = c
	}
	m, err := Mount(context.Background(), o)
	if err != nil {
		return err
	}
	if addr := os.Getenv(serveEnv + "_PPROF"); addr != "" {
		go func() { fmt.Fprintln(os.Stderr, http.ListenAndServe(addr, nil)) }()
	}
	if os.Getenv(serveEnv+"_STUCK") != "" { // the daemon waits for itself
		g := hold(mem, "statfs")
		go func() { fmt.Fprintln(os.Stderr, "unexpected:", Probe(dir)) }()
		<-g.reached
	}
	fmt.Println("mounted")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
	}
	if err := m.Unmount(context.Background()); err != nil {
		return err
	}
	return stop()
}

// counter counts requests.
type counter struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counter) Request(r Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[r.Op]++
	if r.ID == 0 || r.Inode == 0 {
		c.n["anonymous"]++
	}
}

func (c *counter) Moved(written, read int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n["bytes written"] += written
	c.n["bytes read"] += read
}

func (c *counter) count(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[what]
}

func (c *counter) print() { fmt.Fprintln(os.Stderr, c.n) }

// daemon is a mount in a process of its own.
type daemon struct {
	cmd *exec.Cmd
	dir string
}

// startDaemon starts one; it ends with the test.
func startDaemon(t testing.TB, kind, data string) *daemon {
	d := &daemon{dir: t.TempDir()}
	d.cmd = exec.Command(os.Args[0])
	d.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s", serveEnv, kind, d.dir, data))
	d.cmd.Stderr = os.Stderr
	in, err := d.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := d.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, d.cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		if d.cmd.ProcessState == nil {
			require.NoError(t, d.cmd.Wait())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "mounted\n", line)
	return d
}

// cpuSeconds is what the process has used so far.
func cpuSeconds(pid int) float64 {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	u, _ := strconv.Atoi(f[11])
	s, _ := strconv.Atoi(f[12])
	return float64(u+s) / 100
}

// peakMiB is the largest resident size of the process so far.
func peakMiB(pid int) float64 {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
			kb, _ := strconv.Atoi(f[1])
			return float64(kb) / 1024
		}
	}
	return 0
}

// waitMounted waits until dir is a mount point.
func waitMounted(t testing.TB, dir string) {
	require.Eventually(t, func() bool {
		var here, above unix.Stat_t
		return unix.Stat(dir, &here) == nil && unix.Stat(filepath.Dir(dir), &above) == nil && here.Dev != above.Dev
	}, 5*time.Second, 10*time.Millisecond)
}
