package harness

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The credentials of every daemon that the harness starts.
const (
	AccessKey = "k3fs-e2e-root"
	SecretKey = "k3fs-e2e-secret-0123456789"
	Region    = "us-east-1"
)

// StopWithin is how long a daemon may take from SIGTERM to its exit.
const StopWithin = 10 * time.Second

// Options say what to start. The zero value is a daemon over fresh temporary directories.
type Options struct {
	Binary string              // default: Binary()
	Dir    string              // parent of what is made here; default: a temporary directory of the caller
	Data   string              // default: Dir/data
	Mount  string              // default: Dir/mnt
	Args   []string            // further arguments of serve
	Env    []string            // further environment
	TLS    bool                // the S3 endpoint speaks TLS, with a certificate made for the run
	User   *syscall.Credential // who runs it; default: the tests' user
	Ready  time.Duration       // how long a start may take; default 30 s
}

// Daemon is one k3fs, which may be started, stopped and killed repeatedly over the same directories.
type Daemon struct {
	Data, Mount string
	S3, Admin   string // host:port, the same over restarts

	opts   Options
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of Wait, valid once exited is closed
	log    logBuffer
	peak   int64
}

// NewDaemon prepares a daemon without starting it. Options.Dir must be set.
func NewDaemon(o Options) (*Daemon, error) {
	var err error
	if o.Binary == "" {
		if o.Binary, err = Binary(); err != nil {
			return nil, err
		}
	}
	if o.Data == "" {
		o.Data = filepath.Join(o.Dir, "data")
	}
	if o.Mount == "" {
		o.Mount = filepath.Join(o.Dir, "mnt")
	}
	if o.Ready == 0 {
		o.Ready = 30 * time.Second
	}
	for _, dir := range []string{o.Data, o.Mount} {
		if err := os.MkdirAll(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		if o.User != nil {
			if err := os.Chown(dir, int(o.User.Uid), int(o.User.Gid)); err != nil {
				return nil, err
			}
		}
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	return &Daemon{Data: o.Data, Mount: o.Mount, S3: ports[0], Admin: ports[1], opts: o}, nil
}

// freePorts returns loopback addresses that nobody listens on now.
func freePorts(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// New prepares a daemon for a test: its log is shown if the test fails, and at the end of the test it
// is stopped, which must work within StopWithin, and unmounted.
func New(t testing.TB, o Options) *Daemon {
	t.Helper()
	NeedMount(t)
	if o.Dir == "" {
		o.Dir = TempDir(t)
	}
	d, err := NewDaemon(o)
	if err != nil {
		t.Fatalf("daemon: %v", err)
	}
	t.Cleanup(func() {
		if d.Running() && !t.Failed() {
			if err := d.Stop(); err != nil {
				t.Errorf("stop at the end of the test: %v", err)
			}
		}
		d.Close()
		if t.Failed() {
			t.Logf("log of the daemon over %s:\n%s", d.Data, d.Log())
		}
	})
	return d
}

// Start is New and Daemon.Start.
func Start(t testing.TB, o Options) *Daemon {
	t.Helper()
	d := New(t, o)
	d.MustStart(t)
	return d
}

// TempDir is a temporary directory, removed at the end of the test without looking into what is
// mounted below it.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "k3fs-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := exec.Command("rm", "-rf", "--one-file-system", dir).Run(); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	return dir
}

// MustStart starts the daemon and fails the test if it is not ready in time.
func (d *Daemon) MustStart(t testing.TB) {
	t.Helper()
	if err := d.Start(); err != nil {
		t.Fatalf("start: %v", err)
	}
}

// MustStop stops the daemon and fails the test if that isn't clean.
func (d *Daemon) MustStop(t testing.TB) {
	t.Helper()
	if err := d.Stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
}

// Start runs the daemon and returns once its health check answers 200. A daemon that exits before is
// an error, whose text holds the end of the log.
func (d *Daemon) Start() error {
	if d.Running() {
		return errors.New("already running")
	}
	args := append([]string{"serve", "--data", d.Data, "--s3", d.S3, "--admin", d.Admin, "--mount", d.Mount}, d.opts.Args...)
	if d.opts.TLS {
		args = append(args, "--tls", "self")
	}
	cmd := exec.Command(d.opts.Binary, args...)
	cmd.Env = append(append(os.Environ(), "K3FS_ROOT_ACCESS_KEY="+AccessKey, "K3FS_ROOT_SECRET_KEY="+SecretKey,
		"K3FS_CONTROL__LISTEN="), d.opts.Env...) // the socket in the data directory is enough
	cmd.Stdout, cmd.Stderr = &d.log, &d.log
	// Own group: a signal to the tests (an interrupt) must not reach it before the harness acts. If
	// the tests themselves die, the daemon is told to stop, and unmounts.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM, Credential: d.opts.User}
	mark := d.log.Len()
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	d.cmd, d.exited = cmd, exited
	go func() {
		d.err = cmd.Wait()
		close(exited)
	}()
	return d.awaitReady(mark)
}

// ErrRefused is the error of a Start whose daemon ended by itself with an exit code and a message.
var ErrRefused = errors.New("the daemon refused to start")

func (d *Daemon) awaitReady(mark int) error {
	health, transport := "http://"+d.S3+"/-/healthz", &http.Transport{}
	if d.opts.TLS {
		health, transport.TLSClientConfig = "https://"+d.S3+"/-/healthz", &tls.Config{InsecureSkipVerify: true} // it was made just now
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Timeout: time.Second, Transport: transport}
	for end := time.Now().Add(d.opts.Ready); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case <-d.exited:
			if code := d.cmd.ProcessState.ExitCode(); code > 0 && d.log.Len() > mark {
				return fmt.Errorf("%w: exit code %d: %s", ErrRefused, code, tail(d.log.Since(mark), 2<<10))
			}
			return fmt.Errorf("ended before it was ready: %v: %s", d.err, tail(d.log.Since(mark), 4<<10))
		default:
		}
		resp, err := client.Get(health)
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			if !Mounted(d.Mount) {
				return fmt.Errorf("healthz answers 200, and %s is not mounted", d.Mount)
			}
			return nil
		}
	}
	d.Kill()
	return fmt.Errorf("not ready after %v: %s", d.opts.Ready, tail(d.log.Since(mark), 4<<10))
}

