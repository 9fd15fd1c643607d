package harness

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Long reports whether the long mode was asked for.
func Long() bool { return os.Getenv("K3FS_E2E") == "long" }

// Rounds is how often a test repeats: quick in CI, long in the long mode, or K3FS_E2E_ROUNDS.
func Rounds(quick, long int) int {
	if n, err := strconv.Atoi(os.Getenv("K3FS_E2E_ROUNDS")); err == nil && n > 0 {
		return n
	}
	if Long() {
		return long
	}
	return quick
}

// Rand returns a random source whose seed is logged, so that a failure can be repeated.
func Rand(t testing.TB) *rand.Rand {
	seed, err := strconv.ParseUint(os.Getenv("K3FS_E2E_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("K3FS_E2E_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// Unable ends a test that can't run here: a failure in CI, a skip elsewhere.
func Unable(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("must run in CI, and can't: "+format, args...)
	}
	t.Skipf("can't run here: "+format, args...)
}

// NeedTools ends the test unless each tool is in PATH or is an absolute path that exists.
func NeedTools(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			Unable(t, "%s: %v", tool, err)
		}
	}
}

// NeedMount ends the test unless this process may make FUSE and loop mounts.
func NeedMount(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		Unable(t, "FUSE: %v", err)
	}
	_ = f.Close()
	if os.Geteuid() != 0 {
		Unable(t, "not root")
	}
}

// ModuleRoot is the directory of k3fs's go.mod.
func ModuleRoot() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Binary returns the daemon to test: K3FS_BIN, or bin/k3fs built from this source once a process.
var Binary = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("K3FS_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	root := ModuleRoot()
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		return "", err
	}
	// Test packages run at the same time; one of them builds.
	lock, err := os.Create(filepath.Join(root, "bin", ".build.lock"))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	bin := filepath.Join(root, "bin", "k3fs")
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/k3fs")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/k3fs: %w\n%s", err, out)
	}
	return bin, nil
})

// RunWithin is how long a command of Run may take.
const RunWithin = 5 * time.Minute

// Run runs a command to its end and fails the test, with its output, if it fails or hangs.
func Run(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var out logBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its children end with it
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	hung := time.AfterFunc(RunWithin, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	if !hung.Stop() {
		err = fmt.Errorf("killed after %v: %w", RunWithin, err)
	}
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, tail(out.Since(0), 8<<10))
	}
	return string(out.Since(0))
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return append([]byte("[...]\n"), b[len(b)-n:]...)
	}
	return b
}