// Running reports whether the process lives.
func (d *Daemon) Running() bool {
	if d.cmd == nil {
		return false
	}
	select {
	case <-d.exited:
		return false
	default:
		return true
	}
}

// Exited is closed when the running process ends.
func (d *Daemon) Exited() <-chan struct{} { return d.exited }

// PID is the running process.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Stop sends SIGTERM. The daemon must exit with 0 within StopWithin and leave nothing mounted.
func (d *Daemon) Stop() error {
	if !d.Running() {
		return fmt.Errorf("not running: %v", d.err)
	}
	d.notePeak()
	begin := time.Now()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-d.exited:
	case <-time.After(StopWithin):
		stacks := d.dumpStacks()
		d.Kill()
		return fmt.Errorf("still running %v after SIGTERM: %s", StopWithin, stacks)
	}
	if d.err != nil {
		return fmt.Errorf("after SIGTERM: %w: %s", d.err, tail(d.log.Since(0), 4<<10))
	}
	if Mounted(d.Mount) {
		return fmt.Errorf("exited %v after SIGTERM, and %s is still mounted", time.Since(begin), d.Mount)
	}
	return nil
}

// dumpStacks asks a stuck daemon for its goroutines, which end up in the log.
func (d *Daemon) dumpStacks() []byte {
	mark := d.log.Len()
	_ = d.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-d.exited:
	case <-time.After(2 * time.Second):
	}
	return tail(d.log.Since(mark), 16<<10)
}

// Kill sends SIGKILL and waits for the end. The mount is left as the crash left it.
func (d *Daemon) Kill() {
	if d.cmd == nil {
		return
	}
	if d.Running() {
		d.notePeak()
	}
	_ = d.cmd.Process.Kill()
	<-d.exited
}

// Close kills the daemon if it still runs, and unmounts what it left.
func (d *Daemon) Close() {
	d.Kill()
	for range 8 {
		if !Mounted(d.Mount) {
			return
		}
		if exec.Command("fusermount3", "-u", d.Mount).Run() != nil {
			_ = exec.Command("umount", "-l", d.Mount).Run()
		}
	}
}

// Fsck runs the offline check; an error holds what it printed.
func (d *Daemon) Fsck() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.opts.Binary, "fsck", "--data", d.Data)
	cmd.Env = append(os.Environ(), d.opts.Env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fsck: %w: %s", err, tail(out, 8<<10))
	}
	return nil
}

// Log is what the daemon printed, over all its runs.
func (d *Daemon) Log() string { return string(tail(d.log.Since(0), 64<<10)) }

// CPU is the processor time that the running daemon has used.
func (d *Daemon) CPU() time.Duration { return ProcessCPU(d.PID()) }

// PeakMemory is the highest resident size of any run so far, in bytes (VmHWM).
func (d *Daemon) PeakMemory() int64 {
	if d.Running() {
		d.notePeak()
	}
	return d.peak
}

func (d *Daemon) notePeak() { d.peak = max(d.peak, ProcessPeak(d.PID())) }

// Mounted reports whether dir itself is a mount point, stale ones included.
func Mounted(dir string) bool {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == dir {
			return true
		}
	}
	return false
}

// logBuffer keeps the daemon's output.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Len()
}

func (l *logBuffer) Since(mark int) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes()[mark:])
}
